/* SPDX-License-Identifier: MIT */
/*
 * The configuration: which source wins, what is said about wrong values, and that all pages made
 * from the table are true.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lathe/base.h"
#include "lathe/config.h"

static char folder[] = "/tmp/lathe-config-XXXXXX";
static char *path;

static void write_file(const char *name, const char *text)
{
    _cleanup_free_ char *where = lathe_format("%s/%s", folder, name);
    assert_int_equal(lathe_write_file_atomic(where, text, strlen(text), NULL), 0);
}

static void clear_variables(void)
{
    unsetenv("LATHE_CONFIG");
    for (size_t i = 0; i < lathe_n_config_options; i++)
        unsetenv(lathe_config_options[i].variable);
}

static int set_up(void **state)
{
    (void)state;
    clear_variables();
    if (!mkdtemp(folder))
        return -1;
    path = lathe_format("%s/lathe.conf", folder);
    return path ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(path);
    return lathe_remove_tree(folder, NULL);
}

static const char *origin_of(const struct lathe_config *config, const char *name)
{
    for (size_t i = 0; i < lathe_n_config_options; i++)
        if (strcmp(lathe_config_options[i].name, name) == 0)
            return config->origins[i];
    fail_msg("no option %s", name);
    return NULL;
}

/* Loads `text` as the file; the error must contain each of the words. */
static void must_refuse(const char *text, enum lathe_fault fault, const char *word1,
                        const char *word2)
{
    struct lathe_config config = {.slots = 77};
    struct lathe_error err = {0};
    write_file("lathe.conf", text);
    assert_true(lathe_config_load(path, 0, NULL, &config, &err) < 0);
    assert_int_equal(config.slots, 77); /* untouched */
    assert_int_equal(err.fault, fault);
    if (!strstr(err.what, word1) || !strstr(err.what, word2))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err.what, word1, word2);
}

static void test_the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *a = &lathe_config_options[i];
        assert_non_null(a->help);
        assert_int_equal(strncmp(a->variable, "LATHE_", 6), 0);
        assert_true(a->type != LATHE_CONFIG_TEXT || a->allowed);
        assert_true(*a->standard || a->type == LATHE_CONFIG_TEXT);
        for (size_t j = 0; j < i; j++) {
            const struct lathe_config_option *b = &lathe_config_options[j];
            assert_string_not_equal(a->name, b->name);
            assert_string_not_equal(a->variable, b->variable);
            assert_int_not_equal(a->offset, b->offset);
        }
    }
}

static void test_defaults(void **state)
{
    (void)state;
    struct lathe_config c;
    write_file("lathe.conf", "");
    assert_int_equal(lathe_config_load(path, 0, NULL, &c, NULL), 0);
    assert_string_equal(c.queue_driver, "sqlite");
    assert_string_equal(c.queue_location, "/var/lib/lathe/queue.db");
    assert_string_equal(c.state_location, "/var/lib/lathe/state.db");
    assert_string_equal(c.store_location, "/var/lib/lathe/store");
    assert_int_equal(c.lease_seconds, 30);
    assert_true(c.gpu_enabled);
    assert_string_equal(c.metrics_listen, "127.0.0.1:9640");
    assert_null(origin_of(&c, "slots"));
    lathe_config_finish(&c);
}

