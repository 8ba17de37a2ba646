/* SPDX-License-Identifier: MIT */
/*
 * The figures, their text as promtool sees it, the pages over real sockets, and the datagrams to
 * the service manager.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/metrics.h"
#include "lathe/serve.h"

static int reset(void **state)
{
    (void)state;
    lathe_metrics_reset();
    return 0;
}

static void assert_has(const char *text, const char *line)
{
    _cleanup_free_ char *whole = lathe_format("%s\n", line);
    const char *at = strstr(text, whole);
    if (!at || (at != text && at[-1] != '\n'))
        fail_msg("\"%s\" is not a line of:\n%s", line, text);
}

static void test_counts_and_labels(void **state)
{
    (void)state;
    lathe_metrics_add(LATHE_METRIC_TASKS_STARTED, LATHE_LABELS("chunk"), 1);
    lathe_metrics_add(LATHE_METRIC_TASKS_STARTED, LATHE_LABELS("chunk"), 2);
    lathe_metrics_add(LATHE_METRIC_TASKS_STARTED, LATHE_LABELS("merge"), 1);
    lathe_metrics_set(LATHE_METRIC_DEVICE_USABLE, LATHE_LABELS("a\"b\\c\nd\xc3\xa9"), 0);
    assert_true(lathe_metrics_get(LATHE_METRIC_TASKS_STARTED, LATHE_LABELS("chunk")) == 3);
    assert_true(lathe_metrics_sum(LATHE_METRIC_TASKS_STARTED) == 4);
    _cleanup_free_ char *text = lathe_metrics_render(false);
    assert_non_null(text);
    assert_has(text, "# TYPE lathe_tasks_started_total counter");
    assert_has(text, "lathe_tasks_started_total{task=\"chunk\"} 3");
    assert_has(text, "lathe_device_usable{device=\"a\\\"b\\\\c\\nd??\"} 0");
    assert_has(text, "lathe_jobs_finished_total 0");  /* known before it happens */
    assert_null(strstr(text, "lathe_worker_slots ")); /* a gauge that nobody set */

    lathe_metrics_clear(LATHE_METRIC_DEVICE_USABLE);
    _cleanup_free_ char *open = lathe_metrics_render(true);
    assert_has(open, "# TYPE lathe_tasks_started counter");
    assert_has(open, "# UNIT lathe_slot_cpu_seconds seconds");
    assert_has(open, "lathe_tasks_started_total{task=\"chunk\"} 3");
    assert_null(strstr(open, "lathe_device_usable"));
    assert_string_equal(open + strlen(open) - 6, "# EOF\n");
}

static void test_histogram_is_cumulative(void **state)
{
    (void)state;
    const double seconds[] = {0.05, 0.1, 0.11, 7, 5000};
    for (size_t i = 0; i < LATHE_COUNT(seconds); i++)
        lathe_metrics_observe(LATHE_METRIC_TASK_DURATION, LATHE_LABELS("chunk"), seconds[i]);
    assert_true(lathe_metrics_get(LATHE_METRIC_TASK_DURATION, LATHE_LABELS("chunk")) == 5);
    _cleanup_free_ char *text = lathe_metrics_render(false);
    assert_has(text, "lathe_task_duration_seconds_bucket{task=\"chunk\",le=\"0.1\"} 2");
    assert_has(text, "lathe_task_duration_seconds_bucket{task=\"chunk\",le=\"0.25\"} 3");
    assert_has(text, "lathe_task_duration_seconds_bucket{task=\"chunk\",le=\"10.0\"} 4");
    assert_has(text, "lathe_task_duration_seconds_bucket{task=\"chunk\",le=\"1800.0\"} 4");
    assert_has(text, "lathe_task_duration_seconds_bucket{task=\"chunk\",le=\"+Inf\"} 5");
    assert_has(text, "lathe_task_duration_seconds_sum{task=\"chunk\"} 5007.26");
    assert_has(text, "lathe_task_duration_seconds_count{task=\"chunk\"} 5");
}

static void test_cardinality_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * LATHE_METRIC_SERIES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        lathe_metrics_add(LATHE_METRIC_BACKEND_REQUESTS, LATHE_LABELS("dir", name), 1);
    }
    assert_true(lathe_metrics_sum(LATHE_METRIC_BACKEND_REQUESTS) == 3 * LATHE_METRIC_SERIES_MAX);
    assert_true(lathe_metrics_get(LATHE_METRIC_BACKEND_REQUESTS, LATHE_LABELS("other", "other")) ==
                2 * LATHE_METRIC_SERIES_MAX);
    _cleanup_free_ char *text = lathe_metrics_render(false);
    unsigned lines = 0;
    for (const char *at = text; (at = strstr(at, "lathe_backend_requests_total{")); at++)
        lines++;
    assert_int_equal(lines, LATHE_METRIC_SERIES_MAX + 1);
}

