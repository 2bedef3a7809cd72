#!/bin/sh
# SPDX-License-Identifier: MIT
#
# access - how long the library takes for a trapped register access: see main.c.
#
# usage: bench/access/run.sh
#
# Standard output: access.ARCH.MODE.NAME.{ns,ratio} and state.NAME lines. Standard error: a table.
set -eu

exec "$(dirname "$0")/../../build/host/bench/access" "$@"
