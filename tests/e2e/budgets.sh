#!/bin/bash
# SPDX-License-Identifier: MIT
#
# budgets.sh - how often the monitor may touch PMU registers, by its own count of them.
#
# usage: budgets.sh
#
# A bare-metal guest (switch-bench) goes to EL2 a number of times with 0 to 6 counters counting.
# What an exit and the enter after it cost is the difference of two runs that differ in that
# number alone; under -icount the same run costs the same every time, so the budgets are exact.
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}
image=$images/switch-bench.img
interval=256        # exits between two looks at the enables (VPMU_LOOK_INTERVAL)
few=20 many=220     # no look in between
fours=2             # times four looks
selectors=7         # of the six event counters and the cycle counter

[ -e "$image" ] || { skip budgets "no $image; scripts/build.sh arm64"; exit 77; }
[ -e "$monitor" ] || { skip budgets "no $monitor; scripts/build.sh arm64"; exit 77; }
[ -x "$vpmu" ] || { skip budgets "no $vpmu; scripts/build.sh host"; exit 77; }
missing_emulators budgets
[ -n "$(emulators)" ] || exit 77

# run MACHINE COUNTERS ROUNDS [WORD]: "ACCESSES TRAP-ACCESSES COUNTED" of a whole run; ACCESSES are
# those of exits, enters and traps. MACHINE is options of vpmu run, COUNTED counter increments.
run()
{
	local machine=$1 bootargs="counters=$2 rounds=$3 ${4:-}"

	# shellcheck disable=SC2086 # options are words
	"$vpmu" run $machine --monitor "$monitor" --timeout "$run_seconds" --stats \
		--kernel "$image" --append "$bootargs" </dev/null 2>&1 | tr -d '\r' | awk '
		/ pmu\.switch_accesses / { switches = $NF }
		/ pmu\.trap_accesses / { traps = $NF }
		/ pmu\.emulated_counted / { counted = $NF }
		/^ok switch_cost$/ { ok = 1 }
		END {
			if (!ok || switches == "" || traps == "" || counted == "")
				exit 1
			print switches + traps, traps, counted
		}'
}

# The guest ran, and what follows can be judged.
ran() # SUITE COUNTERS RESULT...
{
	local suite=$1 result
	shift

	for result; do
		[ -n "$result" ] || { fail "$suite" "a guest did not end well"; return 1; }
	done
}

at_most() # CASE ACCESSES BUDGET
{
	if [ "$2" -le "$3" ]; then
		echo "ok $1"
	else
		fail "$1" "$2 accesses, the budget is $3"
	fi
}

# pairs SUITE MACHINE COUNTERS BUDGET [WORD]: BUDGET accesses per exit and enter.
pairs()
{
	local suite=$1 a b
	a=$(run "$2" "$3" $few "${5:-}") || a=
	b=$(run "$2" "$3" $many "${5:-}") || b=

	ran "$suite" "$a" "$b" || return 0
	at_most "$suite" $((${b%% *} - ${a%% *})) $(((many - few) * $4))
}

# looks SUITE MACHINE COUNTERS PAIR FOUR: beyond the PAIR of every exit and enter, FOUR accesses for
# four looks. They are the way back to zero cost (RULES A1), and must not become a cost themselves.
looks()
{
	local suite=$1 a b rounds=$((fours * 4 * interval))
	a=$(run "$2" "$3" $few) || a=
	b=$(run "$2" "$3" $((few + rounds))) || b=

	ran "$suite" "$a" "$b" || return 0
	at_most "$suite" $((${b%% *} - ${a%% *})) $((rounds * $4 + fours * $5))
}

# counted SUITE MACHINE BASE: switch-bench ends with one access that the monitor carries out and
# counts. It takes BASE to see what counts, and a read and a write per counter (RULES A7).
counted()
{
	local suite=$1 k result total traps increments

	for k in 1 3 6; do
		result=$(run "$2" $k $few) || result=
		ran "$suite$k" "$result" || continue
		read -r total traps increments <<<"$result"
		if [ "$increments" -eq "$k" ]; then
			at_most "$suite$k" "$traps" $(($3 + 2 * k))
		else
			fail "$suite$k" "$increments increments of $k counters ($total accesses)"
		fi
	done
}

# stops CPU: accesses that stop and start an active guest's counters: none where the hardware does.
stops() { case $1 in max) echo 0 ;; *) echo 3 ;; esac; }

open_guest()
{
	local at=budgets/$1/$3/open machine="--qemu $2 --cpu $3" k pair four=8 base=3
	pair=$(stops "$3")

	# Without fine-grained traps the selectors are the guest's: only a read can tell. Where nothing
	# but us stops a counter at EL2, one look of four reads them too (decision 0004).
	if ! has_fine_traps "$1" "$3"; then
		base=$((base + selectors))
		[ "$pair" -eq 0 ] || four=$((four + selectors))
	fi
	pairs "$at/quiet" "$machine" 0 0
	looks "$at/quiet_looks" "$machine" 0 0 0
	for k in 1 2 3 4 5 6; do
		pairs "$at/active$k" "$machine" $k "$pair"
	done
	looks "$at/active_looks" "$machine" 6 "$pair" $four
	counted "$at/counted" "$machine" $base
	if has_fine_traps "$1" "$3"; then
		pairs "$at/trapped_read" "$machine" 6 0 emulated
	fi
}

# Every selector went through the monitor: what it left in the hardware does not count at EL2.
policy_guest()
{
	local at=budgets/$1/$3/policy machine="--qemu $2 --cpu $3 --policy deny:0x03" base=3

	has_fine_traps "$1" "$3" || base=1
	pairs "$at/quiet" "$machine" 0 0
	pairs "$at/active6" "$machine" 6 0
	looks "$at/active_looks" "$machine" 6 0 8
	pairs "$at/trapped_read" "$machine" 6 0 emulated
	counted "$at/counted" "$machine" $base
}

while read -r label qemu; do
	for cpu in "${cpus[@]}"; do
		open_guest "$label" "$qemu" "$cpu"
		policy_guest "$label" "$qemu" "$cpu"
	done
done < <(emulators)
finish
