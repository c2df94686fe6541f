/* The main example: fetches web pages one after the other, then all at once, counts the < and > in each, and
 * shows what the difference is. `crawl --help` tells the rest.
 *
 * Both runs are the same code: a number of worker tasks take pages from a list, and "one after the other" is
 * the run with one worker. A run sits in a scope, which Ctrl-C cancels; whatever a page is doing then, its call
 * returns -ECANCELED, and everything unwinds by ordinary returns.
 *
 *     main ── rota_run ── crawl ─┬─ helpers (group): interrupt, progress, site (under the virtual clock)
 *                                └─ work (scope) ─ run (group): worker, worker, worker …
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "examples/args.h"
#include "examples/fetch.h"
#include "examples/secure.h"
#include "examples/site.h"
#include "examples/waits.h"
#include "examples/waterfall.h"
#include "rota.h"

struct crawl;

struct run {
    struct crawl *crawl;
    const char *title;
    struct page *pages;
    struct waits *waits;      /* of each page's worker while it is at it: for the picture; NULL: not wanted */
    size_t jobs;
    size_t next, running, finished;
    int64_t start, end;
    bool begun;
};

struct crawl {
    /* What was asked for. */
    const char *const *urls;
    size_t count;
    bool demo, compare, follow, virtual_clock;
    int64_t timeout, connect_timeout;
    size_t jobs;
    const char *svg;

    struct site site;
    struct secure secure;
    struct run runs[2];
    struct waits *watched;    /* by the trace hook */
    struct run *run;          /* the one that goes on, or NULL */
    rota_scope work;
    int signo;                /* the signal that ended it, or 0 */
    bool terminal;            /* standard error is one: show progress */
    int width;                /* of the longest URL, for columns */
};

static double seconds(int64_t ns) { return (double)ns / (double)ROTA_S; }

/* ---- output while it runs ----------------------------------------------------------------------- */

static void clear_progress(const struct crawl *c) {
    if (c->terminal)
        fputs("\r\033[K", stderr);
}

static void show_progress(const struct crawl *c) {
    const struct run *r = c->run;
    if (!c->terminal || r == NULL)
        return;
    fprintf(stderr, "\r\033[K%s: %zu of %zu done, %zu running, %.1f s", r->title, r->finished, c->count,
            r->running, seconds(rota_now() - r->start));
    fflush(stderr);
}

static void print_outcome(const struct page *p) {
    if (!p->started || p->error != 0) {
        printf("%s\n", p->started ? fetch_error(p) : "not started");
        return;
    }
    printf("%4" PRIu64 " <  %4" PRIu64 " >  %6" PRIu64 " bytes  %d %s%s%s\n", p->less, p->greater, p->bytes,
           p->status, p->reason, p->followed ? ", at " : *p->location ? ", to " : "", p->location);
}

static void print_finished(const struct crawl *c, const struct page *p) {
    clear_progress(c);
    printf("%8.3f s  %-*s  ", seconds(p->end - p->start), c->width, p->url);
    print_outcome(p);
    fflush(stdout);
    show_progress(c);
}

static intptr_t progress(void *arg) {
    struct crawl *c = arg;
    int rc;
    while ((rc = rota_sleep(100 * ROTA_MS)) == 0)
        show_progress(c);
    return rc;
}

/* ---- the work ----------------------------------------------------------------------------------- */

static int fetch_watched(struct run *r, struct page *p) {
    if (r->waits == NULL)
        return fetch_page(p);
    struct waits *waits = &r->waits[p - r->pages];
    waits_watch(&r->crawl->watched, waits, rota_task_number(rota_self()));
    int rc = fetch_page(p);
    waits_leave(&r->crawl->watched, waits);
    return rc;
}

/* Takes pages until there are none. A page's failure is its result, so only a cancel ends a worker early. */
static intptr_t worker(void *arg) {
    struct run *r = arg;
    while (r->next < r->crawl->count) {
        struct page *p = &r->pages[r->next++];
        r->running++;
        int rc = fetch_watched(r, p);
        r->running--;
        if (rc == -ECANCELED)
            return rc;
        r->finished++;
        print_finished(r->crawl, p);
    }
    return 0;
}

