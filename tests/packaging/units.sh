#!/bin/bash
# SPDX-License-Identifier: MIT
# The units as they are configured here: systemd has nothing to say about them, and the worker's
# exposure stays within its limit (2.0 with GPUs, 1.6 without). 77: no systemd on this machine.
#
# usage: tests/packaging/units.sh CONFIGURED_UNITS SOURCE_UNITS
set -u
if ! command -v systemd-analyze >/dev/null; then
    echo "units: systemd-analyze is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
faults=0
fault() {
    echo "units: $*"
    faults=$((faults + 1))
}

# The programs are not installed here; that they are where the units say is the package's test.
for unit in "$1"/*.service; do
    sed 's|^ExecStart=/.*|ExecStart=/bin/true|' "$unit" >"$work/${unit##*/}"
    ! grep -n '@[A-Z_]*@' "$unit" || fault "$unit was not configured"
done
cp "$2"/lathe.target "$2"/lathe.slice "$work"
for unit in lathe-worker.service lathe-worker@.service; do
    install -D -m 644 "$2/gpu.conf" "$work/$unit.d/50-gpu.conf"
done
cp "$work/lathe-worker@.service" "$work/lathe-worker@0.service"
said=$(cd "$work" && SYSTEMD_UNIT_PATH="$work:" systemd-analyze verify --man=no ./lathe-worker.service \
    ./lathe-worker@0.service ./lathe-gpu-setup.service ./lathe.target ./lathe.slice 2>&1 |
    grep -F "$work" || true)
[ -z "$said" ] || fault "systemd-analyze verify: $said"

exposure() { # unit, ten times the limit
    local report
    report=$(SYSTEMD_UNIT_PATH="$work:" systemd-analyze security --offline=true --no-pager \
        --threshold="$2" "$work/$1" 2>&1) || fault "$1 is more exposed than $2: $report"
    sed -n 's/.*\(Overall exposure level.*[0-9]\).*/\1/p' <<<"$report"
}
exposure lathe-worker.service 20
exposure lathe-worker@.service 20
cp "$2/cpu-only.conf" "$work/lathe-worker.service.d/60-cpu-only.conf"
exposure lathe-worker.service 16
# A test of the test: without its hardening the unit is refused.
grep -v '^\(Protect\|Restrict\|System\|Capab\|NoNew\)' "$work/lathe-worker.service" >"$work/bare.service"
systemd-analyze security --offline=true --threshold=20 "$work/bare.service" >/dev/null 2>&1 &&
    fault "a bare unit passes too"

[ "$faults" = 0 ]
