/* SPDX-License-Identifier: MIT */
/*
 * The door over a real agent on the embedded drivers (with a fake slot): a file goes in and comes
 * out as descriptors; who may not come in does not; nonsense is answered and harms nobody.
 * Run as: unit_door FAKE_SLOT
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/door.h"
#include "packet.h"

#define NOBODY 65534

static const char *fake_slot;

struct bench {
    char *folder, *path, *source;
    struct lathe_cancel *cancel;
    struct lathe_agent *agent;
    struct lathe_door *door;
    pthread_t thread;
    bool running;
};

static char *inside(const struct bench *b, const char *name)
{
    char *path = lathe_format("%s/%s", b->folder, name);
    assert_non_null(path);
    return path;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    assert_non_null(b);
    *state = b;
    b->folder = strdup("/tmp/lathe-unit-door-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    setenv("LATHE_SLOT_FAKE", "", 1);
    setenv("LATHE_SLOT_FAKE_DIR", b->folder, 1);
    assert_int_equal(lathe_cancel_create(&b->cancel), 0);
    _cleanup_free_ char *queue = inside(b, "queue.db"), *db = inside(b, "state.db");
    _cleanup_free_ char *store = inside(b, "store"), *tmp = inside(b, "tmp");
    const struct lathe_agent_options options = {.queue_driver = "sqlite",
                                                .queue_location = queue,
                                                .state_driver = "sqlite",
                                                .state_location = db,
                                                .store_driver = "dir",
                                                .store_location = store,
                                                .scratch_dir = tmp,
                                                .slot_path = fake_slot,
                                                .slots = 2,
                                                .cancel = b->cancel};
    struct lathe_error err = {0};
    if (lathe_agent_open(&options, &b->agent, &err) < 0)
        fail_msg("%s", err.what);
    b->path = inside(b, "door.sock");
    b->source = inside(b, "Film.MKV");
    assert_int_equal(lathe_write_file_atomic(b->source, "not really a film", 17, NULL), 0);
    const struct lathe_door_options door = {.path = b->path, .flow = lathe_agent_flow(b->agent)};
    if (lathe_door_open(&door, &b->door, &err) < 0)
        fail_msg("%s", err.what);
    return 0;
}

static void *work(void *opaque)
{
    struct bench *b = opaque;
    (void)lathe_agent_run(b->agent, NULL, NULL, NULL, NULL);
    return NULL;
}

static void let_work(struct bench *b)
{
    assert_int_equal(pthread_create(&b->thread, NULL, work, b), 0);
    b->running = true;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    lathe_door_close(b->door);
    lathe_cancel_trigger(b->cancel);
    if (b->running)
        pthread_join(b->thread, NULL);
    lathe_agent_close(b->agent);
    lathe_cancel_destroy(b->cancel);
    int r = lathe_remove_tree(b->folder, NULL);
    free(b->folder);
    free(b->path);
    free(b->source);
    free(b);
    return r;
}

static struct lathe_door_client *enter(const struct bench *b)
{
    struct lathe_door_client *client = NULL;
    struct lathe_error err = {0};
    if (lathe_door_connect(b->path, &client, &err) < 0)
        fail_msg("%s", err.what);
    return client;
}

static void make_job(struct lathe_job *job)
{
    lathe_job_init(job);
    strcpy(job->id, "mine");
    job->source_key = strdup("/etc/passwd"); /* must not matter */
    job->source_is_local = true;
    assert_int_equal(lathe_job_add_rendition(job, "240p", NULL), 0);
    assert_int_equal(lathe_job_validate(job, NULL), 0);
}

