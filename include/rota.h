/* rota: an event reactor with coroutines. Everything; the two halves can be included alone. */
#ifndef ROTA_H
#define ROTA_H

#include "rota/reactor.h"
#include "rota/coro.h"
#include "rota/dns.h"
#include "rota/sync.h"
#include "rota/thread_queue.h"
#include "rota/executor.h"
#include "rota/file.h"
#include "rota/trace.h"
#include "rota/generator.h"
#include "rota/combine.h"
#include "rota/process.h"
#include "rota/net.h"
#include "rota/workers.h"

#endif
