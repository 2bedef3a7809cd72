#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh - runs the checks of contracts, sources and documents; one line per check.
#
# usage: check.sh           needs build/host and build/arm64
#
# Prints `ok NAME`, `not ok NAME: reason`, `skip NAME: reason`, the details on standard error.
set -eu
cd "$(dirname "$0")/.."

status=0
run()
{
	name=$1
	shift
	if out=$("$@" 2>&1); then
		echo "ok check/$name"
		return
	fi
	echo "$out" | sed 's/^/  /' >&2
	echo "not ok check/$name: $(echo "$out" | grep -m 1 .)"
	status=1
}

run self-test scripts/check-selftest.sh
run layering scripts/check-layering.sh
run sources scripts/check-sources.sh
run switches scripts/check-switches.sh
run contexts scripts/check-contexts.sh
run headers scripts/check-headers.sh gcc clang aarch64-linux-gnu-gcc
run core-symbols-host scripts/check-core-symbols.sh nm build/host/core/libvpmu.a
run core-symbols-arm64 scripts/check-core-symbols.sh aarch64-linux-gnu-nm build/arm64/core/libvpmu.a
run exports scripts/check-exports.sh nm build/host/core/libvpmu.so
run manual scripts/check-manual.sh
run registers scripts/check-registers.sh
run install scripts/check-install.sh
run shell scripts/check-shell.sh
run links scripts/check-links.sh
run mutants scripts/check-mutants.sh
run subscripts scripts/check-subscripts.sh
run museum scripts/check-museum.sh
exit $status
