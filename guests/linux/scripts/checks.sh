# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# What the scripts beside this one share. They end with: report; exit $?

iterations=${iterations:-20000000}
period=1000001
per_iteration=7    # instructions, see loop.c
start_up=200       # instructions of loop around the loop itself, at most
failures=0

# With several CPUs QEMU's counters also show what the other CPUs do meanwhile (they read
# one clock and one count of instructions for the whole machine): a percent is allowed.
slack=$start_up
[ "$(nproc)" -eq 1 ] || slack=$((iterations * per_iteration / 100))

fail() { echo "NOT OK: $*"; failures=$((failures + 1)); }

check() # WHAT VALUE LOW HIGH
{
	if awk -v v="$2" -v lo="$3" -v hi="$4" 'BEGIN { exit !(v != "" && v >= lo && v <= hi) }'; then
		echo "ok: $1 = $2"
	else
		fail "$1 = '$2', expected $3 ... $4"
	fi
}

# The count of event $1 in stat.csv; nothing if this machine's PMU does not offer it.
counted() { awk -F, -v event="$1" '$3 == event && $1 ~ /^[0-9]+$/ { print $1; exit }' stat.csv; }

# Checks a counted loop on the CPU that runs this.
check_loop() # WHERE
{
	perf stat -x, -o stat.csv -e cycles:u,instructions:u loop "$iterations"
	instructions=$(counted instructions:u)
	cycles=$(counted cycles:u)
	if [ -n "$instructions" ]; then
		expected=$((iterations * per_iteration))
		check "instructions:u of the loop$1" "$instructions" $expected $((expected + slack))
	else
		# QEMU counts them only under icount.
		echo "instructions:u: this machine's PMU does not offer them"
	fi
	if [ -n "$cycles" ]; then
		check "cycles:u of the loop$1" "$cycles" 1 999999999999
	else
		fail "cycles:u: this machine's PMU does not offer them"
	fi
}

# Samples the loop on the CPU that runs this; as many samples as periods were counted.
check_samples() # WHERE
{
	perf stat -x, -o stat.csv -e cycles loop "$iterations"
	expected=$(($(counted cycles) / period))
	perf record -q -B -N -e cycles -c $period -o record.data loop "$iterations"
	samples=$(perf report -i record.data --stats 2>/dev/null |
		awk '/SAMPLE events/ { print $3; exit }')
	check "samples$1" "$samples" $((expected * 97 / 100 - 2)) $((expected * 105 / 100 + 2))
}

report()
{
	if [ $failures -eq 0 ]; then
		echo "all figures as expected"
	else
		echo "$failures figure(s) wrong"
	fi
	return $((failures > 0))
}
