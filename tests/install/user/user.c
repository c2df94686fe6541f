/* Somebody else's program: it knows the public headers and nothing else. */
#include <rota.h>
#include <string.h>

static intptr_t sleeper(void *arg) {
    int error = rota_sleep(ROTA_MS);
    return error < 0 ? error : (intptr_t)arg;
}

int main(void) {
    intptr_t result = 0;
    int error = rota_run(sleeper, (void *)(intptr_t)42, &result, NULL);
    return error < 0 || result != 42 || strcmp(rota_version(), ROTA_VERSION) != 0;
}
