/* SPDX-License-Identifier: MIT */
/*
 * vgic.c - the guest's view of GICD and GICR (RULES F2).
 *
 * The guest owns all SPIs, its SGIs and its PPIs, so most accesses go to the hardware with a mask.
 * Kept here: the group (all are group 1 in the hardware), priorities (list registers need them),
 * PPI 23's enable, the distributor's control. Hidden: PPIs 25 and 26, LPIs and the ITS, extended
 * ranges, message SPIs. Two approximations, both only between CPUs: disabling or clearing an SPI
 * does not call back one that is pending with another CPU already (it comes once more, as a
 * spurious one), and clearing the active state of one that another CPU has taken is ignored.
 */
#include "gic.h"
#include "monitor.h"

static struct spinlock lock;         /* of all below, and of read-modify-write in the GIC */
static uint32_t distributor_ctlr;    /* GRP0, GRP1 of the guest */
static uint32_t spi_group1[32];      /* [1..] */

struct bank {
	struct cpu *cpu;             /* whose SGIs and PPIs; for SPIs the CPU that asks */
	uintptr_t base;
	unsigned int word_min, word_end;
};

static uint32_t guest_mask(unsigned int word)
{
	return word ? ~0u : ~(PPI_MONITOR & ~(1u << PPI_PMU));
}

/* Of those, the ones that go to the hardware. */
static uint32_t physical_mask(unsigned int word)
{
	return word ? ~0u : ~PPI_MONITOR;
}

/* Those whose pending and active state is in the hardware: an emulated PMU's interrupt is software. */
static uint32_t state_mask(const struct bank *b, unsigned int word)
{
	return b->cpu->pmu.backing ? physical_mask(word) : guest_mask(word);
}

static uint32_t line_bit(const struct bank *b, unsigned int word)
{
	return !word && b->cpu->pmi_line ? 1u << PPI_PMU : 0;
}

static uint32_t *group_word(struct bank *b, unsigned int word)
{
	return word ? &spi_group1[word] : &b->cpu->group1;
}

static bool is_local(const struct bank *b)
{
	return b->cpu == this_cpu();
}

static struct lr_word lr_state(struct bank *b, unsigned int word)
{
	return is_local(b) ? gic_lr_word(b->cpu, word) : (struct lr_word){ 0, 0 };
}

/* ---- One bit per INTID ---- */

static uint32_t read_enable(struct bank *b, unsigned int word)
{
	uint32_t value = gic_read(b->base, GIC_ISENABLER + 4 * word) & physical_mask(word);

	return word || !b->cpu->pmi_enabled ? value : value | 1u << PPI_PMU;
}

/* PPI 23 was taken while the guest had it disabled: let the hardware have it again. */
static void release_held_pmi(struct bank *b)
{
	if (!b->cpu->pmi_held)
		return;
	b->cpu->pmi_held = false;
	gic_write(b->base, GIC_ICACTIVER, 1u << PPI_PMU);
}

/*
 * What the guest sees of the hardware's pending and active state. Where the host profiles, PPI 23 may be the
 * host's: then the guest's PMU says what its line is.
 */
static uint32_t seen_mask(const struct bank *b, unsigned int word)
{
	return state_mask(b, word) & ~(!word && is_local(b) && b->cpu->profile ? 1u << PPI_PMU : 0);
}

static uint32_t pmu_line_bit(const struct bank *b, unsigned int word)
{
	if (!word && is_local(b) && b->cpu->profile && pmu_interrupt(b->cpu))
		return 1u << PPI_PMU;
	return line_bit(b, word);
}

/*
 * A level that went down again while its interrupt was waiting in a list register is no longer
 * pending. So level-triggered ones are handed back, and the hardware says what is; one that is
 * still up comes again at once.
 */
static uint32_t read_pending(struct bank *b, unsigned int word)
{
	if (is_local(b)) {
		gic_withdraw(b->cpu, word, gic_level_triggered(b->cpu, word), false);
		if (!word)
			release_held_pmi(b);
	}
	return ((gic_read(b->base, GIC_ISPENDR + 4 * word) & seen_mask(b, word)) |
		lr_state(b, word).pending | pmu_line_bit(b, word)) & guest_mask(word);
}

/* What is pending with the guest is active in the hardware; the guest must not see that. */
static uint32_t read_active(struct bank *b, unsigned int word)
{
	struct lr_word lr = lr_state(b, word);
	uint32_t value = gic_read(b->base, GIC_ISACTIVER + 4 * word) & seen_mask(b, word) & ~lr.pending;

	if (!word && b->cpu->pmi_held)
		value &= ~(1u << PPI_PMU);
	return (value | lr.active) & guest_mask(word);
}

