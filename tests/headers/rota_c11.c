/* rota.h stands alone, and brings every public header. */
#include "rota.h"

#if !defined(ROTA_REACTOR_H) || !defined(ROTA_CORO_H) || !defined(ROTA_VERSION)
# error "rota.h is everything"
#endif

int headers_rota(void);

int headers_rota(void) {
    return rota_failed(-1) ? ROTA_VERSION_MAJOR : 1;
}
