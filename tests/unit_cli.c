/* SPDX-License-Identifier: MIT */
/*
 * The command line's parts: option tables, checks of names, scratch folders, delivery, progress.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "deliver.h"
#include "input.h"
#include "jobs.h"
#include "lathe/base.h"
#include "lathe/scratch.h"
#include "options.h"
#include "progress.h"
#include "table.h"

static char *folder;

static char *inside(const char *name)
{
    char *path = lathe_format("%s/%s", folder, name);
    assert_non_null(path);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void expect_text(const char *path, const char *text)
{
    _cleanup_free_ char *found = NULL;
    size_t size;
    assert_int_equal(lathe_read_file(path, 100000, &found, &size, NULL), 0);
    assert_string_equal(found, text);
}

/* --- options --- */

static int parse(const char *line, struct lathe_settings *ret, struct lathe_error *err)
{
    static char words[512];
    static char *argv[32];
    int argc = 0;
    snprintf(words, sizeof words, "%s", line);
    char *save = NULL;
    for (char *w = strtok_r(words, " ", &save); w && argc < 31; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    argv[argc] = NULL;
    const struct lathe_command *command = lathe_command_find(argv[0]);
    assert_non_null(command);
    return lathe_options_parse(command, argc, argv, ret, err);
}

static void options_are_read(void **state)
{
    (void)state;
    struct lathe_settings s;
    assert_int_equal(parse("run a.mov -o b.mp4 -r 720p:2500k --rendition=480p --preset veryslow "
                           "--codec hevc --encoder software --passes 2 --chunk-seconds 2.5 "
                           "--gop-seconds 1 -j 7 --work w --damaged conceal --keep --upscale "
                           "--json --quiet",
                           &s, NULL),
                     0);
    assert_string_equal(s.input, "a.mov");
    assert_string_equal(s.output, "b.mp4");
    assert_string_equal(s.work, "w");
    assert_int_equal(s.n_renditions, 2);
    assert_string_equal(s.renditions[0], "720p:2500k");
    assert_string_equal(s.renditions[1], "480p");
    assert_int_equal(s.preset, LATHE_PRESET_VERYSLOW);
    assert_int_equal(s.codec, LATHE_CODEC_HEVC);
    assert_int_equal(s.encoder, LATHE_ENCODER_SOFTWARE);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.passes, 2);
    assert_int_equal(s.slots, 7);
    assert_true(s.chunk_seconds == 2.5 && s.gop_seconds == 1 && s.quality < 0);
    assert_true(s.keep && s.upscale && s.json && s.quiet && !s.help);
    /* defaults, and operands before and after options */
    assert_int_equal(parse("run --quality 22.5 -o b.mp4 a.mov", &s, NULL), 0);
    assert_string_equal(s.input, "a.mov");
    assert_int_equal(s.preset, LATHE_PRESET_FAST);
    assert_int_equal(s.passes, 1);
    assert_true(s.quality == 22.5);
    assert_int_equal(parse("probe", &s, NULL), 0);
    assert_null(s.input);
}