static void test_file_then_variables_then_flags(void **state)
{
    (void)state;
    write_file("lathe.conf", "slots = 2;\nlease_seconds = 10;\ndrain_seconds = 7;\n"
                             "state_dir = \"/srv/x\";\n"
                             "queue: { driver = \"kafka\"; location = \"k:9092\"; };\n"
                             "scratch.quota_bytes");
    /* libconfig has no dotted names: the line above is an error with its number */
    struct lathe_error err = {0};
    struct lathe_config c;
    assert_int_equal(lathe_config_load(path, 0, NULL, &c, &err), -EINVAL);
    assert_non_null(strstr(err.what, ":6:"));

    write_file("lathe.conf", "slots = 2;\nlease_seconds = 10;\ndrain_seconds = 7;\n"
                             "state_dir = \"/srv/x\";\n"
                             "queue: { driver = \"kafka\"; location = \"k:9092\"; };\n"
                             "scratch: { quota_bytes = \"20G\"; };\nstall_seconds = 2;\n");
    setenv("LATHE_CONFIG", path, 1);
    setenv("LATHE_LEASE_SECONDS", "11", 1);
    setenv("LATHE_DRAIN_SECONDS", "8", 1);
    setenv("LATHE_SLOTS", "", 1); /* as in a file of variables: not set */
    char *argv[] = {"worker", "--drain-seconds", "9", "--gpu-enabled=off"};
    assert_int_equal(lathe_config_load(NULL, 4, argv, &c, &err), 0);
    assert_int_equal(c.slots, 2);
    assert_int_equal(c.lease_seconds, 11);
    assert_int_equal(c.drain_seconds, 9);
    assert_false(c.gpu_enabled);
    assert_string_equal(c.queue_location, "k:9092");
    assert_string_equal(c.state_location, "/srv/x/state.db");
    assert_int_equal(c.scratch_quota_bytes, 20ull << 30);
    assert_true(c.stall_seconds == 2);
    _cleanup_free_ char *place = lathe_format("%s:1", path);
    assert_string_equal(origin_of(&c, "slots"), place);
    assert_string_equal(origin_of(&c, "lease_seconds"), "LATHE_LEASE_SECONDS");
    assert_string_equal(origin_of(&c, "drain_seconds"), "--drain-seconds");

    err = (struct lathe_error){0};
    lathe_error_set(&err, -EIO, LATHE_FAULT_CONFIG, "no such driver");
    lathe_config_blame(&c, "queue.driver", &err);
    assert_non_null(strstr(err.what, "queue.driver ("));
    assert_non_null(strstr(err.what, ":5): no such driver"));
    lathe_config_finish(&c);

    /* --config is stronger than LATHE_CONFIG */
    write_file("other.conf", "slots = 5;\n");
    _cleanup_free_ char *other = lathe_format("--config=%s/other.conf", folder);
    char *with_file[] = {"worker", other};
    assert_int_equal(lathe_config_load(NULL, 2, with_file, &c, &err), 0);
    assert_int_equal(c.slots, 5);
    lathe_config_finish(&c);
    clear_variables();
}

static void test_wrong_values_are_named(void **state)
{
    (void)state;
    must_refuse("\n\nslots = 1000;\n", LATHE_FAULT_CONFIG, "lathe.conf:3: slots: \"1000\"",
                "a whole number from 0 to 256");
    must_refuse("slots = \"many\";\n", LATHE_FAULT_CONFIG, ":1: slots: \"many\"", "whole number");
    must_refuse("stall_seconds = 0;\n", LATHE_FAULT_CONFIG, "stall_seconds", "from 0.1 to 86400");
    must_refuse("log: {\n level = \"loud\"; };\n", LATHE_FAULT_CONFIG, ":2: log.level: \"loud\"",
                "one of error, warning, info, debug");
    must_refuse("gpu: { enabled = 7; };\n", LATHE_FAULT_CONFIG, "gpu.enabled", "true or false");
    must_refuse("scratch: { quota_bytes = \"20X\"; };\n", LATHE_FAULT_CONFIG, "20X", "20G");
    must_refuse("scratch: { quota_bytes = \"99999999T\"; };\n", LATHE_FAULT_CONFIG, "99999999T",
                "20G");
    must_refuse("scratch: { quota_bytes = -1; };\n", LATHE_FAULT_CONFIG, "-1", "20G");
    must_refuse("slots = [1, 2];\n", LATHE_FAULT_CONFIG, ":1: slots", "list");
    must_refuse("slot = 4;\n", LATHE_FAULT_CONFIG, ":1:", "no option \"slot\"");
    must_refuse("queue: { drivr = \"kafka\"; };\n", LATHE_FAULT_CONFIG,
                ":1:", "no option \"queue.drivr\"");
    must_refuse("queue: { a: { b = 1; }; };\n", LATHE_FAULT_CONFIG, ":1:", "no option \"queue.a");
    must_refuse("slots: { };\nqueue = 1;\n", LATHE_FAULT_CONFIG, ":2:", "no option \"queue\"");
    must_refuse("slots = ;\n", LATHE_FAULT_CONFIG, "lathe.conf:1:", "syntax error");
    must_refuse("state: { driver = \"redis\"; };\n", LATHE_FAULT_CONFIG, ":1: the driver redis",
                "state.location");
    must_refuse("@include \"more.conf\"\n", LATHE_FAULT_CONFIG, "lathe.conf:1", "include");
}

static void test_included_files(void **state)
{
    (void)state;
    struct lathe_config c;
    write_file("more.conf", "slots = 3;\n");
    write_file("lathe.conf", "@include \"more.conf\"\n");
    assert_int_equal(lathe_config_load(path, 0, NULL, &c, NULL), 0);
    assert_int_equal(c.slots, 3);
    assert_non_null(strstr(origin_of(&c, "slots"), "more.conf:1"));
    lathe_config_finish(&c);
    write_file("more.conf", "\nslots = 300;\n");
    struct lathe_error err = {0};
    assert_int_equal(lathe_config_load(path, 0, NULL, &c, &err), -EINVAL);
    assert_non_null(strstr(err.what, "more.conf:2: slots"));
}

