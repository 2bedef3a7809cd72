#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fdt.sh - libfdt for the arm64 monitor, from Debian's package.
#
# Makes build/fdt/include/{fdt,libfdt,libfdt_env}.h and build/fdt/lib/libfdt.a.
# The archive is the distribution's arm64 build; besides mem* and str* it needs
# whatever `nm -u` lists, which the monitor provides.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=${VPMU_BUILD:-$root/build}

"$root/scripts/debs.sh" -a arm64 -o "$build/fdt.deb" libfdt-dev
! cmp -s "$build/fdt.deb/.debs" "$build/fdt/.debs" || exit 0

new=$build/fdt.new.$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/include" "$new/lib"
cp "$build"/fdt.deb/usr/include/*fdt*.h "$new/include/"
cp "$build/fdt.deb/usr/lib/aarch64-linux-gnu/libfdt.a" "$new/lib/"
cp "$build/fdt.deb/.debs" "$new/"
rm -rf "$build/fdt"
mv "$new" "$build/fdt"
