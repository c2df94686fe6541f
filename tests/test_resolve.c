/* Name resolution: what is let through, what errors become, and the threads: how many, for whom, and how long. The
 * resolver of the C library is replaced, so that no test needs a network and every order of events can be forced. */
#include <ctype.h>
#include <pthread.h>
#include <sched.h>

#include "rota/net.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

/* ---- a resolver of our own ---- */

static int threads, lookups, freed, eai, system_error, refuse_threads_from;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Semaphores (macOS has none without a name). A lookup of "slow" says that it runs, and waits to be let on. */
static struct gate {
    int permits;
    pthread_cond_t more;
} entered = {0, PTHREAD_COND_INITIALIZER}, go = {0, PTHREAD_COND_INITIALIZER};

static void post(struct gate *g) {
    pthread_mutex_lock(&lock);
    g->permits++;
    pthread_cond_signal(&g->more);
    pthread_mutex_unlock(&lock);
}

static void pass(struct gate *g) {
    pthread_mutex_lock(&lock);
    while (g->permits == 0)
        pthread_cond_wait(&g->more, &lock);
    g->permits--;
    pthread_mutex_unlock(&lock);
}

static int our_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list) {
    if (hints->ai_flags & AI_NUMERICHOST)
        return rota__sys_real.getaddrinfo(host, service, hints, list);
    pthread_mutex_lock(&lock);
    lookups++;
    pthread_mutex_unlock(&lock);
    if (strncmp(host, "slow", 4) == 0) {
        post(&entered);
        pass(&go);
    }
    if (eai) {
        errno = system_error;
        return eai;
    }
    struct sockaddr_in *addr = calloc(1, sizeof *addr);
    *addr = loopback(service ? atoi(service) : 0);
    *list = calloc(1, sizeof **list);
    **list = (struct addrinfo){.ai_family = AF_INET, .ai_addr = (struct sockaddr *)addr, .ai_addrlen = sizeof *addr};
    return 0;
}

static void our_freeaddrinfo(struct addrinfo *list) {
    if (list->ai_canonname || list->ai_next || list->ai_socktype) { /* the system's */
        rota__sys_real.freeaddrinfo(list);
        return;
    }
    free(list->ai_addr);
    free(list);
    pthread_mutex_lock(&lock);
    freed++;
    pthread_mutex_unlock(&lock);
}

/* Counts the ends of threads as well. */
static void *(*thread_fn)(void *);
static int ended;

static void *counted_thread(void *arg) {
    void *result = thread_fn(arg);
    pthread_mutex_lock(&lock);
    ended++;
    pthread_mutex_unlock(&lock);
    return result;
}

static int our_thread(pthread_t *thread, void *(*fn)(void *), void *arg, size_t stack_size) {
    if (refuse_threads_from && threads + 1 >= refuse_threads_from)
        return -EAGAIN;
    threads++;
    thread_fn = fn;
    return rota__sys_real.thread(thread, counted_thread, arg, stack_size);
}

/* Until *counter, which threads change, is n: true; false when it does not come to that. */
static bool becomes(const int *counter, int n) {
    for (int tries = 0; tries < 1000000; tries++) {
        pthread_mutex_lock(&lock);
        bool is = *counter == n;
        pthread_mutex_unlock(&lock);
        if (is)
            return true;
        sched_yield();
    }
    return false;
}

static void script(void) {
    struct rota__sys *table = use_shim();
    table->getaddrinfo = our_getaddrinfo;
    table->freeaddrinfo = our_freeaddrinfo;
    table->thread = our_thread;
    threads = lookups = freed = eai = refuse_threads_from = 0;
}

