/* SPDX-License-Identifier: MIT */
/*
 * monitor.h - what the files of the EL2 monitor know of each other.
 *
 * One guest; vCPU i runs on physical CPU i and nowhere else. (Several, that take turns: tenant.h.)
 * Everything at EL2 runs with interrupts masked and to completion. Objects are static: nothing is
 * allocated, no guest memory is mapped once the guest runs. Context of every function unless it says
 * otherwise: EL2, on the CPU it is about.
 */
#ifndef VPMU_EL2_MONITOR_H
#define VPMU_EL2_MONITOR_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch.h"
#include "layout.h"
#include "pmu.h"

#define unlikely(x) __builtin_expect(!!(x), 0)
#define likely(x) __builtin_expect(!!(x), 1)

/* A half-open range of physical addresses; empty if start == end. */
struct range {
	uint64_t start;
	uint64_t end;
};

static inline bool range_contains(struct range r, uint64_t address)
{
	return address - r.start < r.end - r.start;
}

static inline bool range_covers(struct range r, struct range inner)
{
	return inner.start >= r.start && inner.end <= r.end && inner.start <= inner.end;
}

static inline bool range_overlaps(struct range a, struct range b)
{
	return a.start < b.end && b.start < a.end;
}

/* ---- Locks: between CPUs; short; never taken twice ---- */

struct spinlock {
	atomic_flag held;
};

static inline void spin_lock(struct spinlock *lock)
{
	while (atomic_flag_test_and_set_explicit(&lock->held, memory_order_acquire))
		__asm__ volatile("yield");
}

static inline void spin_unlock(struct spinlock *lock)
{
	atomic_flag_clear_explicit(&lock->held, memory_order_release);
}

/* ---- The machine, as its device tree describes it (machine.c) ---- */

#define RAM_MAX 8u
#define WINDOW_MAX 16u
#define GICR_REGION_MAX 8u
#define ITS_MAX 4u
#define VM_MAX 4u
#define VCPU_MAX 4u                  /* of one guest among several */
#define MODULE_MAX (2 * VM_MAX)

/* A file for a guest. */
struct module {
	struct range range;
	bool kernel;
	const char *bootargs;        /* NULL if absent */
};

struct machine {
	const void *fdt;
	struct range image;          /* the monitor itself */
	struct range uart;
	uint32_t uart_intid;         /* 0: unknown */
	struct range ram[RAM_MAX];
	unsigned int ram_count;
	struct range window[WINDOW_MAX]; /* device space above the lowest RAM */
	unsigned int window_count;
	struct range gicd;
	struct range gicr[GICR_REGION_MAX];
	unsigned int gicr_count;
	uint64_t gicr_stride;        /* 0: as GICR_TYPER says */
	struct range its[ITS_MAX];
	unsigned int its_count;
	unsigned int cpu_count;
	uint64_t mpidr[CPU_MAX];
	struct range kernel;         /* the guest's modules; empty if absent */
	struct range initrd;
	const char *guest_bootargs;  /* NULL if absent */
	struct module module[MODULE_MAX];
	unsigned int module_count;
	bool psci_hvc;               /* the firmware's conduit; matters only where we are not at EL2 */
};

extern struct machine machine;

/*
 * Finds the console, so that everything later can complain. Then the rest; complains and powers
 * off.
 */
void machine_find_console(const void *fdt);
void machine_parse(const void *fdt);
/* Is the range all in one piece of RAM, and free of the monitor? */
bool machine_is_guest_ram(struct range r);
/* returns: the module at (address), or NULL. */
const struct module *machine_module(uint64_t address, bool kernel);
/* Takes (size) bytes, a multiple of BLOCK_SIZE, off the end of the RAM; complains and powers off. */
struct range machine_take_ram(uint64_t size);
/* returns: index of the CPU with this affinity, or -1. */
int machine_cpu_index(uint64_t affinity);

/*
 * MDCR_EL2 without the PMU's bits: SPE and the trace filter trap, SPE's and TRBE's buffers are
 * EL2's. Debug is the guest's.
 */
#define MDCR_BASE (BIT(14) | BIT(19))
/* TPM, TPMCR: for a guest without a PMU. */
#define MDCR_NO_PMU (BIT(6) | BIT(5))

