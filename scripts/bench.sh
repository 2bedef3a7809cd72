#!/bin/sh
# SPDX-License-Identifier: MIT
#
# bench.sh - runs every benchmark, or the ones named: bench/NAME/run.sh.
#
# Each prints name,value,unit lines on standard output, the rest on standard error.
set -eu

cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
	for f in bench/*/run.sh; do
		set -- "$@" "$(basename "$(dirname "$f")")"
	done
fi
status=0
for name; do
	if [ ! -x "bench/$name/run.sh" ]; then
		echo "bench.sh: no benchmark named $name" >&2
		exit 2
	fi
	echo "== bench $name" >&2
	"bench/$name/run.sh" || status=1
done
exit $status
