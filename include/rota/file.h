/* Files: the calls that block for as long as a disk does, run in the threads of an executor while the task waits.
 *
 * Every call is an (S) call with the rules of rota/coro.h. A path is read, and a buffer used, until the call returns;
 * it returns only when the system has let go of both. So a call that runs cannot be interrupted: cancelled, it
 * keeps waiting and succeeds (the next call refuses); one that still waits for a thread answers -ECANCELED and has done
 * nothing. To give up on a file system that hangs, use rota_offload with .abandon and memory of its own.
 *
 * Every call also answers: -EINVAL (NULL where a path, buffer or result is expected), -EAGAIN (no thread could be made
 * and there is none), -ENOMEM; and the system's own errors, as negative values: -ENOENT, -EACCES, -ENOSPC, -EIO, … Never
 * -EINTR. Descriptors are close-on-exec; they are closed with rota_close.
 */
#ifndef ROTA_FILE_H
#define ROTA_FILE_H

#include <sys/stat.h>

#include "rota/coro.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- descriptors of files ---- */

/* (S) open(2): a descriptor. mode counts with O_CREAT. Cancelled after it was opened, it is returned all the same. */
ROTA_API ROTA_CHECK int rota_file_open(const char *path, int flags, mode_t mode);

/* (S) From the descriptor's position, or from offset (which leaves the position alone). At most n bytes; fewer only at the
 * end of the file, 0 there; what was read before an error is returned, and the next call tells the error. Where the system
 * can say so, what is in the page cache is copied without a thread. -EINVAL for n > SSIZE_MAX. */
ROTA_API ROTA_CHECK ssize_t rota_file_read(int fd, void *buf, size_t n);
ROTA_API ROTA_CHECK ssize_t rota_file_pread(int fd, void *buf, size_t n, off_t offset);               /* (S) */

/* (S) All n bytes, at the position (or the end, with O_APPEND), or at offset. n, or an error; what was written before one
 * is returned first, as above. */
ROTA_API ROTA_CHECK ssize_t rota_file_write(int fd, const void *buf, size_t n);
ROTA_API ROTA_CHECK ssize_t rota_file_pwrite(int fd, const void *buf, size_t n, off_t offset);        /* (S) */

/* (S) Until what was written is on the device; data_only: without times and other metadata that nobody needs to read it
 * back (fdatasync). */
ROTA_API ROTA_CHECK int rota_file_sync(int fd, bool data_only);

/* (S) ftruncate(2). */
ROTA_API ROTA_CHECK int rota_file_truncate(int fd, off_t size);

/* (S) fstat(2). */
ROTA_API ROTA_CHECK int rota_file_fstat(int fd, struct stat *st);

/* ---- names of files ---- */

ROTA_API ROTA_CHECK int rota_file_stat(const char *path, struct stat *st);     /* (S) stat(2) */
ROTA_API ROTA_CHECK int rota_file_lstat(const char *path, struct stat *st);    /* (S) lstat(2): of a link itself */
ROTA_API ROTA_CHECK int rota_file_rename(const char *from, const char *to);    /* (S) rename(2): replaces to in one step */
ROTA_API ROTA_CHECK int rota_file_unlink(const char *path);                    /* (S) unlink(2) */
ROTA_API ROTA_CHECK int rota_file_mkdir(const char *path, mode_t mode);        /* (S) mkdir(2) */
ROTA_API ROTA_CHECK int rota_file_rmdir(const char *path);                     /* (S) rmdir(2) */

/* One name in a directory. */
typedef struct rota_file_name {
    const char *name;    /* in the listing's memory */
    unsigned char type;  /* DT_REG, DT_DIR, … of dirent.h (with -std=c11: _DEFAULT_SOURCE); DT_UNKNOWN where the file system does not tell */
    uint64_t inode;
} rota_file_name;

typedef struct rota_file_listing {
    rota_file_name *names;  /* sorted by the bytes of the name; without "." and ".." */
    size_t n;
    struct rota__listing *memory_;
} rota_file_listing;

/* (S) The names in a directory. limit: most of them (0: no limit), else -EOVERFLOW. On success the listing must be freed,
 * on the thread that made it; on failure there is nothing to free. */
ROTA_API ROTA_CHECK int rota_file_list(const char *path, size_t limit, rota_file_listing *listing);

/* Frees a listing, and makes it an empty one. NULL and an empty one are fine. Never suspends. */
ROTA_API void rota_file_listing_free(rota_file_listing *listing);

/* ---- whole files ---- */

typedef struct rota_file_data {
    char *bytes;         /* n of them, and a NUL behind, that is not counted */
    size_t n;
    size_t size_;
    rota_loop *loop_;
} rota_file_data;

/* (S) All that is in a file, also in one whose size the system does not tell (/proc). limit: most bytes (0: no limit),
 * else -EFBIG. The memory is of the loop's allocator; on failure there is nothing to free. */
ROTA_API ROTA_CHECK int rota_file_read_all(const char *path, size_t limit, rota_file_data *data);

/* Frees the bytes, and makes it an empty one. NULL and an empty one are fine. Before the loop is freed; never suspends. */
ROTA_API void rota_file_data_free(rota_file_data *data);

typedef struct rota_file_write_options {
    mode_t mode;         /* of a file that is made, as the umask allows; 0: that of the file it replaces, else 0666 */
    bool append;         /* behind what is there */
    bool exclusive;      /* -EEXIST when there is one; after another error there is none */
    bool in_place;       /* what is there is cut off and written over: an error in between leaves half a file */
    bool sync;           /* on the device before it returns, the name too */
} rota_file_write_options;

/* (S) Makes n bytes the file's content. Without append and in_place the bytes go to a new file beside it first, which then
 * replaces it: who reads sees the old content or the new one, and after an error the old one is there, and nothing else.
 * What is no regular file (a device, a pipe, a symbolic link) is written to, not replaced. */
ROTA_API ROTA_CHECK int rota_file_write_all(const char *path, const void *bytes, size_t n,
                                            const rota_file_write_options *opt);

#ifdef __cplusplus
}
#endif
#endif
