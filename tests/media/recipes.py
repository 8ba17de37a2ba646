# SPDX-License-Identifier: MIT
"""The list of sources: what each is, how it is made, how it is transcoded and what is expected.

A recipe is a shell script that writes $OUT. It may use $GEN (media-gen), $TOOLS (this folder's
tools) and $TMP (an empty folder). Made files are cached under a hash of the recipe and the tools.
"""
import os
import pathlib
import subprocess
from dataclasses import dataclass, field

FF = "ffmpeg -nostdin -v error -y"
AAC = "-c:a aac -b:a 128k"
SIZE = "320x180"


@dataclass
class Case:
    name: str
    ext: str
    script: str
    lathe: list = field(default_factory=list)  # further options of the command
    check: list = field(default_factory=list)  # further options of media-check
    renditions: tuple = ("180p:600k",)
    chunk_seconds: str = "1"


CASES = []
# One of each kind of stream, for runs that are too many for all of them.
SAMPLE = {"fps_25", "open_gop_h264_mp4", "open_gop_hevc_ts", "open_gop_h264_mkv", "vfr_mkv", "ts_wrap",
          "edit_list_3", "prores", "vp9", "av1", "mpeg2_ts", "paff_ts", "paff_mp4", "intra_refresh_ts",
          "audio_gap_ts", "two_audio_mkv", "two_pass", "interlaced_scaled", "mpeg4_packed",
          "resolution_change", "ladder", "large_packets"}
# Those of which no packets can be cut.
NOT_CUT = set()


def run(script, gen, folder, out, **options):
    """Runs a recipe in an empty folder, in which it writes `out`. Its words are paths from there,
    so that no recipe needs to quote what the folders above are called."""
    os.symlink(gen, os.path.join(folder, "media-gen"))
    os.symlink(pathlib.Path(__file__).resolve().parent / "tools", os.path.join(folder, "tools"))
    environment = dict(os.environ, GEN="./media-gen", TOOLS="./tools", TMP=".", OUT="./" + out)
    return subprocess.run(["sh", "-e", "-c", script], env=environment, cwd=folder, text=True,
                          **options)


def case(name, ext, script, **options):
    for key in ("lathe", "check"):
        options[key] = options.get(key, "").split()
    CASES.append(Case(name, ext, script, **options))


def x264(params="", fmt="yuv420p", more=""):
    return f"-c:v libx264 -preset veryfast -pix_fmt {fmt} -x264-params keyint=50:{params} {more}"


def x265(params="", fmt="yuv420p", more=""):
    return (f"-c:v libx265 -preset ultrafast -pix_fmt {fmt} {more}"
            f" -x265-params log-level=none:keyint=50:{params}")


def sound(seconds, name="a.wav", options=""):
    return f"$GEN audio --seconds {seconds} {options} > $TMP/{name}\n"


def frames(count, fps="25", size=SIZE, options=""):
    """A pipe of numbered frames into ffmpeg's first input."""
    return (f"$GEN video --frames {count} --size {size} {options} | {FF}"
            f" -f rawvideo -pix_fmt yuv444p -s {size} -r {fps} -i -")


def av(count=100, fps="25", seconds=4, video="", audio=AAC, mux="", size=SIZE, options="",
       out="$OUT"):
    """Pictures and sound in one file."""
    return (sound(seconds) + frames(count, fps, size, options)
            + f" -i $TMP/a.wav {video or x264()} {audio} {mux} {out}\n")


# --- frame rates -------------------------------------------------------------------------------
case("fps_23976", "mp4", av(96, "24000/1001"), check="--expect-frames 96 --expect-tracks 1")
case("fps_25", "mp4", av(), check="--expect-frames 100 --expect-tracks 1 --short-side 180")
case("fps_2997", "mp4", av(120, "30000/1001"), check="--expect-frames 120")
case("fps_50", "mp4", av(200, "50"), check="--expect-frames 200")
case("fps_60", "mp4", av(240, "60"), check="--expect-frames 240")
case("fps_2997_ts", "ts", av(120, "30000/1001"), check="--expect-frames 120")
case("fps_23976_mkv", "mkv", av(96, "24000/1001"), check="--expect-frames 96")
case("half_size", "mp4", av(100, size="640x360"), renditions=("180p:600k",),
     check="--short-side 180")
case("ladder", "mp4", av(100, size="640x360"),
     renditions=("360p:1200k", "270p:800k", "180p:600k"))
