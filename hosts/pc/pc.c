/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_MIN (2u << 20) /* the loader's tables, and something to load */
#define RAM_MAX (3ull << 30)

void pc_fail(struct pc *pc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(pc->error, sizeof(pc->error), format, args);
	va_end(args);
}

static bool make_ram(struct pc *pc)
{
	void *at;

	pc->ram_fd = memfd_create("guest", MFD_CLOEXEC);
	if (pc->ram_fd < 0 || ftruncate(pc->ram_fd, (off_t)pc->config.ram) < 0)
		return false;
	at = mmap(NULL, pc->config.ram, PROT_READ | PROT_WRITE, MAP_SHARED, pc->ram_fd, 0);
	if (at == MAP_FAILED)
		return false;
	pc->ram = at;
	return true;
}

struct pc *pc_create(const struct pc_config *config)
{
	struct pc *pc;

	if (config->ram < RAM_MIN || config->ram > RAM_MAX || config->ram & 0xfff)
		return NULL;
	pc = calloc(1, sizeof(*pc));
	if (!pc)
		return NULL;
	pc->config = *config;
	pc->ram_fd = -1;
	pc->console = calloc(1, PC_CONSOLE + 1);
	if (!pc->console || !make_ram(pc)) {
		pc_destroy(pc);
		return NULL;
	}
	pc->apic.lvtpc_masks_itself = !config->amd;
	lapic_reset(&pc->apic);
	pc_reset_msrs(pc);
	return pc;
}

void pc_destroy(struct pc *pc)
{
	if (!pc)
		return;
	if (pc->ram)
		(void)munmap(pc->ram, pc->config.ram);
	if (pc->ram_fd >= 0)
		(void)close(pc->ram_fd);
	free(pc->console);
	free(pc);
}

void pc_attach(struct pc *pc, struct pc_engine *engine)
{
	pc->engine = engine;
	engine->pc = pc;
	engine->ops->start(engine, &pc->entry, pc->entry_eax, pc->entry_ebx);
}

/* ---- Small answers ---- */

const char *pc_console(const struct pc *pc)
{
	return pc->console;
}

int pc_exit_code(const struct pc *pc)
{
	return pc->exit_code;
}

const char *pc_error(const struct pc *pc)
{
	return pc->error;
}

uint64_t pc_instructions(const struct pc *pc)
{
	return pc->instructions;
}

uint64_t pc_cycles(const struct pc *pc)
{
	return pc->cycles;
}

uint32_t pc_lvtpc(const struct pc *pc)
{
	return pc->apic.lvt[LVT_PMC];
}

uint64_t pc_misc_enable(const struct pc *pc)
{
	return pc->msrs.misc_enable;
}

int pc_ram_file(const struct pc *pc)
{
	return pc->ram_fd;
}

uint64_t pc_ram_size(const struct pc *pc)
{
	return pc->config.ram;
}

void pc_kick(struct pc *pc)
{
	pc->kicked = 1;
}

bool pc_stopping(const struct pc *pc)
{
	return pc->exited || pc->kicked;
}

bool pc_pmi(struct pc *pc)
{
	return lapic_lvt(&pc->apic, LVT_PMC);
}

/* ---- Events and time ---- */

bool pc_exit(struct pc *pc, enum pc_exit why, uint32_t index)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;

	return ops && ops->exit && ops->exit(pc->config.context, why, index);
}

void pc_enter(struct pc *pc)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;

	if (ops && ops->enter)
		ops->enter(pc->config.context);
}

static void advance(struct pc *pc, const struct pc_events *e)
{
	pc->instructions += e->instructions;
	pc->cycles += e->cycles;
	lapic_tick(&pc->apic, pc->cycles, pc->tsc_offset);
}

void pc_emulated(struct pc *pc, bool user, const struct pc_events *e)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;

	advance(pc, e);
	if (ops && ops->emulated)
		ops->emulated(pc->config.context, user, e);
	else if (ops && ops->retired)
		(void)ops->retired(pc->config.context, user, e);
}

struct pc_horizon pc_retired(struct pc *pc, bool user, const struct pc_events *e)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;
	struct pc_horizon h = { ~0ull, ~0ull };
	uint64_t due;

	advance(pc, e);
	if (ops && ops->retired)
		h = ops->retired(pc->config.context, user, e);
	due = lapic_deadline(&pc->apic, pc->tsc_offset);
	if (due != ~0ull) {
		due = due > pc->cycles ? due - pc->cycles : 1;
		if (due < h.cycles)
			h.cycles = due;
	}
	return h;
}

/* ---- Interrupts ---- */

static void collect(struct pc *pc)
{
	if (pc->apic.nmi) {
		pc->apic.nmi = false;
		pc->nmi_pending = true;
	}
}

