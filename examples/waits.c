/* See waits.h. */
#include "examples/waits.h"

#include <stddef.h>

void waits_watch(struct waits **watched, struct waits *waits, uint64_t task) {
    waits->task = task;
    waits->next = *watched;
    *watched = waits;
}

void waits_leave(struct waits **watched, const struct waits *waits) {
    while (*watched != NULL && *watched != waits)
        watched = &(*watched)->next;
    if (*watched != NULL)
        *watched = waits->next;
}

static void keep(struct waits *w, const rota_trace_event *e) {
    if (e->kind == ROTA_TRACE_SWITCH_OUT && e->value == 0 && w->n < WAITS_MOST) {
        w->spans[w->n] = (struct wait_span){ e->time, e->time, e->what };
        w->waiting = true;
    }
    if (e->kind == ROTA_TRACE_WAKE && w->waiting) {
        w->waiting = false;
        w->spans[w->n++].to = e->time;
    }
}

void waits_hook(void *ctx, const rota_trace_event *e) {
    struct waits **watched = ctx;
    for (struct waits *w = e->task != 0 ? *watched : NULL; w != NULL; w = w->next)
        if (w->task == e->task)
            keep(w, e);
}

void waits_draw(FILE *svg, const struct waits *w, const struct waits_place *p) {
    for (int i = 0; i < w->n; i++) {
        const struct wait_span *s = &w->spans[i];
        double from = (double)(s->from - p->zero), took = (double)(s->to - s->from);
        fprintf(svg, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\">"
                     "<title>%.1f ms: %s</title></rect>\n",
                p->x + from * p->scale, p->y, took * p->scale, p->height, p->fill, took / 1e6,
                s->what != NULL ? s->what : "waits");
    }
}
