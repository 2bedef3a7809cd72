/* SPDX-License-Identifier: MIT */
/* Runs QEMU, passes the guest's console through, and reads its verdict on the way. */
#ifndef VPMU_TOOLS_CONSOLE_H
#define VPMU_TOOLS_CONSOLE_H

#include "common.h"
#include "vm.h"

struct console_result {
	int status;       /* QEMU's exit status, 128 + signal if one ended it */
	int verdict;      /* N of the last line "vpmu-verdict: N", -1: there was none */
	int verdicts[VM_MAX]; /* the same of lines "[GUEST] vpmu-verdict: N" */
	bool failed;      /* the monitor said that it cannot go on */
	bool timed_out;
	bool interrupted; /* SIGINT, SIGTERM or SIGHUP ended the run */
	struct args kept; /* lines that were not shown, without the marker */
};

/*
 * (command) is QEMU's, with the guest's console on its standard input and output. It is
 * ended after (timeout) seconds unless that is 0. Lines that begin with (marker), unless it is NULL, are
 * kept and not shown. The terminal is afterwards as it was.
 */
struct console_result console_run(const struct args *command, uint64_t timeout,
				  const char *marker);

#endif /* VPMU_TOOLS_CONSOLE_H */