/* The tables number their choices as the job's enumerations do. */
static void choices_match_the_job(void **state)
{
    (void)state;
    struct lathe_settings s;
    char line[128];
    for (int i = 0; i <= LATHE_PRESET_VERYSLOW; i++) {
        snprintf(line, sizeof line, "plan a --preset %s", lathe_preset_name((enum lathe_preset)i));
        assert_int_equal(parse(line, &s, NULL), 0);
        assert_int_equal(s.preset, i);
    }
    for (int i = 0; i <= LATHE_ENCODER_SOFTWARE; i++) {
        snprintf(line, sizeof line, "plan a --encoder %s",
                 lathe_encoder_name((enum lathe_encoder)i));
        assert_int_equal(parse(line, &s, NULL), 0);
        assert_int_equal(s.encoder, i);
    }
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line, *word; /* the word that the error must name */
    } cases[] = {
        {"run", "file"},
        {"run a b", "\"b\""},
        {"probe a b", "\"b\""},
        {"run a --slots 0", "--slots"},
        {"run a --slots 257", "256"},
        {"run a --slots 2x", "2x"},
        {"run a --slots", "--slots"},
        {"run a -j", "-j"},
        {"run a --passes 3", "--passes"},
        {"run a --quality nan", "--quality"},
        {"run a --quality 0", "--quality"},
        {"run a --chunk-seconds -1", "--chunk-seconds"},
        {"run a --codec av1", "h264, hevc"},
        {"run a --preset fas", "\"fas\""},
        {"run a --damaged x", "fail, conceal"},
        {"run a --nothing", "--nothing"},
        {"run a -Z", "-Z"},
        {"run a --output=", "--output"},
        {"plan a --work w", "--work"},
        {"probe --rendition 720p", "--rendition"},
        {"run a -r 1p -r 2p -r 3p -r 4p -r 5p -r 6p -r 7p -r 8p -r 9p", "at most 8"},
    };
    for (size_t i = 0; i < LATHE_COUNT(cases); i++) {
        struct lathe_settings s;
        struct lathe_error err = {0};
        if (parse(cases[i].line, &s, &err) >= 0)
            fail_msg("accepted: %s", cases[i].line);
        assert_int_equal(lathe_error_exit_code(&err), 2);
        assert_non_null(err.hint[0] ? err.hint : NULL);
        if (!strstr(err.what, cases[i].word))
            fail_msg("%s: \"%s\" does not say %s", cases[i].line, err.what, cases[i].word);
    }
}

static void help_fits_a_screen(void **state)
{
    (void)state;
    for (size_t i = 0; i <= lathe_n_commands; i++) {
        const struct lathe_command *command = i < lathe_n_commands ? &lathe_commands[i] : NULL;
        _cleanup_free_ char *text = lathe_options_help(command);
        assert_non_null(text);
        int lines = 0;
        char *save = NULL;
        for (size_t o = 0; command && o < command->n_options; o++)
            assert_non_null(strstr(text, command->options[o].name));
        for (char *at = text; *at; at++)
            lines += *at == '\n';
        assert_true(lines > 5 && lines <= 24);
        for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save))
            if (strlen(at) > 80)
                fail_msg("too wide: %s", at);
    }
}

/* --- names --- */

static void inputs_are_checked(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "-",       "http://host/a.mp4", "concat:a|b",
        "pipe:0",  "file:/x",           "rtmp://host/x",
        "data:,x", "s3://b/k",          "subfile,,start,0,end,9,,:x"};
    for (size_t i = 0; i < LATHE_COUNT(urls); i++) {
        struct lathe_input input;
        struct lathe_error err = {0};
        assert_true(lathe_input_check(urls[i], &input, &err) < 0);
        assert_int_equal(err.fault, LATHE_FAULT_INPUT);
        assert_non_null(strstr(err.what, urls[i]));
    }
    _cleanup_free_ char *empty = inside("empty.mp4"), *fifo = inside("fifo"),
                        *gone = inside("gone");
    _cleanup_free_ char *file = inside("a.mp4"), *same = inside("b.mp4");
    write_text(empty, "");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const struct {
        const char *path;
        int code;
    } wrong[] = {{empty, -ENODATA}, {fifo, -EINVAL}, {folder, -EISDIR}, {gone, -ENOENT}};
    for (size_t i = 0; i < LATHE_COUNT(wrong); i++) {
        struct lathe_input input;
        struct lathe_error err = {0};
        assert_int_equal(lathe_input_check(wrong[i].path, &input, &err), wrong[i].code);
        assert_int_equal(lathe_error_exit_code(&err), 1);
    }
    /* the identity is of the content, not of the name */
    struct lathe_input a, b;
    write_text(file, "some content");
    assert_int_equal(lathe_input_check(file, &a, NULL), 0);
    assert_int_equal(rename(file, same), 0);
    assert_int_equal(lathe_input_check(same, &b, NULL), 0);
    assert_string_equal(a.identity, b.identity);
    lathe_input_finish(&b);
    write_text(same, "other content");
    assert_int_equal(lathe_input_check(same, &b, NULL), 0);
    assert_string_not_equal(a.identity, b.identity);
    lathe_input_finish(&a);
    lathe_input_finish(&b);
}