#define Resolver_test(name)                                        \
    static intptr_t name##_body(void *unused);                     \
    Test(resolve, name, .fini = wait_for_threads) {                \
        script();                                                  \
        cr_expect_eq(run_task(name##_body, NULL), 0);              \
    }                                                              \
    static intptr_t name##_body(void *unused __attribute__((unused)))

static intptr_t resolve_name(void *name) {
    rota_address out[4];
    return rota_resolve(name, "80", AF_UNSPEC, out, 4);
}

static rota_task *start_lookup(const char *name) { return start(resolve_name, (void *)(uintptr_t)name); }

static void wait_until_entered(void) { pass(&entered); }

/* ---- results ---- */

Resolver_test(numbers_are_parsed_at_once) {
    rota_address out[2];
    struct sockaddr_in *four = (struct sockaddr_in *)&out[0].addr;
    cr_expect_eq(rota_resolve("127.0.0.1", "8080", AF_UNSPEC, out, 2), 1);
    cr_expect_eq(out[0].len, sizeof *four);
    cr_expect_eq(four->sin_port, htons(8080));
    cr_expect_eq(rota_resolve("::1", NULL, AF_UNSPEC, out, 2), 1);
    cr_expect_eq(out[0].addr.ss_family, AF_INET6);
    cr_expect_eq(threads, 0);
    return 0;
}

Resolver_test(names_go_to_a_thread) {
    rota_address out;
    cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), 1);
    cr_expect_eq(((struct sockaddr_in *)&out.addr)->sin_port, htons(80));
    cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), 1);
    cr_expect_eq(rota_resolve("example.org.", "http", AF_INET, &out, 1), 1);
    cr_expect_eq(threads, 1, "an idle one is used again");
    cr_expect_eq(lookups, 3);
    cr_expect_eq(freed, 3);
    cr_expect_eq(rota_loop_current()->jobs, 0u);
    return 0;
}

Resolver_test(errors) {
    static const struct { int eai, error; } cases[] = {
        {EAI_NONAME, -ENOENT},
        {EAI_AGAIN, -EHOSTUNREACH},
        {EAI_FAIL, -EHOSTUNREACH},
        {EAI_MEMORY, -ENOMEM},
        {EAI_SERVICE, -EINVAL},
        {EAI_FAMILY, -EINVAL},
        {EAI_BADFLAGS, -EINVAL},
        {EAI_SYSTEM, -EMFILE},
    };
    rota_address out;
    system_error = EMFILE;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        eai = cases[i].eai;
        cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), cases[i].error, "case %zu", i);
    }
    return 0;
}

/* ---- what is let through ---- */

static void expect_refused(const char *host, const char *service, int error) {
    rota_address out;
    int rc = rota_resolve(host, service, AF_UNSPEC, &out, 1);
    cr_expect_eq(rc, error, "host '%.20s', service '%.20s': %d", host ? host : "(null)", service, rc);
}

Resolver_test(bad_questions) {
    static const char *const services[] = {"65536", "-1", "+80", " 80", "", "80 ", "99999999999999999999", "8\x01"};
    static const char *const hosts[] = {"", "a b", "a\nb", "a/b", "user@host", "[::1]", "a\\b", "a\x7f", "a#b", "a;b"};
    static char name[65537];
    rota_address out;
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        expect_refused("127.0.0.1", services[i], -EINVAL);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        expect_refused(hosts[i], "80", -EINVAL);
    expect_refused(NULL, "80", -EINVAL);
    memset(name, 'a', 65536);
    for (size_t n = 254; n <= 257; n++) {
        name[n] = 0;
        expect_refused(name, "80", -ENAMETOOLONG);
        name[n] = 'a';
    }
    name[256] = 0; /* the tail of which would be an address, were it cut off there */
    memcpy(name + 246, "0x7f000001", 10);
    expect_refused(name, "80", -ENAMETOOLONG);
    memset(name, 'a', 65536);
    expect_refused(name, "80", -ENAMETOOLONG);
    expect_refused("127.0.0.1", name, -EINVAL);
    name[0] = '[';
    name[201] = ']';
    name[202] = 0;
    expect_refused(name, "80", -EINVAL);
    cr_expect_eq(rota_resolve("a", "80", AF_UNIX, &out, 1), -EINVAL);
    cr_expect_eq(rota_resolve("a", "80", AF_UNSPEC, NULL, 1), -EINVAL);
    cr_expect_eq(rota_resolve("a", "80", AF_UNSPEC, &out, 0), -EINVAL);
    cr_expect_eq(lookups, 0, "none of them may reach the system's resolver");
    memset(name, 'a', 253);
    name[253] = 0;
    cr_expect_eq(rota_resolve(name, "80", AF_UNSPEC, &out, 1), 1, "the longest there is");
    return 0;
}

/* "80x" is a service name, though none that exists: the system's word on it. */
Resolver_test(unknown_service) {
    rota_address out;
    eai = EAI_SERVICE;
    cr_expect_eq(rota_resolve("127.0.0.1", "80x", AF_UNSPEC, &out, 1), -EINVAL);
    cr_expect_eq(lookups, 2, "of TCP, of UDP");
    return 0;
}

static char asked_types[5];
static size_t n_asked;

