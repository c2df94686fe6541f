/* Tests of client.c and pool.c against scripted servers. */
#include "rota/http.h"
#include "tests/harness.h"
