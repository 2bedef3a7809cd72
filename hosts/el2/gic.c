/* SPDX-License-Identifier: MIT */
/*
 * gic.c - physical interrupts of the GICv3, and the list registers that carry them to the guest.
 *
 * Every physical interrupt comes to EL2 (HCR_EL2.IMO, FMO). It is acknowledged, its priority
 * dropped (EOImode 1), and put into a list register with HW=1: it stays active in the hardware
 * until the guest ends it, which then happens without us. SGIs have no active state worth keeping:
 * they are deactivated here and injected by software. All are group 1 in the hardware; the guest's
 * group is a bit of the list register.
 */
#include "gic.h"
#include "monitor.h"

#define ICH_HCR_EN BIT(0)
#define ICH_HCR_UIE BIT(1)
/* No register of the GIC stays busy for long; a machine that is broken shall not stop here. */
#define RWP_TRIES 1000000u

struct irq_desc spi[INTID_COUNT];

/* ---- List registers by number ---- */

#define LR_CASES(op) \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LR_READ(n) case n: return read_sysreg(ich_lr##n##_el2);
#define LR_WRITE(n) case n: write_sysreg(ich_lr##n##_el2, value); break;

uint64_t gic_read_lr(unsigned int n)
{
	switch (n) {
	LR_CASES(LR_READ)
	}
	return 0;
}

void gic_write_lr(unsigned int n, uint64_t value)
{
	switch (n) {
	LR_CASES(LR_WRITE)
	}
}

static uint32_t lr_free(void)
{
	return (uint32_t)read_sysreg(ich_elrsr_el2);
}

/* The list registers in use: pending, active or both. */
static uint32_t lr_used(const struct cpu *c)
{
	return ~lr_free() & (uint32_t)(BIT(c->lr_count) - 1);
}

/* ---- Physical state ---- */

struct irq_desc *gic_desc(struct cpu *c, uint32_t intid)
{
	return intid < 32 ? &c->irq[intid] : &spi[intid];
}

uintptr_t gic_bank(struct cpu *c, unsigned int word)
{
	return word ? machine.gicd.start : c->gicr + GICR_SGI_FRAME;
}

static void end_interrupt(uint32_t intid)
{
	write_sysreg(icc_eoir1_el1, intid);
}

static void end_and_deactivate(uint32_t intid)
{
	write_sysreg(icc_eoir1_el1, intid);
	write_sysreg(icc_dir_el1, intid);
}

static uint64_t make_lr(struct cpu *c, uint32_t intid)
{
	uint64_t upper = gic_desc(c, intid)->lr;
	uint64_t lr = upper << LR_UPPER | intid;

	return lr & LR_HW ? lr | (uint64_t)intid << 32 : lr;
}

void gic_describe(struct cpu *c, uint32_t intid, bool group1)
{
	struct irq_desc *d = gic_desc(c, intid);
	uint64_t lr = LR_PENDING | (intid >= 16 ? LR_HW : 0) | (group1 ? LR_GROUP1 : 0) |
		      (uint64_t)d->priority << 48;

	/* What is the monitor's is not forwarded as is: the fast path sees 0 (RULES F2). */
	if (intid < 32 && (PPI_MONITOR & 1u << intid))
		lr = 0;
	d->lr = (uint16_t)(lr >> LR_UPPER);
}

/* ---- Overflow: pending interrupts without a list register ---- */

static bool overflow_has(const struct cpu *c, uint32_t intid)
{
	return c->overflow[intid / 32] & 1u << intid % 32;
}

static void overflow_add(struct cpu *c, uint32_t intid)
{
	if (overflow_has(c, intid))
		return;
	c->overflow[intid / 32] |= 1u << intid % 32;
	c->overflow_count++;
}

static void overflow_remove(struct cpu *c, uint32_t intid)
{
	c->overflow[intid / 32] &= ~(1u << intid % 32);
	c->overflow_count--;
}

