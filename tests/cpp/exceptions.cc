// C++ exceptions in tasks (H12): thrown and caught inside one, also across yields and calls of the library in
// between; each task unwinds its own stack only. Suspending inside a catch block is documented as forbidden and not
// done here. One that escapes from an entry ends the program by std::terminate, and not by running into garbage.
// The exit code is the verdict.
#include <csignal>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "rota/coro.h"

namespace {

int failures;

void check(bool ok, const char *what) {
    if (ok)
        return;
    std::fprintf(stderr, "failed: %s\n", what);
    failures++;
}

struct Counted {
    explicit Counted(int *count) : count_(count) { ++*count_; }
    ~Counted() { --*count_; }
    Counted(const Counted &) = delete;
    Counted &operator=(const Counted &) = delete;
    int *count_;
};

[[noreturn]] void throw_deep(int depth, int *alive) {
    Counted local(alive);
    if (depth == 0)
        throw std::runtime_error("from the deep");
    throw_deep(depth - 1, alive);
}

intptr_t throws_and_catches(void *arg) {
    int alive = 0;
    for (int i = 0; i < 100; i++) {
        std::string caught;
        try {
            Counted outer(&alive);
            check(rota_yield() == 0, "yield inside a try block");
            throw_deep(i % 20, &alive);
        } catch (const std::runtime_error &e) {
            caught = e.what();
        }
        check(caught == "from the deep", "the right exception");
        check(alive == 0, "destructors ran, once each");
        check(rota_sleep(1) == 0, "sleep after a catch");
    }
    return *static_cast<int *>(arg);
}

intptr_t body_throws(void *) { throw 7; }

// An exception may pass through the library's own frames, as long as the scopes it leaves are ended on its way.
intptr_t scope_is_ended_by_a_destructor(void *) {
    struct Scope {
        rota_scope scope;
        Scope() { rota_timeout_begin(&scope, ROTA_S); }
        ~Scope() { (void)!rota_scope_end(&scope, 0); }
    };
    try {
        Scope s;
        throw std::string("out");
    } catch (const std::string &) {
    }
    return rota_sleep(2 * ROTA_S);
}

intptr_t throws_from_a_function_form(void *) {
    try {
        (void)!rota_timeout(ROTA_S, body_throws, nullptr);
    } catch (int n) {
        return n; // the scope that rota_timeout had begun is repaired, and reported, at the end of the task
    }
    return 0;
}

intptr_t main_task(void *) {
    rota_task *tasks[8];
    int numbers[8];
    for (int i = 0; i < 8; i++) {
        numbers[i] = i + 1;
        rota_spawn_options opt = {};
        opt.name = "thrower";
        check(rota_spawn(&tasks[i], throws_and_catches, &numbers[i], &opt) == 0, "spawn");
    }
    for (int i = 0; i < 8; i++) {
        intptr_t v = 0;
        check(rota_join(tasks[i], &v) == 0 && v == i + 1, "join");
    }
    check(scope_is_ended_by_a_destructor(nullptr) == 0, "a scope as a class");
    check(throws_from_a_function_form(nullptr) == 7, "through rota_timeout");
    return 5;
}

int reports;

void count_report(void *, const rota_report *report) {
    check(report->kind == ROTA_REPORT_SCOPE, report->text);
    reports++;
}

intptr_t escapes(void *) { throw std::runtime_error("nobody catches this"); }

void an_escaping_exception_terminates() {
    pid_t pid = fork();
    if (pid == 0) {
        std::set_terminate([] { _exit(42); });
        (void)!rota_run(escapes, nullptr, nullptr, nullptr);
        _exit(1);
    }
    int status = 0;
    check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42, "std::terminate was called");
}

}

int main() {
    rota_loop_options opt = {};
    opt.virtual_clock = true;
    opt.report = count_report;
    intptr_t v = 0;
    check(rota_run(main_task, nullptr, &v, &opt) == 0 && v == 5, "run");
    check(reports == 1, "one report, of the scope that an exception left");
    an_escaping_exception_terminates();
    return failures != 0;
}
