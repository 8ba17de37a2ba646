#!/bin/bash
# SPDX-License-Identifier: MIT
# Alerts and dashboard ask for metrics that exist, with labels that they have; each alert has a paragraph
# that says what to do; the rules do what their tests say.
#
# usage: tests/monitoring.sh METRICS_DOC SOURCE_FOLDER
set -u
faults=0
fault() {
    echo "monitoring: $*"
    faults=$((faults + 1))
}
cd "$2/monitoring" || exit 1

"$1" --names | sort >/tmp/lathe-names.$$
trap 'rm -f /tmp/lathe-names.$$' EXIT
asked=$( (sed -n 's/^ *expr: *//p; /^ *expr: >/,/^ *for:/p' lathe.rules.yml
    grep -o '"expr": "[^"]*\(\\"[^"]*\)*"' lathe.dashboard.json
    grep -o 'label_values([a-z_]*' lathe.dashboard.json) |
    grep -oE '\b(lathe|process)_[a-z_]+' | sort -u)
[ "$(wc -l <<<"$asked")" -gt 25 ] || fault "only these names were found: $asked"
for name in $asked; do
    grep -qx "$name" /tmp/lathe-names.$$ || fault "nothing is called $name"
done

for alert in $(sed -n 's/^ *- alert: //p' lathe.rules.yml); do
    grep -qx "### $alert" ../docs/operations.md || fault "docs/operations.md has no paragraph $alert"
    grep -q "runbook_url: docs/operations.md#${alert,,}\$" lathe.rules.yml || fault "$alert names no paragraph"
    grep -q "alertname: $alert[, }]" lathe.rules.test.yml || fault "$alert has no test"
done

python3 ./make_dashboard.py | cmp -s - lathe.dashboard.json ||
    fault "lathe.dashboard.json is not what make_dashboard.py prints"
python3 - <<'PYTHON' || fault "the dashboard is not sound"
import json, sys
board = json.load(open("lathe.dashboard.json"))
panels = [p for p in board["panels"] if p["type"] != "row"]
ids = [p["id"] for p in board["panels"]]
boxes = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
sys.exit(not (panels and all(p["targets"] for p in panels)
              and len(ids) == len(set(ids)) and len(boxes) == len(set(boxes))))
PYTHON

if command -v promtool >/dev/null; then
    said=$(promtool check rules lathe.rules.yml 2>&1) || fault "$said"
    said=$(promtool test rules lathe.rules.test.yml 2>&1) || fault "$said"
    # every query of the dashboard parses, as a rule
    { echo 'groups: [{name: x, rules: ['
        python3 -c 'import json
for p in json.load(open("lathe.dashboard.json"))["panels"]:
    for t in p.get("targets", []):
        print(json.dumps({"record": "x:x", "expr": t["expr"].replace("$instance", "a")}) + ",")'
        echo ']}]'; } >/tmp/lathe-names.$$
    said=$(promtool check rules --lint=none /tmp/lathe-names.$$ 2>&1) || fault "dashboard: $said"
else
    echo "monitoring: promtool is not installed; rules and queries were not tried"
fi
[ "$faults" = 0 ]
