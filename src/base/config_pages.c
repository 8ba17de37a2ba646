/* SPDX-License-Identifier: MIT */
/*
 * What people read about the options, made from the table.
 */
#include <string.h>

#include "config_values.h"
#include "lathe/base.h"

static const char *default_words(const struct lathe_config_option *option)
{
    if (option->standard_words)
        return option->standard_words;
    return *option->standard ? option->standard : "none";
}

/* "--queue-driver" */
static void flag_name(const struct lathe_config_option *option, char *text, size_t size)
{
    snprintf(text, size, "--%s", option->name);
    for (char *p = text; *p; p++)
        if (*p == '.' || *p == '_')
            *p = '-';
}

/* `text` in lines of at most 80 columns, each after `indent`. */
static void write_wrapped(FILE *f, const char *indent, const char *text)
{
    size_t width = 80 - strlen(indent);
    while (*text) {
        size_t n = strlen(text);
        if (n > width) {
            for (n = width; n > 0 && text[n] != ' ';)
                n--;
            if (n == 0)
                n = strcspn(text, " ");
        }
        fprintf(f, "%s%.*s\n", indent, (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static bool is_quoted(const struct lathe_config_option *option)
{
    return option->type == LATHE_CONFIG_TEXT || option->type == LATHE_CONFIG_CHOICE;
}

/* The options of group `group` ("" = of none) of `length`; the group's lines are indented. */
static void write_group(FILE *f, const char *group, size_t length)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        const char *dot = strchr(option->name, '.');
        size_t own = dot ? (size_t)(dot - option->name) : 0;
        if (own != length || strncmp(option->name, group, length) != 0)
            continue;
        char allowed[160];
        lathe_config_allowed(option, allowed, sizeof allowed);
        _cleanup_free_ char *words = lathe_format("%s. Allowed: %s. Default: %s.", option->help,
                                                  allowed, default_words(option));
        if (!words)
            return;
        const char *quote = is_quoted(option) ? "\"" : "";
        fputc('\n', f);
        write_wrapped(f, length ? "    # " : "# ", words);
        fprintf(f, "%s#%s = %s%s%s;\n", length ? "    " : "", dot ? dot + 1 : option->name, quote,
                option->standard, quote);
    }
}

void lathe_config_write_sample(FILE *f)
{
    fputs("# Configuration of Lathe on this host: lathe.conf(5). Everything has a default; remove\n"
          "# the # before a line to change it. Variables LATHE_* and flags are stronger.\n"
          "# Secrets do not belong here: see store.credentials and password_file.\n",
          f);
    write_group(f, "", 0);
    const char *last = "";
    size_t last_length = 0;
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const char *name = lathe_config_options[i].name, *dot = strchr(name, '.');
        size_t length = dot ? (size_t)(dot - name) : 0;
        if (length == 0 || (length == last_length && strncmp(name, last, length) == 0))
            continue;
        fprintf(f, "\n%.*s: {", (int)length, name);
        write_group(f, name, length);
        fputs("};\n", f);
        last = name;
        last_length = length;
    }
}

void lathe_config_write_reference(FILE *f)
{
    fputs("| option | variable | allowed | default | |\n|---|---|---|---|---|\n", f);
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        char allowed[160];
        lathe_config_allowed(option, allowed, sizeof allowed);
        fprintf(f, "| `%s` | `%s` | %s | %s | %s%s |\n", option->name, option->variable, allowed,
                default_words(option), option->help,
                option->reloads ? "; taken anew on SIGHUP" : "");
    }
}

/* scdoc takes _ and * for emphasis. */
static void write_escaped(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (strchr("_*\\[#|~", *text))
            fputc('\\', f);
        fputc(*text, f);
    }
}

void lathe_config_write_man(FILE *f)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        char allowed[160], flag[64];
        lathe_config_allowed(option, allowed, sizeof allowed);
        flag_name(option, flag, sizeof flag);
        fputc('*', f);
        write_escaped(f, option->name);
        fputs("*\n\t", f);
        _cleanup_free_ char *words =
            lathe_format("%s%s. Allowed: %s. Default: %s. Variable: %s. Flag of lathe-worker: %s.",
                         option->help, option->reloads ? "; taken anew on SIGHUP" : "", allowed,
                         default_words(option), option->variable, flag);
        write_escaped(f, words ? words : "");
        fputs("\n\n", f);
    }
}

void lathe_config_write_flags(FILE *f)
{
    for (size_t i = 0; i < lathe_n_config_options; i++) {
        const struct lathe_config_option *option = &lathe_config_options[i];
        char flag[64];
        flag_name(option, flag, sizeof flag);
        _cleanup_free_ char *left = lathe_format("  %s VALUE", flag);
        fprintf(f, "%-34s[%.44s]\n", left ? left : "", default_words(option));
    }
}
