#!/usr/bin/env python3
"""tools/rota-gdb.py on a stopped program and on its core; ends with "N passed, N failed".

usage: gdb.py GDB SCRIPT PROGRAM
"""
import os
import re
import subprocess
import sys
import tempfile

gdb, script, program = sys.argv[1:]
results = []


def check(ok, text, output):
    results.append(bool(ok))
    if not ok:
        print('WRONG:', text, '\n', output)


def run(*words):
    commands = [w for command in words for w in ('-ex', command)]
    done = subprocess.run([gdb, '-nx', '-batch', '-iex', 'set debuginfod enabled off', *commands], timeout=110,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def check_output(kind, text):
    check(re.search(r'loop 0x\w+: 3 tasks', text), f'{kind}: three tasks', text)
    check(re.search(r"#1 'main' runs", text), f'{kind}: main runs', text)
    check(re.search(r"#2 'sleeper' waits for a time, spawned at .*parked\.c:\d+", text), f'{kind}: the sleeper', text)
    check(re.search(r"#3 'waiter' waits for ", text), f'{kind}: the waiter', text)
    # The library's own frames may be missing: its calls switch away in tail position where they can.
    sleeper = text[text.find('bt of 2'):text.find('bt of 3')]
    check(re.search(r'in deeper_in_sleep.*parked\.c:\d+\n.*in deep_in_sleep.*parked\.c:\d+\n.*in sleeper', sleeper),
          f'{kind}: our functions', text)
    check(re.search(r'in sleeper[^\n]*\n.*in rota__runner_main[^\n]*\n.*in rota__context_start', sleeper),
          f'{kind}: down to the entry', text)
    check(re.search(r'in wait_for_event.*\n.*in waiter', text[text.find('bt of 3'):]), f'{kind}: wait_for_event', text)
    check('no task has the number 9' in text, f'{kind}: no such task', text)
    check(re.search(r'still here.*\n(.*\n)*.*stop_here', text), f'{kind}: the own stack is as it was', text)


SHOW = ('rota tasks', 'echo bt of 2\\n', 'rota bt 2', 'echo bt of 3\\n', 'rota bt 3')
with tempfile.TemporaryDirectory() as folder:
    core = os.path.join(folder, 'core')
    live = run(f'file {program}', f'source {script}', 'run', *SHOW, 'echo still here\\n', 'bt', f'gcore {core}',
               'rota bt 9')
    check_output('live', live)
    if os.path.exists(core):
        check_output('core', run(f'file {program}', f'core-file {core}', f'source {script}', *SHOW,
                                 'echo still here\\n', 'bt', 'rota bt 9'))
early = run(f'file {program}', f'source {script}', 'rota tasks')
check('no loop found' in early and 'debug information' in early, 'before the program runs', early)
print(f'{results.count(True)} passed, {results.count(False)} failed')
sys.exit(not all(results))