/* What services(5) would say: the answer depends on the type of socket. */
static int getaddrinfo_of_types(const char *host, const char *service, const struct addrinfo *hints,
                                struct addrinfo **list) {
    bool stream = hints->ai_socktype == SOCK_STREAM;
    if (!service || !*service || isdigit((unsigned char)*service))
        return our_getaddrinfo(host, service, hints, list);
    asked_types[n_asked++ % 4] = stream ? 's' : 'd';
    if (strcmp(service, "tftp") == 0 && !stream)
        return our_getaddrinfo(host, "69", hints, list);
    if (strcmp(service, "http") == 0 && stream)
        return our_getaddrinfo(host, "80", hints, list);
    if (strcmp(service, "two") == 0)
        return our_getaddrinfo(host, stream ? "512" : "513", hints, list);
    return EAI_SERVICE;
}

static void forget_types(void) {
    memset(asked_types, 0, sizeof asked_types);
    n_asked = 0;
}

static int resolved_port(const char *service) {
    rota_address out = {0};
    forget_types();
    cr_expect_eq(rota_resolve("name", service, AF_UNSPEC, &out, 1), 1, "%s", service);
    return ntohs(((struct sockaddr_in *)&out.addr)->sin_port);
}

static int udp_port(const char *service) {
    struct sockaddr_in peer = {0};
    socklen_t len = sizeof peer;
    forget_types();
    int fd = rota_udp_connect("name", service, NULL);
    cr_expect_geq(fd, 0, "%s", service);
    cr_expect_eq(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
    rota_close(fd);
    return ntohs(peer.sin_port);
}

Resolver_test(services_of_one_type_alone) {
    shim.getaddrinfo = getaddrinfo_of_types;
    cr_expect_eq(resolved_port("http"), 80);
    cr_expect_str_eq(asked_types, "s");
    cr_expect_eq(resolved_port("tftp"), 69);
    cr_expect_str_eq(asked_types, "sd");
    cr_expect_eq(resolved_port("two"), 512);
    cr_expect_eq(udp_port("two"), 513);
    cr_expect_str_eq(asked_types, "d");
    cr_expect_eq(udp_port("tftp"), 69);
    cr_expect_str_eq(asked_types, "d");
    cr_expect_eq(udp_port("http"), 80);
    cr_expect_str_eq(asked_types, "ds");
    return 0;
}

Test(resolve, outside_of_tasks) {
    rota_address out;
    cr_expect_eq(rota_resolve("127.0.0.1", "80", AF_UNSPEC, &out, 1), -EPERM);
}

/* ---- threads ---- */

Resolver_test(lookups_run_side_by_side) {
    rota_task *tasks[6];
    for (int i = 0; i < 6; i++)
        tasks[i] = start_lookup("slow");
    for (int i = 0; i < 4; i++)
        wait_until_entered();
    cr_expect_eq(threads, 4, "the default number");
    for (int i = 0; i < 6; i++)
        post(&go);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(finish(tasks[i]), 1);
    cr_expect_eq(threads, 4);
    cr_expect_eq(freed, 6);
    return 0;
}

Resolver_test(cancelled_lookup_returns_at_once) {
    rota_task *slow = start_lookup("slow");
    wait_until_entered();
    rota_cancel(slow, "test");
    cr_expect_eq(finish(slow), -ECANCELED);
    cr_expect_eq(rota_loop_current()->jobs, 0u, "it keeps nothing alive");
    cr_expect_eq(freed, 0);
    post(&go);
    return 0;
}

Resolver_test(deadline_includes_resolution) {
    rota_address out;
    rota_scope scope;
    rota_timeout_begin(&scope, 0);
    intptr_t v = rota_resolve("slow", "80", AF_UNSPEC, &out, 1);
    cr_expect_eq(rota_scope_end(&scope, v), -ETIMEDOUT);
    return 0;
}

/* Its number of threads is one: what waits in the queue goes without ever having met a thread. */
static intptr_t queued_body(void *unused) {
    (void)unused;
    rota_task *first = start_lookup("slow1"), *second = start_lookup("slow2"), *third = start_lookup("slow3");
    wait_until_entered();
    cr_expect_eq(threads, 1);
    rota_cancel(second, "test");
    cr_expect_eq(finish(second), -ECANCELED);
    post(&go);
    cr_expect_eq(finish(first), 1);
    post(&go);
    cr_expect_eq(finish(third), 1);
    cr_expect_eq(lookups, 2);
    return 0;
}

static intptr_t run_with_threads(rota_fn *fn, unsigned n) {
    rota_loop_options opt = test_options();
    intptr_t value = -1;
    opt.threads = n;
    script();
    cr_expect_eq(run_with(fn, NULL, &value, &opt), 0);
    cr_expect_eq(reports.n, 0);
    return value;
}

Test(resolve, cancelled_in_the_queue, .fini = wait_for_threads) { cr_expect_eq(run_with_threads(queued_body, 1), 0); }

/* Dead name servers: those that gave up waiting must not keep the others from being served. */
static intptr_t abandoned_body(void *unused) {
    (void)unused;
    rota_address out;
    for (int i = 0; i < 4; i++) {
        rota_task *slow = start_lookup("slow");
        wait_until_entered();
        rota_cancel(slow, "test");
        cr_expect_eq(finish(slow), -ECANCELED);
    }
    cr_expect_eq(rota_resolve("quick", "80", AF_UNSPEC, &out, 1), 1);
    cr_expect_eq(threads, 5);
    /* Five is all there may be for a limit of one: 1 + 4 that were abandoned. */
    rota_task *fifth = start_lookup("slow");
    wait_until_entered();
    rota_cancel(fifth, "test");
    cr_expect_eq(finish(fifth), -ECANCELED);
    rota_task *waits = start_lookup("quick");
    cr_expect(!rota_task_done(waits));
    cr_expect_eq(threads, 5);
    post(&go); /* one comes back */
    cr_expect_eq(finish(waits), 1);
    for (int i = 0; i < 4; i++)
        post(&go);
    return 0;
}

Test(resolve, abandoned_threads_do_not_count, .fini = wait_for_threads) { cr_expect_eq(run_with_threads(abandoned_body, 1), 0); }

/* One request is cancelled while two wait: a thread takes the place of the one that was abandoned. */
static intptr_t replaced_body(void *unused) {
    (void)unused;
    rota_task *slow = start_lookup("slow"), *quick = start_lookup("quick");
    wait_until_entered();
    cr_expect(!rota_task_done(quick));
    rota_cancel(slow, "test");
    cr_expect_eq(finish(quick), 1);
    cr_expect_eq(finish(slow), -ECANCELED);
    cr_expect_eq(threads, 2);
    post(&go);
    return 0;
}

Test(resolve, an_abandoned_thread_is_replaced, .fini = wait_for_threads) { cr_expect_eq(run_with_threads(replaced_body, 1), 0); }

Resolver_test(no_thread_can_be_made) {
    rota_address out;
    refuse_threads_from = 1;
    cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), -EAGAIN);
    cr_expect_eq(rota_loop_current()->jobs, 0u);
    refuse_threads_from = 0;
    cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), 1);
    cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), 1);
    cr_expect_eq(threads, 1, "nothing of the failed one is left");
    refuse_threads_from = 2; /* the first one works for all */
    rota_task *a = start_lookup("slow"), *b = start_lookup("slow"), *c = start_lookup("slow");
    wait_until_entered();
    rota_cancel(c, "test");
    cr_expect_eq(finish(c), -ECANCELED);
    post(&go);
    post(&go);
    cr_expect_eq(finish(a), 1);
    cr_expect_eq(finish(b), 1);
    refuse_threads_from = 0;
    cr_expect_eq(rota_resolve("example.org", "80", AF_UNSPEC, &out, 1), 1);
    cr_expect_eq(threads, 1, "nothing of the cancelled one is left");
    return 0;
}

