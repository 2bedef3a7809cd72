/* SPDX-License-Identifier: MIT */
/* The options of `vpmu run`, checked as far as that is possible without files. */
#ifndef VPMU_TOOLS_OPTIONS_H
#define VPMU_TOOLS_OPTIONS_H

#include "common.h"

enum mode {
	MODE_MONITOR,  /* the guest at EL1 under our monitor */
	MODE_BARE,     /* the guest alone, at EL1 of a machine without EL2 */
	MODE_BARE_EL2, /* the guest alone, at EL2 */
};

struct run_options {
	enum mode mode;
	const char *cpu;     /* as given, e.g. "max" */
	uint64_t cpu_count;
	uint64_t memory;     /* bytes */
	const char *policy;  /* NULL: none, else "allow:LIST" or "deny:LIST" */
	struct args words;   /* for the monitor's command line, from several options */
	const char *kernel;  /* NULL: the default guest's */
	const char *initrd;  /* NULL: the default guest's, or none with --kernel */
	const char *append;  /* NULL: nothing */
	const char *monitor; /* NULL: found beside the command */
	const char *qemu;    /* NULL: searched */
	struct args qemu_args;
	uint64_t timeout;    /* seconds, 0: none */
	bool icount;
	bool semihosting;
	bool testdev;
	bool interactive;
	bool dry_run;
};

/* Exits with a message when (argv) makes no sense, and with 0 after --help. */
void parse_run_options(struct run_options *options, int argc, char **argv);

#endif /* VPMU_TOOLS_OPTIONS_H */
