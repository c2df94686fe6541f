/* See everywhere.h.
 *
 * How a task is stopped at its k-th step without a word in the library: the entry of a task in the ready queue names
 * the function that runs it, and this driver puts its own there, which calls the real one with a budget of one step.
 * So a task that stops does not switch straight to the next one, but to the loop's stack, as it may after any step;
 * the order stays what it would have been, and the driver sees the task before and after each step. Turns would be too
 * coarse, for one turn runs many steps; a hook in rota__park would be a load on the path whose cost is counted; and a
 * task that cancels after so many yields would keep the virtual clock from moving.
 *
 * A run is repeatable: same inputs, same order. So a number taken in the first run means the same place in all others.
 * Only nearly so where a connection is in it: on a busy machine the kernel may hand on what was sent over TCP a little
 * later, and a call waits that did not in the first run, or the other way round. Such a run says nothing, and is made
 * again; and the first run is one that was made twice in the same way.
 */
#include "tests/everywhere.h"

#include <limits.h>
#include <stdarg.h>

#include "coro/task.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

enum { MAX_POINTS = 512, MAX_TRIES = 50 };

/* How the target is stopped; NOTHING: the first run, which only notes. */
enum act { NOTHING, CANCEL_TASK, CANCEL_GROUP, EXPIRE, CLOSE_LOOP, ACTS };

/* When, with respect to point k. */
enum when {
    WHILE_PARKED,     /* right after its k-th step */
    COMPLETED_FIRST,  /* right before the step after it: what it waited for has happened; -1: before the first one */
    CANCELLED_FIRST,  /* right before the step of somebody else that makes happen what it waits for */
    BEFORE_CALL,      /* right before its k-th marked call */
    WHENS
};

static const char *const act_names[] = { "nothing", "cancel its task", "cancel its group", "expire", "close the loop" };
static const char *const when_names[] = { "while it waits", "completed first", "cancelled first", "before the call" };

/* A marked call of the target. */
struct call {
    char name[48];
    bool refuses;
    bool after;              /* begun after the act */
    int outer;               /* in which other one; -1 */
    int last_point;          /* the last one at which the target stopped in it; -1 */
    intptr_t result;
};

/* A place where the target stopped. */
struct point {
    bool waits;              /* parked, and could be interrupted; else it only stepped aside */
    int call;                /* innermost, -1: none */
    int woken_at;            /* the step of somebody else in which it was woken; -1: not in one */
};

struct notes {
    int points, calls;
    struct point point[MAX_POINTS];
    struct call call[MAX_POINTS];
};

static struct run {
    const struct scenario *scenario;
    enum act act;
    enum when when;
    int k;
    bool acted, closed, closing, done;
    rota_loop *loop;
    rota_task *target;
    rota_group helpers, group;
    rota_scope scope;
    bool scope_open;
    intptr_t outcome;
    int steps;               /* of all tasks */
    int call;                /* the target's innermost, -1: none */
    struct notes notes;
} run;

static struct notes first;   /* of the first run */

#define EXPECT(condition, ...) expect_(condition, #condition, __VA_ARGS__)
__attribute__((format(printf, 3, 4)))
static void expect_(bool ok, const char *text, const char *format, ...) {
    char what[160];
    va_list args;
    if (ok)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    cr_expect(false, "%s: %s %s, point %d: %s: %s", run.scenario->name, act_names[run.act], when_names[run.when], run.k,
              text, what);
}

/* ---- which functions were called ---- */

static char seen[128][48];
static int n_seen;

bool everywhere_saw(const char *function) {
    for (int i = 0; i < n_seen; i++)
        if (strcmp(seen[i], function) == 0)
            return true;
    return false;
}

/* What stands before the parenthesis. */
static void name_of(const char *text, char name[48]) {
    size_t n = strcspn(text, "(");
    n = n < 47 ? n : 47;
    memcpy(name, text, n);
    name[n] = '\0';
}

/* ---- stopping the target ---- */

static void act(void) {
    if (run.acted || run.done)
        return;
    run.acted = true;
    switch (run.act) {
    case CANCEL_TASK:
        (void)rota_cancel(run.target, "everywhere");
        break;
    case CANCEL_GROUP:
        rota_scope_cancel(&run.group.scope, "everywhere");
        break;
    case EXPIRE:
        if (run.scope_open)
            rota_scope_limit(&run.scope, 0);
        break;
    case CLOSE_LOOP:
        run.closed = run.closing = true;
        (void)rota_loop_stop(run.loop);
        break;
    default:
        break;
    }
}