static uint32_t read_group(struct bank *b, unsigned int word)
{
	return *group_word(b, word) & guest_mask(word);
}

static void write_group(struct bank *b, unsigned int word, uint32_t value)
{
	value &= guest_mask(word);
	*group_word(b, word) = value;
	for (uint32_t i = 0; i < 32; i++)
		gic_describe(b->cpu, 32 * word + i, value & 1u << i);
}

static void write_enable(struct bank *b, unsigned int word, uint32_t value)
{
	gic_write(b->base, GIC_ISENABLER + 4 * word, value & physical_mask(word));
	if (word || !(value & 1u << PPI_PMU))
		return;
	b->cpu->pmi_enabled = true;
	if (is_local(b))
		release_held_pmi(b);  /* injected if its level is still up */
}

static void write_disable(struct bank *b, unsigned int word, uint32_t value)
{
	gic_write(b->base, GIC_ICENABLER + 4 * word, value & physical_mask(word));
	if (word)
		gic_wait_distributor();
	else
		gic_wait_redistributor(b->cpu->gicr);
	if (!word && (value & 1u << PPI_PMU))
		b->cpu->pmi_enabled = false;
	if (is_local(b))
		gic_withdraw(b->cpu, word, value, true);
}

static void write_pend(struct bank *b, unsigned int word, uint32_t value)
{
	gic_write(b->base, GIC_ISPENDR + 4 * word, value & state_mask(b, word));
}

static void write_unpend(struct bank *b, unsigned int word, uint32_t value)
{
	gic_write(b->base, GIC_ICPENDR + 4 * word, value & state_mask(b, word));
	if (!is_local(b))
		return;
	gic_withdraw(b->cpu, word, value, false);
	if (!word && (value & 1u << PPI_PMU))
		release_held_pmi(b);  /* a level that is still up comes again */
}

static void write_activate(struct bank *b, unsigned int word, uint32_t value)
{
	gic_write(b->base, GIC_ISACTIVER + 4 * word, value & physical_mask(word));
}

/* Those that another CPU holds in its list registers: their end is that CPU's. */
static uint32_t held_elsewhere(struct bank *b, unsigned int word, uint32_t value)
{
	uint32_t held = 0;

	for (uint32_t bits = value; bits; bits &= bits - 1) {
		uint32_t i = (uint32_t)__builtin_ctz(bits);

		if (gic_desc(b->cpu, 32 * word + i)->owner != this_cpu()->index)
			held |= 1u << i;
	}
	return held;
}

/*
 * Deactivating an interrupt that a list register holds would let the hardware deliver it a second
 * time: two list registers with one number are UNPREDICTABLE.
 */
static void write_deactivate(struct bank *b, unsigned int word, uint32_t value)
{
	struct lr_word lr = lr_state(b, word);

	if (b->cpu->pmu.backing && !word && is_local(b))
		gic_deactivate(b->cpu, 0, value & 1u << PPI_PMU);
	value &= state_mask(b, word) & gic_read(b->base, GIC_ISACTIVER + 4 * word);
	if (!word && b->cpu->pmi_held)
		value &= ~(1u << PPI_PMU);
	value &= ~held_elsewhere(b, word, value);
	gic_write(b->base, GIC_ICACTIVER + 4 * word, value & ~lr.pending & ~lr.active);
	if (is_local(b))
		gic_deactivate(b->cpu, word, value);
}

/* IGROUPR, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER, ICACTIVER: 0x80 bytes each. */
static const struct {
	uint32_t (*read)(struct bank *b, unsigned int word);
	void (*write)(struct bank *b, unsigned int word, uint32_t value);
} bit_registers[] = {
	{ read_group, write_group },
	{ read_enable, write_enable }, { read_enable, write_disable },
	{ read_pending, write_pend }, { read_pending, write_unpend },
	{ read_active, write_activate }, { read_active, write_deactivate },
};

static void access_bits(struct bank *b, struct mmio *m, uint32_t offset)
{
	uint32_t kind = (offset - GIC_IGROUPR) / 0x80;
	unsigned int word = offset % 0x80 / 4;

	if (m->size != 4 || word < b->word_min || word >= b->word_end)
		return;
	if (m->write)
		bit_registers[kind].write(b, word, (uint32_t)m->value);
	else
		m->value = bit_registers[kind].read(b, word);
}

/* ---- Priorities: one byte per INTID ---- */

