/* SPDX-License-Identifier: MIT */
/*
 * tenant.h - several guests on one machine: what the files of this mode know of each other.
 *
 * Without a "vm" word among the options there is one guest, which has the machine to itself, and
 * nothing of this is used. With them each guest is a struct vm, and its CPUs are struct vcpu that
 * take turns on the physical CPUs (sched.c). All guests have an interrupt controller (tgic.c) and a
 * console (vuart.c) in software. The first has the machine's devices, memory 1:1 and the bus
 * masters (RULES F2); the others have memory, a timer, a PMU and a console.
 *
 * Locks: sched.c's, then a VM's, then the console's.
 */
#ifndef VPMU_EL2_TENANT_H
#define VPMU_EL2_TENANT_H

#include <vpmu/arm_attributes.h>

#include "monitor.h"

/* ---- Registers of a guest CPU that is not loaded (context.c) ---- */

/* Registers that every CPU has: saved and restored as they are. */
#define CONTEXT_REGISTERS(X) \
	X(sp_el0) X(sp_el1) X(elr_el1) X(spsr_el1) \
	X(sctlr_el1) X(cpacr_el1) X(ttbr0_el1) X(ttbr1_el1) X(tcr_el1) X(mair_el1) X(amair_el1) \
	X(esr_el1) X(far_el1) X(afsr0_el1) X(afsr1_el1) X(par_el1) X(vbar_el1) X(contextidr_el1) \
	X(tpidr_el0) X(tpidrro_el0) X(tpidr_el1) X(csselr_el1) X(mdscr_el1) X(mdccint_el1) \
	X(cntkctl_el1)

#define BREAKPOINT_MAX 16u

struct context {
#define MEMBER(name) uint64_t name;
	CONTEXT_REGISTERS(MEMBER)
#undef MEMBER
	uint64_t elr_el2, spsr_el2;
	uint64_t cntv_ctl, cntv_cval;
	uint64_t cntp_ctl, cntp_cval;
	uint64_t keys[10];           /* pointer authentication */
	uint64_t scxtnum[2];
	uint64_t vdisr, vsesr;
	uint64_t os_lock;
	uint64_t breakpoint[BREAKPOINT_MAX][2], watchpoint[BREAKPOINT_MAX][2];
	bool serror;                 /* HCR_EL2.VSE */
	struct fp {
		uint64_t v[64];
		uint64_t fpcr, fpsr;
	} fp __attribute__((aligned(16)));
	/* The virtual CPU interface, but for the list registers, which tgic.c fills. */
	uint64_t vmcr, ap0r[4], ap1r[4];
};

void context_reset(struct context *x, uint64_t entry);
void context_save(struct context *x);
void context_load(const struct context *x);
/* fp.S */
void fp_save(struct fp *fp);
void fp_load(const struct fp *fp);
/* vectors.S */
_Noreturn void vcpu_resume(const struct regs *regs, uint64_t stack_top);
extern const char tenant_vectors[], tenant_profile_vectors[];

/* ---- Virtual interrupts (tgic.c) ---- */

struct virq {
	bool enabled;
	bool group1;
	bool edge;
	bool pending;                /* latched: an edge, a write, or the hardware's */
	bool line;                   /* level of an emulated device */
	bool active;
	bool held;                   /* the hardware's interrupt of this number is active for us */
	bool from_latch;             /* what is pending in a list register came from (pending) */
	uint8_t priority;
	uint8_t target;              /* SPIs: which vCPU */
	uint8_t holder;              /* SPIs: for which vCPU it was active last */
};

/* ---- Console (vuart.c) ---- */

#define LINE_MAX 200u

struct vuart {
	uint32_t ris, imsc, cr, lcr, ibrd, fbrd, ifls;
	uint32_t length;
	char line[LINE_MAX];
};

/* ---- Guests ---- */

enum vcpu_power { VCPU_OFF, VCPU_READY, VCPU_RUNNING };

struct vcpu {
	struct vm *vm;
	uint32_t index;
	uint32_t power;              /* enum vcpu_power; sched.c's lock */
	uint32_t turn;               /* when it last had one */
	struct cpu *on;              /* while it runs */
	struct cpu *last;            /* where it ran before */
	bool waits;                  /* in WFI */
	uint64_t slices, migrations, waited, refusals;
	uint32_t refused;            /* by these CPUs, bits: they have no PMU of its kind */

	struct regs regs;
	struct context context;
	struct virq irq[32];
	uint32_t queue[32];          /* INTIDs to look at before it is entered */
	uint32_t queued;             /* which words of queue are not 0 */
	bool sleeping;               /* GICR_WAKER.ProcessorSleep */

	bool has_pmu;
	struct vpmu_arm_vcpu_attributes pmu_attributes;
	uint64_t pmu_late;           /* interrupts that no overflow of it explained */
	struct vpmu_vcpu pmu;
	struct pmu_backing pmu_backing;
};

