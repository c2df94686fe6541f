#include "rota.h"

ROTA_LOOP_MEMORY(memory, 8, 1, 1, 2048);

int main() {
    rota_loop *loop;
    return rota_loop_new(&loop, &memory) < 0 || rota_loop_free(loop) < 0;
}
