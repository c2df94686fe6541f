/* A picture of one or more runs over the same pages: a bar per page on a common time axis, with its stages. */
#ifndef EXAMPLES_WATERFALL_H
#define EXAMPLES_WATERFALL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "examples/fetch.h"

struct waterfall_run {
    const char *title;
    const struct page *pages;
    size_t count;
    int64_t start, end;
};

/* Writes a self-contained SVG file (no scripts, no external fonts). 0, or -EIO. */
int waterfall_write(FILE *out, const char *title, const struct waterfall_run *runs, size_t count);

#endif