static void write_priority(struct bank *b, uint32_t intid, uint8_t value)
{
	struct irq_desc *d = gic_desc(b->cpu, intid);
	uint32_t word = intid / 32, bit = 1u << intid % 32;

	if (!(guest_mask(word) & bit))
		return;
	/* The hardware keeps as many bits as it has: what it took is what the guest reads back. */
	if (physical_mask(word) & bit) {
		volatile uint8_t *p = (volatile uint8_t *)(b->base + GIC_IPRIORITYR + intid);

		*p = value;
		d->priority = *p;
		/* But nothing is as urgent as what interrupts EL2. */
		if (options.profile && value < PRIORITY_OTHERS)
			*p = PRIORITY_OTHERS;
	} else {
		d->priority = value & 0xF8;
	}
	gic_describe(b->cpu, intid, *group_word(b, word) & bit);
}

static void access_priority(struct bank *b, struct mmio *m, uint32_t offset)
{
	uint32_t first = offset - GIC_IPRIORITYR;

	if (m->size != 1 && m->size != 4)
		return;
	for (uint32_t i = 0; i < m->size; i++) {
		uint32_t intid = first + i;

		if (intid / 32 < b->word_min || intid / 32 >= b->word_end)
			continue;
		if (m->write)
			write_priority(b, intid, (uint8_t)(m->value >> 8 * i));
		else
			m->value |= (uint64_t)gic_desc(b->cpu, intid)->priority << 8 * i;
	}
}

/* ---- Configuration: two bits per INTID ---- */

static void access_config(struct bank *b, struct mmio *m, uint32_t offset)
{
	uint32_t half = (offset - GIC_ICFGR) / 4;   /* 16 INTIDs */
	uint32_t mask = ~0u;

	if (m->size != 4 || half / 2 < b->word_min || half / 2 >= b->word_end)
		return;
	if (half < 2)
		for (uint32_t i = 0; i < 16; i++)
			if (PPI_MONITOR & 1u << (16 * half + i))
				mask &= ~(3u << 2 * i);
	if (m->write)
		gic_write(b->base, offset, (gic_read(b->base, offset) & ~mask) | ((uint32_t)m->value & mask));
	else
		m->value = gic_read(b->base, offset) & mask;
}

static void access_bank(struct bank *b, struct mmio *m, uint32_t offset)
{
	if (offset >= GIC_IGROUPR && offset < GIC_IPRIORITYR)
		access_bits(b, m, offset);
	else if (offset >= GIC_IPRIORITYR && offset < GIC_IPRIORITYR + INTID_COUNT)
		access_priority(b, m, offset);
	else if (offset >= GIC_ICFGR && offset < GIC_ICFGR + INTID_COUNT / 4)
		access_config(b, m, offset);
}

/* ---- Distributor ---- */

/*
 * All interrupts are group 1 in the hardware, so it is enabled while the guest enables either. A
 * guest that mixes both groups and enables one of them at the distributor gets both.
 */
static void write_ctlr(uint32_t value)
{
	distributor_ctlr = value & (GICD_CTLR_GRP0 | GICD_CTLR_GRP1);
	gic_write(machine.gicd.start, GICD_CTLR, GICD_CTLR_ARE | (distributor_ctlr ? GICD_CTLR_GRP1 : 0));
}

static uint32_t read_ctlr(void)
{
	uint32_t rwp = gic_read(machine.gicd.start, GICD_CTLR) & (uint32_t)GICD_CTLR_RWP;

	return distributor_ctlr | rwp | GICD_CTLR_ARE | GICD_CTLR_DS;
}

/* SPIs, CPUs, range selector, no 1-of-N: as they are. 10 bits of INTID, no LPIs, no messages. */
static uint32_t read_typer(void)
{
	uint32_t typer = gic_read(machine.gicd.start, GICD_TYPER);

	return (typer & (0x1Fu | 7u << 5 | 1u << 24 | 1u << 25)) | 9u << 19;
}

static void access_router(struct cpu *c, struct mmio *m, uint32_t offset)
{
	uint32_t intid = (offset - GICD_IROUTER) / 8;
	uintptr_t base = machine.gicd.start;
	uint32_t aligned = offset & ~7u;
	uint32_t shift = offset % 8 * 8;
	uint64_t value = gic_read64(base, aligned);
	uint64_t mask = m->size == 8 ? UINT64_MAX : UINT64_C(0xFFFFFFFF) << shift;

	(void)c;
	if ((m->size != 8 && m->size != 4) || intid >= INTID_COUNT - 4)
		return;
	if (!m->write) {
		m->value = (value & mask) >> shift;
		return;
	}
	value = (value & ~mask) | (m->value << shift & mask);
	if (!(value & BIT(31)) && machine_cpu_index(cpu_affinity(value)) < 0)
		guest_complaint("interrupt routed to no CPU", intid, value);
	else
		gic_write64(base, aligned, value & (UINT64_C(0xFF00FFFFFF) | BIT(31)));
}

