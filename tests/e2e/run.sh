#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run.sh - the end-to-end tests: guests in QEMU, bare and under the monitor.
#
# usage: run.sh [SUITE...]
#
# A suite is a script beside this one, by default each of them. Cases go to standard output, one
# line each (lib.sh). Exit status: 0, or 1 if a suite failed; what cannot run here is a skip.
# VPMU_KEEP=FOLDER keeps the consoles.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ $# -gt 0 ]; then
	suites=("$@")
else
	suites=(selftest bare monitor)
fi
failed=0
for suite in "${suites[@]}"; do
	[ -x "$here/$suite.sh" ] || { echo "run.sh: no suite named $suite" >&2; exit 2; }
	status=0
	"$here/$suite.sh" || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 77 ] || failed=1
done
exit "$failed"
