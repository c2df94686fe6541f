/* The wait graph: who waits for whom, through tasks, locks and groups; and the report of tasks that nothing can wake,
 * with their cycles marked.
 *
 * A task that waits for another one's end, or for a lock, has one edge, to that task or to the owner. One that leaves
 * a group has an edge to each of its children. Walks are breadth-first with links that tasks carry: a graph can be
 * deep, and this runs where memory may be what is missing.
 */
#include "coro/task.h"
#include "reactor/text.h"

enum { MOST_SHOWN = 16 };

/* ---- edges ---- */

/* A list of tasks, linked through `work`; each is in it once. */
struct walk {
    rota_task *first, **last;
};

static void add(struct walk *walk, const rota_task *task) {
    rota_task *t = (rota_task *)(uintptr_t)task;
    if (!t || t->flags & ROTA__TASK_QUEUED_WORK)
        return;
    t->flags |= ROTA__TASK_QUEUED_WORK;
    t->work = NULL;
    *walk->last = t;
    walk->last = &t->work;
}

static void add_all(struct walk *walk, const rota_task *task) {
    for (; task; task = task->next)
        add(walk, task);
}

static void end_walk(struct walk *walk) {
    for (rota_task *t = walk->first; t; t = t->work)
        t->flags &= (uint16_t)~ROTA__TASK_QUEUED_WORK;
}

static void add_edges(struct walk *walk, const rota_task *task) {
    add(walk, rota__waits_on(task));
    if (rota__task_waits(task) && task->wait->what == rota__waits_for_group)
        add_all(walk, ((const rota_group *)task->wait->on)->children_);
}

/* Does its waiting lead back to itself? */
static bool in_a_cycle(const rota_task *task) {
    struct walk walk = { NULL, &walk.first };
    add_edges(&walk, task);
    for (const rota_task *t = walk.first; t && !(task->flags & ROTA__TASK_QUEUED_WORK); t = t->work)
        add_edges(&walk, t);
    bool found = task->flags & ROTA__TASK_QUEUED_WORK;
    end_walk(&walk);
    return found;
}

/* ---- what waits in vain ---- */

static bool has_scopes(const rota_task *task) {
    return task->state == ROTA__TASK_LIVE && rota__task_has_begun(task);
}

/* Puts every task of the loop in the list: the free ones, and those in groups of a task that is in it. */
static void add_every(rota_loop *loop, struct walk *walk) {
    add_all(walk, rota__tasks_of(loop)->free_tasks);
    for (rota_task *task = walk->first; task; task = task->work)
        for (rota_scope *s = has_scopes(task) ? &task->runner->root : NULL; s; s = s->inner_)
            if (s->flags_ & ROTA__SCOPE_GROUP)
                add_all(walk, rota__container_of(s, rota_group, scope)->children_);
}

/* The first few that have not ended. Copied out of the walk, whose links the search for cycles uses again. */
static size_t pick(rota_loop *loop, const rota_task *shown[MOST_SHOWN]) {
    struct walk walk = { NULL, &walk.first };
    size_t n = 0;
    add_every(loop, &walk);
    for (const rota_task *t = walk.first; t && n < MOST_SHOWN; t = t->work)
        if (t->state == ROTA__TASK_LIVE)
            shown[n++] = t;
    end_walk(&walk);
    return n;
}

void rota__report_deadlock(rota_loop *loop, int kind) {
    char text[1900];
    struct rota__text t;
    const rota_task *shown[MOST_SHOWN];
    size_t live = rota__tasks_of(loop)->live, n = pick(loop, shown);
    rota__text_init(&t, text, sizeof text);
    rota__text_add(&t, kind == ROTA_REPORT_DEADLOCK ? "deadlock: nothing can ever wake " : "the loop closes over ");
    rota__text_number(&t, (int64_t)live);
    rota__text_add(&t, live == 1 ? " task" : " tasks");
    for (size_t i = 0; i < n; i++) {
        rota__text_add(&t, "\n  ");
        rota__task_text(&t, shown[i]);
        if (in_a_cycle(shown[i]))
            rota__text_add(&t, " (in a cycle)");
    }
    if (live > n) {
        rota__text_add(&t, "\n  ... and ");
        rota__text_number(&t, (int64_t)(live - n));
        rota__text_add(&t, " more");
    }
    rota__report(loop, kind, kind == ROTA_REPORT_DEADLOCK ? -EDEADLK : 0, NULL, NULL, text);
}
