#!/bin/bash
# SPDX-License-Identifier: MIT
#
# linux.sh - the default Linux guest profiles itself on the bare machine and under the EL2 monitor,
# and must see the same: instructions of a loop exactly, cycles and samples within a bound.
#
# usage: linux.sh [PATTERN]    only machines "QEMU/CPU" that contain PATTERN
#
# Cases are printed as lib.sh says. Exit status: 0, 1 if a case failed, 77 if nothing could run.
# VPMU_JOBS is the number of guests at a time (2).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/lib.sh

vpmu=${VPMU:-build/host/tools/vpmu/vpmu}
monitor=${VPMU_MONITOR:-build/arm64/hosts/el2/monitor.img}
initrd=${VPMU_INITRD:-build/images/linux/initramfs.cpio.gz}
boot_seconds=${VPMU_BOOT_SECONDS:-180}
jobs=${VPMU_JOBS:-2}
only=${1:-}

[ -x "$vpmu" ] || { skip linux "no $vpmu; scripts/build.sh host"; exit 77; }
[ -e "$monitor" ] || { skip linux "no $monitor; scripts/build.sh arm64"; exit 77; }
[ -e "$initrd" ] || { skip linux "no $initrd; guests/linux/build.sh"; exit 77; }
missing_emulators linux
[ -n "$(emulators)" ] || exit 77

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- The guest ----

# The default guest with one more file. Linux unpacks archives that follow each other.
{
	member linux-guest.sh $((0100755)) tests/e2e/linux-guest.sh
	member 'TRAILER!!!' 0 /dev/null
	cat "$initrd"
} >"$work/initrd"

console() { echo "$work/${1//\//.}"; }

# boot SUITE QEMU CPU PARTS [OPTION OF vpmu run...]: in the background, when there is room.
boot()
{
	local to qemu=$2 cpu=$3 parts=$4
	to=$(console "$1")
	shift 4

	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
		wait -n || true
	done
	{
		"$vpmu" run --qemu "$qemu" --cpu "$cpu" --timeout "$boot_seconds" \
			--initrd "$work/initrd" --append "-- /linux-guest.sh $parts" "$@" \
			>"$to" 2>"$to.err" </dev/null && status=0 || status=$?
		echo "$status" >"$to.status"
	} &
}

under() { boot "$@" --monitor "$monitor" --stats; }
bare() { boot "$@" --mode bare; }

# ---- What it has to print ----

figure() { tr -d '\r' <"$(console "$1")" | sed -n "s/^figure $2 //p"; }

# went_well SUITE: the guest ended by itself with verdict 0.
went_well()
{
	local at verdict
	at=$(console "$1")

	verdict=$(tr -d '\r' <"$at" | sed -n 's/^vpmu-verdict: //p')
	if [ "$verdict" = 0 ] && [ "$(cat "$at.status")" = 0 ]; then
		return
	fi
	fail "$1" "verdict '$verdict', status $(cat "$at.status"): $(tail -n 1 "$at.err" | tr -d '\r')"
	return 1
}

# near PERCENT VALUES REFERENCE: as many numbers, and each as near to its counterpart. A reference
# of one number is everybody's.
near()
{
	awk -v percent="$1" -v values="$2" -v reference="$3" 'BEGIN {
		n = split(values, v, " ")
		m = split(reference, r, " ")
		if (n == 0 || m == 0 || (m != n && m != 1))
			exit 1
		for (i = 1; i <= n; i++) {
			if (v[i] !~ /^[0-9]+$/ || r[m == 1 ? 1 : i] !~ /^[0-9]+$/)
				exit 1
			apart = v[i] - r[m == 1 ? 1 : i]
			if ((apart < 0 ? -apart : apart) > r[m == 1 ? 1 : i] * percent / 100)
				exit 1
		}
	}'
}

# check SUITE FIGURE PERCENT REFERENCE
check()
{
	local value
	value=$(figure "$1" "$2")

	if near "$3" "$value" "$4"; then
		echo "ok $1/$2"
	else
		fail "$1/$2" "'$value', expected '$4' within $3 %"
	fi
}

# near_count SUITE FIGURE DIFFERENCE REFERENCE: for figures of which one is more than a percent.
near_count()
{
	local value
	value=$(figure "$1" "$2")

	if [ -n "$value" ] && [ -n "$4" ] && [ $((value - $4)) -ge "-$3" ] &&
		[ $((value - $4)) -le "$3" ] && [ "$value" -gt 1 ]; then
		echo "ok $1/$2"
	else
		fail "$1/$2" "'$value', expected '$4' give or take $3"
	fi
}

# same SUITE BARE PERCENT FIGURE...
same()
{
	local suite=$1 reference=$2 percent=$3 name
	shift 3

	for name; do
		check "$suite" "$name" "$percent" "$(figure "$reference" "$name")"
	done
}

# Twelve events shared the counters, and at least six counters were in use at any time.
shared()
{
	local times
	times=$(figure "$1" multiplexed_time)

	if awk -v t="$times" 'BEGIN {
		n = split(t, v, " ")
		for (i = 1; i <= n; i++) { sum += v[i]; bad += v[i] < 1 || v[i] >= 100 }
		exit !(n == 12 && !bad && sum >= 600)
	}'; then
		echo "ok $1/multiplexed_time"
	else
		fail "$1/multiplexed_time" "'$times' percent of the time"
	fi
}

# reach SUITE WORD: which accesses trapped, by the monitor's own account.
reach()
{
	local said
	said=$(tr -d '\r' <"$(console "$1")" | sed -n 's/^vpmu: cpu0 pmu.reach //p')

	case $said in
	"$2"*) echo "ok $1/reach" ;;
	*) fail "$1/reach" "'$said', expected $2" ;;
	esac
}

