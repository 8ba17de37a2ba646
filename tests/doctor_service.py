# SPDX-License-Identifier: MIT
"""lathe doctor and the service of this host, with a systemctl that says what a host could say.

usage: doctor_service.py LATHE FAKE_SLOT
"""
import grp
import json
import os
import pathlib
import subprocess
import sys
import tempfile

LATHE, FAKE_SLOT = sys.argv[1:]
GOOD = {"Id": "lathe-worker.service", "LoadState": "loaded", "ActiveState": "active",
        "UnitFileState": "enabled", "NeedDaemonReload": "no", "ExecMainStatus": "0",
        "User": "daemon", "SupplementaryGroups": "render video"}
TARGET = {"Id": "lathe.target", "LoadState": "loaded", "ActiveState": "active",
          "UnitFileState": "enabled"}
GONE = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}


def doctor(folder, units, exit_code=0):
    """The findings about the service, when systemctl answers with these units."""
    said = "\n".join("".join(f"{key}={value}\n" for key, value in unit.items()) for unit in units)
    (folder / "said").write_text(said)
    fake = folder / "systemctl"
    fake.write_text('#!/bin/sh\n[ "$1" = show ] || exit 9\n'
                    f"cat '{folder}/said'\nexit {exit_code}\n")
    fake.chmod(0o755)
    run = subprocess.run([LATHE, "doctor", "--json"], text=True, capture_output=True, timeout=120,
                         env={"PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder),
                              "LATHE_STATE_DIR": str(folder / "state"), "LATHE_GPU_ENABLED": "false",
                              "LATHE_HARDWARE_CACHE": "", "LATHE_SLOT": FAKE_SLOT,
                              "LATHE_SLOT_FAKE": "", "LATHE_SLOT_FAKE_DIR": str(folder)})
    assert run.returncode in (0, 1), run.stderr
    return [f for f in json.loads(run.stdout)["findings"]
            if f["id"] in ("host.service", "host.user")]


CASES = [
    # name, units, exit code of systemctl, findings: id, severity, words
    ("it runs", [GOOD, TARGET], 0,
     [("host.service", "good", "starts with the host"), ("host.user", "good", "groups of GPUs"),
      ("host.user", "note", "--reuid=daemon")]),
    ("systemd does not run", [], 1, [("host.service", "good", "no service")]),
    ("what a failing systemctl says does not count", [GOOD, TARGET], 1,
     [("host.service", "good", "no service")]),
    ("not installed", [{**GOOD, **GONE}, {**TARGET, **GONE}], 0,
     [("host.service", "good", "no service")]),
    ("masked", [{**GOOD, "LoadState": "masked", "ActiveState": "inactive"}, TARGET], 0,
     [("host.service", "warning", "systemctl unmask lathe-worker")]),
    ("stopped", [{**GOOD, "ActiveState": "inactive"}, TARGET], 0,
     [("host.service", "warning", "enable --now lathe.target lathe-worker")]),
    ("a wrong configuration", [{**GOOD, "ActiveState": "failed", "ExecMainStatus": "78"}, TARGET], 0,
     [("host.service", "fault", "its configuration is wrong")]),
    ("it failed", [{**GOOD, "ActiveState": "failed", "ExecMainStatus": "69"}, TARGET], 0,
     [("host.service", "fault", "exit code 69"),
      ("host.service", "fault", "journalctl -u lathe-worker.service")]),
    ("it comes and goes", [{**GOOD, "ActiveState": "activating"}, TARGET], 0,
     [("host.service", "warning", "does not work yet")]),
    ("not at boot", [{**GOOD, "UnitFileState": "disabled"}, TARGET], 0,
     [("host.service", "warning", "systemctl enable lathe.target lathe-worker.service")]),
    ("its target not at boot", [GOOD, {**TARGET, "UnitFileState": "disabled"}], 0,
     [("host.service", "warning", "will not when the host restarts")]),
    ("changed since", [{**GOOD, "NeedDaemonReload": "yes"}, TARGET], 0,
     [("host.service", "warning", "daemon-reload"), ("host.service", "good", "runs")]),
    ("one worker for each GPU",
     [{**GOOD, "ActiveState": "inactive", "UnitFileState": "disabled"}, TARGET,
      {**GOOD, "Id": "lathe-worker@0.service"},
      {**GOOD, "Id": "lathe-worker@1.service", "ActiveState": "failed", "ExecMainStatus": "1"}], 0,
     [("host.service", "good", "lathe-worker@0.service runs"),
      ("host.service", "fault", "lathe-worker@1.service failed")]),
    ("no user", [{**GOOD, "User": "no-such-user"}, TARGET], 0,
     [("host.user", "fault", "systemd-sysusers")]),
    ("not in group video", [{**GOOD, "SupplementaryGroups": "render videos"}, TARGET], 0,
     [("host.user", "warning", "usermod -aG video daemon")]),
]


def check(findings, expected):
    """What is wrong with them, or None."""
    for name, severity, words in expected:
        if not any(f["id"] == name and f["severity"] == severity and
                   words in f["what"] + " " + f["cure"] for f in findings):
            return f"no {severity} {name} with \"{words}\""
    worst = {"good": 0, "note": 1, "warning": 2, "fault": 3}
    most = max(worst[severity] for _, severity, _ in expected)
    if any(worst[f["severity"]] > max(most, 1) for f in findings):
        return "something worse than expected"
    return None


def main():
    failed = 0
    with tempfile.TemporaryDirectory(prefix="lathe-doctor-") as name:
        for title, units, exit_code, expected in CASES:
            if "group video" in title and "video" not in [g.gr_name for g in grp.getgrall()]:
                print(f"skip - {title}: this host has no such group")
                continue
            findings = doctor(pathlib.Path(name), units, exit_code)
            fault = check(findings, expected)
            failed += fault is not None
            print(f"ok - {title}" if fault is None else
                  f"not ok - {title}: {fault} in {json.dumps(findings, indent=1)}")
    return failed != 0


sys.exit(main())
