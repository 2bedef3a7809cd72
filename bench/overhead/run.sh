#!/bin/sh
# SPDX-License-Identifier: MIT
#
# overhead - what profiling costs a program in a Linux guest, by who virtualises the PMU.
#
# usage: bench/overhead/run.sh [--columns LIST] [--qemu PATH]
#
#   --columns LIST  of bare, kvm, vpmu, vpmu_eager (default: all), with commas
#   --qemu PATH     the QEMU to run it in (default: build/qemu10, made when needed)
#
# The same kernel, initramfs and workload everywhere: on the emulated machine itself, as a
# guest of Linux KVM on that machine, and as a guest of our monitor. Overhead is the time
# of a loop under perf over its time without, in the same boot, by the guest's clock.
# Runs under -icount are deterministic, so one run of each is enough.
#
# Standard output: overhead.COLUMN.ROW,value,percent; the samples; what a column adds to
# the bare machine, in percentage points; for ours what the monitor counted per sample.
# Standard error: progress and a table.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build
vpmu=$build/host/tools/vpmu/vpmu
images=$build/images/linux
qemu=$build/qemu10/qemu-system-aarch64
rows='sampling6 multiplex12 stat12'
columns=bare,kvm,vpmu,vpmu_eager
limit=900 # seconds of host time for one boot; the KVM column takes about 60

usage() { sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; exit "$1"; }
say() { echo "overhead: $*" >&2; }
die() { say "$*"; exit 1; }

while [ $# -gt 0 ]; do
	case $1 in
	--columns) columns=${2?}; shift ;;
	--qemu) qemu=${2?}; shift ;;
	-h | --help) usage 0 ;;
	*) usage 2 >&2 ;;
	esac
	shift
done

logs=$build/bench/overhead
mkdir -p "$logs"
results=$logs/results # COLUMN ROW NS_ALONE NS_UNDER_PERF SAMPLES
: >"$results"

# boot LOG OPTION...: one run; its output is in LOG, and it must end with verdict 0.
boot()
{
	log=$logs/$1
	shift
	"$vpmu" run --qemu "$qemu" --timeout $limit "$@" >"$log" </dev/null || {
		status=$?
		tail -n 20 "$log" >&2
		die "status $status; the whole console is in $log"
	}
}

# collect COLUMN LOG: its results.
collect()
{
	tr -d '\r' <"$logs/$2" | sed -n "s/^overhead-result: /$1 /p" >>"$results"
}

bare()
{
	boot bare.log --mode bare --append vpmu.script=overhead
	collect bare bare.log
}

kvm()
{
	"$root/guests/linux/build.sh" kvm
	boot kvm.log --mode bare-el2 --memory 2G --kernel "$images/Image" \
		--initrd "$images/kvm-host.cpio.gz" --append 'quiet panic=-1 vpmu.script=kvm-host'
	collect kvm kvm.log
}

# A boot for each row, and one without perf: the difference of the monitor's counts is
# what perf caused.
ours() # COLUMN SWITCH
{
	for row in alone $rows; do
		boot "$1.$row.log" --switch "$2" --stats --append "-- /scripts/overhead $row"
		collect "$1" "$1.$row.log"
	done
}
vpmu() { ours vpmu lazy; }
vpmu_eager() { ours vpmu_eager eager; }

# NAME VALUE of everything the monitor counted in LOG, all CPUs added up.
counted()
{
	tr -d '\r' <"$logs/$1" | awk '$1 == "vpmu:" && $2 ~ /^cpu[0-9]+$/ && NF == 4 { n[$3] += $4 }
		END { for (k in n) print k, n[k] }' | LC_ALL=C sort
}

percent() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", 100 * (b / a - 1) }'; }

# What the monitor counted in column $1, row $2, per one of its $3 samples.
print_per_sample()
{
	counted "$1.alone.log" >"$logs/before"
	counted "$1.$2.log" | LC_ALL=C join "$logs/before" - | awk -v prefix="overhead.$1.$2" -v samples="$3" '
		$3 != $2 { printf "%s.per_sample.%s,%.3f,count\n", prefix, $1, ($3 - $2) / samples }'
}

# What column $1 adds to the bare machine's overhead in row $2, if that was measured too.
print_added()
{
	awk -v column="$1" -v row="$2" -v alone="$3" -v under="$4" '
		$1 == "bare" && column != "bare" && $2 == row {
			printf "overhead.%s.%s.added,%.2f,points\n", column, row, 100 * (under / alone - $4 / $3) }' "$results"
}

print_results()
{
	while read -r column row alone under samples; do
		echo "overhead.$column.$row,$(percent "$alone" "$under"),percent"
		print_added "$column" "$row" "$alone" "$under"
		case $row in
		stat12) echo "overhead.$column.$row.events,$samples,count" ;;
		*) echo "overhead.$column.$row.samples,$samples,count" ;;
		esac
		case $row,$column in
		stat12,*) ;;
		*,vpmu*) print_per_sample "$column" "$row" "$samples" ;;
		esac
	done <"$results"
}

print_table()
{
	printf '\n%-14s' ''
	for column in $(echo "$columns" | tr , ' '); do printf '%22s' "$column"; done
	for row in $rows; do
		printf '\n%-14s' "$row"
		for column in $(echo "$columns" | tr , ' '); do
			awk -v c="$column" -v r="$row" '$1 == c && $2 == r {
				printf "%+11.2f %% (%6d)", 100 * ($4 / $3 - 1), $5 }' "$results"
		done
	done
	printf '\n\nin brackets: samples taken, or for stat12 the events counted\n'
}

[ -x "$vpmu" ] || die "$vpmu is not built: run scripts/build.sh host"
for column in $(echo "$columns" | tr , ' '); do
	case $column in
	bare | kvm | vpmu | vpmu_eager) ;;
	*) die "no column is named $column" ;;
	esac
done
case $qemu in
"$build"/qemu10/*) "$root/scripts/qemu10.sh" ;;
esac
"$root/guests/linux/build.sh"
for column in $(echo "$columns" | tr , ' '); do
	say "column $column"
	$column
	[ "$(grep -c "^$column " "$results")" -eq 3 ] || die "column $column: a row is missing, see $logs"
done
print_results
print_table >&2
