/* Program 13: hello and world one after the other, as tasks, and as tasks that block: a task that does not wait through
 * rota keeps the whole loop waiting. */
#include <stdio.h>
#include <time.h>

#include "rota.h"

static int pause_politely(void) { return rota_sleep(50 * ROTA_MS); }

static int pause_rudely(void) {
    struct timespec pause = { .tv_nsec = 50 * ROTA_MS };
    nanosleep(&pause, NULL);
    return 0;
}

struct word {
    const char *begin, *end;
    int (*pause)(void);
};

static intptr_t say(void *arg) {
    const struct word *w = arg;
    printf("%s ", w->begin);
    int rc = w->pause();
    printf("%s ", w->end);
    return rc;
}

static int in_sequence(struct word *words, size_t n) {
    intptr_t rc = 0;
    printf("one after the other: ");
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = say(&words[i]);
    printf("\n");
    return (int)rc;
}

static int as_tasks(const char *what, struct word *words, size_t n, int (*pause)(void)) {
    for (size_t i = 0; i < n; i++)
        words[i].pause = pause;
    printf("%s: ", what);
    int rc = rota_gather_map(say, words, n, sizeof *words, NULL, NULL);
    printf("\n");
    return rc;
}

static intptr_t amain(void *unused) {
    (void)unused;
    struct word words[] = {
        { "hello", "...hello", pause_politely },
        { "world", "...world", pause_politely },
        { "again", "...again", pause_politely },
    };
    int rc = in_sequence(words, 3);
    if (rc == 0)
        rc = as_tasks("as tasks", words, 3, pause_politely);
    return rc < 0 ? rc : as_tasks("as tasks that block", words, 3, pause_rudely);
}

int main(void) { return rota_run(amain, NULL, NULL, NULL) < 0; }
