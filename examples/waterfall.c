/* Draws runs of the crawler as SVG: waterfall_write. All runs share one scale, because the point of the picture
 * is how much shorter one is than the other. The colours are those of Okabe and Ito, which people with any
 * colour vision can tell apart; a failure has a pattern and words as well. It reads times, and measures none. */
#include "examples/waterfall.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "rota.h"

enum { WIDTH = 1120, LEFT = 236, RIGHT = 250, TOP = 92 };                 /* pixels */
enum { ROW = 24, BAR = 14, WAITS = 3, RUN_HEAD = 34, RUN_FOOT = 46 };
enum { NOTE = 28, LABEL = 30 };                                           /* characters */

static const struct {
    const char *name, *colour;
} stages[FETCH_STAGES] = {
    [FETCH_RESOLVE] = { "resolving the name", "#cc79a7" },
    [FETCH_CONNECT] = { "connecting", "#e69f00" },
    [FETCH_WAIT] = { "waiting for the first byte", "#56b4e9" },
    [FETCH_BODY] = { "reading the answer", "#0072b2" },
};
static const char failed_colour[] = "#d55e00", waits_colour[] = "#999999";

struct picture {
    FILE *out;
    double scale;   /* pixels per nanosecond */
    int64_t span;   /* of the axis */
};

static void put_text(FILE *out, const char *s) {
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20 || c >= 0x7f)
            fputc('?', out);  /* a byte of some unknown encoding would make the whole file invalid */
        else if (strchr("<>&\"", c) != NULL)
            fprintf(out, "&#%d;", c);
        else
            fputc(c, out);
    }
}

static double seconds(int64_t ns) { return (double)ns / (double)ROTA_S; }

/* ---- axis --------------------------------------------------------------------------------------- */

/* 1, 2 or 5 times a power of ten, so that at most eight steps cover the span. */
static double tick_step(double span) {
    double power = pow(10, floor(log10(span / 8)));
    double ratio = span / 8 / power;
    return power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
}

static void axis(const struct picture *p, int y, int height) {
    double step = tick_step(seconds(p->span));
    int digits = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    for (int i = 0; i * step <= seconds(p->span) * (1 + 1e-9); i++) {
        double x = LEFT + i * step * (double)ROTA_S * p->scale;
        fprintf(p->out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"grid\"/>\n",
                x, y, x, y + height);
        fprintf(p->out, "<text x=\"%.1f\" y=\"%d\" class=\"tick\" text-anchor=\"middle\">%.*f s</text>\n",
                x, y + height + 16, digits, i * step);
    }
}

/* ---- bars --------------------------------------------------------------------------------------- */

static void segment(const struct picture *p, int y, int64_t from, int64_t to, const char *fill) {
    double x = LEFT + (double)from * p->scale, w = (double)(to - from) * p->scale;
    if (to > from)
        fprintf(p->out, "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>\n",
                x, y, w, BAR, fill);
}

/* The stages that ended in their colours, then the one in which it failed, if it did. */
static void stage_bars(const struct picture *p, const struct page *page, int64_t zero, int y) {
    int64_t from = page->start;
    for (int i = 0; i < (int)page->stage; i++) {
        segment(p, y, from - zero, page->stage_end[i] - zero, stages[i].colour);
        from = page->stage_end[i];
    }
    if (page->error == 0)
        return;
    segment(p, y, from - zero, page->end - zero, "url(#failed)");
    fprintf(p->out, "<rect x=\"%.2f\" y=\"%d\" width=\"3\" height=\"%d\" fill=\"%s\"/>\n",
            LEFT + (double)(page->end - zero) * p->scale, y - 2, BAR + 4, failed_colour);
}

static void tooltip(FILE *out, const struct page *page) {
    int64_t from = page->start;
    fputs("<title>", out);
    put_text(out, page->url);
    for (int i = 0; i < (int)page->stage; i++) {
        fprintf(out, "\n%s: %.1f ms", stages[i].name, seconds(page->stage_end[i] - from) * 1e3);
        from = page->stage_end[i];
    }
    if (page->error != 0) {
        fputs("\n", out);
        put_text(out, fetch_error(page));
    }
    fputs("</title>\n", out);
}

/* To the right of the bar, where there is room for it: the scale leaves RIGHT pixels. */
static void note(const struct picture *p, const struct page *page, int64_t zero, int y) {
    const char *error = fetch_error(page);
    double x = LEFT + (double)(page->end - zero) * p->scale + 9;
    fprintf(p->out, "<text x=\"%.1f\" y=\"%d\" class=\"%s\">%.3f s, ", x, y + BAR - 3,
            page->error != 0 ? "bad" : "note", seconds(page->end - page->start));
    size_t end = strcspn(error, ":");  /* "timed out: where" says too much here; the tooltip has it */
    if (page->error == 0)
        fprintf(p->out, "%d", page->status);
    for (size_t i = 0; i < end && i < NOTE; i++)
        put_text(p->out, (char[]){ error[i], '\0' });
    fputs(end > NOTE ? "\xe2\x80\xa6</text>\n" : "</text>\n", p->out);
}

