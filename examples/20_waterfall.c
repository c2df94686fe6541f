/* Program 20: the picture that the tutorials draw by hand, from real runs: four pages one after the other, then at the
 * same time. Nothing in the fetching measures anything; the trace hook sees each task begin, wait, go on and end.
 *
 *   20_waterfall [FILE.svg]     without a file: as text */
#include <stdio.h>
#include <string.h>

#include "examples/site.h"
#include "examples/waits.h"
#include "rota.h"
#include "rota/http.h"
#include "rota/trace.h"

enum { PAGES = 4, ROWS = 2 * PAGES, COLUMNS = 60 };

/* One task: when it was there, and when it waited for what. */
struct row {
    const char *url;
    uint64_t task;
    int64_t from, to;
    struct waits waits;
};

static const char *const urls[PAGES] = { "http://garden.test/", "http://library.test/", "http://market.test/",
                                         "http://theatre.test/" };
static struct row rows[ROWS];
static int rows_n;
static struct waits *watched;
static struct site site;
static rota_http_client client;

/* ---- what the hook keeps ---- */

static bool is_page(const char *name) {
    for (int i = 0; name != NULL && i < PAGES; i++)
        if (name == urls[i])
            return true;
    return false;
}

static struct row *row_of(uint64_t task) {
    for (int i = 0; i < rows_n; i++)
        if (rows[i].task == task)
            return &rows[i];
    return NULL;
}

static void hook(void *unused, const rota_trace_event *e) {
    (void)unused;
    if (e->kind == ROTA_TRACE_SPAWN && is_page(e->name) && rows_n < ROWS) {
        rows[rows_n] = (struct row){ .url = e->name, .task = e->task, .from = e->time };
        waits_watch(&watched, &rows[rows_n++].waits, e->task);
    }
    waits_hook(&watched, e);
    struct row *r = row_of(e->task);
    if (r != NULL && e->kind == ROTA_TRACE_END)
        r->to = e->time;
}

/* ---- the work ---- */

static intptr_t fetch(void *url) {
    rota_http_response response;
    const char *text;
    int rc = rota_http_request(&client, &response, "GET", url, NULL);
    if (rc < 0)
        return rc;
    rc = rota_http_read_all(&response, &text, NULL, 1 << 20);
    rota_http_response_close(&response);
    return rc;
}

static int begin(rota_task **task, int i) {
    return rota_spawn(task, fetch, (void *)(uintptr_t)urls[i], &(rota_spawn_options){ .name = urls[i] });
}

static intptr_t visit(void *unused) {
    rota_task *tasks[PAGES];
    int rc = 0, n;
    (void)unused;
    for (int i = 0; i < PAGES && rc == 0; i++)
        rc = (rc = begin(&tasks[0], i)) < 0 ? rc : rota_join(tasks[0], NULL);
    for (n = 0; n < PAGES && rc == 0; n += rc == 0)
        rc = begin(&tasks[n], n);
    for (int i = 0; i < n; i++) {
        int joined = rota_join(tasks[i], NULL);
        rc = rc < 0 ? rc : joined;
    }
    return rc;
}

static intptr_t amain(void *unused) {
    int rc = rota_http_client_open(&client, &(rota_http_client_options){ .connect = site_connect, .connect_ctx = &site });
    if (rc == 0)
        rc = rota_loop_set_trace(rota_loop_current(), hook, NULL);
    if (rc == 0)
        rc = (int)site_visit(&site, visit, unused);
    rota_http_client_close(&client);
    return rc;
}

/* ---- the picture ---- */

static double ms(int64_t ns) { return (double)ns / 1e6; }

static void draw_text(const struct row *r, int64_t zero, int64_t span) {
    char line[COLUMNS + 1];
    memset(line, ' ', COLUMNS);
    line[COLUMNS] = '\0';
    for (int64_t i = 0; i < COLUMNS; i++) {
        int64_t from = zero + span * i / COLUMNS, to = zero + span * (i + 1) / COLUMNS;
        if (from < r->to && to > r->from)
            line[i] = '=';
    }
    printf("%-21s|%s| %4.0f ms\n", r->url + 7, line, ms(r->to - r->from));
}

static void draw_svg(FILE *out, const struct row *r, int64_t zero, int64_t span, int y) {
    double scale = 700.0 / (double)span;
    fprintf(out, "<text x=\"10\" y=\"%d\">%s</text>\n<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"12\" fill=\"#0072b2\"/>\n",
            y + 11, r->url + 7, 160 + (double)(r->from - zero) * scale, y, (double)(r->to - r->from) * scale + 1);
    waits_draw(out, &r->waits, &(struct waits_place){ 160, scale, zero, y, 12, "#56b4e9" });
}

static void draw(FILE *svg) {
    int64_t span = rows[PAGES - 1].to - rows[0].from;
    if (svg != NULL)
        fprintf(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"%d\" font-family=\"sans-serif\""
                     " font-size=\"11\">\n", ROWS * 20 + 60);
    for (int i = 0; i < ROWS; i++) {
        int64_t zero = rows[i < PAGES ? 0 : PAGES].from;
        if (svg != NULL)
            draw_svg(svg, &rows[i], zero, span, 20 + i * 20 + (i < PAGES ? 0 : 20));
        else if (i % PAGES == 0)
            printf("%s\n", i == 0 ? "one after the other" : "at the same time");
        if (svg == NULL)
            draw_text(&rows[i], zero, span);
    }
    if (svg != NULL)
        fputs("</svg>\n", svg);
}

int main(int argc, char **argv) {
    intptr_t result = 0;
    int rc = rota_run(amain, NULL, &result, NULL);
    rc = rc < 0 ? rc : (int)result;
    FILE *svg = argc > 1 && rc == 0 ? fopen(argv[1], "w") : NULL;
    if (rc < 0 || rows_n < ROWS || (argc > 1 && svg == NULL)) {
        fprintf(stderr, "waterfall: %s\n", rc < 0 ? rota_strerror(rc) : "the picture cannot be drawn");
        return 1;
    }
    draw(svg);
    return svg != NULL && fclose(svg) != 0;
}
