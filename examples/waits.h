/* What a task waited for, when and how long: kept from the loop's trace, and drawn into a picture. The task itself
 * measures nothing. */
#ifndef EXAMPLES_WAITS_H
#define EXAMPLES_WAITS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "rota/trace.h"

enum { WAITS_MOST = 64 };

/* Of one task; all-zero bytes are one of none. Waits beyond the first WAITS_MOST are not kept. */
struct waits {
    struct wait_span {
        int64_t from, to;
        const char *what;
    } spans[WAITS_MOST];
    int n;
    bool waiting;           /* spans[n] has begun */
    uint64_t task;
    struct waits *next;     /* of those that are watched */
};

/* Keeps the waits of that task, from now on, or from an event of its on; and does so no more. *watched is the list that
 * waits_hook looks at. */
void waits_watch(struct waits **watched, struct waits *waits, uint64_t task);
void waits_leave(struct waits **watched, const struct waits *waits);

/* For rota_loop_set_trace, with a struct waits ** as its ctx. */
void waits_hook(void *watched, const rota_trace_event *event);

/* Bars in SVG, each with its words as a tooltip. A time t lies at x + (t - zero) * scale. */
struct waits_place {
    double x, scale;
    int64_t zero;
    int y, height;
    const char *fill;
};
void waits_draw(FILE *svg, const struct waits *waits, const struct waits_place *place);

#endif
