/* TLS streams: both ends are ours, over TCP on loopback. */
#include "adapters/tls/kit.h"

/* ---- they are streams ---- */

Task_test(tls, a_line_each_way) {
    struct pair p = {0};
    const char *line;
    contexts(NULL, NULL);
    open_pair(&p);
    cr_expect_str_eq(rota_tls_version(&p.c), "TLSv1.3");
    cr_expect_eq(rota_stream_write(&p.c, "hello\n", 6), 0);
    cr_expect_eq(rota_stream_line(&p.s, 0, &line), 6);
    cr_expect_str_eq(line, "hello");
    cr_expect_eq(rota_stream_write(&p.s, "world\n", 6), 0);
    cr_expect_eq(rota_stream_line(&p.c, 0, &line), 6);
    cr_expect_str_eq(line, "world");
    close_pair(&p);
    return 0;
}
