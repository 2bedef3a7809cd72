# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lib.sh - what the end-to-end tests share: which QEMU, which CPU model, and how the console of a
# guest becomes case lines. Sourced, in the project's root folder. Every executable script beside
# it is a suite; scripts/test.sh runs them all, and each one runs alone too.
#
# Every case is one line on standard output, in a form that can be counted:
#
#   ok SUITE/NAME            also "# deviation WORD": an accepted difference of the machine below
#   not ok SUITE/NAME: WHY
#   skip SUITE/NAME: WHY
#
# Environment: VPMU_KEEP=FOLDER keeps the consoles, VPMU_RUN_SECONDS bounds one guest,
# VPMU_IMAGES is the folder of the images.

# shellcheck disable=SC2034 # used by those who source this
cpus=(max neoverse-n1 cortex-a57)
# shellcheck disable=SC2034
images=${VPMU_IMAGES:-build/arm64/guests/arm-tests}
run_seconds=${VPMU_RUN_SECONDS:-60}
failures=0

fail() { echo "not ok $1: $2"; failures=$((failures + 1)); }
skip() { echo "skip $1: $2"; }

# The emulators to test with, one "LABEL PATH" per line; an absent one is a skip.
emulators()
{
	local newer=build/qemu10/qemu-system-aarch64 system

	if system=$(command -v qemu-system-aarch64); then
		echo "qemu$(qemu_version "$system") $system"
	fi
	if [ -x "$newer" ]; then
		echo "qemu$(qemu_version "$newer") $newer"
	fi
}

qemu_version() { "$1" --version | sed -n 's/^QEMU emulator version \([0-9]*\.[0-9]*\).*/\1/p'; }

# Says which of the two emulators are missing, as skips of the whole suite.
missing_emulators()
{
	command -v qemu-system-aarch64 >/dev/null ||
		skip "$1/qemu" "no qemu-system-aarch64 in the search path"
	[ -x build/qemu10/qemu-system-aarch64 ] ||
		skip "$1/qemu10" "build/qemu10/qemu-system-aarch64 is absent; scripts/qemu10.sh makes it"
}

# What QEMU's PMU is known to do otherwise (guests/arm-tests/seam.h), for tests that touch it
# directly: on every model, before PMUv3p5, and on PMUv3 of Armv8.0.
qemu_deviations()
{
	case $1 in
	cortex-a57) echo bounds,line,lp,typer ;;
	neoverse-n1) echo bounds,line,lp ;;
	*) echo bounds,line ;;
	esac
}

# has_fine_traps LABEL CPU: does the machine have FEAT_FGT? With it the data plane stays direct under
# a policy. Without it a policy makes every access trap, so that the guest sees libvpmu's PMU,
# which is the manual's.
has_fine_traps()
{
	[ "$2" = max ] && [ "${1%%.*}" != qemu7 ]
}

# Cases of a console: "ok NAME", "not ok NAME: ...", "skip NAME: ..." get the suite's name.
case_lines() { tr -d '\r' | sed -nE "s#^(ok|not ok|skip) ([a-z0-9_]+)#\\1 $1/\\2#p"; }

# The sum that the image printed is the sum of the case lines that arrived.
sum_agrees()
{
	local sum lines

	sum=$(tr -d '\r' <"$1" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1+\2+\3/p')
	lines=$(case_lines x <"$1" | wc -l)
	[ -n "$sum" ] && [ "$((sum))" -eq "$lines" ]
}

# guest SUITE COMMAND...: runs a guest that ends by itself, and judges its console.
guest()
{
	local suite=$1 console status=0 verdict
	shift

	console=$(mktemp)
	timeout "$run_seconds" "$@" >"$console" 2>"$console.err" </dev/null || status=$?
	case_lines "$suite" <"$console"
	failures=$((failures + $(case_lines "$suite" <"$console" | grep -c '^not ok ' || true)))
	verdict=$(tr -d '\r' <"$console" | sed -nE 's/^vpmu-verdict: ([0-9]+)$/\1/p')
	if [ "$status" -eq 124 ]; then
		fail "$suite" "no end after $run_seconds seconds"
	elif [ -z "$verdict" ]; then
		fail "$suite" "no verdict (status $status): $(tail -n 1 "$console.err" | tr -d '\r')"
	elif [ "$verdict" -gt 1 ]; then
		fail "$suite" "verdict $verdict: $(tr -d '\r' <"$console" | grep '^# exception' | tail -n 1)"
	elif ! sum_agrees "$console"; then
		fail "$suite" "case lines do not add up to the image's own sum"
	elif [ "$verdict" -ne 0 ] && ! grep -q '^not ok ' "$console"; then
		fail "$suite" "verdict $verdict without a failed case"
	fi
	if [ -n "${VPMU_KEEP:-}" ]; then
		mkdir -p "$VPMU_KEEP"
		mv "$console" "$VPMU_KEEP/${suite//\//.}"
	fi
	rm -f "$console" "$console.err"
}

# ---- Archives for a Linux guest ----

zeros() { head -c "$1" /dev/zero; }
align4() { zeros $(((4 - $1 % 4) % 4)); }

# member NAME MODE FILE: one file of a cpio archive ("newc"), as Linux unpacks it.
member()
{
	local size field

	size=$(stat -c %s "$3")
	printf 070701
	for field in 1 "$2" 0 0 1 0 "$size" 0 0 0 0 $((${#1} + 1)) 0; do
		printf %08x "$field"
	done
	printf '%s\0' "$1"
	align4 $((110 + ${#1} + 1))
	cat "$3"
	align4 "$size"
}

# The status of a suite that has printed its cases.
finish() { [ "$failures" -eq 0 ]; }