static void outputs_are_checked(void **state)
{
    (void)state;
    _cleanup_free_ char *file = inside("in.mp4"), *link_path = inside("link.mp4");
    _cleanup_free_ char *nowhere = inside("nowhere/x.mp4"), *mkv = inside("x.mkv");
    _cleanup_free_ char *good = inside("good.mp4"), *new_folder = inside("new"), *path = NULL;
    _cleanup_free_ char *deep = inside("new/deep");
    write_text(file, "content");
    assert_int_equal(link(file, link_path), 0);
    struct lathe_input input;
    assert_int_equal(lathe_input_check(file, &input, NULL), 0);
    const struct {
        const char *text;
        bool as_folder;
        int code;
    } wrong[] = {{file, false, -EEXIST},    {link_path, false, -EEXIST},
                 {nowhere, false, -ENOENT}, {mkv, false, -EINVAL},
                 {folder, false, -EISDIR},  {"/dev/null", false, -EINVAL},
                 {file, true, -ENOTDIR},    {deep, true, -ENOENT},
                 {"-", false, -EINVAL},     {"pipe:1", false, -EINVAL}};
    for (size_t i = 0; i < LATHE_COUNT(wrong); i++) {
        struct lathe_error err = {0};
        int r = lathe_output_check(wrong[i].text, wrong[i].as_folder, &input, &path, &err);
        if (r != wrong[i].code)
            fail_msg("%s: %d (%s)", wrong[i].text, r, err.what);
    }
    assert_int_equal(lathe_output_check(new_folder, true, &input, &path, NULL), 0);
    free(path);
    assert_int_equal(lathe_output_check(good, false, &input, &path, NULL), 0);
    assert_string_equal(path, good);
    lathe_input_finish(&input);
}

static void job_ids_follow_settings(void **state)
{
    (void)state;
    struct lathe_input input = {.path = (char *)"/a.mp4", .identity = "0123"};
    struct lathe_settings s = {
        .quality = -1, .passes = 1, .renditions = {"720p"}, .n_renditions = 1};
    struct lathe_job job[5];
    assert_int_equal(lathe_cli_make_job(&s, &input, NULL, &job[0], NULL), 0);
    input.path = (char *)"/elsewhere.mp4";
    s.slots = 9;
    assert_int_equal(lathe_cli_make_job(&s, &input, NULL, &job[1], NULL), 0);
    assert_string_equal(job[0].id, job[1].id);
    s.preset = LATHE_PRESET_SLOW;
    assert_int_equal(lathe_cli_make_job(&s, &input, NULL, &job[2], NULL), 0);
    s.chunk_seconds = 3;
    assert_int_equal(lathe_cli_make_job(&s, &input, NULL, &job[3], NULL), 0);
    strcpy(input.identity, "0124");
    assert_int_equal(lathe_cli_make_job(&s, &input, NULL, &job[4], NULL), 0);
    for (int i = 1; i < 5; i++)
        for (int k = i + 1; k < 5; k++)
            assert_string_not_equal(job[i].id, job[k].id);
    for (int i = 0; i < 5; i++)
        lathe_job_finish(&job[i]);
}

/* --- scratch --- */

