#!/bin/sh
# SPDX-License-Identifier: MIT
#
# hetero-guest.sh - runs in the Linux guest of hetero.sh: what its driver found, and that it counts and samples,
# as "figure NAME VALUE".
echo "figure driver_counters $(dmesg | sed -n 's/.*pmuv3.* PMU driver, \([0-9]*\) .*/\1/p')"
for event in /sys/bus/event_source/devices/armv8_pmuv3*/events/*; do
	case ${event##*/} in
	cpu_cycles | inst_retired) echo "figure event ${event##*/}" ;;
	esac
done
perf stat -x, -o stat.csv -e cycles:u loop 10000000
echo "figure cycles_u $(awk -F, '/cycles:u/ { print $1 }' stat.csv)"
perf record -q -B -N -e cycles:u -c 1000001 -o record.data loop 10000000
echo "figure samples_of_cycles $(perf report -i record.data --stats 2>/dev/null |
	awk '/SAMPLE events/ { print $3; exit }')"
