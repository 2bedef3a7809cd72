#!/bin/sh
# SPDX-License-Identifier: MIT
#
# build.sh - a Linux host with KVM for x86, with vpmu and a Linux guest inside, from Debian's packages.
#
# usage: guests/linux-x86/build.sh [SUITE]
#
# Makes build/images/linux-x86/SUITE/vmlinuz and host.cpio: Debian's kernel (default: bookworm-backports), its KVM
# modules, busybox, build/host's vpmu with the libraries it is linked to, and as its guest the same kernel with
# busybox and pmu.c. No privilege is needed, nothing is installed.
#
# environment: VPMU_BUILD  the build folder (default: build)
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${VPMU_BUILD:-$root/build}
suite=${1:-bookworm-backports}
out=$build/images/linux-x86/$suite
debs=$build/guest-x86
vpmu=$build/host/tools/vpmu/vpmu
work=$out/work.$$

die() { echo "build.sh: $*" >&2; exit 1; }

[ -x "$vpmu" ] || die "no $vpmu; scripts/build.sh host"
"$root/scripts/debs.sh" -a amd64 -s "$suite" -d -k '^linux-image-' -o "$debs/$suite" linux-image-amd64
"$root/scripts/debs.sh" -a amd64 -s bookworm -o "$debs/busybox" busybox-static
mkdir -p "$out"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$out"/work.*
mkdir -p "$work"

# tree NAME: a file system with busybox in folder NAME.
tree()
{
	mkdir -p "$work/$1/bin" "$work/$1/dev" "$work/$1/proc" "$work/$1/sys" "$work/$1/lib"
	cp "$(find "$debs/busybox" -name busybox -type f -path '*bin/busybox' | head -n 1)" "$work/$1/bin/busybox"
	ln -s busybox "$work/$1/bin/sh"
	cp "$here/init-$1" "$work/$1/init"
	chmod 755 "$work/$1/init"
}

# module NAME: the kernel's module, unpacked, where there is one.
module()
{
	file=$(find "$debs/$suite/lib/modules" -name "$1.ko*" | head -n 1)
	case $file in
	'') ;;
	*.xz) xz -dc "$file" >"$work/host/mod/$1.ko" ;;
	*) cp "$file" "$work/host/mod/$1.ko" ;;
	esac
}

${CC:-cc} -std=c11 -O2 -Wall -Wextra -Werror -o "$work/mkcpio" "$root/guests/linux/mkcpio.c"
tree guest
tree host
x86_64-linux-gnu-gcc -std=gnu11 -O1 -Wall -Wextra -Werror -static -o "$work/guest/bin/pmu" "$here/pmu.c"
mkdir -p "$work/host/mod" "$work/host/guest"
for name in irqbypass rng-core ccp kvm kvm-amd; do
	module $name
done
cp "$vpmu" "$work/host/bin/vpmu"
strip "$work/host/bin/vpmu"
ldd "$vpmu" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/lib64[^ ]*\) .*/\1/p' |
	while read -r file; do
		case $file in
		/lib64/*) mkdir -p "$work/host/lib64" && cp -L "$file" "$work/host/lib64/" ;;
		*) cp -L "$file" "$work/host/lib/" ;;
		esac
	done
cp "$debs/$suite"/boot/vmlinuz-* "$work/host/guest/vmlinuz"
"$work/mkcpio" "$work/guest" >"$work/host/guest/initrd"
"$work/mkcpio" "$work/host" >"$work/host.cpio"
cp "$work/host/guest/vmlinuz" "$out/vmlinuz"
mv "$work/host.cpio" "$out/host.cpio"
