#include "rota.h"
#include "rota/coro.h"
#include "rota/reactor.h"

ROTA_LOOP_MEMORY(memory, 8, 1, 1, 2048);
extern const rota_loop_options *use(void);
const rota_loop_options *use(void) { return &memory; }
