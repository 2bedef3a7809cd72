/* SPDX-License-Identifier: MIT */
/* Which event of the host counts what a guest asks for, and whether the kernel gives it. */
#include "perf_host.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static const char *const sentences[VPMU_PERF_ERRORS] = {
	[VPMU_PERF_OK] = "no error",
	[VPMU_PERF_NO_PMU] = "the kernel has no PMU of this machine's CPUs",
	[VPMU_PERF_PARANOID] =
		"kernel.perf_event_paranoid is too high for a user without CAP_PERFMON",
	[VPMU_PERF_FORBIDDEN] =
		"perf_event_open is not permitted: a seccomp filter or security module refuses it",
	[VPMU_PERF_NO_SYSTEM_CALL] =
		"perf_event_open does not exist: a seccomp filter hides it, or the kernel lacks it",
	[VPMU_PERF_NO_FILES] = "no file descriptors are left",
	[VPMU_PERF_NO_MEMORY] = "no memory is left",
	[VPMU_PERF_NO_EVENT] = "the host's PMU does not have this event",
	[VPMU_PERF_NO_INTERRUPT] = "the host's PMU has no overflow interrupt",
	[VPMU_PERF_NOT_COMMON] = "not every kind of core of this hybrid machine lists this event",
	[VPMU_PERF_OTHER_ENCODING] = "the host's CPUs encode raw events differently",
	[VPMU_PERF_BUSY] = "other users hold the host's counters",
	[VPMU_PERF_TOO_MANY] = "the machine has more kinds of cores than this source takes",
	[VPMU_PERF_OTHER] = "the kernel refuses the event for another reason",
};

const char *vpmu_perf_strerror(enum vpmu_perf_error error)
{
	return error < VPMU_PERF_ERRORS ? sentences[error] : "unknown error";
}

static const struct {
	int number;
	enum vpmu_perf_error error;
} errors[] = {
	{ EACCES, VPMU_PERF_PARANOID },
	{ EPERM, VPMU_PERF_FORBIDDEN },
	{ ENOSYS, VPMU_PERF_NO_SYSTEM_CALL },
	{ EMFILE, VPMU_PERF_NO_FILES },
	{ ENFILE, VPMU_PERF_NO_FILES },
	{ ENOMEM, VPMU_PERF_NO_MEMORY },
	{ ENOENT, VPMU_PERF_NO_EVENT },
	{ EINVAL, VPMU_PERF_NO_EVENT },
	{ ENODEV, VPMU_PERF_NO_EVENT },
	{ ENXIO, VPMU_PERF_NO_EVENT },
	{ EOPNOTSUPP, VPMU_PERF_NO_INTERRUPT },
	{ EBUSY, VPMU_PERF_BUSY },
	{ EAGAIN, VPMU_PERF_BUSY },
	{ ENOSPC, VPMU_PERF_BUSY },
};

enum vpmu_perf_error vpmu_perf_error_of(int negative_errno)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].number == -negative_errno)
			return errors[i].error;
	}
	return negative_errno < 0 ? VPMU_PERF_OTHER : VPMU_PERF_OK;
}

/* ---- Encodings ---- */

#define ALIASES 3u

/* What sysfs calls it: x86's name first, then Arm's. And the kernel's own number for it. */
static const struct {
	const char *name[ALIASES];
	uint64_t generic;
} meanings[VPMU_MEANINGS] = {
	[VPMU_MEANS_RAW] = { { "raw" }, 0 },
	[VPMU_MEANS_INSTRUCTIONS] = {
		{ "instructions", "inst_retired" }, PERF_COUNT_HW_INSTRUCTIONS },
	[VPMU_MEANS_CYCLES] = { { "cpu-cycles", "cpu_cycles" }, PERF_COUNT_HW_CPU_CYCLES },
	[VPMU_MEANS_REFERENCE_CYCLES] = { { "ref-cycles" }, PERF_COUNT_HW_REF_CPU_CYCLES },
	[VPMU_MEANS_LLC_REFERENCES] = { { "cache-references" }, PERF_COUNT_HW_CACHE_REFERENCES },
	[VPMU_MEANS_LLC_MISSES] = { { "cache-misses" }, PERF_COUNT_HW_CACHE_MISSES },
	[VPMU_MEANS_BRANCHES] = {
		{ "branch-instructions", "br_retired" }, PERF_COUNT_HW_BRANCH_INSTRUCTIONS },
	[VPMU_MEANS_BRANCH_MISSES] = {
		{ "branch-misses", "br_mis_pred_retired" }, PERF_COUNT_HW_BRANCH_MISSES },
};

