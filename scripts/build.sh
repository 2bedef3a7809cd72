#!/bin/sh
# SPDX-License-Identifier: MIT
#
# build.sh - sets up and compiles build folders below build/.
#
# usage: build.sh [NAME...]     without a name: only looks whether it may write
#
#   host     library, command and tests for this machine, gcc
#   clang    the same with clang
#   asan     the same with AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan     the tests with threads, with ThreadSanitizer
#   arm64    the EL2 monitor and the bare-metal guests
#   soak     what `make soak` runs, optimised
#   install  what `make install` installs, for PREFIX (default /usr/local)
set -eu

cd "$(dirname "$0")/.."

# Said early: what tools print about files they may not replace does not name the cause.
mine()
{
	[ ! -e "$1" ] || [ -w "$1" ] || {
		echo "build.sh: $1 belongs to $(stat -c %U "$1"), and $(id -un) may not write there." >&2
		echo "build.sh: remove it (sudo rm -rf $1) or work in a checkout of your own." >&2
		exit 1
	}
}

setup()
{
	dir=build/$1
	shift
	if [ ! -e "$dir/build.ninja" ]; then
		# An interrupted set-up leaves a folder that Meson would not repair.
		rm -rf "$dir"
		echo "== meson setup $dir"
		meson setup "$dir" "$@" >"build/setup.log" 2>&1 || {
			cat build/setup.log >&2
			exit 1
		}
	fi
	echo "== compile $dir"
	# Without targets: all. Their names have no spaces.
	# shellcheck disable=SC2086
	ninja -C "$dir" --quiet ${targets:-}
}

export CC=gcc
mine build
mkdir -p build
for name; do
	mine "build/$name"
	case $name in
	host) setup host ;;
	clang)
		export CC=clang
		setup clang
		export CC=gcc
		;;
	# The checks of exported and undefined symbols look at the other builds.
	asan) setup asan -Db_sanitize=address,undefined -Db_lundef=false ;;
	tsan)
		targets="tests/unit/test-threads tests/unit/test-x86-host"
		setup tsan -Db_sanitize=thread -Db_lundef=false
		targets=
		;;
	arm64)
		scripts/fdt.sh
		setup arm64 --cross-file cross/aarch64-elf.ini
		;;
	soak)
		targets=tests/unit/test-tenants
		setup soak --buildtype=release -Ddefault_library=static
		targets=
		;;
	install)
		# The prefix is fixed at configuration; another one needs another set-up.
		prefix=${PREFIX:-/usr/local}
		if [ "$(cat build/install/.prefix 2>/dev/null)" != "$prefix" ]; then
			rm -rf build/install
		fi
		setup install --buildtype=release --prefix="$prefix" --libdir=lib
		echo "$prefix" >build/install/.prefix
		;;
	*) echo "build.sh: no build named $name" >&2; exit 2 ;;
	esac
done
