# SPDX-License-Identifier: MIT
"""The store's contract suite against a real SeaweedFS, straight and through a proxy with faults.

usage: servers_store_s3.py CONTRACT_STORE    exits 77 where the server cannot be installed
"""
import os
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = os.path.join(HERE, "..", "scripts", "cluster.d", "s3.sh")


def free_port():
    """One whose +10000 is free as well: the server takes both."""
    while True:
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            port = a.getsockname()[1]
            if port > 55000:
                continue
            try:
                b.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


def shell(verb, env):
    return subprocess.run(["bash", "-c", f'. "{SCRIPT}" && s3_{verb}'], env=env).returncode


def main():
    suite = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="lathe-s3-") as folder:
        env = dict(os.environ, LATHE_CLUSTER_DIR=folder, no_proxy="127.0.0.1",
                   AWS_ACCESS_KEY_ID="lathe", AWS_SECRET_ACCESS_KEY="lathe-secret-key")
        for name in ("S3", "MASTER", "VOLUME", "FILER"):
            env[f"LATHE_{name}_PORT"] = str(free_port())
        if shell("install", env) != 0:
            print("SeaweedFS cannot be installed here")
            return 77
        proxy = None
        try:
            if shell("up", env) != 0:
                return 1
            options = "style=path&part_mib=5&stall_seconds=2&attempts=5"
            server = f"127.0.0.1:{env['LATHE_S3_PORT']}"
            straight = subprocess.run(
                [suite, "s3", f"s3://videos/straight?endpoint=http://{server}&{options}"], env=env)
            env["LATHE_FAULT_FILE"] = os.path.join(folder, "fault")
            open(env["LATHE_FAULT_FILE"], "w").close()
            proxy = subprocess.Popen([sys.executable, os.path.join(HERE, "fault_proxy.py"), server,
                                      env["LATHE_FAULT_FILE"]], stdout=subprocess.PIPE, text=True)
            port = proxy.stdout.readline().strip()
            env["CMOCKA_TEST_FILTER"] = "test_s3_*"
            faults = subprocess.run(
                [suite, "s3", f"s3://videos/faults?endpoint=http://127.0.0.1:{port}&{options}"],
                env=env)
            return 1 if straight.returncode or faults.returncode else 0
        finally:
            if proxy:
                proxy.terminate()
                proxy.wait()
            shell("down", env)


sys.exit(main())
