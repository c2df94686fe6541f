"""Writes one run down as a page: what was measured on, the goals and whether they are reached, where a peer is ahead, all
tables, and the pictures beside the page.

usage: bench/report.py RESULTS.json CHARTS-FOLDER PAGE.md
"""
import json
import os
import shutil
import sys

import drive

HERE = os.path.dirname(os.path.abspath(__file__))
NOISE = 1.07   # what a shared machine cannot tell apart, where something is timed
EXACT = ('B', 'calls', 'faults')


def value(r):
    return f'{drive.number(r["median"])} {r["unit"]}'.replace(' us', ' µs')


def judged(goal, rows):
    """(what is asked, what was found, 'yes' | 'no' | 'not measured')."""
    name = goal.get('row', 'rota')
    r = rows.get(name)
    if not r or r['median'] is None:
        return asked(goal, None), (r or {}).get('reason', 'no such row'), 'not measured'
    if 'x_peer' in goal:
        peer = rows.get(goal['peer'])
        if not peer or peer['median'] is None:
            return asked(goal, r), 'the peer is missing', 'not measured'
        ratio = r['x_rows'][goal['peer']]
        return asked(goal, r), f'{ratio:.2f} x', verdict(ratio, goal['x_peer'])
    if 'x_row' in goal:
        ratio = r['x_rows'][goal['of']]
        return asked(goal, r), f'{ratio:.2f} x', verdict(ratio, goal['x_row'])
    if 'over_floor' in goal:
        more = r['median'] - rows['floor']['median']
        return asked(goal, r), f'{more:+.3f}', verdict(more, goal['over_floor'], r['unit'])
    if 'x_floor' in goal:
        return asked(goal, r), f'{r["x_floor"]:.2f} x', verdict(r['x_floor'], goal['x_floor'])
    if 'floor' in goal:
        found = f'{value(r)} ({r["x_floor"]:.2f} x)'
        if r['x_floor'] <= goal['at_most'] / goal['floor']:
            return asked(goal, r), found, 'yes'
        return asked(goal, r), found, 'in absolute terms only' if r['median'] <= goal['at_most'] else 'no'
    return asked(goal, r), value(r), verdict(r['median'], goal['at_most'], r['unit'])


def asked(goal, r):
    unit = f' {r["unit"]}'.replace(' us', ' µs') if r else ''
    if 'x_peer' in goal:
        return f'{goal["x_peer"]} x {goal["peer"]}'
    if 'x_row' in goal:
        return f'{goal["x_row"]} x {goal["of"]}'
    if 'over_floor' in goal:
        return f'the floor + {goal["over_floor"]}'
    if 'x_floor' in goal:
        return f'{goal["x_floor"]} x floor'
    if 'floor' in goal:
        return f'{goal["at_most"] / goal["floor"]:.2f} x floor ({goal["at_most"]}{unit} beside {goal["floor"]})'
    return f'{goal["at_most"]}{unit}'


def verdict(found, bound, unit=None):
    """Of what was timed or of a ratio of times, if not said."""
    return 'yes' if found <= bound else 'within noise' if found <= bound * NOISE and unit not in EXACT else 'no'


def goals_table(results):
    by_name = {}
    for r in results:
        by_name.setdefault(r['name'], {})[r['row']] = r
    with open(os.path.join(HERE, 'goals.json')) as f:
        goals = json.load(f)['goals']
    out, counts = ['| row | goal: at most | found | reached | what keeps it |', '|---|---|---|---|---|'], {}
    for goal in goals:
        row = goal.get('row', 'rota')
        label = goal['name'] + ('' if row == 'rota' else f' ({row})')
        wanted, found, reached = judged(goal, by_name.get(goal['name'], {}))
        counts[reached] = counts.get(reached, 0) + 1
        why = goal.get('why', '') if reached not in ('yes', 'within noise') else ''
        out.append(f'| `{label}` | {wanted} | {found} | {reached} | {why} |')
    out.append('')
    out.append(', '.join(f'{n} {k}' for k, n in sorted(counts.items(), key=lambda x: -x[1])) + '.')
    return out