/* PPI 23 has no upper half of its own: see gic_describe(). */
static uint64_t make_pmi_lr(struct cpu *c)
{
	uint64_t lr = LR_PENDING | (c->group1 & 1u << PPI_PMU ? LR_GROUP1 : 0) |
		      (uint64_t)c->irq[PPI_PMU].priority << 48 | PPI_PMU;

	/* A line of ours: its end is an exit, for it may be up still. */
	return lr | (c->pmu.backing ? LR_EOI : LR_HW | (uint64_t)PPI_PMU << 32);
}

static uint64_t make_any_lr(struct cpu *c, uint32_t intid)
{
	return intid == PPI_PMU ? make_pmi_lr(c) : make_lr(c, intid);
}

/* The most urgent one; the caller has seen that there is one. Bound: 32 words. */
static uint32_t overflow_best(struct cpu *c)
{
	uint32_t best = INTID_COUNT, best_priority = 256;

	for (uint32_t word = 0; word < 32; word++) {
		for (uint32_t bits = c->overflow[word]; bits; bits &= bits - 1) {
			uint32_t intid = 32 * word + (uint32_t)__builtin_ctz(bits);
			uint32_t priority = gic_desc(c, intid)->priority;

			if (priority < best_priority) {
				best_priority = priority;
				best = intid;
			}
		}
	}
	return best;
}

/* A list register that is only pending and less urgent than (priority), the least urgent; or -1. */
static int find_victim(const struct cpu *c, uint32_t priority)
{
	int victim = -1;

	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(used);
		uint64_t lr = gic_read_lr(n);

		if ((lr & (LR_PENDING | LR_ACTIVE)) == LR_PENDING && LR_PRIORITY(lr) > priority) {
			priority = LR_PRIORITY(lr);
			victim = (int)n;
		}
	}
	return victim;
}

/* An SGI may be in a list register already: two with one number are UNPREDICTABLE. */
static bool merge_sgi(const struct cpu *c, uint32_t intid)
{
	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(used);
		uint64_t lr = gic_read_lr(n);

		if (LR_INTID(lr) == intid) {
			gic_write_lr(n, lr | LR_PENDING);
			return true;
		}
	}
	return false;
}

/* Puts the most urgent of the overflow list into a list register. returns: false: no room. */
static bool flush_one(struct cpu *c)
{
	uint32_t intid = overflow_best(c);
	uint64_t lr = make_any_lr(c, intid);
	uint32_t free = lr_free();
	int victim;

	if (intid < 16 && merge_sgi(c, intid)) {
		overflow_remove(c, intid);
		return true;
	}
	if (free) {
		gic_write_lr((unsigned int)__builtin_ctz(free), lr);
		overflow_remove(c, intid);
		return true;
	}
	victim = find_victim(c, LR_PRIORITY(lr));
	if (victim < 0)
		return false;
	overflow_add(c, LR_INTID(gic_read_lr((unsigned int)victim)));
	gic_write_lr((unsigned int)victim, lr);
	overflow_remove(c, intid);
	return true;
}

/*
 * Each step fills a register or makes one more urgent, so this ends. With something left over, the
 * underflow interrupt comes when at most one list register is in use; every other injection flushes
 * too.
 */
static void overflow_flush(struct cpu *c)
{
	while (c->overflow_count && flush_one(c))
		;
	write_sysreg(ich_hcr_el2, ICH_HCR_EN | (c->overflow_count ? ICH_HCR_UIE : 0));
}

static void inject(struct cpu *c, uint32_t intid, uint64_t lr)
{
	uint32_t free = lr_free();

	if (likely(free && !c->overflow_count)) {
		if (likely(free & 1))
			write_sysreg(ich_lr0_el2, lr);
		else
			gic_write_lr((unsigned int)__builtin_ctz(free), lr);
		return;
	}
	overflow_add(c, intid);
	overflow_flush(c);
}

