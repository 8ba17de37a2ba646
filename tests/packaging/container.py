# SPDX-License-Identifier: MIT
"""A Debian that is booted with systemd in a container of its own, without a network: what a package meets.

The root is made once for each set of packages and kept ($LATHE_ROOTS_CACHE, ~/.cache/lathe-roots)."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import time


class Cannot(Exception):
    """Why it cannot be done on this machine."""


BASE = ["systemd", "systemd-sysv", "dbus", "procps", "ca-certificates"]
# lathe-slot confines itself with these; nspawn's own filter would hide them.
CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"


def check_host():
    if os.geteuid() != 0:
        raise Cannot("only root can boot a container")
    for tool in ("systemd-nspawn", "mmdebstrap", "nsenter"):
        if not shutil.which(tool):
            raise Cannot(f"{tool} is not installed")


def needs_of(deb):
    """The packages that it depends on; of alternatives the first."""
    text = subprocess.check_output(["dpkg-deb", "-f", deb, "Depends"], text=True)
    return sorted(part.split("|")[0].split("(")[0].strip() for part in text.split(","))


def make_root(suite, packages, folder):
    packages = sorted(set(BASE + packages))
    key = hashlib.sha256(" ".join([suite, *packages]).encode()).hexdigest()[:16]
    cache = pathlib.Path(os.environ.get("LATHE_ROOTS_CACHE") or pathlib.Path.home() / ".cache/lathe-roots")
    tar = cache / f"{suite}-{key}.tar"
    if not tar.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = cache / f"{tar.name}.{os.getpid()}.new.tar"
        made = subprocess.run(["mmdebstrap", "--variant=minbase", "--include=" + ",".join(packages), suite, str(new)],
                              capture_output=True, text=True, timeout=1200)
        if made.returncode:
            new.unlink(missing_ok=True)
            raise Cannot("mmdebstrap: " + made.stderr.strip().splitlines()[-1])
        new.rename(tar)
    os.makedirs(folder)
    subprocess.run(["tar", "-x", "-f", str(tar), "-C", folder], check=True, timeout=300)


class Container:
    def __init__(self, folder, log, binds=()):
        self.folder = folder
        args = ["systemd-nspawn", "-q", "-D", folder, f"--machine=lathe-{os.getpid()}", "--boot", "--register=no",
                "--keep-unit", "--console=pipe", "--private-network", "--system-call-filter=" + CALLS]
        args += ["--bind-ro=" + bind for bind in binds]
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=open(log, "wb"), stderr=subprocess.STDOUT)
        self.init = None
        for _ in range(600):
            if self.process.poll() is not None:
                raise Cannot("systemd-nspawn ended: " + open(log, errors="replace").read()[-300:])
            child = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
            if child.stdout.strip():
                self.init = child.stdout.split()[0]
                state = self.run("systemctl is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        self.stop()
        raise Cannot("the container does not come up: " + open(log, errors="replace").read()[-300:])

    def enter(self, *namespaces):
        return ["nsenter", "-t", self.init, *namespaces]

    def run(self, command, check=True, timeout=300, stdin=None):
        """A shell command inside, as root. Its output is text."""
        done = subprocess.run(self.enter("-m", "-p", "-u", "-i", "-n", "-C") + ["sh", "-c", command], input=stdin,
                              capture_output=True, text=True, timeout=timeout,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root",
                                   "DEBIAN_FRONTEND": "noninteractive"})
        if check and done.returncode:
            raise AssertionError(f"{command}: exit code {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
        return done

    def ask(self, command):
        return self.run(command).stdout.strip()

    def show(self, unit, name):
        return self.ask(f"systemctl show -P {name} {unit}")

    def path(self, inside):
        return pathlib.Path(self.folder + inside)

    def stop(self):
        if self.process.poll() is None and self.init:
            self.run("systemctl poweroff", check=False)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