/* ---- Options from the machine's /chosen/bootargs (options.c) ---- */

#define POLICY_RANGES 64u

enum pmu_mode { PMU_MEDIATED, PMU_PARTITIONED, PMU_EMULATED, PMU_PASSTHROUGH, PMU_OFF };

#define PMU_NAME_SIZE 16u            /* with the zero at its end */

/* One guest. Without a "vm" word there is one, and of this only the PMU's part is used. */
struct vm_options {
	uint64_t kernel, initrd;     /* addresses of its modules; 0: none */
	uint64_t memory;             /* bytes; the first guest has what is left */
	uint32_t cpus;
	uint32_t on;                 /* CPUs that it may run on, bits */
	bool awaited;                /* the machine goes on until it has ended */
	/* Its PMU. */
	char pmu[PMU_NAME_SIZE];     /* its kind; empty: by default */
	enum pmu_mode mode;
	uint32_t counters;           /* 0: not said */
	uint32_t version;            /* enum vpmu_arm_version; 0: the machine's */
	bool eager;
	bool policy_given;
	bool policy_allow;
	unsigned int policy_count;
	struct vpmu_event_range policy[POLICY_RANGES];
};

/* The host's own profiling (profile.c); bits: which sides. */
enum profile_sides { PROFILE_HOST = 1, PROFILE_GUESTS = 2 };

#define PROFILE_KEY_MAX 32u

struct options {
	bool stats;
	uint32_t profile;            /* enum profile_sides; 0: none */
	uint64_t profile_period;     /* 0: counts alone */
	bool profile_instructions;   /* what the period is of; else cycles */
	char profile_key[PROFILE_KEY_MAX + 1];
	const char *profile_key_at;  /* in the device tree */
	unsigned int vm_count;       /* "vm" words */
	struct vm_options vm[VM_MAX];
};

extern struct options options;

/* returns: NULL, or what is wrong; then *(word) is the offending word and *(length) its length. */
const char *options_parse(const char *words, const char **word, size_t *length);

/* Reads a number of at most (max) at *(s). returns: false: there is none, or it is too large. */
bool parse_number(const char **s, const char *end, uint64_t max, uint64_t *out);
/* Calls add(FIRST, LAST) for each entry of a list. returns: NULL, or what is wrong. */
const char *parse_list(void *to, const char *s, const char *end, uint64_t max,
		       const char *(*add)(void *to, uint32_t a, uint32_t b));

/* Words about kinds of PMU (hetero.c), up to (end). returns: NULL, or what is wrong. */
const char *hetero_describe(const char *s, const char *end);
const char *hetero_choice(struct vm_options *vm, const char *s, const char *end);
bool hetero_is_described(void);

/* ---- Console (console.c) ---- */

void console_init(uint64_t pl011);
/*
 * One line; a newline is added by the format. Conversions: %s %c %u %d %x %lu %lx %llx %% and %.*s.
 */