/* ---- Forwarding ---- */

/* The guest's overflow interrupt stays active in the hardware, so that it cannot storm. */
static void forward_pmi(struct cpu *c)
{
	end_interrupt(PPI_PMU);
	count_exit(c, EXIT_PMI);
	if (!pmu_irq(c)) {
		write_sysreg(icc_dir_el1, PPI_PMU);
		return;
	}
	if (c->pmi_enabled)
		inject(c, PPI_PMU, make_pmi_lr(c));
	else
		c->pmi_held = true;
}

/* The number of the list register that has (intid), or -1. */
static int find_lr(const struct cpu *c, uint32_t intid)
{
	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(used);

		if (LR_INTID(gic_read_lr(n)) == intid)
			return (int)n;
	}
	return -1;
}

void gic_pmi_line(struct cpu *c, bool level)
{
	int n = find_lr(c, PPI_PMU);
	uint64_t lr;

	c->pmi_line = level;
	level &= c->pmi_enabled;
	if (overflow_has(c, PPI_PMU) && !level)
		overflow_remove(c, PPI_PMU);
	if (n < 0 && level && !overflow_has(c, PPI_PMU))
		inject(c, PPI_PMU, make_pmi_lr(c));
	if (n < 0)
		return;
	lr = gic_read_lr((unsigned int)n);
	if (!level && lr & LR_PENDING)
		gic_write_lr((unsigned int)n, lr & LR_ACTIVE ? lr & ~LR_PENDING : 0);
}

/* The guest ended one that is a line of ours: its list register is free when it is cleared. */
static void line_ended(struct cpu *c)
{
	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(used);

		if (!(gic_read_lr(n) & (LR_PENDING | LR_ACTIVE)))
			gic_write_lr(n, 0);
	}
	c->pmu.line_stale = true;
}

/* An interrupt with no upper half: the monitor's. */
static __attribute__((noinline)) void own_interrupt(struct cpu *c, uint32_t intid)
{
	if (intid == PPI_PMU) {
		forward_pmi(c);
		return;
	}
	end_and_deactivate(intid);
	if (intid == PPI_MAINTENANCE) {
		count_exit(c, EXIT_MAINTENANCE);
		if (c->pmu.backing)
			line_ended(c);
		overflow_flush(c);
	} else if (intid == 0) {
		cpu_stop_requested(c);
	}
}

static void forward_sgi(struct cpu *c, uint32_t intid, uint64_t lr)
{
	write_sysreg(icc_dir_el1, intid);
	if (!merge_sgi(c, intid))
		inject(c, intid, lr);
}

void gic_forward(struct cpu *c, uint32_t intid)
{
	struct irq_desc *d;
	uint64_t lr;

	if (unlikely(intid >= INTID_SPECIAL))
		return;  /* spurious: withdrawn before it was acknowledged */
	d = gic_desc(c, intid);
	if (unlikely(!d->lr)) {
		own_interrupt(c, intid);
		return;
	}
	end_interrupt(intid);
	lr = (uint64_t)d->lr << LR_UPPER | intid;
	if (intid < 16) {
		forward_sgi(c, intid, lr);
		return;
	}
	d->owner = (uint8_t)c->index;
	inject(c, intid, lr | (uint64_t)intid << 32);
}

/* ---- What the emulated registers need of the list registers ---- */

struct lr_word gic_lr_word(struct cpu *c, unsigned int word)
{
	struct lr_word w = { c->overflow[word], 0 };

	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		uint64_t lr = gic_read_lr((unsigned int)__builtin_ctz(used));
		uint32_t bit = 1u << LR_INTID(lr) % 32;

		if (LR_INTID(lr) / 32 != word)
			continue;
		w.pending |= lr & LR_PENDING ? bit : 0;
		w.active |= lr & LR_ACTIVE ? bit : 0;
	}
	return w;
}

