/* Row A1: a generator that is fed. It opens a file, writes each chunk that it is sent, and closes the file at the
 * end of the data, or when it is closed early: nobody else needs to know that there is a file. */
#include <stdio.h>
#include <stdlib.h>

#include "rota/generator.h"

struct chunk {
    const char *data;
    size_t n;
};

/* Sent: a chunk to write, or 0 for the end. */
static intptr_t writer(rota_gen *self, void *arg) {
    FILE *file = fopen(arg, "w");
    if (file == NULL)
        return -errno;
    intptr_t sent, written = 0;
    int rc;
    while ((rc = rota_gen_yield(self, written, &sent)) == 0 && sent != 0) {
        const struct chunk *chunk = rota_ptr(sent);
        written += (intptr_t)fwrite(chunk->data, 1, chunk->n, file);
    }
    printf("file closed: %s\n", rc == 0 ? "all is written" : rota_strerror(rc));
    if (fclose(file) != 0 && rc == 0)
        rc = -EIO;
    return rc < 0 ? rc : written;
}

static int copy(const char *path, const struct chunk *chunks, size_t n, bool to_the_end) {
    rota_gen w;
    intptr_t written;
    int rc = rota_gen_open(&w, writer, (void *)(uintptr_t)path, NULL);
    if (rc == 0)
        rc = rota_gen_next(&w, NULL);   /* up to its first yield, where it waits for a chunk */
    for (size_t i = 0; rc == ROTA_YIELDED && i < n; i++) {
        rc = rota_gen_send(&w, (intptr_t)&chunks[i], &written);
        if (rc == ROTA_YIELDED)
            printf("%d bytes so far\n", (int)written);
    }
    if (rc == ROTA_YIELDED && to_the_end)
        rc = rota_gen_send(&w, 0, &written);
    if (rc == ROTA_DONE)
        printf("done: %d bytes\n", (int)written);
    int closed = rota_gen_close(&w);
    return rc < 0 ? rc : closed;
}

int main(void) {
    static const struct chunk chunks[] = { { "chunks of ", 10 }, { "any ", 4 }, { "size\n", 5 } };
    char path[] = "/tmp/rota-writer-XXXXXX", missing[] = "/nowhere/to/write";
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    int rc = copy(path, chunks, 3, true);
    if (rc == 0)
        rc = copy(path, chunks, 1, false);
    remove(path);
    if (copy(missing, chunks, 3, true) == -ENOENT)
        printf("no such folder\n");
    return rc < 0;
}
