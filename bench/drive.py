#!/usr/bin/env python3
"""Runs benchmarks: floors and rota (the program bench), peers (the programs of peers.py), in turn.

scripts/bench builds and calls this; see README.md for the method. Each value comes from a process of its own. One round
measures every row of a benchmark once; the next round follows, so that what the machine does meanwhile hits all alike.
A row that fails, or whose program could not be built, is a dash with its reason: rows are never left out silently.
"""
import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

import chart
import footprint
import peers

HERE = os.path.dirname(os.path.abspath(__file__))
QUICK_RUNS, QUICK_SECONDS, QUICK_DIVIDE = 3, 85, 20
TIMEOUT = 120
OUT_OF_TIME, LEFT_OUT = 'no time left (--quick)', 'left out (--quick)'
LONG = re.compile(r'.*_1000000|echo_10000|timer_.*_100000|scale_.*_100000')   # of which --quick has no look,
LONG_SHARE = 3   # and a full run a third of the rounds;
SLOW_SECONDS, SLOW_SHARE = 1, 3   # nor does a peer that takes longer get more than every third
UNPINNED = ('wake', 'offload', 'scale')   # of several threads; one processor would be another benchmark


class Row:
    def __init__(self, name, kind, command, reason=None):
        self.name, self.kind, self.command, self.reason = name, kind, command, reason
        self.values = []          # one a round; None where there is none
        self.failed, self.seconds = False, 0

    def measure(self, pinned, timeout=TIMEOUT):
        """Adds a value, or None and a reason."""
        value, started = None, time.monotonic()
        try:
            pin = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if pinned else None
            done = subprocess.run(self.command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=timeout, preexec_fn=pin, start_new_session=True)
            words = done.stdout.strip().split('\n')[-1].split(' ', 2) if done.stdout.strip() else []
            if done.returncode == 0 and len(words) > 1 and words[1] != '-':
                value = float(words[1])
            elif done.returncode == 0 and len(words) > 2:
                self.reason = words[2].lstrip('- ')
            else:
                said = done.stderr.strip().split('\n')[-1][-100:]
                self.reason = said or f'failed with status {done.returncode}'
        except subprocess.TimeoutExpired:
            self.reason = f'took over {timeout:.0f} s'
        except OSError as error:
            self.reason = str(error)
        self.values.append(value)
        self.failed, self.seconds = value is None, time.monotonic() - started

    def good(self):
        return [v for v in self.values if v is not None]

    def result(self, group, name, unit, floor, best, others):
        good = self.good()
        out = {'group': group, 'name': name, 'row': self.name, 'kind': self.kind, 'unit': unit,
               'median': None, 'min': None, 'max': None, 'runs': len(good)}
        if not good:
            out['reason'] = self.reason or OUT_OF_TIME
            return out
        out.update(median=statistics.median(good), min=min(good), max=max(good))
        for key, other in (('x_floor', floor), ('x_best_peer', best)):
            if other and other is not self:
                ratio = paired(self.values, other.values)
                if ratio is not None:
                    out[key] = ratio
        if best and 'x_best_peer' in out:
            out['best_peer'] = best.name
        ratios = {r.name: paired(self.values, r.values) for r in others if r is not self}
        if any(ratios.values()):
            out['x_rows'] = {n: x for n, x in ratios.items() if x is not None}
        return out


def paired(values, others):
    """The median of the ratios within each round."""
    ratios = [a / b for a, b in zip(values, others) if a is not None and b]
    return statistics.median(ratios) if ratios else None


