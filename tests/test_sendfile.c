/* Bytes moved inside the kernel, and copied where that cannot be. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "rota/net.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

enum { SIZE = 300000 };

static unsigned char content[SIZE], arrived[SIZE + 16];

static int temporary(size_t n) {
    char path[] = "/tmp/rota-sendfile-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    fill_pattern(content, SIZE);
    cr_expect_eq(write(fd, content, n), (ssize_t)n);
    cr_expect_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

struct sink {
    int fd;
    size_t got;
    size_t want;
};

/* To the end, or as much as is wanted. */
static intptr_t drain(void *arg) {
    struct sink *sink = arg;
    ssize_t n = 1;
    while (n > 0 && sink->got < sink->want) {
        n = rota_read(sink->fd, arrived + sink->got, sizeof arrived - sink->got);
        sink->got += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? n : 0;
}

static rota_task *start_sink(struct sink *sink, int fd, size_t want) {
    *sink = (struct sink){.fd = fd, .want = want};
    memset(arrived, 0, sizeof arrived);
    return start(drain, sink);
}

static void nonblocking_tcp(int sv[2]) {
    tcp_pair(sv);
    nonblocking(sv[0]);
    nonblocking(sv[1]);
}

static void close_both(int sv[2]) {
    rota_close(sv[0]);
    rota_close(sv[1]);
}

static int mode; /* how the pair is made; which call is missing */

static void make_pair(int sv[2]) {
    if (mode == 0)
        nonblocking_tcp(sv);
    else if (mode == 1)
        tcp_pair(sv);
    else if (mode == 2)
        cr_expect_eq(rota_socketpair(SOCK_STREAM, sv), 0);
    else
        nonblocking_tcp(sv);
}

/* ---- sendfile ---- */

static intptr_t whole_file(void *unused) {
    int sv[2], file = temporary(SIZE);
    struct sink sink;
    size_t done = 7;
    int64_t offset = 1000;
    (void)unused;
    make_pair(sv);
    bool blocked = is_blocking(sv[0]);
    rota_task *reader = start_sink(&sink, sv[1], SIZE);
    cr_expect_eq(rota_sendfile(sv[0], file, NULL, SIZE, &done), 0);
    cr_expect_eq(done, (size_t)SIZE);
    cr_expect_eq(lseek(file, 0, SEEK_CUR), SIZE);
    cr_expect_eq(finish(reader), 0);
    cr_expect(sink.got == SIZE && memcmp(arrived, content, SIZE) == 0);

    reader = start_sink(&sink, sv[1], SIZE - 1000);
    cr_expect_eq(rota_sendfile(sv[0], file, &offset, SIZE_MAX, &done), 0);
    cr_expect_eq(done, (size_t)SIZE - 1000);
    cr_expect_eq(offset, SIZE);
    cr_expect_eq(lseek(file, 0, SEEK_CUR), SIZE);
    cr_expect_eq(finish(reader), 0);
    cr_expect(sink.got == SIZE - 1000 && memcmp(arrived, content + 1000, SIZE - 1000) == 0);

    offset = 5;
    cr_expect_eq(rota_sendfile(sv[0], file, &offset, 0, &done), 0);
    cr_expect_eq(done, 0u);
    cr_expect_eq(is_blocking(sv[0]), blocked);
    close_both(sv);
    close(file);
    return 0;
}

static void run_mode(int which, rota_fn *body) {
    mode = which;
    cr_expect_eq(run_task(body, NULL), 0);
    rota__sys = &rota__sys_real;
}

static ssize_t no_sendfile(int out, int in, int64_t *offset, size_t n) {
    (void)out, (void)in, (void)offset, (void)n;
    return -ENOSYS;
}

static ssize_t no_splice(int in, int out, size_t n) {
    (void)in, (void)out, (void)n;
    return -EINVAL;
}

Test(sendfile, to_tcp) { run_mode(0, whole_file); }
Test(sendfile, to_tcp_that_blocks) { run_mode(1, whole_file); }
Test(sendfile, to_a_unix_socket) { run_mode(2, whole_file); }
Test(sendfile, without_the_call) {
    use_shim()->sendfile = no_sendfile;
    run_mode(0, whole_file);
}

/* F24: cut off before, and in the middle. */
static intptr_t cut_off(void *unused) {
    int sv[2], file = temporary(SIZE);
    size_t done;
    struct sink sink;
    (void)unused;
    make_pair(sv);
    rota_task *reader = start_sink(&sink, sv[1], 1000);
    int64_t offset = 0;
    cr_expect_eq(ftruncate(file, 1000), 0);
    cr_expect_eq(rota_sendfile(sv[0], file, &offset, SIZE, &done), -EPIPE);
    cr_expect_eq(done, 1000u);
    cr_expect_eq(offset, 1000);
    cr_expect_eq(finish(reader), 0);
    cr_expect_eq(rota_sendfile(sv[0], file, &offset, 1, &done), -EPIPE);
    cr_expect_eq(done, 0u);
    cr_expect_eq(rota_sendfile(sv[0], file, &offset, SIZE_MAX, &done), 0);
    close_both(sv);
    close(file);
    return 0;
}

Test(sendfile, a_file_that_was_cut_off) { run_mode(0, cut_off); }
Test(sendfile, a_file_that_was_cut_off_copied) { run_mode(1, cut_off); }

struct sending {
    int out, file;
    int64_t offset;
    size_t n, done;
};

static intptr_t do_sendfile(void *arg) {
    struct sending *s = arg;
    return rota_sendfile(s->out, s->file, &s->offset, s->n, &s->done);
}

/* F24: while it waits for room. What has gone is counted; nobody hangs. */
static intptr_t cut_off_meanwhile(void *unused) {
    int sv[2], file = temporary(SIZE);
    struct sink sink;
    (void)unused;
    make_pair(sv);
    cr_expect_eq(rota_set_buffers(sv[0], 0, 8192), 0);
    cr_expect_eq(rota_set_buffers(sv[1], 8192, 0), 0);
    struct sending s = {sv[0], file, 0, SIZE, 0};
    rota_task *sender = start(do_sendfile, &s);
    cr_expect(!rota_task_done(sender), "it all went at once");
    cr_expect_eq(ftruncate(file, 10), 0);
    rota_task *reader = start_sink(&sink, sv[1], SIZE_MAX);
    cr_expect_eq(finish(sender), -EPIPE);
    cr_expect_eq((size_t)s.offset, s.done);
    rota_close(sv[0]);
    cr_expect_eq(finish(reader), 0);
    cr_expect_eq(sink.got, s.done);
    rota_close(sv[1]);
    close(file);
    return 0;
}

Test(sendfile, a_file_that_is_cut_off_meanwhile) { run_mode(0, cut_off_meanwhile); }
Test(sendfile, a_file_that_is_cut_off_meanwhile_copied) { run_mode(1, cut_off_meanwhile); }

/* Goes on where a cancellation has ended it. */
static intptr_t interrupted(void *unused) {
    int sv[2], file = temporary(SIZE);
    struct sink sink;
    (void)unused;
    make_pair(sv);
    cr_expect_eq(rota_set_buffers(sv[0], 0, 8192), 0);
    struct sending s = {sv[0], file, 0, SIZE, 0};
    rota_task *sender = start(do_sendfile, &s);
    cr_expect(!rota_task_done(sender));
    rota_cancel(sender, "test");
    cr_expect_eq(finish(sender), -ECANCELED);
    cr_expect(s.done > 0 && s.done < SIZE && (size_t)s.offset == s.done);
    rota_task *reader = start_sink(&sink, sv[1], SIZE);
    cr_expect_eq(rota_sendfile(sv[0], file, &s.offset, SIZE_MAX, NULL), 0);
    cr_expect_eq(finish(reader), 0);
    cr_expect(sink.got == SIZE && memcmp(arrived, content, SIZE) == 0);
    close_both(sv);
    close(file);
    return 0;
}

Test(sendfile, goes_on_after_a_cancellation) { run_mode(0, interrupted); }
Test(sendfile, goes_on_after_a_cancellation_copied) { run_mode(1, interrupted); }

/* The peer is gone: an error, and no signal, whose default would end this test. */
static intptr_t nobody_reads(void *unused) {
    int sv[2], file = temporary(SIZE), rc = 0;
    (void)unused;
    make_pair(sv);
    rota_close(sv[1]);
    for (int i = 0; i < 100 && rc == 0; i++) {
        int64_t offset = 0;
        rc = rota_sendfile(sv[0], file, &offset, SIZE, NULL);
    }
    cr_expect(rc == -EPIPE || rc == -ECONNRESET, "%d", rc);
    rota_close(sv[0]);
    close(file);
    return 0;
}

Test(sendfile, nobody_reads) { run_mode(0, nobody_reads); }
Test(sendfile, nobody_reads_a_unix_socket) { run_mode(2, nobody_reads); }

Task_test(sendfile, to_a_file_and_to_a_pipe) {
    int file = temporary(1000), copy = temporary(0), fds[2];
    int64_t offset = 0;
    size_t done;
    struct stat st;
    cr_expect_eq(rota_sendfile(copy, file, &offset, 1000, &done), 0);
    cr_expect_eq(fstat(copy, &st), 0);
    cr_expect_eq(st.st_size, 1000);
    cr_expect_eq(rota_pipe(fds), 0);
    offset = 0;
    cr_expect_eq(rota_sendfile(fds[1], file, &offset, 1000, &done), 0);
    cr_expect_eq(rota_read(fds[0], arrived, sizeof arrived), 1000);
    cr_expect(has_pattern(arrived, 1000));
    close_both(fds);
    close(file);
    close(copy);
    return 0;
}

Task_test(sendfile, bad_arguments) {
    int sv[2], file = temporary(10);
    int64_t negative = -1, offset = 0;
    size_t done = 9;
    nonblocking_tcp(sv);
    cr_expect_eq(rota_sendfile(sv[0], sv[1], NULL, 1, &done), -EINVAL);
    cr_expect_eq(done, 0u);
    cr_expect_eq(rota_sendfile(sv[0], file, &negative, 1, NULL), -EINVAL);
    cr_expect_eq(negative, -1);
    cr_expect_eq(rota_sendfile(-1, file, &offset, 1, NULL), -EBADF);
    cr_expect_eq(rota_sendfile(sv[0], -1, &offset, 1, NULL), -EBADF);
    close_both(sv);
    close(file);
    return 0;
}

Test(sendfile, outside_of_tasks) {
    size_t done = 9;
    cr_expect_eq(rota_sendfile(0, 0, NULL, 1, &done), -EPERM);
    cr_expect_eq(done, 0u);
    cr_expect_eq(rota_splice(0, 0, 1, &done), -EPERM);
}

/* ---- splice ---- */

struct splicing {
    int in, out;
    size_t n, done;
};

static intptr_t do_splice(void *arg) {
    struct splicing *s = arg;
    return rota_splice(s->in, s->out, s->n, &s->done);
}

static intptr_t feed(void *fd) {
    int rc = rota_write_all((int)(intptr_t)fd, content, SIZE, NULL);
    rota_close((int)(intptr_t)fd);
    return rc;
}

/* A relay: one end is fed, the other drained, both as fast as they can. */
static intptr_t relay(void *unused) {
    int left[2], right[2];
    struct sink sink;
    (void)unused;
    fill_pattern(content, SIZE);
    make_pair(left);
    make_pair(right);
    struct splicing s = {left[1], right[0], SIZE_MAX, 0};
    rota_task *splicer = start(do_splice, &s);
    rota_task *feeder = start(feed, (void *)(intptr_t)left[0]);
    rota_task *reader = start_sink(&sink, right[1], SIZE);
    cr_expect_eq(finish(feeder), 0);
    cr_expect_eq(finish(splicer), 0);
    cr_expect_eq(s.done, (size_t)SIZE);
    cr_expect_eq(finish(reader), 0);
    cr_expect(sink.got == SIZE && memcmp(arrived, content, SIZE) == 0);
    rota_close(left[1]);
    close_both(right);
    return 0;
}

Test(splice, between_connections) { run_mode(0, relay); }
Test(splice, between_connections_that_block) { run_mode(1, relay); }
Test(splice, between_unix_sockets) { run_mode(2, relay); }
Test(splice, without_the_call) {
    use_shim()->splice = no_splice;
    run_mode(0, relay);
}

static int splices;

static ssize_t splice_in_only(int in, int out, size_t n) {
    return splices++ % 2 ? -EINVAL : rota__sys_real.splice(in, out, n);
}

/* What is in the pipe when the second half refuses is not lost. */
Test(splice, half_of_it_is_refused, .disabled = NOT_LINUX) {
    use_shim()->splice = splice_in_only;
    run_mode(0, relay);
}

Task_test(splice, exactly_n) {
    int left[2], right[2];
    char buf[16] = "";
    size_t done;
    nonblocking_tcp(left);
    nonblocking_tcp(right);
    cr_expect_eq(rota_write(left[0], "0123456789", 10), 10);
    cr_expect_eq(rota_splice(left[1], right[0], 4, &done), 0);
    cr_expect_eq(done, 4u);
    cr_expect_eq(rota_read(right[1], buf, sizeof buf), 4);
    cr_expect_eq(rota_read(left[1], buf, sizeof buf), 6);
    cr_expect_eq(rota_splice(left[1], right[0], 0, &done), 0);
    cr_expect_eq(rota_write(left[0], "ab", 2), 2);
    rota_close(left[0]);
    cr_expect_eq(rota_splice(left[1], right[0], 4, &done), -EPIPE);
    cr_expect_eq(done, 2u);
    rota_close(left[1]);
    close_both(right);
    return 0;
}

Task_test(splice, files_pipes_and_devices) {
    int file = temporary(SIZE), copy = temporary(0), null = open("/dev/null", O_WRONLY), fds[2];
    size_t done;
    struct stat st;
    cr_expect_eq(rota_splice(file, copy, SIZE_MAX, &done), 0);
    cr_expect_eq(done, (size_t)SIZE);
    cr_expect_eq(fstat(copy, &st), 0);
    cr_expect_eq(st.st_size, SIZE);
    cr_expect_eq(lseek(file, 0, SEEK_SET), 0);
    cr_expect_eq(rota_splice(file, null, SIZE, &done), 0);
    cr_expect_eq(rota_pipe(fds), 0);
    cr_expect_eq(rota_write(fds[1], "abc", 3), 3);
    rota_close(fds[1]);
    cr_expect_eq(lseek(copy, 0, SEEK_SET), 0);
    cr_expect_eq(rota_splice(fds[0], copy, SIZE_MAX, &done), 0);
    cr_expect_eq(done, 3u);
    rota_close(fds[0]);
    close(file);
    close(copy);
    rota_close(null);
    return 0;
}

/* The other end is gone, or the number of descriptors has its end. */
Task_test(splice, what_goes_wrong) {
    int left[2], right[2], rc = 0;
    size_t done;
    struct rlimit limit, small;
    nonblocking_tcp(left);
    nonblocking_tcp(right);
    cr_expect_eq(rota_splice(-1, right[0], 1, &done), -EBADF);
    cr_expect_eq(rota_splice(left[1], -1, 1, &done), -EBADF);
    rota_close(right[1]);
    for (int i = 0; i < 100 && rc == 0; i++) {
        cr_expect_eq(rota_write(left[0], "x", 1), 1);
        rc = rota_splice(left[1], right[0], 1, &done);
    }
    cr_expect(rc == -EPIPE || rc == -ECONNRESET, "%d", rc);
    cr_expect_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    small = limit;
    small.rlim_cur = (rlim_t)right[1];
    cr_expect_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
    rc = rota_splice(left[1], right[0], 1, &done);
    cr_expect_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect_eq(rc, NOT_LINUX ? rc : -EMFILE);
    close_both(left);
    rota_close(right[0]);
    return 0;
}