static void test_a_missing_file(void **state)
{
    (void)state;
    struct lathe_config c;
    struct lathe_error err = {0};
    assert_int_equal(lathe_config_load("/nonexistent/lathe.conf", 0, NULL, &c, &err), -ENOENT);
    assert_int_equal(lathe_error_exit_code(&err), 78);
    setenv("LATHE_CONFIG", "/nonexistent/lathe.conf", 1);
    assert_int_equal(lathe_config_load(NULL, 0, NULL, &c, &err), -ENOENT);
    clear_variables();
}

static void test_wrong_variables_and_flags(void **state)
{
    (void)state;
    struct lathe_config c;
    struct lathe_error err = {0};
    setenv("LATHE_SLOTS", "x", 1);
    assert_int_equal(lathe_config_load("/dev/null", 0, NULL, &c, &err), -EINVAL);
    assert_int_equal(lathe_error_exit_code(&err), 78);
    assert_non_null(strstr(err.what, "LATHE_SLOTS: slots: \"x\""));
    clear_variables();
    char *wrong[] = {"worker", "--slots", "x"};
    assert_int_equal(lathe_config_load("/dev/null", 3, wrong, &c, &err), -EINVAL);
    assert_int_equal(lathe_error_exit_code(&err), 2);
    char *unknown[] = {"worker", "--slotz=3"};
    assert_int_equal(lathe_config_load("/dev/null", 2, unknown, &c, &err), -EINVAL);
    assert_int_equal(lathe_error_exit_code(&err), 2);
    char *short_of[] = {"worker", "--slots"};
    assert_int_equal(lathe_config_load("/dev/null", 2, short_of, &c, &err), -EINVAL);
    char *word[] = {"worker", "slots"};
    assert_int_equal(lathe_config_load("/dev/null", 2, word, &c, &err), -EINVAL);
}

static void test_lower_layers_see_the_file(void **state)
{
    (void)state;
    struct lathe_config c;
    write_file("lathe.conf", "stall_seconds = 7;\ngpu: { cache = \"\"; };\nslots = 3;\n");
    setenv("LATHE_SLOT_PASS", "ABC", 1);
    assert_int_equal(lathe_config_load(path, 0, NULL, &c, NULL), 0);
    assert_int_equal(lathe_config_export(&c, NULL), 0);
    assert_string_equal(getenv("LATHE_STALL_SECONDS"), "7");
    assert_string_equal(getenv("LATHE_HARDWARE_CACHE"), ""); /* set to nothing has a meaning */
    assert_string_equal(getenv("LATHE_SLOT_PASS"), "ABC");
    assert_null(getenv("LATHE_SLOT_FILES")); /* nobody set it */
    assert_null(getenv("LATHE_SLOTS"));      /* nobody reads it there */
    lathe_config_finish(&c);
    clear_variables();
}

/* The sample with every comment that is an option opened is a valid file of defaults. */
static void test_the_sample_is_valid(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    lathe_config_write_sample(f);
    assert_int_equal(fclose(f), 0);
    struct lathe_config c;
    write_file("lathe.conf", text);
    assert_int_equal(lathe_config_load(path, 0, NULL, &c, NULL), 0);
    assert_null(origin_of(&c, "slots"));
    lathe_config_finish(&c);

    for (char *p = text; *p; p++)
        if (*p == '#' && p[1] != ' ')
            *p = ' ';
    write_file("lathe.conf", text);
    free(text);
    struct lathe_error err = {0};
    if (lathe_config_load(path, 0, NULL, &c, &err) < 0)
        fail_msg("%s", err.what);
    for (size_t i = 0; i < lathe_n_config_options; i++)
        assert_non_null(c.origins[i]);
    assert_string_equal(c.queue_location, "/var/lib/lathe/queue.db");
    lathe_config_finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_is_sound),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_file_then_variables_then_flags),
        cmocka_unit_test(test_wrong_values_are_named),
        cmocka_unit_test(test_included_files),
        cmocka_unit_test(test_a_missing_file),
        cmocka_unit_test(test_wrong_variables_and_flags),
        cmocka_unit_test(test_lower_layers_see_the_file),
        cmocka_unit_test(test_the_sample_is_valid),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