# ---- Suites: each is booted first, and judged when all have ended ----

# A guest that may count everything.
boot_profile() { under "$1" "$2" "$3" "instructions cycles" "${@:4}"; }

judge_instructions()
{
	same "$1" "$2" 0 instructions_u six_instructions_u
	# QEMU loses about half of these overflows, on the bare machine too: one more or less is phase.
	near_count "$1" samples_of_instructions 1 "$(figure "$2" samples_of_instructions)"
}

judge_profile()
{
	went_well "$1" || return 0
	reach "$1" "$3"
	judge_instructions "$1" "$2"
	same "$1" "$2" 0 whole_pmu_u
	same "$1" "$2" 0.5 cycles_u cycles
	same "$1" "$2" 1 samples_of_cycles samples_of_six
	# Which event is in a counter when its turn ends is chance; programming takes longer with traps.
	same "$1" "$2" 3 samples_of_twelve
	check "$1" multiplexed 1 "$(figure "$2" cycles_u)"
	shared "$1"
}

# A guest that may not count cycles: it is not told of them, and they do not count.
boot_denied() { under "$1" "$2" "$3" "instructions raw" --policy deny:0x11 "${@:4}"; }

nothing_but()
{
	if [ "$(figure "$1" "$2")" = "$3" ]; then
		echo "ok $1/$2"
	else
		fail "$1/$2" "'$(figure "$1" "$2")', expected '$3'"
	fi
}

judge_denied()
{
	went_well "$1" || return 0
	reach "$1" "$3"
	judge_instructions "$1" "$2"
	nothing_but "$1" advertised 0
	nothing_but "$1" cycles none
	nothing_but "$1" raw_cycles '0 0'
	nothing_but "$1" raw_beside_instructions "0 0 $(figure "$2" whole_pmu_u | cut -d ' ' -f 1)"
}

boot_smp() { under "$1" "$2" "$3" smp --smp 2 "${@:4}"; }

case_name() { tr -c 'a-zA-Z0-9\n' _ <<<"$1"; }

# The script's own lines, and each CPU took interrupts of its PMU: one did not do all the work.
judge_smp()
{
	local at what
	at=$(console "$1")

	while read -r what; do
		case $what in
		'ok: '*) what=${what#ok: }; echo "ok $1/$(case_name "${what% = *}")" ;;
		'NOT OK: '*) fail "$1" "${what#NOT OK: }" ;;
		esac
	done < <(tr -d '\r' <"$at")
	went_well "$1" || return 0
	if [ "$(tr -d '\r' <"$at" | grep -c '^vpmu: cpu[01] pmu.pmi_taken [1-9]')" -eq 2 ]; then
		echo "ok $1/interrupts_on_both"
	else
		fail "$1/interrupts_on_both" "$(tr -d '\r' <"$at" | grep pmi_taken | tr '\n' ' ')"
	fi
}

# ---- Which suites ----

# expected_reach LABEL CPU KIND NAME: what the guest reaches untrapped. Linux counts at EL2 too if
# nobody says :u, which before PMUv3p5 costs it direct access (lazy switch, decision 0004).
expected_reach()
{
	if has_fine_traps "$1" "$2"; then
		echo control-trapped
	elif [ "$3" = denied ] || [ "${4%%-*}" = policy ]; then
		echo all-trapped
	elif [ "$2" = max ] || [ "$4" = eager ]; then
		echo all-direct
	else
		echo all-
	fi
}

# suites LABEL CPU: "KIND NAME OPTION..." per line. Every machine has the lazy switch and some of the
# others: all of them would take many minutes and show little more.
suites()
{
	echo "profile lazy"
	case ${1%%.*}/$2 in
	qemu10/max) echo "profile eager --switch eager"; echo "denied denied"; echo "smp smp" ;;
	qemu10/neoverse-n1)
		echo "profile eager --switch eager"
		echo "denied denied-eager --switch eager"
		;;
	qemu10/cortex-a57) echo "profile policy --policy deny:0x03" ;;
	qemu7/max) echo "profile policy --policy deny:0x03"; echo "denied denied" ;;
	qemu7/neoverse-n1) echo "profile policy-eager --switch eager --policy deny:0x03" ;;
	qemu7/cortex-a57) echo "profile eager --switch eager"; echo "smp smp" ;;
	esac
}

# each FUNCTION: calls it with LABEL QEMU CPU of each machine.
each()
{
	local label qemu cpu

	while read -r label qemu; do
		for cpu in "${cpus[@]}"; do
			case $label/$cpu in
			*"$only"*) "$1" "$label" "$qemu" "$cpu" ;;
			esac
		done
	done < <(emulators)
}

boot_machine()
{
	local label=$1 qemu=$2 cpu=$3 at=linux/$1/$3 kind name options

	bare "$at/bare" "$qemu" "$cpu" "instructions cycles"
	while read -r kind name options; do
		# shellcheck disable=SC2086 # options are words
		"boot_$kind" "$at/$name" "$qemu" "$cpu" $options
	done < <(suites "$label" "$cpu")
}

judge_machine()
{
	local label=$1 cpu=$3 at=linux/$1/$3 kind name

	went_well "$at/bare" || return 0
	while read -r kind name _; do
		"judge_$kind" "$at/$name" "$at/bare" \
			"$(expected_reach "$label" "$cpu" "$kind" "$name")"
	done < <(suites "$label" "$cpu")
}

each boot_machine
wait
each judge_machine
if [ -n "${VPMU_KEEP:-}" ]; then
	mkdir -p "$VPMU_KEEP"
	cp "$work"/linux.* "$VPMU_KEEP"
fi
finish