uint32_t gic_level_triggered(struct cpu *c, unsigned int word)
{
	uint32_t level = 0;

	for (uint32_t i = 0; i < 32; i++) {
		uint32_t config = gic_read(gic_bank(c, word), GIC_ICFGR + 8 * word + i / 16 * 4);

		if (!(config & 2u << i % 16 * 2))
			level |= 1u << i;
	}
	return level;
}

static bool is_edge(struct cpu *c, uint32_t intid)
{
	return !(gic_level_triggered(c, intid / 32) & 1u << intid % 32);
}

/* It was pending with the guest and no longer is: what becomes of it in the hardware? */
static void hand_back(struct cpu *c, uint32_t intid, bool again)
{
	uintptr_t bank = gic_bank(c, intid / 32);
	uint32_t offset = intid / 32 * 4, bit = 1u << intid % 32;

	if (intid == PPI_PMU && c->pmu.backing)
		return;              /* the line says what is: gic_pmi_line() */
	if (intid == PPI_PMU && again) {
		c->pmi_held = true;
		return;
	}
	if (intid >= 16)
		gic_write(bank, GIC_ICACTIVER + offset, bit);
	if (again && (intid < 16 || is_edge(c, intid)))
		gic_write(bank, GIC_ISPENDR + offset, bit);
}

void gic_withdraw(struct cpu *c, unsigned int word, uint32_t mask, bool again)
{
	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(used);
		uint64_t lr = gic_read_lr(n);
		uint32_t intid = LR_INTID(lr);

		if (intid / 32 != word || !(mask & 1u << intid % 32) || !(lr & LR_PENDING))
			continue;
		gic_write_lr(n, lr & LR_ACTIVE ? lr & ~LR_PENDING : 0);
		hand_back(c, intid, again);
	}
	for (uint32_t bits = c->overflow[word] & mask; bits; bits &= bits - 1) {
		uint32_t intid = 32 * word + (uint32_t)__builtin_ctz(bits);

		overflow_remove(c, intid);
		hand_back(c, intid, again);
	}
}

void gic_deactivate(struct cpu *c, unsigned int word, uint32_t mask)
{
	for (uint32_t used = lr_used(c); used; used &= used - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(used);
		uint64_t lr = gic_read_lr(n);
		uint32_t intid = LR_INTID(lr);

		if (intid / 32 != word || !(mask & 1u << intid % 32) || !(lr & LR_ACTIVE))
			continue;
		gic_write_lr(n, lr & LR_PENDING ? lr & ~LR_ACTIVE : 0);
		if (lr & LR_HW)
			gic_write(gic_bank(c, word), GIC_ICACTIVER + word * 4, 1u << intid % 32);
	}
}

/*
 * Would the guest wake up from WFI? A list register that is pending decides that, whatever its
 * group.
 */
bool gic_has_virtual_pending(struct cpu *c)
{
	for (uint32_t used = lr_used(c); used; used &= used - 1)
		if (gic_read_lr((unsigned int)__builtin_ctz(used)) & LR_PENDING)
			return true;
	return c->overflow_count != 0;
}

/* ---- Stopping the other CPUs ---- */

/*
 * A second for all of them: a CPU that does not come is left alone, and its counts are as last
 * seen.
 */
void gic_stop_others(struct cpu *c)
{
	uint64_t deadline = read_sysreg(cntpct_el0) + read_sysreg(cntfrq_el0);

	gic_write(machine.gicd.start, GICD_CTLR, GICD_CTLR_ARE | GICD_CTLR_GRP1);
	for (unsigned int i = 0; i < machine.cpu_count; i++) {
		struct cpu *other = &cpus[i];

		if (other == c || atomic_load(&other->power) != CPU_ON)
			continue;
		other->irq[0].lr = 0;  /* SGI 0 is the monitor's from now on */
		gic_write(other->gicr + GICR_SGI_FRAME, GIC_ISENABLER, 1);
		dsb(ish);
		gic_write(other->gicr + GICR_SGI_FRAME, GIC_ISPENDR, 1);
		while (!atomic_load(&other->stopped) && read_sysreg(cntpct_el0) < deadline)
			__asm__ volatile("yield");
	}
}

