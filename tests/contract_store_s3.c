/* SPDX-License-Identifier: MIT */
/*
 * The S3 store: large objects, presigned URLs, refusals in words, and, through fault_proxy.py, what
 * servers and networks do to requests. Other drivers skip these tests.
 */
#include "contract_store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lathe/base.h"

#define PART_BYTES (5u << 20)

static bool is_s3(void)
{
    return !strcmp(contract.driver, "s3");
}

/* "s3://bucket/p?x" becomes "s3://bucket/p/INSERT?x". */
static char *location_with(const char *location, const char *insert)
{
    size_t length = strcspn(location, "?");
    return lathe_format("%.*s/%s%s", (int)length, location, insert, location + length);
}

int contract_store_setup(void **state)
{
    int r = contract_setup(state);
    if (r < 0 || !strcmp(contract.driver, "dir"))
        return r;
    char id[37];
    char *location = lathe_uuid7(id) == 0 ? location_with(contract.location, id) : NULL;
    free(contract.location);
    contract.location = location;
    return location ? 0 : -1;
}

/* Several parts, none like another, so that a part in a wrong place is noticed. */
static void make_pattern(const char *path, size_t size)
{
    uint32_t *words = malloc(size);
    assert_non_null(words);
    for (size_t i = 0; i < size / sizeof(*words); i++)
        words[i] = (uint32_t)i * 2654435761u;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(words, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(words);
}

static void check_same(const char *a, const char *b)
{
    char *left, *right;
    size_t left_size, right_size;
    assert_int_equal(lathe_read_file(a, SIZE_MAX / 4, &left, &left_size, NULL), 0);
    assert_int_equal(lathe_read_file(b, SIZE_MAX / 4, &right, &right_size, NULL), 0);
    assert_int_equal(left_size, right_size);
    assert_memory_equal(left, right, left_size);
    free(left);
    free(right);
}

static void round_trip(struct lathe_store *store, const char *key, size_t size)
{
    char *from = contract_path("from"), *to = contract_path("to");
    struct lathe_error err = {0};
    struct lathe_store_meta meta = {.sha256 = SHA_A, .frames = 7};
    make_pattern(from, size);
    if (lathe_store_put(store, key, from, &meta, 0, NULL, &err) < 0 ||
        lathe_store_get(store, key, to, NULL, &err) < 0)
        fail_msg("%s", err.what);
    check_same(from, to);
    assert_int_equal(lathe_store_stat(store, key, &meta, &err), 0);
    assert_int_equal(meta.size_bytes, size);
    assert_string_equal(meta.sha256, SHA_A);
    assert_int_equal(meta.frames, 7);
    unlink(from);
    unlink(to);
    free(from);
    free(to);
}

void test_s3_parts(void **state)
{
    (void)state;
    if (!is_s3())
        skip();
    struct lathe_store *store = open_store();
    static const size_t sizes[] = {4,
                                   PART_BYTES - 4,
                                   PART_BYTES,
                                   PART_BYTES + 4,
                                   2 * PART_BYTES,
                                   2 * PART_BYTES + 4,
                                   7 * PART_BYTES,
                                   8 * PART_BYTES + 12345 * 4};
    for (size_t i = 0; i < LATHE_COUNT(sizes); i++)
        round_trip(store, "large/object", sizes[i]);
    char *path = contract_path("local");
    make_pattern(path, 3 * PART_BYTES);
    assert_int_equal(
        lathe_store_put(store, "large/object", path, NULL, LATHE_STORE_IF_ABSENT, NULL, NULL),
        -EEXIST);
    assert_int_equal(
        lathe_store_put(store, "large/new", path, NULL, LATHE_STORE_IF_ABSENT, NULL, NULL), 0);
    free(path);
    lathe_store_close(store);
}

static int run_curl(const char *options, const char *url)
{
    char *command = lathe_format("curl -s -f -o /dev/null %s '%s'", options, url);
    assert_non_null(command);
    int r = system(command);
    free(command);
    return r;
}

void test_s3_presigned(void **state)
{
    (void)state;
    if (!is_s3())
        skip();
    struct lathe_store *store = open_store();
    char *url = NULL, fill = 0;
    put_bytes(store, "a/b", 1000, 'p', NULL, 0);
    assert_int_equal(lathe_store_presign(store, "a/b", false, 0, &url, NULL), -EINVAL);
    assert_int_equal(lathe_store_presign(store, "a/b", false, 60, &url, NULL), 0);
    assert_int_equal(run_curl("", url), 0);
    assert_int_not_equal(run_curl("-T /etc/hostname", url), 0); /* good for reading only */
    url[strlen(url) - 1] ^= 1;
    assert_int_not_equal(run_curl("", url), 0);
    free(url);
    char *path = contract_path("sent");
    make_file(path, 77, 'w');
    char *options = lathe_format("-T %s", path);
    assert_int_equal(lathe_store_presign(store, "a/w", true, 60, &url, NULL), 0);
    assert_int_equal(run_curl(options, url), 0);
    assert_int_equal(get_bytes(store, "a/w", &fill), 77);
    assert_int_equal(fill, 'w');
    free(url);
    free(options);
    free(path);
    lathe_store_close(store);
}

static void check_refused(const char *location, int code, enum lathe_fault fault, const char *what)
{
    struct lathe_store *store = NULL;
    struct lathe_error err = {0};
    assert_int_equal(lathe_store_open(contract.driver, location, &store, &err), code);
    assert_int_equal(err.fault, fault);
    if (!strstr(err.what, what))
        fail_msg("\"%s\" does not say \"%s\"", err.what, what);
    assert_null(strstr(err.what, "lathe-secret-key"));
    assert_null(store);
}

void test_s3_refusals(void **state)
{
    (void)state;
    if (!is_s3())
        skip();
    static const char *const bad[] = {"file:///x",
                                      "s3://",
                                      "s3://Bad_Name",
                                      "s3://abc?style=odd",
                                      "s3://abc?part_mib=1",
                                      "s3://abc?endpoint=ftp://x",
                                      "s3://abc?secret_key=lathe-secret-key",
                                      "s3://abc?what=1",
                                      "s3://abc?endpoint=http://a:b@c"};
    for (size_t i = 0; i < LATHE_COUNT(bad); i++)
        check_refused(bad[i], -EINVAL, LATHE_FAULT_CONFIG, "");
    char *query = strchr(contract.location, '?');
    assert_non_null(query);
    char *location = lathe_format("s3://no-such-bucket/p%s", query);
    check_refused(location, -ENXIO, LATHE_FAULT_CONFIG, "no-such-bucket");
    free(location);

    check_refused("s3://videos?endpoint=http://127.0.0.1:1&attempts=2", -EAGAIN, LATHE_FAULT_SERVER,
                  "127.0.0.1:1");
    char *keys = contract_path("keys");
    const char text[] = "[default]\naws_access_key_id = lathe\naws_secret_access_key = wrong\n";
    assert_int_equal(lathe_write_file_atomic(keys, text, sizeof(text) - 1, NULL), 0);
    location = lathe_format("%s&credentials=%s", contract.location, keys);
    char *mode = lathe_format("chmod 0604 %s", keys);
    assert_int_equal(system(mode), 0);
    check_refused(location, -EACCES, LATHE_FAULT_CONFIG, "read by everybody");
    mode[9] = '0';
    assert_int_equal(system(mode), 0);
    check_refused(location, -EACCES, LATHE_FAULT_CONFIG, "SignatureDoesNotMatch");
    free(mode);
    free(location);
    free(keys);
}

void test_libs3_refusals(void **state)
{
    (void)state;
    if (strcmp(contract.driver, "libs3"))
        skip();
    check_refused("s3://abc?endpoint=https://127.0.0.1:1", -ENOTSUP, LATHE_FAULT_CONFIG,
                  "certificates");
    check_refused("s3://abc?endpoint=http://127.0.0.1:1&attempts=2", -EAGAIN, LATHE_FAULT_SERVER,
                  "127.0.0.1:1");
    char *location = lathe_format("s3://no-such-bucket%s", strchr(contract.location, '?'));
    check_refused(location, -ENXIO, LATHE_FAULT_CONFIG, "no-such-bucket");
    free(location);
    char *keys = contract_path("keys");
    const char text[] = "aws_access_key_id = lathe\naws_secret_access_key = wrong\n";
    assert_int_equal(lathe_write_file_atomic(keys, text, sizeof(text) - 1, NULL), 0);
    assert_int_equal(chmod(keys, 0600), 0);
    location = lathe_format("%s&credentials=%s", contract.location, keys);
    check_refused(location, -EACCES, LATHE_FAULT_CONFIG, "SignatureDoesNotMatch");
    free(location);
    free(keys);
}

/* fault_proxy.py reads what to do from a file, and counts it down there: "METHOD FAULT TIMES". */
static void plan_fault(const char *plan)
{
    assert_int_equal(lathe_write_file_atomic(getenv("LATHE_FAULT_FILE"), plan, strlen(plan), NULL),
                     0);
}

static void check_fault_happened(void)
{
    char *text;
    size_t size;
    assert_int_equal(lathe_read_file(getenv("LATHE_FAULT_FILE"), 100, &text, &size, NULL), 0);
    if (size < 2 || strcmp(text + size - 2, " 0"))
        fail_msg("left of the plan of faults: %s", text);
    free(text);
}

void test_s3_faults(void **state)
{
    (void)state;
    if (!is_s3() || !getenv("LATHE_FAULT_FILE"))
        skip();
    static const char *const survived[] = {
        "PUT 503 2",   "PUT error200 2", "PUT lost 1",     "PUT flip 1",
        "PUT hang 1",  "GET 503 2",      "GET error200 1", "GET cut 2",
        "GET flip 2",  "GET hang 1",     "GET slow 1",     "HEAD 503 2",
        "HEAD lost 1", "POST 503 2",     "POST lost 2",    "POST error200 2",
    };
    struct lathe_store *store = open_store();
    for (size_t i = 0; i < LATHE_COUNT(survived); i++) {
        printf("%s\n", survived[i]);
        plan_fault(survived[i]);
        round_trip(store, "faulty/object", strncmp(survived[i], "POST", 4) ? 100000 : 11 << 20);
        check_fault_happened();
    }
    char *path = contract_path("small"), fill = 0;
    make_file(path, 9, 'f');
    /* Its own success, unseen, is not taken for another's. */
    put_bytes(store, "faulty/first", 1, '1', NULL, LATHE_STORE_IF_ABSENT);
    plan_fault("PUT lost 1");
    assert_int_equal(
        lathe_store_put(store, "faulty/once", path, NULL, LATHE_STORE_IF_ABSENT, NULL, NULL), 0);
    check_fault_happened();
    /* What does not end is given up, and what was there before stays. */
    struct lathe_error err = {0};
    put_bytes(store, "faulty/kept", 5, 'k', NULL, 0);
    plan_fault("PUT 503 100");
    if (lathe_store_put(store, "faulty/kept", path, NULL, 0, NULL, &err) != -EAGAIN)
        fail_msg("%d: %s", err.code, err.what);
    assert_int_equal(err.fault, LATHE_FAULT_SERVER);
    plan_fault("GET flip 100");
    assert_int_equal(get_bytes(store, "faulty/kept", &fill), -EBADMSG);
    plan_fault("GET skew 1");
    check_refused(contract.location, -EACCES, LATHE_FAULT_CONFIG, "3600 s ahead");
    plan_fault("");
    assert_int_equal(get_bytes(store, "faulty/kept", &fill), 5);
    assert_int_equal(fill, 'k');
    free(path);
    lathe_store_close(store);
}
