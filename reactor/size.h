/* Is this compiled for size (-Os, -Oz)? A constant: what exists a second time, for the sake of speed, is left out then, and
 * the compiler sees both ways in every build. The trimmed stage of .ci/run tests the small one. */
#ifndef ROTA_REACTOR_SIZE_H
#define ROTA_REACTOR_SIZE_H

#ifdef __OPTIMIZE_SIZE__
enum { ROTA__FOR_SIZE = 1 };
#define ROTA__APART /* one place that calls it: in line it is smaller */
#else
enum { ROTA__FOR_SIZE = 0 };
#define ROTA__APART __attribute__((noinline)) /* so that the usual way past it saves no registers */
#endif

#endif
