/* Name resolution: rota_resolve, on a small pool of threads per loop, because getaddrinfo blocks.
 *
 * Who owns what. A request lies on the stack of the task that waits; it is in the queue, with one worker, or in
 * the list of finished ones, and each of these links is read and written only under the pool's lock. A worker
 * copies host and service to its own stack before it lets go of the lock, so while getaddrinfo runs it touches
 * nothing of the task's. The pool has one reference from the loop and one from each thread; the last one frees it.
 *
 * Cancelling cuts the link, under the lock: the worker finds nobody to answer, frees what it got, and goes on.
 * Closing the loop cuts the pool's link to the inbox, under the lock. So whoever holds the lock and finds a link
 * may follow it, and there is no moment in which one side could be gone. It waits for no lookup, ever.
 *
 * Threads tell the loop by one entry per pool, posted to the inbox: several results that come close together cost
 * one wake-up. It must not know who dials or listens.
 */
#include "coro/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

enum { HOST_MAX = 253, SERVICE_MAX = 63 };   /* RFC 1035, 2.3.4 as text, without the dot of the root */
enum { THREADS_DEFAULT = 4, ABANDONED_FACTOR = 4 };

struct worker;

struct request {
    struct rota__wait wait;            /* first: leave finds the rest by it */
    struct request *next, **prev;      /* in the queue or among the finished; prev NULL: in neither */
    struct rota__resolver *pool;
    struct worker *worker;             /* that looks it up */
    const char *host, *service;
    int family;
    bool finished;                     /* in that list, or woken: error and list are valid */
    int error;                         /* 0, or a negative errno */
    struct addrinfo *list;
};

struct requests {
    struct request *first, **last;
};

/* Comes from malloc, not from the loop's allocator: threads may hold it after the loop has gone, and with it the
 * memory that a caller's allocator hands out. (getaddrinfo uses malloc anyway.) */
struct rota__resolver {
    pthread_mutex_t lock;
    pthread_cond_t work;
    rota_ready ready;                  /* posted when something has finished */
    bool posted;
    struct rota__inbox *inbox;         /* NULL: the loop has closed */
    struct requests queue, finished;
    unsigned queued;                   /* in the queue */
    unsigned max;                      /* threads that may work for somebody */
    unsigned threads;                  /* that work for somebody, or could */
    unsigned idle;                     /* of them, wait for work, or are on their way to it */
    unsigned abandoned;                /* whose task went away in the middle of a lookup */
    unsigned references;
};

/* On a thread's own stack. */
struct worker {
    struct request *request;           /* NULL: nobody waits for what it does */
    char host[HOST_MAX + 2], service[SERVICE_MAX + 1];
};

/* ---- lists ---- */

static void requests_init(struct requests *list) {
    list->first = NULL;
    list->last = &list->first;
}

static void requests_add(struct requests *list, struct request *r) {
    r->next = NULL;
    r->prev = list->last;
    *list->last = r;
    list->last = &r->next;
}

static void requests_remove(struct requests *list, struct request *r) {
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    else
        list->last = r->prev;
    r->prev = NULL;
}

/* ---- errors ---- */

static int error_of(int eai, int system_error) {
    switch (eai) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return system_error ? -system_error : -EIO;
    case EAI_AGAIN:
    case EAI_FAIL: /* the name servers refuse to answer: no word about the name */
        return -EHOSTUNREACH;
    case EAI_SERVICE:
    case EAI_FAMILY:
    case EAI_SOCKTYPE:
    case EAI_BADFLAGS:
        return -EINVAL;
    case EAI_OVERFLOW:
        return -ENAMETOOLONG;
    default: /* EAI_NONAME; where they exist, also EAI_NODATA and EAI_ADDRFAMILY: the name has no such address */
        return -ENOENT;
    }
}

static int look_up(const char *host, const char *service, int family, int flags, struct addrinfo **list) {
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM; /* else each address comes once per type */
    hints.ai_flags = flags;
    *list = NULL;
    errno = 0;
    int eai = rota__sys->getaddrinfo(host, service, &hints, list);
    int rc = error_of(eai, errno);
    return rc == 0 && !*list ? -ENOENT : rc;
}

/* ---- the threads ---- */

/* Under the lock, which it gives back. */
static void unref(struct rota__resolver *pool) {
    bool last = --pool->references == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    rota__free(&rota__malloc, pool, sizeof *pool);
}

/* Under the lock: the next request with its strings copied, false when the loop has closed. */
static bool take_request(struct rota__resolver *pool, struct worker *self, int *family) {
    while (!pool->queue.first && pool->inbox) {
        pool->idle++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->idle--;
    }
    struct request *r = pool->queue.first;
    if (!pool->inbox || !r)
        return false;
    requests_remove(&pool->queue, r);
    pool->queued--;
    r->worker = self;
    self->request = r;
    *family = r->family;
    (void)strcpy(self->host, r->host); /* lengths were checked */
    (void)strcpy(self->service, r->service ? r->service : "");
    return true;
}