static void label(FILE *out, const char *url, int y) {
    const char *s = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    fprintf(out, "<text x=\"%d\" y=\"%d\" class=\"label\" text-anchor=\"end\">", LEFT - 10, y + BAR - 3);
    for (int i = 0; s[i] != '\0' && i < LABEL; i++)
        put_text(out, (char[]){ s[i], '\0' });
    fputs(strlen(s) > LABEL ? "\xe2\x80\xa6</text>\n" : "</text>\n", out);
}

static void bar(const struct picture *p, const struct page *page, const struct waits *waits, int64_t zero, int y) {
    label(p->out, page->url, y);
    if (!page->ended)
        return;
    fputs("<g>", p->out);
    tooltip(p->out, page);
    stage_bars(p, page, zero, y);
    if (waits != NULL)
        waits_draw(p->out, waits, &(struct waits_place){ LEFT, p->scale, zero, y + BAR + 1, WAITS, waits_colour });
    note(p, page, zero, y);
    fputs("</g>\n", p->out);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static int run_height(const struct waterfall_run *run) {
    return RUN_HEAD + (int)run->count * ROW + RUN_FOOT;
}

static void draw_run(const struct picture *p, const struct waterfall_run *run, int y) {
    fprintf(p->out, "<text x=\"24\" y=\"%d\" class=\"run\">", y + 18);
    put_text(p->out, run->title);
    fprintf(p->out, ": %.3f s</text>\n", seconds(run->end - run->start));
    y += RUN_HEAD;
    axis(p, y - 4, (int)run->count * ROW + 6);
    for (size_t i = 0; i < run->count; i++)
        bar(p, &run->pages[i], run->waits != NULL ? &run->waits[i] : NULL, run->start,
            y + (int)i * ROW + (ROW - BAR) / 2);
}

static void legend(FILE *out, int y, bool with_waits) {
    int x = 24;
    for (int i = 0; i <= FETCH_STAGES + with_waits; i++) {
        static const struct { const char *name, *colour; } others[] = {
            { "failed", "url(#failed)" }, { "its task waits (trace)", waits_colour },
        };
        const char *name = i < FETCH_STAGES ? stages[i].name : others[i - FETCH_STAGES].name;
        fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"/>", x, y - 12,
                i < FETCH_STAGES ? stages[i].colour : others[i - FETCH_STAGES].colour);
        fprintf(out, "<text x=\"%d\" y=\"%d\" class=\"note\">%s</text>\n", x + 20, y, name);
        x += 44 + (int)strlen(name) * 13 / 2;
    }
}

static void head(FILE *out, const char *title, int height) {
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<title>",
            WIDTH, height, WIDTH, height);
    put_text(out, title);
    fprintf(out,
            "</title>\n<style>text { font-family: system-ui, 'DejaVu Sans', Verdana, sans-serif; fill: #222; }"
            " .title { font-size: 20px; font-weight: 600; } .run { font-size: 15px; font-weight: 600; }"
            " .label, .note, .bad { font-size: 12px; } .bad { fill: #a33c00; } .tick { font-size: 11px; fill: #666; }"
            " .grid { stroke: #ddd; stroke-width: 1; }</style>\n"
            "<defs><pattern id=\"failed\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\""
            " patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#f7d9c4\"/>"
            "<rect width=\"3\" height=\"6\" fill=\"%s\"/></pattern></defs>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"24\" y=\"38\" class=\"title\">",
            failed_colour);
    put_text(out, title);
    fputs("</text>\n", out);
}

int waterfall_write(FILE *out, const char *title, const struct waterfall_run *runs, size_t count) {
    struct picture p = { .out = out, .span = ROTA_MS };
    int height = TOP, y = TOP;
    for (size_t i = 0; i < count; i++) {
        height += run_height(&runs[i]);
        if (runs[i].end - runs[i].start > p.span)
            p.span = runs[i].end - runs[i].start;
    }
    p.scale = (double)(WIDTH - LEFT - RIGHT) / (double)p.span;
    head(out, title, height);
    legend(out, 68, count > 0 && runs[0].waits != NULL);
    for (size_t i = 0; i < count; i++) {
        draw_run(&p, &runs[i], y);
        y += run_height(&runs[i]);
    }
    fputs("</svg>\n", out);
    return ferror(out) ? -EIO : 0;
}
