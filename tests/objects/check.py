#!/usr/bin/env python3
"""What the library's objects may not contain; ends with "N passed, N failed".

usage: check.py SOURCE-ROOT BUILD-ROOT (a build by gcc or clang for an ELF system, without sanitizers)

 - No object calls stdio, assert, abort, the environment or an allocator, except the objects made for that.
 - No object asks for the time of day, which can be set: only the monotonic clock counts, and only sys.c reads it (and the
   small profile's loop.c).
 - No floating point: every file is compiled once more without floating-point registers, where a use is an error or
   a call of the compiler's own arithmetic.
 - Nothing asks for an executable stack, and the switch carries the marks of indirect-branch protection.
 - librota.so exports what the public headers declare and nothing else, and has its SONAME.
"""
import json
import pathlib
import re
import shlex
import subprocess
import sys

source = pathlib.Path(sys.argv[1]).resolve()
build = pathlib.Path(sys.argv[2]).resolve()

FORBIDDEN = {
    'stdio': r'_?_?v?[fsd]?n?printf(_chk)?|_?_?v?asprintf(_chk)?|f?puts|f?putc(har)?|f?write_unlocked|fwrite|fread|fopen|'
             r'fdopen|fclose|fflush|fgets|getline|v?[fs]?scanf|__isoc99_\w+|std(in|out|err)|perror',
    'assert': r'__assert\w*|abort|exit|_exit|quick_exit',
    'environment': r'(secure_)?getenv|setenv|putenv|environ',
    'allocator': r'malloc|calloc|realloc|reallocarray|free|posix_memalign|aligned_alloc|memalign|strn?dup|sbrk',
    # What waits by it too: these take a time of day.
    'the time of day': r'time|gettimeofday|ftime|timespec_get|clock_gettime|clock_nanosleep|(pthread_cond_|sem_|mq_)timedwait|'
                       r'pthread_(mutex|rwlock)_timed\w+|timer_create|setitimer|alarm',
    'errno text': r'strerror(_r)?|__xpg_strerror_r|strsignal',
}
# The objects that exist so that the others need not.
ALLOWED = {
    ('reactor/memory.c', 'allocator'),
    ('reactor/env.c', 'environment'),
    ('reactor/sys.c', 'the time of day'),    # which names no clock but CLOCK_MONOTONIC: see below
    ('small/loop.c', 'the time of day'),     # and so this one
}
# What only the end of the process may call: memory is no longer sound there (ROTA_REPORT_FATAL).
ALLOWED_CALLS = {'coro/park.c': {'abort'}, 'coro/scope_block.c': {'abort'}, 'coro/group.c': {'abort'}}
SOFT_FLOAT = re.compile(r'\b__\w*(?:sf|df|xf|tf)(?:2|3|si|di|ti|sf2|df2|xf2|tf2|\d)?\b')

results = []


def check(ok, text):
    results.append(bool(ok))
    if not ok:
        print('WRONG:', text)


def run(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def undefined(path):
    lines = run('nm', '-u', str(path)).stdout.splitlines()
    return {line.split()[-1].split('@')[0] for line in lines if line.split()}


def check_symbols(name, names):
    for kind, pattern in FORBIDDEN.items():
        bad = {n for n in names if re.fullmatch(pattern, n)} - ALLOWED_CALLS.get(name, set())
        check(not bad or (name, kind) in ALLOWED, f'{name} uses {kind}: {" ".join(sorted(bad))}')


def check_float(name, command):
    words = shlex.split(command)
    for option in ('-o', '-MF', '-MQ'):
        at = words.index(option)
        del words[at:at + 2]
    words = [w for w in words if w not in ('-c', '-MD') and not w.startswith(('-O', '-fdiagnostics-color'))]
    result = run(*words, '-O0', '-mgeneral-regs-only', '-S', '-o', '-', cwd=build)
    calls = set(SOFT_FLOAT.findall(result.stdout)) if result.returncode == 0 else set()
    calls = {c for c in calls if not c.startswith('__sanitizer')}
    check(result.returncode == 0 and not calls, f'{name} uses floating point: {calls or result.stdout}')


def check_notes(name, path):
    sections = run('readelf', '-SW', str(path)).stdout
    stack = [line for line in sections.splitlines() if '.note.GNU-stack' in line]
    check(stack and not any(re.search(r'\bA?X\b', line.split(']', 1)[1]) for line in stack), f'{name}: executable stack')
    if name.endswith('.S'):
        check(re.search(r'\b(IBT|BTI)\b', run('readelf', '-nW', str(path)).stdout), f'{name}: no IBT or BTI mark')


def check_shared():
    path = build / 'librota.so'
    exported = {line.split()[-1].split('@')[0] for line in run('nm', '-D', '--defined-only', str(path)).stdout.splitlines()}
    declared = set(re.findall(r'\b(rota_\w+)\s*\(', ''.join(
        line for header in source.glob('include/rota/*.h') for line in re.findall(
            r'^ROTA_API[^;]*;', header.read_text(), re.M)))) - {'rota_fn'}
    plain = {re.sub(r'_v\d+$', '', n) for n in exported}
    check(plain <= declared, f'in librota.so but not declared: {sorted(plain - declared)}')
    check(declared <= plain, f'declared but not in librota.so: {sorted(declared - plain)}')
    dynamic = run('readelf', '-dW', str(path)).stdout
    check(re.search(r'SONAME.*\[librota\.so\.\d+\]', dynamic), 'librota.so has no SONAME')
    check('TEXTREL' not in dynamic, 'librota.so has text relocations')
    stack = [line for line in run('readelf', '-lW', str(path)).stdout.splitlines() if 'GNU_STACK' in line]
    check(stack and 'E' not in stack[0].split()[-2], 'librota.so has an executable stack')


def main():
    seen = set()
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        path = (build / entry['file']).resolve()
        if path.parent.parent != source or path.parent.name not in ('arch', 'reactor', 'coro', 'small') or path in seen:
            continue
        seen.add(path)
        name = str(path.relative_to(source))
        output = build / shlex.split(entry['command'])[shlex.split(entry['command']).index('-o') + 1]
        check_symbols(name, undefined(output))
        check_notes(name, output)
        if path.suffix == '.c':
            check_float(name, entry['command'])
    for name in ('reactor/sys.c', 'small/loop.c'):
        clocks = set(re.findall(r'\bCLOCK_\w+', (source / name).read_text()))
        check(clocks == {'CLOCK_MONOTONIC'}, f'{name} asks other clocks: {sorted(clocks)}')
    check_shared()
    failed = results.count(False)
    print(f'{len(seen)} objects looked at')
    print(f'{len(results) - failed} passed, {failed} failed')
    return 0 if seen and not failed else 1


sys.exit(main())
