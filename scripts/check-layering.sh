#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-layering.sh - who may include what.
#
# usage: check-layering.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

# folder: what its files may include. Folders count down to the second level;
# "free" for the freestanding headers of C11, "libc" for any other system header.
rules='
include/vpmu:       include/vpmu free
core:               include/vpmu core free
core/arm:           include/vpmu core core/arm free
core/x86:           include/vpmu core core/x86 free
hardware/armv8:     include/vpmu hardware/armv8 free
hardware/x86:       include/vpmu hardware/x86 free
hardware/model:     include/vpmu hardware/model hardware/armv8 hardware/x86 free libc
sources/model:      include/vpmu sources/model free
sources/script:     include/vpmu sources/script free
sources/host:       include/vpmu sources/host free
sources/perf:       include/vpmu sources/perf free libc
sources/time:       include/vpmu sources/time free libc
hosts/pc:           include/vpmu hosts/pc hardware/model hardware/x86 sources/host sources/model free libc
hosts/unicorn:      include/vpmu hosts/pc hosts/unicorn hardware/model hardware/x86 sources/model free libc
hosts/kvm:          include/vpmu hosts/pc hosts/kvm sources/perf sources/time free libc
hosts/el2:          include/vpmu hosts/el2 hardware/armv8 sources/host fdt free
tools/vpmu:         include/vpmu tools/vpmu hosts/el2 hosts/pc hosts/unicorn hosts/kvm hardware/model hardware/x86 sources/model sources/script sources/perf sources/time free libc
guests/arm-tests:   guests/arm-tests free
guests/linux:       guests/linux free libc
guests/linux-x86:   guests/linux-x86 free libc
guests/perf-source: include/vpmu sources/perf guests/perf-source free libc
examples:           include/vpmu hardware/model free libc
examples/kvm:       include/vpmu examples/kvm sources/perf sources/time free libc
docs:               include/vpmu free libc
bench/switch:       include/vpmu hardware/model tests/unit bench/switch free libc
bench/x86-sampling: include/vpmu hardware/model hardware/x86 sources/model sources/script hosts/pc hosts/unicorn tests/unit bench/x86-sampling free libc
bench/access:       include/vpmu hardware/model hardware/x86 sources/model sources/script tests/unit bench/access free libc
bench/kvm:          include/vpmu hosts/kvm hosts/pc sources/perf sources/time bench/kvm free libc
tests/unit:         include/vpmu core core/arm core/x86 hardware/armv8 hardware/model hardware/x86 sources/model sources/script sources/host sources/perf sources/time hosts/pc hosts/kvm guests/arm-tests tests/unit free libc
tests/engine:       include/vpmu hosts/pc hosts/unicorn hardware/model hardware/x86 sources/model tests/unit tests/engine free libc
tests/e2e:          include/vpmu tests/e2e free libc
'

folder() { dirname "$1" | cut -d/ -f1,2; }

# The folder or class of header $2, which file $1 includes with $3, " or <.
target()
{
	here=$(dirname "$1")
	case $2 in
	vpmu/*) echo include/vpmu ;;
	stdint.h | stddef.h | stdbool.h | stdatomic.h | stdarg.h | limits.h | float.h | iso646.h | \
		stdalign.h | stdnoreturn.h) echo free ;;
	libfdt*.h | fdt.h) echo fdt ;;
	*)
		# Beside the file (a freestanding host may bring its own <string.h>); then what an
		# include path reaches: backends, and for a quoted one anything, its own part first.
		found=$(find "$here/$2" 2>/dev/null || find hardware -name "$2" 2>/dev/null || true)
		if [ -z "$found" ] && [ "$3" = '"' ]; then
			found=$(find "${here%%/*}" ./* -path ./build -prune -o -path "*/$2" -print | head -n 1)
		fi
		if [ -z "$found" ]; then
			echo libc
		else
			folder "$(realpath --relative-to=. "$found")"
		fi
		;;
	esac
}

# FILE QUOTE HEADER
includes()
{
	find . \( -path ./build -o -path ./.git \) -prune -o -name '*.[chS]' -print | sed 's|^\./||' |
		xargs grep -H '^[[:space:]]*#[[:space:]]*include' /dev/null |
		sed 's/:[^"<]*\(["<]\)/ \1 /; s/[">][^">]*$//'
}

includes | sort | {
	status=0
	while read -r file quote header; do
		from=$(folder "$file")
		allowed=$(echo "$rules" | sed -n "s|^$from:||p")
		to=$(target "$file" "$header" "$quote")
		case "$allowed " in
		' ')
			echo "check-layering: $file: no rule for its folder" >&2
			status=1
			;;
		*" $to "*) ;;
		*)
			echo "check-layering: $file may not include $header ($to)" >&2
			status=1
			;;
		esac
	done
	exit $status
}
