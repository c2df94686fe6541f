/* Faults for the tests of adapters over foreign libraries: every system call that rota makes during a scenario fails,
 * one after the other, and every allocation of rota, of the adapter and of the test (and of a foreign library that
 * takes faults_malloc and its kin): once, and from there on.
 *
 * The scenario is a task on the real clock, against a real server. However it goes, it returns 0 or an error within a
 * time limit; afterwards, on the same loop and with nothing failing any more, a second task does plain work on a new
 * connection, and must succeed; and in the end all descriptors and the loop's memory are back.
 */
#ifndef ROTA_ADAPTERS_FAULTS_H
#define ROTA_ADAPTERS_FAULTS_H

#include "rota/coro.h"
#include "tests/harness.h"

enum fault_kind { FAULT_SYSTEM, FAULT_MEMORY };

struct fault_program {
    rota_fn *scenario;         /* 0 when nothing fails */
    rota_fn *afterwards;       /* 0 */
    bool threads;              /* the loop uses some: its allocator is the library's own then */
};

/* Lets each call of the kind fail; all later ones too when `on`. Steps of more than 1 leave some out. */
void faults_drive(const struct fault_program *program, enum fault_kind kind, bool on, size_t step);

/* Nothing fails between these two in a scenario: what the test itself does there is no part of it. */
void faults_pause(void);
void faults_go_on(void);

/* For foreign libraries that allocate by functions of the program. */
void *faults_malloc(size_t n);
void *faults_calloc(size_t n, size_t size);
void *faults_realloc(void *old, size_t n);
char *faults_strdup(const char *text);

/* Both kinds, in both ways; slow where each call takes fifty times as long. */
#define Fault_tests(suite, program, ...)                                                                        \
    Test(suite, each_system_call_fails_once, __VA_ARGS__) { faults_drive(program, FAULT_SYSTEM, false, 1); }     \
    Test(suite, each_system_call_fails_and_all_later_ones, __VA_ARGS__) {                                       \
        faults_drive(program, FAULT_SYSTEM, true, 1);                                                           \
    }                                                                                                           \
    Test(suite, each_allocation_fails_once, __VA_ARGS__) { faults_drive(program, FAULT_MEMORY, false, 1); }      \
    Test(suite, each_allocation_fails_and_all_later_ones, __VA_ARGS__) {                                        \
        faults_drive(program, FAULT_MEMORY, true, 1);                                                           \
    }

#endif
