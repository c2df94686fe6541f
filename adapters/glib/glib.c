/* A GSource over rota_loop_fd: rota_glib_source_new.
 *
 * That descriptor shows everything there is to do in the loop, so GLib needs neither a timeout nor a prepare step from
 * us. It must not know what runs in the loop.
 */
#include "rota/glib.h"

struct source {
    GSource source;     /* first */
    rota_loop *loop;
    gpointer tag;       /* of the descriptor */
};

static gboolean has_work(GSource *source) {
    struct source *s = (struct source *)source;
    return g_source_query_unix_fd(source, s->tag) != 0;
}

/* A task that iterates the main context does not come here again: GLib blocks a source while it is dispatched. */
static gboolean turn(GSource *source, GSourceFunc callback, gpointer data) {
    struct source *s = (struct source *)source;
    int rc = rota_loop_turn(s->loop, 0);
    /* Busy: the main loop runs inside a turn of another rota loop, and will come by once that is over. */
    if (rc < 0 && rc != -EBUSY)
        return G_SOURCE_REMOVE;
    return callback ? callback(data) : G_SOURCE_CONTINUE;
}

int rota_glib_source_new(GSource **out, rota_loop *loop) {
    /* Not const: GLib's parameter is not. */
    static GSourceFuncs functions = {.check = has_work, .dispatch = turn};
    if (!out)
        return -EINVAL;
    *out = NULL;
    int fd = rota_loop_fd(loop);
    if (fd < 0)
        return fd;
    GSource *source = g_source_new(&functions, sizeof(struct source));
    struct source *s = (struct source *)source;
    s->loop = loop;
    s->tag = g_source_add_unix_fd(source, fd, G_IO_IN | G_IO_ERR | G_IO_HUP);
    g_source_set_static_name(source, "rota");
    *out = source;
    return 0;
}
