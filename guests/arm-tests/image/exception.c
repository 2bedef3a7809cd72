/* SPDX-License-Identifier: MIT */
/* What happens at a vector: an expected trap, a return to a caller above, an interrupt, or a bug. */
#include "cpu.h"

/* Kinds that vectors.S passes; +4 if the exception came from a lower exception level. */
#define KIND_SYNC 0u
#define KIND_IRQ 1u
#define KIND_LOWER 4u

#define EC(esr) ((unsigned)((esr) >> 26) & 0x3f)
#define EC_UNKNOWN 0x00u
#define EC_SVC 0x15u
#define EC_HVC 0x16u
#define EC_SYSREG 0x18u
#define HVC_RETURN 1u		/* immediate with which call_el1() comes back */

#define POISON UINT64_C(0xdeadbeefdeadbeef)
#define NOT_SUPPORTED (~UINT64_C(0))
#define VERDICT_PANIC "3"
#define IRQ_STORM 10000u	/* no test expects as many; a line that stays up must not hang one */

void trap_expect(void)
{
	struct trap *trap = &cpu_self()->trap;

	trap->expected = true;
	trap->taken = 0;
	trap->esr = 0;
	trap->el = 0;
}

const struct trap *trap_end(void)
{
	struct trap *trap = &cpu_self()->trap;

	trap->expected = false;
	return trap;
}

enum pmu_end trap_kind(const struct trap *trap)
{
	unsigned ec = EC(trap->esr);

	if (trap->taken == 0)
		return PMU_OK;
	if (trap->taken != 1)
		return PMU_OTHER;
	if (trap->el == 2 && cpu_el() != 2)
		return ec == EC_SYSREG ? PMU_TRAP_EL2 : PMU_OTHER;
	if (ec == EC_UNKNOWN)
		return PMU_UNDEF;
	return ec == EC_SYSREG ? PMU_TRAP : PMU_OTHER;
}

static void put_exception(const struct frame *f, uint64_t esr, unsigned kind, unsigned el)
{
	put_string("\n# exception at EL");
	put_decimal(el);
	put_string(kind & KIND_LOWER ? " from below, kind " : ", kind ");
	put_decimal(kind & ~KIND_LOWER);
	put_string(", ESR ");
	put_hex(esr);
	put_string(", ELR ");
	put_hex(f->elr);
	put_string(", FAR ");
	put_hex(el == 2 ? sysreg_read("far_el2") : sysreg_read("far_el1"));
	put_string("\n");
}

/* Ends the running test, or the image if there is no test to end at this exception level. */
static void unexpected(const struct frame *f, uint64_t esr, unsigned kind, unsigned el)
{
	struct cpu *cpu = cpu_self();

	put_exception(f, esr, kind, el);
	if (cpu->guard && cpu->guard_el == el)
		resume(cpu->guard, 1);
	put_string("vpmu-verdict: " VERDICT_PANIC "\n");
	psci_off();
}

/* EL2 below the tests on a bare machine: the debug call alone. */
static void hypercall(struct frame *f)
{
	if ((uint32_t)f->x[0] != SPIN_AT_EL2) {
		f->x[0] = NOT_SUPPORTED;
		return;
	}
	if (f->x[1] > 0)
		spin(2 * f->x[1]);
	f->x[0] = 0;
}

static void note_trap(struct trap *trap, struct frame *f, uint64_t esr, unsigned el)
{
	trap->taken++;
	trap->esr = esr;
	trap->el = el;
	f->elr += 4;
	f->x[1] = POISON;	/* the register that the thunks move */
}

static void synchronous(struct frame *f, unsigned kind, unsigned el)
{
	uint64_t esr = el == 2 ? sysreg_read("esr_el2") : sysreg_read("esr_el1");
	struct cpu *cpu = cpu_self();
	unsigned ec = EC(esr);

	if (kind == (KIND_SYNC | KIND_LOWER) && el == 1 && ec == EC_SVC)
		resume(cpu->below[1], f->x[0]);
	if (el == 2 && ec == EC_HVC && (esr & 0xffff) == HVC_RETURN)
		resume(cpu->below[2], f->x[0]);
	if (el == 2 && ec == EC_HVC)
		hypercall(f);
	else if (cpu->trap.expected)
		note_trap(&cpu->trap, f, esr, el);
	else
		unexpected(f, esr, kind, el);
}

static void interrupt(void)
{
	struct cpu *cpu = cpu_self();
	uint32_t intid = gic_acknowledge();

	if (intid >= 1020)	/* special INTIDs: nothing to do */
		return;
	if (intid == INTID_PMU) {
		cpu->irq_count++;
		if (cpu->handler && cpu->irq_count <= IRQ_STORM)
			cpu->handler(cpu->context);
		else
			gic_disable(intid);
	} else {
		cpu->foreign_count++;
		gic_disable(intid & 31);
	}
	gic_end(intid);
}

void exception(struct frame *f, unsigned kind, unsigned el)
{
	unsigned what = kind & ~KIND_LOWER;

	if (what == KIND_SYNC)
		synchronous(f, kind, el);
	else if (what == KIND_IRQ)
		interrupt();
	else
		unexpected(f, 0, kind, el);
}
