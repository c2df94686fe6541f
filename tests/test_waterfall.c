/* Tests of examples/waterfall.c: what the picture says, and that it is well-formed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/waterfall.h"
#include "rota.h"
#include "tests/harness.h"

static char *draw(const struct waterfall_run *runs, size_t count) {
    static char text[1 << 20];
    FILE *out = tmpfile();
    cr_assert_not_null(out);
    int rc = waterfall_write(out, "A <title> & \"more\"", runs, count);
    cr_assert_eq(rc, 0);
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = '\0';
    fclose(out);
    return text;
}

static struct page answered(const char *url, int64_t start, int64_t end) {
    struct page p = { .url = url, .started = true, .ended = true, .status = 200, .stage = FETCH_STAGES };
    p.start = start;
    p.end = end;
    for (int i = 0; i < FETCH_STAGES; i++)
        p.stage_end[i] = start + (end - start) * (i + 1) / FETCH_STAGES;
    return p;
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

/* Every element that is opened is closed, in the right order: enough of XML for what is drawn here. */
static bool well_formed(const char *text) {
    char open[16][16];
    int depth = 0;
    while ((text = strchr(text, '<')) != NULL) {
        const char *end = strchr(text, '>');
        size_t n = strcspn(text + 1, " />");
        if (end == NULL)
            return false;
        if (text[1] == '/') {
            n = strcspn(text + 2, ">");
            if (depth == 0 || strncmp(open[--depth], text + 2, n) != 0 || open[depth][n] != '\0')
                return false;
        } else if (end[-1] != '/') {
            if (depth == 16 || n >= 16)
                return false;
            memcpy(open[depth], text + 1, n);
            open[depth++][n] = '\0';
        }
        text = end;
    }
    return depth == 0;
}

Test(waterfall, a_bar_per_page_and_run) {
    struct page pages[2] = { answered("http://a.test/", 0, ROTA_S), answered("http://b.test/", ROTA_S, 2 * ROTA_S) };
    struct waterfall_run runs[2] = { { "One", pages, 2, 0, 2 * ROTA_S, NULL }, { "Two", pages, 2, 0, 2 * ROTA_S, NULL } };
    const char *svg = draw(runs, 2);
    cr_expect(well_formed(svg));
    cr_expect_eq(count(svg, ">a.test/<"), 2);
    cr_expect_eq(count(svg, "1.000 s, 200"), 4);
    cr_expect_eq(count(svg, "One: 2.000 s"), 1);
    cr_expect_eq(count(svg, "fill=\"#0072b2\""), 1 + 4, "the legend and four bars");
}

/* As the trace tells: it is asked for in between, waits, yields, waits again, and is left in a wait. */
Test(waterfall, what_a_task_waited_for) {
    struct waits waits = { .n = 0 }, *watched = NULL;
    const rota_trace_event events[] = {
        { .kind = ROTA_TRACE_WAKE, .task = 3, .time = 1 },
        { .kind = ROTA_TRACE_SWITCH_OUT, .task = 3, .time = 10 * ROTA_MS, .what = "a name" },
        { .kind = ROTA_TRACE_SWITCH_OUT, .task = 4, .time = 11 * ROTA_MS, .what = "nothing of ours" },
        { .kind = ROTA_TRACE_WAKE, .task = 4, .time = 12 * ROTA_MS },
        { .kind = ROTA_TRACE_WAKE, .task = 3, .time = 30 * ROTA_MS },
        { .kind = ROTA_TRACE_SWITCH_OUT, .task = 3, .time = 31 * ROTA_MS, .what = "its turn", .value = 1 },
        { .kind = ROTA_TRACE_SWITCH_OUT, .task = 3, .time = 32 * ROTA_MS },
        { .kind = ROTA_TRACE_WAKE, .task = 3, .time = 35 * ROTA_MS },
        { .kind = ROTA_TRACE_SWITCH_OUT, .task = 3, .time = 40 * ROTA_MS, .what = "never ended" },
    };
    waits_watch(&watched, &waits, 3);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        waits_hook(&watched, &events[i]);
    waits_leave(&watched, &waits);
    cr_expect_null(watched);
    cr_expect_eq(waits.n, 2);
    struct page page = answered("http://a.test/", 0, ROTA_S);
    struct waterfall_run run = { "One", &page, 1, 0, ROTA_S, &waits };
    const char *svg = draw(&run, 1);
    cr_expect(well_formed(svg));
    cr_expect_eq(count(svg, "<title>20.0 ms: a name</title>"), 1);
    cr_expect_eq(count(svg, "<title>3.0 ms: waits</title>"), 1);
    cr_expect_eq(count(svg, "its task waits (trace)"), 1);
}

