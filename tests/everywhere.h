/* Cancel everywhere: runs a scenario once and notes every point at which its task stops or could be refused, then once
 * more for each of these points, and stops it there. Whatever the point, everything must come back.
 *
 * A scenario is a function that runs as a task, the target, under the virtual clock, with helpers around it:
 *
 *     begin    makes the objects and starts the helpers; may not suspend
 *     body     the target; gives back what it holds before it returns, also when it is refused
 *     reuse    the objects must serve another task now (left out where the loop itself was closed)
 *     end      closes the objects; may not suspend
 *     check    after the loop has gone: nothing was lost
 *
 * In the body, and in what it calls, every suspending call stands in one of two marks:
 *
 *     S(call)      which refuses inside a cancelled scope
 *     Never(call)  which does not: it waits for others and passes the cancellation down, or hides it
 */
#ifndef ROTA_TESTS_EVERYWHERE_H
#define ROTA_TESTS_EVERYWHERE_H

#include "rota/coro.h"
#include "tests/harness.h"

struct scenario {
    const char *name;
    void (*begin)(void);
    rota_fn *body;
    void (*reuse)(void);
    void (*end)(void);
    void (*check)(void);
    bool threads;          /* the loop uses threads: its books are kept by others then */
    bool outside;          /* it talks to another process, which has a speed of its own: the real clock */
};

/* All runs. */
void everywhere(const struct scenario *scenario);

/* The first run alone. */
void everywhere_once(const struct scenario *scenario);

/* Was this function called, in a mark, in this process? */
bool everywhere_saw(const char *function);

/* In begin: a task that is cancelled and waited for when the target has ended. */
void helper(rota_fn *fn, void *arg);

int everywhere_enter(const char *text, bool refuses);
void everywhere_leave(int call, intptr_t result);

#define S(call) MARKED_(call, #call, true)
#define Never(call) MARKED_(call, #call, false)
#define MARKED_(call, text, refuses)                            \
    __extension__({                                             \
        int call_number_ = everywhere_enter(text, refuses);     \
        __typeof__(call) call_result_ = (call);                 \
        everywhere_leave(call_number_, (intptr_t)call_result_); \
        call_result_;                                           \
    })

/* The usual line of a body: what fails ends it. */
#define TRY(call)                   \
    do {                            \
        intptr_t tried_ = S(call);  \
        if (rota_failed(tried_))    \
            return tried_;          \
    } while (0)

#endif