static void *count_much(void *opaque)
{
    (void)opaque;
    for (int i = 0; i < 20000; i++)
        lathe_metrics_add(LATHE_METRIC_TASK_RETRIES, LATHE_LABELS("pilot"), 1);
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(lathe_metrics_sum(LATHE_METRIC_TASK_RETRIES) == 80000);
}

static void test_requests(void **state)
{
    (void)state;
    struct lathe_error err = {0};
    lathe_metrics_request("s3", "get", lathe_clock_monotonic_us(), 0, NULL);
    lathe_metrics_request("s3", "get", lathe_clock_monotonic_us(), -ENOENT, NULL);
    lathe_error_set(&err, -EAGAIN, LATHE_FAULT_SERVER, "it does not answer");
    lathe_metrics_request("s3", "get", lathe_clock_monotonic_us(), -EAGAIN, &err);
    assert_true(lathe_metrics_get(LATHE_METRIC_BACKEND_REQUESTS, LATHE_LABELS("s3", "get")) == 3);
    assert_true(lathe_metrics_get(LATHE_METRIC_BACKEND_FAILURES, LATHE_LABELS("s3", "get")) == 1);
    assert_true(lathe_metrics_get(LATHE_METRIC_BACKEND_DURATION, LATHE_LABELS("s3")) == 3);
    _cleanup_free_ char *text = lathe_metrics_render(false);
    assert_has(text, "lathe_backend_up{backend=\"s3\"} 0");
    lathe_metrics_request("s3", "put", lathe_clock_monotonic_us(), 0, &err);
    assert_true(lathe_metrics_get(LATHE_METRIC_BACKEND_UP, LATHE_LABELS("s3")) == 1);
}

/* Every family with a value, so that promtool sees every line there can be. */
static void test_promtool_accepts_every_metric(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null") != 0) {
        print_message("promtool is not installed\n");
        skip();
    }
    for (int metric = 0; metric < LATHE_METRIC_COUNT; metric++) {
        const struct lathe_metric_family *family = &lathe_metric_families[metric];
        assert_non_null(family->name);
        const char *const labels[] = {"a", "b", "c", "d"};
        if (family->type == LATHE_METRIC_HISTOGRAM)
            lathe_metrics_observe((enum lathe_metric)metric, labels, 1);
        else
            lathe_metrics_add((enum lathe_metric)metric, labels, 1);
    }
    _cleanup_free_ char *text = lathe_metrics_render(false);
    FILE *promtool = popen("promtool check metrics", "w");
    assert_non_null(promtool);
    assert_true(fputs(text, promtool) >= 0);
    assert_int_equal(pclose(promtool), 0);
}

/* --- pages --- */

struct health {
    bool healthy, ready;
};

static bool is_healthy(void *opaque, char *why, size_t size)
{
    snprintf(why, size, "%s", ((struct health *)opaque)->healthy ? "" : "the loop stands");
    return ((struct health *)opaque)->healthy;
}

static bool is_ready(void *opaque, char *why, size_t size)
{
    snprintf(why, size, "%s", ((struct health *)opaque)->ready ? "" : "draining");
    return ((struct health *)opaque)->ready;
}

/* The whole answer to a request, as it came. malloc'd. */
static char *ask(unsigned port, const char *request)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = 20};
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t used = 0;
    ssize_t n;
    while ((n = read(fd, text + used, (1 << 20) - 1 - used)) > 0)
        used += (size_t)n;
    assert_int_equal(n, 0);
    close(fd);
    return text;
}

