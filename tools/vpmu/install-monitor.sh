#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install-monitor.sh MONITOR FOLDER - run by `meson install`.
set -eu

if [ ! -r "$1" ]; then
	echo "install-monitor.sh: $1 is not built yet: run scripts/build.sh arm64 first" >&2
	exit 1
fi
mkdir -p "$MESON_INSTALL_DESTDIR_PREFIX/$2"
install -m 644 "$1" "$MESON_INSTALL_DESTDIR_PREFIX/$2/monitor.img"
