#!/usr/bin/env python3
"""Runs programs with ROTA_TRACE and holds the files against the Trace Event Format; ends with "N passed, N failed".

usage: check.py NAMES-PROGRAM EXAMPLE...

 - The file is JSON (a killed program's is, once the closing bracket is added).
 - In each row, "B" and "E" alternate as brackets do, and times never run backwards.
 - Each row and each process has a name, and each arrow a beginning and an end, in this order.
 - A task's slices touch: it is always ready, running or waiting, from its spawn to its end.
"""
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

results = []


def check(ok, text):
    results.append(bool(ok))
    if not ok:
        print('WRONG:', text)


def run(folder, name, program, *words, **environment):
    path = pathlib.Path(folder, name + '.json')
    subprocess.run([program, *words], env={**os.environ, **environment, 'ROTA_TRACE': str(path)},
                   stdout=subprocess.DEVNULL, timeout=100, check=True)
    return path.read_text(encoding='utf-8')


def rows_of(events):
    rows = collections.defaultdict(list)
    for e in events:
        if e['ph'] in 'BE':
            rows[e['pid'], e['tid']].append(e)
    return rows


def check_row(name, row, is_loop):
    depth, last, touching = 0, -1, True
    for e in row:
        check(e['ts'] >= last, f'{name}: time runs backwards at {e}')
        touching = touching and (is_loop or depth == 1 or e['ts'] == last or last == -1)
        last = e['ts']
        depth += 1 if e['ph'] == 'B' else -1
        check(depth in (0, 1) or is_loop and depth >= 0, f'{name}: slices do not nest at {e}')
        check(e['ph'] == 'E' or e['name'], f'{name}: a slice without a name: {e}')
    check(depth == 0, f'{name}: {depth} slices without an end')
    check(touching, f'{name}: a gap between slices')


def check_arrows(name, events):
    begun, ended = {}, {}
    for e in events:
        if e['ph'] == 's':
            check(e['id'] not in begun, f'{name}: the arrow {e["id"]} begins twice')
            begun[e['id']] = e
        elif e['ph'] == 'f':
            check(e['id'] in begun and e['id'] not in ended, f'{name}: the arrow {e["id"]} ends before it begins')
            ended[e['id']] = e
    check(begun.keys() == ended.keys(), f'{name}: arrows without an end')
    check(all(begun[i]['ts'] <= ended[i]['ts'] for i in ended), f'{name}: an arrow back in time')
    return len(begun)


def check_events(name, events):
    for e in events:
        check(e['ph'] in 'MBEsfiC', f'{name}: unknown phase {e}')
        check(0 < e['tid'] < 2**32 and 0 < e['pid'] < 2**32, f'{name}: ids that viewers cannot hold: {e}')
        check(e['ph'] == 'M' or e['ts'] >= 0, f'{name}: no time: {e}')
    names = {(e['pid'], e['tid']): e['args']['name'] for e in events if e['name' if 'name' in e else 'ph'] == 'thread_name'}
    processes = {e['pid'] for e in events if e.get('name') == 'process_name'}
    rows = rows_of(events)
    check(set(rows) <= set(names), f'{name}: rows without a name: {set(rows) - set(names)}')
    check({pid for pid, _ in names} <= processes, f'{name}: processes without a name')
    check(len({tid for _, tid in names}) == len(names), f'{name}: a thread id in two processes')
    for key, row in rows.items():
        check_row(f'{name}, {names.get(key)}', row, names.get(key) == 'loop')
    return names, rows, check_arrows(name, events)


def check_example(folder, program, clock):
    name = f'{pathlib.Path(program).name} ({clock} clock)'
    names, rows, arrows = check_events(name, json.loads(run(folder, 'example', program, ROTA_CLOCK=clock)))
    slices = {e['name'] for row in rows.values() for e in row if e['ph'] == 'B'}
    check({'runs', 'ready', 'poll'} <= slices, f'{name}: no {slices}')
    check(any(s.startswith('waits for ') for s in slices), f'{name}: nothing waits')
    check(arrows > 0 and any(n.startswith('main #') for n in names.values()), f'{name}: no arrows, or no main')


def check_names(folder, program):
    """Names that JSON must escape, in two loops at once, one after the other, and in a child after fork."""
    names, _, _ = check_events('names', json.loads(run(folder, 'names', program)))
    seen = list(names.values())
    for expected in ('quote " and \\ #2', 'control \x01\n\x7f #3', 'half \ufffd character \ufffd\ufffd #4',
                     'd\u00e9j\u00e0 \u20ac \U0001f600 #5', 'task #6', 'task #7', 'x' * 128 + '... #8'):
        check(seen.count(expected) == 3, f'names: {expected!r} is there {seen.count(expected)} times in {seen}')
    check(seen.count('loop') == 3, f'names: {seen.count("loop")} loops')
    children = [p for p in pathlib.Path(folder).glob('names.json.*')]
    check(len(children) == 1, f'names: {len(children)} files of children')
    for path in children:
        check_events('child', json.loads(path.read_text()))


def check_killed(folder, program):
    """What a killed program has written is whole lines."""
    path = pathlib.Path(folder, 'killed.json')
    process = subprocess.Popen([program, 'forever'], env={**os.environ, 'ROTA_TRACE': str(path)},
                               stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=100)
    text = path.read_text()
    check(not text.endswith(']\n'), 'killed: the file is closed')
    check(len(json.loads(text + ']')) > 10, 'killed: nothing was written')


with tempfile.TemporaryDirectory() as folder:
    check_names(folder, sys.argv[1])
    check_killed(folder, sys.argv[1])
    for example in sys.argv[2:]:
        check_example(folder, example, 'virtual')
    check_example(folder, sys.argv[2], 'real')
print(f'{results.count(True)} passed, {results.count(False)} failed')
sys.exit(not all(results))
