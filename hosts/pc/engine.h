/* SPDX-License-Identifier: MIT */
/*
 * Between the PC and what executes guest code. An engine runs instructions and has the registers;
 * what it does not deliver itself, exceptions and interrupts, it hands to the PC, which changes
 * the registers by get() and set().
 */
#ifndef VPMU_PC_ENGINE_H
#define VPMU_PC_ENGINE_H

#include "pc.h"

/* attributes: the second word of the descriptor, without base and limit (SDM Vol. 3A 3.4.5). */
struct pc_segment {
	uint16_t selector;
	uint32_t limit, attributes;
	uint64_t base;
};

#define PC_SEG_CODE    0x00000800u
#define PC_SEG_SYSTEM  0x00001000u /* S: set for code and data */
#define PC_SEG_PRESENT 0x00008000u
#define PC_SEG_LONG    0x00200000u
#define PC_SEG_BIG     0x00400000u
#define PC_SEG_DPL(a)  ((a) >> 13 & 3)

/* The registers that a change of context involves. The stack segment's DPL is the CPL. */
struct pc_state {
	uint64_t rip, rsp, rflags;
	uint64_t cr0, cr2, cr3, cr4, efer;
	struct pc_segment cs, ss, ldt, tr, gdt, idt;
};

#define PC_RFLAGS_TF   0x100u
#define PC_RFLAGS_IF   0x200u
#define PC_RFLAGS_IOPL 0x3000u
#define PC_RFLAGS_NT   0x4000u
#define PC_RFLAGS_RF   0x10000u
#define PC_RFLAGS_VM   0x20000u
#define PC_RFLAGS_AC   0x40000u

#define PC_CR0_PE 0x1u
#define PC_CR0_WP 0x10000u
#define PC_CR0_PG 0x80000000u
#define PC_CR4_PSE  0x10u
#define PC_CR4_PAE  0x20u
#define PC_CR4_PCE  0x100u
#define PC_CR4_LA57 0x1000u
#define PC_CR4_SMEP 0x100000u
#define PC_CR4_SMAP 0x200000u
#define PC_EFER_SCE 0x1u
#define PC_EFER_LME 0x100u
#define PC_EFER_LMA 0x400u
#define PC_EFER_NXE 0x800u

static inline unsigned int pc_cpl(const struct pc_state *s)
{
	return PC_SEG_DPL(s->ss.attributes);
}

/* ---- An exception or interrupt to deliver ---- */

enum pc_event_kind {
	PC_EVENT_NONE,
	PC_EVENT_EXCEPTION, /* a fault or trap of the CPU */
	PC_EVENT_SOFTWARE,  /* INT n, INT3, INTO: the gate's DPL is checked; RIP is behind it */
	PC_EVENT_EXTERNAL,
	PC_EVENT_NMI,
};

struct pc_event {
	enum pc_event_kind kind;
	uint8_t vector;
	uint16_t error; /* where the vector has one */
	uint64_t cr2;   /* of a page fault */
	bool fault;     /* of #DB: a fault, which sets RFLAGS.RF; else a trap */
	uint8_t length; /* of a software interrupt's instruction: a fault in it points back */
};

enum { PC_DE = 0, PC_DB = 1, PC_NMI = 2, PC_BP = 3, PC_UD = 6, PC_NM = 7, PC_DF = 8, PC_TS = 10,
	PC_NP = 11, PC_SS = 12, PC_GP = 13, PC_PF = 14, PC_AC = 17 };

/* Changes `s` and the guest's stack. False: triple fault; `s` is then as it was. */
bool pc_deliver(struct pc *pc, struct pc_state *s, struct pc_event event);

/* ---- Address translation ---- */

enum { PC_ACCESS_WRITE = 1, PC_ACCESS_USER = 2, PC_ACCESS_FETCH = 4,
	PC_ACCESS_QUIET = 8, /* leaves accessed and dirty bits alone */
	PC_ACCESS_IMPLICIT = 16 /* tables, task state: RFLAGS.AC does not lift SMAP */ };

struct pc_translation {
	uint64_t address;
	uint32_t rights; /* PC_PAGE_... */
};

enum { PC_PAGE_WRITE = 1, PC_PAGE_USER = 2, PC_PAGE_NX = 4 };

/* True, or false with a page fault's error code in *error. */
bool pc_translate(struct pc *pc, const struct pc_state *s, uint64_t address, unsigned int access,
	struct pc_translation *out, uint16_t *error);