void console_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void console_vprintf(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
/* Prints the reason and switches the machine off. */
_Noreturn void machine_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* At the end of everything, when another CPU may hold the console for good. */
void console_break_lock(void);

/* ---- Translation (mmu.c) ---- */

enum map_kind {
	/* stage 1 of EL2 */
	MAP_TEXT, MAP_RODATA, MAP_DATA, MAP_DEVICE,
	/* stage 2 */
	MAP_GUEST_RAM, MAP_GUEST_DEVICE,
	MAP_KIND_COUNT,
};

/*
 * Stage 1 for the start: the monitor and a window around the device tree. With the MMU off, so that
 * it may not rely on unaligned access. returns: the root.
 */
uint64_t mmu_boot_tables(const void *fdt, bool el1);
/*
 * Adds all RAM and the devices to the start's stage 1; makes the running one, which has no guest
 * RAM.
 */
void mmu_map_machine(void);
void mmu_map_console(void);
void mmu_enter_run_tables(void);
uint64_t mmu_run_root(void);
/* Stage 2: 1:1, all RAM but the monitor's, all devices but the interrupt controller. */
void stage2_build(void);
void stage2_cpu_init(void);
/* Another guest's: RAM alone. (ram) in its addresses, which are the physical ones less (offset). */
void stage2_build_ram(unsigned int vm, struct range ram, uint64_t offset);
/* VTTBR_EL2 of guest (vm): its tables and its VMID. */
uint64_t stage2_vttbr(unsigned int vm);
unsigned int stage2_ipa_bits(void);

/* ---- One CPU: physical CPU and vCPU ---- */

enum exit_cause {
	EXIT_IRQ,
	EXIT_MAINTENANCE,
	EXIT_PMI,
	EXIT_SGI,
	EXIT_PMU,
	EXIT_ID,
	EXIT_SYSREG,
	EXIT_GICD,
	EXIT_GICR,
	EXIT_PSCI,
	EXIT_ABORT,
	EXIT_UNDEF,
	EXIT_SERROR,
	EXIT_WFI,
	EXIT_TIMER,
	EXIT_KICK,
	EXIT_UART,
	EXIT_CAUSE_COUNT,
};

enum cpu_power {
	CPU_OFF,
	CPU_ON_PENDING,
	CPU_ON,
};

/* What injecting an interrupt needs, per INTID; guests program it, the fast path only reads it. */
struct irq_desc {
	uint16_t lr;                 /* ICH_LR<n>_EL2[63:48], state pending; 0: not forwarded as is */
	uint8_t owner;               /* CPU that last put it into a list register */
	uint8_t priority;            /* as the guest wrote it */
};

struct cpu {
	uint64_t stack_top;          /* vectors.S: CPU_STACK_TOP */
	uint64_t emergency_top;      /* vectors.S: CPU_EMERGENCY_TOP */
	uint32_t index;
	_Atomic uint32_t power;      /* enum cpu_power */
	uint64_t mpidr;
	uint64_t entry;              /* where the guest starts on this CPU */
	uint64_t context;            /* and its x0 */

	/* gic.c, vgic.c */
	uintptr_t gicr;              /* RD_base */
	struct irq_desc irq[32];     /* SGIs and PPIs */
	uint32_t lr_count;
	uint32_t overflow_count;     /* interrupts that found no list register */
	uint32_t overflow[32];       /* which */
	uint32_t group1;             /* guest's GICR_IGROUPR0 */
	bool sleeping;               /* guest's GICR_WAKER.ProcessorSleep */
	bool pmi_enabled;            /* guest's enable of PPI 23 */
	bool pmi_held;               /* taken while disabled: stays active in the hardware */
	bool pmi_line;               /* emulated PMU: its level */
	atomic_bool stopped;         /* obeyed machine_stop */

	struct pmu pmu;
	uint64_t exits[EXIT_CAUSE_COUNT];
	uint32_t cause;              /* of them, the last one's */

	struct profile *profile;     /* NULL: the host does not profile */
	bool interruptible;          /* so that ELR_EL2 and SPSR_EL2 are not the guest's, but these: */
	uint64_t guest_elr, guest_spsr;

	/* Several guests (tenant.h); else NULL, false, 0. */
	struct vcpu *vcpu;           /* loaded */
	atomic_bool idle;            /* looks for work, or has found none */
	bool turn_over;
	uint32_t lr_live;            /* list registers that were filled */
	bool lr_more;                /* and more waits: ICH_HCR_EL2.UIE is set */
	uint64_t lr_image[16];       /* with what */
};

extern struct cpu cpus[CPU_MAX];

static inline struct cpu *this_cpu(void)
{
	return (struct cpu *)read_sysreg(tpidr_el2);
}

static inline void count_exit(struct cpu *c, enum exit_cause cause)
{
	c->exits[cause]++;
	c->cause = cause;
}

/* Where the guest goes on, and its PSTATE. */
static inline uint64_t guest_elr(const struct cpu *c)
{
	return unlikely(c->interruptible) ? c->guest_elr : read_sysreg(elr_el2);
}

static inline uint64_t guest_spsr(const struct cpu *c)
{
	return unlikely(c->interruptible) ? c->guest_spsr : read_sysreg(spsr_el2);
}

static inline void guest_resume_at(struct cpu *c, uint64_t elr, uint64_t spsr)
{
	if (unlikely(c->interruptible)) {
		c->guest_elr = elr;
		c->guest_spsr = spsr;
		return;
	}
	write_sysreg(elr_el2, elr);
	write_sysreg(spsr_el2, spsr);
}

/* vectors.S: never return. */
_Noreturn void guest_start(uint64_t entry, uint64_t x0, uint64_t stack_top);
/* head.S: where the firmware starts a CPU that CPU_ON asks for, x0 = struct cpu. */
extern const char secondary_entry[];

/* The general registers of a trapped guest, saved by vectors.S. */
struct regs {
	uint64_t x[31];
	uint64_t sp;                 /* of the monitor; only meaningful in a crash dump */
};

/* Register 31 is XZR: reads 0, writes go nowhere. */
static inline uint64_t regs_get(const struct regs *r, unsigned int n)
{
	return n < 31 ? r->x[n] : 0;
}

static inline void regs_set(struct regs *r, unsigned int n, uint64_t value)
{
	if (n < 31)
		r->x[n] = value;
}

/* ---- Guest (guest.c) ---- */

struct guest {
	uint64_t entry;
	uint64_t fdt;
};

/* Places kernel, initrd and device tree; complains and powers off if they do not fit. */
struct guest guest_prepare(void);
/* The size in memory of the arm64 Image at (m), with what is not in the file; its place modulo 2 MiB. */
uint64_t guest_image_size(struct range m, uint64_t *offset);
/* What was written with caches on, a guest without them must see, and execute. */
void guest_image_placed(uint64_t at, uint64_t size);

/* ---- Physical interrupts and list registers (gic.c) ---- */

#define INTID_COUNT 1024u
#define PPI_MAINTENANCE 25u
#define PPI_HYP_TIMER 26u
#define PPI_PMU 23u
#define INTID_SPECIAL 1020u
/* PPIs that the guest has no physical access to: PMU, maintenance, EL2 timer. */
#define PPI_MONITOR (1u << PPI_PMU | 1u << PPI_MAINTENANCE | 1u << PPI_HYP_TIMER)

extern struct irq_desc spi[INTID_COUNT];  /* [32..]; the first 32 are in struct cpu */

void gic_init(void);
void gic_cpu_init(struct cpu *c);
/* The level of an emulated PMU's interrupt, before the guest is entered. */
void gic_pmi_line(struct cpu *c, bool level);
/* Several guests: each has its own switch (tgic.c). */
void gic_enable_distributor(void);
void gic_cpu_off(struct cpu *c);
/* Forwards the acknowledged interrupt. */
void gic_forward(struct cpu *c, uint32_t intid);
/*
 * Of INTIDs 32 * word .. + 31: those pending, active in this CPU's list registers or overflow list.
 */
struct lr_word { uint32_t pending, active; };
struct lr_word gic_lr_word(struct cpu *c, unsigned int word);
uint32_t gic_level_triggered(struct cpu *c, unsigned int word);
/*
 * Takes back what is only pending from the guest: (mask) of (word) leaves the list registers,
 * becomes inactive in the hardware and, with (again), pending there if it is edge-triggered.
 */
void gic_withdraw(struct cpu *c, unsigned int word, uint32_t mask, bool again);
/* Drops the active state of (mask) of (word) from this CPU's list registers. */
void gic_deactivate(struct cpu *c, unsigned int word, uint32_t mask);
bool gic_has_virtual_pending(struct cpu *c);
/* Lets every other CPU leave the guest for good, so that its counts can be read. */
void gic_stop_others(struct cpu *c);
struct irq_desc *gic_desc(struct cpu *c, uint32_t intid);

/* ---- The guest's GICD and GICR (vgic.c) ---- */

struct mmio {
	uint64_t address;
	uint64_t value;
	uint8_t size;                /* 1, 2, 4, 8 */
	bool write;
};

void vgic_init(void);
void vgic_cpu_init(struct cpu *c);
/* returns: false: not an address of the interrupt controller. */
bool vgic_access(struct cpu *c, struct mmio *m);

/* ---- Power (psci.c) ---- */

uint64_t firmware_call(uint64_t function, uint64_t a, uint64_t b, uint64_t c);
_Noreturn void machine_off(void);
_Noreturn void machine_reset(void);
/* One SMC or HVC of the guest. */
void psci_call(struct cpu *c, struct regs *r);
_Noreturn void cpu_start(struct cpu *c);
#define PSCI_SUCCESS           0
#define PSCI_NOT_SUPPORTED     (-1)
#define PSCI_INVALID_PARAMETERS (-2)
#define PSCI_DENIED            (-3)
#define PSCI_ALREADY_ON        (-4)
#define PSCI_ON_PENDING        (-5)
#define PSCI_INTERNAL_FAILURE  (-6)
#define PSCI_INVALID_ADDRESS   (-9)

#define AFFINITY_ON 0
#define AFFINITY_OFF 1
#define AFFINITY_ON_PENDING 2

/* Lets the firmware start CPU (c), which arrives at cpu_start(). returns: of PSCI. */
int64_t firmware_start_cpu(struct cpu *c);
/* What depends on who runs a guest's CPUs; returns: of PSCI. */
struct power_ops {
	int64_t (*suspend)(struct cpu *c);
	int64_t (*off)(struct cpu *c);
	int64_t (*on)(struct cpu *c, uint64_t target, uint64_t entry, uint64_t context);
	int64_t (*affinity)(struct cpu *c, uint64_t target, uint64_t level);
	void (*end)(struct cpu *c, uint32_t function);
};
/* Several guests (tenant_trap.c). */
extern const struct power_ops tenant_power;
/* SGI 0 came while it is the monitor's: saves what this CPU has and stops it. Else nothing. */
void cpu_stop_requested(struct cpu *c);
/* Everything a CPU needs before it enters the guest. */
void cpu_init(struct cpu *c);

/* ---- Traps (trap.c) ---- */

/* The guest's synchronous exception, by its syndrome. */
void trap_handle(struct cpu *c, struct regs *r);
void inject_undef(struct cpu *c);
void inject_sysreg_trap(struct cpu *c, uint64_t esr);
void inject_abort(struct cpu *c, uint64_t esr);
/* vectors.S calls these. */
void trap_sync(struct regs *r);
void trap_irq(void);
void trap_fiq(void);
void trap_serror(struct regs *r);
_Noreturn void trap_crash(struct regs *r, unsigned int vector);
void skip_instruction(struct cpu *c, enum skipped kind);
/* One line about what the guest did, if it is one of the first: bounded output. */
void guest_complaint(const char *what, uint64_t a, uint64_t b);

/* ---- ID registers (idregs.c) ---- */

/*
 * value of ID register op0=3 op1=0 CRn=0 CRm=(crm) op2=(op2), 1 <= crm <= 7, as the guest sees it.
 */
uint64_t guest_id_register(struct cpu *c, unsigned int crm, unsigned int op2);
/* idread.S: the machine's. */
uint64_t id_register(uint64_t index);

/* ---- Several guests (tenant.h), for those files that serve both ---- */

bool tenant_mmio(struct cpu *c, struct mmio *m);
void tenant_send_sgi(struct cpu *c, uint64_t value, bool group1);
void tenant_wfi(struct cpu *c);

/* ---- The host's own profiling (profile.c) ---- */

/* Physical priorities: of PPI 23 while EL2 is profiled, and the most urgent of all others. */
#define PRIORITY_PMU 0x00u
#define PRIORITY_OTHERS 0x20u

/* The key is not for guests. */
void profile_hide_key(void);
/* After the guests' PMUs were made; complains and powers off if they are in each other's way. */
void profile_init(void);
/* This CPU's PMU was initialised / will be used no more: between, events of the host count. */
void profile_cpu_init(struct cpu *c);
void profile_cpu_off(struct cpu *c);
/* The loaded vCPU is about to be put, and was. */
void profile_put(struct cpu *c);
void profile_was_put(struct cpu *c);
/* PPI 23 was for the host: its samples are taken. */
void profile_samples(struct cpu *c);
/* EL2 looks for work from now on; is about to wait for an interrupt; has waited. */
void profile_turn(struct cpu *c);
void profile_wait(struct cpu *c);
void profile_waited(struct cpu *c);
/* vectors.S: PPI 23, or so it should be, interrupted EL2. */
void profile_nmi(uint64_t pc, uint64_t fp, uint64_t lr);
/* At the very end, when all CPUs have stopped. */
void profile_print(void);

/* ---- Statistics (stats.c) ---- */

const char *stats_exit_name(unsigned int cause);
void stats_print_exits(unsigned int cpu);

void stats_print(void);

#endif
