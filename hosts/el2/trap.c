/* SPDX-License-Identifier: MIT */
/*
 * trap.c - exceptions from the guest. What is not known becomes an Undefined Instruction exception
 * or an external abort in the guest's EL1, with a line on the console for the first few; the guest
 * goes on.
 */
#include "monitor.h"

#define COMPLAINTS_MAX 16u

/* ISS of EC 0x18 (MSR, MRS), without Rt and direction: as VPMU_ARM_SYSREG() in vpmu/arm.h. */
#define ICC_ASGI1R_EL1 VPMU_ARM_SYSREG(3, 0, 12, 11, 6)
#define ICC_SGI0R_EL1  VPMU_ARM_SYSREG(3, 0, 12, 11, 7)
#define ICC_SGI1R_EL1  VPMU_ARM_SYSREG(3, 0, 12, 11, 5)
#define ACTLR_EL1      VPMU_ARM_SYSREG(3, 0, 1, 0, 1)

void guest_complaint(const char *what, uint64_t a, uint64_t b)
{
	static _Atomic uint32_t complaints;
	uint32_t n = atomic_load(&complaints);

	/* The count saturates, so that it cannot wrap around to printing again. */
	if (n > COMPLAINTS_MAX || (n = atomic_fetch_add(&complaints, 1)) > COMPLAINTS_MAX)
		return;
	if (n == COMPLAINTS_MAX)
		console_printf("vpmu: guest: no more of these lines\n");
	else
		console_printf("vpmu: guest: %s: %lx %lx (pc %lx)\n", what, a, b,
			       guest_elr(this_cpu()));
}

/* ---- Exceptions into the guest (DDI 0487 AArch64.TakeException) ---- */

static uint64_t vector_offset(uint64_t spsr)
{
	if (spsr & PSR_A32)
		return 0x600;
	switch (spsr & PSR_MODE_MASK) {
	case PSR_MODE_EL0T:
		return 0x400;
	case PSR_MODE_EL1T:
		return 0x000;
	default:
		return 0x200;
	}
}

/* PSTATE at the handler: flags and DIT kept; PAN and SSBS as SCTLR_EL1 and the features say. */
static uint64_t handler_pstate(uint64_t spsr)
{
	uint64_t sctlr = read_sysreg(sctlr_el1);
	uint64_t pstate = (spsr & (PSR_NZCV | PSR_DIT | PSR_PAN)) | PSR_DAIF | PSR_MODE_EL1H;

	if (!(sctlr & BIT(23)) && FIELD(read_sysreg(id_aa64mmfr1_el1), 20, 4))  /* SPAN, FEAT_PAN */
		pstate |= PSR_PAN;
	if ((sctlr & BIT(44)) && FIELD(id_register(8 * 3 + 1), 4, 4))  /* DSSBS, FEAT_SSBS */
		pstate |= PSR_SSBS;
	return pstate;
}

static void inject(struct cpu *c, uint64_t esr)
{
	uint64_t spsr = guest_spsr(c);

	write_sysreg(esr_el1, esr);
	write_sysreg(elr_el1, guest_elr(c));
	write_sysreg(spsr_el1, spsr);
	guest_resume_at(c, read_sysreg(vbar_el1) + vector_offset(spsr), handler_pstate(spsr));
}

void inject_undef(struct cpu *c)
{
	count_exit(c, EXIT_UNDEF);
	inject(c, (uint64_t)EC_UNKNOWN << 26 | ESR_IL);
}

void inject_sysreg_trap(struct cpu *c, uint64_t esr)
{
	inject(c, esr);
}

/*
 * A synchronous external abort, for an instruction fetch or a data access, at the address that
 * trapped.
 */
void inject_abort(struct cpu *c, uint64_t esr)
{
	bool instruction = ESR_EC(esr) == EC_IABT_LOW;
	uint64_t spsr = guest_spsr(c);
	bool from_el0 = (spsr & (PSR_A32 | PSR_MODE_MASK)) == PSR_MODE_EL0T || (spsr & PSR_A32);
	unsigned int ec = instruction ? EC_IABT_LOW : EC_DABT_LOW;

	write_sysreg(far_el1, read_sysreg(far_el2));
	inject(c, (uint64_t)(from_el0 ? ec : ec + 1) << 26 | ESR_IL | FSC_SYNC_EXTERNAL);
}

static void skip_counted(struct cpu *c)
{
	guest_resume_at(c, guest_elr(c) + 4, guest_spsr(c) & ~(PSR_SS | PSR_BTYPE));
}

void skip_instruction(struct cpu *c, enum skipped kind)
{
	pmu_skipped(c, kind);
	skip_counted(c);
}

/* ---- System registers ---- */

struct access {
	uint32_t reg;
	unsigned int rt;
	bool write;
};