/* Linear memory, byte by byte across pages. False: *fault is what the CPU raises. */
bool pc_read_linear(struct pc *pc, const struct pc_state *s, uint64_t address, unsigned int access,
	void *buffer, size_t size, struct pc_event *fault);
bool pc_write_linear(struct pc *pc, const struct pc_state *s, uint64_t address,
	unsigned int access, const void *buffer, size_t size, struct pc_event *fault);

/* ---- What an engine asks the PC ---- */

enum pc_answer pc_rdmsr(struct pc *pc, uint32_t index, uint64_t *value);
enum pc_answer pc_wrmsr(struct pc *pc, uint32_t index, uint64_t value);
enum pc_answer pc_rdpmc(struct pc *pc, uint32_t index, unsigned int cpl, bool pce, uint64_t *value);
void pc_cpuid(struct pc *pc, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
uint32_t pc_port_read(struct pc *pc, uint16_t port, unsigned int size);
void pc_port_write(struct pc *pc, uint16_t port, unsigned int size, uint32_t value);
/* The level of COM1's interrupt line. */
bool pc_serial_interrupt(const struct pc *pc);
uint64_t pc_mmio_read(struct pc *pc, uint64_t address, unsigned int size);
void pc_mmio_write(struct pc *pc, uint64_t address, unsigned int size, uint64_t value);
uint64_t pc_tsc(const struct pc *pc);
uint64_t pc_tsc_aux(const struct pc *pc);
uint64_t pc_cr8(const struct pc *pc);
enum pc_answer pc_set_cr8(struct pc *pc, uint64_t value);

/* See struct pc_cpu_ops; exit() with true is followed by pc_emulated() or not, then pc_enter(). */
bool pc_exit(struct pc *pc, enum pc_exit why, uint32_t index);
void pc_emulated(struct pc *pc, bool user, const struct pc_events *events);
void pc_enter(struct pc *pc);
struct pc_horizon pc_retired(struct pc *pc, bool user, const struct pc_events *events);

/* RAM as a file: an engine may map it at several places. */
int pc_ram_file(const struct pc *pc);
uint64_t pc_ram_size(const struct pc *pc);

/* Something could be delivered if the CPU's flags allow it. */
bool pc_attention(const struct pc *pc);
/* It can, with these flags; shadow: the instruction before was STI, MOV SS or POP SS. */
bool pc_interruptible(const struct pc *pc, uint64_t rflags, bool shadow);
/* IRET has begun: NMIs are open again. */
void pc_iret(struct pc *pc);
/* The guest has asked for the end, or pc_kick(): run() returns PC_STOP_ATTENTION. */
bool pc_stopping(const struct pc *pc);

/* SYSCALL and its kin: false with #UD or #GP in *fault. */
bool pc_syscall(struct pc *pc, struct pc_state *s, uint64_t next, uint64_t *rcx, uint64_t *r11,
	struct pc_event *fault);
bool pc_sysret(struct pc *pc, struct pc_state *s, bool wide, uint64_t rcx, uint64_t r11,
	struct pc_event *fault);

/* ---- The engine ---- */

enum pc_stop {
	PC_STOP_ATTENTION, /* at a boundary where the PC can deliver, or pc_stopping() */
	PC_STOP_EVENT,     /* engine->event is to be delivered */
	PC_STOP_HALT,      /* HLT has retired */
	PC_STOP_LIMIT,
	PC_STOP_BROKEN,    /* engine->error */
};

struct pc_engine_ops {
	size_t size;
	enum pc_stop (*run)(struct pc_engine *engine);
	void (*get)(struct pc_engine *engine, struct pc_state *state);
	void (*set)(struct pc_engine *engine, const struct pc_state *state);
	/* Registers that only an engine has: FS, GS and kernel GS base, EFER. */
	enum pc_answer (*rdmsr)(struct pc_engine *engine, uint32_t index, uint64_t *value);
	enum pc_answer (*wrmsr)(struct pc_engine *engine, uint32_t index, uint64_t value);
	/* Entry: general registers for the boot protocols, everything else zero. */
	void (*start)(struct pc_engine *engine, const struct pc_state *state, uint32_t eax,
		uint32_t ebx);
	void (*destroy)(struct pc_engine *engine);
};

struct pc_engine {
	const struct pc_engine_ops *ops;
	struct pc *pc;
	struct pc_event event;
	bool shadow;    /* the instruction that retired last holds interrupts off for one more */
	uint64_t left;  /* instructions until PC_STOP_LIMIT */
	const char *error;
};

#endif