static bool is_turn_of(enum when when, int k) { return run.act != NOTHING && run.when == when && run.k == k; }

/* ---- the marks ---- */

int everywhere_enter(const char *text, bool refuses) {
    char name[48];
    name_of(text, name);
    if (!everywhere_saw(name) && n_seen < 128)
        memcpy(seen[n_seen++], name, sizeof name);
    if (rota_self() != run.target || run.notes.calls >= MAX_POINTS)
        return -1;
    int number = run.notes.calls++;
    if (is_turn_of(BEFORE_CALL, number))
        act();
    struct call *call = &run.notes.call[number];
    *call = (struct call){ .refuses = refuses, .outer = run.call, .last_point = -1 };
    call->after = run.acted && run.act != CLOSE_LOOP; /* which cancels in a later turn */
    memcpy(call->name, name, sizeof name);
    run.call = number;
    return number;
}

/* Inside of a shield nothing refuses. */
static bool is_shielded(const struct call *call) {
    while (call->outer >= 0) {
        call = &run.notes.call[call->outer];
        if (strcmp(call->name, "rota_shield") == 0)
            return true;
    }
    return false;
}

void everywhere_leave(int number, intptr_t result) {
    if (number < 0)
        return;
    struct call *call = &run.notes.call[number];
    call->result = result;
    run.call = call->outer;
    if (call->after && call->refuses && !is_shielded(call))
        EXPECT(result == -ECANCELED, "%s, called after it, gave %ld", call->name, (long)result);
}

/* ---- the steps ---- */

static void run_step(rota_ready *ready);

/* Every task that lives: the free ones, and the children of every group that one of them has open. */
static void watch(rota_task *task) {
    struct rota__runner *runner = rota__task_runner(task);
    task->ready.run_ = run_step;
    for (rota_scope *scope = &runner->root; scope; scope = scope->inner_) {
        if (!(scope->flags_ & ROTA__SCOPE_GROUP))
            continue;
        for (rota_task *child = rota__container_of(scope, rota_group, scope)->children_; child; child = child->next)
            if (child->state == ROTA__TASK_LIVE)
                watch(child);
    }
}

static void watch_all(void) {
    for (struct rota__task_slab *slab = rota__tasks_of(run.loop)->slabs; slab; slab = slab->next)
        for (size_t i = slab->used; i-- > 0;)
            if (rota__task_is_free(&slab->tasks[i]))
                watch(&slab->tasks[i]);
}

/* The target has stopped: the next point. */
static void note_point(void) {
    const struct rota__wait *wait = run.target->wait;
    if (run.notes.points >= MAX_POINTS)
        return;
    int number = run.notes.points++;
    run.notes.point[number] = (struct point){ wait && wait->leave, run.call, -1 };
    for (int c = run.call; c >= 0; c = run.notes.call[c].outer)
        run.notes.call[c].last_point = number;
    if (is_turn_of(WHILE_PARKED, number))
        act();
}

/* In act CANCELLED_FIRST the step is known from the first run. */
static void before_step(const rota_task *task) {
    if (task == run.target && is_turn_of(COMPLETED_FIRST, run.notes.points - 1))
        act();
    if (task != run.target && run.act != NOTHING && run.when == CANCELLED_FIRST &&
        first.point[run.k].woken_at == run.steps)
        act();
}

/* Until the task stops, and no further. */
static void run_alone(rota_ready *ready) {
    rota_loop *loop = run.loop;
    int budget = loop->budget;
    unsigned rounds = loop->budget_rounds;
    loop->budget = 0;
    loop->budget_rounds = UINT_MAX - 1;
    rota__task_run(ready);
    loop->budget = budget;
    loop->budget_rounds = rounds;
}

