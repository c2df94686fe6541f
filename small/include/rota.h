/* rota in its small profile: everything is in one header. */
#ifndef ROTA_H
#define ROTA_H

#include "rota/small.h"

#endif