/* ---- Set-up ---- */

void gic_wait_distributor(void)
{
	unsigned int tries = RWP_TRIES;

	while ((gic_read(machine.gicd.start, GICD_CTLR) & GICD_CTLR_RWP) && --tries)
		;
}

void gic_wait_redistributor(uintptr_t gicr)
{
	unsigned int tries = RWP_TRIES;

	while ((gic_read(gicr, GICR_CTLR) & GICR_CTLR_RWP) && --tries)
		;
}

uint64_t gicr_size(uint64_t typer)
{
	if (machine.gicr_stride)
		return machine.gicr_stride;
	return typer & GICR_TYPER_VLPIS ? 0x40000 : 0x20000;
}

static void find_redistributors(struct range region)
{
	uint64_t at = region.start;

	while (at < region.end) {
		uint64_t typer = gic_read64(at, GICR_TYPER);
		uint64_t affinity = FIELD(typer, 32, 24) | FIELD(typer, 56, 8) << 32;
		int i = machine_cpu_index(affinity);

		if (i >= 0)
			cpus[i].gicr = at;
		if (typer & GICR_TYPER_LAST)
			return;
		at += gicr_size(typer);
	}
}

/* Everything off, group 1, routed to this CPU: the guest turns on what it wants. */
static void distributor_init(uintptr_t gicd)
{
	uint32_t words = (uint32_t)FIELD(gic_read(gicd, GICD_TYPER), 0, 5) + 1;

	gic_write(gicd, GICD_CTLR, 0);
	gic_wait_distributor();
	gic_write(gicd, GICD_CTLR, GICD_CTLR_ARE);
	gic_wait_distributor();
	for (uint32_t word = 1; word < words; word++) {
		gic_write(gicd, GIC_ICENABLER + 4 * word, ~0u);
		gic_write(gicd, GIC_ICACTIVER + 4 * word, ~0u);
		gic_write(gicd, GIC_ICPENDR + 4 * word, ~0u);
		gic_write(gicd, GIC_IGROUPR + 4 * word, ~0u);
	}
	gic_wait_distributor();
	/* Of one guest it is the guest that writes them; of several, nobody. */
	for (uint32_t intid = 32; options.profile && intid < 32 * words && intid < INTID_SPECIAL; intid += 4)
		gic_write(gicd, GIC_IPRIORITYR + intid, 0x80808080);
	for (uint32_t intid = 32; intid < 32 * words && intid < INTID_SPECIAL; intid++)
		gic_write64(gicd, GICD_IROUTER + 8 * intid, cpu_affinity(read_sysreg(mpidr_el1)));
}

void gic_init(void)
{
	for (unsigned int i = 0; i < machine.gicr_count; i++)
		find_redistributors(machine.gicr[i]);
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		if (!cpus[i].gicr)
			machine_fail("CPU %u has no redistributor\n", i);
	distributor_init(machine.gicd.start);
}

void gic_enable_distributor(void)
{
	gic_write(machine.gicd.start, GICD_CTLR, GICD_CTLR_ARE | GICD_CTLR_GRP1);
	gic_wait_distributor();
}

