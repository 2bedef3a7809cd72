#!/bin/sh
# SPDX-License-Identifier: MIT
#
# build.sh - the default Linux guest, made from Debian's arm64 packages.
#
# usage: guests/linux/build.sh [kvm]
#
# Makes build/images/linux/Image (Debian's kernel) and initramfs.cpio.gz (busybox,
# perf with the libraries it is linked to, and this folder's programs). With `kvm`
# also kvm-host.cpio.gz: the same system with Debian's arm64 QEMU and that guest
# inside, for the comparison with KVM. No privilege is needed, nothing is
# installed, and what is up to date is not made again.
#
# environment: VPMU_BUILD        the build folder (default: build)
#              VPMU_GUEST_SUITE  Debian suite of the guest (default: bookworm)
#              CC, CROSS         host compiler, prefix of the arm64 compiler
set -eu
umask 022 # the images are the same whatever the user has

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${VPMU_BUILD:-$root/build}
suite=${VPMU_GUEST_SUITE:-bookworm}
CROSS=${CROSS:-aarch64-linux-gnu-}
debs=$build/guest
out=$build/images/linux
work=$out/work.$$

say() { echo "guest: $*" >&2; }
die() { echo "build.sh: $*" >&2; exit 1; }

fetch()
{
	"$root/scripts/debs.sh" -a arm64 -s "$suite" -d -k '^linux-image-' -o "$debs/kernel" linux-image-arm64
	"$root/scripts/debs.sh" -a arm64 -s "$suite" -d -o "$debs/perf" busybox-static linux-perf
	[ "$kvm" = no ] ||
		"$root/scripts/debs.sh" -a arm64 -s "$suite" -d -o "$debs/qemu" qemu-system-arm
}

# What the images (with KVM host or not: $1) depend on: the packages' names and versions, and this folder.
fingerprint()
{
	cat "$debs/kernel/.debs" "$debs/perf/.debs"
	[ "$1" = no ] || cat "$debs/qemu/.debs"
	(cd "$here" && find . -type f | LC_ALL=C sort | xargs sha256sum)
}

# Offset of the gzip stream and its length in an EFI zboot image $1, if it is one.
word_at() { od -A n -t u4 -j "$2" -N 4 "$1" | tr -d ' '; }
magic_at() { dd if="$1" bs=1 skip="$2" count=4 2>/dev/null | tr -d '\0'; }

# The bare arm64 Image, whatever Debian wrapped it in.
make_kernel()
{
	set -- "$debs"/kernel/boot/vmlinuz-*
	[ $# -eq 1 ] || die "expected one kernel in $debs/kernel/boot, found: $*"
	if [ "$(magic_at "$1" 4)" = zimg ]; then
		tail -c +"$(($(word_at "$1" 8) + 1))" "$1" | head -c "$(word_at "$1" 12)" | gzip -dc
	elif gzip -t "$1" 2>/dev/null; then
		gzip -dc "$1"
	else
		cat "$1"
	fi >"$work/Image"
	[ "$(magic_at "$work/Image" 56)" = ARMd ] || die "$1 is no arm64 Image"
}

needed() { "${CROSS}readelf" -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

# Copy the libraries that program $3 from packages $1 is linked to into tree $2.
copy_libraries()
{
	todo=$(needed "$3")
	while [ -n "$todo" ]; do
		next=
		for lib in $todo; do
			[ ! -e "$2/lib/$lib" ] || continue
			file=$(find "$1/lib" "$1/usr/lib" -name "$lib" ! -path '*/debug/*' | head -n 1)
			[ -n "$file" ] || die "no package has $lib, which $3 needs"
			cp -L "$file" "$2/lib/$lib"
			next="$next $(needed "$file")"
		done
		todo=$next
	done
}

compile()
{
	"${CROSS}gcc" -std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector \
		-fno-pic -no-pie -static -nostdlib -Wl,--build-id=none \
		-o "$work/loop" "$here/loop.c"
	${CC:-cc} -std=c11 -O2 -Wall -Wextra -Werror -o "$work/mkcpio" "$here/mkcpio.c"
}

# The guest's files in folder $1. The libraries are all in /lib: the loader
# searches there, and nothing else has to be configured.
make_tree()
{
	mkdir -p "$1/bin" "$1/lib" "$1/scripts" "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/usr"
	ln -s ../bin "$1/usr/bin"
	ln -s ../lib "$1/usr/lib"
	busybox=$(find "$debs/perf" -name busybox -type f -path '*bin/busybox' | head -n 1)
	[ -n "$busybox" ] || die "no busybox among the packages"
	cp "$busybox" "$1/bin/busybox"
	ln -s busybox "$1/bin/sh"
	perf=$debs/perf/usr/bin/perf
	[ -x "$perf" ] || die "no perf among the packages"
	cp "$perf" "$1/bin/perf"
	copy_libraries "$debs/perf" "$1" "$perf"
	cp "$work/loop" "$1/bin/loop"
	cp "$here/init" "$1/init"
	cp "$here"/scripts/* "$1/scripts/"
	chmod 755 "$1/init" "$1"/scripts/*
}

pack() { "$work/mkcpio" "$1" | gzip -n -6 >"$2"; }

make_kvm_tree()
{
	qemu=$debs/qemu/usr/bin/qemu-system-aarch64
	[ -x "$qemu" ] || die "no QEMU among the packages"
	cp "$qemu" "$1/bin/"
	copy_libraries "$debs/qemu" "$1" "$qemu"
	mkdir -p "$1/guest" "$1/usr/share"
	cp "$work/Image" "$work/initramfs.cpio.gz" "$1/guest/"
}

kvm=no
case ${1:-} in
'') ;;
kvm) kvm=yes ;;
*) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
esac

mkdir -p "$out"
exec 8>"$out/lock"
flock 8
fetch
stamp=$out/made-from
[ "$kvm" = no ] || stamp=$out/made-from-kvm
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$out"/work.*
mkdir -p "$work"
fingerprint $kvm >"$work/made-from"
if cmp -s "$work/made-from" "$stamp"; then
	exit 0
fi

say "kernel, loop program, initramfs"
make_kernel
compile
make_tree "$work/tree"
pack "$work/tree" "$work/initramfs.cpio.gz"
if [ "$kvm" = yes ]; then
	say "host system with KVM and QEMU"
	make_kvm_tree "$work/tree"
	pack "$work/tree" "$work/kvm-host.cpio.gz"
	mv "$work/kvm-host.cpio.gz" "$out/"
fi
mv "$work/Image" "$work/initramfs.cpio.gz" "$out/"
mv "$work/made-from" "$stamp"
# The plain images are the same bytes, made with or without the KVM host.
fingerprint no >"$out/made-from"
say "$(cd "$out" && du -h --apparent-size Image initramfs.cpio.gz | tr '\t\n' '  ')"