/*
 * Group 0 SGIs have no counterpart in the hardware, where all is group 1; the list register knows.
 */
static void send_sgi(struct cpu *c, uint64_t value, bool group1)
{
	count_exit(c, EXIT_SGI);
	if (c->vcpu) {
		tenant_send_sgi(c, value, group1);
		return;
	}
	if (!group1 && (c->group1 & 1u << FIELD(value, 24, 4)))
		return;
	write_sysreg(icc_sgi1r_el1, value);
}

static bool emulate_sgi(struct cpu *c, struct regs *r, struct access a)
{
	if (!a.write)
		return false;
	send_sgi(c, regs_get(r, a.rt), a.reg == ICC_SGI1R_EL1);
	return true;
}

/* The ID group: op0 3, op1 0, CRn 0, CRm 1..7 (HCR_EL2.TID3). */
static bool is_id_register(uint32_t reg)
{
	unsigned int crm = (unsigned int)FIELD(reg, 1, 4);

	return (reg & VPMU_ARM_SYSREG(3, 7, 15, 0, 0)) == VPMU_ARM_SYSREG(3, 0, 0, 0, 0) &&
	       crm >= 1 && crm <= 7;
}

static bool emulate_id(struct cpu *c, struct regs *r, struct access a)
{
	if (a.write)
		return false;
	count_exit(c, EXIT_ID);
	regs_set(r, a.rt, guest_id_register(c, (unsigned int)FIELD(a.reg, 1, 4),
					    (unsigned int)FIELD(a.reg, 17, 3)));
	return true;
}

static bool emulate(struct cpu *c, struct regs *r, struct access a)
{
	if (is_id_register(a.reg))
		return emulate_id(c, r, a);
	switch (a.reg) {
	case ICC_SGI1R_EL1:
	case ICC_SGI0R_EL1:
	case ICC_ASGI1R_EL1:
		return emulate_sgi(c, r, a);
	case ACTLR_EL1:              /* no bit that a guest may set: RAZ/WI */
		if (!a.write)
			regs_set(r, a.rt, 0);
		return true;
	}
	return false;
}

static void trap_sysreg(struct cpu *c, struct regs *r, uint64_t esr)
{
	struct access a = {
		.reg = (uint32_t)esr & VPMU_ARM_SYSREG_MASK,
		.rt = (unsigned int)FIELD(esr, 5, 5),
		.write = !(esr & BIT(0)),
	};

	/* Ours first: for libvpmu "not a PMU register" is the longest answer. */
	if (emulate(c, r, a)) {
		skip_instruction(c, SKIPPED_SYSREG);
		return;
	}
	switch (pmu_trap(c, r, esr)) {
	case PMU_HANDLED:
		skip_counted(c); /* by libvpmu, if need be */
		return;
	case PMU_UNDEF:
		inject_undef(c);
		return;
	case PMU_EL1_TRAP:
		inject_sysreg_trap(c, esr);
		return;
	case PMU_NOT_MINE:
		break;
	}
	count_exit(c, EXIT_SYSREG);
	guest_complaint("system register is not there (ISS, write)", esr & 0x1FFFFFF, a.write);
	inject_undef(c);
}

/* ---- Memory ---- */

static uint64_t fault_address(void)
{
	/* HPFAR_EL2 has the page, FAR_EL2 the offset in it. */
	return FIELD(read_sysreg(hpfar_el2), 4, 40) << 12 | (read_sysreg(far_el2) & 0xFFF);
}

static uint64_t extend(uint64_t value, unsigned int size, bool sign, bool x64)
{
	if (sign && size < 8 && value & BIT(8 * size - 1))
		value |= ~(BIT(8 * size) - 1);
	return x64 ? value : (uint32_t)value;
}

/* A load or store of one register, which the syndrome describes (ISV). */
static bool emulate_mmio(struct cpu *c, struct regs *r, uint64_t esr)
{
	unsigned int rt = (unsigned int)FIELD(esr, 16, 5);
	struct mmio m = {
		.address = fault_address(),
		.size = (uint8_t)(1u << FIELD(esr, 22, 2)),
		.write = esr & BIT(6),
		.value = regs_get(r, rt),
	};

	/* S1PTW: not the access itself but the walk. */
	if (!(esr & BIT(24)) || esr & BIT(7))
		return false;
	if (!(c->vcpu ? tenant_mmio(c, &m) : vgic_access(c, &m)))
		return false;
	if (!m.write)
		regs_set(r, rt, extend(m.value, m.size, esr & BIT(21), esr & BIT(15)));
	return true;
}

static void trap_data_abort(struct cpu *c, struct regs *r, uint64_t esr)
{
	if (emulate_mmio(c, r, esr)) {
		skip_instruction(c, SKIPPED_MEMORY);
		return;
	}
	count_exit(c, EXIT_ABORT);
	guest_complaint("access to an address that it does not have (address, syndrome)", fault_address(),
			esr);
	inject_abort(c, esr);
}

