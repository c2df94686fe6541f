#!/usr/bin/env python3
"""No file of reactor/ may include a header of coro/: tries it with every header and with every file, by the build's
own commands.

usage: check.py SOURCE-ROOT BUILD-ROOT. Each command of the build folder for a reactor/ file must preprocess as
it is, and must fail once a coro/ header, public or private, is included by its path.
"""
import json
import pathlib
import shlex
import subprocess
import sys

source = pathlib.Path(sys.argv[1]).resolve()
build = pathlib.Path(sys.argv[2]).resolve()
lower = {'reactor.h', 'trace.h', 'config.h'}
headers = sorted(source.glob('coro/*.h')) + [source / 'include/rota.h'] + [
    header for header in sorted(source.glob('include/rota/*.h')) if header.name not in lower]


def preprocess(command, header=None):
    words = shlex.split(command)
    for option in ('-o', '-MF', '-MQ'):
        at = words.index(option)
        del words[at:at + 2]
    words = [w for w in words if w not in ('-c', '-MD')]
    words += ['-E', '-o', '/dev/null']
    if header:
        words += ['-include', str(header)]
    return subprocess.run(words, cwd=build, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def main():
    tried = failed = 0
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        path = (build / entry['file']).resolve()
        if path.parent != source / 'reactor':
            continue
        plain = preprocess(entry['command'])
        if plain.returncode != 0:
            print(f'{path} does not preprocess at all:\n{plain.stderr}')
            failed += 1
        # All headers in the first file, then one in each: the commands differ in nothing else.
        for header in headers if not tried else headers[:1]:
            tried += 1
            result = preprocess(entry['command'], header)
            if result.returncode == 0 or 'must not include' not in result.stderr:
                print(f'{path.name} can include {header.relative_to(source)}')
                failed += 1
    print(f'{tried} pairs of a reactor/ file and a coro/ header tried, {failed} wrong')
    return 0 if tried and not failed else 1


sys.exit(main())