static void scratch_of_the_dead_is_swept(void **state)
{
    (void)state;
    setenv("LATHE_SCRATCH", folder, 1);
    _cleanup_free_ char *part = inside(".out.mp4.lathe-1234.part"), *innocent = inside("innocent");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) { /* a run that dies with work and a part beside its output */
        struct lathe_scratch dead;
        if (lathe_scratch_open(NULL, &dead, NULL) < 0 ||
            lathe_scratch_note_part(&dead, part, NULL) < 0 ||
            lathe_scratch_note_part(&dead, innocent, NULL) < 0)
            _exit(1);
        write_text(part, "half a film");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    write_text(innocent, "not ours");
    assert_int_equal(access(part, F_OK), 0);

    struct lathe_scratch first, second;
    assert_int_equal(lathe_scratch_open(NULL, &first, NULL), 0);
    assert_int_equal(access(part, F_OK), -1);
    assert_int_equal(access(innocent, F_OK), 0); /* noted, but not of a name that Lathe makes */
    /* the living are left alone */
    assert_int_equal(lathe_scratch_open(NULL, &second, NULL), 0);
    assert_int_equal(access(first.dir, F_OK), 0);
    assert_string_not_equal(first.dir, second.dir);
    _cleanup_free_ char *base = strdup(first.dir);
    *strrchr(base, '/') = '\0';
    lathe_scratch_close(&first);
    lathe_scratch_close(&second);
    _cleanup_free_ char *lock = lathe_format("%s/lathe.lock", base);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(base), 0); /* nothing else was left in it */
}

static void scratch_of_others_is_not_used(void **state)
{
    (void)state;
    setenv("LATHE_SCRATCH", folder, 1);
    _cleanup_free_ char *base = lathe_format("%s/lathe-%u", folder, (unsigned)geteuid());
    struct lathe_scratch scratch;
    struct lathe_error err = {0};
    assert_int_equal(mkdir(base, 0777), 0);
    assert_int_equal(chmod(base, 0777), 0);
    assert_int_equal(lathe_scratch_open(NULL, &scratch, &err), -EPERM);
    assert_int_equal(lathe_error_exit_code(&err), 78);
    assert_int_equal(rmdir(base), 0);
    assert_int_equal(symlink("/tmp", base), 0);
    assert_int_equal(lathe_scratch_open(NULL, &scratch, NULL), -EPERM);
    assert_int_equal(unlink(base), 0);
}

static void work_folder_is_kept_and_locked(void **state)
{
    (void)state;
    _cleanup_free_ char *work = inside("work"), *foreign = inside("foreign");
    _cleanup_free_ char *film = inside("foreign/film.mp4"), *kept = inside("work/kept");
    struct lathe_scratch one, two;
    struct lathe_error err = {0};
    assert_int_equal(lathe_scratch_open(work, &one, NULL), 0);
    write_text(kept, "x");
    assert_int_equal(lathe_scratch_open(work, &two, &err), -EBUSY);
    assert_non_null(strstr(err.what, "in use"));
    lathe_scratch_close(&one);
    expect_text(kept, "x");
    assert_int_equal(lathe_scratch_open(work, &two, NULL), 0); /* not empty, but ours */
    lathe_scratch_close(&two);
    assert_int_equal(mkdir(foreign, 0700), 0);
    write_text(film, "precious");
    assert_int_equal(lathe_scratch_open(foreign, &one, &err), -ENOTEMPTY);
    expect_text(film, "precious");
}

/* --- delivery --- */

