/* SPDX-License-Identifier: MIT */
/* Asks the machine, by the sources themselves. */
#include "caps.h"
#include "common.h"
#include "time_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Guests ---- */

/* The PMUs that --engine kvm would show, if the source could count everything. */
static const struct {
	const char *vendor;
	enum vpmu_perf_encoding encoding;
	struct vpmu_x86_model model;
} guests[CAPS_GUESTS] = {
	{ "intel", VPMU_PERF_ENCODING_INTEL, {
		.size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_INTEL, .version = 2,
		.gp = 4, .gp_width = 48, .fixed = 3, .fixed_width = 48, .events_length = 7,
	} },
	{ "amd", VPMU_PERF_ENCODING_AMD, {
		.size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_AMD, .version = 1,
		.gp = 6, .gp_width = 48, .core_extension = true,
	} },
};

static bool supports(struct vpmu_source *source, enum vpmu_event_meaning meaning)
{
	const struct vpmu_event event = { .meaning = meaning, .user = true, .kernel = true };

	return source->ops->supports(source, &event);
}

/* What an AMD guest takes for granted. */
static const char *missing_of_amd(struct vpmu_source *source)
{
	static const enum vpmu_event_meaning expected[] = {
		VPMU_MEANS_CYCLES, VPMU_MEANS_INSTRUCTIONS, VPMU_MEANS_BRANCHES,
		VPMU_MEANS_BRANCH_MISSES,
	};
	const char *list = "";

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (!supports(source, expected[i]))
			list = text("%s%s%s", list, *list ? ", " : "",
				    vpmu_perf_meaning_name(expected[i]));
	}
	return text("an AMD guest cannot be told that an event is missing, and these are: %s",
		    list);
}

static const char *why_no_pmu(struct vpmu_source *source, enum vpmu_x86_vendor vendor)
{
	if (vendor == VPMU_X86_AMD)
		return missing_of_amd(source);
	return "neither cycles nor instructions can be counted";
}

static void find_guest(struct caps_source *out, unsigned int i, struct vpmu_source *source)
{
	struct caps_guest *g = &out->guest[i];

	*g = (struct caps_guest){ .vendor = guests[i].vendor, .model = guests[i].model };
	out->guests = i + 1;
	if (out->reason)
		g->reason = out->reason;
	else if (vpmu_x86_model_limit(&g->model, source, NULL))
		g->reason = why_no_pmu(source, g->model.vendor);
}

/* ---- Sources ---- */

static const char *raw_reason(const struct caps *caps, enum vpmu_perf_encoding guest)
{
	if (caps->host.encoding != guest)
		return vpmu_perf_strerror(VPMU_PERF_OTHER_ENCODING);
	return caps->host.error[VPMU_MEANS_RAW] ?
		vpmu_perf_strerror(caps->host.error[VPMU_MEANS_RAW]) : NULL;
}

static const char *event_reason(const struct caps *caps, const struct caps_source *out,
				unsigned int m)
{
	if (caps->host.error[m])
		return vpmu_perf_strerror(caps->host.error[m]);
	return caps->host.user_only ? out->note : NULL;
}

static void find_perf_events(const struct caps *caps, struct caps_source *out, unsigned int i)
{
	const char **event = out->guest[i].event;

	event[VPMU_MEANS_RAW] = raw_reason(caps, guests[i].encoding);
	for (unsigned int m = VPMU_MEANS_RAW + 1; m < VPMU_MEANINGS; m++)
		event[m] = event_reason(caps, out, m);
}

static const char *paranoid(const struct caps *caps)
{
	return caps->host.paranoid == INT_MAX ? "unknown" : text("%d", caps->host.paranoid);
}

static const char *perf_reason(const struct caps *caps, enum vpmu_perf_error error)
{
	if (error == VPMU_PERF_PARANOID)
		return text("%s (it is %s)", vpmu_perf_strerror(error), paranoid(caps));
	return error ? vpmu_perf_strerror(error) : NULL;
}

static const char *perf_note(const struct caps *caps)
{
	if (caps->host.user_only)
		return text("counting guest kernels takes CAP_PERFMON, or "
			    "kernel.perf_event_paranoid at most 1 (it is %s)", paranoid(caps));
	if (caps->host.probed && caps->host.pmus && !caps->host.error[VPMU_MEANS_RAW] &&
	    !caps->host.interrupts)
		return vpmu_perf_strerror(VPMU_PERF_NO_INTERRUPT);
	return NULL;
}