const char *vpmu_perf_meaning_name(enum vpmu_event_meaning meaning)
{
	return meanings[meaning].name[0];
}

/*
 * Of the last-level cache only Intel's generic events are: AMD's are the L2's, Arm's the first
 * level's.
 */
static bool is_honest(const struct vpmu_perf_host *host, enum vpmu_event_meaning meaning)
{
	bool llc = meaning == VPMU_MEANS_LLC_REFERENCES || meaning == VPMU_MEANS_LLC_MISSES;

	return !llc || host->encoding == VPMU_PERF_ENCODING_INTEL;
}

static bool find_meaning(const struct vpmu_perf_host *host, enum vpmu_event_meaning meaning,
			 unsigned int *index)
{
	for (unsigned int i = 0; i < ALIASES && meanings[meaning].name[i]; i++) {
		if (vpmu_perf_find_name(host, meanings[meaning].name[i], index))
			return true;
	}
	return false;
}

static enum vpmu_perf_error encode_meaning(const struct vpmu_perf_host *host, unsigned int pmu,
					   enum vpmu_event_meaning meaning,
					   struct perf_event_attr *attr)
{
	unsigned int i;

	if (!is_honest(host, meaning))
		return VPMU_PERF_NO_EVENT;
	if (find_meaning(host, meaning, &i)) {
		attr->config = host->name[i].config[pmu];
		return VPMU_PERF_OK;
	}
	if (host->pmus > 1)
		return VPMU_PERF_NOT_COMMON;
	attr->type = PERF_TYPE_HARDWARE;
	attr->config = meanings[meaning].generic;
	return VPMU_PERF_OK;
}

/* A hybrid machine's raw selectors are in the first PMU's encoding: by the name they have there. */
static enum vpmu_perf_error translate_raw(const struct vpmu_perf_host *host, unsigned int pmu,
					  uint64_t selector, struct perf_event_attr *attr)
{
	for (unsigned int i = 0; i < host->names; i++) {
		if (host->name[i].config[0] == selector) {
			attr->config = host->name[i].config[pmu];
			return VPMU_PERF_OK;
		}
	}
	return VPMU_PERF_NOT_COMMON;
}

static enum vpmu_perf_error encode_raw(const struct vpmu_perf_host *host, unsigned int pmu,
				       enum vpmu_perf_encoding encoding, uint64_t selector,
				       struct perf_event_attr *attr)
{
	if (!encoding || encoding != host->encoding)
		return VPMU_PERF_OTHER_ENCODING;
	if (host->pmus > 1)
		return translate_raw(host, pmu, selector, attr);
	if (host->pmu[pmu].config_bits && selector & ~host->pmu[pmu].config_bits)
		return VPMU_PERF_NO_EVENT;
	attr->config = selector;
	return VPMU_PERF_OK;
}

/*
 * The kernel takes any period below 2^63. An event that can overflow can be given another period
 * later, an event without one never.
 */
#define NEVER (1ull << 62)

enum vpmu_perf_error vpmu_perf_host_attr(const struct vpmu_perf_host *host, unsigned int pmu,
					 enum vpmu_perf_encoding encoding,
					 const struct vpmu_event *event,
					 struct perf_event_attr *attr)
{
	if (pmu >= host->pmus)
		return VPMU_PERF_NO_PMU;
	*attr = (struct perf_event_attr){
		.size = sizeof(*attr),
		.type = host->pmu[pmu].type,
		.config1 = host->pmu[pmu].user_read,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
		.pinned = 1,
		.exclude_host = 1,
		.exclude_user = !event->user,
		.exclude_kernel = !event->kernel,
	};
	if (!event->checkpointed)
		attr->sample_period = NEVER;
	if (attr->sample_period && event->period && event->period < NEVER)
		attr->sample_period = event->period;
	if (event->meaning == VPMU_MEANS_RAW)
		return encode_raw(host, pmu, encoding, event->selector, attr);
	return encode_meaning(host, pmu, event->meaning, attr);
}