case("hevc", "mp4", av(), lathe="--codec hevc", check="--codec hevc")
case("hevc_ladder", "mp4", av(100, "30000/1001", size="640x360"), lathe="--codec hevc",
     check="--codec hevc", renditions=("360p:1200k", "180p:600k"))
case("quality", "mp4", av(), lathe="--quality 26", renditions=("180p",))
case("two_pass", "mp4", av(), lathe="--passes 2")
case("gop_seconds", "mp4", av(), lathe="--gop-seconds 0.5")
VFR = "-vf \"settb=1/1000,setpts='N*40+mod(N*N*7,31)'\" -fps_mode passthrough -enc_time_base 1:1000"
case("vfr_mkv", "mkv", av(video=f"{VFR} {x264()}"), check="--expect-frames 100")
# FFmpeg 7 gives these frames no duration, and then the edit list of its MP4 leaves out the last one.
LAST = "-bsf:v setts=pts=PTS:dts=DTS:duration=0.04/TB"
case("vfr_mp4", "mp4", av(video=f"{VFR} {x264()}", mux=f"-video_track_timescale 90000 {LAST}"),
     check="--expect-frames 100")
case("vfr_wild", "mkv", av(60, video="-vf \"settb=1/1000,setpts='if(lt(N,20),N*20,if(lt(N,40),"
                           "400+(N-20)*100,2400+(N-40)*41))'\" -fps_mode passthrough"
                           f" -enc_time_base 1:1000 {x264()}", seconds=3.2),
     check="--expect-frames 60")
case("timescale_600", "mov", av(96, "24000/1001", mux="-video_track_timescale 600"),
     check="--expect-frames 96")
case("timescale_1000", "mp4", av(120, "30000/1001", mux="-video_track_timescale 1000"),
     check="--expect-frames 120")

# --- GOP shapes --------------------------------------------------------------------------------
OPEN = "open-gop=1:bframes=3:keyint=25:min-keyint=25:scenecut=0:b-adapt=0"
OPEN265 = "open-gop=1:bframes=4:keyint=25:min-keyint=25:scenecut=0"
for ext in ("mp4", "ts", "mkv"):
    case(f"open_gop_h264_{ext}", ext, av(video=x264(OPEN)), check="--expect-frames 100")
    case(f"open_gop_hevc_{ext}", ext, av(video=x265(OPEN265)), check="--expect-frames 100")
case("starts_at_cra", "ts", av(video=x265(OPEN265), out="$TMP/x.ts")
     + f"{FF} -ss 2.5 -i $TMP/x.ts -c copy $OUT\n")
case("starts_at_open_gop", "ts", av(video=x264(OPEN), out="$TMP/x.ts")
     + f"{FF} -ss 2.5 -i $TMP/x.ts -c copy $OUT\n")
case("b_pyramid", "mp4", av(video=x264("bframes=7:b-pyramid=normal:b-adapt=0:keyint=30")))
case("b_pyramid_ts", "ts", av(video=x264("bframes=7:b-pyramid=normal:b-adapt=0:keyint=30")))
case("intra_refresh_ts", "ts", av(video=x264("intra-refresh=1:keyint=25:bframes=0")))
case("intra_refresh_mp4", "mp4", av(video=x264("intra-refresh=1:keyint=25:bframes=0")))
case("long_gop", "mp4", av(250, seconds=10, video=x264("keyint=infinite:scenecut=0")),
     check="--expect-frames 250")
case("long_gop_chunk_2", "mkv", av(250, seconds=10, video=x264("keyint=infinite:scenecut=0")),
     chunk_seconds="2")
case("intra_only", "mp4", av(video=x264("keyint=1")))
case("mjpeg", "avi", av(video="-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", audio="-c:a pcm_s16le"))

# Packets so large that a demuxer of MPEG-TS hands them out in pieces.
case("large_packets", "mp4", av(30, seconds=1.2, size="1280x720",
                                video="-vf noise=alls=60:allf=t -c:v libx264 -preset ultrafast -qp 2"
                                      " -g 5 -pix_fmt yuv420p"),
     check="--expect-frames 30", chunk_seconds="0.4")

