#!/usr/bin/env python3
"""generate.py HEADERS...: a C program that makes every call of the public headers in ways that are wrong.

Out comes (on standard output) the table `calls` that kit.c runs: for each function one that calls it with sound
arguments, of which one pointer can be NULL. What an argument may be is chosen by its type, else by its name; a new
function of known types needs nothing here. What NULL, another thread or a closed loop may mean is said by the tables
below, which are the documented exceptions: an entry that fits no function is an error.
"""
import pathlib
import re
import sys

# NULL is documented for these parameters of every function ...
NULL_ANYWHERE = {'arg', 'ctx', 'opt', 'result', 'done', 'winner', 'left', 'status', 'on_error', 'reason'}
# ... and for these of some: what is then asked is only that the call returns.
NULL_HERE = {
    'rota_accept': {'addr', 'len'}, 'rota_address_text': {'buf'}, 'rota_future_value': {'value'},
    'rota_group_end': {'group'}, 'rota_loop_describe': {'loop', 'buf'}, 'rota_scope_end': {'scope'},
    'rota_task_describe': {'task', 'buf'}, 'rota_as_completed_end': {'it'}, 'rota_as_completed_next': {'task'},
    'rota_cancelled': {'reason', 'at'}, 'rota_co_free': {'co'}, 'rota_co_resume': {'out'}, 'rota_co_yield': {'in'},
    'rota_dial': {'host'}, 'rota_executor_free': {'executor'}, 'rota_future_then': {'fn'}, 'rota_gather_map_at': {'results'},
    'rota_gen_close': {'g'}, 'rota_gen_next': {'value'}, 'rota_gen_send': {'value'}, 'rota_gen_throw': {'value'},
    'rota_gen_yield': {'in'}, 'rota_listen': {'host', 'service'}, 'rota_local_set': {'value'},
    'rota_loop_free': {'loop'}, 'rota_workers_free': {'workers'}, 'rota_loop_set_current': {'loop'}, 'rota_loop_set_trace': {'fn'},
    'rota_process_communicate': {'in'}, 'rota_process_run': {'in'}, 'rota_process_wait': {'process'},
    'rota_recvfrom': {'addr', 'len'}, 'rota_remote_open': {'loop'}, 'rota_sendto': {'addr', 'buf'},
    'rota_resolve': {'host', 'service'}, 'rota_dns_resolve': {'service'}, 'rota_sendfile': {'offset'},
    'rota_serve': {'host', 'service'}, 'rota_spawn_at': {'task'}, 'rota_thread_queue_free': {'queue'},
    'rota_trace_to_file': {'path'}, 'rota_udp_bind': {'host', 'service'}, 'rota_unix_bind': {'name'},
}
# Calls that any thread may make, or that touch no loop: on another thread, and when the loop is closed, they may succeed.
FREE = re.compile(r'''rota_(
    address_ | unix_address | dns_arpa | executor_(new|close|free) | remote_(ref|close|post|call_soon|call_later|call_at) |
    thread_queue_ | strerror | version | trace_kind | loop_(backends|new|current|free|set_current) | process_exit_ |
    run_at | fork_server_ | co_new | gen_open | queue_init | barrier_init | future_value | future_done | latch_init | sem_init | now |
    (set|local|peer)_ | socket_error | udp_(join|leave|set) | pipe | socketpair | pty_open | unix_(listen|bind|peer) |
    close | forget | try_(read|write) | strerror | group_begin | process_close | dns_close | executor_drain | self |
    future_on_done | done_remove | future_then | scope_ | timeout_at | shield_at | local_get
)''', re.X)

# Only asked, or known to no loop while nobody waits: on another thread these are refused, or do no harm ...
ASKED = re.compile(r'rota_(co_stack_used|loop_(now|backend|tasks|describe)|task_describe|group_end)')
# ... and these touch only their own object when its loop has closed.
ALONE = re.compile(r'rota_(co_|future_|event_|sem_|latch_|barrier_|queue_|cond_notify|stream_close|signals_close|workers_(close|free))')