bool pc_attention(const struct pc *pc)
{
	return pc_stopping(pc) || pc->apic.nmi || pc->nmi_pending || pc->apic.init ||
		lapic_pending(&pc->apic) >= 0;
}

bool pc_interruptible(const struct pc *pc, uint64_t rflags, bool shadow)
{
	if (pc_stopping(pc) || pc->apic.init)
		return true;
	if (shadow)
		return false;
	if ((pc->apic.nmi || pc->nmi_pending) && !pc->nmi_blocked)
		return true;
	return rflags & PC_RFLAGS_IF && lapic_pending(&pc->apic) >= 0;
}

void pc_iret(struct pc *pc)
{
	pc->nmi_blocked = false;
}

/* What is to be delivered at this boundary; NONE if nothing is. */
static struct pc_event take(struct pc *pc, uint64_t rflags, bool shadow)
{
	struct pc_event none = { .kind = PC_EVENT_NONE };
	int vector;

	collect(pc);
	if (shadow)
		return none;
	if (pc->nmi_pending && !pc->nmi_blocked) {
		pc->nmi_pending = false;
		pc->nmi_blocked = true;
		return (struct pc_event){ .kind = PC_EVENT_NMI, .vector = PC_NMI };
	}
	vector = lapic_pending(&pc->apic);
	if (!(rflags & PC_RFLAGS_IF) || vector < 0)
		return none;
	lapic_accept(&pc->apic, vector);
	return (struct pc_event){ .kind = PC_EVENT_EXTERNAL, .vector = (uint8_t)vector };
}

static bool deliver(struct pc *pc, struct pc_event event)
{
	struct pc_state s;

	pc->engine->ops->get(pc->engine, &s);
	if (!pc_deliver(pc, &s, event))
		return false;
	pc->engine->shadow = false;
	pc->engine->ops->set(pc->engine, &s);
	return true;
}

static bool interrupt(struct pc *pc)
{
	struct pc_state s;
	struct pc_event event;
	bool exited;

	pc->engine->ops->get(pc->engine, &s);
	event = take(pc, s.rflags, pc->engine->shadow);
	if (event.kind == PC_EVENT_NONE)
		return true;
	exited = pc_exit(pc, PC_EXIT_INTERRUPT, event.vector);
	if (!deliver(pc, event))
		return false;
	if (exited)
		pc_enter(pc);
	return true;
}

/*
 * Time passes without instructions until something wakes the CPU. The clock's cycles are not the
 * CPU's: a halted one has none. False: nothing ever will.
 */
static bool sleep_until_event(struct pc *pc)
{
	const struct pc_cpu_ops *ops = pc->config.cpu;
	struct pc_state s;
	uint64_t due;

	if (ops && ops->halted)
		ops->halted(pc->config.context);
	pc->engine->ops->get(pc->engine, &s);
	while (!pc_interruptible(pc, s.rflags, false)) {
		due = lapic_deadline(&pc->apic, pc->tsc_offset);
		if (due == ~0ull)
			return false;
		if (due > pc->cycles)
			pc->cycles = due;
		lapic_tick(&pc->apic, pc->cycles, pc->tsc_offset);
	}
	return true;
}

static enum pc_result stopped(struct pc *pc)
{
	if (pc->exited)
		return PC_EXITED;
	pc->kicked = 0;
	return PC_KICKED;
}

static enum pc_result broken(struct pc *pc)
{
	pc_fail(pc, "%s", pc->engine->error ? pc->engine->error : "the engine has failed");
	return PC_BROKEN;
}

enum pc_result pc_run(struct pc *pc, uint64_t limit)
{
	pc->engine->left = limit;
	for (;;) {
		if (pc_stopping(pc))
			return stopped(pc);
		if (pc->engine->left == 0)
			return PC_LIMIT;
		if (pc->halted && !sleep_until_event(pc))
			return PC_STUCK;
		pc->halted = false;
		if (pc->apic.init || !interrupt(pc))
			return PC_SHUTDOWN; /* INIT: there is no firmware to start again */
		switch (pc->engine->ops->run(pc->engine)) {
		case PC_STOP_ATTENTION:
			break;
		case PC_STOP_EVENT:
			if (!deliver(pc, pc->engine->event))
				return PC_SHUTDOWN;
			/* A handler whose first instruction faults goes round without retiring. */
			if (pc->engine->left > 0)
				pc->engine->left--;
			break;
		case PC_STOP_HALT:
			pc->halted = true;
			break;
		case PC_STOP_LIMIT:
			return PC_LIMIT;
		case PC_STOP_BROKEN:
			return broken(pc);
		}
	}
}
