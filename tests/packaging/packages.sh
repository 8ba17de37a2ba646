#!/bin/bash
# SPDX-License-Identifier: MIT
# Builds both packages and looks into them: lintian and rpmlint have nothing to say, a second build of the
# Debian package has the same bytes, both packages hold the same files with the same modes, programs have their
# hardening and their debug symbols, man pages and maintainer scripts are sound. As root or with fakeroot.
# Its last line has the three numbers of scripts/test.
#
# usage: tests/packaging/packages.sh FOLDER        (the packages stay there)
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(realpath -m "$1")
passed=0 failed=0 skipped=0
ok() { passed=$((passed + 1)) && echo "ok - $*"; }
bad() { failed=$((failed + 1)) && echo "not ok - $*"; }
skip() { skipped=$((skipped + 1)) && echo "skip - $*"; }
check() { # NAME COMMAND…: its output is shown when it fails
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then ok "$name"; else bad "$name"; echo "$said" | tail -30; fi
}
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
    exit
}
for tool in dpkg-buildpackage dh scdoc; do
    command -v $tool >/dev/null || { skip "packages: $tool is not installed" && finish; }
done

check "the Debian package builds, and lintian is silent" "$root/packaging/build-deb" "$out/deb"
deb=$(ls "$out"/deb/lathe_*.deb 2>/dev/null) || finish
check "a second build" "$root/packaging/build-deb" "$out/deb2"
same=1
for file in "$out"/deb/*.deb; do cmp -s "$file" "$out/deb2/${file##*/}" || same=0; done
[ "$same" = 1 ] && ok "two builds are identical" || bad "two builds differ"
[ -s "$(ls "$out"/deb/lathe-dbgsym_*.deb)" ] && ok "debug symbols" || bad "no debug symbols"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
dpkg-deb -x "$deb" "$tree/deb" && dpkg-deb -e "$deb" "$tree/control"
grep -qx /etc/lathe/lathe.conf "$tree/control/conffiles" && ok "the configuration is one" || bad "no conffile"
units=$(pkg-config --variable=systemdsystemunitdir systemd)
[ -f "$tree/deb$units/lathe-worker.service" ] && ok "units are where systemd looks" || bad "units are elsewhere"
grep -q "deb-systemd-helper enable 'lathe-worker.service'" "$tree/control/postinst" &&
    ok "the worker is enabled" || bad "the worker is not enabled"
started=$(sed -n 's/^ExecStart=//p' "$tree/deb$units"/lathe-*.service | sort -u)
for program in $started; do [ -x "$tree/deb$program" ] || bad "$program is not in the package"; done
[ -n "$started" ] && ok "units start what is there" || bad "units start nothing"
hardened=1
for program in usr/bin/lathe usr/bin/lathe-worker usr/libexec/lathe/lathe-slot; do
    readelf -d "$tree/deb/$program" | grep -q 'BIND_NOW' && readelf -h "$tree/deb/$program" | grep -q 'DYN' || hardened=0
done
[ "$hardened" = 1 ] && ok "programs are position independent and bound at start" || bad "programs are not hardened"
if command -v mandoc >/dev/null; then
    said=$(for page in "$tree"/deb/usr/share/man/man*/*.gz; do
        zcat "$page" | mandoc -T lint -W warning 2>&1 | grep -v 'skipping paragraph macro\|unusual Xr\|mandoc: outdated\|cannot parse date\|missing date'
    done)
    [ -z "$said" ] && ok "man pages" || { bad "man pages" && echo "$said" | head; }
else
    skip "man pages: mandoc is not installed"
fi
if command -v shellcheck >/dev/null; then
    check "scripts" shellcheck -s sh -e SC2043 "$root/packaging/debian/postrm" "$root/systemd/lathe-gpu-setup"
    check "scripts that build" shellcheck "$root/packaging/build-deb" "$root/packaging/build-rpm"
else
    skip "scripts: shellcheck is not installed"
fi

if command -v rpmbuild >/dev/null; then
    check "the RPM package builds, and rpmlint is silent" "$root/packaging/build-rpm" "$out/rpm"
    rpm=$(ls "$out"/rpm/lathe-[0-9]*.x86_64.rpm 2>/dev/null) || finish
    # Owners and modes of everything, but for what each system has in a place of its own.
    normalize() {
        sed 's| \./| /|; s|\.gz$||; s|/$||; s|/lib/systemd/|/usr/lib/systemd/|; s|/usr/usr/|/usr/|
             s|/usr/share/licenses/lathe-[^/]*/LICENSE$|/usr/share/doc/lathe/copyright|
             s|vendor-completions|site-functions|' |
            grep -v '^d\|\.build-id\|/usr/share/licenses\|changelog.Debian\|lintian' |
            sed 's|doc/lathe/CHANGELOG.md$|doc/lathe/changelog|' | sort -u
    }
    dpkg-deb -c "$deb" | awk '{print $1, $2, $6}' | sed 's|root/root|root root|' | normalize >"$tree/a"
    rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]' "$rpm" | normalize >"$tree/b"
    if [ -s "$tree/a" ] && diff "$tree/a" "$tree/b" >"$tree/diff"; then
        ok "both packages hold the same files"
    else
        bad "the packages differ"
        cat "$tree/diff"
    fi
    check "the RPM unpacks" sh -c "cd '$tree' && rpm2cpio '$rpm' | cpio -idm --quiet && test -x usr/bin/lathe-worker"
    rpm -qp --scripts "$rpm" | grep -q 'useradd\|sysusers' && ok "the RPM makes the account" || bad "no account"
else
    skip "RPM: rpmbuild is not installed"
fi
skip "RPM: installing on a real RPM system is not tried on Debian"
finish