BY_TYPE = {
    'rota_at': 'ROTA_HERE', 'rota_at *': '&kit->at', 'bool': 'true', 'mode_t': '0600', 'off_t': '0', 'pid_t': '1 << 20',
    'rota_loop *': 'kit->loop', 'rota_task *': 'kit->task', 'rota_task *const *': '&kit->task',
    'rota_remote *': 'kit->remote', 'rota_co *': 'kit->co', 'rota_executor *': 'kit->executor',
    'rota_thread_queue *': 'kit->thread_queue', 'rota_workers *': 'kit->workers', 'rota_workers **': '&kit->new_workers',
    'rota_worker_job *': '&kit->worker_job',
    'rota_loop **': '&kit->new_loop', 'rota_task **': '&kit->new_task', 'rota_remote **': '&kit->new_remote',
    'rota_co **': '&kit->new_co', 'rota_executor **': '&kit->new_executor',
    'rota_thread_queue **': '&kit->new_thread_queue', 'rota_dns_record **': '&kit->records',
    'intptr_t *': '&kit->value', 'size_t *': '&kit->size', 'int *': 'kit->ints', 'int64_t *': '&kit->offset',
    'char **': '&kit->text', 'char *': 'kit->bytes', 'void *': 'kit->bytes', 'char *const *': 'kit->argv',
    'struct sockaddr *': '(void *)&kit->address.addr', 'socklen_t *': '&kit->address.len',
    'struct iovec *': '&kit->iov', 'struct msghdr *': '&kit->msg', 'struct stat *': '&kit->st',
    'socklen_t': 'kit->address.len', 'int64_t': '1', 'intptr_t': '1', 'size_t': '1', 'uint64_t': 'ROTA_SIGNAL(SIGUSR1)',
    'unsigned': '1', 'rota_fn *': 'body', 'rota_co_fn *': 'co_body', 'rota_gen_fn *': 'gen_body',
    'rota_client_fn *': 'client', 'rota_each_task_fn *': 'each_task', 'rota_trace_fn *': 'trace',
    'rota_stream_transport *': '&kit->transport',
}
STRUCTS = '''rota_future rota_done rota_scope rota_group rota_call rota_clause rota_then rota_local rota_as_completed
    rota_as_completed_slot rota_stream rota_address rota_signals rota_soon rota_timer rota_ticker rota_watcher rota_signal
    rota_child rota_event rota_mutex rota_cond rota_sem rota_rwlock rota_barrier rota_latch rota_queue rota_counters
    rota_process rota_process_output rota_peer rota_dns rota_gen rota_file_listing rota_file_data'''.split()
BY_TYPE |= {f'{name} *': f'&kit->{name[5:]}' for name in STRUCTS}
BY_NAME = {
    'fd': 'kit->fd', 'in': 'kit->fd', 'out': 'kit->fd', 'listener': 'kit->listener', 'fds': 'kit->ints', 'error': '-EIO',
    'signo': 'SIGUSR1', 'family': '0', 'until': 'ROTA_ALL', 'flags': '0', 'iovcnt': '1', 'type': 'SOCK_STREAM',
    'hops': '1', 'probes': '1', 'receive': '0', 'send': '0', 'v': '-1', 'kind': '1',
}
BY_TEXT = {
    'host': '"127.0.0.1"', 'service': '"0"', 'path': '"/nonexistent/file"', 'from': '"/nonexistent/a"',
    'to': '"/nonexistent/b"', 'name': '"@rota-invalid"', 'text': '"127.0.0.1:80"', 'reason': '"a reason"',
}
MORE = {('rota_queue_init', 'item_size'): 'sizeof(intptr_t)', ('rota_gather_map_at', 'stride'): 'sizeof(intptr_t)',
        ('rota_dns_query', 'size'): 'sizeof kit->bytes', ('rota_dns_arpa', 'size'): 'sizeof kit->bytes',
        ('rota_thread_queue_new', 'item_size'): 'sizeof(intptr_t)', ('rota_process_exit_code', 'status'): '0',
        ('rota_process_exit_signal', 'status'): '0', ('rota_strerror', 'v'): '-1'}
KINDS = {'void': 'VOID', 'bool': 'ZERO', 'size_t': 'ZERO', 'uint64_t': 'ZERO', 'const void *': 'ZERO',
         'int': 'ERROR', 'ssize_t': 'ERROR', 'intptr_t': 'ERROR', 'int64_t': 'ERROR'}


class Unknown(Exception):
    pass


def declarations(path):
    text = re.sub(r'/\*.*?\*/', ' ', path.read_text(), flags=re.S)
    text = re.sub(r'^\s*#.*(?:\\\n.*)*$', '', text, flags=re.M)
    for text in re.findall(r'ROTA_API\s+([^;{]*);', text):
        text = ' '.join(text.replace('ROTA_CHECK', '').split())
        result, name, parameters = re.fullmatch(r'(.*?)(rota_\w+)\((.*)\)', text).groups()
        if not name.startswith('rota__'):
            yield result.strip(), name, [] if parameters == 'void' else split(parameters)


