/* SPDX-License-Identifier: MIT */
/*
 * What a confined slot cannot do any more, and that what it needs still works. Each case runs in a
 * child, because rights do not come back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "sandbox.h"

static char root[] = "/tmp/lathe-sandbox-XXXXXX";

/* In the child: the number of the line that went wrong becomes the exit status of the case. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #condition, errno);              \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void in_child(void (*body)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static const char *path_of(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % LATHE_COUNT(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static void make_file(const char *name)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(root) || mkdir(path_of("in"), 0700) < 0 || mkdir(path_of("out"), 0700) < 0 ||
        mkdir(path_of("work"), 0700) < 0 || mkdir(path_of("dri"), 0700) < 0 ||
        mkdir(path_of("driver"), 0700) < 0)
        return -1;
    make_file("in/movie.mp4");
    make_file("in/other.txt");
    make_file("work/plan.json");
    make_file("out/old");
    make_file("dri/renderD128");
    make_file("driver/state");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return lathe_remove_tree(root, NULL);
}

static void apply_limits(void)
{
    CHECK(setenv(LATHE_SLOT_ENV_MEMORY, "8589934592", 1) == 0);
    CHECK(lathe_sandbox_limits(NULL) == 0);
    struct rlimit limit;
    struct lathe_order order;
    lathe_order_init(&order);
    order.gpu_family = LATHE_ENCODER_NVENC;
    CHECK(lathe_sandbox_memory(&order, NULL) == 0);
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
    order.gpu_family = LATHE_ENCODER_AUTO;
    CHECK(lathe_sandbox_memory(&order, NULL) == 0);
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
    if (!LATHE_SLOT_SANITIZED) {
        CHECK(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur == 8589934592);
        void *much = malloc((size_t)9 << 30);
        CHECK(!much);
    }
    char name[64];
    snprintf(name, sizeof(name), "/proc/%d/environ", (int)getppid());
    CHECK(geteuid() != 0 || try_open(name, O_RDONLY) < 0);
    CHECK(try_open(path_of("in/movie.mp4"), O_RDONLY) == 0);
    CHECK(setenv(LATHE_SLOT_ENV_MEMORY, "lots", 1) == 0);
    CHECK(LATHE_SLOT_SANITIZED || lathe_sandbox_memory(&order, NULL) == -EINVAL);
}

static void test_limits(void **state)
{
    (void)state;
    in_child(apply_limits);
}

#ifdef LATHE_HAVE_SECCOMP
static void *idle(void *opaque)
{
    return opaque;
}

static void apply_filter(void)
{
    const char *movie = path_of("in/movie.mp4");
    CHECK(lathe_sandbox_syscalls(NULL) == 0);
    CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM);
    CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM);
    char *const argv[] = {(char *)"true", NULL};
    CHECK(execv("/bin/true", argv) == -1 && errno == EPERM);
    CHECK(mount("none", root, "tmpfs", 0, NULL) == -1 && errno == EPERM);
    CHECK(kill(getppid(), 0) == -1 && errno == EPERM);
    CHECK(kill(-1, 0) == -1 && errno == EPERM);
    CHECK(chmod(movie, 0777) == -1 && errno == EPERM);
    CHECK(truncate(movie, 0) == -1 && errno == EPERM);
    CHECK(try_open(movie, O_RDONLY | O_TRUNC) == -EPERM);
    CHECK(symlink("/", path_of("out/link")) == -1 && errno == EPERM);
    CHECK(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == EPERM);
    if (!LATHE_SLOT_SANITIZED) {
        CHECK(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == -1 && errno == EPERM);
        CHECK(fork() == -1 && errno == EPERM);
    }
    /* and what media work needs */
    CHECK(kill(getpid(), 0) == 0);
    CHECK(try_open(movie, O_RDONLY) == 0);
    CHECK(try_open(path_of("out/trunc"), O_WRONLY | O_CREAT | O_TRUNC) == 0);
    CHECK(rename(path_of("out/trunc"), path_of("out/renamed")) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, idle, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(send(pair[0], "x", 1, MSG_NOSIGNAL) == 1);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void test_system_calls(void **state)
{
    (void)state;
    in_child(apply_filter);
}

static void abort_filtered(void)
{
    CHECK(lathe_sandbox_limits(NULL) == 0);
    CHECK(lathe_sandbox_syscalls(NULL) == 0);
    abort();
}

/* A crash must stay a crash, not turn into a loop around a denied signal. */
static void test_abort_still_ends_the_process(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        abort_filtered();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}
#endif

static void confine(enum lathe_verb verb, enum lathe_encoder gpu_family)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = verb;
    order.gpu_family = gpu_family;
    order.source_path = strdup(path_of("in/movie.mp4"));
    order.plan_path = strdup(path_of("work/plan.json"));
    order.out_paths[0] = strdup(path_of("out/a.mp4"));
    CHECK(lathe_sandbox_files(&order, NULL) == 1);
    lathe_order_finish(&order);
}

