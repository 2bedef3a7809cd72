/* SPDX-License-Identifier: MIT */
/* vpmu run --arch x86: the PC of hosts/pc on an engine, with the PMU that --mode asks for. */
#include "x86.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "pc.h"
#include "pmu.h"
#include "unicorn.h"

#define IMAGE_MAX (256ull << 20)
#define COMMAND_LINE_MAX 4096u
#define SLICE 4000000u /* instructions between looks at standard input */

struct machine {
	struct vpmu_x86_filter filter;
	struct vpmu_policy policy;
	struct pc_pmu *pmu;
	struct pc *pc;
	struct pc_engine *engine;
	bool input_open;
};

/* ---- The end that does not come from the guest ---- */

static struct pc *to_kick; /* for signal handlers, which can have no other */
static volatile sig_atomic_t ended_by;

static void on_signal(int number)
{
	ended_by = number;
	pc_kick(to_kick);
}

static void take_signals(struct pc *pc, uint64_t timeout)
{
	static const int numbers[] = { SIGALRM, SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	to_kick = pc;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)sigaction(numbers[i], &act, NULL);
	(void)alarm((unsigned int)timeout);
}

/* ---- Console ---- */

static void put(void *context, uint8_t byte)
{
	(void)context;
	putchar(byte);
	if (byte == '\n')
		fflush(stdout);
}

static void feed(struct machine *m)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	uint8_t bytes[256];
	ssize_t n;

	if (!m->input_open || poll(&in, 1, 0) <= 0)
		return;
	n = read(STDIN_FILENO, bytes, sizeof(bytes));
	if (n > 0)
		(void)pc_input(m->pc, bytes, (size_t)n);
	else
		m->input_open = n < 0 && errno == EINTR;
}

/* ---- Set-up ---- */

static void *read_image(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *bytes;
	size_t at = 0;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) < 0)
		die(EXIT_CANNOT, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > IMAGE_MAX || st.st_size == 0)
		die(EXIT_CANNOT, "%s is not a guest image", path);
	bytes = malloc((size_t)st.st_size);
	if (!bytes)
		die(EXIT_CANNOT, "out of memory");
	while (at < (size_t)st.st_size && (n = read(fd, bytes + at, (size_t)st.st_size - at)) > 0)
		at += (size_t)n;
	(void)close(fd);
	if (at != (size_t)st.st_size)
		die(EXIT_CANNOT, "%s: %s", path, n < 0 ? strerror(errno) : "it became shorter");
	*size = at;
	return bytes;
}

static const char *command_line(const struct x86_options *x)
{
	const char *all = "";

	for (int i = 0; i < x->argument_count; i++)
		all = text("%s%s%s", all, i > 0 ? " " : "", x->arguments[i]);
	if (strlen(all) > COMMAND_LINE_MAX)
		die(EXIT_USAGE, "the guest's command line is longer than %u bytes",
		    COMMAND_LINE_MAX);
	return all;
}

static void make_pmu(struct machine *m, const struct run_options *o)
{
	struct pc_pmu_config config = {
		.mode = o->mode == MODE_BARE ? PC_PMU_BARE :
			o->mode == MODE_EMULATED ? PC_PMU_EMULATED : PC_PMU_MEDIATED,
		.model = o->x86.model,
		.switch_kind = o->switch_name && !strcmp(o->switch_name, "eager")
			? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY,
		.skid = o->x86.skid,
		.caches = o->x86.caches,
	};
	const char *why = "no memory";

	if (o->policy) {
		x86_parse_policy(&m->filter, &o->x86, o->policy);
		m->policy.x86 = &m->filter;
		config.policy = &m->policy;
	}
	m->pmu = pc_pmu_create(&config, &why);
	if (!m->pmu)
		die(EXIT_CANNOT, "this PMU cannot be: %s", why);
}

static void make_pc(struct machine *m, const struct run_options *o)
{
	struct pc_config config = {
		.ram = o->memory,
		.cpu = pc_pmu_ops(m->pmu),
		.context = m->pmu,
		.amd = o->x86.model.vendor == VPMU_X86_AMD,
		.console = put,
	};
	struct unicorn_config engine = { .caches = o->x86.caches };
	const char *why = "no memory";
	size_t size;
	void *image = read_image(o->x86.guest, &size);

	m->pc = pc_create(&config);
	if (!m->pc)
		die(EXIT_CANNOT, "no memory for the guest");
	if (pc_load(m->pc, image, size, command_line(&o->x86)) < 0)
		die(EXIT_CANNOT, "%s: %s", o->x86.guest, pc_error(m->pc));
	free(image);
	pc_pmu_attach(m->pmu, m->pc);
	m->engine = unicorn_create(m->pc, &engine, &why);
	if (!m->engine)
		die(EXIT_CANNOT, "the engine does not start: %s", why);
	pc_attach(m->pc, m->engine);
}

