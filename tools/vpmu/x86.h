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
	bool kvm;            /* --engine kvm, with: */
	bool no_patch;
	const char *source;  /* NULL: auto */
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

/* x86_vms.c: several guests of --vm that take turns. returns: the exit status. */
int x86_run_vms(const struct run_options *options);

/* x86_kvm.c, where the machine is one that has KVM for x86: the same on KVM. */
int x86_run_kvm(const struct run_options *options);

/* x86_guest.c: what both need. Exit with a message. */
void *x86_read_image(const char *path, size_t *size);
const char *x86_command_line(const struct x86_options *options);
/* Of (policy), or NULL without one. */
const struct vpmu_policy *x86_policy(const struct run_options *options);
void x86_take_signals(void (*handler)(int number), uint64_t timeout);
struct pc;
struct pc_pmu;
/* Of a run that ended with enum pc_result (result); says on behalf of (who) what went wrong. */
int x86_verdict(const char *who, const struct pc *pc, int result);
/* For --stats; (who) comes before the names. */
void x86_show_pc(const char *who, struct pc_pmu *pmu, const struct pc *pc);
void x86_show(const char *name, uint64_t value);
void x86_show_counter(unsigned int i, const char *where, const struct vpmu_counter_status *status);

#endif /* VPMU_TOOLS_X86_H */