class Bench:
    def __init__(self, group, name, unit, what):
        self.group, self.name, self.unit, self.what, self.rows = group, name, unit, what, []

    def run(self, runs, pin, deadline=None, seconds=None):
        """All rounds; with a deadline, no round begins after its share of seconds is used up."""
        started = time.monotonic()
        rows = [r for r in self.rows if r.command]
        for turn in range(runs):
            for row in rows:
                if row.failed or (row.kind == 'peer' and turn % SLOW_SHARE and row.seconds > SLOW_SECONDS):
                    row.values.append(None)   # once is enough; or too slow for each round
                    continue
                now = time.monotonic()
                if deadline and (now > deadline or (turn == 0 and row.kind == 'peer' and now - started > 1.5 * seconds)):
                    row.reason = row.reason or OUT_OF_TIME
                    row.values.append(None)
                    row.failed = not row.good()
                    continue
                row.measure(pin and self.group not in UNPINNED,
                            min(TIMEOUT, deadline + 8 - now) if deadline else TIMEOUT)
            if deadline and time.monotonic() - started > seconds:
                break

    def results(self):
        floor = next((r for r in self.rows if r.kind == 'floor' and r.good()), None)
        # Less than nothing is no victory: a sleeper that woke early.
        others = [r for r in self.rows if r.kind == 'peer' and r.good() and statistics.median(r.good()) >= 0]
        best = min(others, key=lambda r: statistics.median(r.good()), default=None)
        out = []
        for row in self.rows:
            mine = row.kind == 'rota'
            out.append(row.result(self.group, self.name, self.unit, floor if row.kind != 'floor' else None,
                                  best if mine else None, self.rows if mine else []))
        return out


def quoted_results(bench, quoted):
    for peer, value in quoted['values'].get(bench.name, {}).items():
        yield {'group': bench.group, 'name': bench.name, 'row': peer, 'kind': 'quoted', 'unit': bench.unit,
               'median': None, 'min': None, 'max': None, 'runs': 0, 'quoted': value,
               'reason': f'not re-measured: {value:g} {bench.unit} elsewhere'}


# ---- what there is ------------------------------------------------------------------------------------

SERVED = {'serve': ('echo', 'idle'), 'serve-http': ('http',)}   # what a peer's server is loaded with


def benches_of(program, divide, built):
    """The benchmarks of the program, with the rows of the peers that have them."""
    listing = subprocess.run([program, '--rows'], capture_output=True, text=True)
    if listing.returncode:
        sys.exit(listing.stderr.strip())
    found = {}
    for line in listing.stdout.splitlines():
        group, name, unit, row, what = line.split('\t')
        bench = found.setdefault(name, Bench(group, name, unit, what))
        kind = 'rota' if row.startswith('rota') or row in ('callbacks', 'merged') else 'floor'
        bench.rows.append(Row(row, kind, [program, '--divide', str(divide), '--row', row, name]))
    for peer in built:
        for name in peer.names:
            if name in SERVED:
                for bench in found.values():
                    if bench.group in SERVED[name]:
                        command = [program, '--divide', str(divide), '--load', bench.name, *(peer.command or []), f'--{name}']
                        bench.rows.append(Row(peer.name, 'peer', command if peer.command else None, peer.reason))
            elif name in found:
                command = [*(peer.command or []), '--divide', str(divide), name]
                found[name].rows.append(Row(peer.name, 'peer', command if peer.command else None, peer.reason))
    return list(found.values())


def row_texts(benches, quoted):
    """What each row is: README.md is the only place that says it, and must say it of all there are."""
    with open(os.path.join(HERE, 'README.md'), encoding='utf-8') as f:
        section = f.read().replace('µs', 'us').split('\n## Rows\n')[1].split('\n## ')[0]
    texts = {row: text.replace('`', '') for row, text in re.findall(r'^\| `([^`]+)` \| (.+) \|$', section, re.M)}
    rows = {r.name for b in benches for r in b.rows} | {p.name for p in peers.PEERS}
    rows |= {peer for values in quoted['values'].values() for peer in values}
    if rows != set(texts):
        sys.exit(f'bench/README.md, Rows: not one text for each row: {", ".join(sorted(rows ^ set(texts)))}')
    return texts


def commit():
    """Of what is measured; None where there is no git."""
    try:
        done = subprocess.run(['git', '-C', HERE, 'describe', '--always', '--dirty', '--abbrev=12'], capture_output=True,
                              text=True)
    except OSError:
        return None
    return done.stdout.strip() or None