/* ---- The run ---- */

static enum pc_result run(struct machine *m, uint64_t limit)
{
	enum pc_result r;
	uint64_t slice;

	do {
		feed(m);
		slice = limit < SLICE ? limit : SLICE;
		r = pc_run(m->pc, slice);
		limit -= slice;
	} while (r == PC_LIMIT && limit && !ended_by);
	return r;
}

static int status_of(const struct machine *m, const struct run_options *o, enum pc_result r)
{
	uint32_t verdict;

	switch (r) {
	case PC_EXITED:
		/* The device makes (value << 1) | 1 of it. */
		verdict = (uint32_t)pc_exit_code(m->pc) >> 1;
		return verdict > 255 ? 255 : (int)verdict;
	case PC_SHUTDOWN:
		warn("the guest shut down: a triple fault or INIT");
		return EXIT_CANNOT;
	case PC_STUCK:
		warn("the guest halted, and nothing will ever wake it");
		return EXIT_CANNOT;
	case PC_BROKEN:
		warn("the engine cannot go on: %s", pc_error(m->pc));
		return EXIT_CANNOT;
	case PC_LIMIT:
	case PC_KICKED:
		break;
	}
	if (ended_by && ended_by != SIGALRM)
		return EXIT_INTERRUPTED;
	if (ended_by)
		warn("timeout: the guest did not end within %" PRIu64 " seconds", o->timeout);
	else
		warn("limit: the guest did not end within %" PRIu64 " instructions", o->x86.limit);
	return EXIT_TIMEOUT;
}

/* ---- Statistics ---- */

static void show(const char *name, uint64_t value)
{
	if (value)
		fprintf(stderr, "vpmu-stats: %s %" PRIu64 "\n", name, value);
}

static const char *state_name(enum vpmu_counter_state state)
{
	static const char *const names[] = {
		[VPMU_COUNTER_STOPPED] = "stopped", [VPMU_COUNTER_COUNTING] = "counting",
		[VPMU_COUNTER_STARVED] = "starved", [VPMU_COUNTER_DENIED] = "denied",
		[VPMU_COUNTER_UNSUPPORTED] = "unsupported", [VPMU_COUNTER_ABSENT] = "absent",
	};

	return names[state];
}

static void show_counters(struct pc_pmu *pmu)
{
	struct vpmu_counter_status c;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		if (pc_pmu_counter(pmu, i, &c) && c.state != VPMU_COUNTER_ABSENT)
			fprintf(stderr, "vpmu-stats: counter %s%u %s selector %#" PRIx64
				" value %#" PRIx64 "\n", i < VPMU_X86_FIXED ? "gp" : "fixed",
				i % VPMU_X86_FIXED, state_name(c.state), c.selector, c.value);
}

static void show_stats(const struct machine *m)
{
	struct pc_pmu_stats s;

	pc_pmu_stats(m->pmu, &s);
	fflush(stdout);
	show("instructions", pc_instructions(m->pc));
	show("cycles", pc_cycles(m->pc));
	for (unsigned int i = 0; i < PC_PMU_EXITS; i++)
		show(text("exits.%s", pc_pmu_exit_name(i)), s.exits[i]);
	show("direct_accesses", s.direct);
	show("pmis", s.pmis);
	show("pmis_while_masked", s.pmis_masked);
	show("source_calls", s.source_calls);
	show("hardware_accesses", s.hardware_accesses);
	show("enters", s.vcpu.enters);
	show("enters.quiet", s.vcpu.quiet);
	show("enters.resumed", s.vcpu.resumed);
	show("loads", s.vcpu.loads);
	show("saves", s.vcpu.saves);
	show("switch_accesses", s.vcpu.switch_accesses);
	show("trap_accesses", s.vcpu.trap_accesses);
	show("trapped_reads", s.vcpu.trapped_reads);
	show("trapped_writes", s.vcpu.trapped_writes);
	show("faults", s.vcpu.faults);
	show("pmis_late", s.vcpu.pmi_late);
	show("emulated_counted", s.vcpu.emulated_counted);
	if (s.violations)
		fprintf(stderr, "vpmu-stats: violations %" PRIu64 " first '%s'\n", s.violations,
			s.violation);
	show_counters(m->pmu);
}

int x86_run(const struct run_options *o)
{
	static struct machine m; /* a signal handler's kick outlives no part of it */
	enum pc_result r;
	int status;

	m.input_open = true;
	make_pmu(&m, o);
	make_pc(&m, o);
	take_signals(m.pc, o->timeout);
	r = run(&m, o->x86.limit);
	fflush(stdout);
	status = status_of(&m, o, r);
	pc_pmu_detach(m.pmu);
	if (o->x86.stats)
		show_stats(&m);
	/* The engine may have lost its memory in a crash: the process ends here anyway. */
	return status;
}