/* Under the lock: hands the answer over. False when nobody waits for it any more. */
static bool answer(struct rota__resolver *pool, struct worker *self, int error, struct addrinfo *list) {
    struct request *r = self->request;
    if (!r)
        return false;
    self->request = NULL;
    r->worker = NULL;
    r->finished = true;
    r->error = error;
    r->list = list;
    requests_add(&pool->finished, r);
    if (!pool->posted && pool->inbox)
        pool->posted = rota__inbox_post(pool->inbox, &pool->ready) == 0;
    return true;
}

/* Under the lock: a thread that was abandoned is back; is there a place for it? */
static bool rejoin(struct rota__resolver *pool) {
    pool->abandoned--;
    if (pool->threads >= pool->max)
        return false;
    pool->threads++;
    return true;
}

static void *worker_main(void *arg) {
    struct rota__resolver *pool = arg;
    struct worker self;
    int family;
    pthread_mutex_lock(&pool->lock);
    pool->idle--; /* it was counted when it was made */
    while (take_request(pool, &self, &family)) {
        pthread_mutex_unlock(&pool->lock);
        struct addrinfo *list;
        int error = look_up(self.host, self.service[0] ? self.service : NULL, family, 0, &list);
        pthread_mutex_lock(&pool->lock);
        if (answer(pool, &self, error, list))
            continue;
        bool stays = rejoin(pool);
        if (list)
            rota__sys->freeaddrinfo(list);
        if (!stays) {
            unref(pool);
            return NULL;
        }
    }
    pool->threads--;
    unref(pool);
    return NULL;
}

/* Under the lock: threads for what is queued. A thread that was made or woken but does not run yet counts as idle,
 * as its request counts as queued: the comparison is right at any moment. Threads in abandoned lookups do not
 * count against the limit, or a few dead name servers would stop all resolution for as long as they are waited
 * for; they have a limit of their own. 0, or the error of the last attempt. */
static int need_threads(struct rota__resolver *pool) {
    while (pool->queued > pool->idle && pool->threads < pool->max &&
           pool->threads + pool->abandoned < pool->max * (1 + ABANDONED_FACTOR)) {
        pool->threads++;
        pool->idle++;
        pool->references++;
        int rc = rota__sys->thread(worker_main, pool);
        if (rc < 0) {
            pool->threads--;
            pool->idle--;
            pool->references--;
            return rc;
        }
    }
    return 0;
}

/* ---- the loop's side ---- */

/* Step 1, on the loop's stack: wakes those whose answers have come. */
static void deliver(rota_ready *ready) {
    struct rota__resolver *pool = rota__container_of(ready, struct rota__resolver, ready);
    struct request *r;
    pthread_mutex_lock(&pool->lock);
    pool->posted = false;
    while ((r = pool->finished.first)) {
        requests_remove(&pool->finished, r);
        (void)rota__wake(r->wait.task, 0);
    }
    pthread_mutex_unlock(&pool->lock);
}

static void request_leave(struct rota__wait *wait) {
    struct request *r = (struct request *)wait;
    struct rota__resolver *pool = r->pool;
    pthread_mutex_lock(&pool->lock);
    if (r->worker) {
        r->worker->request = NULL;
        r->worker = NULL;
        pool->threads--;
        pool->abandoned++;
        (void)need_threads(pool); /* failing, those who wait are served by the threads there are */
    } else if (r->finished) {
        requests_remove(&pool->finished, r);
    } else {
        requests_remove(&pool->queue, r);
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->lock);
}

static struct rota__resolver *new_pool(rota_loop *loop) {
    struct rota__resolver *pool = rota__alloc(&rota__malloc, sizeof *pool);
    if (!pool)
        return NULL;
    memset(pool, 0, sizeof *pool);
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        rota__free(&rota__malloc, pool, sizeof *pool);
        return NULL;
    }
    if (pthread_cond_init(&pool->work, NULL) != 0) {
        pthread_mutex_destroy(&pool->lock);
        rota__free(&rota__malloc, pool, sizeof *pool);
        return NULL;
    }
    pool->ready.run_ = deliver;
    pool->ready.hint_ = pool;
    pool->inbox = loop->inbox;
    pool->references = 1;
    pool->max = loop->options.threads ? loop->options.threads : THREADS_DEFAULT;
    requests_init(&pool->queue);
    requests_init(&pool->finished);
    return pool;
}

void rota__resolver_close(rota_loop *loop, struct rota__resolver *pool) {
    if (!pool || loop->forks != rota__forks)
        return; /* in a child after fork the threads do not exist, and one may have held the lock: left as it is */
    pthread_mutex_lock(&pool->lock);
    pool->inbox = NULL;
    pthread_cond_broadcast(&pool->work);
    unref(pool);
}