static void redistributor_init(struct cpu *c)
{
	uintptr_t sgi = c->gicr + GICR_SGI_FRAME;
	unsigned int tries = RWP_TRIES;

	gic_write(c->gicr, GICR_WAKER, gic_read(c->gicr, GICR_WAKER) & (uint32_t)~GICR_WAKER_SLEEP);
	while ((gic_read(c->gicr, GICR_WAKER) & GICR_WAKER_CHILDREN) && --tries)
		;
	gic_write(sgi, GIC_ICENABLER, ~0u);
	gic_wait_redistributor(c->gicr);
	gic_write(sgi, GIC_ICACTIVER, ~0u);
	gic_write(sgi, GIC_ICPENDR, ~0u);
	gic_write(sgi, GIC_IGROUPR, ~0u);
	for (uint32_t i = 0; i < 32; i += 4)
		gic_write(sgi, GIC_IPRIORITYR + i, 0x80808080);
	if (options.profile)
		((volatile uint8_t *)(sgi + GIC_IPRIORITYR))[PPI_PMU] = PRIORITY_PMU;
	gic_write(sgi, GIC_ISENABLER, 1u << PPI_MAINTENANCE | 1u << PPI_PMU);
	gic_wait_redistributor(c->gicr);
}

/* Active priorities: one register per 32 preemption levels (ICH_VTR_EL2.PREbits). */
static void clear_active_priorities(uint64_t vtr)
{
	uint64_t preemption_bits = FIELD(vtr, 26, 3) + 1;

	write_sysreg(ich_ap0r0_el2, 0);
	write_sysreg(ich_ap1r0_el2, 0);
	if (preemption_bits >= 6) {
		write_sysreg(ich_ap0r1_el2, 0);
		write_sysreg(ich_ap1r1_el2, 0);
	}
	if (preemption_bits >= 7) {
		write_sysreg(ich_ap0r2_el2, 0);
		write_sysreg(ich_ap0r3_el2, 0);
		write_sysreg(ich_ap1r2_el2, 0);
		write_sysreg(ich_ap1r3_el2, 0);
	}
}

static void cpu_interface_init(struct cpu *c)
{
	uint64_t vtr;

	write_sysreg(icc_sre_el2, 0xF);  /* Enable for EL1, no bypass, system registers */
	isb();
	if (!(read_sysreg(icc_sre_el2) & 1))
		machine_fail("the GIC has no system register interface\n");
	write_sysreg(icc_sre_el1, 7);
	isb();
	vtr = read_sysreg(ich_vtr_el2);
	c->lr_count = (uint32_t)FIELD(vtr, 0, 5) + 1;
	for (unsigned int n = 0; n < c->lr_count; n++)
		gic_write_lr(n, 0);
	clear_active_priorities(vtr);
	write_sysreg(ich_vmcr_el2, 0);
	write_sysreg(ich_hcr_el2, ICH_HCR_EN);
	c->lr_more = false;
	write_sysreg(icc_ctlr_el1, BIT(1));  /* EOImode 1: priority drop and deactivation apart */
	write_sysreg(icc_bpr1_el1, 0);
	write_sysreg(icc_pmr_el1, 0xFF);
	write_sysreg(icc_igrpen0_el1, 0);
	write_sysreg(icc_igrpen1_el1, 1);
	isb();
}

void gic_cpu_init(struct cpu *c)
{
	redistributor_init(c);
	cpu_interface_init(c);
	for (unsigned int word = 0; word < 32; word++)
		c->overflow[word] = 0;
	c->overflow_count = 0;
	vgic_cpu_init(c);
}

/* The CPU goes off: what it holds must be free to come again, to it or to another. */
void gic_cpu_off(struct cpu *c)
{
	for (unsigned int word = 0; word < 32; word++) {
		gic_deactivate(c, word, ~0u);
		gic_withdraw(c, word, ~0u, true);
	}
	write_sysreg(ich_hcr_el2, 0);
	write_sysreg(icc_igrpen1_el1, 0);
	isb();
	gic_write(c->gicr + GICR_SGI_FRAME, GIC_ICENABLER, ~0u);
	gic_wait_redistributor(c->gicr);
	gic_write(c->gicr, GICR_WAKER, gic_read(c->gicr, GICR_WAKER) | (uint32_t)GICR_WAKER_SLEEP);
}
