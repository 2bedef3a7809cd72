#!/bin/bash
# SPDX-License-Identifier: MIT
#
# monitor.sh - the PMU test images as guests of the EL2 monitor: the bodies that pass on the bare
# machine pass here too, no instruction of EL2 is counted, and a policy holds.
#
# usage: monitor.sh
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}

# under SUITE QEMU CPU IMAGE BOOTARGS [OPTION OF vpmu run...]
under()
{
	local suite=$1 qemu=$2 cpu=$3 image=$4 bootargs=$5
	shift 5

	guest "$suite" "$vpmu" run --qemu "$qemu" --cpu "$cpu" --monitor "$monitor" \
		--timeout "$((run_seconds - 5))" --kernel "$images/$image.img" \
		--append "cpi=2 $bootargs" "$@"
}

# What a guest under a policy still sees of QEMU: PMCR, PMSELR and the counters are direct.
deviations_under_policy()
{
	if has_fine_traps "$1" "$2"; then
		qemu_deviations "$2"
	fi
}

bodies()
{
	local at=$1 qemu=$2 cpu=$3 allow=$4

	under "monitor/$at/lazy" "$qemu" "$cpu" pmu-tests "$allow"
	under "monitor/$at/eager" "$qemu" "$cpu" pmu-tests "$allow" --switch eager
	under "monitor/$at/smp" "$qemu" "$cpu" smp-tests smp=2 --smp 2
}

# RULES A4, for each way to stop at EL2.
probe()
{
	local at=$1 qemu=$2 cpu=$3

	under "monitor/$at/nsh-lazy" "$qemu" "$cpu" nsh-probe ""
	under "monitor/$at/nsh-eager" "$qemu" "$cpu" nsh-probe "" --switch eager
	under "monitor/$at/nsh-policy" "$qemu" "$cpu" nsh-probe "" --policy deny:0x03
}

# A denied event is not advertised, reads back and never counts; 0x11 also gates PMCCNTR. The
# guest is otherwise whole: with 0x03 denied, which no test needs, every body must still pass.
policies()
{
	local at=$1 qemu=$2 cpu=$3 allow=$4

	under "monitor/$at/deny-unused" "$qemu" "$cpu" pmu-tests "$allow" --policy deny:0x03
	under "monitor/$at/deny-instructions" "$qemu" "$cpu" pmu-tests \
		"$allow,no_instructions test=pmceid,denied,typer,cycles,sw" --policy deny:0x08
	under "monitor/$at/deny-cycles" "$qemu" "$cpu" pmu-tests \
		"$allow test=pmceid_counts,pmceid_silent,denied,typer,instructions,sw" \
		--policy deny:0x11
	under "monitor/$at/allow-some" "$qemu" "$cpu" pmu-tests \
		"$allow test=pmceid_counts,pmceid_silent,denied,bitmap,pmcr,instructions" \
		--policy allow:0x08,0x11
}

# RULES B2: HPMN is asked for at EL1, and QEMU does not keep to it. Then a guest that has a part of the counters is
# kept to it by traps, and sees the manual's PMU. A QEMU that learns it fails here: results are labelled.
partitions()
{
	local at=$1 qemu=$2 cpu=$3 why="no fine-grained traps" name=monitor/$1/partition said status=0 option

	if has_fine_traps "$at" "$cpu"; then
		why="HPMN is advertised but not enforced: EL1 reaches enables of range 2"
	fi
	for option in "--mode partitioned" "--mode mediated"; do
		# shellcheck disable=SC2086 # two words
		under "$name-${option##* }" "$qemu" "$cpu" pmu-tests "" --counters 3 $option
	done
	said=$(timeout "$run_seconds" "$vpmu" run --qemu "$qemu" --cpu "$cpu" --monitor "$monitor" --stats \
		--timeout "$((run_seconds - 5))" --kernel "$images/pmu-tests.img" --mode partitioned --counters 3 \
		--append "test=pmcr" 2>&1 </dev/null | tr -d '\r') || status=$?
	if [ "$status" -ne 0 ]; then
		fail "$name-probe" "status $status: $(echo "$said" | tail -n 1)"
	elif [ "$(echo "$said" | sed -n 's/^vpmu: cpu0 pmu.partition //p')" != "trap mode: $why" ]; then
		fail "$name-probe" "$(echo "$said" | grep 'pmu.partition' || echo "no line about it")"
	elif ! echo "$said" | grep -q '^vpmu: cpu0 pmu.reach all-trapped'; then
		fail "$name-probe" "$(echo "$said" | grep 'pmu.reach')"
	else
		echo "ok $name-probe"
	fi
}

[ -e "$images/pmu-tests.img" ] || { skip monitor "no images in $images; scripts/build.sh arm64"; exit 77; }
[ -e "$monitor" ] || { skip monitor "no $monitor; scripts/build.sh arm64"; exit 77; }
[ -x "$vpmu" ] || { skip monitor "no $vpmu; scripts/build.sh host"; exit 77; }
missing_emulators monitor
[ -n "$(emulators)" ] || exit 77
while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		bodies "$label/$cpu" "$qemu" "$cpu" "allow=$(qemu_deviations "$cpu")"
		probe "$label/$cpu" "$qemu" "$cpu"
		partitions "$label/$cpu" "$qemu" "$cpu"
		policies "$label/$cpu" "$qemu" "$cpu" \
			"allow=$(deviations_under_policy "$label" "$cpu")"
	done
done < <(emulators)
finish
