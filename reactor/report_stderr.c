/* What happens to reports when nobody asked for them: a line on standard error, in one write so that lines of
 * several threads do not mix. */
#include "reactor/loop.h"
#include "reactor/quiet.h"
#include "reactor/text.h"

void rota__report_stderr(void *ctx, const rota_report *report) {
    char line[2048];
    struct rota__text t;
    (void)ctx;
    rota__text_init(&t, line, sizeof line - 1);
    rota__text_add(&t, "rota: ");
    rota__text_add(&t, report->text);
    size_t n = t.length < sizeof line - 2 ? t.length : sizeof line - 2;
    line[n++] = '\n';
    (void)rota__write_quietly(2, line, n); /* a report that cannot be written is lost: there is nobody else to tell */
}
