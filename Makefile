# SPDX-License-Identifier: MIT
# A thin front: Meson builds, scripts/ does the rest. README.md explains the targets.

PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=

run:
	@scripts/install-deps.sh run
	@scripts/build.sh host arm64
	@build/host/tools/vpmu/vpmu run $(ARGS)

test:
	@scripts/install-deps.sh test
	@scripts/test.sh all

check:
	@scripts/install-deps.sh test
	@scripts/test.sh check

mutants:
	@scripts/install-deps.sh test
	@scripts/mutants.sh

soak:
	@scripts/install-deps.sh test
	@scripts/soak.sh $(ARGS)

build:
	@scripts/install-deps.sh run
	@scripts/build.sh host arm64

bench:
	@scripts/install-deps.sh run
	@scripts/build.sh host arm64 >&2
	@scripts/bench.sh

bench-%:
	@scripts/install-deps.sh run
	@scripts/build.sh host arm64 >&2
	@scripts/bench.sh $*

install:
	@scripts/install-deps.sh run
	@PREFIX="$(PREFIX)" scripts/build.sh arm64 install
	@DESTDIR="$(DESTDIR)" meson install -C build/install

clean:
	rm -rf build

.PHONY: run test check mutants soak build bench install clean
