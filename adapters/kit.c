/* Servers for tests: see kit.h. The test and the keeper talk over a pair of packet sockets; a packet is an operation
 * and its arguments, and each is answered by an int. */
#include "adapters/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
# include <sys/prctl.h>
#endif

enum { PACKET = 4096, MAX_ARGS = 64 };
enum { RUN = 1, START, KILL, FREEZE, THAW };

struct packet {
    char operation, unprivileged;
    char args[PACKET - 2];      /* strings, one after the other; an empty one ends them */
};

/* ---- in the keeper ---- */

static const struct passwd *other_user(void) {
    struct passwd *user = getpwnam("postgres");
    return user ? user : getpwnam("nobody");
}

static void become_other_user(void) {
    const struct passwd *user = other_user();
    if (!user || setgid(user->pw_gid) || setuid(user->pw_uid))
        _exit(126);
}

static _Noreturn void execute(struct packet *packet) {
    char *argv[MAX_ARGS + 1];
    int n = 0, log = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    for (char *arg = packet->args; *arg && n < MAX_ARGS; arg += strlen(arg) + 1)
        argv[n++] = arg;
    argv[n] = NULL;
    dup2(log, 1);
    dup2(log, 2);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    if (packet->unprivileged && geteuid() == 0)
        become_other_user();
    execv(argv[0], argv);
    _exit(127);
}

static pid_t spawn(struct packet *packet) {
    pid_t pid = fork();
    if (pid == 0)
        execute(packet);
    if (pid > 0)
        setpgid(pid, pid);
    return pid;
}

/* The server may have children of its own: they are of its group. */
static void end_server(pid_t *pid) {
    int status;
    if (*pid > 0) {
        kill(-*pid, SIGKILL);
        kill(*pid, SIGKILL);
        while (waitpid(*pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    *pid = 0;
}

static int obey(struct packet *packet, pid_t *server) {
    int status = -1;
    pid_t pid;
    switch (packet->operation) {
    case RUN:
        pid = spawn(packet);
        while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    case START:
        return *server = spawn(packet);
    case KILL:
        end_server(server);
        return 0;
    case FREEZE:
        return kill(-*server, SIGSTOP);
    case THAW:
        return kill(-*server, SIGCONT);
    default:
        return -1;
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st, (void)type, (void)where;
    return remove(path);
}

static _Noreturn void keeper(const char *dir, int leash) {
    struct packet packet;
    pid_t server = 0;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    signal(SIGPIPE, SIG_IGN);
    while (chdir(dir) == 0 && recv(leash, &packet, sizeof packet, 0) > 0) {
        int answer = obey(&packet, &server);
        if (send(leash, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
            break;
    }
    end_server(&server);
    if (chdir("/") == 0)
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    _exit(0);
}

/* ---- in the test ---- */

void kit_open(struct kit *kit) {
    int ends[2];
    strcpy(kit->dir, "/tmp/rota-adapter-XXXXXX");
    cr_assert_not_null(mkdtemp(kit->dir));
    cr_assert_eq(chmod(kit->dir, 0755), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kit->keeper = fork();
    cr_assert_geq(kit->keeper, 0);
    if (kit->keeper == 0) {
        close(ends[0]);
        keeper(kit->dir, ends[1]);
    }
    close(ends[1]);
    kit->leash = ends[0];
}

void kit_close(struct kit *kit) {
    int status;
    if (kit->keeper <= 0)
        return;
    close(kit->leash);
    while (waitpid(kit->keeper, &status, 0) < 0 && errno == EINTR)
        ;
    kit->keeper = 0;
}

static int ask(struct kit *kit, int operation, bool unprivileged, const char *const *argv) {
    struct packet packet = {.operation = (char)operation, .unprivileged = unprivileged};
    size_t used = 0;
    int answer = -1;
    for (; argv && *argv; argv++) {
        size_t n = strlen(*argv) + 1;
        cr_assert_lt(used + n, sizeof packet.args);
        memcpy(packet.args + used, *argv, n);
        used += n;
    }
    if (send(kit->leash, &packet, sizeof packet, MSG_NOSIGNAL) < 0)
        return -1;
    while (recv(kit->leash, &answer, sizeof answer, 0) < 0 && errno == EINTR)
        ;
    return answer;
}

static void give_folder(const struct kit *kit, bool unprivileged) {
    const struct passwd *user = unprivileged && geteuid() == 0 ? other_user() : NULL;
    if (user)
        cr_assert_eq(chown(kit->dir, user->pw_uid, user->pw_gid), 0);
}

int kit_run(struct kit *kit, bool unprivileged, const char *const *argv) {
    give_folder(kit, unprivileged);
    return ask(kit, RUN, unprivileged, argv);
}

bool kit_start(struct kit *kit, bool unprivileged, const char *const *argv) {
    give_folder(kit, unprivileged);
    return ask(kit, START, unprivileged, argv) > 0;
}

void kit_kill(struct kit *kit) { ask(kit, KILL, false, NULL); }
void kit_freeze(struct kit *kit) { ask(kit, FREEZE, false, NULL); }
void kit_thaw(struct kit *kit) { ask(kit, THAW, false, NULL); }

static bool listens(const struct sockaddr *addr, socklen_t len) {
    for (int i = 0; i < 2000; i++) {
        int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = connect(fd, addr, len);
        close(fd);
        if (rc == 0)
            return true;
        nanosleep(&(struct timespec){0, 10 * 1000 * 1000}, NULL);
    }
    return false;
}

bool kit_unix_listens(const char *path) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    return listens((struct sockaddr *)&addr, sizeof addr);
}

bool kit_port_listens(int port) {
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return listens((struct sockaddr *)&addr, sizeof addr);
}

int kit_free_port(void) {
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

/* The last match: the newest version, where the pattern leaves one open. */
static bool match(const char *pattern, char *path, size_t n) {
    glob_t found;
    bool any = glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0;
    if (any)
        snprintf(path, n, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return any && access(path, X_OK) == 0;
}

const char *kit_program(const char *name, const char *other_folders) {
    static char path[512];
    char folders[1024], pattern[512], *rest = folders;
    const char *usual = getenv("PATH");
    snprintf(folders, sizeof folders, "%s:/usr/sbin:%s", usual ? usual : "/usr/bin",
             other_folders ? other_folders : "");
    for (char *folder; (folder = strsep(&rest, ":"));) {
        snprintf(pattern, sizeof pattern, "%s/%s", folder, name);
        if (*folder == '/' && match(pattern, path, sizeof path))
            return path;
    }
    return NULL;
}

void kit_main(rota_fn *fn) {
    intptr_t outcome = -1;
    cr_expect_eq(rota_run(fn, NULL, &outcome, NULL), 0);
    cr_expect_eq(outcome, 0);
}
