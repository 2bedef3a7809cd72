#!/bin/sh
# SPDX-License-Identifier: MIT
#
# qemu.sh - a QEMU for arm64 from Debian's packages, unpacked below build/.
#
# usage: qemu.sh SUITE FOLDER
#
# FOLDER/qemu-system-aarch64 runs the suite's QEMU with every library of that
# suite, the loader included, so the host's own libraries do not matter.
set -eu

[ $# -eq 2 ] || { sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }
scripts=$(cd "$(dirname "$0")" && pwd)
suite=$1
out=$2

mkdir -p "$out"
"$scripts/debs.sh" -d -s "$suite" -o "$out/root" qemu-system-arm
loader=$(cd "$out" && find root -name 'ld-linux*.so.*' | head -n 1)
libs=$(cd "$out" && find root -name libc.so.6 | head -n 1)
triplet=$(basename "$(dirname "$libs")")
if [ -z "$loader" ] || [ -z "$libs" ]; then
	echo "qemu.sh: no C library among the packages in $out/root" >&2
	exit 1
fi

# QEMU looks for a folder qemu-bundle beside its executable, which is the loader
# here, before it looks below /usr: without it QEMU would load the modules of a
# QEMU that the host has installed, and end.
bundle=$(dirname "$(realpath "$out/$loader")")/qemu-bundle
mkdir -p "$bundle"
ln -sfn "$(realpath --relative-to="$bundle" "$out/root/usr")" "$bundle/usr"

cat >"$out/wrapper.new" <<END
#!/bin/sh
# made by scripts/qemu.sh: QEMU of $suite with the libraries of $suite
here=\$(cd "\$(dirname "\$0")" && pwd)
exec "\$here/$loader" \\
	--library-path "\$here/root/lib/$triplet:\$here/root/usr/lib/$triplet" \\
	"\$here/root/usr/bin/qemu-system-aarch64" -L "\$here/root/usr/share/qemu" "\$@"
END
chmod +x "$out/wrapper.new"
mv "$out/wrapper.new" "$out/qemu-system-aarch64"
