/* GLib's main loop with a timer of its own, and two tasks of rota that live between its events.
 *
 *     example_glib
 */
#include <stdio.h>

#include "rota/coro.h"
#include "rota/glib.h"

static GMainLoop *main_loop;

static gboolean tick(gpointer data) {
    int *ticks = data;
    printf("GLib: tick %d\n", ++*ticks);
    return *ticks < 4 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static intptr_t worker(void *arg) {
    const char *name = arg;
    for (int i = 1; i <= 3; i++) {
        int rc = rota_sleep(100 * ROTA_MS);
        if (rc < 0)
            return rc;
        printf("rota: %s has done step %d\n", name, i);
    }
    return 0;
}

static intptr_t both(void *arg) {
    (void)arg;
    rota_call calls[] = {{worker, "first", 0}, {worker, "second", 0}};
    int rc = rota_gather(calls, 2, NULL);
    g_main_loop_quit(main_loop);
    return rc;
}

int main(void) {
    rota_loop *loop;
    GSource *source = NULL;
    int ticks = 0;
    int rc = rota_loop_new(&loop, NULL);
    if (rc == 0)
        rc = rota_glib_source_new(&source, loop);
    if (rc == 0)
        rc = rota_spawn(NULL, both, NULL, NULL);
    if (rc == 0) {
        main_loop = g_main_loop_new(NULL, FALSE);
        g_source_attach(source, NULL);
        g_timeout_add(70, tick, &ticks);
        g_main_loop_run(main_loop);
        g_main_loop_unref(main_loop);
    }
    if (source) {
        g_source_destroy(source);
        g_source_unref(source);
    }
    rota_loop_free(loop);
    if (rc < 0)
        fprintf(stderr, "example_glib: %s\n", rota_strerror(rc));
    return rc < 0;
}
