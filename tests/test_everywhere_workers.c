/* The suspending calls of rota/workers.h, cancelled wherever they stop: see everywhere.h. A job that must not end
 * before its task waits passes a gate, which a callback opens that the loop runs after that. */
#include "rota/combine.h"
#include "tests/everywhere.h"
#include "tests/workers_kit.h"

#define Everywhere(name) \
    Test(everywhere_workers, name, .init = start_server, .fini = stop_server, .timeout = 300) { everywhere(&name); }

static void open_one(void *unused) {
    (void)unused;
    open_gate(1);
}

static rota_worker_job value_job(const intptr_t *value) {
    return (rota_worker_job){.fn = job_value, .in = value, .in_n = sizeof *value};
}

/* Takes the only worker until the gate is opened. */
static intptr_t occupy(void *unused) {
    rota_worker_job job = {.fn = job_gate};
    (void)unused;
    int rc = rota_workers_call(workers, &job, NULL);
    return rc == -ECANCELED ? 0 : rc;
}

static void begin(void) {
    atomic_store(&common->permits, 0);
    open_workers(1);
    helper(occupy, NULL);
}

static void reuse(void) { cr_expect_eq(call_value(5), 5); }

/* A worker that is being killed must not take the next run's permit. */
static void renew_server(void) {
    cr_expect_eq(rota_fork_server_stop(), 0);
    cr_expect_eq(rota_fork_server_start(), 0);
}

/* Queued behind another one; killed while it runs; and one that is waited for whatever happens. */
static intptr_t calls_body(void *unused) {
    intptr_t value = 1, v = 0;
    rota_worker_job job = value_job(&value);
    (void)unused;
    cr_expect_eq(rota_call_soon(open_one, NULL), 0);
    int rc = S(rota_workers_call(workers, &job, &v));
    cr_expect_eq(v, rc < 0 ? rc : 1);
    if (rc == 0) {
        job = (rota_worker_job){.fn = job_gate, .kill_on_cancel = true};
        cr_expect_eq(rota_call_soon(open_one, NULL), 0);
        rc = S(rota_workers_call(workers, &job, &v));
        cr_expect_eq(v, rc < 0 ? rc : 7);
    }
    if (rc == 0) {
        job.kill_on_cancel = false;
        cr_expect_eq(rota_call_soon(open_one, NULL), 0);
        rc = Never(rota_workers_call(workers, &job, &v));
        cr_expect_eq(v, rc < 0 ? rc : 7);
    }
    TRY(rota_yield());
    return rc;
}

static const struct scenario calls = {
    .name = "calls workers", .begin = begin, .body = calls_body, .reuse = reuse, .end = free_workers,
    .check = renew_server
};
Everywhere(calls)

static intptr_t drains_body(void *unused) {
    (void)unused;
    cr_expect_eq(rota_call_soon(open_one, NULL), 0);
    TRY(rota_workers_drain(workers));
    return S(rota_yield());
}

static const struct scenario drains = {
    .name = "drains workers", .begin = begin, .body = drains_body, .reuse = reuse, .end = free_workers,
    .check = renew_server
};
Everywhere(drains)

static const char *const suspending[] = {
    "rota_workers_call", "rota_workers_drain",
};

Test(everywhere_workers, every_suspending_call_is_in_a_scenario, .init = start_server, .fini = stop_server) {
    everywhere_once(&calls);
    everywhere_once(&drains);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