/* The answer has come, and the task is cancelled before it hears of it. */
Resolver_test(cancelled_after_the_answer) {
    rota_task *slow = start_lookup("slow");
    wait_until_entered();
    post(&go);
    for (int tries = 0; tries < 1000000 && !atomic_load(&rota_loop_current()->inbox->head); tries++)
        sched_yield();
    cr_expect_eq(freed, 0);
    rota_cancel(slow, "test");
    cr_expect_eq(finish(slow), -ECANCELED);
    cr_expect_eq(freed, 1);
    return 0;
}

/* The loop goes while a lookup runs: run_task checks that all its memory is back by then. */
static intptr_t leave_running_body(void *unused) {
    (void)unused;
    rota_address out;
    rota_task *slow = start_lookup("slow");
    cr_expect_eq(rota_resolve("quick", "80", AF_UNSPEC, &out, 1), 1); /* another thread is idle */
    wait_until_entered();
    rota_task_release(slow);
    return 0;
}

Test(resolve, closing_waits_for_no_lookup, .fini = wait_for_threads) {
    script();
    cr_expect_eq(run_task(leave_running_body, NULL), 0);
    cr_expect(becomes(&ended, 1), "the idle thread goes");
    int before = freed;
    post(&go);
    cr_expect(becomes(&freed, before + 1), "the other one cleans up after itself,");
    cr_expect(becomes(&ended, 2), "and goes");
}
