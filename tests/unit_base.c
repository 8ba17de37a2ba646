/* SPDX-License-Identifier: MIT */
/*
 * The base layer: errors that stay one line, files that are whole, tokens and clocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lathe/base.h"
#include "lathe/log.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/lathe-base-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return lathe_remove_tree(folder, NULL);
}

static char *in_folder(const char *name)
{
    char *path = lathe_format("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

static void test_error_text(void **state)
{
    (void)state;
    struct lathe_error err = {0};
    assert_int_equal(lathe_error_exit_code(&err), 0);
    lathe_error_prefix(&err, "nothing to prefix");
    lathe_error_hint(&err, "nothing to advise");
    assert_string_equal(err.what, "");
    assert_string_equal(err.hint, "");
    assert_int_equal(lathe_error_set(NULL, -EIO, LATHE_FAULT_INPUT, "no place"), -EIO);

    int r = lathe_error_set(&err, -EIO, LATHE_FAULT_SERVER, "first\nsecond\t%s", "third");
    assert_int_equal(r, -EIO);
    assert_string_equal(err.what, "first second third");
    assert_true(err.retriable);
    lathe_error_hint(&err, "try %d", 2);
    lathe_error_prefix(&err, "chunk %d", 7);
    assert_string_equal(err.what, "chunk 7: first second third");
    assert_string_equal(err.hint, "try 2");
    /* Its own text may be among the arguments. */
    lathe_error_set(&err, -EINVAL, LATHE_FAULT_INPUT, "again: %s", err.what);
    assert_string_equal(err.what, "again: chunk 7: first second third");
    assert_string_equal(err.hint, "");
    assert_false(err.retriable);

    char large[2000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    lathe_error_set(&err, -EIO, LATHE_FAULT_INPUT, "%s", large);
    assert_int_equal(strlen(err.what), sizeof(err.what) - 1);
    lathe_error_prefix(&err, "p");
    assert_memory_equal(err.what, "p: xxx", 6);
    assert_int_equal(strlen(err.what), sizeof(err.what) - 1);
    lathe_error_prefix(&err, "%s", large);
    assert_int_equal(strlen(err.what), sizeof(err.what) - 1);
}

static void test_error_faults(void **state)
{
    (void)state;
    const struct {
        enum lathe_fault fault;
        const char *name;
        int exit_code;
        bool retriable;
    } faults[] = {
        {LATHE_FAULT_INTERNAL, "internal", 1, true},
        {LATHE_FAULT_INPUT, "input", 1, false},
        {LATHE_FAULT_USAGE, "usage", 2, false},
        {LATHE_FAULT_CONFIG, "config", 78, false},
        {LATHE_FAULT_RESOURCE, "resource", 1, true},
        {LATHE_FAULT_SERVER, "server", 69, true},
        {LATHE_FAULT_INTERRUPTED, "interrupted", 130, false},
    };
    struct lathe_error err = {0};
    for (size_t i = 0; i < LATHE_COUNT(faults); i++) {
        lathe_error_set(&err, -EIO, faults[i].fault, "x");
        assert_int_equal(lathe_error_exit_code(&err), faults[i].exit_code);
        assert_int_equal(err.retriable, faults[i].retriable);
        assert_string_equal(lathe_fault_name(faults[i].fault), faults[i].name);
        assert_int_equal(lathe_fault_from_name(faults[i].name), faults[i].fault);
    }
    assert_int_equal(lathe_fault_from_name("nonsense"), LATHE_FAULT_INTERNAL);
    assert_int_equal(lathe_fault_from_name(NULL), LATHE_FAULT_INTERNAL);
    assert_int_equal(lathe_error_errno(&err, -ENOSPC, "cannot write %s", "f"), -ENOSPC);
    assert_int_equal(err.fault, LATHE_FAULT_RESOURCE);
    assert_string_equal(err.what, "cannot write f: No space left on device");
    lathe_error_errno(&err, -ENOENT, "cannot open f");
    assert_int_equal(err.fault, LATHE_FAULT_INPUT);
    assert_int_equal(lathe_error_nomem(&err), -ENOMEM);
    assert_int_equal(err.fault, LATHE_FAULT_RESOURCE);
}

static int hook_calls;

static void count_hook(void *opaque)
{
    (void)opaque;
    hook_calls++;
}