static int submit(const struct bench *b, struct lathe_door_client *client, int flags,
                  const char *path, char id[LATHE_ID_MAX + 1], struct lathe_error *err)
{
    struct lathe_job job;
    make_job(&job);
    _cleanup_close_ int fd = open(path ? path : b->source, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    int r = lathe_door_submit(client, &job, fd, "Film.MKV", id, err);
    lathe_job_finish(&job);
    return r;
}

static void expect_text(int fd, const char *holds)
{
    char text[4096] = "";
    assert_true(read(fd, text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, holds));
}

static int count(void *opaque, const char *key, uint64_t size)
{
    (void)key;
    (void)size;
    ++*(int *)opaque;
    return 0;
}

static void a_file_goes_in_and_comes_out(void **state)
{
    struct bench *b = *state;
    struct lathe_flow *flow = lathe_agent_flow(b->agent);
    struct lathe_door_client *client = enter(b);
    struct lathe_error err = {0};
    char id[LATHE_ID_MAX + 1];
    if (submit(b, client, O_RDONLY, NULL, id, &err) < 0)
        fail_msg("%s", err.what);
    unlink(b->source); /* the worker has its own */
    _cleanup_free_ char *raw = lathe_format("raw/%s.mkv", id), *path = NULL;
    assert_int_equal(lathe_store_local_path(flow->store, raw, &path, NULL), 0);
    int fd = -1;
    uint64_t bytes = 0;
    assert_int_equal(lathe_door_fetch(client, id, "240p", &fd, &bytes, &err), -EAGAIN);
    assert_int_equal(lathe_door_remove(client, id, &err), -EBUSY);

    let_work(b);
    json_t *job = NULL, *jobs = NULL;
    assert_int_equal(lathe_door_wait(client, id, NULL, NULL, NULL, &job, &err), 0);
    assert_string_equal(json_string_value(json_object_get(job, "status")), "completed");
    const json_t *result = json_object_get(job, "result");
    const json_t *output = json_array_get(json_object_get(result, "outputs"), 0);
    assert_string_equal(json_string_value(json_object_get(output, "rendition")), "240p");
    json_decref(job);
    assert_int_equal(lathe_door_list(client, &jobs, &err), 0);
    assert_int_equal(json_array_size(jobs), 1);
    json_decref(jobs);

    assert_int_equal(lathe_door_fetch(client, id, "240p", &fd, &bytes, &err), 0);
    assert_true(bytes > 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    expect_text(fd, "[chunk 0 ");
    close(fd);
    assert_int_equal(lathe_door_fetch(client, id, "../../jobs", &fd, &bytes, &err), -EINVAL);
    assert_int_equal(lathe_door_fetch(client, id, "999p", &fd, &bytes, &err), -ENOENT);
    assert_int_equal(lathe_door_cancel(client, id, &err), -EALREADY); /* too late */
    assert_int_equal(lathe_door_retry(client, id, false, &err), -EALREADY);

    assert_int_equal(lathe_door_remove(client, id, &err), 0);
    int n = 0;
    assert_int_equal(lathe_store_list(flow->store, "", count, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(lathe_door_status(client, id, &job, &err), -ENOENT);
    lathe_door_disconnect(client);
}

static void a_job_is_cancelled(void **state)
{
    struct bench *b = *state;
    struct lathe_door_client *client = enter(b);
    struct lathe_error err = {0};
    char id[LATHE_ID_MAX + 1];
    assert_int_equal(submit(b, client, O_RDONLY, NULL, id, &err), 0);
    assert_int_equal(lathe_door_cancel(client, id, &err), 0);
    json_t *job = NULL;
    assert_int_equal(lathe_door_wait(client, id, NULL, NULL, NULL, &job, &err), 0);
    assert_string_equal(json_string_value(json_object_get(job, "status")), "cancelled");
    json_decref(job);
    assert_int_equal(lathe_door_cancel(client, id, &err), 0); /* again */

    assert_int_equal(lathe_door_retry(client, id, false, &err), 0);
    assert_int_equal(lathe_door_retry(client, id, false, &err), -EBUSY);
    assert_int_equal(lathe_door_status(client, id, &job, &err), 0);
    assert_string_equal(json_string_value(json_object_get(job, "status")), "queued");
    json_decref(job);
    assert_int_equal(lathe_door_cancel(client, id, &err), 0);
    lathe_door_disconnect(client);
}

static void waiting_ends_when_asked(void **state)
{
    struct bench *b = *state; /* nobody works: the job never ends */
    struct lathe_door_client *client = enter(b);
    struct lathe_error err = {0};
    struct lathe_cancel *enough = NULL;
    char id[LATHE_ID_MAX + 1];
    assert_int_equal(submit(b, client, O_RDONLY, NULL, id, &err), 0);
    assert_int_equal(lathe_cancel_create(&enough), 0);
    lathe_cancel_trigger(enough);
    json_t *job = NULL;
    assert_int_equal(lathe_door_wait(client, id, NULL, NULL, enough, &job, &err), -ECANCELED);
    lathe_cancel_destroy(enough);
    lathe_door_disconnect(client);
}

static void wrong_sources_are_refused(void **state)
{
    struct bench *b = *state;
    struct lathe_door_client *client = enter(b);
    struct lathe_error err = {0};
    char id[LATHE_ID_MAX + 1];
    _cleanup_free_ char *empty = inside(b, "empty");
    assert_int_equal(lathe_write_file_atomic(empty, "", 0, NULL), 0);
    assert_int_equal(submit(b, client, O_RDONLY, empty, id, &err), -EINVAL);
    assert_int_equal(err.fault, LATHE_FAULT_INPUT);
    assert_int_equal(submit(b, client, O_RDONLY, b->folder, id, &err), -EINVAL);
    assert_int_equal(submit(b, client, O_RDONLY, "/dev/zero", id, &err), -EINVAL);
    assert_int_equal(submit(b, client, O_WRONLY, NULL, id, &err), -EACCES);
    assert_int_equal(submit(b, client, O_PATH, NULL, id, &err), -EACCES);
    struct lathe_job job;
    make_job(&job);
    assert_int_equal(lathe_door_submit(client, &job, -1, "x", id, &err), -EBADF);
    lathe_job_finish(&job);
    assert_int_equal(submit(b, client, O_RDONLY, NULL, id, &err), 0); /* it still serves */
    lathe_door_disconnect(client);
}

static int connect_raw(const struct bench *b)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 20};
    strcpy(address.sun_path, b->path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* The code of the error that a packet gets. */
static int answer_code(int fd)
{
    json_t *answer = NULL;
    int passed = -1;
    assert_int_equal(lathe_door_receive(fd, &answer, &passed), 1);
    assert_int_equal(passed, -1);
    assert_true(json_is_false(json_object_get(answer, "ok")));
    int code = (int)json_integer_value(json_object_get(json_object_get(answer, "error"), "code"));
    json_decref(answer);
    return code;
}

static void nonsense_is_answered(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *packet;
        int code;
    } cases[] = {{"", 0},
                 {"x", -EPROTO},
                 {"[]", -EPROTO},
                 {"{}", -EPROTO},
                 {"{\"v\": 2, \"request\": \"list\"}", -EPROTO},
                 {"{\"v\": 1, \"request\": \"status\"}", -EINVAL},
                 {"{\"v\": 1, \"request\": \"status\", \"id\": \"../x\"}", -EINVAL},
                 {"{\"v\": 1, \"request\": \"status\", \"id\": \"unknown\"}", -ENOENT},
                 {"{\"v\": 1, \"request\": \"fetch\", \"id\": \"unknown\"}", -ENOENT},
                 {"{\"v\": 1, \"request\": \"explode\", \"id\": \"a\"}", -EPROTO},
                 {"{\"v\": 1, \"request\": \"submit\"}", -EBADF}};
    int fd = connect_raw(b);
    for (size_t i = 1; i < LATHE_COUNT(cases); i++) {
        size_t size = strlen(cases[i].packet);
        assert_int_equal(send(fd, cases[i].packet, size, 0), (ssize_t)size);
        assert_int_equal(answer_code(fd), cases[i].code);
    }
    /* larger than a packet may be */
    char *large = malloc(LATHE_DOOR_PACKET_MAX + 10);
    assert_non_null(large);
    memset(large, ' ', LATHE_DOOR_PACKET_MAX + 10);
    memcpy(large, "{}", 2);
    assert_true(send(fd, large, LATHE_DOOR_PACKET_MAX + 10, 0) > 0);
    assert_int_equal(answer_code(fd), -EPROTO);
    free(large);
    close(fd);
    struct lathe_door_client *client = enter(b);
    json_t *jobs = NULL;
    assert_int_equal(lathe_door_list(client, &jobs, NULL), 0);
    json_decref(jobs);
    lathe_door_disconnect(client);
}

static void one_user_has_a_share(void **state)
{
    struct bench *b = *state;
    int fds[17];
    static const char list[] = "{\"v\": 1, \"request\": \"list\"}";
    for (int i = 0; i < 16; i++) {
        fds[i] = connect_raw(b);
        json_t *answer = NULL;
        int passed;
        assert_true(send(fds[i], list, sizeof list - 1, 0) > 0);
        assert_int_equal(lathe_door_receive(fds[i], &answer, &passed), 1); /* it is in */
        json_decref(answer);
    }
    fds[16] = connect_raw(b);
    assert_int_equal(answer_code(fds[16]), -EBUSY);
    for (int i = 0; i < 17; i++)
        close(fds[i]);
}

/* What a process of user nobody gets, with or without the group: 0 served, else the code. */
static int as_nobody(const struct bench *b, bool in_group)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const gid_t groups[] = {0};
        if (setgroups(in_group ? 1 : 0, groups) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
            _exit(255);
        struct lathe_door_client *client = NULL;
        json_t *jobs = NULL;
        int r = lathe_door_connect(b->path, &client, NULL);
        if (r == 0)
            r = lathe_door_list(client, &jobs, NULL);
        _exit(-r);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void only_the_group_comes_in(void **state)
{
    struct bench *b = *state;
    struct stat st;
    assert_int_equal(stat(b->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    if (geteuid() != 0) {
        print_message("only root can try to be somebody else\n");
        skip();
    }
    assert_int_equal(chmod(b->folder, 0755), 0);
    assert_int_equal(as_nobody(b, true), 0);
    assert_int_equal(as_nobody(b, false), EACCES); /* by the file's mode */
    assert_int_equal(chmod(b->path, 0666), 0);
    assert_int_equal(as_nobody(b, false), EACCES); /* by what the kernel says of the peer */
    assert_int_equal(as_nobody(b, true), 0);
}

static void a_dead_socket_is_replaced(void **state)
{
    struct bench *b = *state;
    const struct lathe_door_options options = {.path = b->path, .flow = lathe_agent_flow(b->agent)};
    struct lathe_door *second = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_door_open(&options, &second, &err), -EADDRINUSE);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);

    struct lathe_door_client *client = enter(b);
    lathe_door_close(b->door);
    b->door = NULL;
    json_t *jobs = NULL;
    assert_int_equal(lathe_door_list(client, &jobs, &err), -ENOENT);
    assert_int_equal(err.fault, LATHE_FAULT_SERVER);

    /* As a killed worker leaves it. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, b->path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(lathe_door_open(&options, &b->door, &err), 0);
    assert_int_equal(lathe_door_list(client, &jobs, &err), 0); /* the same client goes on */
    json_decref(jobs);
    lathe_door_disconnect(client);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    fake_slot = argv[1];
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_file_goes_in_and_comes_out), TEST(a_job_is_cancelled),
        TEST(waiting_ends_when_asked),      TEST(wrong_sources_are_refused),
        TEST(nonsense_is_answered),         TEST(one_user_has_a_share),
        TEST(only_the_group_comes_in),      TEST(a_dead_socket_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
