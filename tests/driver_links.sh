#!/bin/sh
# SPDX-License-Identifier: MIT
# No program is linked with a vendor's driver: they are opened where they are there, so that one package
# serves every host. Links of links do not count: FFmpeg's are the distribution's.
# usage: driver_links.sh PROGRAM…
set -eu
bad=0
for program; do
    needed=$(objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }')
    [ -n "$needed" ] || { echo "$program: nothing is known of its libraries"; exit 1; }
    for library in $needed; do
        case $library in
        libcuda.* | libnvidia-* | libnvcuvid.* | libcudart.* | *_drv_video.so* | libmfx* | libvpl* | libamf*)
            echo "$program is linked with $library"
            bad=1
            ;;
        esac
    done
done
exit $bad