static void apply_chunk_rules(void)
{
    confine(LATHE_VERB_CHUNK, LATHE_ENCODER_AUTO);
    CHECK(try_open(path_of("in/movie.mp4"), O_RDONLY) == 0);
    CHECK(try_open(path_of("work/plan.json"), O_RDONLY) == 0);
    CHECK(try_open(path_of("out/a.mp4"), O_RDWR | O_CREAT | O_TRUNC) == 0);
    CHECK(rename(path_of("out/a.mp4"), path_of("out/b.mp4")) == 0);
    CHECK(unlink(path_of("out/b.mp4")) == 0);
    CHECK(try_open("/proc/self/maps", O_RDONLY) == 0);
    CHECK(try_open("/dev/null", O_RDWR) == 0);
    CHECK(try_open("/dev/urandom", O_RDONLY) == 0);

    CHECK(try_open("/etc/passwd", O_RDONLY) == -EACCES);
    CHECK(try_open(path_of("in/other.txt"), O_RDONLY) == -EACCES);
    CHECK(try_open(path_of("in"), O_RDONLY | O_DIRECTORY) == -EACCES);
    CHECK(try_open(path_of("in/movie.mp4"), O_RDWR) == -EACCES);
    CHECK(try_open(path_of("work/plan.json"), O_WRONLY) == -EACCES);
    CHECK(try_open(path_of("in/new"), O_WRONLY | O_CREAT) == -EACCES);
    CHECK(unlink(path_of("in/other.txt")) == -1 && errno == EACCES);
    CHECK(mkdir(path_of("out/folder"), 0700) == -1 && errno == EACCES);
    CHECK(symlink("/etc/passwd", path_of("out/link")) == -1 && errno == EACCES);
    CHECK(rename(path_of("out/old"), path_of("in/old")) == -1);
    char name[64];
    snprintf(name, sizeof(name), "/proc/%d/environ", (int)getppid());
    CHECK(try_open(name, O_RDONLY) < 0);
}

static void apply_split_rules(void)
{
    confine(LATHE_VERB_SPLIT, LATHE_ENCODER_AUTO);
    CHECK(try_open(path_of("work/plan.json"), O_WRONLY | O_TRUNC) == 0);
    CHECK(try_open(path_of("in/movie.mp4"), O_RDONLY) == 0);
    CHECK(try_open(path_of("in/other.txt"), O_RDONLY) == -EACCES);
}

static void name_gpu_files(void)
{
    CHECK(setenv("LATHE_SLOT_DRI_DIR", path_of("dri"), 1) == 0);
    CHECK(setenv(LATHE_SLOT_ENV_FILES, path_of("driver"), 1) == 0);
    CHECK(try_open(path_of("dri/renderD128"), O_RDWR) == 0);
}

static void apply_software_rules(void)
{
    name_gpu_files();
    confine(LATHE_VERB_CHUNK, LATHE_ENCODER_AUTO);
    CHECK(try_open(path_of("dri/renderD128"), O_RDONLY) == -EACCES);
    CHECK(try_open(path_of("driver/state"), O_RDONLY) == -EACCES);
    CHECK(try_open("/dev/dri", O_RDONLY | O_DIRECTORY) < 0);
}

static void apply_gpu_rules(void)
{
    name_gpu_files();
    confine(LATHE_VERB_CHUNK, LATHE_ENCODER_VAAPI);
    CHECK(try_open(path_of("dri/renderD128"), O_RDWR) == 0);
    CHECK(try_open(path_of("driver/new"), O_RDWR | O_CREAT) == 0);
    CHECK(mkdir(path_of("driver/cache"), 0700) == 0);
    CHECK(try_open(path_of("in/other.txt"), O_RDONLY) == -EACCES);
}

static void test_files(void **state)
{
    (void)state;
    if (lathe_sandbox_landlock_version() == 0)
        skip();
    in_child(apply_chunk_rules);
    in_child(apply_split_rules);
    in_child(apply_software_rules);
    in_child(apply_gpu_rules);
}

/* The order of a dead parent is not begun. */
static void be_orphan(void)
{
    int sockets[2];
    (void)open("/dev/null", O_RDONLY | O_CLOEXEC); /* so that the descriptor of slots is taken */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0 && sockets[0] > LATHE_SLOT_FD);
    CHECK(dup2(sockets[1], LATHE_SLOT_FD) == LATHE_SLOT_FD);
    CHECK(write(sockets[0], "an order", 8) == 8);
    CHECK(lathe_sandbox_limits(NULL) == 0);
    close(sockets[0]);
    CHECK(lathe_sandbox_limits(NULL) == -ESRCH);
}

static void test_orphan(void **state)
{
    (void)state;
    in_child(be_orphan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_orphan),
#ifdef LATHE_HAVE_SECCOMP
        cmocka_unit_test(test_system_calls), cmocka_unit_test(test_abort_still_ends_the_process),
#endif
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