struct vm {
	uint32_t index;
	const struct vm_options *options;
	uint32_t cpu_count;
	struct vcpu vcpu[VCPU_MAX];
	struct range ram;            /* physical; empty: the first guest, 1:1 */
	uint64_t offset;             /* physical address less the guest's */
	uint64_t vttbr;
	uint64_t start;              /* of its virtual counter */
	bool ended;
	struct vcpu *last_on[CPU_MAX];   /* whose translations a CPU may hold */

	struct spinlock lock;        /* of what follows, and of its vCPUs' interrupts */
	uint32_t gicd_ctlr;
	uint32_t irq_words;          /* INTIDs in units of 32 */
	struct virq spi[INTID_COUNT];    /* [32..] */
	struct vuart uart;

	struct vpmu_vm pmu;
	struct vpmu_arm_attributes pmu_attributes;
	struct vpmu_arm_model pmu_model;
};

extern struct vm vms[VM_MAX];
extern uint32_t vm_count;            /* 0: one guest, without all this */

/* ---- Start (tenant.c) ---- */

/*
 * Memory, translation, images and trees of all guests; complains and powers off if they do not fit.
 */
void tenants_prepare(void);
_Noreturn void tenants_start(struct cpu *c);
/* A CPU arrives from the firmware. */
_Noreturn void tenant_cpu_start(struct cpu *c);
/* tree.c: the device tree of a guest that is not the first. */
void tenant_tree(struct vm *vm, void *at, uint64_t size, struct range initrd, const char *bootargs);

/* ---- Turns (sched.c) ---- */

void sched_init(struct cpu *c);
/* Nothing is loaded: runs whose turn it is, now or when there is one. */
_Noreturn void sched_run(struct cpu *c);
/* Its turn is over if another waits. */
void sched_slice_ended(struct cpu *c);
/* The loaded vCPU has nothing to do until an interrupt comes. */
void sched_wait(struct cpu *c);
bool sched_vcpu_on(struct vcpu *v, uint64_t entry, uint64_t context);
void sched_vcpu_off(struct cpu *c);
bool sched_is_off(struct vcpu *v);
/* The guest has ended; so does the machine, if all that count have. */
void sched_vm_off(struct cpu *c);
/* An interrupt became due for (v), perhaps on another CPU. */
void sched_notify(struct vcpu *v);
/* Back into the guest, or another. Returns only if it is the same. */
void sched_leave(struct cpu *c, struct regs *r);

/* ---- Traps in this mode (tenant_trap.c) ---- */

/* One that was acknowledged; a guest may be loaded or not. */
void tenant_interrupt(struct cpu *c, uint32_t intid);
void tenant_sync(struct regs *r);
void tenant_irq(struct regs *r);
void tenant_fiq(struct regs *r);
void tenant_serror(struct regs *r);

/* ---- Interrupts ---- */

void tgic_vm_init(struct vm *vm);
void tgic_vcpu_reset(struct vcpu *v);
bool tgic_access(struct cpu *c, struct mmio *m);
void tgic_send_sgi(struct vcpu *from, uint64_t value, bool group1);
/* The hardware's interrupt came and has been ended, not deactivated. */
void tgic_hardware(struct cpu *c, uint32_t intid);
/* Level of the emulated console's interrupt. The VM's lock is held. */
void tgic_set_line(struct vm *vm, uint32_t intid, bool line);
/* The same of a PPI in software; the lock is not held. */
void tgic_set_private_line(struct vcpu *v, uint32_t intid, bool line);
/* List registers to and from the state in memory. */
void tgic_sync(struct cpu *c);
void tgic_flush(struct cpu *c);
/* Of the vCPU that is loaded here: private interrupts of the hardware that it holds. */
void tgic_load(struct cpu *c);
void tgic_put(struct cpu *c);
bool tgic_has_pending(struct vcpu *v);
/* Would a PPI of that number be delivered? */
bool tgic_takes(const struct vcpu *v, uint32_t intid);

bool vuart_access(struct vm *vm, struct mmio *m);
/* What is left of a line, at the guest's end. */
void vuart_end(struct vm *vm);

/* ---- PMU (tenant_pmu.c) ---- */

void tenant_pmu_init(void);
void tenant_pmu_cpu_init(struct cpu *c);
void tenant_pmu_reset(struct vcpu *v);
void tenant_pmu_load(struct cpu *c, struct vcpu *v);
void tenant_pmu_put(struct cpu *c, struct vcpu *v);
/* Before interrupts are handed to the vCPU that is loaded. */
void tenant_pmu_line(struct cpu *c);
/* Is an overflow interrupt due? The vCPU does not run. */
bool tenant_pmu_due(struct vcpu *v);

/* ---- Kinds of PMU (hetero.c) ---- */

/* What the options say of (machine)'s CPUs; complains and powers off. */
void hetero_init(struct vpmu_machine *machine);
/* This CPU has what its kind has, from now on. */
void hetero_cpu_init(struct cpu *c);
/* A guest's PMU, as a VMM describes it; complains and powers off. returns: the CPUs that it is for. */
struct vpmu_machine *hetero_vm_init(struct vm *vm);
/* The vCPU is about to run on this CPU. returns: whether it may; if not, it says so. */
bool hetero_may_run(struct vcpu *v, const struct cpu *c);

void tenant_stats(void);

#endif
