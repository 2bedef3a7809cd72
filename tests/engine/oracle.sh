#!/bin/sh
# SPDX-License-Identifier: MIT
#
# oracle.sh - counts of the same guest by the engine and by QEMU, whose TSC counts instructions with
# -icount shift=0. Skips without qemu-system-x86_64.
#
# usage: oracle.sh TEST-GUEST IMAGE
set -eu
test_guest=$1
image=$2

command -v qemu-system-x86_64 >/dev/null || {
	echo "skipped: no qemu-system-x86_64"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$test_guest" "$image" oracle >"$dir/engine"
status=0
timeout 60 qemu-system-x86_64 -nodefaults -display none -cpu max -m 32 -accel tcg \
	-icount shift=0,sleep=off -serial "file:$dir/qemu" \
	-device isa-debug-exit,iobase=0xf4,iosize=4 \
	-kernel "$image" -append oracle-tsc || status=$?
# The guest writes 0 when it is done; the device makes 1 of it.
[ "$status" -eq 1 ] || {
	echo "oracle: QEMU ends with status $status" >&2
	cat "$dir/qemu" >&2
	exit 1
}
cat "$dir/engine"
grep -q '^modes ' "$dir/engine"
diff "$dir/engine" "$dir/qemu"
