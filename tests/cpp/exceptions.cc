// C++ exceptions in tasks (H12): thrown and caught inside one, also across yields and calls of the library in
// between; each task unwinds its own stack only. With ROTA_CPP_EXCEPTIONS tasks suspend inside catch blocks, and in
// destructors during unwinding, and each finds its own exception afterwards. One that escapes from an entry ends the program by std::terminate, and not by running into garbage.
// The exit code is the verdict.
#include <csignal>
#include <exception>
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

// ---- with ROTA_CPP_EXCEPTIONS

// Sees, after a suspension, whether its own task is the one that unwinds.
struct Suspends {
    explicit Suspends(int expected) : expected_(expected) {}
    ~Suspends() {
        check(std::uncaught_exceptions() == expected_, "unwinding before it suspends");
        check(rota_yield() == 0, "suspending in a destructor");
        check(std::uncaught_exceptions() == expected_, "unwinding after it suspended");
    }
    int expected_;
};

// A number that is thrown, caught, thrown again; at every point the others run.
int handle(int number) {
    try {
        Suspends unwinding(1);
        throw number;
    } catch (int caught) {
        check(rota_yield() == 0, "suspending inside catch");
        check(caught == number, "the exception object is the task's own");
        try {
            check(rota_sleep(number) == 0, "sleeping inside catch");
            throw; // what the thread, were it not told, would take for another task's
        } catch (int again) {
            check(again == number, "what is thrown again is the task's own");
            return again;
        }
    }
    return -1;
}

intptr_t catches_and_suspends(void *arg) {
    const int number = *static_cast<int *>(arg);
    for (int i = 0; i < 50; i++)
        check(handle(number) == number, "handled");
    check(!std::current_exception(), "nothing is left");
    return number;
}

intptr_t spawns_inside_catch(void *arg) {
    rota_spawn_options eager = {};
    eager.eager = true;
    try {
        throw 1000;
    } catch (int) {
        rota_task *task;
        intptr_t v = 0;
        check(rota_spawn(&task, catches_and_suspends, arg, &eager) == 0, "an eager child");
        check(rota_join(task, &v) == 0 && v == *static_cast<int *>(arg), "joining inside catch");
        try {
            throw;
        } catch (int own) {
            check(own == 1000, "its own exception after the child's");
        }
    }
    return 0;
}

intptr_t main_with_exceptions(void *) {
    rota_task *tasks[8];
    int numbers[8];
    for (int i = 0; i < 8; i++) {
        numbers[i] = i + 1;
        check(rota_spawn(&tasks[i], i % 4 ? catches_and_suspends : spawns_inside_catch, &numbers[i], nullptr) == 0, "spawn");
    }
    for (int i = 0; i < 8; i++)
        check(rota_join(tasks[i], nullptr) == 0 || i % 4, "join");
    check(!std::current_exception(), "nothing of others");
    return 5;
}

void run_with_exceptions(bool debug) {
    rota_loop_options opt = {};
    opt.virtual_clock = true;
    opt.debug = debug;
    opt.cpp_exceptions = ROTA_CPP_EXCEPTIONS;
    intptr_t v = 0;
    try {
        throw 77;
    } catch (int) { // a loop may itself run inside catch, and its tasks know nothing of that
        check(rota_run(main_with_exceptions, nullptr, &v, &opt) == 0 && v == 5, "run inside catch");
        try {
            throw;
        } catch (int own) {
            check(own == 77, "the loop's own exception comes back");
        }
    }
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

// What C has as an initialiser with names, which is no C++17.
ROTA_LOOP_MEMORY(memory, 64, 0, 32, 65536);

int main() {
    check(memory.max_tasks == 32 && memory.stack_size == 65536, "options by ROTA_LOOP_MEMORY");
    rota_loop_options opt = {};
    opt.virtual_clock = true;
    opt.report = count_report;
    intptr_t v = 0;
    check(rota_run(main_task, nullptr, &v, &opt) == 0 && v == 5, "run");
    check(reports == 1, "one report, of the scope that an exception left");
    run_with_exceptions(false);
    run_with_exceptions(true);
    an_escaping_exception_terminates();
    return failures != 0;
}
