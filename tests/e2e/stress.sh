#!/bin/bash
# SPDX-License-Identifier: MIT
#
# stress.sh - the guest that tries everything (hosts/el2/tests/stress.c) gets an answer to all of it, and
# the monitor lives: alone, and as the first and as another of several guests.
#
# usage: stress.sh
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}
stress=${VPMU_STRESS:-build/arm64/hosts/el2/tests/stress.img}

for file in "$stress" "$monitor" "$images/tenant-tests.img"; do
	[ -e "$file" ] || { skip stress "no $file; scripts/build.sh arm64"; exit 77; }
done
[ -x "$vpmu" ] || { skip stress "no $vpmu; scripts/build.sh host"; exit 77; }
missing_emulators stress
[ -n "$(emulators)" ] || exit 77

# stress SUITE PREFIX QEMU CPU OPTION...: its lines begin with PREFIX.
stress()
{
	local suite=$1 prefix=$2 qemu=$3 cpu=$4 output status=0
	shift 4

	output=$(timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --cpu "$cpu" --monitor "$monitor" \
		--timeout "$((run_seconds - 5))" "$@" 2>/dev/null </dev/null | tr -d '\r') || status=$?
	output=$(sed -n "s/^$prefix//p" <<<"$output")
	if grep -q '^not ok ' <<<"$output"; then
		fail "$suite" "$(grep '^not ok ' <<<"$output" | tr '\n' ' ')"
	elif ! grep -qx 'stress-verdict: 0' <<<"$output"; then
		fail "$suite" "no verdict (status $status): $(tail -n 1 <<<"$output")"
	elif ! grep -q '^ok ' <<<"$output"; then
		fail "$suite" "nothing was tried"
	else
		echo "ok $suite"
	fi
}

beside="kernel=$images/tenant-tests.img,append=cpi=2 test=tenant_spins,wait=no"
while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		stress "stress/$label/$cpu/alone" '' "$qemu" "$cpu" --kernel "$stress"
		stress "stress/$label/$cpu/emulated" '' "$qemu" "$cpu" --kernel "$stress" --mode emulated
		stress "stress/$label/$cpu/first" '\[0\] ' "$qemu" "$cpu" --vm "kernel=$stress" \
			--vm "$beside,memory=16M"
		stress "stress/$label/$cpu/other" '\[1\] ' "$qemu" "$cpu" --vm "$beside,memory=256M" \
			--vm "kernel=$stress,memory=288M"
	done
done < <(emulators)
finish