static void deliver_into(const char *target_folder)
{
    _cleanup_free_ char *work = inside("w");
    struct lathe_scratch scratch;
    assert_int_equal(lathe_scratch_open(work, &scratch, NULL), 0);
    _cleanup_free_ char *a = inside("w/a"), *b = inside("w/b"), *parts = inside("w/parts"),
                        *absent = inside("w/absent");
    _cleanup_free_ char *to_a = lathe_format("%s/a.mp4", target_folder);
    _cleanup_free_ char *to_b = lathe_format("%s/b.mp4", target_folder);
    write_text(a, "film a");
    write_text(b, "film b");
    write_text(to_b, "old");
    assert_int_equal(chmod(to_b, 0640), 0);
    struct lathe_delivery list[] = {{.from = a, .to = to_a}, {.from = b, .to = to_b}};
    assert_int_equal(lathe_deliver(&scratch, list, 2, NULL, NULL), 0);
    expect_text(to_a, "film a");
    expect_text(to_b, "film b");
    struct stat st;
    assert_int_equal(stat(to_b, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640); /* as the file it replaced */
    assert_int_equal(access(parts, F_OK), -1);
    assert_int_equal(unlink(to_a), 0);

    /* when one cannot be brought, none is replaced and nothing is left */
    write_text(a, "film a, again");
    struct lathe_delivery broken[] = {{.from = a, .to = to_b}, {.from = absent, .to = to_a}};
    assert_true(lathe_deliver(&scratch, broken, 2, NULL, NULL) < 0);
    expect_text(to_b, "film b");
    assert_int_equal(unlink(to_b), 0);
    lathe_scratch_close(&scratch);
    assert_int_equal(rmdir(target_folder), 0); /* it is empty */
}

static void delivery_within_a_file_system(void **state)
{
    (void)state;
    _cleanup_free_ char *target = inside("target");
    assert_int_equal(mkdir(target, 0700), 0);
    deliver_into(target);
}

static void delivery_across_file_systems(void **state)
{
    (void)state;
    char target[] = "/dev/shm/lathe-unit-cli-XXXXXX";
    struct stat here, there;
    if (!mkdtemp(target))
        skip();
    assert_int_equal(stat(folder, &here), 0);
    assert_int_equal(stat(target, &there), 0);
    if (here.st_dev == there.st_dev) {
        rmdir(target);
        skip();
    }
    deliver_into(target);
}

/* --- text --- */

static void progress_fits_its_width(void **state)
{
    (void)state;
    const struct lathe_agent_progress p = {.phase = LATHE_PHASE_ENCODING,
                                           .frames_done = 50,
                                           .frames_total = 200,
                                           .chunks_done = 1,
                                           .chunks_total = 4,
                                           .fps = 61.25,
                                           .speed = 2.45,
                                           .eta_seconds = 3725};
    char text[256];
    lathe_progress_format(text, sizeof text, 120, &p);
    assert_string_equal(text, "encoding   25%  chunks 1/4  61.2 fps  2.45x  ETA 1:02:05");
    for (int width = 1; width < 60; width++) {
        lathe_progress_format(text, sizeof text, width, &p);
        assert_true((int)strlen(text) <= width);
    }
    const struct lathe_agent_progress unknown = {.eta_seconds = -1};
    lathe_progress_format(text, sizeof text, 80, &unknown);
    assert_string_equal(text, "planning ");
}

static void values_cannot_move_the_cursor(void **state)
{
    (void)state;
    json_t *value = json_string("a\033[2Jb\nc\xc2\x9b"
                                "d");
    _cleanup_free_ char *text = lathe_value_text(value);
    json_decref(value);
    assert_string_equal(text, "a?[2Jb?c??d");
}

static int setup(void **state)
{
    (void)state;
    folder = strdup("/tmp/lathe-unit-cli-XXXXXX");
    return folder && mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    int r = lathe_remove_tree(folder, NULL);
    free(folder);
    return r;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_are_read),
        TEST(choices_match_the_job),
        TEST(wrong_options_are_refused),
        TEST(help_fits_a_screen),
        TEST(inputs_are_checked),
        TEST(outputs_are_checked),
        TEST(job_ids_follow_settings),
        TEST(scratch_of_the_dead_is_swept),
        TEST(scratch_of_others_is_not_used),
        TEST(work_folder_is_kept_and_locked),
        TEST(delivery_within_a_file_system),
        TEST(delivery_across_file_systems),
        TEST(progress_fits_its_width),
        TEST(values_cannot_move_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
