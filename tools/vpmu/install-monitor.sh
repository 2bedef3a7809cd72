#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install-monitor.sh FROM FOLDER - run by `meson install`.
set -eu

if [ ! -r "$1/monitor.img" ]; then
	echo "install-monitor.sh: $1/monitor.img is not built yet: run scripts/build.sh arm64 first" >&2
	exit 1
fi
mkdir -p "$MESON_INSTALL_DESTDIR_PREFIX/$2"
install -m 644 "$1/monitor.img" "$MESON_INSTALL_DESTDIR_PREFIX/$2/monitor.img"
# Names of places, for --host-profile.
install -m 644 "$1/monitor.elf" "$MESON_INSTALL_DESTDIR_PREFIX/$2/monitor.elf"
