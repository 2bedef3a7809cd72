#!/bin/sh
# SPDX-License-Identifier: MIT
#
# qemu10.sh - build/qemu10/qemu-system-aarch64: a QEMU of version 10 or newer.
#
# Tests and benchmarks use it beside the distribution's QEMU. Where the machine's
# own is new enough, the wrapper only calls it; otherwise it is fetched as Debian
# packages (from backports on Debian 12) and unpacked, never installed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=${VPMU_BUILD:-$root/build}/qemu10
qemu=$out/qemu-system-aarch64

major() { "$1" --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p'; }
new_enough() { v=$(major "$1") && [ "${v:-0}" -ge 10 ]; }

if own=$(command -v qemu-system-aarch64) && new_enough "$own"; then
	mkdir -p "$out"
	printf '#!/bin/sh\n# made by scripts/qemu10.sh\nexec %s "$@"\n' "$own" >"$qemu.new"
	chmod +x "$qemu.new"
	mv "$qemu.new" "$qemu"
	exit 0
fi

suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
[ "$suite" != bookworm ] || suite=bookworm-backports
"$root/scripts/qemu.sh" "$suite" "$out"

# The proof that it starts, with the machine that everything here uses.
new_enough "$qemu" || { echo "qemu10.sh: $qemu is older than version 10 or does not run" >&2; exit 1; }
echo quit | "$qemu" -M virt,virtualization=on,gic-version=3 -cpu max -S -nic none \
	-display none -serial none -monitor stdio >/dev/null ||
	{ echo "qemu10.sh: $qemu does not start the virt machine" >&2; exit 1; }
"$qemu" --version | head -n 1 >&2
