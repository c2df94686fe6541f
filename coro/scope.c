/* Scopes: what cancellation and deadlines belong to.
 *
 * Invariant: a scope's due_ is the time from which calls inside it refuse: INT64_MIN once it is cancelled or has
 * expired, else the smaller of its own deadline and of the enclosing scope's due_ (a shield ignores the latter).
 * A task's `due` is the due_ of its innermost scope, so that a suspending call checks with one comparison.
 *
 * Whatever changes a scope (cancel, limit, uncancel) recomputes due_ from there inward. Scopes of a task form a
 * doubly linked chain; a group's children, or the loop's free tasks, have root scopes below it. Tasks still to be
 * reached are linked through themselves, so this needs no recursion and no memory however deep the tree is, and
 * stops where nothing changes: it is linear in what is affected.
 */
#include "coro/task.h"
#include "reactor/text.h"

enum { FORCED = ROTA__SCOPE_CANCELLED | ROTA__SCOPE_INHERITED | ROTA__SCOPE_EXPIRED };
enum { KINDS = ROTA__SCOPE_SHIELD | ROTA__SCOPE_GROUP | ROTA__SCOPE_LOOP | ROTA__SCOPE_NO_SUSPEND };
enum { YIELDING_REFUSALS = 8, REPORTED_REFUSALS = 64 };

/* ---- recomputing ---- */

static int64_t due_of(const rota_scope *scope) {
    if (scope->flags_ & (FORCED | ROTA__SCOPE_NO_SUSPEND))
        return INT64_MIN;
    if (scope->flags_ & ROTA__SCOPE_SHIELD || !scope->outer_)
        return scope->deadline_;
    return scope->deadline_ < scope->outer_->due_ ? scope->deadline_ : scope->outer_->due_;
}

/* The task's own view: a parked one is woken if it is refused now, else its timer is set right. */
static void due_changed(rota_task *task) {
    task->due = task->scope->due_;
    struct rota__wait *wait = task->wait;
    if (!wait)
        return; /* it runs or is ready: its next call will see */
    if (task->due == INT64_MIN && wait->leave) {
        wait->leave(wait);
        (void)rota__wake(task, -ECANCELED);
        return;
    }
    int64_t when = task->due != INT64_MIN && task->due < wait->until ? task->due : wait->until;
    rota__task_watch(task, when);
}

static void add_children(const rota_scope *scope, rota_task *child, rota_task **work) {
    for (; child; child = child->next) {
        if (child->state != ROTA__TASK_LIVE)
            continue;
        if (scope->due_ == INT64_MIN && !(child->runner->root.flags_ & FORCED)) {
            /* A cancellation that was handed down stays, whatever becomes of the scope it came from. */
            child->runner->root.flags_ |= ROTA__SCOPE_INHERITED;
            child->runner->root.reason_ = scope->reason_;
            child->runner->root.cancelled_at_ = scope->cancelled_at_;
        }
        if (child->flags & ROTA__TASK_QUEUED_WORK)
            continue;
        child->flags |= ROTA__TASK_QUEUED_WORK;
        child->work = *work;
        *work = child;
    }
}

/* From scope inward, in one task; children are added to the list of work. */
static void recompute_chain(rota_scope *scope, rota_task **work) {
    rota_task *task = scope->task_;
    for (; scope; scope = scope->inner_) {
        int64_t due = due_of(scope);
        if (due == scope->due_)
            break;
        scope->due_ = due;
        if (scope->flags_ & ROTA__SCOPE_GROUP)
            add_children(scope, rota__container_of(scope, rota_group, scope)->children_, work);
        else if (scope->flags_ & ROTA__SCOPE_LOOP)
            add_children(scope, rota__container_of(scope, struct rota__tasks, scope)->free_tasks, work);
    }
    if (task && task->due != task->scope->due_)
        due_changed(task);
}

