/* SPDX-License-Identifier: MIT */
/*
 * What the host's perf events can count: its core PMUs as sysfs lists them, and what the kernel
 * says when it is asked for each event. One for all vCPUs; constant after vpmu_perf_host_probe().
 */
#ifndef VPMU_PERF_HOST_H
#define VPMU_PERF_HOST_H

#include "perf_system.h"

#include <vpmu/source.h>

enum vpmu_perf_error {
	VPMU_PERF_OK,
	VPMU_PERF_NO_PMU,            /* no core PMU: a VM, firmware, or a driver that is missing */
	VPMU_PERF_PARANOID,          /* EACCES */
	VPMU_PERF_FORBIDDEN,         /* EPERM: seccomp, or a security module */
	VPMU_PERF_NO_SYSTEM_CALL,    /* ENOSYS: seccomp again, or a kernel without perf events */
	VPMU_PERF_NO_FILES,          /* EMFILE, ENFILE */
	VPMU_PERF_NO_MEMORY,
	VPMU_PERF_NO_EVENT,          /* this PMU cannot count that */
	VPMU_PERF_NO_INTERRUPT,      /* this PMU has no overflow interrupt */
	VPMU_PERF_NOT_COMMON,        /* hybrid: not every kind of core lists it (RULES D2) */
	VPMU_PERF_OTHER_ENCODING,    /* raw, and in another vendor's encoding */
	VPMU_PERF_BUSY,              /* somebody else has the counters now */
	VPMU_PERF_TOO_MANY,          /* more kinds of cores than VPMU_PERF_PMUS */
	VPMU_PERF_OTHER,
	VPMU_PERF_ERRORS,
};

/* One English sentence, never NULL. Context: any. */
const char *vpmu_perf_strerror(enum vpmu_perf_error error);

/* For a system call's -errno. Context: any. */
enum vpmu_perf_error vpmu_perf_error_of(int negative_errno);

/* Whose encoding a raw selector is in. */
enum vpmu_perf_encoding {
	VPMU_PERF_ENCODING_NONE,
	VPMU_PERF_ENCODING_INTEL,
	VPMU_PERF_ENCODING_AMD,
	VPMU_PERF_ENCODING_ARM,
};

#define VPMU_PERF_PMUS 4u        /* kinds of cores in one machine */
#define VPMU_PERF_CPUS 1024u
#define VPMU_PERF_NAMES 128u     /* events that all of them list */
#define VPMU_PERF_NAME 48u

struct vpmu_perf_pmu {
	char name[VPMU_PERF_NAME];
	uint32_t type;
	bool all_cpus;               /* lists none: it is every CPU's */
	uint64_t cpus[VPMU_PERF_CPUS / 64];
	uint64_t config_bits;        /* of config, that any field is in */
	uint64_t user_read;          /* bits of config1 that ask for reads by user mode, or 0 */
};

/* An event that all PMUs list, and how each encodes it. */
struct vpmu_perf_name {
	char name[VPMU_PERF_NAME];
	uint64_t config[VPMU_PERF_PMUS];
	uint32_t listed;             /* by which PMUs, as bits */
};

struct vpmu_perf_host {
	enum vpmu_perf_encoding encoding;
	int paranoid;                /* kernel.perf_event_paranoid; INT_MAX: unknown */
	unsigned int pmus;
	bool too_many;
	struct vpmu_perf_pmu pmu[VPMU_PERF_PMUS];
	unsigned int names;
	struct vpmu_perf_name name[VPMU_PERF_NAMES];
	/*
	 * As vpmu_perf_host_probe() found, by meaning. RAW: whether raw events can be opened at
	 * all.
	 */
	enum vpmu_perf_error error[VPMU_MEANINGS];
	bool probed;
	bool user_only;              /* counting guest kernels is refused */
	bool interrupts;             /* overflows are reported */
	bool cheap_reads;            /* by user mode */
};

/*
 * vpmu_perf_host_find() - the host's PMUs, from files below (root), "" for this machine's. Makes
 * no event. returns: VPMU_PERF_OK, VPMU_PERF_NO_PMU, VPMU_PERF_TOO_MANY. Context: [init].
 */
enum vpmu_perf_error vpmu_perf_host_find(struct vpmu_perf_host *host, const char *root);

/*
 * vpmu_perf_host_probe() - asks the kernel for one event of each meaning, for guests only.
 * returns: VPMU_PERF_OK, or why it gives none. Context: [init], after vpmu_perf_host_find().
 */
enum vpmu_perf_error vpmu_perf_host_probe(struct vpmu_perf_host *host,
					  struct vpmu_perf_system *sys);

/*
 * vpmu_perf_host_attr() - how PMU (pmu) counts (event) of a guest whose selectors are in
 * (encoding). returns: VPMU_PERF_OK, or why it does not. Context: any.
 */
enum vpmu_perf_error vpmu_perf_host_attr(const struct vpmu_perf_host *host, unsigned int pmu,
					 enum vpmu_perf_encoding encoding,
					 const struct vpmu_event *event,
					 struct perf_event_attr *attr);

/* Is (cpu) one of the PMU's? Context: any. */
bool vpmu_perf_pmu_has(const struct vpmu_perf_pmu *pmu, int cpu);

/* The name that sysfs and tools have for a meaning. Context: any. */
const char *vpmu_perf_meaning_name(enum vpmu_event_meaning meaning);

/* ---- Between its two files ---- */

bool vpmu_perf_find_name(const struct vpmu_perf_host *host, const char *name, unsigned int *index);

#endif