static void test_log(void **state)
{
    (void)state;
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    assert_true(saved >= 0);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    lathe_log_set_level(LATHE_LOG_INFO);
    lathe_log_set_hook(count_hook, NULL);
    char large[5000];
    memset(large, 'y', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    lathe_log_debug("dropped");
    lathe_log_info("two\nlines %d", 2);
    lathe_log_error("%s", large);
    lathe_log_set_hook(NULL, NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    char text[8192] = {0};
    size_t used = 0;
    for (ssize_t n; (n = read(fds[0], text + used, sizeof(text) - 1 - used)) > 0;)
        used += (size_t)n;
    close(fds[0]);
    assert_int_equal(hook_calls, 2);
    const char expected[] = "lathe: info: two lines 2\nlathe: error: yyy";
    assert_memory_equal(text, expected, sizeof(expected) - 1);
    assert_ptr_equal(strchr(strchr(text, '\n') + 1, '\n'), text + used - 1); /* two lines in all */
    lathe_log_set_level(LATHE_LOG_WARNING);
}

/* What stderr gets while `f` logs. malloc'd. */
static char *stderr_of(void (*f)(void))
{
    int saved = dup(STDERR_FILENO);
    _cleanup_fclose_ FILE *file = tmpfile();
    assert_non_null(file);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    f();
    dup2(saved, STDERR_FILENO);
    close(saved);
    char *text = calloc(1, 8192);
    assert_non_null(text);
    rewind(file);
    assert_true(fread(text, 1, 8191, file) > 0);
    return text;
}

static void log_an_event(void)
{
    const struct lathe_log_fields fields = {
        .job = "j1", .task = "chunk", .chunk = 7, .attempt = 2, .device = "nvenc:0"};
    lathe_log_event(LATHE_LOG_WARNING, &fields, "it \"broke\"\nin C:\\%d", 1);
}

static void log_too_much(void)
{
    char large[5000];
    memset(large, '"', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    lathe_log_warning("%s", large);
}

static void test_log_fields(void **state)
{
    (void)state;
    _cleanup_free_ char *plain = stderr_of(log_an_event);
    assert_string_equal(plain, "lathe: warning: job j1: chunk 7: it \"broke\" in C:\\1\n");
    lathe_log_set_format(LATHE_LOG_JSON);
    _cleanup_free_ char *json = stderr_of(log_an_event);
    _cleanup_free_ char *large = stderr_of(log_too_much);
    lathe_log_set_format(LATHE_LOG_TEXT);
    const char *rest = strstr(json, "\",\"level\":");
    assert_non_null(rest);
    assert_memory_equal(json, "{\"time\":\"2", 10);
    assert_string_equal(rest, "\",\"level\":\"warning\",\"job\":\"j1\",\"task\":\"chunk\","
                              "\"chunk\":7,\"attempt\":2,\"device\":\"nvenc:0\","
                              "\"message\":\"it \\\"broke\\\" in C:\\\\1\"}\n");
    /* still an object when the message is cut off */
    assert_string_equal(large + strlen(large) - 5, "\\\"\"}\n");
    assert_true(strlen(large) <= 2048);
}

static void test_cancel(void **state)
{
    (void)state;
    struct lathe_cancel *cancel = NULL;
    assert_false(lathe_cancel_is_triggered(NULL));
    assert_int_equal(lathe_cancel_fd(NULL), -1);
    lathe_cancel_trigger(NULL);
    lathe_cancel_destroy(NULL);
    assert_int_equal(lathe_cancel_create(&cancel), 0);
    struct pollfd fd = {.fd = lathe_cancel_fd(cancel), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_false(lathe_cancel_is_triggered(cancel));
    lathe_cancel_trigger(cancel);
    lathe_cancel_trigger(cancel);
    assert_true(lathe_cancel_is_triggered(cancel));
    for (int i = 0; i < 2; i++)
        assert_int_equal(poll(&fd, 1, 0), 1); /* for ever */
    lathe_cancel_destroy(cancel);
}

static void test_cancel_below(void **state)
{
    (void)state;
    for (int by_parent = 0; by_parent < 2; by_parent++) {
        struct lathe_cancel *parent = NULL, *below = NULL, *lower = NULL;
        assert_int_equal(lathe_cancel_create(&parent), 0);
        assert_int_equal(lathe_cancel_create_below(parent, &below), 0);
        assert_int_equal(lathe_cancel_create_below(below, &lower), 0);
        struct pollfd fd = {.fd = lathe_cancel_fd(lower), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 0), 0);
        assert_false(lathe_cancel_is_triggered(lower));
        lathe_cancel_trigger(by_parent ? parent : below);
        assert_int_equal(poll(&fd, 1, 0), 1);
        assert_true(lathe_cancel_is_triggered(lower));
        assert_true(lathe_cancel_is_triggered(below));
        assert_int_equal(lathe_cancel_is_triggered(parent), by_parent);
        lathe_cancel_destroy(lower);
        lathe_cancel_destroy(below);
        lathe_cancel_destroy(parent);
    }
    struct lathe_cancel *alone = NULL;
    assert_int_equal(lathe_cancel_create_below(NULL, &alone), 0);
    assert_false(lathe_cancel_is_triggered(alone));
    lathe_cancel_trigger(alone);
    assert_true(lathe_cancel_is_triggered(alone));
    lathe_cancel_destroy(alone);
}

static void test_clocks_and_ids(void **state)
{
    (void)state;
    int64_t before = lathe_clock_monotonic_us();
    assert_true(before > 0);
    assert_true(lathe_clock_monotonic_us() >= before);
    assert_true(lathe_clock_wall_us() > 1700000000LL * 1000000);
    char boot[2][37];
    assert_int_equal(lathe_clock_boot_id(boot[0]), 0);
    assert_int_equal(lathe_clock_boot_id(boot[1]), 0);
    assert_int_equal(strlen(boot[0]), 36);
    assert_string_equal(boot[0], boot[1]);

    char last[37] = "", id[37];
    for (int i = 0; i < 100; i++) {
        assert_int_equal(lathe_uuid7(id), 0);
        assert_int_equal(strspn(id, "0123456789abcdef-"), 36);
        assert_int_equal(strlen(id), 36);
        assert_int_equal(id[14], '7');
        assert_non_null(strchr("89ab", id[19]));
        assert_string_not_equal(id, last);
        assert_true(strncmp(id, last, 13) >= 0); /* the milliseconds come first */
        memcpy(last, id, sizeof(last));
    }
}

static void test_write_and_read(void **state)
{
    (void)state;
    _cleanup_free_ char *path = in_folder("file");
    char *data = NULL;
    size_t size = 0;
    struct lathe_error err = {0};
    assert_int_equal(lathe_read_file(path, 10, &data, &size, &err), -ENOENT);
    assert_null(data);
    assert_int_equal(err.fault, LATHE_FAULT_INPUT);
    assert_int_equal(lathe_write_file_atomic(path, "0123456789", 10, &err), 0);
    assert_int_equal(lathe_read_file(path, 10, &data, &size, &err), 0);
    assert_int_equal(size, 10);
    assert_string_equal(data, "0123456789");
    free(data);
    assert_int_equal(lathe_read_file(path, 9, &data, &size, NULL), -EFBIG);
    assert_int_equal(lathe_write_file_atomic(path, "", 0, &err), 0);
    assert_int_equal(lathe_read_file(path, 9, &data, &size, NULL), 0);
    assert_int_equal(size, 0);
    assert_string_equal(data, "");
    free(data);
    assert_int_equal(lathe_read_file(folder, 9, &data, NULL, NULL), -EISDIR);
    assert_int_equal(lathe_read_file("/proc/self/status", 1 << 20, &data, &size, NULL), 0);
    assert_int_equal(strlen(data), size); /* files of unknown size too */
    free(data);
    _cleanup_free_ char *nowhere = in_folder("no/such/folder");
    assert_int_equal(lathe_write_file_atomic(nowhere, "x", 1, &err), -ENOENT);
}

static void test_secrets(void **state)
{
    (void)state;
    _cleanup_free_ char *path = in_folder("secret");
    char *data = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_read_secret(path, 10, &data, NULL, &err), -ENOENT);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);
    assert_int_equal(lathe_write_file_atomic(path, "hunter2", 7, &err), 0);
    static const mode_t open_modes[] = {0644, 0602, 0601};
    for (size_t i = 0; i < LATHE_COUNT(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(lathe_read_secret(path, 10, &data, NULL, &err), -EACCES);
        assert_false(err.retriable);
        assert_non_null(strstr(err.hint, "chmod o="));
    }
    assert_int_equal(chmod(path, 0640), 0); /* a group may be meant to read it */
    assert_int_equal(lathe_read_secret(path, 6, &data, NULL, &err), -EFBIG);
    assert_null(data);
    assert_int_equal(lathe_read_secret(path, 7, &data, NULL, &err), 0);
    assert_string_equal(data, "hunter2");
    free(data);
}

static int write_beyond_the_limit(const char *path)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {4096, 4096};
    static char large[8192];
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return 1;
    return lathe_write_file_atomic(path, large, sizeof(large), NULL) == -EFBIG ? 0 : 2;
}

static void test_failed_write_changes_nothing(void **state)
{
    (void)state;
    _cleanup_free_ char *path = in_folder("kept");
    assert_int_equal(lathe_write_file_atomic(path, "old", 3, NULL), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(write_beyond_the_limit(path));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    _cleanup_free_ char *data = NULL;
    assert_int_equal(lathe_read_file(path, 10, &data, NULL, NULL), 0);
    assert_string_equal(data, "old");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else is left */
    assert_int_equal(mkdir(folder, 0700), 0);
}

static void test_directories(void **state)
{
    (void)state;
    _cleanup_free_ char *deep = in_folder("a/b/c/d"), *file = in_folder("a/b/file");
    _cleanup_free_ char *top = in_folder("a"), *outside = in_folder("outside");
    _cleanup_free_ char *kept = in_folder("outside/kept"), *alias = in_folder("a/link");
    assert_int_equal(lathe_mkdir_p(deep, NULL), 0);
    assert_int_equal(lathe_mkdir_p(deep, NULL), 0);
    struct stat st;
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(lathe_write_file_atomic(file, "x", 1, NULL), 0);
    assert_int_equal(lathe_mkdir_p(file, NULL), -ENOTDIR);
    _cleanup_free_ char *below_file = in_folder("a/b/file/c");
    assert_true(lathe_mkdir_p(below_file, NULL) < 0);

    assert_int_equal(lathe_mkdir_p(outside, NULL), 0);
    assert_int_equal(lathe_write_file_atomic(kept, "x", 1, NULL), 0);
    assert_int_equal(symlink(outside, alias), 0);
    assert_int_equal(lathe_remove_tree(top, NULL), 0);
    assert_int_equal(lathe_remove_tree(top, NULL), 0);
    assert_int_equal(access(top, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0); /* the link went, what it named stays */
}

static void check_move(const char *src, const char *dst)
{
    enum { SIZE = 700000 };
    char *large = malloc(SIZE);
    assert_non_null(large);
    for (int i = 0; i < SIZE; i++)
        large[i] = (char)(i * 31 + i / 256);
    assert_int_equal(lathe_write_file_atomic(src, large, SIZE, NULL), 0);
    assert_int_equal(lathe_write_file_atomic(dst, "old", 3, NULL), 0);
    assert_int_equal(lathe_move_file(src, dst, NULL), 0);
    assert_int_equal(access(src, F_OK), -1);
    char *data = NULL;
    size_t size = 0;
    assert_int_equal(lathe_read_file(dst, SIZE, &data, &size, NULL), 0);
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, large, SIZE);
    free(data);
    free(large);
    _cleanup_free_ char *part = lathe_format("%s.part", dst);
    assert_int_equal(access(part, F_OK), -1);
}

static void test_move(void **state)
{
    (void)state;
    _cleanup_free_ char *src = in_folder("src"), *dst = in_folder("dst");
    assert_int_equal(lathe_move_file(src, dst, NULL), -ENOENT);
    check_move(src, dst);
    if (access("/dev/shm", W_OK) == 0) { /* usually another file system */
        _cleanup_free_ char *far_dst = lathe_format("/dev/shm/lathe-base-%d", (int)getpid());
        check_move(src, far_dst);
        assert_int_equal(unlink(far_dst), 0);
    }
}

static void test_copy_is_cancelled(void **state)
{
    (void)state;
    _cleanup_free_ char *src = in_folder("src"), *dst = in_folder("dst");
    assert_int_equal(lathe_write_file_atomic(src, "abc", 3, NULL), 0);
    _cleanup_close_ int in = open(src, O_RDONLY), out = open(dst, O_WRONLY | O_CREAT, 0600);
    struct lathe_cancel *cancel = NULL;
    assert_int_equal(lathe_cancel_create(&cancel), 0);
    assert_int_equal(lathe_copy_data(in, out, cancel), 0);
    lathe_cancel_trigger(cancel);
    assert_int_equal(lathe_copy_data(in, out, cancel), -ECANCELED);
    lathe_cancel_destroy(cancel);
    /* What the kernel cannot copy (here: a pipe) goes by hand. */
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "def", 3), 3);
    close(fds[1]);
    assert_int_equal(lathe_copy_data(fds[0], out, NULL), 0);
    close(fds[0]);
    _cleanup_free_ char *data = NULL;
    assert_int_equal(lathe_read_file(dst, 10, &data, NULL, NULL), 0);
    assert_string_equal(data, "abcdef");
}

static void test_host(void **state)
{
    (void)state;
    unsigned cpus = lathe_usable_cpus();
    assert_in_range(cpus, 1, 65536);
    assert_true(lathe_usable_memory_bytes() > (1u << 20));
    /* One processor by affinity is one processor. */
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && CPU_COUNT(&one) == 0)
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(lathe_usable_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(lathe_usable_cpus(), cpus);
}

int main(void)
{
#define FILES(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_text),
        cmocka_unit_test(test_error_faults),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_below),
        cmocka_unit_test(test_clocks_and_ids),
        FILES(test_write_and_read),
        FILES(test_secrets),
        FILES(test_failed_write_changes_nothing),
        FILES(test_directories),
        FILES(test_move),
        FILES(test_copy_is_cancelled),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_log_fields),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
