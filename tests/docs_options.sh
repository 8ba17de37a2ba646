#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual says what the program does: every option, letter and default of `lathe help` is in
# docs/configuration.md and in the man page, and nothing else is; likewise the variables LATHE_*. The
# pages of the configuration hold what the program prints about it.
#
# usage: tests/docs_options.sh LATHE SOURCE_FOLDER
set -u
lathe=$1
page=$2/docs/configuration.md
man=$2/docs/man/lathe.1.scd
man_conf=$2/docs/man/lathe.conf.5.scd
faults=0
fault() {
    echo "docs_options: $*"
    faults=$((faults + 1))
}

# "NAME;LETTER;DEFAULT" for each option of a command; DEFAULT is what stands in brackets at the end.
options_of() {
    "$lathe" help "$1" | sed -n 's/^  \(-\(.\), \|    \)--\([a-z-]*\)\(.*\)$/\3;\2;\4/p' |
        sed 's/^\([a-z-]*;.\{0,1\};\).*\[\([^]]*\)\]$/\1\2/; t; s/^\([a-z-]*;.\{0,1\};\).*/\1/'
}

# The rows of the command's table.
table_of() { sed -n "/^## lathe $1\$/,/^## /s/^| \`-/&/p" "$page"; }

commands=$("$lathe" help | sed -n 's/^  lathe \([a-z]*\) .*/\1/p')
[ -n "$commands" ] || fault "no commands in 'lathe help'"
all=
for command in $commands; do
    grep -q "^\*lathe $command\*" "$man" || fault "the man page's synopsis lacks $command"
    options=$(options_of "$command")
    [ -n "$options" ] || fault "no options in 'lathe help $command'"
    while IFS=';' read -r name letter default; do
        all="$all $name"
        label="\`--$name\`"
        heading="*--$name*"
        [ -z "$letter" ] || label="\`-$letter\`, $label" heading="*-$letter*, $heading"
        row=$(table_of "$command" | grep -F "| $label |")
        [ -n "$row" ] || fault "$page: $command has no row '$label'"
        if [ -n "$default" ] && [ -n "$row" ]; then
            grep -qF "| $default |" <<<"$row" ||
                fault "$page: $command --$name: the default is '$default'"
        fi
        grep -qF -- "$heading" "$man" || fault "$man: $command has no '$heading'"
    done <<<"$options"
    for name in $(table_of "$command" | sed 's/^| [^|]*`--\([a-z-]*\)` |.*/\1/'); do
        grep -q "^$name;" <<<"$options" || fault "$page: $command has no option --$name"
    done
done
for name in $(sed -n '/^# OPTIONS OF/,/^# OUTPUT/p' "$man" | grep '^\*-' | grep -o -- '--[a-z-]*'); do
    [[ " $all " == *" ${name#--} "* ]] || fault "$man: no command has the option $name"
done

reference=$("$lathe" config --config /dev/null --reference)
[ -n "$reference" ] || fault "'lathe config --reference' prints nothing"
[ "$(sed -n '/^<!-- made by: lathe config --reference -->$/,/^<!-- end -->$/{/^<!--/d;p}' "$page")" = "$reference" ] ||
    fault "$page: the table of options is not what 'lathe config --reference' prints"
entries=$("$lathe" config --config /dev/null --man)
[ "$(sed -n '/^# OPTIONS$/,/^# FILES$/{/^# /d;p}' "$man_conf" | sed '1{/^$/d}')" = "$entries" ] ||
    fault "$man_conf: the options are not what 'lathe config --man' prints"

# Variables that are no options. One is a whole string in the sources; "LATHE_SLOT_*" there is a pattern.
options=$(grep -o '`LATHE_[A-Z0-9_]*`' <<<"$reference" | tr -d '`')
variables=$(grep -rhoE --include='*.[ch]' --exclude=fail.c '"(LATHE_[A-Z0-9_]*[A-Z0-9]|NO_COLOR)"' "$2/src" "$2/hwaccel" |
    tr -d '"' | sort -u | grep -vxF "$options")
[ -n "$variables" ] || fault "no variables in the sources"
for name in $variables; do
    grep -q "^| \`$name\` |" "$page" || fault "$page lacks $name"
    grep -q "^\*$name\*$" "$man" || fault "$man lacks $name"
done
for name in $(grep -ohE '^(\| `|\*)LATHE_[A-Z0-9_]*' "$page" "$man" | grep -o 'LATHE.*' | sort -u); do
    grep -qx "$name" <<<"$variables" || fault "nothing in the sources reads $name"
done

[ "$faults" = 0 ] || exit 1
echo "docs_options: $(wc -w <<<"$all") options and $(wc -w <<<"$variables") variables are documented"
