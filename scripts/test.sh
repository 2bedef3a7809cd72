#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh - runs the tests and sums them up.
#
# usage: test.sh check|all
#
#   check   contract checks and unit tests; under a minute
#   all     and unit tests built by clang and with sanitizers, and guests in QEMU, as many at
#           once as there are CPUs
#
# Ends with one line "N passed, N failed, N skipped"; the exit status says whether any failed.
# Every case is listed in build/test-cases.
set -eu
cd "$(dirname "$0")/.."

what=${1:-}
case $what in
check | all) ;;
suite) ;; # by this script itself: one of tests/e2e
*) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
esac

cases=build/test-cases
stage() { echo "== $1"; }

# run LABEL FILE COMMAND...: shows what the command prints and keeps its case lines in FILE. A command
# that fails without naming a failed case is a failed case; status 77 means all was skipped.
run()
{
	label=$1
	new=$2
	shift 2
	{ "$@" && rc=0 || rc=$?; echo "$rc" >"$new.status"; } | tee "$new.output"
	grep -E '^(ok|not ok|skip) ' "$new.output" >"$new" || true
	case $(cat "$new.status") in
	0) ;;
	77) grep -q '^skip ' "$new" || echo "not ok $label: skipped without a reason" ;;
	*) grep -q '^not ok ' "$new" || echo "not ok $label: status $(cat "$new.status")" ;;
	esac | tee -a "$new"
	rm -f "$new.status" "$new.output"
}

record()
{
	label=$1
	shift
	run "$label" build/test-new "$@"
	cat build/test-new >>"$cases"
}

suites=build/test-suites

# Its lines bear its name, for others run at the same time.
suite()
{
	name=$(basename "$1" .sh)
	echo "begins"
	run "$name" "$suites/$name" "$1"
	echo "ends"
}

# Each uses one CPU most of the time. What they were for is in the order of their names again.
guests()
{
	rm -rf "$suites"
	mkdir -p "$suites"
	for suite in tests/e2e/*.sh; do
		[ -x "$suite" ] && echo "$suite" # the others are what they share
	done | xargs -n 1 -P "$(nproc)" scripts/test.sh suite || true
	for suite in tests/e2e/*.sh; do
		name=$(basename "$suite" .sh)
		[ -x "$suite" ] || continue
		[ -e "$suites/$name" ] || echo "not ok $name: it did not end" | tee "$suites/$name"
		cat "$suites/$name" >>"$cases"
	done
}

# unit LABEL FOLDER [ARGUMENT...]: Meson's tests of one build.
unit()
{
	label=$1
	folder=$2
	shift 2
	stage "unit tests ($label)"
	rc=0
	rm -f "$folder/meson-logs/testlog.json"
	meson test -C "$folder" --no-rebuild --print-errorlogs "$@" >build/test-output 2>&1 || rc=$?
	scripts/meson-cases.py "$label" "$folder" >build/test-new || rc=$?
	grep -vE '^(ninja: |Full log|$)' build/test-output || true
	grep -E '^(not ok|skip) ' build/test-new || true
	if [ "$rc" -ne 0 ] && ! grep -q '^not ok ' build/test-new; then
		echo "not ok $label: meson test ended with status $rc" | tee -a build/test-new
	fi
	cat build/test-new >>"$cases"
}

# build NAME: a build that fails is a failed case, and what needs it is not run.
build()
{
	if scripts/build.sh "$1"; then
		echo "ok build/$1" >>"$cases"
		return
	fi
	echo "not ok build/$1: see above" | tee -a "$cases"
	return 1
}

quick()
{
	build host && unit gcc build/host --no-suite long
	build arm64 || return 0
	stage "checks"
	record check scripts/check.sh
}

full()
{
	[ ! -d build/host ] || unit gcc build/host --suite long
	build clang && unit clang build/clang --no-suite long
	build asan && unit asan build/asan --no-suite long
	build tsan && unit tsan build/tsan threads x86-host
	stage "images and a newer QEMU"
	record qemu10 scripts/qemu10.sh
	record guest guests/linux/build.sh
	stage "guests in QEMU"
	guests
}

if [ "$what" = suite ]; then
	suite "$2" 2>&1 | sed -u "s|^|$(basename "$2" .sh): |"
	exit 0
fi

scripts/build.sh
: >"$cases"
quick
[ "$what" = check ] || full

count() { grep -c "^$1 " "$cases" || true; }
# Every skip was printed with its reason; together they are easier to judge.
if grep -q '^skip ' "$cases"; then
	stage "skipped, by reason"
	sed -n 's/^skip [^:]*: *//p' "$cases" | sort | uniq -c | sort -rn
fi
failed=$(count 'not ok')
if [ "$failed" -ne 0 ]; then
	stage "failed"
	grep '^not ok ' "$cases"
fi
echo "$(count ok) passed, $failed failed, $(count skip) skipped"
[ "$failed" -eq 0 ]
