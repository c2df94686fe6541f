"""What the library weighs in a small program: a timer and TCP echo, by hand (the floor), by callbacks, by tasks. The
library is compiled for size (-Os, a section for each function) as a static one, and what the program does not need is left
out by the linker. Bytes are counted in the linker's own map, file by file. The same two programs with the small profile,
which they give room for 1,000 connections: "small" by tasks with 2 KiB each ("small_pages": a page each),
"callbacks_small" by callbacks. "full_trimmed" is "full" with all left out that an option of the build leaves out.

Memory is what lies in RAM once the program waits for its first event, and once 1,000 connections were served: the median
of several starts, because the kernel puts the process's own stack somewhere else each time, into one to three pages.

Targets: musl, static, x86-64 (the machine's own CPU); the same library with glibc, dynamic; AArch64, static.
"""
import functools
import os
import re
import shutil
import socket
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PROGRAMS = {'full': {'callbacks': 'callbacks', 'full': 'tasks'}, 'small': {'callbacks_small': 'callbacks', 'small': 'tasks'}}
KINDS = {'callbacks': 'echo by callbacks', 'callbacks_small': 'echo by callbacks, small profile',
         'small': 'echo by tasks, small profile', 'full': 'echo by tasks'}
HEAP = 'calls of malloc, calloc, realloc and free'
VALUES = {'static': 'code and data that an empty program has not, static', 'rss': 'resident memory before any event',
          'rss_1000': 'resident memory with 1,000 connections', 'heap_start': f'{HEAP} until it listens',
          'heap_connection': f'{HEAP} for a connection', 'start': 'time from its start until it listens',
          'faults': 'page faults until it waits for its first event'}
TRIMMED = ['-Dpoller=epoll', '-Dtrace_file=false', '-Doverflow_report=false', '-Dreport_details=false']
# What is measured, of which program; in the order of the tables.
WHAT = {**{f'text_{k}{suffix}': f"the library's code and constants; {program}{cpu}"
           for k, program in {**KINDS, 'full_trimmed': 'echo by tasks, less what build options leave out'}.items()
           for suffix, cpu in (('', ''), ('_aarch64', ', AArch64'))},
        **{f'{v}_{k}': f'{what}; {program}' for v, what in VALUES.items() for k, program in KINDS.items()},
        **{f'dynamic_{k}': f'code and data that an empty program has not, dynamic; {KINDS[k]}' for k in PROGRAMS['full']},
        'rss_1000_small_pages': f'{VALUES["rss_1000"]}; {KINDS["small"]}, a page for each stack'}
NAMES = list(WHAT)
STARTS, CONNECTIONS, SERVED = 31, 1000, 5
# Code and constants; not the tables for unwinding and not zeroed memory.
COUNTED = re.compile(r'^ (\.(?:text|rodata|data)[\w.$-]*)\s*(?:\n\s+)?\s(0x[0-9a-f]+)\s+(0x[0-9a-f]+) (\S.*)$', re.M)


class Failed(Exception):
    pass


def call(*command, **more):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)[-100:]) from error
    if done.returncode:
        lines = [x for x in (done.stderr + done.stdout).split('\n') if 'rror' in x] or ['']
        raise Failed(f'{os.path.basename(command[0])}: {lines[0][-100:] or "failed"}')
    return done.stdout


def library(build, name, compiler, cross=None, profile='full'):
    """librota.a for size, in a folder of its own."""
    name = name if profile == 'full' else f'{name}-{profile}'
    if not shutil.which(compiler):
        raise Failed(f'{compiler} is not installed')
    folder = os.path.join(build, 'size-' + name)
    if not os.path.exists(os.path.join(folder, 'build.ninja')):
        off = [f'-D{x}=disabled' for x in ('tests', 'examples', 'tls', 'curl', 'glib', 'hiredis', 'pq', 'uv')]
        options = ['-Dprofile=small'] if profile == 'small' else TRIMMED if profile == 'trimmed' else []
        words = ['meson', 'setup', folder, ROOT, *options, '-Doptimization=s', '-Ddebug=false', '-Db_ndebug=true',
                 '-Ddefault_library=static', '-Dc_args=-ffunction-sections -fdata-sections', *off]
        if cross:
            os.makedirs(build, exist_ok=True)
            path = os.path.join(build, f'size-{name}.ini')
            with open(path, 'w') as f:
                f.write(cross)
            words += ['--cross-file', path]
        call(*words, env={**os.environ, 'CC': compiler})
    call('ninja', '-C', folder, 'small/librota.a' if profile == 'small' else 'librota.a')
    return folder


