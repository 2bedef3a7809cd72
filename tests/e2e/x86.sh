#!/bin/bash
# SPDX-License-Identifier: MIT
#
# x86.sh - the pmu test of kvm-unit-tests on the PC, for Intel and AMD PMUs: on the bare machine all its
# checks pass, and the same ones under libvpmu, emulated and mediated.
#
# usage: x86.sh [PMU...]
#
# Environment: VPMU_KUT is the folder of a built kvm-unit-tests (./configure && make x86/pmu.flat);
# without it there is nothing to run. A PMU takes some minutes for each mode.
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
flat=${VPMU_KUT:-}/x86/pmu.flat
# Version 1 ends it with #GP: it tries fixed counter 0 there too.
[ $# -gt 0 ] || set -- intel:v=2,gp=8 intel:v=4,gp=4 intel:v=5,gp=2 amd:legacy amd:core amd:v2

[ -x "$vpmu" ] || { skip x86 "no $vpmu; scripts/build.sh host"; exit 77; }
[ -f "$flat" ] || {
	skip x86/kvm-unit-tests "VPMU_KUT names no folder with x86/pmu.flat of kvm-unit-tests"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# kut PMU MODE: its lines without measured values, which may differ.
kut()
{
	local caches=() status=0

	case $1 in
	intel*) caches=(--caches) ;; # an AMD PMU has no event of the last-level cache
	esac
	"$vpmu" run --arch x86 --pmu "$1" --mode "$2" "${caches[@]}" --timeout 3600 "$flat" \
		>"$dir/console" 2>&1 </dev/null || status=$?
	[ -z "${VPMU_KEEP:-}" ] || cp "$dir/console" "$VPMU_KEEP/x86-kut-${1//[:,=]/-}-$2"
	tr -d '\r' <"$dir/console" | grep -E '^(PASS|SKIP|FAIL: [A-Za-z]|SUMMARY)' >"$dir/$2" || true
	[ $status -eq 0 ] && grep -q '^SUMMARY' "$dir/$2" && ! grep -q '^FAIL' "$dir/$2"
}

for pmu; do
	for mode in bare emulated mediated; do
		name=x86/kvm-unit-tests/$pmu/$mode
		if ! kut "$pmu" "$mode"; then
			fail "$name" "$(grep -m 1 '^FAIL' "$dir/$mode" || tail -n 1 "$dir/console")"
		elif ! cmp -s "$dir/bare" "$dir/$mode"; then
			fail "$name" "other checks than on the bare machine"
		else
			echo "ok $name # $(sed -n 's/^SUMMARY: //p' "$dir/$mode")"
		fi
	done
done
[ $failures -eq 0 ]