static void access_distributor(struct cpu *c, struct mmio *m, uint32_t offset)
{
	struct bank b = { c, machine.gicd.start, 1, 32 };

	if (offset >= GICD_IROUTER + 32 * 8 && offset < GICD_IROUTER + INTID_COUNT * 8)
		access_router(c, m, offset);
	else if (offset == GICD_CTLR && m->write && m->size == 4)
		write_ctlr((uint32_t)m->value);
	else if (offset == GICD_CTLR && m->size == 4)
		m->value = read_ctlr();
	else if (offset == GICD_TYPER && m->size == 4 && !m->write)
		m->value = read_typer();
	else if ((offset == GICD_IIDR || offset >= GIC_ID_REGS) && m->size == 4 && !m->write)
		m->value = gic_read(b.base, offset);
	else
		access_bank(&b, m, offset);
}

/* ---- Redistributors ---- */

/* The hardware stays awake: the monitor needs it. The guest sees the handshake. */
static void access_waker(struct cpu *c, struct mmio *m)
{
	if (m->write)
		c->sleeping = m->value & GICR_WAKER_SLEEP;
	else
		m->value = c->sleeping ? GICR_WAKER_SLEEP | GICR_WAKER_CHILDREN : 0;
}

/* Affinity, processor number, Last; VLPIS only because it says how large a redistributor is. */
static uint64_t read_gicr_typer(struct cpu *c)
{
	return gic_read64(c->gicr, GICR_TYPER) &
	       (UINT64_C(0xFFFFFFFF00000000) | 0xFFFF00 | GICR_TYPER_LAST | GICR_TYPER_VLPIS);
}

static void access_rd_frame(struct cpu *c, struct mmio *m, uint32_t offset)
{
	uint64_t typer = read_gicr_typer(c);

	if (offset == GICR_WAKER && m->size == 4)
		access_waker(c, m);
	else if (m->write)
		return;
	else if (offset == GICR_TYPER && m->size >= 4)
		m->value = m->size == 8 ? typer : (uint32_t)typer;
	else if (offset == GICR_TYPER + 4 && m->size == 4)
		m->value = typer >> 32;
	else if (m->size != 4)
		return;
	else if (offset == GICR_CTLR)
		m->value = gic_read(c->gicr, offset) & (uint32_t)(GICR_CTLR_RWP | GICR_CTLR_UWP);
	else if (offset == GICR_IIDR || offset >= GIC_ID_REGS)
		m->value = gic_read(c->gicr, offset);
}

/* returns: the CPU whose redistributor has the address, or NULL. */
static struct cpu *find_redistributor(uint64_t address, uint32_t *offset)
{
	for (unsigned int i = 0; i < machine.cpu_count; i++) {
		if (address - cpus[i].gicr < 2 * GICR_SGI_FRAME) {
			*offset = (uint32_t)(address - cpus[i].gicr);
			return &cpus[i];
		}
	}
	return NULL;
}

/* Frames of absent CPUs and of virtual LPIs read as zero. */
static void access_redistributors(struct mmio *m)
{
	uint32_t offset;
	struct cpu *c = find_redistributor(m->address, &offset);

	if (c && offset < GICR_SGI_FRAME) {
		access_rd_frame(c, m, offset);
	} else if (c) {
		struct bank b = { c, c->gicr + GICR_SGI_FRAME, 0, 1 };

		access_bank(&b, m, offset - GICR_SGI_FRAME);
	}
}

bool vgic_access(struct cpu *c, struct mmio *m)
{
	bool distributor = range_contains(machine.gicd, m->address);
	bool redistributor = false;

	for (unsigned int i = 0; i < machine.gicr_count; i++)
		redistributor |= range_contains(machine.gicr[i], m->address);
	if (!distributor && !redistributor)
		return false;
	count_exit(c, distributor ? EXIT_GICD : EXIT_GICR);
	if (!m->write)
		m->value = 0;  /* what is not known reads as zero */
	if (m->address % m->size)
		return true;
	spin_lock(&lock);
	if (distributor)
		access_distributor(c, m, (uint32_t)(m->address - machine.gicd.start));
	else
		access_redistributors(m);
	spin_unlock(&lock);
	c->pmu.line_stale = c->pmu.backing;
	return true;
}

void vgic_init(void)
{
	for (unsigned int intid = 32; intid < INTID_COUNT; intid++)
		gic_describe(NULL, intid, false);
}

void vgic_cpu_init(struct cpu *c)
{
	c->group1 = 0;
	c->sleeping = true;
	c->pmi_enabled = false;
	c->pmi_held = false;
	c->pmi_line = false;
	for (unsigned int intid = 0; intid < 32; intid++) {
		c->irq[intid].priority = 0;
		c->irq[intid].owner = (uint8_t)c->index;
		gic_describe(c, intid, false);
	}
}
