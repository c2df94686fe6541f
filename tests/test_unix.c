/* Unix sockets by name: listening, dialling, datagrams, names of every length, files that are dead or none of ours. */
#include <stddef.h>
#include <sys/stat.h>

#include "rota/net.h"
#include "tests/net_kit.h"
#include "tests/sys_table.h"

static char folder[] = "/tmp/rota-unix-XXXXXX";

static void make_folder(void) { cr_assert_not_null(mkdtemp(folder)); }
static void remove_folder(void) { cr_expect_eq(rmdir(folder), 0, "something was left in it"); }

#define Unix_test(name)                                                                         \
    static intptr_t name##_task(void *unused);                                                  \
    Test(unix_socket, name, .init = make_folder, .fini = remove_folder) {                       \
        cr_expect_eq(run_task(name##_task, NULL), 0);                                           \
    }                                                                                           \
    static intptr_t name##_task(void *unused __attribute__((unused)))

static const char *in_folder(const char *name) {
    static char text[4][128];
    static unsigned next;
    char *at = text[next++ % 4];
    snprintf(at, sizeof *text, "%s/%s", folder, name);
    return at;
}

static int mode_of(const char *path) {
    struct stat st;
    return stat(path, &st) < 0 ? -1 : (int)(st.st_mode & 07777);
}

static void expect_connects(int listener, const char *name) {
    char c;
    int fd = rota_unix_dial(name), peer = rota_accept(listener, NULL, NULL);
    cr_expect(fd >= 0 && peer >= 0, "%d, %d", fd, peer);
    cr_expect_eq(rota_write(fd, "x", 1), 1);
    cr_expect_eq(rota_read(peer, &c, 1), 1);
    rota_close(fd);
    rota_close(peer);
}

Unix_test(listen_and_dial) {
    const char *path = in_folder("socket");
    int listener = rota_unix_listen(path, NULL);
    cr_expect_geq(listener, 0);
    cr_expect(!is_blocking(listener) && fcntl(listener, F_GETFD) & FD_CLOEXEC);
    expect_connects(listener, path);
    rota_address a;
    char text[ROTA_ADDRESS_TEXT];
    cr_expect_eq(rota_local_address(listener, &a), 0);
    cr_expect_eq(rota_address_text(&a, text, sizeof text), strlen(path));
    cr_expect_str_eq(text, path);
    rota_close(listener);
    cr_expect_eq(unlink(path), 0);
    return 0;
}

/* F19 */
Unix_test(names_of_every_length) {
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);
    for (size_t n = room - 1; n <= room + 1; n++) {
        char path[128];
        memset(path, 'n', sizeof path);
        size_t used = (size_t)snprintf(path, sizeof path, "%s/", folder);
        path[used] = 'n';
        path[n] = '\0';
        int listener = rota_unix_listen(path, NULL);
        if (n > room) {
            cr_expect_eq(listener, -ENAMETOOLONG);
            cr_expect_eq(rota_unix_dial(path), -ENAMETOOLONG);
            continue;
        }
        expect_connects(listener, path);
        rota_close(listener);
        cr_expect_eq(unlink(path), 0, "it is there under exactly that name");
    }
    return 0;
}

static intptr_t abstract_body(void *unused) {
    char name[128];
    (void)unused;
    memset(name, 'n', sizeof name);
    int used = snprintf(name, sizeof name, "@rota-test-%ld", (long)getpid());
    cr_expect_eq(used < 60, true);
    int listener = rota_unix_listen(name, NULL);
    expect_connects(listener, name);
    cr_expect_eq(rota_unix_listen(name, &(rota_unix_options){ .replace_dead = true }), -EADDRINUSE);
    rota_close(listener);
    cr_expect_eq(rota_unix_dial(name), -ECONNREFUSED);
    name[used] = 'n';
    name[108] = '\0';
    listener = rota_unix_listen(name, NULL);
    expect_connects(listener, name);
    rota_close(listener);
    name[108] = 'n';
    name[109] = '\0';
    cr_expect_eq(rota_unix_listen(name, NULL), -ENAMETOOLONG);
    cr_expect_eq(rota_unix_listen("@", NULL), -EINVAL);
    return 0;
}

/* F19 */
Test(unix_socket, abstract_names, .disabled = NOT_LINUX) { cr_expect_eq(run_task(abstract_body, NULL), 0); }

/* F19 */
Unix_test(existing_and_dead_files) {
    static const rota_unix_options replace = {.replace_dead = true};
    const char *path = in_folder("socket"), *file = in_folder("file"), *link = in_folder("link");
    cr_expect_eq(rota_unix_dial(path), -ENOENT);
    int listener = rota_unix_listen(path, NULL);
    cr_expect_eq(rota_unix_listen(path, NULL), -EADDRINUSE);
    cr_expect_eq(rota_unix_listen(path, &replace), -EADDRINUSE);
    int probe = rota_accept(listener, NULL, NULL); /* by which it was seen that somebody listens */
    rota_close(probe);
    rota_close(listener);
    cr_expect_eq(rota_unix_dial(path), -ECONNREFUSED);
    cr_expect_eq(rota_unix_listen(path, NULL), -EADDRINUSE);
    cr_expect_eq(symlink(path, link), 0);
    cr_expect_eq(rota_unix_listen(link, &replace), -EADDRINUSE);
    cr_expect_geq(listener = rota_unix_listen(path, &replace), 0);
    expect_connects(listener, path);
    rota_close(listener);

    close(open(file, O_CREAT | O_WRONLY, 0600));
    cr_expect_eq(rota_unix_listen(file, &replace), -EADDRINUSE);
    cr_expect_eq(unlink(file), 0, "a file that is no socket stays");
    cr_expect_eq(unlink(path), 0);
    cr_expect_eq(unlink(link), 0);
    return 0;
}

Unix_test(mode_and_umask) {
    const char *path = in_folder("socket");
    mode_t before = umask(0027);
    int listener = rota_unix_listen(path, NULL);
    cr_expect_eq(mode_of(path), 0750);
    rota_close(listener);
    listener = rota_unix_listen(path, &(rota_unix_options){.mode = 0666, .replace_dead = true});
    cr_expect_eq(mode_of(path), 0666);
    rota_close(listener);
    cr_expect_eq(unlink(path), 0);
    cr_expect_eq(rota_unix_listen(path, &(rota_unix_options){.mode = 010000}), -EINVAL);
    umask(before);
    return 0;
}

static int no_mode(const char *path, unsigned mode) { (void)path, (void)mode; return -EPERM; }
static int no_listen(int fd, int backlog) { (void)fd, (void)backlog; return -ENOBUFS; }

static intptr_t failing_body(void *unused) {
    (void)unused;
    cr_expect_eq(rota_unix_listen(in_folder("a"), &(rota_unix_options){.mode = 0600}), -EPERM);
    cr_expect_eq(rota_unix_listen(in_folder("b"), NULL), -ENOBUFS);
    return 0;
}

Test(unix_socket, failing_it_leaves_no_file, .init = make_folder, .fini = remove_folder) {
    use_shim()->file_mode = no_mode;
    shim.listen = no_listen;
    cr_expect_eq(run_task(failing_body, NULL), 0);
    rota__sys = &rota__sys_real;
}

Unix_test(datagrams) {
    const char *path = in_folder("server"), *own = in_folder("client");
    char buf[8];
    rota_address from = {.len = sizeof from.addr}, self;
    int server = rota_unix_bind(path, NULL), client = rota_unix_bind(own, NULL), nameless = rota_unix_bind(NULL, NULL);
    cr_expect(server >= 0 && client >= 0 && nameless >= 0);
    cr_expect_eq(rota_unix_connect(client, path), 0);
    cr_expect_eq(rota_send(client, "ask", 3, 0), 3);
    cr_expect_eq(rota_recvfrom(server, buf, sizeof buf, 0, (struct sockaddr *)&from.addr, &from.len), 3);
    cr_expect_eq(rota_unix_address(&self, own), 0);
    cr_expect(rota_address_equal(&from, &self));
    cr_expect_eq(rota_sendto(server, "answer", 6, 0, (struct sockaddr *)&from.addr, from.len), 6);
    cr_expect_eq(rota_recv(client, buf, sizeof buf, 0), 6);
    cr_expect_eq(rota_unix_connect(nameless, path), 0);
    cr_expect_eq(rota_send(nameless, "", 0, 0), 0);
    cr_expect_eq(rota_recv(server, buf, sizeof buf, 0), 0);
    cr_expect_eq(rota_unix_dial(path), -EPROTOTYPE);
    cr_expect_eq(rota_unix_bind(path, &(rota_unix_options){.replace_dead = true}), -EADDRINUSE);
    rota_close(server);
    cr_expect_eq(rota_send(nameless, "x", 1, 0), -ECONNREFUSED);
    server = rota_unix_bind(path, &(rota_unix_options){.replace_dead = true});
    cr_expect_geq(server, 0);
    rota_close(server);
    rota_close(client);
    rota_close(nameless);
    cr_expect_eq(unlink(path), 0);
    cr_expect_eq(unlink(own), 0);
    return 0;
}

Unix_test(dial_waits_for_room) {
    const char *path = in_folder("socket");
    int listener = rota_unix_listen(path, &(rota_unix_options){.backlog = 1}), fds[64], n = 0;
    while (n < 64) {
        rota_scope scope;
        rota_timeout_begin(&scope, 10 * ROTA_MS);
        fds[n] = (int)rota_scope_end(&scope, rota_unix_dial(path));
        if (fds[n] < 0)
            break;
        n++;
    }
    cr_expect(n > 0 && n < 64 && (fds[n] == -ETIMEDOUT || fds[n] == -ECONNREFUSED), "%d, %d", n, fds[n]);
    for (int i = 0; i < n; i++)
        rota_close(fds[i]);
    rota_close(listener);
    cr_expect_eq(unlink(path), 0);
    return 0;
}

Task_test(unix_socket, bad_names) {
    cr_expect_eq(rota_unix_listen("", NULL), -EINVAL);
    cr_expect_eq(rota_unix_listen(NULL, NULL), -EINVAL);
    cr_expect_eq(rota_unix_dial(""), -EINVAL);
    cr_expect_eq(rota_unix_dial(NULL), -EINVAL);
    cr_expect_eq(rota_unix_bind("", NULL), -EINVAL);
    cr_expect_eq(rota_unix_connect(0, NULL), -EINVAL);
    cr_expect_eq(rota_unix_connect(-1, "/x"), -EBADF);
    cr_expect_eq(rota_unix_listen("/nowhere/at/all", NULL), -ENOENT);
    return 0;
}

/* Without a task, without a loop: those that never suspend. */
Test(unix_socket, outside_of_tasks, .init = make_folder, .fini = remove_folder) {
    const char *path = in_folder("socket");
    int fd = rota_unix_listen(path, NULL);
    cr_expect_geq(fd, 0);
    cr_expect_eq(rota_unix_dial(path), -EPERM);
    cr_expect_eq(rota_close(fd), 0);
    cr_expect_eq(unlink(path), 0);
}

Task_test(unix_socket, who_is_there) {
    int sv[2];
    rota_peer peer = {.process = -2};
    cr_expect_eq(rota_socketpair(SOCK_STREAM, sv), 0);
    cr_expect_eq(rota_unix_peer(sv[0], &peer), 0);
    cr_expect_eq(peer.user, (int64_t)getuid());
    cr_expect_eq(peer.group, (int64_t)getgid());
    cr_expect(peer.process == (int64_t)getpid() || peer.process == -1);
    cr_expect_eq(rota_unix_peer(sv[0], NULL), -EINVAL);
    cr_expect_eq(rota_unix_peer(-1, &peer), -EBADF);
    rota_close(sv[0]);
    rota_close(sv[1]);
    return 0;
}
