/* Reads command-line values: args_number, args_seconds. strtol and strtod accept more than a person means
 * (leading space, a sign, "nan", "0x10"), so the first and every other character is looked at here. */
#include "examples/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool args_number(const char *text, long least, long most, long *value) {
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
        return false;
    errno = 0;
    long v = strtol(text, NULL, 10);
    if (errno != 0 || v < least || v > most)
        return false;
    *value = v;
    return true;
}

bool args_seconds(const char *text, int64_t *ns) {
    if (strspn(text, "0123456789.") != strlen(text))
        return false;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || !(v >= 1e-9) || v > 1e6)
        return false;
    *ns = (int64_t)(v * 1e9);
    return true;
}
