/* A picture of one or more runs over the same pages: a bar per page on a common time axis, with its stages
 * (which fetch.c tells apart), and below it a line of what its task waited for (as the loop's trace has it). */
#ifndef EXAMPLES_WATERFALL_H
#define EXAMPLES_WATERFALL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "examples/fetch.h"
#include "examples/waits.h"

struct waterfall_run {
    const char *title;
    const struct page *pages;
    size_t count;
    int64_t start, end;
    const struct waits *waits;   /* of the task of each page, from the trace; NULL: not drawn */
};

/* Writes a self-contained SVG file (no scripts, no external fonts). 0, or -EIO. */
int waterfall_write(FILE *out, const char *title, const struct waterfall_run *runs, size_t count);

#endif