static void trap_instruction_abort(struct cpu *c, struct regs *r, uint64_t esr)
{
	(void)r;
	count_exit(c, EXIT_ABORT);
	guest_complaint("fetch from an address that it does not have (address, syndrome)",
			fault_address(), esr);
	inject_abort(c, esr);
}

/* ---- The rest ---- */

static void trap_hvc(struct cpu *c, struct regs *r, uint64_t esr)
{
	(void)esr;
	psci_call(c, r);  /* ELR_EL2 is behind the HVC already */
}

static void trap_smc(struct cpu *c, struct regs *r, uint64_t esr)
{
	(void)esr;
	skip_instruction(c, SKIPPED_SMC);  /* before the call: SYSTEM_OFF and CPU_OFF do not come back */
	psci_call(c, r);
}

static void trap_unknown(struct cpu *c, struct regs *r, uint64_t esr)
{
	(void)r;
	guest_complaint("instruction is not there (syndrome, state)", esr, guest_spsr(c));
	inject_undef(c);
}

/* Only of a guest among several. */
static void trap_wfx(struct cpu *c, struct regs *r, uint64_t esr)
{
	(void)r;
	(void)esr;
	skip_instruction(c, SKIPPED_WFI);
	tenant_wfi(c);
}

typedef void trap_handler(struct cpu *c, struct regs *r, uint64_t esr);

static trap_handler *const handlers[64] = {
	[EC_WFX] = trap_wfx,
	[EC_HVC64] = trap_hvc,
	[EC_SMC64] = trap_smc,
	[EC_SYSREG] = trap_sysreg,
	[EC_IABT_LOW] = trap_instruction_abort,
	[EC_DABT_LOW] = trap_data_abort,
};

inline void trap_handle(struct cpu *c, struct regs *r)
{
	uint64_t esr = read_sysreg(esr_el2);
	trap_handler *handler = handlers[ESR_EC(esr)];

	(handler ? handler : trap_unknown)(c, r, esr);
}

void trap_sync(struct regs *r)
{
	struct cpu *c = this_cpu();

	pmu_exit(&c->pmu);
	trap_handle(c, r);
	pmu_enter(&c->pmu);
}

/*
 * Acknowledged before the PMU is touched: the eager switch makes the level of PPI 23 drop at exit
 * (vpmu_vcpu_exit()).
 */
void trap_irq(void)
{
	struct cpu *c = this_cpu();
	uint32_t intid = (uint32_t)read_sysreg(icc_iar1_el1);

	pmu_exit(&c->pmu);
	count_exit(c, EXIT_IRQ);
	gic_forward(c, intid);
	pmu_enter(&c->pmu);
}

/*
 * All interrupts are group 1: an FIQ is not ours to expect. It is ended, so that it cannot storm.
 */
void trap_fiq(void)
{
	struct cpu *c = this_cpu();
	uint32_t intid = (uint32_t)read_sysreg(icc_iar0_el1);

	pmu_exit(&c->pmu);
	if (intid < 1020) {
		write_sysreg(icc_eoir0_el1, intid);
		write_sysreg(icc_dir_el1, intid);
	}
	pmu_enter(&c->pmu);
}

/* Whatever the guest did, the guest is told. */
void trap_serror(struct regs *r)
{
	struct cpu *c = this_cpu();

	(void)r;
	pmu_exit(&c->pmu);
	count_exit(c, EXIT_SERROR);
	guest_complaint("system error (syndrome, state)", read_sysreg(esr_el2), guest_spsr(c));
	write_sysreg(hcr_el2, read_sysreg(hcr_el2) | HCR_VSE);
	pmu_enter(&c->pmu);
}

/* A bug of the monitor, or of the machine. Nothing is taken for granted but the console. */
void trap_crash(struct regs *r, unsigned int vector)
{
	static _Atomic uint32_t crashes;

	if (atomic_fetch_add(&crashes, 1))
		machine_off();
	console_break_lock();
	console_printf("\nvpmu: fatal: exception in the monitor, vector %u\n", vector);
	console_printf("  image %lx  pc %lx  sp %lx  spsr %lx\n", machine.image.start, read_sysreg(elr_el2),
		       r->sp, read_sysreg(spsr_el2));
	console_printf("  esr %lx  far %lx  hpfar %lx\n", read_sysreg(esr_el2), read_sysreg(far_el2),
		       read_sysreg(hpfar_el2));
	for (unsigned int i = 0; i < 31; i++)
		console_printf("  x%u %lx%s", i, r->x[i], i % 4 == 3 || i == 30 ? "\n" : "");
	machine_off();
}