# --- transport streams -------------------------------------------------------------------------
case("ts_offset", "ts", av(mux="-output_ts_offset 5000"), check="--expect-frames 100")
WRAP = 2 ** 33 / 90000
case("ts_wrap", "ts", av(150, seconds=6, mux=f"-output_ts_offset {WRAP - 4:.4f}"),
     check="--expect-frames 150")
case("ts_wrap_in_chunk", "ts", av(150, seconds=6, mux=f"-output_ts_offset {WRAP - 3.9:.4f}"),
     chunk_seconds="10", check="--expect-frames 150")


def spliced(first_offset, second_offset, second=SIZE, options=""):
    """Two recordings glued at file level; each is complete and numbered on."""
    return (av(75, seconds=3, mux=f"-output_ts_offset {first_offset} {options}", out="$TMP/1.ts")
            + sound(3, options="--from 3")
            + frames(75, size=second, options="--start 75")
            + f" -i $TMP/a.wav {x264()} {AAC} -output_ts_offset {second_offset} $TMP/2.ts\n"
            + "cat $TMP/1.ts $TMP/2.ts > $OUT\n")


case("ts_jump_back", "ts", spliced(100, 20), check="--heal --expect-frames 150")
case("ts_jump_forward", "ts", spliced(100, 300), check="--heal --expect-frames 150")
case("ts_gap", "ts", spliced(100, 105), check="--expect-frames 150")
case("resolution_change", "ts", spliced(10, 13, second="480x270"), check="--expect-frames 150")
case("audio_gap_ts", "ts", av(mux="-bsf:a noise=drop='between(pts*tb\\,1.5\\,2.2)'"))
case("audio_mp2_ts", "ts", av(audio="-c:a mp2 -b:a 192k"))
case("audio_ac3_ts", "ts", av(audio="-c:a ac3 -b:a 192k"))

# --- containers --------------------------------------------------------------------------------
COPY = f"{FF} -i $TMP/x.mp4 -map 0 -c copy"
case("edit_list_one", "mp4", av(video=x264("keyint=25"), out="$TMP/x.mp4")
     + f"{FF} -ss 1.3 -i $TMP/x.mp4 -c copy $OUT\n")
for number, edits in enumerate(("0.4+1.2 3.0+0.9", "1+0.5 1.5+0.5 2.4+0.4", "1+1 0+1 2+1",
                                "empty+1 1+2")):
    case(f"edit_list_{number + 2}", "mp4", av(video=x264("keyint=25"), out="$TMP/x.mp4")
         + f"python3 $TOOLS/mp4box.py edits $TMP/x.mp4 $OUT '{edits}'\n",
         check="--no-signal")
case("fragmented_mp4", "mp4", av(mux="-movflags frag_keyframe+empty_moov+default_base_moof"))
case("fragmented_mp4_delay", "mp4", av(mux="-movflags frag_keyframe+empty_moov+delay_moov"))
case("faststart_mp4", "mp4", av(mux="-movflags +faststart"))
case("mkv_live", "mkv", av(out="-f matroska - | cat > $OUT"), check="--expect-frames 100")
case("flv", "flv", av())
case("nut", "nut", av(120, "30000/1001"))
case("vp9", "webm", av(video="-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 600k -g 40",
                       audio="-c:a libopus"))
case("vp8", "webm", av(video="-c:v libvpx -deadline realtime -cpu-used 8 -b:v 600k -g 40",
                       audio="-c:a libvorbis"))
case("av1", "mp4", av(video="-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 600k -g 40"))
case("av1_mkv", "mkv", av(video="-c:v libsvtav1 -preset 10 -b:v 600k -g 40"))
case("prores", "mov", av(50, seconds=2, video="-c:v prores_ks -profile:v 2", audio="-c:a pcm_s16le"))
MPEG2 = "-c:v mpeg2video -b:v 1500k -bf 2 -g 15 -pix_fmt yuv420p"
case("mpeg2_ts", "ts", av(video=MPEG2, audio="-c:a mp2"), check="--expect-frames 100")
case("mpeg2_mpg", "mpg", av(video=MPEG2, audio="-c:a mp2", mux="-f vob"))
case("mpeg2_mxf", "mxf", av(video=MPEG2, audio="-c:a pcm_s16le -ar 48000"))
# libxvid loses two frames of a hundred when it is flushed: the source has 98.
case("mpeg4_packed", "avi", av(video="-c:v libxvid -b:v 1000k -bf 2 -g 50", audio="-c:a libmp3lame"),
     check="--expect-frames 98")
