#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian package on a clean system that is booted with systemd: installed, used by an ordinary user, scraped
by a real Prometheus, killed, frozen, stopped, misconfigured, upgraded, removed. Its last line has the three
numbers of scripts/test.

usage: tests/packaging/appliance.py DEB WORK [--suite bookworm] [--emu FOLDER] [CASE]...
  --emu: where the emulated GPU drivers were built (build/dev/tests/emu)
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from container import Cannot, Container, check_host, make_root, needs_of  # noqa: E402

UNIT = "lathe-worker.service"
SECONDS = 20  # of the clip


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError(f"{what}: not within {seconds} s")


class Appliance:
    def __init__(self, deb, work, suite, emu):
        self.deb, self.work, self.suite, self.emu = deb, work, suite, emu
        self.root = os.path.join(work, "root")
        make_root(suite, needs_of(deb), self.root)
        self.box = Container(self.root, os.path.join(work, "console.log"))
        self.before = self.files()

    # --- helpers ---
    def files(self):
        """Everything that a package could leave; what dpkg, systemd and the system write for themselves is left out."""
        own = ("/var/lib/dpkg", "/var/log", "/var/cache/ldconfig", "/var/cache/debconf", "/var/lib/systemd",
               "/run/systemd", "/run/log", "/run/user", "/var/tmp/systemd-private", "/etc/passwd", "/etc/group",
               "/etc/shadow", "/etc/gshadow", "/etc/.pwd.lock", "/etc/subuid", "/etc/subgid", "/run/dbus",
               "/home", "/var/mail", "/etc/ld.so.cache", "/run/utmp", "/var/lib/private", "/run/lock", "/run/udev")
        found = self.box.ask("find /etc /usr /var /lib /run /opt /srv -xdev 2>/dev/null").splitlines()
        return {path for path in found if not path.startswith(own)}

    def as_user(self, user, command, check=True, timeout=300):
        return self.box.run(f"cd /home/{user} && runuser -u {user} -- {command}", check=check, timeout=timeout)

    def active(self):
        return self.box.run(f"systemctl is-active {UNIT}", check=False).stdout.strip() == "active"

    def scrape(self, path="/metrics"):
        """Through the container's own loopback."""
        return subprocess.run(self.box.enter("-n") + ["curl", "-s", "-m", "20", "http://127.0.0.1:9640" + path],
                              capture_output=True, text=True, timeout=30).stdout

    def figure(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.scrape().splitlines()
                   if line.startswith(name) and not line.startswith("#"))

    def submit(self, options="--preset veryslow -r 360p"):
        return self.as_user("alice", f"lathe submit clip.mp4 {options}").stdout.split()[0]

    def status(self, job):
        return json.loads(self.as_user("alice", f"lathe status {job} --json").stdout)

    def work_begins(self, job):
        wait_for(f"job {job} is at work",
                 lambda: self.status(job)["status"] == "transcoding" and self.figure("lathe_tasks_running") > 0)

    def completes(self, job):
        def ended():
            state = self.status(job)
            assert state["status"] not in ("failed", "cancelled"), state
            return state["status"] == "completed"
        wait_for(f"job {job} completes", ended, 240)

    def check_video(self, path, frames):
        found = subprocess.check_output(
            ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
             "stream=nb_read_frames", "-of", "csv=p=0", str(path)], text=True)
        assert found.strip().strip(",") == str(frames), f"{path}: {found.strip()} frames, not {frames}"

    def doctor(self):
        """What the service's user is told about this host: severity and words by id."""
        said = self.box.run("runuser -u lathe -- lathe doctor --json", check=False).stdout
        return [(f["id"], f["severity"], f["what"] + " " + f["cure"]) for f in json.loads(said)["findings"]]

    # --- cases, in this order ---
    def installs_and_runs(self):
        shutil.copy(self.deb, self.root + "/root/lathe.deb")
        self.box.run("dpkg -i /root/lathe.deb")
        wait_for("the unit is active", self.active)
        assert self.box.ask(f"systemctl is-enabled {UNIT} lathe.target").split() == ["enabled", "enabled"]
        groups = self.box.ask("id -nG lathe").split()
        assert {"lathe", "video", "render"} <= set(groups), groups
        assert self.box.ask("stat -c '%a %U %G' /run/lathe") == "750 lathe lathe"
        assert self.box.ask("stat -c '%a %U %G' /run/lathe/door.sock") == "660 lathe lathe"
        assert self.box.ask("stat -c '%a %U' /var/lib/lathe") == "700 lathe"
        assert self.box.show(UNIT, "StatusText"), "no status text"
        assert self.box.ask("systemctl --failed --no-legend") == ""

    def verify_and_exposure(self):
        said = self.box.run(f"systemd-analyze verify --man=no {UNIT} lathe-worker@0.service lathe-gpu-setup.service "
                            "lathe.target lathe.slice 2>&1", check=False).stdout
        assert said.strip() == "", said
        self.box.run(f"systemd-analyze security --no-pager --threshold=20 {UNIT} >/dev/null")

    def doctor_knows_the_service(self):
        found = self.doctor()
        told = [(name, severity) for name, severity, _ in found if name in ("host.service", "host.user")]
        assert told == [("host.service", "good"), ("host.user", "good")], found
        assert not [one for one in found if one[1] == "fault"], found
        for begin, end, name, words in (
                (f"systemctl disable {UNIT}", f"systemctl enable lathe.target {UNIT}", "host.service", "will not when"),
                (f"systemctl stop {UNIT}", "systemctl enable --now lathe.target lathe-worker", "host.service", "does not run")):
            self.box.run(begin, timeout=200)
            found = self.doctor()
            assert [one for one in found if one[0] == name and words in one[2] and end in one[2]], found
            self.box.run(end)
            wait_for("the cure", lambda: ("host.service", "good") in [one[:2] for one in self.doctor()], 60)

    def member_of_the_group_gets_a_result(self):
        self.box.run("useradd -m -G lathe alice && useradd -m bob && chmod 700 /home/alice /home/bob")
        for user in ("alice", "bob"):
            shutil.copy(os.path.join(self.work, "clip.mp4"), self.root + f"/home/{user}/clip.mp4")
            self.box.run(f"chown {user}: /home/{user}/clip.mp4 && chmod 600 /home/{user}/clip.mp4")
        # The worker itself could not open it.
        assert self.box.run("runuser -u lathe -- cat /home/alice/clip.mp4", check=False).returncode != 0, "no secret"
        self.as_user("alice", "lathe submit clip.mp4 -r 240p --wait -o small.mp4")
        assert self.box.ask("stat -c '%U %h' /home/alice/small.mp4") == "alice 1"
        self.check_video(self.root + "/home/alice/small.mp4", SECONDS * 25)
        self.as_user("alice", "lathe submit clip.mp4 -r 240p -r 144p --wait -o ladder")
        self.check_video(self.root + "/home/alice/ladder/output_144p.mp4", SECONDS * 25)
        assert self.as_user("alice", "lathe list").stdout.strip() == "no jobs", "jobs stay after their results were taken"
        assert self.box.run("runuser -u alice -- ls /var/lib/lathe", check=False).returncode != 0, "the group sees files"

    def member_of_the_group_rules_jobs(self):
        job = self.submit()
        self.work_begins(job)
        assert job in self.as_user("alice", "lathe list").stdout
        self.as_user("alice", f"lathe cancel {job}")
        wait_for("it is cancelled", lambda: self.status(job)["status"] == "cancelled")
        refused = self.as_user("alice", f"lathe fetch {job} -o none.mp4", check=False)
        assert refused.returncode == 1 and not self.box.path("/home/alice/none.mp4").exists(), refused
        self.as_user("alice", f"lathe retry {job}")
        self.completes(job)
        self.as_user("alice", f"lathe fetch {job} -o again.mp4 --quiet")
        self.check_video(self.root + "/home/alice/again.mp4", SECONDS * 25)
        self.as_user("alice", f"lathe rm {job}")
        assert job not in self.as_user("alice", "lathe list").stdout
        assert self.as_user("alice", f"lathe status {job}", check=False).returncode == 1

    def others_stay_outside(self):
        refused = self.as_user("bob", "lathe submit clip.mp4 -r 240p --wait -o small.mp4", check=False)
        assert refused.returncode == 1, refused
        assert "adduser USER lathe" in refused.stderr and len(refused.stderr.splitlines()) == 1, refused.stderr

    def journal_has_fields(self):
        job = self.submit("-r 144p")
        self.completes(job)
        entries = [json.loads(line) for line in self.box.ask(f"journalctl -o json LATHE_JOB={job}").splitlines()]
        assert any(entry.get("LATHE_TASK") == "chunk" and entry.get("LATHE_CHUNK") == "0" and
                   entry.get("PRIORITY") == "6" and entry.get("_SYSTEMD_UNIT") == UNIT for entry in entries), entries
        wait_for("the last entry", lambda: "the job is completed" in self.box.ask(f"lathe logs {job}"), 20)
        assert "chunk 0: done" in self.box.ask(f"lathe logs {job}")
        self.as_user("alice", f"lathe fetch {job} -o fetched.mp4 --quiet")
        self.check_video(self.root + "/home/alice/fetched.mp4", SECONDS * 25)
        self.as_user("alice", f"lathe rm {job}")

    def prometheus_scrapes(self):
        if not shutil.which("prometheus"):
            raise Cannot("prometheus is not installed")
        here = os.path.join(self.work, "prometheus")
        rules = os.path.join(os.path.dirname(__file__), "../../monitoring/lathe.rules.yml")
        os.makedirs(here)
        with open(here + "/prometheus.yml", "w") as f:
            f.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                    f"rule_files: ['{os.path.abspath(rules)}']\n"
                    "scrape_configs:\n  - job_name: lathe\n    static_configs: [{targets: ['127.0.0.1:9640']}]\n")
        prometheus = subprocess.Popen(
            self.box.enter("-n") + ["prometheus", f"--config.file={here}/prometheus.yml",
                                    f"--storage.tsdb.path={here}/data", "--web.listen-address=127.0.0.1:9090"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def query(text):
                got = subprocess.run(self.box.enter("-n") + ["promtool", "query", "instant", "-o", "json",
                                                             "http://127.0.0.1:9090", text],
                                     capture_output=True, text=True, timeout=30).stdout
                return [float(one["value"][1]) for one in json.loads(got or "[]")]
            wait_for("a sample", lambda: query('up{job="lathe"} == 1'))
            assert query("lathe_build_info") == [1]
            assert sum(query('lathe_encoded_frames_total{device="software"}')) >= SECONDS * 25
            assert query('count(ALERTS{alertstate="firing"})') == []
        finally:
            prometheus.terminate()
            prometheus.wait(20)
        promtool = subprocess.run(["promtool", "check", "metrics"], input=self.scrape(), capture_output=True, text=True)
        assert promtool.returncode == 0, promtool.stdout + promtool.stderr
        assert self.scrape("/healthz") == "ok\n" and self.scrape("/readyz") == "ok\n"

    def killed_and_goes_on(self):
        restarts = int(self.box.show(UNIT, "NRestarts"))
        job = self.submit()
        self.work_begins(job)
        self.box.run(f"systemctl kill -s KILL {UNIT}")
        wait_for("a restart", lambda: int(self.box.show(UNIT, "NRestarts")) > restarts and self.active())
        self.completes(job)
        self.as_user("alice", f"lathe rm {job}")

    def watchdog_catches_a_frozen_loop(self):
        self.box.run("mkdir -p /run/systemd/system/lathe-worker.service.d && printf '[Service]\\nWatchdogSec=4\\n' "
                     ">/run/systemd/system/lathe-worker.service.d/test.conf && systemctl daemon-reload && "
                     f"systemctl restart {UNIT}")
        pid = self.box.show(UNIT, "MainPID")
        time.sleep(6)  # longer than the watchdog waits: a healthy worker lives
        assert self.box.show(UNIT, "MainPID") == pid, "the watchdog ended a healthy worker"
        self.box.run(f"kill -STOP {pid}")
        wait_for("the watchdog", lambda: self.box.show(UNIT, "MainPID") not in (pid, "0") and self.active())
        assert "watchdog" in self.box.ask(f"journalctl -u {UNIT}").lower()
        self.box.run("rm /run/systemd/system/lathe-worker.service.d/test.conf && systemctl daemon-reload")

    def stop_drains(self):
        job = self.submit()
        self.work_begins(job)
        started = self.figure("lathe_tasks_started_total{task=\"chunk\"")
        self.box.run(f"systemctl stop {UNIT}", timeout=200)
        assert self.box.show(UNIT, "Result") == "success" and self.box.show(UNIT, "ExecMainStatus") == "0"
        log = self.box.ask(f"journalctl -u {UNIT} -o cat")
        assert "draining" in log and started >= 0
        self.box.run(f"systemctl start {UNIT}")
        state = self.status(job)
        assert state["status"] in ("transcoding", "merging", "completed") and not state["error"], state
        self.completes(job)
        self.as_user("alice", f"lathe rm {job}")

    def reload_shortens_the_drain(self):
        """What is not done by then is handed back, and costs the job nothing."""
        conf = self.box.path("/etc/lathe/lathe.conf")
        text = conf.read_text()
        conf.write_text(text + "drain_seconds = 1;\n")
        job = self.submit()
        self.work_begins(job)
        wait_for("a chunk", lambda: self.figure('lathe_tasks_running{task="chunk"}') > 0)
        self.box.run(f"systemctl reload {UNIT}")
        wait_for("a log entry", lambda: "was read again" in self.box.ask(f"journalctl -u {UNIT} -o cat"))
        assert self.active()
        begun = time.monotonic()
        self.box.run(f"systemctl stop {UNIT}", timeout=200)
        assert self.box.show(UNIT, "Result") == "success", self.box.show(UNIT, "ExecMainStatus")
        assert self.box.ask("pgrep -x lathe-slot || true") == "", "slots outlive their worker"
        print(f"    a drain of 1 s took {time.monotonic() - begun:.1f} s")
        conf.write_text(text)
        self.box.run(f"systemctl start {UNIT}")
        state = self.status(job)
        assert state["status"] == "transcoding" and not state["error"], state
        self.completes(job)
        self.as_user("alice", f"lathe rm {job}")

    def emulated_gpu_works_inside_the_unit(self):
        """Unmodified FFmpeg on emulated drivers: what the sandbox lets through, and that it was really used."""
        if not self.emu:
            raise Cannot("no emulated drivers were named")
        there = self.box.path("/opt/lathe-emu")
        there.mkdir(parents=True)
        for library in pathlib.Path(self.emu).glob("*.so*"):
            shutil.copy(library, there)
        env = self.box.path("/etc/lathe/worker.env")
        env.write_text("LD_LIBRARY_PATH=/opt/lathe-emu\nLATHE_EMU_PROFILE=ada\nLATHE_SLOT_PASS=LATHE_EMU_PROFILE\n")
        try:
            self.box.run(f"systemctl restart {UNIT}")
            wait_for("the device", lambda: self.figure('lathe_device_usable{device="nvenc:0"}') == 1, 180)
            job = self.submit("-r 240p --encoder nvenc")
            self.completes(job)
            assert self.figure('lathe_encoded_frames_total{device="nvenc:0"}') == SECONDS * 25, self.scrape()
            assert self.figure("lathe_device_trial_works") > 5
            self.as_user("alice", f"lathe fetch {job} -o emulated.mp4 --quiet")
            self.check_video(self.root + "/home/alice/emulated.mp4", SECONDS * 25)
            self.as_user("alice", f"lathe rm {job}")
        finally:
            env.unlink()
            shutil.rmtree(there)
            self.box.run(f"systemctl restart {UNIT}")

    def wrong_configuration_stops(self):
        conf = self.box.path("/etc/lathe/lathe.conf")
        text = conf.read_text()
        conf.write_text(text + "slots = \"many\";\n")
        mark = self.box.ask("date +%s")
        self.box.run(f"systemctl restart {UNIT}", check=False)
        wait_for("it gives up", lambda: self.box.show(UNIT, "ActiveState") == "failed")
        time.sleep(7)  # longer than a restart would wait
        assert self.box.show(UNIT, "ActiveState") == "failed" and self.box.show(UNIT, "NRestarts") == "0"
        assert self.box.show(UNIT, "ExecMainStatus") == "78"
        errors = self.box.ask(f"journalctl -u {UNIT} -o cat --since @{mark} -p err _COMM=lathe-worker").splitlines()
        assert len(errors) == 1 and "lathe.conf:" in errors[0] and "slots" in errors[0], errors
        conf.write_text(text)
        self.box.run(f"systemctl restart {UNIT}")
        wait_for("it runs again", self.active)

    def upgrade_keeps_configuration_and_jobs(self):
        conf = self.box.path("/etc/lathe/lathe.conf")
        conf.write_text(conf.read_text() + "# a line of the administrator\ndrain_seconds = 5;\n")
        job = self.submit()
        self.work_begins(job)
        tree = os.path.join(self.work, "newer")
        subprocess.run(["dpkg-deb", "-R", self.deb, tree], check=True)
        control = pathlib.Path(tree, "DEBIAN/control")
        control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:", 1))
        pathlib.Path(tree, "etc/lathe/lathe.conf").write_text("# a newer sample\n")
        subprocess.run(["dpkg-deb", "-b", tree, self.root + "/root/newer.deb"], check=True, stdout=subprocess.DEVNULL)
        pid = self.box.show(UNIT, "MainPID")
        self.box.run("dpkg -i --force-confdef --force-confold /root/newer.deb", timeout=300)
        wait_for("it runs again", self.active)
        assert self.box.show(UNIT, "MainPID") != pid, "the old worker still runs"
        assert "a line of the administrator" in conf.read_text()
        self.completes(job)
        self.as_user("alice", f"lathe fetch {job} -o after.mp4 --quiet")
        self.check_video(self.root + "/home/alice/after.mp4", SECONDS * 25)

    def remove_and_purge(self):
        self.box.run("dpkg -r lathe", timeout=300)
        assert self.box.path("/etc/lathe/lathe.conf").exists() and self.box.path("/var/lib/lathe/state.db").exists()
        assert not self.active()
        self.box.run("dpkg -P lathe")
        # The scratch folder of a command is its user's.
        left = sorted(path for path in self.files() - self.before if not path.startswith("/var/tmp/lathe-1"))
        assert left == [], left
        assert "lathe" not in self.box.ask("systemctl list-unit-files --no-legend")


CASES = [Appliance.installs_and_runs, Appliance.verify_and_exposure, Appliance.doctor_knows_the_service,
         Appliance.member_of_the_group_gets_a_result, Appliance.member_of_the_group_rules_jobs, Appliance.others_stay_outside, Appliance.journal_has_fields, Appliance.prometheus_scrapes,
         Appliance.killed_and_goes_on, Appliance.watchdog_catches_a_frozen_loop, Appliance.stop_drains,
         Appliance.reload_shortens_the_drain, Appliance.emulated_gpu_works_inside_the_unit, Appliance.wrong_configuration_stops,
         Appliance.upgrade_keeps_configuration_and_jobs, Appliance.remove_and_purge]


def run(appliance, wanted):
    passed = failed = skipped = 0
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        name = f"{appliance.suite}: {case.__name__}"
        try:
            case(appliance)
            passed += 1
            print(f"ok - {name}", flush=True)
        except Cannot as why:
            skipped += 1
            print(f"skip - {name}: {why}", flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError, LookupError, ValueError) as why:
            failed += 1
            print(f"not ok - {name}: {why}", flush=True)
            log = appliance.box.run(f"journalctl -u {UNIT} -o short-monotonic -n 25 --no-hostname", check=False).stdout
            print("    " + log.replace("\n", "\n    "), flush=True)
            if case is Appliance.installs_and_runs:
                break
    return passed, failed, skipped


def main():
    arguments = sys.argv[1:]
    named = {"--suite": "bookworm", "--emu": None}
    for name in named:
        if name in arguments:
            at = arguments.index(name)
            named[name] = arguments[at + 1]
            del arguments[at:at + 2]
    suite = named["--suite"]
    deb, work, wanted = os.path.abspath(arguments[0]), os.path.abspath(arguments[1]), arguments[2:]
    counts = (0, 0, 1)
    appliance = None
    try:
        check_host()
        for tool in ("ffmpeg", "ffprobe", "curl"):
            if not shutil.which(tool):
                raise Cannot(f"{tool} is not installed")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={SECONDS}",
                        "-f", "lavfi", "-i", f"sine=duration={SECONDS}", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25",
                        "-c:a", "aac", os.path.join(work, "clip.mp4")], check=True, timeout=120)
        appliance = Appliance(deb, work, suite, named["--emu"])
        counts = run(appliance, wanted)
    except Cannot as why:
        print(f"skip - {suite}: {why}")
    finally:
        if appliance:
            appliance.box.stop()
            shutil.rmtree(appliance.root, ignore_errors=True)
    print("%d passed, %d failed, %d skipped" % counts)
    return counts[1] > 0


if __name__ == "__main__":
    sys.exit(main())
