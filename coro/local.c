/* Task-local values: rota_local_get, _set, _reset.
 *
 * A task sees a list of settings, latest first. Nodes never change, so lists share their tails: a spawn inherits by
 * one more reference to the spawner's list, and what either sets later is in front of that, unseen by the other.
 * Looking up is linear in the settings a task sees, which are few; a table would make each spawn pay.
 *
 * Invariant: a task holds a reference to `locals`; `inherited` is `locals` as it was at the spawn, and lies in that
 * list, so the nodes in front of it are those that the task has set itself. References need no atomics: a task and
 * those that it spawns are of one loop.
 */
#include "coro/task.h"
#include "rota/combine.h"

struct rota__local_node {
    struct rota__local_node *next;
    const rota_local *local;
    void *value;
    size_t references;      /* of tasks, and of nodes in front */
};

static struct rota__local_node *share(struct rota__local_node *node) {
    if (node)
        node->references++;
    return node;
}

void rota__locals_inherit(struct rota__runner *runner, struct rota__local_node *spawners) {
    runner->locals = runner->inherited = share(spawners);
}

/* Down the list, not by recursion: it may be long. */
static void drop(rota_loop *loop, struct rota__local_node *node) {
    while (node && --node->references == 0) {
        struct rota__local_node *next = node->next;
        rota__free(&loop->allocator, node, sizeof *node);
        node = next;
    }
}

void rota__locals_drop(rota_task *task) {
    struct rota__runner *runner = task->runner;
    drop(task->loop, runner->locals);
    runner->locals = runner->inherited = NULL;
}

void *rota_local_get(const rota_local *local) {
    const rota_task *self = rota_self();
    if (!local)
        return NULL;
    for (const struct rota__local_node *node = self ? self->runner->locals : NULL; node; node = node->next)
        if (node->local == local)
            return node->value;
    return local->unset;
}

int rota_local_set(const rota_local *local, void *value) {
    rota_task *self = rota_self();
    if (!local || !self)
        return local ? -EPERM : -EINVAL;
    struct rota__local_node *node = rota__alloc(&self->loop->allocator, sizeof *node);
    if (!node)
        return -ENOMEM;
    node->next = self->runner->locals; /* the task's reference becomes the node's */
    node->local = local;
    node->value = value;
    node->references = 1;
    self->runner->locals = node;
    return 0;
}

int rota_local_reset(const rota_local *local) {
    rota_task *self = rota_self();
    if (!local || !self)
        return local ? -EPERM : -EINVAL;
    struct rota__local_node *latest = self->runner->locals;
    if (latest == self->runner->inherited || latest->local != local)
        return -EINVAL;
    self->runner->locals = share(latest->next);
    drop(self->loop, latest);
    return 0;
}
