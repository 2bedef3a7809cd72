/* SPDX-License-Identifier: MIT */
/* vpmu run --arch x86: the PC of hosts/pc on an engine, with the PMU that --mode asks for. */
#include "x86.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "pc.h"
#include "pmu.h"
#include "unicorn.h"

#define SLICE 4000000u /* instructions between looks at standard input */

struct machine {
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
		.policy = x86_policy(o),
	};
	const char *why = "no memory";

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
	void *image = x86_read_image(o->x86.guest, &size);

	m->pc = pc_create(&config);
	if (!m->pc)
		die(EXIT_CANNOT, "no memory for the guest");
	if (pc_load(m->pc, image, size, x86_command_line(&o->x86)) < 0)
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

int x86_verdict(const char *who, const struct pc *pc, int result)
{
	uint32_t verdict;

	switch ((enum pc_result)result) {
	case PC_EXITED:
		/* The device makes (value << 1) | 1 of it. */
		verdict = (uint32_t)pc_exit_code(pc) >> 1;
		return verdict > 255 ? 255 : (int)verdict;
	case PC_SHUTDOWN:
		warn("%sthe guest shut down: a triple fault or INIT", who);
		return EXIT_CANNOT;
	case PC_STUCK:
		warn("%sthe guest halted, and nothing will ever wake it", who);
		return EXIT_CANNOT;
	case PC_BROKEN:
		warn("%sthe engine cannot go on: %s", who, pc_error(pc));
		return EXIT_CANNOT;
	case PC_LIMIT:
	case PC_KICKED:
		break;
	}
	return EXIT_TIMEOUT;
}

static int status_of(const struct machine *m, const struct run_options *o, enum pc_result r)
{
	if (r != PC_LIMIT && r != PC_KICKED)
		return x86_verdict("", m->pc, (int)r);
	if (ended_by && ended_by != SIGALRM)
		return EXIT_INTERRUPTED;
	if (ended_by)
		warn("timeout: the guest did not end within %" PRIu64 " seconds", o->timeout);
	else
		warn("limit: the guest did not end within %" PRIu64 " instructions", o->x86.limit);
	return EXIT_TIMEOUT;
}

/* ---- Statistics ---- */

static const struct {
	const char *name;
	size_t offset;
} figures[] = {
	{ "direct_accesses", offsetof(struct pc_pmu_stats, direct) },
	{ "pmis", offsetof(struct pc_pmu_stats, pmis) },
	{ "pmis_while_masked", offsetof(struct pc_pmu_stats, pmis_masked) },
	{ "source_calls", offsetof(struct pc_pmu_stats, source_calls) },
	{ "hardware_accesses", offsetof(struct pc_pmu_stats, hardware_accesses) },
	{ "enters", offsetof(struct pc_pmu_stats, vcpu.enters) },
	{ "enters.quiet", offsetof(struct pc_pmu_stats, vcpu.quiet) },
	{ "enters.resumed", offsetof(struct pc_pmu_stats, vcpu.resumed) },
	{ "loads", offsetof(struct pc_pmu_stats, vcpu.loads) },
	{ "saves", offsetof(struct pc_pmu_stats, vcpu.saves) },
	{ "switch_accesses", offsetof(struct pc_pmu_stats, vcpu.switch_accesses) },
	{ "trap_accesses", offsetof(struct pc_pmu_stats, vcpu.trap_accesses) },
	{ "trapped_reads", offsetof(struct pc_pmu_stats, vcpu.trapped_reads) },
	{ "trapped_writes", offsetof(struct pc_pmu_stats, vcpu.trapped_writes) },
	{ "faults", offsetof(struct pc_pmu_stats, vcpu.faults) },
	{ "pmis_late", offsetof(struct pc_pmu_stats, vcpu.pmi_late) },
	{ "emulated_counted", offsetof(struct pc_pmu_stats, vcpu.emulated_counted) },
};

void x86_show_pc(const char *who, struct pc_pmu *pmu, const struct pc *pc)
{
	struct pc_pmu_stats s;
	struct vpmu_counter_status c;

	pc_pmu_stats(pmu, &s);
	fflush(stdout);
	x86_show(text("%sinstructions", who), pc_instructions(pc));
	x86_show(text("%scycles", who), pc_cycles(pc));
	for (unsigned int i = 0; i < PC_PMU_EXITS; i++)
		x86_show(text("%sexits.%s", who, pc_pmu_exit_name(i)), s.exits[i]);
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		x86_show(text("%s%s", who, figures[i].name),
			 *(const uint64_t *)(const void *)((const char *)&s + figures[i].offset));
	if (s.violations)
		fprintf(stderr, "vpmu-stats: %sviolations %" PRIu64 " first '%s'\n", who, s.violations,
			s.violation);
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		if (pc_pmu_counter(pmu, i, &c))
			x86_show_counter(i, who, &c);
}

int x86_run(const struct run_options *o)
{
	static struct machine m; /* a signal handler's kick outlives no part of it */
	enum pc_result r;
	int status;

	if (o->x86.kvm)
		return x86_run_kvm(o);
	if (o->vm_count > 0)
		return x86_run_vms(o);
	m.input_open = true;
	make_pmu(&m, o);
	make_pc(&m, o);
	to_kick = m.pc;
	x86_take_signals(on_signal, o->timeout);
	r = run(&m, o->x86.limit);
	fflush(stdout);
	status = status_of(&m, o, r);
	pc_pmu_detach(m.pmu);
	if (o->x86.stats)
		x86_show_pc("", m.pmu, m.pc);
	/* The engine may have lost its memory in a crash: the process ends here anyway. */
	return status;
}
