#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""End-to-end suites over the built programs.

usage: run_e2e.py --lathe LATHE --slot LATHE_SLOT --gen MEDIA_GEN --check MEDIA_CHECK --work FOLDER
                  [SUITE]...       (bad_inputs cli_usage determinism kills sizes trust; default: all)
                  [--only WORD]    only checks whose name has WORD, and what these need
                  [--slow FACTOR]  time limits are multiplied, for builds with sanitizers
"""
import argparse
import os
import sys

import bad_inputs
import cli_usage
import determinism
import harness
import kills
import sizes
import trust

SUITES = {"trust": trust, "cli_usage": cli_usage, "bad_inputs": bad_inputs,
          "determinism": determinism, "kills": kills, "sizes": sizes}


def main():
    parser = argparse.ArgumentParser()
    for name in ("lathe", "slot", "gen", "check", "work"):
        parser.add_argument("--" + name, required=True, type=os.path.abspath)
    parser.add_argument("--only", default="")
    parser.add_argument("--slow", type=float, default=1)
    parser.add_argument("suites", nargs="*", default=[])
    options = parser.parse_args()
    context = harness.Context(options.lathe, options.slot, options.gen, options.check,
                              options.work, options.slow)
    plain = context.test
    context.test = lambda name, *rest: plain(name, *rest) \
        if options.only in name or name.startswith("reference") else None
    for name in options.suites or SUITES:
        SUITES[name].run(context)
    print(f"{context.passed} passed, {context.failed} failed, {context.skipped} skipped")
    return 1 if context.failed or not context.passed else 0


sys.exit(main())
