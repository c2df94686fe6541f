/* Scopes within tasks: opening and ending them, finding those that were forgotten, ROTA_NO_SUSPEND.
 *
 * It offers rota_scope_begin, rota_timeout_begin, rota_shield_begin, rota_scope_end, rota_timeout, rota_shield and
 * ROTA_NO_SUSPEND. Invariant: the task's notes say what its innermost scopes held when they were begun, so that one whose
 * frame was left is recognised without being read. A static program that begins no scope leaves all of this out: the first
 * one puts a table of functions where the others look (struct rota__scope_calls).
 */
#include "coro/task.h"
#include "reactor/text.h"

enum { KINDS = ROTA__SCOPE_SHIELD | ROTA__SCOPE_GROUP | ROTA__SCOPE_LOOP | ROTA__SCOPE_NO_SUSPEND };

static struct rota__scope_note *note_at(rota_task *task, unsigned depth) {
    return &task->runner->notes[depth % ROTA__SCOPE_NOTES];
}

/* ---- scopes that were forgotten ---- */

/* A group that still has children cannot be left: they hold a frame that is gone, and would write there. */
static void report_forgotten(rota_task *task, const struct rota__scope_note *note) {
    bool group = note->flags & ROTA__SCOPE_GROUP;
    bool fatal = group && rota__group_is_held(task->loop, rota__container_of(note->scope, rota_group, scope));
    char line[512];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    if (note->scope) {
        rota__text_add(&t, fatal ? "fatal: a group" : group ? "a group" : "a scope");
        rota__text_add(&t, " begun at ");
        rota__text_add(&t, note->at.file ? note->at.file : "?");
        rota__text_add(&t, ":");
        rota__text_number(&t, note->at.line);
        rota__text_add(&t, " was left without its end, in task ");
    } else {
        rota__text_add(&t, "and perhaps more around them, of which nothing is known, in task ");
    }
    rota__task_name_text(&t, task);
    if (fatal)
        rota__text_add(&t, ": its children still run and hold a frame that is gone, so the process ends here; call "
                           "rota_group_end on every way out");
    rota__report(task->loop, fatal ? ROTA_REPORT_FATAL : ROTA_REPORT_SCOPE, 0, task->name, &note->at, line);
    if (fatal)
        __builtin_trap();
}

/* Does the scope still hold what the note says? Its frame may be live and the variable's block left, so that the
 * memory serves something else. */
static bool is_intact(const rota_task *task, const struct rota__scope_note *note) {
    const rota_scope *scope = note->scope;
    return scope->task_ == task && scope->outer_ == note->outer && scope->inner_ == NULL &&
           scope->at_.file == note->at.file && scope->at_.line == note->at.line && scope->due_ == task->due &&
           (scope->flags_ & KINDS) == note->flags;
}

/* Is the scope in a frame that has been left? Such a frame lies below `frame`, the caller's of the library, on the
 * task's own stack. A scope that lies elsewhere (static memory, the heap) cannot be judged by its address. */
static bool is_below(const rota_task *task, const rota_scope *scope, const void *frame) {
    if (task->runner->elsewhere)
        return false; /* on a generator's stack, which may even lie in one of this task's frames */
    uintptr_t base = (uintptr_t)task->runner->stack.base;
    return (uintptr_t)scope - base < (uintptr_t)frame - base && (uintptr_t)frame - base <= task->runner->stack.size;
}

/* The innermost note goes, and the one that comes into view in its place is made again from the scope it is of.
 * That one is live, unless more scopes than there are notes were forgotten at once: then it lies below `live`, a frame
 * or a scope that has not been left, nothing is known, and the note is empty. live NULL: nothing was forgotten. */
static void drop_note(rota_task *task, const void *live) {
    struct rota__scope_note *gone = note_at(task, task->depth--);
    if (task->depth < ROTA__SCOPE_NOTES)
        return;
    rota_scope *scope = note_at(task, task->depth + 2)->outer;
    *gone = (struct rota__scope_note){ .scope = NULL };
    if (scope && !(live && is_below(task, scope, live)) && scope->task_ == task)
        *gone = (struct rota__scope_note){ scope, scope->outer_, scope->at_, scope->flags_ & KINDS };
}

/* The task's innermost scope is `scope` from now on; those inside it are not touched. */
static void make_innermost(rota_task *task, rota_scope *scope) {
    scope->inner_ = NULL;
    task->scope = scope;
    task->due = scope->due_;
    if (task->due != INT64_MIN)
        task->refusals = 0;
}

/* Reports the innermost scope that is noted, without touching it; the one it was in, as far as that is known. */
static rota_scope *forget_innermost(rota_task *task, const rota_scope *scope, const void *live) {
    struct rota__scope_note note = *note_at(task, task->depth);
    report_forgotten(task, &note);
    drop_note(task, live);
    if (note.scope == scope && note.outer != &task->runner->root)
        return note.outer;
    task->depth = 0;
    return &task->runner->root;
}