def lost(results):
    """Where the best peer is ahead by more than noise, the furthest first."""
    behind = [r for r in results if r['kind'] == 'rota' and r.get('x_best_peer', 0) > NOISE]
    out = ['| row | rota | best peer | ratio |', '|---|---|---|---|']
    for r in sorted(behind, key=lambda r: -r['x_best_peer']):
        label = r['name'] + ('' if r['row'] == 'rota' else f' ({r["row"]})')
        out.append(f'| `{label}` | {value(r)} | {r["best_peer"]} | {r["x_best_peer"]:.2f} |')
    return out if behind else ['Nowhere.']


def group_table(rows):
    out = ['| benchmark | row | median | x floor | x best peer | spread | rounds |', '|---|---|---|---|---|---|---|']
    last = None
    for r in rows:
        name = f'`{r["name"]}`' if r['name'] != last else ''
        last = r['name']
        row = f'**{r["row"]}**' if r['kind'] == 'rota' else r['row']
        if r['median'] is None:
            out.append(f'| {name} | {row} | - | | | {r["reason"]} | |')
            continue
        x = [f'{r[k]:.2f}' if k in r else '' for k in ('x_floor', 'x_best_peer')]
        peer = f' ({r["best_peer"]})' if 'best_peer' in r else ''
        out.append(f'| {name} | {row} | {value(r)} | {x[0]} | {x[1]}{peer} | '
                   f'{drive.number(r["min"])} .. {drive.number(r["max"])} | {r["runs"]} |')
    return out


def texts_table(what):
    out = ['| benchmark | what is measured |', '|---|---|']
    return out + [f'| `{name}` | {text} |' for name, text in what.items()]


def page(data, folder):
    about, results = data['machine'], data['results']
    peers = ', '.join(f'{k} {v}' for k, v in about['peers'].items())
    out = ['# Performance', '',
           'What `scripts/bench` found, as it was, written down by `bench/report.py`; how it measures and how to read it: '
           '[bench/README.md](../bench/README.md). What was tried to get here, and what did not pay: '
           '[DECISIONS.md](DECISIONS.md).', '',
           f'- {about["date"]}; {about["model"]}, {about["cores"]} cores of a virtual machine; {about["system"]} '
           f'{about["release"]}, {about["cpu"]}, {about["libc"]}; {about["compiler"]}; load at the end {about["load"]:.1f}',
           f'- rota {about["rota"]}, commit {about.get("commit") or "unknown"}; peers: {peers}',
           f'- {max(r["runs"] for r in results)} rounds, fewer of what takes seconds (last column of the tables); less is '
           'better, but for MB/s; figures of one run on a shared machine: the ratios count, which are medians of those within '
           f'each round. All that this page is made of: [results.json]({folder}/results.json)', '',
           '## Goals', '',
           'A goal in nanoseconds was set beside a floor measured elsewhere, so it is read as a ratio to that floor, and '
           '"in absolute terms only" means that this machine\'s floor is faster by more than rota is. "Within noise": more than '
           f'asked for, by less than {100 * (NOISE - 1):.0f} %, of what is timed.', '',
           *goals_table(results), '', f'## Where a peer is ahead by more than {100 * (NOISE - 1):.0f} %', '', *lost(results), '']
    for group in dict.fromkeys(r['group'] for r in results):
        out += [f'## {group}', '', f'![{group}]({folder}/{group}.svg)', '',
                *group_table([r for r in results if r['group'] == group]), '']
    if 'what' in data:   # not in files of old
        out += ['## What is measured', '', 'What the rows are: [bench/README.md](../bench/README.md#rows).', '',
                *texts_table(data['what']), '']
    return '\n'.join(out)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    results, charts, target = sys.argv[1:]
    with open(results) as f:
        data = json.load(f)
    stem = os.path.splitext(os.path.basename(target))[0].lower()
    folder = os.path.join(os.path.dirname(target) or '.', stem)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(charts, folder)
    shutil.copy(results, os.path.join(folder, 'results.json'))
    with open(target, 'w') as f:
        f.write(page(data, stem))


if __name__ == '__main__':
    main()
