/* In the small profile everything is in one header: this one is for programs that compile with the full library too. */
#ifndef ROTA_REACTOR_H
#define ROTA_REACTOR_H

#include "rota/small.h"

#endif