static void run_step(rota_ready *ready) {
    rota_task *task = (rota_task *)ready; /* its first member */
    bool waited = run.target && !run.done && run.target->wait;
    before_step(task);
    run_alone(ready);
    if (run.target && !run.done && task != run.target && waited && !run.target->wait)
        run.notes.point[run.notes.points - 1].woken_at = run.steps;
    run.steps++;
    if (task == run.target && !run.done)
        note_point();
    if (run.closing) {
        run.closing = false;
        run.loop->budget = -1; /* spent, as it may be after any step: the turn ends here */
    }
    watch_all();
}

/* ---- the tasks ---- */

void helper(rota_fn *fn, void *arg) {
    cr_expect_eq(rota_spawn(NULL, fn, arg, &(rota_spawn_options){ .name = "helper", .group = &run.helpers }), 0);
}

static intptr_t target_main(void *unused) {
    (void)unused;
    rota_timeout_begin(&run.scope, run.acted && run.act == EXPIRE ? 0 : ROTA_FOREVER);
    run.scope_open = true;
    intptr_t v = run.scenario->body(NULL);
    run.scope_open = false;
    v = rota_scope_end(&run.scope, v);
    run.done = true;
    return v;
}

static intptr_t reuse(void *unused) {
    (void)unused;
    run.scenario->reuse();
    return 0;
}

/* Around the target, so that the group it is in can be cancelled without anything else. */
static intptr_t owner_main(void *unused) {
    (void)unused;
    rota_group_options keep_going = { .keep_going = true };
    rota_spawn_options opt = { .name = "target", .group = &run.group, .result = &run.outcome };
    rota_group_begin(&run.helpers, &keep_going);
    if (run.scenario->begin)
        run.scenario->begin();
    rota_group_begin(&run.group, &keep_going);
    cr_expect_eq(rota_spawn(&run.target, target_main, NULL, &opt), 0);
    intptr_t v = rota_group_end(&run.group, 0);
    rota_scope_cancel(&run.helpers.scope, "the target has ended");
    v = rota_group_end(&run.helpers, v);
    EXPECT(v == 0, "%ld: a helper has failed", (long)v);
    if (run.scenario->reuse && !run.closed)
        EXPECT(rota_timeout(run.scenario->outside ? 20 * ROTA_S : ROTA_S, reuse, NULL) == 0, "cannot be used again");
    if (run.scenario->end)
        run.scenario->end();
    return 0;
}

/* ---- peers outside ---- */

/* Whether another process has answered already is a matter of luck. So the target is told at first that it has not,
 * and always stops; from then on the truth, until that is that it has. (Nothing is missed: what came since the loop
 * looked last has its event still to come.) */
static bool denied;
static const struct rota__sys *real_sys;
static struct rota__sys denying_sys;

static int denying_poll(struct pollfd *fds, nfds_t n, int timeout_ms) {
    bool asks = n == 1 && timeout_ms == 0 && fds->events == POLLIN && run.target && !run.done &&
                rota_self() == run.target;
    if (asks && !denied) {
        denied = true;
        return 0;
    }
    int rc = real_sys->poll(fds, n, timeout_ms);
    if (asks && rc != 0)
        denied = false;
    return rc;
}

static void deny(void) {
    denied = false;
    real_sys = rota__sys;
    denying_sys = *rota__sys;
    denying_sys.poll = denying_poll;
    rota__sys = &denying_sys;
}

/* ---- a run ---- */

static void forget_run(const struct scenario *scenario, enum act act, enum when when, int k) {
    memset(&run, 0, sizeof run);
    run.scenario = scenario;
    run.act = act;
    run.when = when;
    run.k = k;
    run.call = -1;
}

static void run_loop(void) {
    rota_loop_options opt = test_options();
    rota_task *owner;
    intptr_t v = -1;
    if (run.scenario->threads)
        opt.allocator = NULL;
    if (run.scenario->outside) {
        opt.virtual_clock = false;
        deny();
    }
    test_begin();
    cr_assert_eq(rota_loop_new(&run.loop, &opt), 0);
    cr_assert_eq(rota_spawn(&owner, owner_main, NULL, &(rota_spawn_options){ .name = "owner" }), 0);
    watch_all();
    int rc = rota_loop_run_until(run.loop, owner, &v);
    EXPECT(rc == 0 || (rc == -ECANCELED && run.closed), "the loop gave %d, its owner %ld", rc, (long)v);
    rota_task_release(owner);
    EXPECT(rota_loop_free(run.loop) == 0, "closing");
    if (run.scenario->outside)
        rota__sys = real_sys;
    if (run.scenario->threads)
        wait_for_threads();
    test_end();
}

