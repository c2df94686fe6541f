/* What tools that watch memory must be told about stacks: AddressSanitizer and LeakSanitizer (fiber calls, roots,
 * unpoisoning), ThreadSanitizer (fibers) and valgrind (stack registration). It is the only header that knows them,
 * and everything in it is empty in a build without them: rota__fiber_switch then is rota__context_switch, so a
 * caller in tail position stays a tail call.
 *
 *   rota__fiber_here     describes whatever stack runs now (a loop's, a resumer's); again before each leaving
 *   rota__fiber_init     a new fiber on a stack, which has not run
 *   rota__fiber_switch   leaves one, continues another; use it in place of rota__context_switch
 *   rota__fiber_exit     the same for the last time: the one that leaves will never be continued
 *   rota__fiber_arrive   first thing in a fiber's entry
 *   rota__fiber_destroy  not for the one that runs; for one that rota__fiber_here filled in: not at all
 *   rota__stack_watch    memory becomes a stack; rota__stack_unwatch: it is none any more
 *   rota__stack_clean    what stood on a stack is dead: before the memory is used again or unmapped
 *   rota__stack_blank    the same, before somebody who does not stand on it writes to it
 */
#ifndef ROTA_CORO_SANITIZE_H
#define ROTA_CORO_SANITIZE_H

#if defined(ROTA_LAYER) && ROTA_LAYER < 2
# error "reactor/ must not include coro/: lower layers never see upper ones"
#endif

#include <stddef.h>
#include <stdint.h>

#include "arch/context.h"
#include "coro/stack.h"

/* gcc defines a macro for each sanitizer, clang answers a question. */
#if defined(__has_feature)
# define ROTA__HAS_FEATURE(x) __has_feature(x)
#else
# define ROTA__HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || ROTA__HAS_FEATURE(address_sanitizer)
# define ROTA__ASAN 1
# include <sanitizer/asan_interface.h>
# include <sanitizer/common_interface_defs.h>
# include <sanitizer/lsan_interface.h>
#endif
#if defined(__SANITIZE_THREAD__) || ROTA__HAS_FEATURE(thread_sanitizer)
# define ROTA__TSAN 1
# include <sanitizer/tsan_interface.h>
#endif
#if defined(ROTA__ASAN) || defined(ROTA__TSAN)
# define ROTA__SANITIZED 1
#endif
#if defined(__has_include)
# if __has_include(<valgrind/memcheck.h>)
#  define ROTA__VALGRIND 1
#  include <valgrind/memcheck.h>
# endif
#endif

/* Must be inlined: ThreadSanitizer keeps a shadow stack of calls per fiber, and a function that was entered on
 * one fiber must not be left on another. */
#define ROTA__INLINE static inline __attribute__((always_inline))

/* ---- stacks: not a matter of a build flag alone, as valgrind runs ordinary builds ---- */

/* Returns what rota__stack_unwatch wants back. Done once per mapping rather than per task: a client request costs
 * some ns even when valgrind is not there, and a spawn has few to spare. */
ROTA__INLINE unsigned rota__stack_watch(unsigned char *base, size_t size) {
    (void)base, (void)size;
#ifdef ROTA__ASAN
    __lsan_register_root_region(base, size);
#endif
#ifdef ROTA__VALGRIND
    return VALGRIND_STACK_REGISTER(base, base + size);
#else
    return 0;
#endif
}

/* Of memory that its owner uses again already: touches nothing in it. */
ROTA__INLINE void rota__stack_unlist(unsigned char *base, size_t size, unsigned watch) {
    (void)base, (void)size, (void)watch;
#ifdef ROTA__ASAN
    __lsan_unregister_root_region(base, size);
#endif
#ifdef ROTA__VALGRIND
    VALGRIND_STACK_DEREGISTER(watch);
#endif
}

ROTA__INLINE void rota__stack_unwatch(unsigned char *base, size_t size, unsigned watch) {
    rota__stack_unlist(base, size, watch);
#ifdef ROTA__VALGRIND
    (void)VALGRIND_MAKE_MEM_UNDEFINED(base, size);  /* below the last stack pointer it was out of bounds */
#endif
}

