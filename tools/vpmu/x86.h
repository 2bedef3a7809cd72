/* SPDX-License-Identifier: MIT */
/* vpmu run --arch x86: a guest on the PC in software. */
#ifndef VPMU_TOOLS_X86_H
#define VPMU_TOOLS_X86_H

#include <vpmu/x86.h>

#include "common.h"

#define X86_SKID_MAX 64u

struct x86_options {
	const char *guest;
	char **arguments;    /* the guest's */
	int argument_count;
	uint64_t limit;      /* instructions */
	unsigned int skid;
	bool caches;
	bool stats;
	struct vpmu_x86_model model;
};

struct run_options;

/* x86_spec.c: both exit with a message if the text makes no sense. */
void x86_parse_pmu(struct x86_options *options, const char *pmu);
/* (policy): allow:LIST or deny:LIST, whose syntax has been checked. */
void x86_parse_policy(struct vpmu_x86_filter *filter, const struct x86_options *options,
		      const char *policy);

/* x86.c: runs it. returns: the exit status. */
int x86_run(const struct run_options *options);

#endif /* VPMU_TOOLS_X86_H */
