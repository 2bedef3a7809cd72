/* SPDX-License-Identifier: MIT */
/*
 * A small PC: memory, a serial port, a way to exit, a local APIC, and the rules by which its
 * CPU takes exceptions and interrupts. Guest code is run by an engine (struct pc_engine); what
 * counts is behind struct pc_cpu_ops. Neither the PC nor an engine has counting logic: an engine
 * says what has retired, the other side says what a counter reads.
 *
 * One vCPU, one thread: nothing here may be called from two threads or from a signal handler,
 * except pc_kick(). Time is deterministic: it is the engine's cycles, and a halted CPU skips to
 * its next timer event.
 */
#ifndef VPMU_PC_H
#define VPMU_PC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc;
struct pc_engine;

/* ---- What the guest's instructions did ---- */

/*
 * Of instructions that retired: a REP once however often it repeats, a faulting one not at all, a
 * restarted one once. Software interrupts retire and are branches; the delivery of an exception
 * or interrupt is not an instruction. hosts/unicorn/events.md has the models of what no
 * instruction set defines: cycles, mispredicted branches, last-level cache.
 */
struct pc_events {
	uint64_t instructions, cycles;
	uint64_t branches, branches_conditional, branches_taken, branches_mispredicted;
	uint64_t loads, stores; /* instructions that read, that write memory */
	uint64_t llc_references, llc_misses;
};

/* When to be asked again: at the instruction with which any event has happened so often. */
struct pc_horizon {
	uint64_t events; /* of any one kind but cycles; at least 1 */
	uint64_t cycles; /* at least 1 */
};

/* ---- The PMU's side of the seam ---- */

enum pc_answer {
	PC_NOT_MINE, /* the PC's own registers are asked */
	PC_DONE,
	PC_FAULT, /* #GP(0); nothing has changed */
};

enum pc_exit {
	PC_EXIT_RDMSR, PC_EXIT_WRMSR, PC_EXIT_RDPMC, /* with the index */
	PC_EXIT_CPUID, PC_EXIT_HALT, PC_EXIT_IO, PC_EXIT_MMIO,
	PC_EXIT_INTERRUPT, /* something for the host: a timer, an interrupt to inject */
};

/* Any member may be NULL: nothing of the kind exists, or nobody wants to know. */
struct pc_cpu_ops {
	size_t size; /* of this structure */
	enum pc_answer (*rdmsr)(void *context, uint32_t index, uint64_t *value);
	enum pc_answer (*wrmsr)(void *context, uint32_t index, uint64_t value);
	/* NULL, or PC_NOT_MINE: #GP. The rule about CPL and CR4.PCE is the callee's too. */
	enum pc_answer (*rdpmc)(void *context, uint32_t index, unsigned int cpl, bool pce,
		uint64_t *value);
	/* EAX, EBX, ECX, EDX, filled in by the PC, to be changed. */
	void (*cpuid)(void *context, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
	/*
	 * Events of instructions that ran directly, in ring 3 (user) or below. The answer is for that
	 * ring; after a change of ring it is asked again with the first instruction.
	 */
	struct pc_horizon (*retired)(void *context, bool user, const struct pc_events *events);
	/*
	 * Of one instruction that exit() took and the PC emulated; called after its effect and
	 * before enter(). NULL: they go to retired().
	 */
	void (*emulated)(void *context, bool user, const struct pc_events *events);
	/*
	 * An instruction or interrupt that a hypervisor may intercept. True: it does, and what
	 * follows until enter() is the host. False: it runs direct, there is no enter().
	 */
	bool (*exit)(void *context, enum pc_exit why, uint32_t index);
	void (*enter)(void *context);
	/* The CPU has halted and is about to wait: what is still under way arrives now. */
	void (*halted)(void *context);
	/* The guest wrote the LVT entry of its performance counters, or its APIC was reset. */
	void (*lvtpc)(void *context, uint32_t value);
};

/* ---- The machine ---- */

struct pc_config {
	uint64_t ram;      /* bytes, a multiple of 4 KiB, at most 3 GiB */
	const struct pc_cpu_ops *cpu;
	void *context;     /* of the ops */
	unsigned int cpus; /* for the guest to read; 0: one */
	bool amd;          /* vendor: CPUID, and LVTPC does not mask itself */
	void (*console)(void *context, uint8_t byte); /* NULL: kept, see pc_console() */
	void *console_context;
};

/* NULL without memory or with a configuration that cannot be. */
struct pc *pc_create(const struct pc_config *config);
void pc_destroy(struct pc *pc);

/* What the guest has written to COM1 so far, as a string; the last 64 KiB at most. */
const char *pc_console(const struct pc *pc);
/* Bytes for the guest to read from COM1. Returns how many of them fitted. */
size_t pc_input(struct pc *pc, const void *bytes, size_t count);

/*
 * Puts a guest into memory and the CPU at its entry: a multiboot v1 image (ELF32, or with address
 * fields), or an ELF64 image with a PVH note. 0, or -1 with a sentence in pc_error().
 */
int pc_load(struct pc *pc, const void *image, size_t size, const char *command_line);

/* Attaches an engine; it must outlive the PC's last run. */
void pc_attach(struct pc *pc, struct pc_engine *engine);

enum pc_result {
	PC_EXITED,   /* the guest wrote isa-debug-exit: pc_exit_code() */
	PC_LIMIT,    /* the instructions asked for have retired; pc_run() continues */
	PC_STUCK,    /* halted, and nothing will ever wake it */
	PC_SHUTDOWN, /* triple fault */
	PC_KICKED,   /* pc_kick() */
	PC_BROKEN,   /* the engine cannot run this guest: pc_error() */
};

/*
 * Runs until one of the above; `limit` in instructions, counted from this call. A repetition of REP
 * and an exception count as one here: the call returns in bounded time, whatever the guest does.
 */
enum pc_result pc_run(struct pc *pc, uint64_t limit);
/* Makes a pc_run() in progress return soon. Any thread, signal-safe. */
void pc_kick(struct pc *pc);
/* (value << 1) | 1, as QEMU's device makes of what was written. */
int pc_exit_code(const struct pc *pc);
const char *pc_error(const struct pc *pc);

uint64_t pc_instructions(const struct pc *pc); /* retired since creation */
uint64_t pc_cycles(const struct pc *pc);       /* time: cycles, of 1 GHz, since creation */

/*
 * The performance counters' interrupt. Delivered as LVTPC says; on an Intel machine the entry then
 * masks itself. False: the entry is masked, nothing was delivered.
 */
bool pc_pmi(struct pc *pc);
/* The guest's LVTPC. */
uint32_t pc_lvtpc(const struct pc *pc);
/* IA32_MISC_ENABLE as the guest wrote it; what it says about counters is the PMU's side. */
uint64_t pc_misc_enable(const struct pc *pc);

/* Guest physical memory, or NULL when any of it is not RAM. */
void *pc_ram(struct pc *pc, uint64_t address, uint64_t size);

#endif
