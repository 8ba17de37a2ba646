# SPDX-License-Identifier: MIT
"""The report: one table of time, one of pictures, and what was aimed at."""

import statistics


def _ratios(data, key, other):
    """Lathe against another contender of the same round: neighbours in time share the machine's
    noise."""
    return [ours[key] / theirs[key]
            for ours, theirs in zip(data["runs"]["Lathe"], data["runs"][other])]


def _equal(outputs, name):
    return outputs.get(f"{name} at Lathe's size", outputs[name])


def _target(name, value, limit, lower=True, form="{:.3f}"):
    return {"name": name, "value": form.format(value), "limit": form.format(limit),
            "met": value <= limit if lower else value >= limit}


def _speed_targets(data):
    if data["mode"] == "two-scene":
        return []
    wall = {other: statistics.median(_ratios(data, "wall", other)) for other in "ABL"}
    cpu = statistics.median(_ratios(data, "cpu", "A"))
    memory = statistics.median(_ratios(data, "peak_bytes", "A"))
    if data["mode"] == "ladder":
        found = [_target("wall against A", wall["A"], 0.98)]
    else:
        found = [_target("wall against L", wall["L"], 1.06), _target("wall against A", wall["A"], 1),
                 _target("wall against B", wall["B"], 0.68),
                 _target("CPU seconds against A", cpu, 1)]
    return found + [_target("peak memory against A", memory, 1.8)]


def targets(data):
    found = _speed_targets(data)
    for rendition, outputs in data["outputs"].items():
        ours = outputs["Lathe"]
        one, two = _equal(outputs, "A"), _equal(outputs, "B")
        wish = data["kbps"][rendition]
        found += [
            _target(f"{rendition}: frames missing or too many", abs(ours["frames"] - data["input"]["frames"]), 0,
                    form="{:.0f}"),
            _target(f"{rendition}: SSIM against one pass", ours["ssim"], one["ssim"], False,
                    "{:.5f}"),
            _target(f"{rendition}: PSNR against one pass", ours["psnr"], one["psnr"], False,
                    "{:.2f}"),
            _target(f"{rendition}: SSIM against two passes", ours["ssim"], two["ssim"] - 0.0003,
                    False, "{:.5f}"),
        ]
        found.append(_target(f"{rendition}: bitrate off by", abs(ours["video_kbps"] / wish - 1),
                             0.03))
        if ours["dip_joins"] is not None and one["dip_keys"] is not None:
            found.append(_target(f"{rendition}: SSIM lost at joins", ours["dip_joins"],
                                 max(one["dip_keys"], one["dip_joins"]), form="{:.5f}"))
    return found


def _number(value, form):
    return "–" if value is None else form.format(value)


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _time_table(data):
    rows = []
    for name, middle in data["medians"].items():
        walls = ", ".join(f"{run['wall']:.1f}" for run in data["runs"][name])
        against = "" if name == "Lathe" else \
            f"{statistics.median(_ratios(data, 'wall', name)):.3f}"
        rows.append([name, f"{middle['wall']:.1f}", walls, f"{middle['cpu']:.1f}",
                     f"{middle['peak_bytes'] / 2**20:.0f}", against])
    return _table(["", "wall s", "each round", "CPU s", "peak MiB, all processes",
                   "Lathe's wall / this"], rows)


def _picture_table(outputs):
    rows = [[name, f"{v['frames']}", f"{v['bytes'] / 1e6:.3f}", f"{v['video_kbps']:.0f}",
             f"{v['ssim']:.5f}", f"{v['psnr']:.2f}", f"{v['ssim_worst']:.5f}",
             _number(v["ssim_joins"], "{:.5f}"), _number(v["dip_joins"], "{:+.5f}"),
             _number(v["dip_keys"], "{:+.5f}")] for name, v in outputs.items()]
    return _table(["", "frames", "MB", "video kbps", "SSIM", "PSNR dB", "worst 1 %, SSIM",
                   "SSIM at joins", "lost at joins", "lost at own key frames"], rows)


def markdown(data):
    clip, host = data["input"], data["machine"]
    lines = [f"# Lathe beside ffmpeg: {data['mode']}", "",
             f"{clip['name']}: {clip['seconds']:.1f} s, {clip['width']}x{clip['height']}, "
             f"{clip['rate']} fps, {clip['codec']}, {clip['bytes'] / 1e6:.1f} MB. "
             f"{host['cores']} cores ({host['processor']}), {host['memory_bytes'] / 2**30:.0f} GiB, "
             f"{host['system']}, {host['ffmpeg']}, {host['lathe']}; "
             f"load before: {host['load_before']:.2f}.", "", *_time_table(data)]
    for rendition, outputs in data["outputs"].items():
        lines += ["", f"## {rendition}", "", *_picture_table(outputs)]
        odd = [name for name, v in outputs.items() if v["frames"] != clip["frames"]]
        if odd:
            lines += ["", f"The input has {clip['frames']} frames: the pictures of {', '.join(odd)} are "
                      "compared with wrong ones and mean nothing."]
    lines += ["", f"Joins at frames: {', '.join(map(str, data['joins'])) or 'none'}. "
              "Medians over rounds; ratios are medians of ratios within a round. \"Lost\": SSIM of the "
              "10 frames around, below that of the 50 further off.", "", "## Targets", ""]
    lines += _table(["", "measured", "limit", "met"],
                    [[t["name"], t["value"], t["limit"], "yes" if t["met"] else "**no**"]
                     for t in data["targets"]])
    lines += ["", "## Commands", ""]
    for name, steps in data["commands"].items():
        lines += [f"{name}:", "", "```sh", *steps, "```", ""]
    return "\n".join(lines)