static void assert_page(unsigned port, const char *request, const char *begin, const char *holds)
{
    _cleanup_free_ char *text = ask(port, request);
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    if (!strstr(text, holds))
        fail_msg("no \"%s\" in:\n%s", holds, text);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void test_pages(void **state)
{
    (void)state;
    struct health health = {true, false};
    const struct lathe_serve_options options = {
        .listen = "127.0.0.1:0", .is_healthy = is_healthy, .is_ready = is_ready, .opaque = &health};
    struct lathe_serve *serve = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_serve_start(&options, &serve, &err), 0);
    assert_int_equal(lathe_serve_process_metrics(), 0);
    unsigned port = lathe_serve_port(serve);
    assert_page(port, GET("/metrics"), "HTTP/1.1 200", "text/plain; version=0.0.4");
    assert_page(port, GET("/metrics"), "HTTP/1.1 200", "\nprocess_resident_memory_bytes ");
    assert_page(port,
                "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                "Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n\r\n",
                "HTTP/1.1 200", "\n# EOF\n");
    assert_page(port, GET("/healthz"), "HTTP/1.1 200", "\nok\n");
    assert_page(port, GET("/readyz"), "HTTP/1.1 503", "\ndraining\n");
    health = (struct health){false, true};
    assert_page(port, GET("/healthz"), "HTTP/1.1 503", "\nthe loop stands\n");
    assert_page(port, GET("/readyz"), "HTTP/1.1 200", "\nok\n");
    assert_page(port, GET("/etc/passwd"), "HTTP/1.1 404", "/metrics, /healthz or /readyz");
    assert_page(port,
                "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                "Content-Length: 3\r\n\r\nabc",
                "HTTP/1.1 405", "only GET");
    assert_page(port, GET("/metrics"), "HTTP/1.1 200",
                "\nlathe_http_requests_total{route=\"other\",code=\"404\"} 1\n");

    /* A second one cannot have the same port, and says what to do. */
    char taken[32];
    struct lathe_serve *second = NULL;
    snprintf(taken, sizeof taken, "127.0.0.1:%u", port);
    const struct lathe_serve_options same = {.listen = taken};
    assert_int_equal(lathe_serve_start(&same, &second, &err), -EADDRINUSE);
    assert_int_equal(err.fault, LATHE_FAULT_CONFIG);
    lathe_serve_stop(serve);
    lathe_serve_stop(NULL);
}

static void test_wrong_addresses(void **state)
{
    (void)state;
    const char *const wrong[] = {"",      ":1",        "9640",        "localhost:9640",
                                 "1.2:x", "127.0.0.1", "127.0.0.1:-1"};
    for (size_t i = 0; i < LATHE_COUNT(wrong); i++) {
        struct lathe_serve *serve = NULL;
        struct lathe_error err = {0};
        const struct lathe_serve_options options = {.listen = wrong[i]};
        assert_true(lathe_serve_start(&options, &serve, &err) < 0);
        assert_int_equal(err.fault, LATHE_FAULT_CONFIG);
        assert_null(serve);
    }
}

/* --- the service manager --- */

static int manager_socket(char path[108], bool is_abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, 108, "%s/lathe-notify-%d", is_abstract ? "@x" : "/tmp", (int)getpid());
    memcpy(address.sun_path, path, strlen(path));
    if (is_abstract)
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))),
                     0);
    return fd;
}

static void test_notify(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(lathe_notify("READY=1"), 0);
    for (int is_abstract = 0; is_abstract < 2; is_abstract++) {
        char path[108], text[64] = "";
        int fd = manager_socket(path, is_abstract);
        setenv("NOTIFY_SOCKET", path, 1);
        assert_int_equal(lathe_notify("READY=1\nSTATUS=%d jobs", 3), 1);
        ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
        assert_int_equal(n, strlen("READY=1\nSTATUS=3 jobs"));
        assert_string_equal(text, "READY=1\nSTATUS=3 jobs");
        close(fd);
        if (!is_abstract)
            unlink(path);
        assert_true(lathe_notify("READY=1") < 0); /* nobody listens any more */
    }
    unsetenv("NOTIFY_SOCKET");
}

static void test_watchdog_is_ours(void **state)
{
    (void)state;
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(lathe_notify_watchdog_us(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(lathe_notify_watchdog_us(), 30000000);
    setenv("WATCHDOG_PID", "1", 1); /* meant for another process */
    assert_int_equal(lathe_notify_watchdog_us(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_counts_and_labels, reset),
        cmocka_unit_test_setup(test_histogram_is_cumulative, reset),
        cmocka_unit_test_setup(test_cardinality_is_bounded, reset),
        cmocka_unit_test_setup(test_threads_lose_nothing, reset),
        cmocka_unit_test_setup(test_requests, reset),
        cmocka_unit_test_setup(test_promtool_accepts_every_metric, reset),
        cmocka_unit_test_setup(test_pages, reset),
        cmocka_unit_test(test_wrong_addresses),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_watchdog_is_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