case("mpeg4_avi", "avi", av(video="-c:v mpeg4 -b:v 1000k -g 50", audio="-c:a libmp3lame"))
case("mpeg4_mp4", "mp4", av(video="-c:v mpeg4 -b:v 1000k -bf 2 -g 50"))
case("ffv1", "mkv", av(video="-c:v ffv1 -g 1 -pix_fmt yuv420p", audio="-c:a flac"))

# --- pictures ----------------------------------------------------------------------------------
FIELDS = "--grid 12 --expect-tags interlaced"
INTERLACED = "-vf setfield=tff -flags +ildct+ilme"
case("interlaced_mbaff", "mp4", av(video=x264("tff=1", more=INTERLACED), options="--fields"),
     check=FIELDS)
case("interlaced_bff_ts", "ts", av(video=x264("bff=1", more="-vf setfield=bff -flags +ildct+ilme"),
                                   options="--fields"), check=FIELDS)
case("interlaced_scaled", "ts", av(video=x264("tff=1", more=INTERLACED), size="640x360",
                                   options="--fields"), check=FIELDS)
case("interlaced_mpeg2", "ts", av(video=f"{MPEG2} {INTERLACED}", audio="-c:a mp2",
                                  options="--fields"), check=FIELDS)
PAFF_SIZE = {"renditions": ("64p:600k",), "check": FIELDS}
ORDINAL = "mod(floor(N/2)\\,12)"
FIELD_ORDER = ("setts=dts=N*{t}:pts={t}*(2+mod(N\\,2)+2*(12*floor(N/24)+{k}+if(eq({k}\\,0)"
               "+eq({k}\\,11)\\,0\\,if(mod({k}\\,2)\\,1\\,-1))))")
for ext, field_ticks in (("ts", 1800), ("mp4", 24000)):
    case(f"paff_{ext}", ext, "python3 $TOOLS/paff.py 60 $TMP/p.h264\n"
         f"{FF} -framerate 25 -i $TMP/p.h264 -c copy $OUT\n", **PAFF_SIZE)
    case(f"paff_reorder_{ext}", ext, "python3 $TOOLS/paff.py 60 $TMP/p.h264 --reorder\n"
         f"{FF} -framerate 25 -i $TMP/p.h264 -c copy"
         f" -bsf:v '{FIELD_ORDER.format(k=ORDINAL, t=field_ticks)}' $OUT\n", **PAFF_SIZE)
case("portrait", "mp4", av(size="320x180", out="$TMP/x.mp4")
     + "python3 $TOOLS/mp4box.py rotate $TMP/x.mp4 $OUT 90\n", check="--expect-tags rotation")
case("rotated_180", "mov", av(out="$TMP/x.mp4")
     + "python3 $TOOLS/mp4box.py rotate $TMP/x.mp4 $OUT 180\n", check="--expect-tags rotation")
case("portrait_scaled", "mp4", av(size="640x360", out="$TMP/x.mp4")
     + "python3 $TOOLS/mp4box.py rotate $TMP/x.mp4 $OUT 270\n",
     check="--short-side 180 --expect-tags rotation")
case("tall", "mp4", av(size="180x320"))
case("odd_size", "webm", av(video="-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p",
                            audio="-c:a libopus", size="321x181"))
case("odd_size_444", "mp4", av(video=x264(fmt="yuv444p"), size="321x181"))
case("anamorphic", "mp4", av(video="-vf setsar=16/11 " + x264()))
case("anamorphic_ts", "ts", av(video="-vf setsar=64/45 " + MPEG2, audio="-c:a mp2", size="352x288"),
     renditions=("144p:600k",))
case("ten_bit", "mkv", av(video=x265(fmt="yuv420p10le")))
case("ten_bit_hevc", "mp4", av(video=x265(fmt="yuv420p10le")), lathe="--codec hevc",
     check="--codec hevc --min-depth 10")
case("yuv422_10", "mp4", av(video=x264(fmt="yuv422p10le")))
case("yuv444", "mp4", av(video=x264(fmt="yuv444p")))
case("rgb", "mov", av(50, seconds=2, video="-pix_fmt rgb24 -c:v libx264rgb -preset veryfast",
                      audio="-c:a pcm_s16le"), check="--no-tags --grid 20")
HDR = ("colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:repeat-headers=1:max-cll="
       "1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
       "L(10000000,1)")