def link(folder, compiler, source, *flags, with_library=True, name=None):
    """A program of footprint/; returns its path and its map's path."""
    out = os.path.join(folder, name or source)
    part = 'small/' if folder.endswith('-small') else ''
    rota = [os.path.join(folder, part + 'librota.a')] if with_library else []
    include = [f'-I{folder}/{part}include', f'-I{ROOT}/{part}include']
    call(compiler, '-std=gnu11', '-Os', '-ffunction-sections', '-fdata-sections', *include, '-o', out,
         os.path.join(HERE, 'footprint', source + '.c'), *flags, *rota, '-pthread', '-Wl,--gc-sections', f'-Wl,-Map={out}.map')
    return out


def library_bytes(program):
    with open(program + '.map') as f:
        text = f.read()
    kept = text[text.index('Linker script and memory map'):]
    return sum(int(size, 16) for _, where, size, path in COUNTED.findall(kept)
               if 'librota.a' in path and int(where, 16) > 0)


def program_bytes(program):
    """Text and data, as size(1) counts them."""
    words = call('size', program).split('\n')[1].split()
    return int(words[0]) + int(words[1])


class Running:
    def __init__(self, program):
        self.start = time.perf_counter()
        self.process = subprocess.Popen([program], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        self.us = (time.perf_counter() - self.start) * 1e6
        if not line.startswith('p '):
            self.process.kill()
            raise Failed('the program does not start')
        self.port = int(line[2:])

    def status(self, key):
        with open(f'/proc/{self.process.pid}/status') as f:
            return next(int(x.split()[1]) * 1024 for x in f if x.startswith(key))

    def faults(self):
        with open(f'/proc/{self.process.pid}/stat') as f:
            return int(f.read().rsplit(')', 1)[1].split()[7])

    def settle(self):
        """Until it waits for events."""
        for _ in range(1000):
            with open(f'/proc/{self.process.pid}/stat') as f:
                if f.read().rsplit(')', 1)[1].split()[0] == 'S':
                    return
            time.sleep(0.001)
        raise Failed('the program does not come to rest')

    def heap(self):
        return int(self.process.stdout.readline()[2:])

    def connect(self, n):
        made = []
        for _ in range(n):
            s = socket.create_connection(('127.0.0.1', self.port))
            s.sendall(b'x')
            s.recv(1)
            made.append(s)
        return made

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def of_starts(program, starts):
    us, faults, rss = [], [], []
    for _ in range(starts):
        run = Running(program)
        us.append(run.us)
        run.settle()
        faults.append(run.faults())
        rss.append(run.status('VmRSS:'))
        run.end()
    return statistics.median(us), statistics.median(faults), statistics.median(rss)


def of_connections(program):
    rss = []
    for _ in range(SERVED):
        run = Running(program)
        held = run.connect(CONNECTIONS)
        run.settle()
        rss.append(run.status('VmRSS:'))
        for s in held:
            s.close()
        run.end()
    return statistics.median(rss)


def of_heap(program):
    run = Running(program)
    start = run.heap()
    held = run.connect(100)
    after = run.heap()      # of the next tick,
    after = run.heap()      # and one that has certainly seen all of them
    for s in held:
        s.close()
    run.end()
    return start, (after - start) / 100


AARCH64 = 'aarch64-linux-gnu-gcc'
CROSS = (f"[binaries]\nc = '{AARCH64}'\nar = 'aarch64-linux-gnu-ar'\nstrip = 'aarch64-linux-gnu-strip'\n"
         "[host_machine]\nsystem = 'linux'\ncpu_family = 'aarch64'\ncpu = 'aarch64'\nendian = 'little'\n")


def prepare(build, quick):
    """Compiles the libraries; what fails here will fail again, and be told, when it is measured."""
    for name, compiler, cross in (('musl', 'musl-gcc', None), ('glibc', 'cc', None), ('aarch64', AARCH64, CROSS)):
        try:
            for profile in (*PROGRAMS, 'trimmed'):
                if not (quick and cross) and not (name == 'glibc' and profile != 'full'):
                    library(build, name, compiler, cross, profile)
        except Failed:
            pass


def measure(build, quick, put):
    def guarded(names, work):
        try:
            work()
        except Failed as failed:
            for name in names:
                put(name, None, 'B', reason=str(failed))

    def own(profile):
        folder = library(build, 'musl', 'musl-gcc', None, profile)
        empty = program_bytes(link(folder, 'musl-gcc', 'empty', '-static', with_library=False))
        raw = link(folder, 'musl-gcc', 'raw', '-static', with_library=False)
        floor = (program_bytes(raw) - empty, *of_starts(raw, STARTS), of_connections(raw))
        for kind, source in PROGRAMS[profile].items():
            program = link(folder, 'musl-gcc', source, '-static')
            put(f'text_{kind}', library_bytes(program), 'B')
            got = (program_bytes(program) - empty, *of_starts(program, STARTS), of_connections(program))
            for i, (what, unit) in enumerate((('static', 'B'), ('start', 'us'), ('faults', 'faults'), ('rss', 'B'),
                                              ('rss_1000', 'B'))):
                put(f'{what}_{kind}', got[i], unit, floor[i])
            wrapped = link(folder, 'musl-gcc', source, os.path.join(HERE, 'footprint', 'heap.c'), '-static',
                           *[f'-Wl,--wrap={x}' for x in ('malloc', 'calloc', 'realloc', 'free')], name=source + '-heap')
            if kind == 'small':
                paged = link(folder, 'musl-gcc', source, '-static', '-DFOOTPRINT_STACK=4096', name=source + '-pages')
                put('rss_1000_small_pages', of_connections(paged), 'B', floor[4])
            start, each = of_heap(wrapped)
            put(f'heap_start_{kind}', start, 'calls')
            put(f'heap_connection_{kind}', each, 'calls')

    def dynamic():
        folder = library(build, 'glibc', 'cc')
        empty = program_bytes(link(folder, 'cc', 'empty', with_library=False))
        raw = program_bytes(link(folder, 'cc', 'raw', with_library=False)) - empty
        for kind, source in PROGRAMS['full'].items():
            put(f'dynamic_{kind}', program_bytes(link(folder, 'cc', source)) - empty, 'B', raw)

    def aarch64(profile):
        if quick:
            raise Failed('left out when in a hurry (--quick)')
        folder = library(build, 'aarch64', AARCH64, CROSS, profile)
        for kind, source in PROGRAMS[profile].items():
            put(f'text_{kind}_aarch64', library_bytes(link(folder, AARCH64, source, '-static')), 'B')

    def trimmed(name, compiler, cross, target):
        if quick and cross:
            raise Failed('left out when in a hurry (--quick)')
        folder = library(build, name, compiler, cross, 'trimmed')
        put('text_full_trimmed' + target, library_bytes(link(folder, compiler, 'tasks', '-static')), 'B')

    for profile, programs in PROGRAMS.items():
        ends = tuple(f'_{kind}' for kind in programs)
        names = [n for n in NAMES if n.removesuffix('_pages').endswith(ends) and not n.startswith('dynamic')]
        guarded(names, functools.partial(own, profile))
        guarded([f'text_{kind}_aarch64' for kind in programs], functools.partial(aarch64, profile))
    guarded([n for n in NAMES if n.startswith('dynamic')], dynamic)
    guarded(['text_full_trimmed'], functools.partial(trimmed, 'musl', 'musl-gcc', None, ''))
    guarded(['text_full_trimmed_aarch64'], functools.partial(trimmed, 'aarch64', AARCH64, CROSS, '_aarch64'))


def results(build, quick):
    """Rows as drive.py writes them, in the order of NAMES."""
    found = {}

    def row(name, kind, value, unit, reason=None):
        r = {'group': 'footprint', 'name': name, 'row': kind, 'kind': kind, 'unit': unit, 'median': value, 'min': value,
             'max': value, 'runs': 0 if value is None else 1}
        if value is None:
            r['reason'] = reason
        return r

    def put(name, value, unit, floor=None, reason=None):
        if found.get(name, [{'median': None}])[-1]['median'] is not None:
            return   # measured before something else failed
        rows = [row(name, 'floor', floor, unit)] if floor is not None else []
        own = row(name, 'rota', value, unit, reason)
        if floor and value is not None:
            own['x_floor'] = value / floor
        found[name] = rows + [own]

    measure(build, quick, put)
    return [r for name in NAMES for r in found.get(name, [])]