static void recompute(rota_scope *scope) {
    rota_task *work = NULL;
    recompute_chain(scope, &work);
    while (work) {
        rota_task *task = work;
        work = task->work;
        task->flags &= (uint16_t)~ROTA__TASK_QUEUED_WORK;
        recompute_chain(&task->runner->root, &work);
    }
}

/* ---- refusing ---- */

/* Marks every scope in force whose own deadline has come. Outward up to a shield, which hides the rest. The walk
 * crosses from a task's root into the group's owner: all children of a group learn of its deadline at once. */
void rota__scope_expire(rota_task *task) {
    int64_t now = task->loop->now;
    rota_scope *outermost = NULL;
    for (rota_scope *s = task->scope; s; s = s->outer_) {
        if (s->deadline_ <= now && !(s->flags_ & ROTA__SCOPE_EXPIRED)) {
            s->flags_ |= ROTA__SCOPE_EXPIRED;
            outermost = s;
        }
        if (s->flags_ & ROTA__SCOPE_SHIELD)
            break;
    }
    if (outermost)
        recompute(outermost);
}

/* The ROTA_NO_SUSPEND block that the task is in; NULL when it is in none. */
static const rota_scope *no_suspend_block(const rota_task *task) {
    const rota_scope *block = NULL;
    if (!(task->scope->flags_ & ROTA__SCOPE_NO_SUSPEND)) /* which scopes inside hand on; there may be many */
        return NULL;
    for (const rota_scope *s = task->scope; s != &task->runner->root; s = s->outer_)
        if (s->flags_ & ROTA__SCOPE_NO_SUSPEND)
            block = s;
    return block;
}