Test(waterfall, only_so_many_waits_are_kept) {
    static struct waits waits[3];
    struct waits *watched = NULL;
    for (uint64_t i = 0; i < 3; i++)
        waits_watch(&watched, &waits[i], i + 1);
    waits_leave(&watched, &waits[1]);
    for (int i = 0; i < WAITS_MOST + 5; i++)
        for (uint64_t task = 0; task <= 3; task++) {
            waits_hook(&watched, &(rota_trace_event){ .kind = ROTA_TRACE_SWITCH_OUT, .task = task, .time = 2 * i });
            waits_hook(&watched, &(rota_trace_event){ .kind = ROTA_TRACE_WAKE, .task = task, .time = 2 * i + 1 });
        }
    cr_expect_eq(waits[0].n, WAITS_MOST);
    cr_expect_eq(waits[1].n, 0);
    cr_expect_eq(waits[2].n, WAITS_MOST);
}

Test(waterfall, a_failure_has_its_words) {
    struct page page = { .url = "http://c.test/", .started = true, .ended = true, .stage = FETCH_CONNECT,
                         .error = -ECONNREFUSED, .end = ROTA_S };
    struct waterfall_run run = { "One", &page, 1, 0, ROTA_S, NULL };
    const char *svg = draw(&run, 1);
    cr_expect(well_formed(svg));
    cr_expect(strstr(svg, "refused</text>") != NULL);
    cr_expect_eq(count(svg, "url(#failed)"), 2);
}

Test(waterfall, hostile_text_stays_text) {
    struct page pages[] = { answered("http://x/<script>\"&\xff\x01", 0, 1), answered("", 0, 0) };
    struct waterfall_run run = { "<&>", pages, 2, 0, 1, NULL };
    const char *svg = draw(&run, 1);
    cr_expect(well_formed(svg));
    cr_expect(strstr(svg, "<script") == NULL);
    cr_expect(strstr(svg, "&#60;script&#62;&#34;&#38;??") != NULL);
}

Test(waterfall, pages_that_never_began_have_no_bar) {
    struct page page = { .url = "http://d.test/" };
    struct waterfall_run run = { "One", &page, 1, 0, ROTA_S, NULL };
    const char *svg = draw(&run, 1);
    cr_expect(well_formed(svg));
    cr_expect_eq(count(svg, "<g>"), 0);
    cr_expect_eq(count(svg, "d.test/"), 1);
}

Test(waterfall, a_run_that_took_no_time) {
    struct page page = answered("http://e.test/", 0, 0);
    struct waterfall_run run = { "One", &page, 1, 0, 0, NULL };
    const char *svg = draw(&run, 1);
    cr_expect(well_formed(svg));
    cr_expect(strstr(svg, "nan") == NULL && strstr(svg, "inf") == NULL);
}

Test(waterfall, a_full_disk_is_an_error) {
    FILE *out = fopen("/dev/full", "w");
    if (out == NULL)
        cr_skip_test("no /dev/full");
    setvbuf(out, NULL, _IONBF, 0);
    struct page page = answered("http://a.test/", 0, 1);
    struct waterfall_run run = { "One", &page, 1, 0, 1, NULL };
    cr_expect_eq(waterfall_write(out, "", &run, 1), -EIO);
    fclose(out);
}
