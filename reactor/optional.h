/* Parts that a program has only if it calls them. A file that would bring in such a part merely to look after it names its
 * functions here: a static program then has them if something else links them, and else they are NULL, and nothing can be
 * there to look after. So a call needs a reason to be made that only the part itself can give.
 *
 * On macOS a program must have what it names, and has all of it. */
#ifndef ROTA_REACTOR_OPTIONAL_H
#define ROTA_REACTOR_OPTIONAL_H

#ifdef __APPLE__
# define ROTA__OPTIONAL(name) extern __typeof__(name) name
#else
# define ROTA__OPTIONAL(name) extern __typeof__(name) name __attribute__((weak))
#endif

#endif
