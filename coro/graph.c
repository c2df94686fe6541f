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

/* A list of tasks that wait, linked through `work`; each is in it once. One that does not wait has no edges, and leads
 * nowhere. */
struct walk {
    rota_task *first, **last;
};

static void add(struct walk *walk, const rota_task *task) {
    rota_task *t = (rota_task *)(uintptr_t)task;
    if (!t || !rota__task_waits(t) || t->flags & ROTA__TASK_QUEUED_WORK)
        return;
    t->flags |= ROTA__TASK_QUEUED_WORK;
    t->runner->work = NULL;
    *walk->last = t;
    walk->last = &t->runner->work;
}

static void add_edges(struct walk *walk, const rota_task *task) {
    add(walk, rota__waits_on(task));
    if (task->wait->what != rota__waits_for_group)
        return;
    for (const rota_task *child = ((const rota_group *)task->wait->on)->children_; child; child = child->next)
        add(walk, child);
}

/* Does its waiting lead back to itself? */
static bool in_a_cycle(const rota_task *task) {
    struct walk walk = { NULL, &walk.first };
    if (!rota__task_waits(task))
        return false;
    add_edges(&walk, task);
    for (const rota_task *t = walk.first; t && !(task->flags & ROTA__TASK_QUEUED_WORK); t = t->runner->work)
        add_edges(&walk, t);
    bool found = task->flags & ROTA__TASK_QUEUED_WORK;
    for (rota_task *t = walk.first; t; t = t->runner->work)
        t->flags &= (uint16_t)~ROTA__TASK_QUEUED_WORK;
    return found;
}

/* ---- what waits in vain ---- */

/* The first few that have not ended, in the order in which they were spawned. */
static size_t pick(rota_loop *loop, const rota_task *shown[MOST_SHOWN]) {
    size_t n = 0;
    for (const struct rota__task_slab *slab = rota__tasks_of(loop)->slabs; slab; slab = slab->next)
        for (size_t i = 0; i < slab->used; i++) {
            const rota_task *task = &slab->tasks[i];
            if (task->state != ROTA__TASK_LIVE || (n == MOST_SHOWN && task->number > shown[n - 1]->number))
                continue;
            size_t at = n < MOST_SHOWN ? n++ : n - 1;
            for (; at > 0 && shown[at - 1]->number > task->number; at--)
                shown[at] = shown[at - 1];
            shown[at] = task;
        }
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
