#!/usr/bin/env python3
"""What a program with a timer and TCP echo holds of the library; ends with "N passed, N failed".

usage: budgets.py SOURCE-ROOT WORK-FOLDER CONFIG-HEADER CPU COMPILER-ID COMPILER...

bench/footprint/tasks.c is linked with the objects that are listed here and no others, each compiled for size by the
build's own compiler: with all that is on unless it is turned off, and trimmed, without all that an option leaves out.

 - It links. So what the program does not use is in objects of its own, which a static program leaves out even where
   functions have no sections of their own. An object that has to be added here is one that every program pays for.
 - What the linker keeps of them is within the budget: the size when the number was last looked at, and half a percent. A
   change that makes it larger says so here, on purpose. Budgets are for gcc 12; other compilers may have a quarter more.
"""
import concurrent.futures
import os
import subprocess
import sys

source, work, config, cpu, compiler_id, *compiler = sys.argv[1:]
sys.path.insert(0, os.path.join(source, 'bench'))
from footprint import COUNTED   # noqa: E402

REACTOR = '''env fd_table inbox loop memory poller_epoll pollers precise quiet ready report report_stderr sys sys_poller text
             thread timers trace'''.split()
CORO = 'fd future local name park report run scope stack task trace'.split()
PROGRAMS = {   # reactor/, coro/; x86-64, AArch64
    'full': (REACTOR + ['poller_poll', 'strerror', 'sys_file', 'trace_file'],
             CORO + ['describe', 'error_text', 'graph', 'overflow'], (43030, 48980)),
    'trimmed': (REACTOR + ['trace_file_off'], CORO + ['overflow_off', 'report_brief'], (32530, 37200)),
}
FLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-DNDEBUG', '-Os', '-fPIC', '-ffunction-sections', '-fdata-sections',
         '-fvisibility=hidden', '-I' + os.path.dirname(os.path.dirname(config)), '-I' + source,
         '-I' + os.path.join(source, 'include')]
results = []


def check(ok, text):
    results.append(bool(ok))
    if not ok:
        print('WRONG:', text)


def run(*words):
    done = subprocess.run([*compiler, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def compiled(job):
    program, folder, name = job
    only_here = [program + '-'] if name == 'pollers' else []
    out = os.path.join(work, f'budget-{"".join(only_here)}{folder}-{name}.o')
    path = os.path.join(source, folder, name + ('.S' if folder == 'arch' else '.c'))
    flags = [f'-DROTA_LAYER={ {"arch": 0, "reactor": 1, "coro": 2}[folder] }', '-DROTA__POLLER_EPOLL']
    if program == 'full':
        flags.append('-DROTA__POLLER_POLL')
    status, text = run(*FLAGS, *flags, '-c', '-o', out, path)
    check(status == 0, f'{folder}/{name} does not compile: {text}')
    return out


def kept(program, objects):
    """Bytes of code and constants, by the linker's map; None: it does not link."""
    out = os.path.join(work, 'budget-' + program)
    status, text = run(*FLAGS, '-o', out, os.path.join(source, 'bench/footprint/tasks.c'), *objects, '-pthread',
                       '-Wl,--gc-sections', f'-Wl,-Map={out}.map')
    check(status == 0, f'{program}: it needs more of the library than is listed:\n{text}')
    if status:
        return None
    with open(out + '.map') as f:
        text = f.read()
    text = text[text.index('Linker script and memory map'):]
    return sum(int(size, 16) for _, where, size, path in COUNTED.findall(text) if path in objects and int(where, 16) > 0)


def main():
    column = {'x86_64': 0, 'aarch64': 1}.get(cpu)
    jobs = {program: [(program, 'arch', f'context_{cpu}'), *((program, 'reactor', n) for n in reactor),
                      *((program, 'coro', n) for n in coro)] for program, (reactor, coro, _) in PROGRAMS.items()}
    # What both have is compiled once.
    once = {(f, n) if n != 'pollers' else job: job for program in PROGRAMS for job in jobs[program] for _, f, n in [job]}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = dict(zip(once, pool.map(compiled, once.values())))
    for program, (_, _, budgets) in PROGRAMS.items():
        got = kept(program, [made[(f, n) if n != 'pollers' else (program, f, n)] for _, f, n in jobs[program]])
        if got is None or column is None:
            continue
        most = budgets[column] + (0 if compiler_id == 'gcc' else budgets[column] // 4)
        print(f'{program:8} {got:6} of {most:6} bytes')
        check(got <= most, f'{program}: {got} bytes of code and constants, its budget is {most}')
    failed = results.count(False)
    print(f'{len(results) - failed} passed, {failed} failed')
    return 0 if results and not failed else 1


sys.exit(main())