def machine(program):
    about = json.loads(subprocess.run([program, '--machine'], capture_output=True, text=True, check=True).stdout)
    model = 'unknown'
    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    u = platform.uname()
    return {'system': u.system, 'release': u.release, 'cpu': u.machine, 'model': model, 'cores': os.cpu_count(),
            'libc': ' '.join(platform.libc_ver()), 'python': platform.python_version(), **about,
            'date': time.strftime('%Y-%m-%d'), 'commit': commit(), 'load': os.getloadavg()[0]}


# ---- tables -------------------------------------------------------------------------------------------

def number(value):
    return f'{value:.0f}' if abs(value) >= 10000 else f'{value:.2f}' if abs(value) >= 0.1 or value == 0 else f'{value:.4f}'


def print_texts(title, texts, names):
    """What the names of a table mean, once each."""
    print(f'  {title}:')
    width = max(map(len, names), default=0)
    for name in dict.fromkeys(names):
        print(f'    {name:{width}}  {texts[name]}')


def print_group(group, results, what, row_is):
    print(f'\n{group}')
    print(f'  {"":26} {"":13} {"median":>10} {"":6} {"x floor":>8} {"x peer":>8}   spread')
    last = None
    for r in results:
        name = r['name'] if r['name'] != last else ''
        last = r['name']
        if r['median'] is None:
            print(f'  {name:26} {r["row"]:13} {"-":>10} {"":6} {"":8} {"":8}   {r["reason"]}')
            continue
        floor = f'{r["x_floor"]:.2f}' if 'x_floor' in r else ''
        peer = f'{r["x_best_peer"]:.2f}' if 'x_best_peer' in r else ''
        against = f'  (best peer: {r["best_peer"]})' if 'best_peer' in r else ''
        print(f'  {name:26} {r["row"]:13} {number(r["median"]):>10} {r["unit"]:6} {floor:>8} {peer:>8}   '
              f'{number(r["min"])} .. {number(r["max"])}{against}')
    print_texts('measured', what, [r['name'] for r in results])
    print_texts('rows', row_is, [r['row'] for r in results])
    sys.stdout.flush()


def compare(old_path, before_all, results):
    """Rota's rows against an older file: by ratio to the floor where both have one, since machines differ."""
    old = {(r['name'], r['row']): r for r in before_all}
    print(f'\ncompared with {old_path}; x floor where there is a floor; beyond both spreads and 7 %: marked')
    for r in results:
        before = old.get((r['name'], r['row']))
        if r['kind'] != 'rota' or r['median'] is None or not before or before['median'] is None:
            continue
        apart = r['min'] > before['max'] or r['max'] < before['min']
        was, now = before['median'], r['median']
        if 'x_floor' in r and 'x_floor' in before:
            was, now = before['x_floor'], r['x_floor']
        change = now / was - 1 if was else 0
        mark = ('worse' if change > 0 else 'better') if apart and abs(change) > 0.07 else ''
        print(f'  {r["name"]:26} {r["row"]:13} {number(was):>10} -> {number(now):>10}  {100 * change:+6.0f} %  {mark}')


# ---- main ---------------------------------------------------------------------------------------------

def arguments():
    p = argparse.ArgumentParser(prog='scripts/bench', description='Measures rota beside floors and peers.')
    p.add_argument('groups', nargs='*', metavar='GROUP', help='only these groups (or benchmarks)')
    p.add_argument('--list', action='store_true', help='what there is')
    p.add_argument('--runs', type=int, help='rounds (11)')
    p.add_argument('--quick', action='store_true', help='everything in under two minutes, for a look')
    p.add_argument('--pin', action='store_true', help='to the first processor (the load of echo to the last one)')
    p.add_argument('--no-peers', action='store_true', help='floors and rota only: nothing is installed')
    p.add_argument('--compare', metavar='OLD.json', help='with the results of an earlier run')
    p.add_argument('--json', default='bench-results.json', metavar='FILE', help='where results go (bench-results.json)')
    p.add_argument('--charts', default='bench-charts', metavar='FOLDER', help='where charts go (bench-charts)')
    p.add_argument('--build', required=True, help=argparse.SUPPRESS)
    a = p.parse_args()
    a.build = os.path.abspath(a.build)   # peers are built in folders of their own
    if a.runs is None:
        a.runs = QUICK_RUNS if a.quick else 11
    if a.runs < 1:
        p.error('--runs: at least 1')
    try:   # before anything is measured, and written, perhaps to the same file
        with open(a.compare or os.devnull) as f:
            a.before = json.load(f)['results'] if a.compare else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        p.error(f'--compare: {a.compare} holds no results: {error}')
    return a