static void find_perf(struct caps *caps, struct caps_source *out)
{
	static struct vpmu_perf_source source;
	static struct vpmu_perf_system kernel;
	struct vpmu_perf_config config = { .host = &caps->host, .system = &kernel, .only = -1 };
	static struct vpmu_vcpu nobody;
	enum vpmu_perf_error error;

	kernel = vpmu_perf_linux;
	(void)vpmu_perf_host_find(&caps->host, caps->root);
	error = vpmu_perf_host_probe(&caps->host, &kernel);
	*out = (struct caps_source){
		.name = "perf", .what = "perf events of the host's counters",
		.reason = perf_reason(caps, error), .note = perf_note(caps),
		.interrupts = caps->host.interrupts, .cheap_reads = caps->host.cheap_reads,
	};
	for (unsigned int i = 0; i < CAPS_GUESTS; i++) {
		config.encoding = guests[i].encoding;
		(void)vpmu_perf_source_init(&source, &nobody, &config);
		find_guest(out, i, &source.source);
		find_perf_events(caps, out, i);
	}
}

static uint64_t no_clock(void *context)
{
	(void)context;
	return 0;
}

static void find_time(const struct caps *caps, struct caps_source *out)
{
	static struct vpmu_time_source source;
	static struct vpmu_time_system kernel;
	static struct vpmu_vcpu nobody;
	const struct vpmu_time_config config = {
		.system = &kernel, .clock = no_clock, .core_khz = caps->clock_khz,
		.reference_khz = caps->clock_khz,
	};

	kernel = vpmu_time_linux;
	*out = (struct caps_source){
		.name = "time", .what = "guest run time, for hosts without counters",
		.interrupts = true, .cheap_reads = true,
	};
	if (!caps->clock_khz)
		out->reason = "the frequency of this machine's clock is unknown here";
	vpmu_time_source_init(&source, &nobody, &config);
	for (unsigned int i = 0; i < CAPS_GUESTS; i++) {
		find_guest(out, i, &source.source);
		for (unsigned int m = 0; m < VPMU_MEANINGS; m++) {
			if (!supports(&source.source, (enum vpmu_event_meaning)m))
				out->guest[i].event[m] = "time tells nothing about it";
		}
	}
}

/* ---- The machine ---- */

/* "cpu MHz : 2400.123" of the first processor: near enough to say what there is. */
static uint64_t clock_khz(const char *root)
{
	char line[1024];
	double mhz = 0;
	FILE *f = fopen(text("%s/proc/cpuinfo", root), "re");

	if (!f)
		return 0;
	for (unsigned int i = 0; i < 64 && mhz <= 0 && fgets(line, sizeof(line), f); i++) {
		if (!strncmp(line, "cpu MHz", 7) && strchr(line, ':'))
			mhz = strtod(strchr(line, ':') + 1, NULL);
	}
	(void)fclose(f);
	return mhz > 0 && mhz < 1e6 ? (uint64_t)(mhz * 1000) : 0;
}

static const char *kvm_reason(const char *root)
{
	int fd = open(text("%s/dev/kvm", root), O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		(void)close(fd);
		return NULL;
	}
	if (errno == ENOENT)
		return "there is no /dev/kvm: virtualization is off, "
		       "or its kernel module is not loaded";
	return text("/dev/kvm: %s", strerror(errno));
}

void caps_find(struct caps *caps, const char *root)
{
	static const char *const encodings[] = {
		[VPMU_PERF_ENCODING_NONE] = "unknown", [VPMU_PERF_ENCODING_INTEL] = "intel",
		[VPMU_PERF_ENCODING_AMD] = "amd", [VPMU_PERF_ENCODING_ARM] = "arm",
	};

	*caps = (struct caps){
		.root = root, .kvm = kvm_reason(root), .clock_khz = clock_khz(root),
	};
	find_perf(caps, &caps->source[0]);
	find_time(caps, &caps->source[1]);
	caps->encoding = encodings[caps->host.encoding];
}

const char *caps_cpus(const struct vpmu_perf_pmu *pmu)
{
	const char *list = "";
	int i = 0;

	if (pmu->all_cpus)
		return "all";
	while (i < (int)VPMU_PERF_CPUS) {
		int first = i;

		while (vpmu_perf_pmu_has(pmu, i))
			i++;
		if (i > first + 1)
			list = text("%s%s%d-%d", list, *list ? "," : "", first, i - 1);
		else if (i > first)
			list = text("%s%s%d", list, *list ? "," : "", first);
		i++;
	}
	return list;
}
