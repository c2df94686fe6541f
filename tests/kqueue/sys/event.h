/* kqueue(2) for tests on Linux: what kqueue.c, beside this folder, implements, and nothing more, so that code that
 * asks for a filter or flag with #if defined learns the truth. Found as <sys/event.h> through an include path that
 * only builds with -Dpoller=kqueue on Linux have.
 *
 * Names, values and the struct's order are FreeBSD's; EVFILT_EXCEPT with NOTE_OOB is from OpenBSD and macOS. An
 * absolute timer is NOTE_ABSTIME, as on the BSDs; macOS says NOTE_ABSOLUTE, and code for both must ask for both. */
#ifndef ROTA_TESTS_KQUEUE_SYS_EVENT_H
#define ROTA_TESTS_KQUEUE_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned fflags;
    int64_t data;
    void *udata;
};

/* A compound literal, so that each argument is evaluated once. */
#define EV_SET(event, ident, filter, flags, fflags, data, udata)                                            \
    (*(event) = (struct kevent){(uintptr_t)(ident), (short)(filter), (unsigned short)(flags), (fflags),     \
                                (data), (udata)})

/* filters */
#define EVFILT_READ     (-1)
#define EVFILT_WRITE    (-2)
#define EVFILT_PROC     (-5)
#define EVFILT_TIMER    (-7)
#define EVFILT_EXCEPT   (-9)
#define EVFILT_USER     (-11)

/* flags that ask for something */
#define EV_ADD          0x0001
#define EV_DELETE       0x0002
#define EV_ENABLE       0x0004
#define EV_DISABLE      0x0008
#define EV_ONESHOT      0x0010
#define EV_CLEAR        0x0020
#define EV_RECEIPT      0x0040
#define EV_DISPATCH     0x0080
/* and that tell something */
#define EV_ERROR        0x4000
#define EV_EOF          0x8000

/* EVFILT_USER */
#define NOTE_FFNOP      0x00000000u
#define NOTE_FFAND      0x40000000u
#define NOTE_FFOR       0x80000000u
#define NOTE_FFCOPY     0xc0000000u
#define NOTE_FFCTRLMASK 0xc0000000u
#define NOTE_FFLAGSMASK 0x00ffffffu
#define NOTE_TRIGGER    0x01000000u

/* EVFILT_TIMER */
#define NOTE_SECONDS    0x01u
#define NOTE_MSECONDS   0x02u
#define NOTE_USECONDS   0x04u
#define NOTE_NSECONDS   0x08u
#define NOTE_ABSTIME    0x10u

/* EVFILT_EXCEPT, EVFILT_PROC */
#define NOTE_OOB        0x04u
#define NOTE_EXIT       0x80000000u

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events, int n_events,
           const struct timespec *timeout);

#endif