/* Fewer workers than asked for (no memory for another stack) do the same work. */
static int run_workers(struct run *r) {
    rota_group group;
    rota_group_begin(&group, NULL);
    int rc = 0;
    size_t n = 0;
    while (rc == 0 && n < r->jobs) {
        rc = rota_spawn(NULL, worker, r, &(rota_spawn_options){ .name = "worker", .group = &group });
        n += rc == 0;
    }
    return (int)rota_group_end(&group, n > 0 ? 0 : rc);
}

static int run_pages(struct crawl *c, struct run *r) {
    printf("%s%s:\n", c->compare && r != c->runs ? "\n" : "", r->title);
    fflush(stdout);
    c->run = r;
    r->begun = true;
    r->start = rota_now();
    int rc = run_workers(r);
    r->end = rota_now();
    clear_progress(c);
    c->run = NULL;
    return rc;
}

static void route_to_site(struct crawl *c, struct page *p) {
    p->to_port = site_route(&c->site, p->url);
    p->to_host = p->to_port != NULL ? "127.0.0.1" : NULL;
}

static int work(struct crawl *c) {
    int rc = 0;
    if (c->demo && c->virtual_clock)
        rc = rota_future_await(&c->site.ready, NULL);
    for (int i = 0; rc == 0 && c->signo == 0 && i < 2; i++) {
        struct run *r = &c->runs[i];
        for (size_t p = 0; r->pages != NULL && p < c->count && c->demo; p++)
            route_to_site(c, &r->pages[p]);
        if (r->pages != NULL)
            rc = run_pages(c, r);
    }
    return rc;
}

/* The first signal ends the work and leaves time to print what there is; with the set closed, a second one has
 * its usual effect. */
static intptr_t interrupt(void *arg) {
    struct crawl *c = arg;
    rota_signals signals;
    int rc = rota_signals_open(&signals, ROTA_SIGNAL(SIGINT) | ROTA_SIGNAL(SIGTERM));
    if (rc < 0)
        return rc;
    rc = rota_signals_wait(&signals);
    rota_signals_close(&signals);
    if (rc < 0)
        return rc;
    c->signo = rc;
    rota_scope_cancel(&c->work, "interrupted");
    return 0;
}

static int start_helpers(struct crawl *c, rota_group *helpers) {
    int rc = rota_spawn(NULL, interrupt, c, &(rota_spawn_options){ .name = "interrupt", .group = helpers });
    if (rc == 0 && c->terminal)
        rc = rota_spawn(NULL, progress, c, &(rota_spawn_options){ .name = "progress", .group = helpers });
    if (rc == 0 && c->demo && c->virtual_clock)
        rc = rota_spawn(NULL, site_run, &c->site, &(rota_spawn_options){ .name = "site", .group = helpers });
    return rc;
}

static intptr_t crawl(void *arg) {
    struct crawl *c = arg;
    rota_group helpers;
    rota_group_begin(&helpers, NULL);
    rota_scope_begin(&c->work);
    intptr_t rc = start_helpers(c, &helpers);
    if (rc == 0)
        rc = work(c);
    rc = rota_scope_end(&c->work, rc);
    if (rc == -ECANCELED && c->signo != 0)
        rc = 0;
    rota_scope_cancel(&helpers.scope, "the crawl is over");
    return rota_group_end(&helpers, rc);
}

/* ---- output at the end -------------------------------------------------------------------------- */

static void print_results(const struct crawl *c, const struct run *last) {
    const struct run *first = c->runs[0].pages != NULL && last != c->runs ? c->runs : NULL;
    printf("\nResults, in the order of the list%s:\n", first ? " (times: one after the other, all at once)" : "");
    for (size_t i = 0; i < c->count; i++) {
        const struct page *p = &last->pages[i];
        printf("%3zu  %-*s", i + 1, c->width, p->url);
        if (first != NULL)
            printf("  %7.3f s", seconds(first->pages[i].end - first->pages[i].start));
        printf("  %7.3f s  ", seconds(p->end - p->start));
        print_outcome(p);
    }
}

static void print_times(const struct crawl *c) {
    const struct run *one = &c->runs[0], *all = &c->runs[1];
    int64_t slowest = 0;
    for (size_t i = 0; all->begun && i < c->count; i++)
        if (all->pages[i].end - all->pages[i].start > slowest)
            slowest = all->pages[i].end - all->pages[i].start;
    putchar('\n');
    if (one->begun)
        printf("one after the other  %7.3f s\n", seconds(one->end - one->start));
    if (all->begun)
        printf("all at once          %7.3f s, the slowest page %.3f s\n", seconds(all->end - all->start),
               seconds(slowest));
    if (one->begun && all->begun && c->signo == 0 && all->end > all->start)
        printf("ratio                %7.1f\n", seconds(one->end - one->start) / seconds(all->end - all->start));
}

