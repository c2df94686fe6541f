/* Command-line values for the examples. Each call checks all of text and answers false for anything else. */
#ifndef EXAMPLES_ARGS_H
#define EXAMPLES_ARGS_H

#include <stdbool.h>
#include <stdint.h>

/* A whole number from least to most, in decimal. */
bool args_number(const char *text, long least, long most, long *value);

/* Seconds, such as 2 or 0.25, as nanoseconds: more than 0, at most 1,000,000 s. */
bool args_seconds(const char *text, int64_t *ns);

#endif
