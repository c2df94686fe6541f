/* The wait graph in the deadlock report: edges through awaits, locks and groups, and cycles. */
#include <stdio.h>
#include <string.h>

#include "rota.h"
#include "tests/support.h"

static char text[4096];

static void collect(void *ctx, const rota_report *report) {
    (void)ctx;
    if (report->kind == ROTA_REPORT_DEADLOCK)
        strncpy(text, report->text, sizeof text - 1);
}

static void expect_deadlock(rota_fn *fn) {
    text[0] = '\0';
    cr_assert_eq(rota_run(fn, NULL, NULL, &(rota_loop_options){ .report = collect, .virtual_clock = true }), -EDEADLK);
}

/* The line of the report that tells of the task. */
static const char *line_of(const char *name) {
    static char line[512];
    char start[64] = "\n  task '";
    strcat(strcat(start, name), "'");
    const char *at = strstr(text, start);
    if (!at)
        return "";
    at++;
    size_t n = strcspn(at, "\n");
    memcpy(line, at, n);
    line[n] = '\0';
    return line;
}

static bool says(const char *name, const char *what) { return strstr(line_of(name), what) != NULL; }

static rota_task *spawn(const char *name, rota_fn *fn, void *arg) {
    rota_task *task = NULL;
    cr_expect_eq(rota_spawn(&task, fn, arg, &(rota_spawn_options){ .name = name }), 0);
    return task;
}

/* ---- locks ---- */

static rota_mutex first, second;

struct order {
    rota_mutex *one, *other;
};

static intptr_t locks_both(void *arg) {
    struct order *o = arg;
    int rc = rota_mutex_lock(o->one);
    if (rc == 0)
        rc = rota_yield();
    if (rc == 0)
        rc = rota_mutex_lock(o->other);
    rota_mutex_unlock(o->one);
    return rc;
}

static intptr_t crossed_locks(void *arg) {
    static struct order ab = { &first, &second }, ba = { &second, &first };
    (void)arg;
    rota_task *a = spawn("a", locks_both, &ab), *b = spawn("b", locks_both, &ba);
    int rc = rota_await(a, NULL);
    rota_task_release(a);
    rota_task_release(b);
    return rc;
}

Test(graph, crossed_locks_are_a_cycle_with_owners, .disabled = BRIEF_REPORTS) {
    expect_deadlock(crossed_locks);
    cr_expect(says("a", "waits for a mutex") && says("a", "held by task 'b'") && says("a", "(in a cycle)"), "%s", text);
    cr_expect(says("b", "held by task 'a'") && says("b", "(in a cycle)"), "%s", text);
    cr_expect(says("main", "waits for task 'a'") && !says("main", "cycle"), "%s", text);
}

/* ---- groups ---- */

static intptr_t awaits(void *arg) { return rota_await(*(rota_task **)arg, NULL); }

static intptr_t child_awaits_the_owner(void *arg) {
    rota_task *self = rota_self();
    rota_group g;
    (void)arg;
    rota_group_begin(&g, NULL);
    int rc = rota_spawn(NULL, awaits, &self, &(rota_spawn_options){ .group = &g, .name = "child" });
    return rota_group_end(&g, rc);
}

Test(graph, a_child_that_awaits_its_groups_owner_is_a_cycle, .disabled = BRIEF_REPORTS) {
    expect_deadlock(child_awaits_the_owner);
    cr_expect(says("main", "the tasks of a group") && says("main", "(in a cycle)"), "%s", text);
    cr_expect(says("child", "waits for task 'main'") && says("child", "(in a cycle)"), "%s", text);
}

static intptr_t waits_for_event(void *arg) { return rota_event_wait(arg); }

static intptr_t nobody_sets(void *arg) {
    rota_event e = { 0 };
    (void)arg;
    rota_task *t = spawn("waiter", waits_for_event, &e);
    int rc = rota_await(t, NULL);
    rota_task_release(t);
    return rc;
}

Test(graph, a_chain_that_ends_in_an_event_is_no_cycle, .disabled = BRIEF_REPORTS) {
    expect_deadlock(nobody_sets);
    cr_expect(says("waiter", "an event") && !says("waiter", "cycle"), "%s", text);
    cr_expect(says("main", "waits for task 'waiter'") && !says("main", "cycle"), "%s", text);
}

/* ---- read-write locks ---- */

static rota_rwlock lock;

static intptr_t writes(void *arg) {
    int rc = rota_rwlock_write(&lock);
    if (rc == 0)
        rc = rota_event_wait(arg);
    rota_rwlock_unlock(&lock);
    return rc;
}

static intptr_t reads_behind_a_writer(void *arg) {
    rota_event never = { 0 };
    (void)arg;
    rota_task *w = spawn("writer", writes, &never);
    int rc = rota_yield();
    if (rc == 0)
        rc = rota_rwlock_read(&lock);
    rota_task_release(w);
    return rc;
}

Test(graph, a_reader_names_the_writer, .disabled = BRIEF_REPORTS) {
    expect_deadlock(reads_behind_a_writer);
    cr_expect(says("main", "a lock, to read") && says("main", "held by task 'writer'"), "%s", text);
}

/* ---- which are named ---- */

static intptr_t waits_for_ever(void *arg) { return rota_event_wait(arg); }

/* Forty: their control blocks lie in several slabs, the newest of which is found first. */
static intptr_t forty_wait(void *arg) {
    rota_event never = { 0 };
    (void)arg;
    for (int i = 0; i < 40; i++)
        cr_expect_eq(rota_spawn(NULL, waits_for_ever, &never, NULL), 0);
    return rota_event_wait(&never);
}

Test(graph, the_first_sixteen_are_named_in_the_order_of_their_spawn, .disabled = BRIEF_REPORTS) {
    expect_deadlock(forty_wait);
    const char *at = strstr(text, "\n  task 'main' "); /* the first */
    cr_assert(at, "%s", text);
    for (int number = 2; number <= 16; number++) {
        char start[32];
        snprintf(start, sizeof start, "\n  task #%d ", number);
        const char *line = strstr(at, start);
        cr_assert(line, "task #%d is not named, or too early or late: %s", number, text);
        at = line + 1;
    }
    cr_expect(strstr(at, "\n  ... and 25 more"), "%s", text);
    cr_expect(!strstr(text, "task #17 "), "%s", text);
}
