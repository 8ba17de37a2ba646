# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# A server process of our own on loopback: launched, awaited, stopped by its id. Sourced. The files
# beside this one give for each server X
#
#   X_install               fetches what is missing from a package registry, once
#   X_start DIR [PORT]      returns when it serves; a second start continues with its port and data
#   X_stop DIR [SIGNAL]     returns when it is gone
#
# DIR/port and DIR/pid say where and what it is, DIR/log what it said.

# Downloads, kept between runs.
server_cache=${LATHE_CLUSTER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/lathe}

# When a process began: with that, an id names one process for good. Nothing for one that is gone.
server_birth() { # PID
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    set -- ${stat##*) }
    [ "$1" = Z ] || echo "${20}"
}

server_lives() { # DIR
    local pid birth
    { read -r pid <"$1/pid" && read -r birth <"$1/birth"; } 2>/dev/null || return
    [ "$(server_birth "$pid")" = "$birth" ]
}

server_launch() { # DIR PROGRAM ARGUMENT…
    local dir=$1
    shift
    # In a session of its own, so that Ctrl-C ends the caller alone; without our lock.
    setsid "$@" >>"$dir/log" 2>&1 </dev/null 9>&- &
    echo $! >"$dir/pid"
    server_birth $! >"$dir/birth"
    disown
}

server_await() { # DIR SECONDS CHECK ARGUMENT…: until the check succeeds
    local dir=$1 give_up=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! server_lives "$dir" || [ $SECONDS -gt $give_up ]; then
            echo "${dir##*/}: it does not answer; the end of $dir/log:" >&2
            tail -n 5 "$dir/log" >&2
            server_stop "$dir" KILL
            return 1
        fi
        sleep .1
    done
}

server_stop() { # DIR [SIGNAL]: SIGKILL after 5 seconds
    local pid tries
    server_lives "$1" || return 0
    pid=$(<"$1/pid")
    kill -s "${2:-TERM}" "$pid"
    for ((tries = 0; tries < 100; tries++)); do
        server_lives "$1" || return 0
        sleep .05
        [ $tries != 99 ] || kill -s KILL "$pid" 2>/dev/null
    done
    sleep .2
    ! server_lives "$1"
}

# Ports that nobody listens on, below those that the kernel gives to clients: a server that is
# restarted finds its own free again. SeaweedFS also takes each + 10000.
server_free_ports() { # N
    python3 - "$1" <<'EOF'
import random, socket, sys
found = []
while len(found) < int(sys.argv[1]):
    port = random.randrange(12000, 22000)
    try:
        for p in (port, port + 10000):
            with socket.socket() as s:
                s.bind(("127.0.0.1", p))
    except OSError:
        continue
    if port not in found:
        found.append(port)
print(*found)
EOF
}

# Prints the port of DIR/NAME: the given one, that of the last start, or a free one.
server_port() { # DIR NAME [PORT]
    if [ -n "${3:-}" ]; then
        echo "$3" >"$1/$2"
    elif [ ! -s "$1/$2" ]; then
        server_free_ports 1 >"$1/$2" || return
    fi
    cat "$1/$2"
}

# Debian packages, where one of the programs is missing.
server_packages() { # "PROGRAM…" "PACKAGE…"
    local program
    for program in $1; do
        command -v "$program" >/dev/null && continue
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            echo "cluster: $program is missing; install: $2" >&2
            return 1
        fi
        # shellcheck disable=SC2086
        apt-get install -qq -y --no-install-recommends $2 >/dev/null
        return
    done
}