/* Leaves scopes that were forgotten: those in frames below `frame`; all inside `until` when that is given. */
static void repair(rota_task *task, const rota_scope *until, const void *frame) {
    rota_scope *scope = task->scope, *root = &task->runner->root;
    const struct rota__stack *stack = &task->runner->stack;
    const void *live = frame ? frame : until != root ? (const void *)until : (const char *)stack->base + stack->size;
    while (scope != root && scope != until) {
        bool innermost = scope == task->scope;
        if (!until && !is_below(task, scope, frame) && (!innermost || is_intact(task, note_at(task, task->depth))))
            break;
        scope = forget_innermost(task, scope, live);
    }
    if (scope != task->scope)
        make_innermost(task, scope);
}

/* Two scopes in the same place: the older one is gone. */
static bool overlap(const rota_scope *old, const rota_scope *young, size_t size) {
    return (uintptr_t)young < (uintptr_t)(old + 1) && (uintptr_t)old < (uintptr_t)young + size;
}

/* Of the scopes around the innermost one, the depth of one that lies where `scope` is to be; 0: none, as far as notes
 * reach. */
static unsigned enclosing_in_place(rota_task *task, const rota_scope *scope, size_t size) {
    for (unsigned depth = task->depth; depth > 1 && task->depth - depth + 1 < ROTA__SCOPE_NOTES; depth--) {
        const rota_scope *old = note_at(task, depth - 1)->scope;
        if (old && overlap(old, scope, size))
            return depth - 1;
    }
    return 0;
}

/* Does the memory of an enclosing scope still hold what the note says? */
static bool is_kept(const rota_task *task, const struct rota__scope_note *note) {
    const rota_scope *scope = note->scope;
    return !scope || (scope->task_ == task && scope->outer_ == note->outer && scope->at_.file == note->at.file &&
                      scope->at_.line == note->at.line);
}

/* A scope that was forgotten in a block, in a frame that is live, while one that was begun after it is not: that one, and
 * what is inside it, goes on in what the forgotten one was in. */
static void forget_enclosing(rota_task *task, unsigned depth) {
    if (depth > 1 && task->depth - depth + 1 < ROTA__SCOPE_NOTES && !is_kept(task, note_at(task, depth - 1)))
        forget_enclosing(task, --depth);
    struct rota__scope_note note = *note_at(task, depth);
    rota_scope *inside = note_at(task, depth + 1)->scope;
    report_forgotten(task, &note);
    note_at(task, depth + 1)->outer = inside->outer_ = note.outer;
    note.outer->inner_ = inside;
    for (; depth < task->depth; depth++)
        *note_at(task, depth) = *note_at(task, depth + 1);
    drop_note(task, NULL);
    rota__scope_changed(inside);
}

/* ---- calls in ROTA_NO_SUSPEND ---- */

/* The outermost ROTA_NO_SUSPEND block that the task is in. */
static const rota_scope *no_suspend_block(const rota_task *task) {
    const rota_scope *block = NULL;
    for (const rota_scope *s = task->scope; s != &task->runner->root; s = s->outer_)
        if (s->flags_ & ROTA__SCOPE_NO_SUSPEND)
            block = s;
    return block;
}

void rota__scope_suspends(const rota_task *task) {
    const rota_scope *block = no_suspend_block(task);
    char line[512];
    struct rota__text t;
    rota__text_init(&t, line, sizeof line);
    rota__text_add(&t, "task ");
    rota__task_name_text(&t, task);
    rota__text_add(&t, " made a call that may suspend, inside the ROTA_NO_SUSPEND at ");
    rota__text_add(&t, block->at_.file);
    rota__text_add(&t, ":");
    rota__text_number(&t, block->at_.line);
    rota__report(task->loop, ROTA_REPORT_NO_SUSPEND, -EPERM, task->name, &block->at_, line);
}

/* ---- opening and ending ---- */

static const struct rota__scope_calls scope_calls = {
    .repair = repair,
    .suspends = rota__scope_suspends,
    .child_done = rota__group_child_done,
};

void rota__scope_open(rota_task *task, rota_at at, rota_scope *scope, int64_t deadline, unsigned flags) {
    rota__tasks_of(task->loop)->scope_calls = &scope_calls;
    size_t size = flags & ROTA__SCOPE_GROUP ? sizeof(rota_group) : sizeof *scope;
    while (task->scope != &task->runner->root && overlap(task->scope, scope, size))
        make_innermost(task, forget_innermost(task, task->scope, NULL));
    for (unsigned depth; (depth = enclosing_in_place(task, scope, size)) != 0;)
        forget_enclosing(task, depth);
    scope->outer_ = task->scope;
    scope->inner_ = NULL;
    scope->task_ = task;
    scope->deadline_ = deadline;
    scope->flags_ = flags |= task->scope->flags_ & ROTA__SCOPE_NO_SUSPEND; /* nothing lifts that, no shield either */
    scope->reason_ = NULL;
    scope->at_ = at;
    scope->cancelled_at_.file = NULL;
    scope->cancelled_at_.line = 0;
    scope->due_ = task->due = rota__scope_due(scope);
    *note_at(task, ++task->depth) = (struct rota__scope_note){ scope, task->scope, at, flags };
    task->scope->inner_ = scope;
    task->scope = scope;
}