/* A picture that could not be written whole is taken away again. */
static int write_svg(const struct crawl *c) {
    struct waterfall_run runs[2];
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        const struct run *r = &c->runs[i];
        if (r->begun)
            runs[n++] = (struct waterfall_run){ r->title, r->pages, c->count, r->start, r->end, r->waits };
    }
    FILE *out = fopen(c->svg, "w");
    if (out == NULL)
        return -errno;
    const char *title = n < 2 ? "Where the time went" : "The same pages, one after the other and all at once";
    int rc = waterfall_write(out, title, runs, n);
    if (fclose(out) != 0 && rc == 0)
        rc = -EIO;
    if (rc < 0)
        remove(c->svg);
    return rc;
}

static int exit_code(const struct crawl *c, const struct run *last) {
    if (c->signo != 0)
        return 128 + c->signo;
    for (size_t i = 0; !c->demo && i < c->count; i++)
        if (last->pages[i].error != 0)
            return 1;
    return 0;
}

static int report(const struct crawl *c) {
    const struct run *last = c->runs[1].begun || !c->runs[0].begun ? &c->runs[1] : &c->runs[0];
    print_results(c, last);
    print_times(c);
    int rc = c->svg != NULL ? write_svg(c) : 0;
    if (rc < 0) {
        fprintf(stderr, "crawl: %s: %s\n", c->svg, rota_strerror(rc));
        return 1;
    }
    if (c->svg != NULL)
        printf("waterfall            %s\n", c->svg);
    return exit_code(c, last);
}

/* ---- the command line --------------------------------------------------------------------------- */

static int usage(int code) {
    fputs("usage: crawl [options] URL...\n"
          "       crawl [options] --demo\n"
          "Fetches http:// and https:// pages, all at once, and counts the < and > in each.\n"
          "  --demo             fetch the pages of a small web of its own on this machine, one after the\n"
          "                     other and then all at once; needs no internet\n"
          "  --compare          the same comparison for URLs\n"
          "  --timeout SECONDS  for each page, from resolving its name to its last byte; default 10\n"
          "  --connect-timeout SECONDS\n"
          "                     of that, for resolving and connecting; default 5, with --demo 1\n"
          "  --follow           follow redirects, at most 10 for a page, and none from https to http; without\n"
          "                     it they are shown\n"
          "  --cacert FILE      trust the certificates in that PEM file, instead of those the system trusts\n"
          "  --jobs N           fetch at most N pages at once; default 256\n"
          "  --svg FILE         draw where the time went\n"
          "  --virtual-clock    with --demo: let no time pass (for tests)\n"
          "A progress line is shown when standard error is a terminal. Ctrl-C ends the fetching and prints\n"
          "what there is.\n"
          "Exit code: 0 every page answered, whatever its status (with --demo: it ran); 1 a page failed;\n"
          "2 wrong usage; 128 + the signal's number (130 for Ctrl-C) when it was interrupted.\n",
          code == 0 ? stdout : stderr);
    return code;
}

enum { DEMO = 256, COMPARE, TIMEOUT, CONNECT_TIMEOUT, FOLLOW, CACERT, JOBS, SVG, VIRTUAL_CLOCK, HELP };

static const struct option long_options[] = {
    { "demo", no_argument, NULL, DEMO },
    { "compare", no_argument, NULL, COMPARE },
    { "timeout", required_argument, NULL, TIMEOUT },
    { "connect-timeout", required_argument, NULL, CONNECT_TIMEOUT },
    { "follow", no_argument, NULL, FOLLOW },
    { "cacert", required_argument, NULL, CACERT },
    { "jobs", required_argument, NULL, JOBS },
    { "svg", required_argument, NULL, SVG },
    { "virtual-clock", no_argument, NULL, VIRTUAL_CLOCK },
    { "help", no_argument, NULL, HELP },
    { NULL, 0, NULL, 0 },
};