static void report_suspension(const rota_task *task, const rota_scope *block) {
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

/* For what suspends in any case, the end of a group. */
void rota__scope_will_suspend(const rota_task *task) {
    const rota_scope *block = no_suspend_block(task);
    if (block)
        report_suspension(task, block);
}

int rota__refuse(rota_task *task) {
    const rota_scope *block = no_suspend_block(task);
    if (block) {
        report_suspension(task, block);
        return -EPERM;
    }
    if (task->due != INT64_MIN)
        rota__scope_expire(task);
    task->loop->counts.refusals++;
    if (task->loop->traced)
        rota__trace_refuse(task);
    if (++task->refusals > YIELDING_REFUSALS)
        rota__breathe(task);
    if (task->refusals == REPORTED_REFUSALS && !(task->flags & ROTA__TASK_NAMED)) {
        task->flags |= ROTA__TASK_NAMED;
        rota__report_task(task, ROTA_REPORT_IGNORED_CANCEL, -ECANCELED, "",
                          " goes on although it is cancelled: its calls return -ECANCELED until it leaves its scope");
    }
    return -ECANCELED;
}

/* ---- opening and ending ---- */

void rota__scope_root(rota_task *task, rota_scope *outer, int64_t deadline, rota_at at) {
    rota_scope *root = &task->runner->root;
    root->outer_ = outer;
    root->inner_ = NULL;
    root->task_ = task;
    root->deadline_ = deadline;
    root->flags_ = 0;
    root->at_ = at;
    if (__builtin_expect(outer->due_ == INT64_MIN, 0)) {
        root->flags_ = ROTA__SCOPE_INHERITED;
        root->reason_ = outer->reason_;
        root->cancelled_at_ = outer->cancelled_at_;
    }
    root->due_ = task->due = outer->due_ < deadline ? outer->due_ : deadline;
    task->scope = root;
    task->depth = 0;
}

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
void rota__scope_repair(rota_task *task, const rota_scope *until, const void *frame) {
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
    recompute(inside);
}

void rota__scope_open(rota_task *task, rota_at at, rota_scope *scope, int64_t deadline, unsigned flags) {
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
    scope->due_ = task->due = due_of(scope);
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

intptr_t rota__scope_convert(const rota_scope *scope, intptr_t value) {
    return value == -ECANCELED && scope->flags_ & ROTA__SCOPE_EXPIRED ? -ETIMEDOUT : value;
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
        rota__scope_repair(task, NULL, frame);
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
    rota__scope_repair(task, scope, NULL);
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

/* ---- changing ---- */

/* The loop that a scope lives in, when this thread may change it. */
static rota_loop *loop_of(const rota_scope *scope) {
    rota_loop *loop = scope && scope->task_ ? scope->task_->loop : NULL;
    return rota__loop_check(loop) == 0 ? loop : NULL;
}

void rota_scope_limit(rota_scope *scope, int64_t limit) {
    rota__leave_forgotten();
    rota_loop *loop = loop_of(scope);
    if (!loop)
        return;
    scope->deadline_ = limit == ROTA_FOREVER ? ROTA_FOREVER
                     : rota__time_add(rota__loop_clock(loop), limit > 0 ? limit : 0);
    recompute(scope);
}

static void cancel(rota_loop *loop, rota_scope *scope, rota_at at, const char *reason) {
    if (scope->flags_ & ROTA__SCOPE_CANCELLED)
        return;
    scope->flags_ |= ROTA__SCOPE_CANCELLED;
    scope->reason_ = reason;
    scope->cancelled_at_ = at;
    if (loop->traced)
        rota__trace_cancel(loop, scope);
    recompute(scope);
}

void rota_scope_cancel_at(rota_at at, rota_scope *scope, const char *reason) {
    rota__leave_forgotten();
    rota_loop *loop = loop_of(scope);
    if (loop)
        cancel(loop, scope, at, reason);
}

void rota__scope_cancel_loop(rota_loop *loop, const char *reason) {
    cancel(loop, &rota__tasks_of(loop)->scope, rota_here(NULL, 0), reason);
}

int rota_cancel_at(rota_at at, rota_task *task, const char *reason) {
    rota__leave_forgotten();
    int rc = rota__task_check(task);
    if (rc < 0)
        return rc;
    if (task->state != ROTA__TASK_LIVE)
        return -ESRCH;
    cancel(task->loop, &task->runner->root, at, reason);
    return 0;
}

bool rota_uncancel(void) {
    rota__leave_forgotten();
    rota_task *task = rota_self();
    if (!task || !(task->runner->root.flags_ & ROTA__SCOPE_CANCELLED))
        return false;
    task->runner->root.flags_ &= ~(unsigned)ROTA__SCOPE_CANCELLED;
    task->refusals = 0;
    task->flags &= (uint16_t)~ROTA__TASK_NAMED;
    recompute(&task->runner->root);
    return true;
}

/* ---- asking ---- */

bool rota_scope_expired(const rota_scope *scope) { return scope && scope->flags_ & ROTA__SCOPE_EXPIRED; }

bool rota_scope_cancelled(const rota_scope *scope) { return scope && scope->flags_ & ROTA__SCOPE_CANCELLED; }

bool rota_cancelled(const char **reason, rota_at *at) {
    rota__leave_forgotten();
    rota_task *task = rota__current ? rota__current->running : NULL;
    if (reason)
        *reason = NULL;
    if (at)
        *at = rota_here(NULL, 0);
    if (!task || task->loop->now < task->due)
        return false;
    if (task->due != INT64_MIN)
        rota__scope_expire(task);
    const rota_scope *outermost = NULL;
    for (const rota_scope *s = task->scope; s; s = s->outer_) {
        if (s->flags_ & FORCED)
            outermost = s;
        if (s->flags_ & ROTA__SCOPE_SHIELD)
            break;
    }
    if (outermost && reason)
        *reason = outermost->reason_;
    if (outermost && at)
        *at = outermost->flags_ & ROTA__SCOPE_EXPIRED ? outermost->at_ : outermost->cancelled_at_;
    return outermost; /* none: only ROTA_NO_SUSPEND refuses */
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
