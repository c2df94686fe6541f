/* What an error is called, at the end of a report; report_brief.c has its number in the place of this. */
#include "coro/task.h"
#include "reactor/text.h"

void rota__error_text(struct rota__text *t, int error) {
    rota__text_add(t, ": ");
    rota__text_add(t, rota_strerror(error));
}
