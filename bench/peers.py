"""The peers: which there are, what they can be compared in, how their programs are built. The programs are in peers/, are
written for this comparison, and use each library by its documented fast path.

    PROGRAM --divide D NAME   prints "NAME VALUE", or "NAME - WHY"
    PROGRAM --serve BYTES     a TCP echo server on one core, with buffers of so many bytes; prints "port N"
    PROGRAM --serve-http B    a server of HTTP on one core that answers "Hello, World!", text/plain; likewise
"""
import os
import shutil
import subprocess

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peers')
SIZES = ('1000', '100000', '1000000')
# The one that Debian's packages of modules are for, if it is there.
PYTHON = '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else 'python3'


def timers(*sizes):
    return [f'timer_{what}_{n}' for what in ('start', 'cancel', 'rearm', 'expire') for n in sizes]


SLEEPS = ['sleep_100us', 'sleep_1ms', 'sleep_10ms']
TASKS = ['yield_2', 'yield_1000', 'yield_100000', 'spawn_join', 'spawn_burst', 'queue_message', 'event_wake']

SYNC = ['mutex', 'semaphore', 'future', 'cancel_join', 'timeout_scope']


class Peer:
    """names: the benchmarks it has a row in; 'serve': all of echo and idle; 'serve-http': of http."""

    def __init__(self, name, names, build, version):
        self.name, self.names, self.build, self.how_old = name, names, build, version
        self.command, self.reason, self.version = None, 'not built', None


def run(command, folder, env=None, timeout=300):
    """None, or why it failed."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})})
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)[-120:]
    if done.returncode == 0:
        return None
    tells = ('error', 'not found', 'cannot')
    lines = [x for x in (done.stderr + done.stdout).split('\n') if any(t in x.lower() for t in tells)] or ['it failed']
    return f'{os.path.basename(command[0])}: {lines[0].strip()[-120:]}'


def output(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return (done.stdout or done.stderr).strip().split('\n')[0]
    except (OSError, subprocess.TimeoutExpired):
        return None


def is_old(program, source):
    newest = max(os.path.getmtime(os.path.join(HERE, f)) for f in os.listdir(HERE) if f.startswith((source, 'peer.')))
    return not os.path.exists(program) or os.path.getmtime(program) < newest


def compiled(source, *flags, words=()):
    """A C or C++ program; words are added to its command line."""
    def build(folder):
        stem, kind = source.rsplit('.', 1)
        program = os.path.join(folder, stem)
        driver = ['cc', '-std=gnu11'] if kind == 'c' else ['c++', '-std=c++20', '-fcoroutines']
        reason = None
        if is_old(program, source):
            reason = run([*driver, '-O3', '-DNDEBUG', '-pthread', '-o', program, os.path.join(HERE, source), *flags], folder)
        return ([program, *words], reason)
    return build


def go(folder):
    program = os.path.join(folder, 'go-peer')
    reason = None
    if is_old(program, 'peer_go.go'):
        reason = run(['go', 'build', '-o', program, os.path.join(HERE, 'peer_go.go')], folder,
                     {'GO111MODULE': 'off', 'GOCACHE': os.path.join(folder, 'go-cache'), 'GOFLAGS': ''})
    return ([program], reason)


def tokio(folder):
    """From Debian's own sources of crates, without any network."""
    crates, project = '/usr/share/cargo/registry', os.path.join(folder, 'tokio')
    program = os.path.join(project, 'target', 'release', 'peer')
    if not any(d.startswith('tokio-') for d in (os.listdir(crates) if os.path.isdir(crates) else [])):
        return ([program], 'librust-tokio-dev is not installed')
    if not is_old(program, 'peer_tokio.rs'):
        return ([program], None)
    os.makedirs(os.path.join(project, '.cargo'), exist_ok=True)
    os.makedirs(os.path.join(project, 'src'), exist_ok=True)
    shutil.copyfile(os.path.join(HERE, 'peer_tokio.rs'), os.path.join(project, 'src', 'main.rs'))
    with open(os.path.join(project, 'Cargo.toml'), 'w') as f:
        f.write('[package]\nname = "peer"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'
                'tokio = { version = "1", features = ["rt", "net", "time", "sync", "io-util"] }\n'
                '[profile.release]\nopt-level = 3\nlto = "fat"\ncodegen-units = 1\npanic = "abort"\n')
    with open(os.path.join(project, '.cargo', 'config.toml'), 'w') as f:
        f.write(f'[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "{crates}"\n')
    reason = run(['cargo', 'build', '--release', '--offline', '-q'], project,
                 {'CARGO_HOME': os.path.join(folder, 'cargo-home')}, timeout=580)
    return ([program], reason)


