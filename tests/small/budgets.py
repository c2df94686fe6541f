#!/usr/bin/env python3
"""What the small profile weighs, and what it asks of others; ends with "N passed, N failed".

usage: budgets.py SOURCE-ROOT WORK-FOLDER CONFIG-HEADER CPU COMPILER-ID COMPILER...

Each file of small/ is compiled for size by the build's own compiler, and so are the two programs of bench/footprint.

 - Code and constants of each object are within its budget: the size when the number was last looked at, rounded up. A
   change that makes one larger says so here, on purpose; budgets are for gcc 12, other compilers may have half as much
   again (clang 14: a sixth more in a program).
 - The same for what the linker keeps of the library in each program; docs/DECISIONS.md names the targets beside them.
 - No object has initialised data; zeroed memory is 64 bytes at most in all.
 - Undefined symbols are those that are listed: no allocator, stdio, environment, abort, threads.
"""
import os
import re
import subprocess
import sys

source, work, config, cpu, compiler_id, *compiler = sys.argv[1:]
sys.path.insert(0, os.path.join(source, 'bench'))
from footprint import COUNTED   # noqa: E402

BUDGETS = {   # object: x86-64, AArch64
    'fd': (1952, 2112),
    'future': (560, 656),
    'loop': (1120, 1376),
    'scope': (496, 592),
    'task': (1984, 2432),
    'timers': (480, 640),
    'watch': (960, 1200),
    'program callbacks': (1792, 2176),
    'program tasks': (4304, 5072),
}
ALLOWED = set('''accept4 bind clock_gettime close connect epoll_create1 epoll_ctl epoll_wait fcntl fcntl64 getsockopt
                 htons inet_pton listen memcpy memset poll readv recv send setsockopt socket writev __errno_location
                 _GLOBAL_OFFSET_TABLE_'''.split())
FLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-Os', '-ffunction-sections', '-fdata-sections', '-fvisibility=hidden',
         '-fomit-frame-pointer', '-fno-asynchronous-unwind-tables', '-fno-unwind-tables', '-fno-stack-protector',
         *(['-fno-caller-saves', '-fno-code-hoisting', '-fno-guess-branch-probability', '-fno-move-loop-invariants',
            '-fno-shrink-wrap', '-fno-thread-jumps', '-fno-tree-coalesce-vars', '-fno-tree-loop-optimize',
            '-fno-tree-sink']
           if compiler_id == 'gcc' else []),
         '-I' + os.path.dirname(os.path.dirname(config)), '-I' + os.path.join(source, 'small/include'), '-I' + source]
results = []


def check(ok, text):
    results.append(bool(ok))
    if not ok:
        print('WRONG:', text)


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f'{" ".join(words)}:\n{done.stderr}')
    return done.stdout


def tool(name):
    """Of the same binutils as the compiler's."""
    path = run(*compiler, '-print-prog-name=' + name).strip()
    return path or name


def sections(path):
    """Bytes of code and constants, of initialised data, of zeroed memory. Literals are merged by the linker: counted as
    they are."""
    sums = {'text': 0, 'data': 0, 'bss': 0}
    for name, size in re.findall(r'^\.(\S+)\s+(\d+)', run('size', '-A', path), re.M):
        for kind, of in (('text', ('text', 'rodata')), ('data', ('data',)), ('bss', ('bss',))):
            if name.startswith(of):
                sums[kind] += int(size)
    return sums


def budget(name, got):
    column = {'x86_64': 0, 'aarch64': 1}.get(cpu)
    if column is None:
        return
    most = BUDGETS[name][column]
    most += 0 if compiler_id == 'gcc' else most // 2
    print(f'{name:18} {got:6} of {most:6} bytes')
    check(got <= most, f'{name}: {got} bytes of code and constants, its budget is {most}')


def compiled():
    objects, bss = [], 0
    nm = tool('nm')
    listed = [name for name in sorted(os.listdir(os.path.join(source, 'small'))) if name.endswith('.c')]
    ours, wanted = set(), {}
    for file in listed:
        path = os.path.join(work, 'budget-' + file[:-2] + '.o')
        run(*compiler, *FLAGS, '-c', '-o', path, os.path.join(source, 'small', file))
        objects.append(path)
        sums = sections(path)
        budget(file[:-2], sums['text'])
        check(sums['data'] == 0, f'{file} has {sums["data"]} bytes of initialised data')
        bss += sums['bss']
        ours |= set(re.findall(r'^\S+ [TBDR] (\S+)', run(nm, path), re.M))
        wanted[file] = set(re.findall(r'\bU (\S+)', run(nm, '-u', path)))
    check(bss <= 64, f'{bss} bytes of zeroed memory')
    context = os.path.join(work, 'budget-context.o')
    run(*compiler, '-I' + source, '-c', '-o', context, os.path.join(source, 'arch', f'context_{cpu}.S'))
    ours |= {'rota__context_switch', 'rota__context_make'}
    for file, names in wanted.items():
        strange = names - ours - ALLOWED
        check(not strange, f'{file} needs {" ".join(sorted(strange))}')
    return [*objects, context]


def linked(objects, program):
    """What is left of the library in a program from whose objects all is dropped that it does not need."""
    out = os.path.join(work, 'budget-' + program)
    run(*compiler, *FLAGS, '-o', out, os.path.join(source, 'bench/footprint', program + '.c'), *objects,
        '-Wl,--gc-sections', f'-Wl,-Map={out}.map')
    with open(out + '.map') as f:
        text = f.read()
    kept = text[text.index('Linker script and memory map'):]
    return sum(int(size, 16) for _, where, size, path in COUNTED.findall(kept) if path in objects and int(where, 16) > 0)


def main():
    objects = compiled()
    for program in ('callbacks', 'tasks'):
        budget('program ' + program, linked(objects, program))
    failed = results.count(False)
    print(f'{len(results) - failed} passed, {failed} failed')
    return 0 if results and not failed else 1


sys.exit(main())