/* Completion beats cancellation, and the other way round: what the call says in which the target stood. */
static void check_call(void) {
    if (run.act == NOTHING || run.when == BEFORE_CALL || run.k < 0)
        return;
    const struct point *point = &first.point[run.k];
    if (point->call < 0 || !point->waits || !first.call[point->call].refuses)
        return;
    const struct call *then = &first.call[point->call], *now = &run.notes.call[point->call];
    bool last = then->last_point == run.k;
    if (run.when == COMPLETED_FIRST && last)
        EXPECT(now->result == then->result, "%s gave %ld, undisturbed %ld", now->name, (long)now->result,
               (long)then->result);
    if (run.when != COMPLETED_FIRST && (run.act == CANCEL_TASK || run.act == CANCEL_GROUP) && !is_shielded(now))
        EXPECT(now->result == -ECANCELED, "%s gave %ld", now->name, (long)now->result);
}

/* What debug mode tells of a slow machine, and of a generator that a cancellation ended before it began. */
static bool is_harmless(const struct kept_report *report) {
    return report->kind == ROTA_REPORT_SLOW || report->kind == ROTA_REPORT_UNSTARTED;
}

static bool same_point(const struct point *a, const struct point *b) { return a->call == b->call && a->waits == b->waits; }

/* Up to the point where it is stopped a run is like the first one: else the numbers would mean nothing. */
static bool repeats(void) {
    if (!run.acted && run.act != NOTHING)
        return false;
    for (int i = 0; i <= run.k && i < run.notes.points && i < first.points && run.when != BEFORE_CALL; i++)
        if (!same_point(&run.notes.point[i], &first.point[i]))
            return false;
    return true;
}

static void one_run(const struct scenario *scenario, enum act how, enum when when, int k) {
    int tries = MAX_TRIES;
    do {
        forget_run(scenario, how, when, k);
        run_loop();
    } while (!repeats() && --tries > 0);
    EXPECT(run.done, "the target has not ended");
    EXPECT(repeats(), run.acted ? "another way was taken before the point" : "the point was never reached");
    for (int i = 0; i < reports.n && i < MAX_REPORTS; i++)
        EXPECT(is_harmless(&reports.all[i]), "report: %s", reports.all[i].text);
    check_call();
    if (scenario->check)
        scenario->check();
}

void everywhere_once(const struct scenario *scenario) {
    one_run(scenario, NOTHING, WHILE_PARKED, -1);
    first = run.notes;
}

static bool same_points(const struct notes *a, const struct notes *b) {
    if (a->points != b->points || a->calls != b->calls)
        return false;
    for (int i = 0; i < a->points; i++)
        if (!same_point(&a->point[i], &b->point[i]) || a->point[i].woken_at != b->point[i].woken_at)
            return false;
    return true;
}

static void usual_run(const struct scenario *scenario) {
    struct notes before;
    int tries = MAX_TRIES;
    everywhere_once(scenario);
    do {
        before = first;
        everywhere_once(scenario);
    } while (!same_points(&before, &first) && --tries > 0);
}

static bool is_a_point(enum when when, int k) {
    return k < 0 ? when == COMPLETED_FIRST : when != CANCELLED_FIRST || first.point[k].woken_at >= 0;
}

void everywhere(const struct scenario *scenario) {
    usual_run(scenario);
    cr_expect(first.points > 0 && first.points < MAX_POINTS && first.calls < MAX_POINTS, "%s: %d points, %d calls",
              scenario->name, first.points, first.calls);
    int runs = 1;
    for (int how = CANCEL_TASK; how < ACTS; how++)
        for (int when = WHILE_PARKED; when < WHENS; when++)
            for (int k = -1; k < (when == BEFORE_CALL ? first.calls : first.points); k++)
                if (is_a_point((enum when)when, k)) {
                    one_run(scenario, (enum act)how, (enum when)when, k);
                    runs++;
                }
    if (getenv("ROTA_TEST_VERBOSE"))
        fprintf(stderr, "%-16s %3d points %3d calls %5d runs\n", scenario->name, first.points, first.calls, runs);
}
