/* See fault_kit.h. */
#include "tests/fault_kit.h"
#include "tests/sys_table.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

static struct faults {
    atomic_size_t made[FAULT_ANY + 1];
    int call;
    size_t at;      /* 0: none fails */
    int error;
    bool on;
} own_faults, *faults = &own_faults;

int fault(int call) {
    size_t n = atomic_fetch_add(&faults->made[call], 1) + 1, all = atomic_fetch_add(&faults->made[FAULT_ANY], 1) + 1;
    if (!faults->at || (faults->call != call && faults->call != FAULT_ANY))
        return 0;
    n = faults->call == FAULT_ANY ? all : n;
    return n == faults->at || (faults->on && n > faults->at) ? faults->error : 0;
}

void fault_share(void) {
    faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert(faults != MAP_FAILED);
}

/* ---- wrappers ---- */

#define FAULT_WRAPPER_(type, name, parameters, arguments)       \
    static type failing_##name parameters {                     \
        int error = fault(FAULT_##name);                        \
        return error ? error : (rota__sys_real.name) arguments; \
    }
FAULT_CALLS(FAULT_WRAPPER_)

void fault_replace(struct rota__sys *sys, int call) {
    switch (call) {
#define FAULT_CASE_(type, name, parameters, arguments) \
    case FAULT_##name: (sys->name) = failing_##name; break;
        FAULT_CALLS(FAULT_CASE_)
    default: break;
    }
}

static const char *name_of(const struct fault_row *row) {
#define FAULT_TEXT_(type, name, parameters, arguments) #name,
    static const char *const names[] = { FAULT_CALLS(FAULT_TEXT_) };
    return row->name ? row->name : row->call < FAULT_OWN ? names[row->call] : "call";
}

/* ---- runs ---- */


static void set_faults(const struct fault_program *program, const struct fault_row *row, size_t at, bool on) {
    memset(faults, 0, sizeof *faults);
    if (row) {
        faults->call = row->call;
        faults->error = row->error;
    }
    faults->at = at;
    faults->on = on;
    if (program->prepare)
        program->prepare(row);
    test_begin();
}

static bool runs(const struct fault_program *program, const char *what, size_t at) {
    rota_loop_options opt = test_options();
    intptr_t v = 1;
    int rc = 0;
    if (program->run)
        v = program->run(&rc);
    else
        rc = rota_run(program->body, NULL, &v, &opt);
    wait_for_threads();
    cr_expect(rc <= 0 && (v == 0 || rota_failed(v)), "%s %zu: run %d, value %ld", what, at, rc, (long)v);
    if (program->check)
        program->check(what, at, v);
    test_end();
    return rc == 0 && v == 0;
}

static void begin(const struct fault_program *program) {
    static struct rota__sys sys;
    sys = rota__sys_real;
    for (size_t i = 0; i < program->n_rows; i++)
        fault_replace(&sys, program->rows[i].call);
    if (program->change)
        program->change(&sys);
    rota__sys = &sys;
    if (program->begin)
        program->begin();
}

static void end(const struct fault_program *program) {
    rota__sys = &rota__sys_real;
    if (program->end)
        program->end();
}

static void fail_row(const struct fault_program *program, const struct fault_row *row, bool on) {
    const char *name = name_of(row);
    bool interrupted = row->error == -EINTR;
    if (on && (interrupted || row->flags & FAULT_ONCE))
        return;
    set_faults(program, row, 0, false);
    cr_expect(runs(program, "nothing", 0));
    size_t made = faults->made[row->call];
    cr_expect(made > 0 || row->flags & FAULT_OPTIONAL, "the program makes no %s", name);
    for (size_t at = 1; at <= made; at++) {
        set_faults(program, row, at, on);
        bool succeeded = runs(program, name, at);
        if (row->flags & FAULT_HARMLESS || (!on && (interrupted || row->flags & FAULT_RECOVERS)))
            cr_expect(succeeded, "%s, the %zu., fails (%d): is not made up for", name, at, row->error);
    }
}

void fault_each_call(const struct fault_program *program, bool on) {
    begin(program);
    for (size_t i = 0; i < program->n_rows; i++)
        fail_row(program, &program->rows[i], on);
    end(program);
}

void fault_each_allocation(const struct fault_program *program, bool on) {
    begin(program);
    set_faults(program, NULL, 0, false);
    cr_expect(runs(program, "nothing", 0));
    size_t calls = memory.calls;
    cr_expect_gt(calls, 0u);
    for (size_t at = 1; at <= calls; at++) {
        set_faults(program, NULL, 0, false);
        memory.fail_at = at;
        memory.fail_on = on;
        (void)runs(program, "allocation", at);
    }
    end(program);
}