def script(interpreter, name, *words, probe=None):
    def build(folder):
        found = shutil.which(interpreter)
        reason = None if found else f'{interpreter} is not installed'
        if found and probe:
            reason = run([found, *probe], folder)
        return ([found or interpreter, os.path.join(HERE, name), *words], reason)
    return build


def packaged(name):
    return lambda: output(['dpkg-query', '-W', '-f', '${Version}', name])


# A version is asked of what is installed, not of what this was written for.
PEERS = [
    Peer('libuv', ['serve', 'wake_flood', 'wake_flood_4', 'wake_latency', 'offload_1', 'offload_1000', *SLEEPS,
                   *timers(*SIZES)], compiled('peer_uv.c', '-luv'), packaged('libuv1-dev')),
    Peer('libev', ['serve', *SLEEPS, *timers(*SIZES)], compiled('peer_ev.c', '-lev'), packaged('libev-dev')),
    Peer('libevent', ['serve', 'serve-http', 'wake_flood', *SLEEPS, *timers(*SIZES)],
         compiled('peer_event.c', '-levent_core', '-levent_extra', '-levent_pthreads'), packaged('libevent-dev')),
    Peer('asio', ['serve', 'wake_flood', 'wake_flood_4', 'wake_latency', 'offload_1', 'offload_1000', *SLEEPS,
                  *timers(*SIZES)], compiled('peer_asio.cc'), packaged('libasio-dev')),
    Peer('fcontext', ['switch_same', 'switch_different', 'switch_mixed', 'ring_1000', 'ring_100000'],
         compiled('peer_fcontext.cc', '-lboost_context'), packaged('libboost-context-dev')),
    Peer('fiber', TASKS, compiled('peer_fiber.cc', '-lboost_fiber', '-lboost_context'), packaged('libboost-fiber-dev')),
    Peer('st', ['serve', *SLEEPS, 'rss_parked_100000', *TASKS], compiled('peer_st.c', '-lst'), packaged('libst-dev')),
    Peer('go', ['serve', 'serve-http', *SLEEPS, 'rss_parked_100000', *TASKS, *SYNC, *timers('1000', '100000')],
         go, lambda: output(['go', 'version'])),
    Peer('tokio', ['serve', 'wake_flood', *SLEEPS, 'rss_parked_100000', *TASKS, *SYNC, *timers('1000', '100000')],
         tokio, packaged('librust-tokio-dev')),
    Peer('node', ['serve', 'serve-http'], script('node', 'peer_node.js'), lambda: output(['node', '--version'])),
    Peer('asyncio', ['serve', *SLEEPS, *[t for t in TASKS if t != 'yield_100000'], *SYNC, *timers('1000')],
         script(PYTHON, 'peer_asyncio.py', '--asyncio'),
         lambda: output([PYTHON, '--version'])),
    Peer('uvloop', ['serve', *SLEEPS, *[t for t in TASKS if t != 'yield_100000'], *SYNC, *timers('1000')],
         script(PYTHON, 'peer_asyncio.py', '--uvloop', probe=['-c', 'import uvloop']),
         packaged('python3-uvloop')),
]


def build_all(folder):
    """Builds what can be built; a peer without .command has a .reason."""
    os.makedirs(folder, exist_ok=True)
    for peer in PEERS:
        command, reason = peer.build(folder)
        peer.command, peer.reason = (None, reason) if reason else (command, None)
        peer.version = peer.how_old() if not reason else None
    return PEERS