static bool take_option(struct crawl *c, int option) {
    long jobs;
    switch (option) {
    case DEMO: c->demo = c->compare = true; return true;
    case COMPARE: c->compare = true; return true;
    case TIMEOUT: return args_seconds(optarg, &c->timeout);
    case CONNECT_TIMEOUT: return args_seconds(optarg, &c->connect_timeout);
    case FOLLOW: c->follow = true; return true;
    case CACERT: c->secure.cacert = optarg; return true;
    case JOBS:
        if (!args_number(optarg, 1, 100000, &jobs))
            return false;
        c->jobs = (size_t)jobs;
        return true;
    case SVG: c->svg = optarg; return true;
    default: c->virtual_clock = true; return true;
    }
}

/* -1: go on. Else main returns it. */
static int read_options(struct crawl *c, int argc, char **argv) {
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == HELP)
            return usage(0);
        if (option == '?')
            return usage(2);
        if (!take_option(c, option)) {
            fprintf(stderr, "crawl: %s is out of range or no number\n", optarg);
            return 2;
        }
    }
    c->urls = c->demo ? site_urls : (const char *const *)(argv + optind);
    c->count = c->demo ? 0 : (size_t)(argc - optind);
    while (c->demo && c->urls[c->count] != NULL)
        c->count++;
    bool wrong = c->count == 0 || (c->demo && optind < argc) || (c->virtual_clock && !c->demo);
    return wrong ? usage(2) : -1;
}

static void prepare_page(struct crawl *c, struct page *page, const char *url) {
    *page = (struct page){ .url = url, .timeout = c->timeout, .connect_timeout = c->connect_timeout,
                           .redirects = c->follow ? 10 : 0, .secure = secure_available ? secure_handshake : NULL,
                           .take_why = secure_take_why, .secure_ctx = &c->secure };
}

/* A name server that is dead must not be what the demo waits for, hence its shorter limit: below the slowest
 * page. */
static int prepare(struct crawl *c) {
    if (c->connect_timeout == 0)
        c->connect_timeout = c->demo ? 1 * ROTA_S : 5 * ROTA_S;
    if (c->jobs > c->count)
        c->jobs = c->count;
    for (int i = c->compare ? 0 : 1; i < 2; i++) {
        struct run *r = &c->runs[i];
        r->pages = calloc(c->count, sizeof *r->pages);
        r->waits = c->svg != NULL ? calloc(c->count, sizeof *r->waits) : NULL;
        if (r->pages == NULL || (c->svg != NULL && r->waits == NULL))
            return -ENOMEM;
        r->crawl = c;
        r->title = i == 0 ? "One after the other" : c->jobs < c->count ? "Several at once" : "All at once";
        r->jobs = i == 0 ? 1 : c->jobs;
        for (size_t p = 0; p < c->count; p++)
            prepare_page(c, &r->pages[p], c->urls[p]);
    }
    for (size_t p = 0; p < c->count; p++) {
        int n = (int)strnlen(c->urls[p], 48);
        c->width = n > c->width ? n : c->width;
    }
    return 0;
}

/* The demo's servers run in a process of their own, so that the times are those of a crawler that is alone with
 * the network; not under the virtual clock, which must see everybody to know that nobody has anything to do. */
static int run(struct crawl *c) {
    bool child = c->demo && !c->virtual_clock;
    int rc = child ? site_start(&c->site) : 0;
    if (rc < 0)
        return rc;
    intptr_t result = 0;
    rc = rota_run(crawl, c, &result, &(rota_loop_options){
        .virtual_clock = c->virtual_clock, .trace = c->svg != NULL ? waits_hook : NULL, .trace_ctx = &c->watched });
    if (child)
        site_stop(&c->site);
    return rc < 0 ? rc : (int)result;
}

int main(int argc, char **argv) {
    struct crawl c = { .timeout = 10 * ROTA_S, .jobs = 256, .terminal = isatty(STDERR_FILENO) };
    int code = read_options(&c, argc, argv);
    if (code >= 0)
        return code;
    int rc = secure_open(&c.secure);
    if (rc < 0) {
        char why[SECURE_WHY];
        fprintf(stderr, "crawl: --cacert %s: %s\n", c.secure.cacert, secure_take_why(&c.secure, why));
        return 1;
    }
    rc = prepare(&c);
    if (rc == 0)
        rc = run(&c);
    if (rc == 0)
        code = report(&c);
    else
        fprintf(stderr, "crawl: %s\n", rota_strerror(rc));
    secure_close(&c.secure);
    for (int i = 0; i < 2; i++) {
        free(c.runs[i].pages);
        free(c.runs[i].waits);
    }
    return rc == 0 ? code : 1;
}
