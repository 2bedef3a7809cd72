/* SPDX-License-Identifier: MIT */
/*
 * access - how long the library takes for a trapped register access, in each mode.
 *
 * Not the trap: what happens between exit and enter, and, where it says "round", an enter and an
 * exit. Hardware and source do nothing here, so that it is the library's own time. Medians of many
 * runs, and each also as a multiple of an empty function called the same way in the same run.
 */
#include "guests.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Many short runs: the median is one in which nobody else got the CPU. */
#define RUNS 401u
#define ROUNDS 500u

struct access {
	const char *name;
	int (*door)(struct vpmu_vcpu *v, uint32_t index, uint64_t *value);
	uint32_t index;
	uint64_t values[2];          /* written in turn */
};

static const struct access x86_accesses[] = {
	{ "rdmsr_counter", door_rdmsr, X86_PMC(0), { 0, 0 } },
	{ "wrmsr_counter", door_wrmsr, X86_PMC(0), { 1000, 2000 } },
	{ "rdmsr_selector", door_rdmsr, X86_PERFEVTSEL(0), { 0, 0 } },
	{ "wrmsr_selector", door_wrmsr, X86_PERFEVTSEL(0),
	  { X86_INSTRUCTIONS, X86_INSTRUCTIONS | X86_EN } },
	{ "rdmsr_global", door_rdmsr, X86_GLOBAL_CTRL, { 0, 0 } },
	{ "wrmsr_global", door_wrmsr, X86_GLOBAL_CTRL, { 0, 0xFF } },
	{ "rdmsr_status", door_rdmsr, X86_GLOBAL_STATUS, { 0, 0 } },
	{ "wrmsr_reset", door_wrmsr, X86_STATUS_RESET, { 1, 1 } },
	{ "rdpmc", door_rdpmc, 0, { 0, 0 } },
	{ "count", door_count, 0, { 0, 0 } },
	{ "round", door_round, 0, { 0, 0 } },
	{ "wrmsr_global_round", door_wrmsr_round, X86_GLOBAL_CTRL, { 0, 0xFF } },
	{ NULL, NULL, 0, { 0, 0 } },
};

static const struct access arm_accesses[] = {
	{ "mrs_pmevcntr", door_mrs, ARM_PMEVCNTR(0), { 0, 0 } },
	{ "msr_pmevcntr", door_msr, ARM_PMEVCNTR(0), { 1000, 2000 } },
	{ "mrs_pmccntr", door_mrs, ARM_PMCCNTR, { 0, 0 } },
	{ "mrs_pmevtyper", door_mrs, ARM_PMEVTYPER(0), { 0, 0 } },
	{ "msr_pmevtyper", door_msr, ARM_PMEVTYPER(0), { ARM_INSTRUCTIONS, ARM_CYCLES } },
	{ "mrs_pmcr", door_mrs, ARM_PMCR, { 0, 0 } },
	{ "msr_pmcr", door_msr, ARM_PMCR, { 0, 1 } },
	{ "mrs_pmovsclr", door_mrs, ARM_PMOVSCLR, { 0, 0 } },
	{ "msr_pmovsclr", door_msr, ARM_PMOVSCLR, { 1, 1 } },
	{ "msr_pmcntenset", door_msr, ARM_PMCNTENSET, { 1, 2 } },
	{ "count", door_count, 0, { 0, 0 } },
	{ "round", door_round, 0, { 0, 0 } },
	{ "msr_pmcr_round", door_msr_round, ARM_PMCR, { 0, 1 } },
	{ NULL, NULL, 0, { 0, 0 } },
};

static const struct access *const accesses[GUEST_ARCHS] = {
	[GUEST_X86] = x86_accesses,
	[GUEST_ARM] = arm_accesses,
};

static const char *const archs[GUEST_ARCHS] = { "x86", "arm" };
static const char *const modes[GUEST_MODES] = { "emulated", "parked", "quiet" };

static const struct access empty = { "empty", door_empty, 0, { 0, 0 } };

static struct guest guest;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds of one. What a run writes must not depend on what it read before. */
static double run(const struct access *a)
{
	int outcome = VPMU_HANDLED;
	double start = now();

	for (unsigned int n = 0; n < ROUNDS; n++) {
		uint64_t value = a->values[n % 2];

		outcome &= a->door(&guest.v, a->index, &value);
	}
	if (outcome != VPMU_HANDLED) {
		fprintf(stderr, "access: %s was not handled\n", a->name);
		exit(1);
	}
	return (now() - start) / ROUNDS;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, RUNS, sizeof(*values), compare);
	return values[RUNS / 2];
}

static void measure(enum guest_arch arch, enum guest_mode mode, const struct access *a)
{
	double ns[RUNS], ratio[RUNS];
	uint64_t accesses_before;

	if (!guest_init(&guest, arch, mode)) {
		fprintf(stderr, "access: no guest of mode %s\n", modes[mode]);
		exit(1);
	}
	(void)run(a);
	accesses_before = guest_accesses(&guest);
	for (unsigned int k = 0; k < RUNS; k++) {
		double nothing = run(&empty);

		ns[k] = run(a);
		ratio[k] = ns[k] / nothing;
	}
	printf("access.%s.%s.%s.ns,%.1f,ns\n", archs[arch], modes[mode], a->name, median(ns));
	printf("access.%s.%s.%s.ratio,%.1f,ratio\n", archs[arch], modes[mode], a->name,
	       median(ratio));
	fprintf(stderr, "  %s %-9s %-20s %8.1f %8.1f %9.2f\n", archs[arch], modes[mode], a->name,
		median(ns), median(ratio),
		(double)(guest_accesses(&guest) - accesses_before) / RUNS / ROUNDS);
}

static void size(const char *name, size_t bytes)
{
	printf("state.%s,%zu,bytes\n", name, bytes);
	fprintf(stderr, "  %-32s %8zu\n", name, bytes);
}

static void sizes(void)
{
	fprintf(stderr, "bytes of state\n");
	size("vpmu_vcpu", sizeof(struct vpmu_vcpu));
	size("vpmu_state", sizeof(struct vpmu_state));
	size("vpmu_emulated", sizeof(struct vpmu_emulated));
	size("vpmu_cpu", sizeof(struct vpmu_cpu));
	size("vpmu_vm", sizeof(struct vpmu_vm));
}

int main(void)
{
	sizes();
	fprintf(stderr, "%-35s %8s %8s %9s\n", "access", "ns", "ratio", "accesses");
	for (unsigned int arch = 0; arch < GUEST_ARCHS; arch++) {
		for (unsigned int mode = 0; mode < GUEST_MODES; mode++) {
			for (const struct access *a = accesses[arch]; a->name; a++)
				measure(arch, mode, a);
		}
	}
	return 0;
}
