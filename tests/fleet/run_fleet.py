# SPDX-License-Identifier: MIT
"""Workers on real Redis, Kafka and S3 servers while everything dies. One line a check; the last line
counts them.

usage: with.sh redis,kafka,seaweedfs python3 run_fleet.py --lathe L --worker W --fake-slot F
           --work DIR [SUITE]…    (without kafka the workers of one check share a file as queue)
"""
import argparse
import concurrent.futures
import pathlib
import shutil
import sys
import tempfile
import traceback

import fleet
import test_bytes
import test_deaths
import test_drain
import test_mixed
import test_outages
import test_units
import test_versions

# Suites whose checks stop servers run alone, after the others.
TOGETHER = {"bytes": test_bytes, "deaths": test_deaths, "units": test_units, "drain": test_drain,
            "versions": test_versions, "mixed": test_mixed}
ALONE = {"outages": test_outages}
THREADS = 3


def run_check(programs, name, check):
    """One check: its result and what is to be said."""
    made = []

    def make(title=name, **options):
        made.append(fleet.Fleet(programs, "".join(c if c.isalnum() else "-" for c in title),
                                **options))
        return made[-1]

    try:
        check(make)
        return "ok", name
    except fleet.Skip as reason:
        return "skip", f"{name}: {reason}"
    except Exception as error:  # a check that breaks is a check that fails
        text = f"{name}: {error}" if str(error) else f"{name}: {traceback.format_exc()}"
        for one in made:
            for worker in one.workers:
                text += f"\n--- {worker.log_path.name} of {one.dir.name}\n{worker.log()[-3000:]}"
        return "not ok", text
    finally:
        for one in made:
            one.close()


def main():
    parser = argparse.ArgumentParser()
    for name in ("lathe", "worker", "fake-slot", "work"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("suites", nargs="*")
    options = parser.parse_args()
    pathlib.Path(options.work).mkdir(parents=True, exist_ok=True)
    work = tempfile.mkdtemp(prefix="fleet-", dir=options.work)
    programs = fleet.Programs(options.lathe, options.worker, options.fake_slot, work)
    counts = {"ok": 0, "not ok": 0, "skip": 0}

    def say(result):
        counts[result[0]] += 1
        print(f"{result[0]} - {result[1]}", flush=True)

    def wanted(suites):
        for suite, module in suites.items():
            if not options.suites or suite in options.suites:
                for name, check in module.checks():
                    yield f"{suite}: {name}", check

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(run_check, programs, *one) for one in wanted(TOGETHER)]
        for one in concurrent.futures.as_completed(running):
            say(one.result())
    for one in wanted(ALONE):
        say(run_check(programs, *one))
    if counts["not ok"] == 0:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{counts['ok']} passed, {counts['not ok']} failed, {counts['skip']} skipped")
    return counts["not ok"] != 0 or counts["ok"] == 0


if __name__ == "__main__":
    sys.exit(main())
