// The public headers in C++17: they compile without a warning, and their inline functions and macros too.
#include "rota.h"
#include "rota/coro.h"
#include "rota/reactor.h"

static_assert(sizeof(ROTA_VERSION) > 1, "has a version");

static intptr_t body(void *arg) {
    return rota_failed(reinterpret_cast<intptr_t>(arg)) ? -ECANCELED : 0;
}

int main() {
    rota_timer timer;
    rota_at at = ROTA_HERE;
    rota_offload_options offload = {};
    rota_timer_init(&timer, [](rota_timer *, void *) {}, nullptr);
    return rota_timer_active(&timer) || offload.abandon || at.line == 0 || body(nullptr) != 0 || rota_version() == nullptr;
}
