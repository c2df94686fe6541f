/* Tests of server.c and reply.c. */
#include "rota/http.h"
#include "tests/harness.h"