/* Whether rota__stack_watch does anything here: else a slab keeps no numbers for it. */
ROTA__INLINE int rota__stack_watched(void) {
#if defined(ROTA__ASAN)
    return 1;
#elif defined(ROTA__VALGRIND)
    return RUNNING_ON_VALGRIND != 0;
#else
    return 0;
#endif
}

/* Frames that were never returned from leave red zones behind. */
ROTA__INLINE void rota__stack_clean(unsigned char *base, size_t size) {
    (void)base, (void)size;
#ifdef ROTA__ASAN
    __asan_unpoison_memory_region(base, size);
#endif
}

/* Nothing on it counts any more and nobody stands on it: it may be written to from outside, as an argument is. */
ROTA__INLINE void rota__stack_blank(unsigned char *base, size_t size) {
    rota__stack_clean(base, size);
#ifdef ROTA__VALGRIND
    (void)VALGRIND_MAKE_MEM_UNDEFINED(base, size);  /* below the last stack pointer it is out of bounds */
#endif
}

/* ---- fibers ---- */

__extension__ struct rota__fiber {
#ifdef ROTA__ASAN
    const void *bottom;             /* of its stack; size 0: not known before somebody arrives from it */
    size_t size;
    void *fake_stack;               /* while it does not run */
    struct rota__fiber *previous;   /* who ran before it */
#endif
#ifdef ROTA__TSAN
    void *tsan;                     /* NULL: has not run */
#endif
};
#define ROTA__SANITIZE_FIBER struct rota__fiber

ROTA__INLINE void rota__fiber_here(struct rota__fiber *fiber) {
    (void)fiber;
#ifdef ROTA__ASAN
    fiber->size = 0;
    fiber->bottom = fiber->fake_stack = fiber->previous = NULL;
#endif
#ifdef ROTA__TSAN
    fiber->tsan = __tsan_get_current_fiber();
#endif
}

ROTA__INLINE void rota__fiber_init(struct rota__fiber *fiber, const struct rota__stack *stack) {
    (void)fiber, (void)stack;
#ifdef ROTA__ASAN
    fiber->bottom = stack->base;
    fiber->size = stack->size;
    fiber->fake_stack = fiber->previous = NULL;
#endif
#ifdef ROTA__TSAN
    fiber->tsan = NULL;    /* made by the first switch: the runtime has room for some thousands only, and fails
                              on one that is destroyed without having run */
#endif
}

ROTA__INLINE void rota__fiber_destroy(struct rota__fiber *fiber) {
    (void)fiber;
#ifdef ROTA__TSAN
    if (fiber->tsan)
        __tsan_destroy_fiber(fiber->tsan);
    fiber->tsan = NULL;
#endif
}

/* `dying`: the one that leaves is never continued, so its fake stack goes. */
ROTA__INLINE void rota__fiber_leave(struct rota__fiber *from, struct rota__fiber *to, int dying) {
    (void)from, (void)to, (void)dying;
#ifdef ROTA__ASAN
    to->previous = from;
    __sanitizer_start_switch_fiber(dying ? NULL : &from->fake_stack, to->bottom, to->size);
#endif
#ifdef ROTA__TSAN
    if (!to->tsan)
        to->tsan = __tsan_create_fiber(0);
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
}

/* The bounds of a stack that is not the library's (a thread's) are learned from who arrives from it. */
ROTA__INLINE void rota__fiber_arrive(struct rota__fiber *self) {
    (void)self;
#ifdef ROTA__ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size);
    if (self->previous->size == 0) {
        self->previous->bottom = bottom;
        self->previous->size = size;
    }
#endif
}

ROTA__INLINE int rota__fiber_switch(struct rota__fiber *from, void **save, struct rota__fiber *to, void *context,
                                    intptr_t value) {
    (void)from, (void)to;
#ifdef ROTA__SANITIZED
    rota__fiber_leave(from, to, 0);
    int result = rota__context_switch(save, context, value);
    rota__fiber_arrive(from);
    return result;
#else
    return rota__context_switch(save, context, value);
#endif
}

/* *save is written all the same, and is of no use. */
ROTA__INLINE __attribute__((noreturn)) void rota__fiber_exit(struct rota__fiber *from, void **save,
                                                             struct rota__fiber *to, void *context,
                                                             intptr_t value) {
    (void)from, (void)to;
    rota__fiber_leave(from, to, 1);
    (void)rota__context_switch(save, context, value);
    __builtin_unreachable();
}

#endif