/* Queues r; 0, or -EAGAIN when there is no thread and none can be had. */
static int submit(struct rota__resolver *pool, struct request *r) {
    pthread_mutex_lock(&pool->lock);
    requests_add(&pool->queue, r);
    pool->queued++;
    int rc = need_threads(pool);
    if (rc < 0 && pool->threads + pool->abandoned == 0) {
        requests_remove(&pool->queue, r);
        pool->queued--;
    } else {
        rc = 0;
        if (pool->idle)
            pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

static int resolve_on_thread(rota_task *task, const char *host, const char *service, int family,
                             struct addrinfo **list) {
    struct rota__tasks *tasks = rota__tasks_of(task->loop);
    if (!tasks->resolver && !(tasks->resolver = new_pool(task->loop)))
        return -ENOMEM;
    struct request r = {
        .wait = {.what = "the addresses of a name", .on = host, .until = ROTA_FOREVER, .leave = request_leave},
        .pool = tasks->resolver, .host = host, .service = service, .family = family,
    };
    r.wait.task = task; /* a thread may be done before park is reached, though not before deliver runs */
    int rc = submit(r.pool, &r);
    if (rc < 0)
        return rc;
    task->loop->jobs++;
    rc = (int)rota__park(task, &r.wait);
    task->loop->jobs--;
    if (rc < 0) {
        /* Cancelled; perhaps after the answer came. */
        if (r.list)
            rota__sys->freeaddrinfo(r.list);
        return rc;
    }
    *list = r.list;
    return r.error;
}

/* ---- what may be asked ---- */

/* Only what names, numeric addresses and scope ids are made of: everything else would reach parsers in the C
 * library and the name server that were never meant for it. Bytes above ASCII are left to the C library. */
static bool host_byte(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80 || c == '-' ||
           c == '_' || c == '.' || c == ':' || c == '%';
}

/* Never truncated: a name that is cut off is another name. */
static int check_host(const char *host) {
    size_t n = 0;
    if (!host || !*host)
        return -EINVAL;
    while (host[n] && n <= HOST_MAX + 1) {
        if (!host_byte((unsigned char)host[n]))
            return -EINVAL;
        n++;
    }
    return n <= HOST_MAX || (n == HOST_MAX + 1 && host[n - 1] == '.') ? 0 : -ENAMETOOLONG;
}

/* getaddrinfo takes "65536", "-1" and " 80" for numbers and cuts them to 16 bits. *numeric: all digits. */
static int check_service(const char *service, bool *numeric) {
    size_t n = 0;
    unsigned value = 0;
    *numeric = true;
    if (!service)
        return 0;
    for (; service[n]; n++) {
        unsigned char c = (unsigned char)service[n];
        if (n == SERVICE_MAX || c <= ' ' || c >= 0x7f || (n == 0 && (c == '-' || c == '+')))
            return -EINVAL;
        if (c < '0' || c > '9')
            *numeric = false;
        else if (value <= 0xffff)
            value = value * 10 + (c - '0');
    }
    return n == 0 || (*numeric && value > 0xffff) ? -EINVAL : 0;
}

int rota__resolve(rota_task *task, const char *host, const char *service, int family, struct addrinfo **list,
                  bool *parked) {
    bool numeric;
    int rc = check_host(host);
    if (rc == 0)
        rc = check_service(service, &numeric);
    if (rc == 0 && family != AF_UNSPEC && family != AF_INET && family != AF_INET6)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    if (numeric) {
        rc = look_up(host, service, family, AI_NUMERICHOST | AI_NUMERICSERV, list);
        if (rc != -ENOENT)
            return rc;
    }
    *parked = true;
    return resolve_on_thread(task, host, service, family, list);
}

int rota_resolve(const char *host, const char *service, int family, rota_address *out, size_t n) {
    rota_task *task;
    struct addrinfo *list;
    bool parked = false;
    size_t used = 0;
    int rc = rota__enter(&task);
    if (rc < 0)
        return rc;
    if (!out || n == 0 || n > INT32_MAX)
        return -EINVAL;
    rc = rota__resolve(task, host, service, family, &list, &parked);
    if (rc < 0)
        return rc;
    for (struct addrinfo *a = list; a && used < n; a = a->ai_next) {
        if (a->ai_addrlen > sizeof out->addr)
            continue;
        memset(&out[used].addr, 0, sizeof out->addr);
        memcpy(&out[used].addr, a->ai_addr, a->ai_addrlen);
        out[used++].len = (socklen_t)a->ai_addrlen;
    }
    rota__sys->freeaddrinfo(list);
    if (!parked)
        rota__fast(task);
    return used ? (int)used : -ENOENT;
}