COLOUR = "-vf setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
case("hdr10", "mp4", av(video=x265("", fmt="yuv420p10le", more=COLOUR).replace(
    "keyint=50:", f"'keyint=50:{HDR}'")), lathe="--codec hevc",
     check="--codec hevc --min-depth 10 --expect-tags colour,hdr10")
case("full_range", "mp4", av(video="-vf scale=out_range=full,format=yuv420p -color_range pc "
                             + x264()), check="--expect-tags range")
case("bt709_tags", "mp4", av(video="-vf setparams=color_primaries=bt709:color_trc=bt709:colorspace"
                             "=bt709 " + x264()), check="--expect-tags colour")

# --- streams -----------------------------------------------------------------------------------
case("no_audio", "mp4", frames(100) + f" {x264()} $OUT\n", check="--expect-tracks 0")
TWO = ("-map 0:v -map 1:a -map 2:a -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu"
       " -disposition:a:0 default -disposition:a:1 0")
for ext in ("mp4", "mkv", "ts"):
    case(f"two_audio_{ext}", ext, sound(4) + sound(4, "b.wav", "--tone 660 --channels 1")
         + frames(100) + f" -i $TMP/a.wav -i $TMP/b.wav {TWO} {x264()} {AAC} $OUT\n",
         check="--expect-tracks 2")
LATE = "{f} -i $TMP/x.mkv -itsoffset {d} -i $TMP/x.mkv -map {v}:v -map {a}:a -c copy $OUT\n"
for ext in ("mp4", "mkv", "ts"):
    case(f"audio_late_{ext}", ext, av(out="$TMP/x.mkv") + LATE.format(f=FF, d=0.7, v=0, a=1))
    case(f"audio_early_{ext}", ext, av(out="$TMP/x.mkv") + LATE.format(f=FF, d=0.7, v=1, a=0))
case("audio_44100", "mp4", sound(4, options="--rate 44100") + frames(100)
     + f" -i $TMP/a.wav {x264()} {AAC} $OUT\n")
case("audio_mono_pcm", "mov", sound(4, options="--channels 1") + frames(100)
     + f" -i $TMP/a.wav {x264()} -c:a pcm_s16le $OUT\n")
case("audio_surround", "mkv", sound(4, options="--channels 6") + frames(100)
     + f" -i $TMP/a.wav {x264()} -c:a aac -b:a 384k $OUT\n")
case("audio_longer", "mp4", av(50, seconds=4))
case("audio_shorter", "mp4", av(100, seconds=2))
case("cover_mp4", "mp4", av(out="$TMP/x.mp4") + f"{FF} -f lavfi -i color=red:s=600x600 -frames:v 1"
     f" $TMP/c.jpg\n{FF} -i $TMP/x.mp4 -i $TMP/c.jpg -map 1 -map 0 -c copy"
     " -disposition:v:0 attached_pic $OUT\n")
case("cover_mkv", "mkv", av(out="$TMP/x.mp4") + f"{FF} -f lavfi -i color=red:s=600x600 -frames:v 1"
     f" $TMP/c.jpg\n{FF} -i $TMP/x.mp4 -attach $TMP/c.jpg -metadata:s:t mimetype=image/jpeg"
     " -c copy $OUT\n")
case("subtitles", "mkv", "printf '1\\n00:00:00,500 --> 00:00:01,500\\nhello\\n' > $TMP/s.srt\n"
     + av(mux="", out="$TMP/x.mp4") + f"{FF} -i $TMP/x.mp4 -i $TMP/s.srt -c copy -c:s srt $OUT\n")
case("single_frame", "mp4", frames(1) + f" {x264()} $OUT\n", check="--expect-frames 1")
case("single_frame_audio", "mp4", av(1, seconds=0.5), check="--no-signal")
case("two_frames", "mkv", frames(2) + f" {x264()} $OUT\n", check="--expect-frames 2")
case("shorter_than_chunk", "mp4", av(10, seconds=0.4), chunk_seconds="30", check="--no-signal")

# --- chunks of one frame -----------------------------------------------------------------------
for name, ext, video in (("h264", "mp4", x264(OPEN)), ("hevc", "ts", x265(OPEN265)),
                         ("intra", "mp4", x264("keyint=1"))):
    case(f"one_frame_chunks_{name}", ext, av(30, seconds=1.2, video=video), chunk_seconds="0.001")