bool vpmu_perf_pmu_has(const struct vpmu_perf_pmu *pmu, int cpu)
{
	if (pmu->all_cpus)
		return true;
	if (cpu < 0 || cpu >= (int)VPMU_PERF_CPUS)
		return false;
	return pmu->cpus[cpu / 64] >> cpu % 64 & 1;
}

/* ---- What the kernel gives ---- */

/* An event of the caller's thread that does not count yet; what it takes is taken out of (attr). */
static int try_open(struct vpmu_perf_host *host, struct vpmu_perf_system *sys,
		    struct perf_event_attr *attr)
{
	int fd;

	attr->disabled = 1;
	attr->exclude_kernel = host->user_only;
	fd = sys->open(sys, attr, 0);
	if (fd == -EACCES && !host->user_only) {
		attr->exclude_kernel = 1;
		fd = sys->open(sys, attr, 0);
		host->user_only = fd >= 0;
	}
	if (fd == -EOPNOTSUPP) {
		attr->sample_period = 0;
		fd = sys->open(sys, attr, 0);
		host->interrupts &= fd < 0;
	}
	return fd;
}

/* returns: the kernel shows the event to user mode, which can read it. */
static bool is_shown(struct vpmu_perf_system *sys, int fd)
{
	struct perf_event_mmap_page *page = sys->map(sys, fd);
	bool shown = page && page->cap_user_rdpmc;

	if (page)
		sys->unmap(sys, page);
	return shown;
}

static enum vpmu_perf_error probe_one(struct vpmu_perf_host *host, struct vpmu_perf_system *sys,
				      unsigned int pmu, enum vpmu_event_meaning meaning)
{
	const struct vpmu_event event = { .meaning = meaning, .user = true, .kernel = true };
	struct perf_event_attr attr;
	enum vpmu_perf_error error;
	int fd;

	error = vpmu_perf_host_attr(host, pmu, VPMU_PERF_ENCODING_NONE, &event, &attr);
	if (error)
		return error;
	fd = try_open(host, sys, &attr);
	if (fd < 0)
		return vpmu_perf_error_of(fd);
	host->cheap_reads &= is_shown(sys, fd);
	(void)sys->close(sys, fd);
	return VPMU_PERF_OK;
}

static enum vpmu_perf_error probe_meaning(struct vpmu_perf_host *host, struct vpmu_perf_system *sys,
					  enum vpmu_event_meaning meaning)
{
	enum vpmu_perf_error error = VPMU_PERF_OK;

	for (unsigned int i = 0; i < host->pmus && !error; i++)
		error = probe_one(host, sys, i, meaning);
	return error;
}

enum vpmu_perf_error vpmu_perf_host_probe(struct vpmu_perf_host *host, struct vpmu_perf_system *sys)
{
	enum vpmu_perf_error why = host->too_many ? VPMU_PERF_TOO_MANY : VPMU_PERF_NO_PMU;
	bool any = false;

	host->user_only = false;
	host->interrupts = true;
	host->cheap_reads = true;
	for (unsigned int i = VPMU_MEANS_RAW + 1; i < VPMU_MEANINGS; i++) {
		enum vpmu_event_meaning meaning = (enum vpmu_event_meaning)i;

		host->error[i] = host->pmus ? probe_meaning(host, sys, meaning) : why;
		any |= !host->error[i];
	}
	/* Every core PMU has cycles: what keeps them from us keeps all others. */
	why = any ? VPMU_PERF_OK : host->error[VPMU_MEANS_CYCLES];
	host->error[VPMU_MEANS_RAW] = why;
	host->interrupts &= any;
	host->cheap_reads &= any;
	host->probed = true;
	return why;
}