def warn(about, quick):
    if about['load'] > 0.3 * about['cores']:
        print(f'the machine is busy (load {about["load"]:.1f}): ratios will scatter, too')
    if quick:
        print('--quick: rounds are few and short; nothing here is to be relied on')
    sys.stdout.flush()


def run_all(benches, a, quoted, write, show):
    """After each benchmark what there is is written: a run that is broken off is not lost."""
    results, group, deadline = [], None, time.monotonic() + QUICK_SECONDS if a.quick else None
    mine = []
    for i, bench in enumerate(benches):
        if group not in (None, bench.group):
            show(group, mine)
            mine = []
        group = bench.group
        share = max(0.1, (deadline - time.monotonic()) / (len(benches) - i)) if deadline else None
        runs = max(3, a.runs // LONG_SHARE) if LONG.fullmatch(bench.name) else a.runs
        bench.run(runs, a.pin, deadline, share)
        new = bench.results() + list(quoted_results(bench, quoted))
        mine += new
        results += new
        write(results)
    if mine:
        show(group, mine)
    return results


def main():
    a = arguments()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)   # --list | head
    program = os.path.join(a.build, 'bench', 'bench')
    built = [] if a.no_peers or a.list else peers.build_all(os.path.join(a.build, 'peers'))
    for peer in built:
        if peer.reason:
            print(f'not to be had: {peer.name}: {peer.reason}')
    benches = benches_of(program, QUICK_DIVIDE if a.quick else 1, peers.PEERS if a.list else built)
    with open(os.path.join(HERE, 'quoted.json')) as f:
        quoted = json.load(f)
    what = {**{b.name: b.what for b in benches}, **footprint.WHAT}
    row_is = row_texts(benches, quoted)
    names = {b.group for b in benches} | {b.name for b in benches} | {'footprint'}
    unknown = [g for g in a.groups if g not in names]
    if unknown:
        sys.exit(f'no such group: {" ".join(unknown)}; see --list')
    for b in benches:
        if a.quick and LONG.fullmatch(b.name):
            for row in b.rows:
                row.command, row.reason = None, row.reason or LEFT_OUT
    benches = [b for b in benches if not a.groups or b.group in a.groups or b.name in a.groups]
    if a.list:
        for b in benches:
            print(f'{b.group:10} {b.name:26} {b.what}\n{"":37} rows: {", ".join(r.name for r in b.rows)}')
        for name, text in footprint.WHAT.items():
            print(f'{"footprint":10} {name:31} {text}')
        print_texts('rows', row_is, row_is)
        return
    with_footprint = not a.groups or 'footprint' in a.groups
    if with_footprint:
        footprint.prepare(a.build, a.quick)
    about = machine(program)
    about['peers'] = {p.name: p.version for p in built if p.command}
    warn(about, a.quick)

    def write(results):
        about['load'] = os.getloadavg()[0]
        with open(a.json, 'w') as f:
            rows = ',\n  '.join(json.dumps(r) for r in results)   # a line each
            what_is = json.dumps({r['name']: what[r['name']] for r in results}, indent=1)
            f.write(f'{{"machine": {json.dumps(about, indent=1)},\n "what": {what_is},\n "results": [\n  {rows}\n]}}\n')

    def show(group, results):
        print_group(group, results, what, row_is)

    results = run_all(benches, a, quoted, write, show)
    if with_footprint:
        sizes = footprint.results(a.build, a.quick)
        show('footprint', sizes)
        results += sizes
    write(results)
    print(f'\nresults: {a.json}; charts: {a.charts}/ ({chart.draw_all(results, about, a.charts)} files)')
    if a.compare:
        compare(a.compare, a.before, results)


if __name__ == '__main__':
    main()
