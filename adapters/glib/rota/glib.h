/* rota inside GLib's main loop: a GSource that turns a rota loop whenever there is something to do in it.
 *
 * For programs with a user interface: GTK, and whatever else lives on a GMainContext, keeps the thread; tasks, timers
 * and sockets of rota run between its events. One turn runs ready tasks for at most a millisecond before it gives way,
 * and the source competes by its priority: G_PRIORITY_DEFAULT is that of GTK's input, G_PRIORITY_DEFAULT_IDLE lets
 * drawing go first (g_source_set_priority before it is attached). All of it is one thread, so tasks may touch widgets,
 * and callbacks of GLib may spawn and cancel tasks, set futures and start timers; what they add wakes the main loop.
 * A callback of GLib is not a task: (S) calls answer -EPERM there (spawn a task that makes them). A task must not
 * iterate the main context itself (gtk_dialog_run and the like): rota would stand still until that ends.
 *
 * The current loop of the thread (rota_loop_set_current; the first that was made, by itself) is what rota_spawn in a
 * callback of GLib works on.
 */
#ifndef ROTA_GLIB_H
#define ROTA_GLIB_H

#include <glib.h>

#include "rota/reactor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A new source for loop, to be attached to the context that runs on the loop's thread (g_source_attach), once, and
 * given back by g_source_destroy and g_source_unref before the loop is closed. A callback (g_source_set_callback; it
 * may have none) is called after each turn, and ends the source by G_SOURCE_REMOVE; the source also ends itself when
 * the loop cannot be turned any more. -EINVAL, and the errors of rota_loop_fd; *source is NULL then. GLib itself
 * aborts the program when memory runs out. */
ROTA_API ROTA_CHECK int rota_glib_source_new(GSource **source, rota_loop *loop);

#ifdef __cplusplus
}
#endif
#endif