/* The task leaves its innermost scope in order. */
static void pop(rota_task *task) {
    rota_scope *scope = task->scope;
    make_innermost(task, scope->outer_);
    scope->task_ = NULL;
    drop_note(task, NULL);
}

static void begin(rota_at at, rota_scope *scope, int64_t limit, unsigned flags, const void *frame) {
    if (!scope)
        return;
    rota_loop *loop = rota__current;
    rota_task *task = loop ? loop->running : NULL;
    if (!task) {
        *scope = (rota_scope){ .deadline_ = ROTA_FOREVER, .due_ = ROTA_FOREVER };
        return;
    }
    if (task->depth)
        repair(task, NULL, frame);
    /* The clock is read: counting from the turn's time would be early after a step that worked long. */
    int64_t deadline = limit == ROTA_FOREVER ? ROTA_FOREVER
                     : rota__time_add(rota__loop_clock(loop), limit > 0 ? limit : 0);
    rota__scope_open(task, at, scope, deadline, flags);
}

void rota_scope_begin_at(rota_at at, rota_scope *scope) {
    begin(at, scope, ROTA_FOREVER, 0, __builtin_dwarf_cfa());
}

void rota_timeout_begin_at(rota_at at, rota_scope *scope, int64_t limit) {
    begin(at, scope, limit, 0, __builtin_dwarf_cfa());
}

void rota_shield_begin_at(rota_at at, rota_scope *scope, int64_t bound) {
    begin(at, scope, bound, ROTA__SCOPE_SHIELD, __builtin_dwarf_cfa());
}

/* True when scope is one of the running task's. */
static bool is_mine(const rota_scope *scope) {
    const rota_task *task = scope ? scope->task_ : NULL;
    return task && rota__current && rota__current->running == task && scope != &task->runner->root;
}

/* Is the task inside it? Through the notes first: the innermost ones may have been forgotten, and must not be read. */
static bool is_inside(const rota_task *task, const rota_scope *scope) {
    const rota_scope *at = task->scope;
    for (unsigned d = task->depth; d > 0 && task->depth - d < ROTA__SCOPE_NOTES; d--) {
        const struct rota__scope_note *note = &task->runner->notes[d % ROTA__SCOPE_NOTES];
        if (note->scope == scope)
            return true;
        if (!note->scope)
            break;
        at = note->outer;
    }
    for (; at && at != &task->runner->root; at = at->outer_)
        if (at == scope)
            return true;
    return false;
}

intptr_t rota_scope_end(rota_scope *scope, intptr_t v) {
    if (!is_mine(scope))
        return v;
    rota_task *task = scope->task_;
    if (!is_inside(task, scope)) {
        scope->task_ = NULL; /* left already, and reported, at the end of one around it */
        return v;
    }
    if (__builtin_expect(task->scope != scope, 0))
        repair(task, scope, NULL);
    pop(task);
    return rota__scope_convert(scope, v);
}

intptr_t rota_timeout_at(rota_at at, int64_t limit, rota_fn *fn, void *arg) {
    rota_scope scope;
    if (!fn)
        return -EINVAL;
    begin(at, &scope, limit, 0, __builtin_dwarf_cfa());
    return rota_scope_end(&scope, fn(arg));
}

intptr_t rota_shield_at(rota_at at, int64_t bound, rota_fn *fn, void *arg) {
    rota_scope scope;
    if (!fn)
        return -EINVAL;
    begin(at, &scope, bound, ROTA__SCOPE_SHIELD, __builtin_dwarf_cfa());
    return rota_scope_end(&scope, fn(arg));
}

/* ---- ROTA_NO_SUSPEND: a scope in which everything is refused, and says why ---- */

struct rota__no_suspend rota__no_suspend_begin(void) { return (struct rota__no_suspend){ .once = true }; }

bool rota__no_suspend_enter(rota_at at, struct rota__no_suspend *block) {
    rota_task *task = rota_self();
    if (!block->once)
        return false;
    block->once = false;
    if (task)
        rota__scope_open(task, at, &block->scope, ROTA_FOREVER, ROTA__SCOPE_NO_SUSPEND);
    return true;
}

void rota__no_suspend_end(struct rota__no_suspend *block) { (void)!rota_scope_end(&block->scope, 0); }
