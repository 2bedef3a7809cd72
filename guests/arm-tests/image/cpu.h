/* SPDX-License-Identifier: MIT */
/* The bare-metal image: one struct per CPU, exceptions, and the parts of the board it uses. */
#ifndef VPMU_ARM_TESTS_CPU_H
#define VPMU_ARM_TESTS_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "seam.h"

#define CPU_MAX 4u
#define CPU_STACK 16384u

#define INTID_PMU 23u

#define sysreg_read(name) __extension__({ \
	uint64_t value_; \
	__asm__ volatile("mrs %0, " name : "=r"(value_) : : "memory"); \
	value_; \
})
#define sysreg_write(name, value) do { \
	__asm__ volatile("msr " name ", %0\n\tisb" : : "r"((uint64_t)(value)) : "memory"); \
} while (0)

struct frame {
	uint64_t x[31];
	uint64_t elr, spsr, unused;
};

/* Exceptions that a probing access may cause: recorded, and the instruction is skipped. */
struct trap {
	bool expected;
	unsigned taken;		/* exceptions since trap_expect() */
	unsigned el;		/* level that took the last one */
	uint64_t esr;
};

struct cpu {
	uint64_t stack_end;	/* head.S needs it first */
	struct trap trap;
	uint64_t guard;		/* slot of call_guarded() for the running test, 0 = none */
	unsigned guard_el;
	uint64_t below[3];	/* slots of call_el0() [1] and call_el1() [2] */
	unsigned index;
	uint64_t gicr;		/* this CPU's redistributor, RD frame */
	void (*handler)(void *context);
	void *context;
	volatile unsigned irq_count, foreign_count;
	void (*volatile job)(void *argument);
	void *volatile job_argument;
	volatile unsigned jobs_done;
	volatile bool online;
};

extern struct cpu cpus[CPU_MAX];

struct cpu *cpu_self(void);
void cpu_enter(struct cpu *cpu);	/* first thing on each CPU, at whatever EL it starts */
void cpu_el2_defaults(void);
void cpu_el2_interrupts(void);
unsigned cpu_el(void);

/* exception.c */
void exception(struct frame *f, unsigned kind, unsigned el);
void trap_expect(void);
const struct trap *trap_end(void);
enum pmu_end trap_kind(const struct trap *trap);

/* vectors.S, thunks.S */
extern char vectors_el1[], vectors_el2[], read_thunks[], write_thunks[];
uint64_t spin(uint64_t instructions);
uint64_t call_guarded(uint64_t *slot, void (*fn)(void *), void *argument);
_Noreturn void resume(uint64_t slot, uint64_t value);
uint64_t call_el0(uint64_t *slot, void *fn, uint64_t argument);
uint64_t call_el1(uint64_t *slot, void *fn, uint64_t argument, uint64_t sp);
_Noreturn void drop_to_el1(void (*fn)(void), uint64_t sp_el2);
uint64_t smc_call(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3);
uint64_t hvc_call(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3);
void secondary_start(void);
void secondary_main(struct cpu *cpu);

/* console.c: PL011 */
void put_string(const char *s);
void put_decimal(uint64_t value);
void put_hex(uint64_t value);

/* gic.c: GICv3, PPIs only */
void gic_start(struct cpu *cpu);
void gic_enable(unsigned intid);
void gic_disable(unsigned intid);
bool gic_pending(unsigned intid);
uint32_t gic_acknowledge(void);
void gic_end(uint32_t intid);
void irq_unmask(void);
void irq_mask(void);

/* psci.c */
void psci_setup(const char *method);
bool psci_is_smc(void);
uint64_t psci_call(uint32_t fid, uint64_t a1, uint64_t a2, uint64_t a3);
_Noreturn void psci_off(void);

#define PSCI_VERSION 0x84000000u
#define PSCI_CPU_OFF 0x84000002u
#define PSCI_CPU_ON 0xc4000003u
#define PSCI_AFFINITY_INFO 0xc4000004u
#define PSCI_SYSTEM_OFF 0x84000008u

/* A monitor's debug call: spin x1 iterations at EL2. */
#define SPIN_AT_EL2 0xc6000001u

/* fdt.c */
const char *fdt_string(const void *fdt, const char *node, const char *property);

/* options.c: the words of /chosen/bootargs */
void options_set(const char *bootargs);
bool option(const char *name);
uint64_t option_number(const char *name, uint64_t otherwise);
bool option_lists(const char *name, const char *item, bool prefix);

#endif
