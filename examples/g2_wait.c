/* Rows G1 to G3: ways to wait for several things. wait only waits; as-completed gives results as they come; a race ends
 * the losers; a select takes one of several things and leaves the others untouched. */
#include <stdio.h>

#include "rota.h"

static const char *const names[] = { "slow", "quick", "middling" };
static int64_t delays[] = { 3 * ROTA_S, 1 * ROTA_S, 2 * ROTA_S };
static int64_t start;

static double seconds(void) { return (double)(rota_now() - start) / (double)ROTA_S; }

static intptr_t sleeper(void *arg) {
    const int64_t *delay = arg;
    int rc = rota_sleep(*delay);
    return rc < 0 ? rc : delay - delays;
}

/* All three or none: a group has an end that waits, whatever goes wrong in between. */
static int spawn_all(rota_task *tasks[3], rota_group *group) {
    int rc = 0;
    start = rota_now();
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = rota_spawn(&tasks[i], sleeper, &delays[i], &(rota_spawn_options){ .group = group });
    return rc;
}

static int wait_for_the_first(rota_task *tasks[3]) {
    size_t done;
    int rc = rota_wait(tasks, 3, ROTA_FIRST, ROTA_FOREVER, &done);
    if (rc == 0)
        printf("wait for the first: %zu has ended after %.1f s\n", done, seconds());
    if (rc == 0)
        rc = rota_wait(tasks, 3, ROTA_ALL, 500 * ROTA_MS, &done);
    if (rc == 0)
        printf("wait for all, but half a second at most: %zu\n", done);
    if (rc == 0)
        rc = rota_wait(tasks, 3, ROTA_ALL, ROTA_FOREVER, &done);
    if (rc == 0)
        printf("wait for all: %zu after %.1f s\n", done, seconds());
    return rc;
}

static int take_as_they_come(rota_task *tasks[3]) {
    rota_as_completed it;
    rota_as_completed_slot slots[3];
    intptr_t which;
    int rc = rota_as_completed_begin(&it, tasks, 3, slots);
    if (rc < 0)
        return rc;
    while ((rc = rota_as_completed_next(&it, NULL, &which)) == 1)
        printf("as completed: %s after %.1f s\n", names[which], seconds());
    rota_as_completed_end(&it);
    return rc;
}

static int with_tasks(int (*body)(rota_task *tasks[3])) {
    rota_task *tasks[3] = { NULL };
    rota_group group;
    rota_group_begin(&group, NULL);
    int rc = spawn_all(tasks, &group);
    if (rc == 0)
        rc = body(tasks);
    return (int)rota_group_end(&group, rc);
}

static int race(void) {
    rota_call calls[] = { { sleeper, &delays[0], 0 }, { sleeper, &delays[1], 0 }, { sleeper, &delays[2], 0 } };
    size_t winner;
    start = rota_now();
    int rc = rota_race(calls, 3, &winner);
    if (rc == 0)
        printf("race: %s wins after %.1f s, the slow one has %s\n", names[winner], seconds(),
               calls[0].result == -ECANCELED ? "been cancelled" : "come too");
    return rc;
}

static int take_one_of_two(void) {
    int some[2], other[2], item = 7, taken = 0;
    rota_queue left, right;
    ROTA_QUEUE_INIT(&left, some);
    ROTA_QUEUE_INIT(&right, other);
    int rc = rota_queue_put(&right, &item);
    if (rc < 0)
        return rc;
    rota_clause clauses[] = {
        { .kind = ROTA_SELECT_GET, .object = &left, .item = &taken },
        { .kind = ROTA_SELECT_GET, .object = &right, .item = &taken },
    };
    rc = rota_select(clauses, 2);
    if (rc >= 0)
        printf("select: %d from the %s queue\n", taken, rc == 0 ? "left" : "right");
    return rc < 0 ? rc : 0;
}

static intptr_t amain(void *unused) {
    (void)unused;
    int rc = with_tasks(wait_for_the_first);
    if (rc == 0)
        rc = with_tasks(take_as_they_come);
    if (rc == 0)
        rc = race();
    return rc < 0 ? rc : take_one_of_two();
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
