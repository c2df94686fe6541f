"""The tasks of a stopped program, in gdb: (gdb) source rota-gdb.py

    rota tasks       a line for each task of each loop: number, state, what it waits for, name, where it was spawned
    rota bt NUMBER   the call stack of a task that does not run, from the registers that it left behind

Works on a live process and on a core file, on x86-64 and AArch64, and needs the library's debug information. Nothing is
called in the program and no register is changed: a task's stack is shown by an unwinder, which, while the command runs,
says of the innermost frame that its caller is the task.
"""
import gdb
import gdb.unwinder

STATES = {0: 'free', 1: 'live', 2: 'done'}

# Where the switch keeps registers, relative to the saved stack pointer: arch/context_*.S draw it.
LAYOUTS = {
    'x86-64': {
        'sp': 'rsp', 'pc': 'rip', 'sp_offset': 8,
        'at': {'rip': 0, 'rbp': -8, 'rbx': -16, 'r12': -24, 'r13': -32, 'r14': -40, 'r15': -48},
    },
    'aarch64': {
        'sp': 'sp', 'pc': 'pc', 'sp_offset': 176,
        'at': {'pc': 152, 'x29': 144, 'x30': 152, **{f'x{19 + i}': 64 + 8 * i for i in range(10)}},
    },
}


def layout_of(architecture):
    return LAYOUTS['aarch64' if 'aarch64' in architecture.name() else 'x86-64']


def string(value):
    return value.string(errors='replace') if int(value) else None


def loops():
    """Of every thread that has one as its current loop, which is where gdb can find them."""
    before = gdb.selected_thread()
    found = {}
    try:
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            try:
                loop = gdb.parse_and_eval('rota__current')
            except gdb.error:
                continue  # a thread without thread-local memory, or a program without rota
            if int(loop):
                found[int(loop)] = loop
    finally:
        if before:
            before.switch()
    return list(found.values())


def found_loops():
    found = loops()
    if not found:
        raise gdb.GdbError('no loop found: either no thread has one now, or the debug information of librota is missing '
                           '(stripped?)')
    return found


def tasks_of(loop):
    if not int(loop['upper_data']):
        return []
    tasks = loop['upper_data'].cast(gdb.lookup_type('struct rota__tasks').pointer())
    found, slab = [], tasks['slabs']
    while int(slab):
        found += [slab['tasks'][i] for i in range(int(slab['n'])) if int(slab['tasks'][i]['state']) == 1]
        slab = slab['next']
    return sorted(found, key=lambda task: int(task['number']))


def describe(loop, task):
    if int(loop['running']) == int(task.address):
        return 'runs'
    if not int(task['wait']):
        return 'ready'
    return 'waits for ' + (string(task['wait']['what']) or 'something')


class RotaCommand(gdb.Command):
    """Tasks of programs that use rota: rota tasks, rota bt NUMBER."""
    def __init__(self):
        super().__init__('rota', gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class RotaTasks(gdb.Command):
    """rota tasks: a line for each task of each loop."""
    def __init__(self):
        super().__init__('rota tasks', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        del argument, from_tty
        for loop in found_loops():
            tasks = tasks_of(loop)
            print(f"loop {int(loop):#x}: {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}")
            for task in tasks:
                place = ''
                if int(task['at']['file']):
                    place = f", spawned at {string(task['at']['file'])}:{int(task['at']['line'])}"
                name = string(task['name'])
                print(f"  #{int(task['number'])} {name!r} {describe(loop, task)}{place}" if name else
                      f"  #{int(task['number'])} {describe(loop, task)}{place}")


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class TaskUnwinder(gdb.unwinder.Unwinder):
    """While `context` is set, the caller of the innermost frame is the task that was saved there."""
    def __init__(self):
        super().__init__('rota')
        self.context = None

    def __call__(self, pending):
        if self.context is None or pending.level() != 0:
            return None
        layout = layout_of(pending.architecture())
        word = gdb.lookup_type('unsigned long')
        # gdb wants callers to lie above what they call; so the innermost frame says that it lies below everything.
        lowest = gdb.Value(0).cast(word)
        info = pending.create_unwind_info(FrameId(lowest, pending.read_register(layout['pc'])))
        for register, offset in layout['at'].items():
            value = gdb.Value(self.context + offset).cast(word.pointer()).dereference()
            info.add_saved_register(register, value)
        info.add_saved_register(layout['sp'], gdb.Value(self.context + layout['sp_offset']).cast(word))
        return info


unwinder = TaskUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


class RotaBt(gdb.Command):
    """rota bt NUMBER: the call stack of a task that does not run."""
    def __init__(self):
        super().__init__('rota bt', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        del from_tty
        if not argument.strip().isdigit():
            raise gdb.GdbError('usage: rota bt NUMBER (rota tasks shows them)')
        number = int(argument)
        found = [(loop, task) for loop in found_loops() for task in tasks_of(loop) if int(task['number']) == number]
        if not found:
            raise gdb.GdbError(f'no task has the number {number}')
        for loop, task in found:
            print(f"#{number} {string(task['name']) or ''} {describe(loop, task)}")
            if int(loop['running']) == int(task.address):
                print('  (see bt)')
            elif int(task['ready']['hint_']) == int(task.address):
                print('  (has not begun)')
            else:
                self.show(int(task['ready']['hint_']))

    def show(self, context):
        unwinder.context = context
        gdb.invalidate_cached_frames()
        try:
            frame, level = gdb.newest_frame().older(), 0
            while frame is not None and frame.is_valid():
                self.line(frame, level)
                frame, level = frame.older(), level + 1
        finally:
            unwinder.context = None
            gdb.invalidate_cached_frames()

    def line(self, frame, level):
        place = frame.find_sal()
        where = f' at {place.symtab.filename}:{place.line}' if place.symtab else ''
        print(f"  {level} {frame.pc():#x} in {frame.name() or '??'}{where}")


RotaCommand()
RotaTasks()
RotaBt()
