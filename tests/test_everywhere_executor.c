/* Calls that wait for threads, cancelled wherever they stop: see everywhere.h. A job that must not end before its task
 * waits passes a gate, which a callback opens that the loop runs after that. */
#include <pthread.h>

#include "rota/combine.h"
#include "rota/executor.h"
#include "tests/everywhere.h"
#include "tests/support.h"

#define Everywhere(name) \
    Test(everywhere_executor, name, .timeout = 300) { everywhere(&name); }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int permits;
static rota_executor *executor;

static void open_gate(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    permits++;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
}

static intptr_t pass_gate(void *value) {
    pthread_mutex_lock(&lock);
    while (permits == 0)
        pthread_cond_wait(&more, &lock);
    permits--;
    pthread_mutex_unlock(&lock);
    return (intptr_t)value;
}

static intptr_t at_once(void *value) { return (intptr_t)value; }

/* Takes the only thread until the gate is opened. */
static intptr_t occupy(void *unused) {
    (void)unused;
    int rc = rota_offload(pass_gate, NULL, NULL, &(rota_offload_options){ .executor = executor });
    return rc == -ECANCELED ? 0 : rc;
}

static void begin(void) {
    permits = 0;
    cr_expect_eq(rota_executor_new(&executor, &(rota_executor_options){ .threads = 1 }), 0);
    helper(occupy, NULL);
}

static void end(void) { cr_expect_eq(rota_executor_free(executor), 0); }

static void reuse(void) {
    intptr_t v = 0;
    cr_expect_eq(rota_offload(at_once, (void *)5, &v, &(rota_offload_options){ .executor = executor }), 0);
    cr_expect_eq(v, 5);
}

/* Queued behind another one; abandoned while it runs; and one that is waited for whatever happens. */
static intptr_t offloads_body(void *unused) {
    rota_offload_options opt = { .executor = executor };
    intptr_t v = 0;
    (void)unused;
    cr_expect_eq(rota_call_soon(open_gate, NULL), 0);
    int rc = S(rota_offload(at_once, (void *)1, &v, &opt));
    cr_expect_eq(v, rc < 0 ? rc : 1);
    if (rc == 0) {
        opt.abandon = true;
        cr_expect_eq(rota_call_soon(open_gate, NULL), 0);
        rc = S(rota_offload(pass_gate, (void *)2, &v, &opt));
        cr_expect_eq(v, rc < 0 ? rc : 2);
    }
    if (rc == 0) {
        opt.abandon = false;
        cr_expect_eq(rota_call_soon(open_gate, NULL), 0);
        rc = Never(rota_offload(pass_gate, (void *)3, &v, &opt));
        cr_expect_eq(v, rc < 0 ? rc : 3);
    }
    TRY(rota_yield());
    return rc;
}

static const struct scenario offloads = {
    .name = "offloads", .begin = begin, .body = offloads_body, .reuse = reuse, .end = end, .threads = true
};
Everywhere(offloads)

static intptr_t drains_body(void *unused) {
    (void)unused;
    cr_expect_eq(rota_call_soon(open_gate, NULL), 0);
    TRY(rota_executor_drain(executor));
    return S(rota_yield());
}

static const struct scenario drains = {
    .name = "drains", .begin = begin, .body = drains_body, .reuse = reuse, .end = end, .threads = true
};
Everywhere(drains)

/* ---- the list ---- */

static const char *const suspending[] = {
    "rota_executor_drain", "rota_offload",
};

Test(everywhere_executor, every_suspending_call_is_in_a_scenario) {
    everywhere_once(&offloads);
    everywhere_once(&drains);
    for (size_t i = 0; i < sizeof suspending / sizeof *suspending; i++)
        cr_expect(everywhere_saw(suspending[i]), "%s", suspending[i]);
}
