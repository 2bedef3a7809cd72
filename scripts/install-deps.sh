#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install-deps.sh - installs the Debian packages that are missing.
#
# usage: install-deps.sh run|test
#
#   run    to build and to run guests
#   test   and for the tests: a second compiler, the linters
#
# As root it installs them without asking; otherwise it prints the command and
# stops with status 1. With nothing missing it does and says nothing.
set -eu

group=${1:-}
case $group in
run | test) ;;
*) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
esac

set -- meson ninja-build gcc libc6-dev binutils pkg-config libcmocka-dev \
	libunicorn-dev libcapstone-dev device-tree-compiler qemu-system-arm cpio xz-utils
[ "$group" = run ] || set -- "$@" clang shellcheck mandoc patch

if ! command -v dpkg-query >/dev/null; then
	echo "install-deps: this is not Debian; what is needed there: $*" >&2
	exit 0
fi
# An arm64 machine's own compiler has the cross compiler's name. The libc is for libfdt's header,
# which includes <stdlib.h>, and for guests/perf-source, a static program.
[ "$(dpkg --print-architecture)" = arm64 ] ||
	set -- "$@" gcc-aarch64-linux-gnu libc6-dev-arm64-cross
# Guests of the x86 PC are built by x86_64-linux-gnu-gcc, an amd64 machine's own compiler.
[ "$(dpkg --print-architecture)" = amd64 ] || set -- "$@" gcc-x86-64-linux-gnu

installed()
{
	dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# Keeps in "$@" only what is missing.
for p; do
	shift
	installed "$p" || set -- "$@" "$p"
done
[ $# -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	cat >&2 <<-END
	Debian packages are missing, and only root can install them. Please run

	  sudo apt-get install --no-install-recommends $*

	END
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -q -y -o Dpkg::Use-Pty=0 "$@" >&2; }

echo "install-deps: installing $*" >&2
# Containers come without package lists; old ones name files that the mirror no longer has.
find /var/lib/apt/lists -name '*Packages*' 2>/dev/null | grep -q . || apt update
apt install --no-install-recommends "$@" && exit 0
echo "install-deps: that failed; once more with fresh package lists" >&2
apt update
apt install --no-install-recommends "$@"