def split(parameters):
    """At commas that are in no parentheses."""
    return re.findall(r'(?:[^,(]|\([^)]*\))+', parameters)


def parse(parameter):
    """(type without const, name, stub or None) of one parameter."""
    parameter = parameter.strip()
    function = re.fullmatch(r'(\w+) \(\*(\w+)\)\((.*)\)', parameter)
    if function:
        return 'function', function.group(2), (function.group(1), function.group(3))
    array = re.fullmatch(r'(.*?)(\w+)\[\d*\]', parameter)
    if array:
        kind, name = array.group(1).strip() + ' *', array.group(2)
    else:
        kind, name = re.fullmatch(r'(.*?)(\w+)', parameter).groups()
    kind = re.sub(r'\bconst (?!\*)', '', kind.replace('const *', '@')).replace('@', 'const *').strip()
    kind = re.sub(r'\*const \*', '*const *', kind)
    return re.sub(r'\s+\*', ' *', kind), name, None


def value(function, kind, name):
    if (function, name) in MORE:
        return MORE[function, name]
    if name == 'opt':
        return 'NULL'
    if kind == 'char *' and name in BY_TEXT:
        return BY_TEXT[name]
    if kind in BY_TYPE:
        return BY_TYPE[kind]
    if kind == 'int' and name in BY_NAME:
        return BY_NAME[name]
    if kind == 'rota_dns_record *const *' or kind == 'rota_dns_record **':
        return '&kit->records'
    raise Unknown(f'what is a sound {kind} for "{name}"?')


def freedom(name):
    return 'ALWAYS' if FREE.match(name) or ASKED.match(name) else 'CLOSED' if ALONE.match(name) else 'NEVER'


def row(result, name, parameters, unused):
    """Of the table. A function that cannot be called yet is no reason for not building: its test fails."""
    try:
        return emit(result, name, parameters, unused)
    except Unknown as why:
        text = str(why).replace('"', "'")
        return f'    {{ "{name}: {text} (generate.py)", NULL, VOID, NEVER, 1, {{ {{ NULL, false }} }} }},'


def emit(result, name, parameters, unused):
    stubs, arguments, pointers = [], [], []
    for i, parameter in enumerate(parameters):
        kind, argument, stub = parse(parameter)
        if stub:
            stubs.append(f'static {stub[0]} {name}_{argument}({stub[1]}) '
                         f'{{ {"" if stub[0] == "void" else "return 0; "}}}')
            expression = f'{name}_{argument}'
        else:
            expression = value(name, kind, argument)
        if stub or ('*' in kind and argument != 'opt'):
            here = NULL_HERE.get(name, set())
            free = argument in NULL_ANYWHERE or argument in here
            unused.discard((name, argument))
            pointers.append(f'{{ "{argument}", {"true" if free else "false"} }}')
            expression = f'null == {len(pointers) - 1} ? NULL : {expression}'
        arguments.append(expression)
    call = f'{name}({", ".join(arguments)})'
    pointer = result.endswith('*')
    body = f'{call};\n    return 0;' if result == 'void' else f'return (intptr_t){call};'
    for stub in stubs:
        print(stub)
    print(f'static intptr_t call_{name}(struct kit *kit, int null) {{\n    (void)kit;\n    (void)null;\n    {body}\n}}')
    kind = 'ZERO' if pointer else KINDS[result]
    return (f'    {{ "{name}", call_{name}, {kind}, {freedom(name)}, '
            f'{len(pointers)}, {{ {", ".join(pointers) or "{ NULL, false }"} }} }},')


def main():
    unused = {(name, parameter) for name, parameters in NULL_HERE.items() for parameter in parameters}
    print('/* Made by generate.py. */\n#include "tests/invalid/kit.h"\n')
    rows = [row(*declaration, unused) for path in sys.argv[1:] for declaration in declarations(pathlib.Path(path))]
    if unused:
        sys.exit(f'exceptions of generate.py for what does not exist: {sorted(unused)}')
    print('\nconst struct call calls[] = {', *rows, '};', sep='\n')
    print('const size_t n_calls = sizeof calls / sizeof *calls;')


main()
