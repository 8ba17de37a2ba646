/* SPDX-License-Identifier: MIT */
/*
 * `lathe completion`: what a shell has to know, from the option tables. Words of choices, files for
 * what takes a file, ids of jobs from `lathe list`.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "lathe/base.h"

static bool takes_file(const struct lathe_option *option)
{
    return option->type == LATHE_OPTION_TEXT && option->argument &&
           (strcmp(option->argument, "PATH") == 0 || strcmp(option->argument, "DIR") == 0 ||
            strcmp(option->argument, "FILE") == 0);
}

static void print_words(const char *choices)
{
    for (const char *p = choices; *p; p++)
        putchar(*p == '|' ? ' ' : *p);
}

static bool wants_job(const struct lathe_command *command)
{
    return strncmp(command->synopsis, "JOB", 3) == 0;
}

/* --- bash --- */

static void print_bash_command(const struct lathe_command *command)
{
    printf("    %s)\n        case $previous in\n", command->name);
    for (size_t i = 0; i < command->n_options; i++) {
        const struct lathe_option *option = &command->options[i];
        if (option->type == LATHE_OPTION_FLAG)
            continue;
        printf("        --%s", option->name);
        if (option->letter)
            printf(" | -%c", option->letter);
        printf(") ");
        if (option->choices) {
            printf("words=\"");
            print_words(option->choices);
            printf("\" ;;\n");
        } else {
            printf("%s ;;\n", takes_file(option) ? "files=1" : "return");
        }
    }
    printf("        *)\n            words=\"");
    for (size_t i = 0; i < command->n_options; i++)
        printf("%s--%s", i ? " " : "", command->options[i].name);
    printf("\"\n");
    if (wants_job(command))
        printf("            [[ $word == -* ]] || words=$(_lathe_jobs)\n");
    else if (command->operands_max > 0)
        printf("            [[ $word == -* ]] || files=1\n");
    printf("            ;;\n        esac\n        ;;\n");
}

static void print_bash(void)
{
    printf("# bash completion for lathe; made by: lathe completion bash\n"
           "_lathe_jobs() {\n"
           "    lathe list --limit 100 --json 2>/dev/null |\n"
           "        grep -o '\"job_id\": *\"[0-9a-z-]*\"' | cut -d'\"' -f4 | sort -u\n"
           "}\n"
           "_lathe() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local words= files= command=${COMP_WORDS[1]}\n"
           "    COMPREPLY=()\n"
           "    [ \"$COMP_CWORD\" = 1 ] && command=\n"
           "    case $command in\n"
           "    '' | help) words=\"");
    for (size_t i = 0; i < lathe_n_commands; i++)
        printf("%s ", lathe_commands[i].name);
    printf("help --version\" ;;\n");
    for (size_t i = 0; i < lathe_n_commands; i++)
        print_bash_command(&lathe_commands[i]);
    printf("    esac\n"
           "    [ -z \"$words\" ] || COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "    [ -z \"$files\" ] || { compopt -o filenames 2>/dev/null\n"
           "        mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen -f -- \"$word\"); }\n"
           "}\n"
           "complete -F _lathe lathe\n");
}

/* --- zsh --- */

/* Within single quotes and a description in brackets. */
static void print_zsh_text(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void print_zsh_argument(const struct lathe_option *option)
{
    if (option->type == LATHE_OPTION_FLAG)
        return;
    printf(":%s:", option->name);
    if (option->choices) {
        printf("(");
        print_words(option->choices);
        printf(")");
    } else if (takes_file(option)) {
        printf("_files");
    }
}

static void print_zsh_command(const struct lathe_command *command)
{
    printf("    %s)\n        _arguments -s \\\n", command->name);
    for (size_t i = 0; i < command->n_options; i++) {
        const struct lathe_option *option = &command->options[i];
        const char *many = option->type == LATHE_OPTION_LIST ? "*" : "";
        for (int letter = option->letter ? 0 : 1; letter < 2; letter++) {
            if (letter == 0)
                printf("            '%s-%c[", many, option->letter);
            else
                printf("            '%s--%s[", many, option->name);
            print_zsh_text(option->help);
            printf("]");
            print_zsh_argument(option);
            printf("' \\\n");
        }
    }
    printf("            '1:%s'\n        ;;\n", wants_job(command)          ? "job:_lathe_jobs"
                                               : command->operands_max > 0 ? "file:_files"
                                                                           : "nothing more:");
}

static void print_zsh(void)
{
    printf("#compdef lathe\n# zsh completion for lathe; made by: lathe completion zsh\n"
           "_lathe_jobs() {\n"
           "    local -a jobs\n"
           "    jobs=(${(f)\"$(lathe list --limit 100 --json 2>/dev/null |\n"
           "        grep -o '\"job_id\": *\"[0-9a-z-]*\"' | cut -d'\"' -f4 | sort -u)\"})\n"
           "    compadd -a jobs\n"
           "}\n"
           "_lathe() {\n"
           "    if (( CURRENT == 2 )) || [[ $words[2] == help && CURRENT -eq 3 ]]; then\n"
           "        local -a commands\n"
           "        commands=(\n");
    for (size_t i = 0; i < lathe_n_commands; i++) {
        printf("            '%s:", lathe_commands[i].name);
        print_zsh_text(lathe_commands[i].summary);
        printf("'\n");
    }
    printf("            'help:show what a command can do'\n"
           "        )\n"
           "        _describe command commands\n"
           "        return\n"
           "    fi\n"
           "    local command=$words[2]\n"
           "    shift words\n"
           "    (( CURRENT-- ))\n"
           "    case $command in\n");
    for (size_t i = 0; i < lathe_n_commands; i++)
        print_zsh_command(&lathe_commands[i]);
    printf(
        "    esac\n"
        "}\n"
        "if [ \"$funcstack[1]\" = _lathe ]; then _lathe \"$@\"; else compdef _lathe lathe; fi\n");
}

int lathe_cli_completion(const struct lathe_settings *settings)
{
    struct lathe_error err = {0};
    if (strcmp(settings->input, "bash") == 0) {
        print_bash();
    } else if (strcmp(settings->input, "zsh") == 0) {
        print_zsh();
    } else {
        lathe_error_set(&err, -EINVAL, LATHE_FAULT_USAGE,
                        "\"%.60s\" is no shell that is known: bash or zsh", settings->input);
        return lathe_cli_complain(&err);
    }
    return fflush(stdout) == EOF;
}
