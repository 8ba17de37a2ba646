# SPDX-License-Identifier: MIT
"""The store's contract suite through a proxy that spoils replies, before the server of with.sh.

usage: store_faults.py CONTRACT_STORE OPTIONS    options of the location, "&a=b"
"""
import os
import subprocess
import sys
import tempfile
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    suite, options = sys.argv[1:]
    location = os.environ["LATHE_STORE_LOCATION"]
    query = dict(urllib.parse.parse_qsl(location.partition("?")[2]))
    server = urllib.parse.urlsplit(query["endpoint"]).netloc
    with tempfile.NamedTemporaryFile("w", prefix="lathe-faults-") as plan:
        proxy = subprocess.Popen([sys.executable, os.path.join(HERE, "fault_proxy.py"), server,
                                  plan.name], stdout=subprocess.PIPE, text=True)
        try:
            port = proxy.stdout.readline().strip()
            env = dict(os.environ, LATHE_FAULT_FILE=plan.name, CMOCKA_TEST_FILTER="test_s3_*")
            return subprocess.run(
                [suite, "s3", location.replace(server, f"127.0.0.1:{port}") + options],
                env=env).returncode
        finally:
            proxy.terminate()
            proxy.wait()


sys.exit(main())
