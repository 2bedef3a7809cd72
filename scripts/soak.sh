#!/bin/sh
# SPDX-License-Identifier: MIT
#
# soak.sh - random schedules of many tenants (tests/unit/tenants.h), all classes of machines in turn, on all cores.
#
# usage: soak.sh [STEPS [SEED]]       default: 10^9 steps, from seed 1000 on
#
# Each run is one class, one seed and 5 million steps, each of which is made in two worlds. JOBS runs at once (default:
# one per core). Prints a line per run, and at the end `soak.steps,N,count` and `soak.violations,N,count`: runs
# that found something. Those are kept in build/soak/failed-CLASS-SEED, which says how to repeat them.
# Exit status 1 if there was one.
set -eu
cd "$(dirname "$0")/.."

steps=${1:-1000000000}
seed=${2:-1000}
jobs=${JOBS:-$(nproc)}
# Like one run of `make test` and more, so that each has to hit every cell of the matrix.
run_steps=5000000
out=build/soak

scripts/build.sh soak
rm -f "$out"/failed-* "$out"/runs

# run CLASS SEED
run()
{
	log=$out/log-$1-$2
	begin=$(date +%s)
	if "$out/tests/unit/test-tenants" "$1" $run_steps "$2" >"$log" 2>&1; then
		echo "ok $1 $2 $(($(date +%s) - begin))" >>"$out/runs"
		rm "$log"
	else
		echo "failed $1 $2 $(($(date +%s) - begin))" >>"$out/runs"
		echo "again: $out/tests/unit/test-tenants $1 $run_steps $2" >>"$log"
		mv "$log" "$out/failed-$1-$2"
	fi
	done_steps=$(($(wc -l <"$out/runs") * run_steps))
	echo "soak: $(tail -n 1 "$out/runs") s; $((done_steps / 1000000)) of $((steps / 1000000)) million steps"
}

# A process per job, which takes every so-manieth run.
worker()
{
	set -- "$1" p5hpmn p5fgt p5 p1 v3 skylake icelake zen4
	first=$1
	shift
	n=$first
	while [ $((n * run_steps)) -lt "$steps" ]; do
		eval "class=\${$((n % $# + 1))}"
		# shellcheck disable=SC2154
		run "$class" $((seed + n))
		n=$((n + jobs))
	done
}

: >"$out/runs"
begin=$(date +%s)
job=0
while [ $job -lt "$jobs" ]; do
	worker $job &
	job=$((job + 1))
done
wait

violations=$(grep -c '^failed ' "$out/runs" || true)
for log in "$out"/failed-*; do
	[ ! -e "$log" ] || { echo "soak: $log"; grep -E '^class |^again: ' "$log" || tail -n 5 "$log"; }
done
echo "soak: $(($(date +%s) - begin)) s, $(wc -l <"$out/runs") runs"
echo "soak.steps,$(($(wc -l <"$out/runs") * run_steps)),count"
echo "soak.violations,$violations,count"
[ "$violations" -eq 0 ]
