#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tenants-guest.sh - runs in the Linux guest of tenants.sh: one count and one number of samples, as
# "figure NAME VALUE". The same runs on the bare machine, and tenants.sh compares.
perf stat -x, -o stat.csv -e instructions:u loop 10000000
echo "figure instructions_u $(awk -F, '/instructions:u/ { print $1 }' stat.csv)"
# An odd period: QEMU loses no overflow of those under icount.
perf record -q -B -N -e cycles:u -c 1000001 -o record.data loop 10000000
echo "figure samples_of_cycles $(perf report -i record.data --stats 2>/dev/null |
	awk '/SAMPLE events/ { print $3; exit }')"
