/* Somebody else's program on the small profile: it knows the public header, and gives the memory. */
#include <rota.h>

#ifndef ROTA_PROFILE_SMALL
# error "another profile is installed here"
#endif

ROTA_LOOP_MEMORY(memory, 16, 1, 2, 4096);

static intptr_t sleeper(void *arg) {
    int error = rota_sleep(ROTA_MS);
    return error < 0 ? error : (intptr_t)arg;
}

int main(void) {
    intptr_t result = 0;
    int error = rota_run(sleeper, (void *)(intptr_t)42, &result, &memory);
    return error < 0 || result != 42;
}
