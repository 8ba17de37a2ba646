#!/bin/bash
# SPDX-License-Identifier: MIT
# What the shells complete, asked of the shells: every command, every option of each, words of choices,
# files. zsh is asked through a terminal, where it is installed.
#
# usage: tests/completion.sh LATHE
set -u
PATH=$(cd "$(dirname "$1")" && pwd):$PATH
faults=0
fault() {
    echo "completion: $*"
    faults=$((faults + 1))
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lathe completion bash >"$work/bash" || fault "nothing for bash"
lathe completion zsh >"$work/_lathe" || fault "nothing for zsh"
lathe completion fish 2>/dev/null && fault "a shell that is unknown is no error"
commands=$(lathe help | sed -n 's/^  lathe \([a-z]*\) .*/\1/p')
[ "$(wc -w <<<"$commands")" -gt 12 ] || fault "few commands: $commands"
options_of() { lathe help "$1" | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'; }

# --- bash ---
source "$work/bash"
expect() { # WANTED WORDS…: offered for a line whose last word is being written
    local wanted=$1
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _lathe 2>/dev/null
    printf '%s\n' "${COMPREPLY[@]}" | grep -qxF -- "$wanted" || fault "bash: no '$wanted' for: $*"
}
for command in $commands; do
    expect "$command" lathe ""
    for option in $(options_of "$command"); do
        expect "$option" lathe "$command" -
    done
done
expect hevc lathe run --codec ""
expect veryslow lathe submit x.mkv -p very
expect ended lathe list --filter e
touch "$work/film.mkv"
cd "$work" || exit 1
expect film.mkv lathe run fi
expect film.mkv lathe submit --wait -o f

# --- zsh ---
if command -v zsh >/dev/null; then
    ask_zsh() { # LINE: what a terminal shows after a tab
        timeout 60 zsh -f -c '
            zmodload zsh/zpty
            zpty -b shell zsh -f -i
            zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; zstyle \":completion:*\" list-prompt; LISTMAX=9999"
            zpty -w shell "echo is-ready"
            typeset text= all=
            integer tries=0
            while (( tries++ < 400 )) && [[ $all != *is-ready*is-ready* ]]; do
                zpty -r -t shell text && all+=$text || sleep 0.02
            done
            all=
            zpty -w -n shell "$2"$'"'\t'"'
            for tries in {1..60}; do
                zpty -r -t shell text && all+=$text || sleep 0.02
            done
            print -r -- "$all"
            zpty -d shell' zsh "$work" "$1" 2>/dev/null | tr -d '\r\007'
    }
    expect_zsh() { # WANTED LINE
        ask_zsh "$2" | grep -qF -- "$1" || fault "zsh: no '$1' for: $2"
    }
    expect_zsh 'submit' 'lathe sub'
    expect_zsh '--codec' 'lathe run --cod'
    expect_zsh 'hevc' 'lathe run --codec he'
    expect_zsh 'film.mkv' 'lathe plan fil'
    for command in $commands; do # the rest without a terminal: it is in the file that was tried
        grep -qF "'$command:" "$work/_lathe" || fault "zsh lacks $command"
        for option in $(options_of "$command"); do
            sed -n "/^    $command)/,/;;/p" "$work/_lathe" | grep -qF -- "$option[" ||
                fault "zsh: $command lacks $option"
        done
    done
else
    echo "completion: zsh is not installed and was not asked"
fi
[ "$faults" = 0 ]
