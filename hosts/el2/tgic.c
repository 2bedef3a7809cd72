/* SPDX-License-Identifier: MIT */
/*
 * tgic.c - the interrupt controller of a guest among several: distributor, redistributors and list
 * registers from state in memory.
 *
 * Three kinds of interrupts: SGIs, the console's and an emulated PMU's are software alone; the timers' and the
 * PMU's PPIs are the hardware's of the CPU where the vCPU is loaded; all other SPIs are the first
 * guest's, and its enables and configuration go on to the hardware. What the hardware raised is
 * ended but not deactivated ("held"), and goes into a list register with HW=1: the guest's end
 * deactivates it, without us. At every exit the list registers are read back, at every entry filled
 * anew. A PPI that is held when its vCPU is put is deactivated in the hardware, which another guest
 * is going to use, and made active again when it is loaded.
 *
 * A level that falls while its interrupt waits in memory or in a list register is still delivered;
 * when the guest looks (pending state, enabling it), the hardware is asked again.
 */
#include "gic.h"
#include "tenant.h"
#include "string.h"

#define ICH_HCR_EN BIT(0)
#define ICH_HCR_UIE BIT(1)
#define PPI_VIRTUAL_TIMER 27u
#define PPI_PHYSICAL_TIMER 30u
#define HARDWARE_PPIS (1u << PPI_PMU | 1u << PPI_VIRTUAL_TIMER | 1u << PPI_PHYSICAL_TIMER)
#define REDISTRIBUTOR_SIZE (2 * GICR_SGI_FRAME)
/* GICD_PIDR2, GICR_PIDR2: GICv3. */
#define GIC_PIDR2 0xFFE8u
#define PIDR2_V3 0x3Bu
#define IIDR_OURS 0x0u
#define PRIORITY_BITS 0xF8u

/* ---- One interrupt ---- */

static struct virq *irq_of(struct vcpu *v, uint32_t intid)
{
	return intid < 32 ? &v->irq[intid] : &v->vm->spi[intid];
}

static bool is_hardware(const struct vm *vm, uint32_t intid)
{
	if (intid == PPI_PMU && vm->options->mode == PMU_EMULATED)
		return false;
	if (intid < 32)
		return HARDWARE_PPIS & 1u << intid;
	return vm->index == 0 && intid != machine.uart_intid;
}

/* The monitor's PPIs are not there. */
static bool exists(uint32_t intid)
{
	return intid >= 32 || intid == PPI_PMU || !(PPI_MONITOR & 1u << intid);
}

static struct vcpu *target_of(struct vm *vm, uint32_t intid)
{
	return &vm->vcpu[vm->spi[intid].target];
}

static bool group_enabled(const struct vm *vm, const struct virq *irq)
{
	return vm->gicd_ctlr & (irq->group1 ? GICD_CTLR_GRP1 : GICD_CTLR_GRP0);
}

static bool is_due(const struct vm *vm, const struct virq *irq)
{
	return irq->enabled && (irq->pending || irq->line) && group_enabled(vm, irq);
}

static void enqueue(struct vcpu *v, uint32_t intid)
{
	v->queue[intid / 32] |= 1u << intid % 32;
	v->queued |= 1u << intid / 32;
}

static void dequeue(struct vcpu *v, uint32_t intid)
{
	v->queue[intid / 32] &= ~(1u << intid % 32);
	if (!v->queue[intid / 32])
		v->queued &= ~(1u << intid / 32);
}

/* Something about it changed: it is looked at before (v) is entered. Every change calls this. */
static void changed(struct vcpu *v, uint32_t intid)
{
	struct virq *irq = irq_of(v, intid);

	if (!irq->active && !is_due(v->vm, irq))
		return;
	enqueue(v, intid);
	sched_notify(v);
}

/* Distributor-wide changes. Bound: all INTIDs of the VM. */
static void all_changed(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->cpu_count; i++)
		for (uint32_t intid = 0; intid < 32; intid++)
			changed(&vm->vcpu[i], intid);
	for (uint32_t intid = 32; intid < 32 * vm->irq_words; intid++)
		changed(target_of(vm, intid), intid);
}

void tgic_set_line(struct vm *vm, uint32_t intid, bool line)
{
	if (vm->spi[intid].line == line)
		return;
	vm->spi[intid].line = line;
	changed(target_of(vm, intid), intid);
}

void tgic_set_private_line(struct vcpu *v, uint32_t intid, bool line)
{
	if (v->irq[intid].line == line)
		return;
	spin_lock(&v->vm->lock);
	v->irq[intid].line = line;
	changed(v, intid);
	spin_unlock(&v->vm->lock);
}

/* ---- The hardware's state of it ---- */

static uintptr_t bank(uint32_t intid)
{
	return intid < 32 ? this_cpu()->gicr + GICR_SGI_FRAME : machine.gicd.start;
}

static void physical_bit(uint32_t intid, uint32_t registers)
{
	gic_write(bank(intid), registers + intid / 32 * 4, 1u << intid % 32);
}

static void release(struct virq *irq, uint32_t intid)
{
	if (!irq->held)
		return;
	irq->held = false;
	physical_bit(intid, GIC_ICACTIVER);
}

void tgic_hardware(struct cpu *c, uint32_t intid)
{
	struct vcpu *v = c->vcpu;
	struct vm *vm = intid < 32 && v ? v->vm : &vms[0];
	struct virq *irq;

	if ((intid < 32 && !v) || intid >= 32 * vm->irq_words || !is_hardware(vm, intid)) {
		write_sysreg(icc_dir_el1, intid);
		return;
	}
	spin_lock(&vm->lock);
	if (intid >= 32)
		v = target_of(vm, intid);
	irq = irq_of(v, intid);
	irq->held = true;
	irq->pending = true;
	changed(v, intid);
	spin_unlock(&vm->lock);
}

/* Private ones that the vCPU holds: active in this CPU while it is loaded. */
void tgic_load(struct cpu *c)
{
	for (uint32_t bits = HARDWARE_PPIS; bits; bits &= bits - 1) {
		uint32_t intid = (uint32_t)__builtin_ctz(bits);

		if (c->vcpu->irq[intid].held)
			physical_bit(intid, GIC_ISACTIVER);
	}
}

void tgic_put(struct cpu *c)
{
	for (uint32_t bits = HARDWARE_PPIS; bits; bits &= bits - 1) {
		uint32_t intid = (uint32_t)__builtin_ctz(bits);

		if (c->vcpu->irq[intid].held)
			physical_bit(intid, GIC_ICACTIVER);
	}
	dsb(sy);
}

/* ---- List registers ---- */

/* The guest's end of a hardware interrupt deactivated it there too. */
static void take_back(struct vcpu *v, uint64_t lr)
{
	uint32_t intid = LR_INTID(lr);
	struct virq *irq = irq_of(v, intid);

	irq->active = lr & LR_ACTIVE;
	irq->holder = (uint8_t)v->index;
	if (lr & LR_PENDING && irq->from_latch)
		irq->pending = true;
	if ((lr & LR_HW) && !(lr & (LR_PENDING | LR_ACTIVE)))
		irq->held = false;
	changed(irq->active || intid < 32 ? v : target_of(v->vm, intid), intid);
}

void tgic_sync(struct cpu *c)
{
	struct vcpu *v = c->vcpu;

	if (!c->lr_live)
		return;
	spin_lock(&v->vm->lock);
	for (; c->lr_live; c->lr_live &= c->lr_live - 1) {
		unsigned int n = (unsigned int)__builtin_ctz(c->lr_live);

		/* The image that was written says which; what is left of it says the hardware. */
		take_back(v, (c->lr_image[n] & ~(LR_PENDING | LR_ACTIVE)) |
			     (gic_read_lr(n) & (LR_PENDING | LR_ACTIVE)));
		gic_write_lr(n, 0);
	}
	spin_unlock(&v->vm->lock);
}

static uint64_t make_lr(struct vcpu *v, uint32_t intid)
{
	struct virq *irq = irq_of(v, intid);
	uint64_t lr = intid | (irq->group1 ? LR_GROUP1 : 0) | (uint64_t)irq->priority << 48;

	if (irq->active)
		lr |= LR_ACTIVE;
	/* The hardware cannot be active for us and pending at once. */
	if (irq->held)
		lr |= LR_HW | (uint64_t)intid << 32;
	else if (!irq->edge)
		lr |= LR_EOI;        /* its end is an exit: the line may be up still */
	if (is_due(v->vm, irq) && !(irq->active && (irq->held || !irq->edge))) {
		lr |= LR_PENDING;
		irq->from_latch = irq->pending;
		irq->pending = false;
	}
	return lr;
}

/* Active ones first: their end must find them. Then by priority. */
static uint32_t urgency(const struct virq *irq)
{
	return irq->active ? 0 : 1u + irq->priority;
}

/* A shared one is its target's, or, while it is active, whose it was. */
static bool is_mine(const struct vcpu *v, const struct virq *irq, uint32_t intid)
{
	return intid < 32 || (irq->active ? irq->holder : irq->target) == v->index;
}

/*
 * returns: INTID_COUNT: nothing is left. Bound: the INTIDs in the queue, each dropped if not due.
 */
static uint32_t next_due(struct vcpu *v)
{
	uint32_t best = INTID_COUNT;

	for (uint32_t words = v->queued; words; words &= words - 1) {
		uint32_t word = (uint32_t)__builtin_ctz(words);

		for (uint32_t bits = v->queue[word]; bits; bits &= bits - 1) {
			uint32_t intid = 32 * word + (uint32_t)__builtin_ctz(bits);
			struct virq *irq = irq_of(v, intid);

			if (!is_mine(v, irq, intid) || (!irq->active && !is_due(v->vm, irq)))
				dequeue(v, intid);
			else if (best == INTID_COUNT || urgency(irq) < urgency(irq_of(v, best)))
				best = intid;
		}
	}
	return best;
}

/* With (more), an interrupt comes when at most one list register is in use: at once, if none is. */
static void announce_more(struct cpu *c, bool more)
{
	if (c->lr_more == more)
		return;
	c->lr_more = more;
	write_sysreg(ich_hcr_el2, ICH_HCR_EN | (more ? ICH_HCR_UIE : 0));
}

void tgic_flush(struct cpu *c)
{
	struct vcpu *v = c->vcpu;
	bool more = false;

	/* What waited may have been taken back by the guest since. */
	if (!v->queued) {
		announce_more(c, false);
		return;
	}
	spin_lock(&v->vm->lock);
	for (uint32_t n = 0;; n++) {
		uint32_t intid = next_due(v);

		if (intid == INTID_COUNT)
			break;
		if (n == c->lr_count) {
			more = true;
			break;
		}
		dequeue(v, intid);
		c->lr_image[n] = make_lr(v, intid);
		c->lr_live |= 1u << n;
		gic_write_lr(n, c->lr_image[n]);
	}
	announce_more(c, more);
	spin_unlock(&v->vm->lock);
}

bool tgic_has_pending(struct vcpu *v)
{
	bool pending = false;

	if (!v->queued)
		return false;
	spin_lock(&v->vm->lock);
	for (uint32_t words = v->queued; words; words &= words - 1) {
		uint32_t word = (uint32_t)__builtin_ctz(words);

		for (uint32_t bits = v->queue[word]; bits; bits &= bits - 1) {
			uint32_t intid = 32 * word + (uint32_t)__builtin_ctz(bits);

			pending |= is_due(v->vm, irq_of(v, intid));
		}
	}
	spin_unlock(&v->vm->lock);
	return pending;
}

bool tgic_takes(const struct vcpu *v, uint32_t intid)
{
	const struct virq *irq = &v->irq[intid];

	return irq->enabled && !irq->active && group_enabled(v->vm, irq);
}

/* ---- SGIs ---- */

static bool is_addressed(const struct vcpu *from, const struct vcpu *to, uint64_t value)
{
	uint64_t affinity = FIELD(value, 48, 8) | FIELD(value, 32, 8) | FIELD(value, 16, 8);

	if (value & BIT(40))
		return from != to;
	return !affinity && !FIELD(value, 44, 4) && value & 1u << to->index;
}

void tgic_send_sgi(struct vcpu *from, uint64_t value, bool group1)
{
	uint32_t intid = (uint32_t)FIELD(value, 24, 4);
	struct vm *vm = from->vm;

	spin_lock(&vm->lock);
	for (unsigned int i = 0; i < vm->cpu_count; i++) {
		struct vcpu *to = &vm->vcpu[i];

		/* Group 0 SGIs do not reach what the target has in group 1. */
		if (!is_addressed(from, to, value) || (!group1 && to->irq[intid].group1))
			continue;
		to->irq[intid].pending = true;
		changed(to, intid);
	}
	spin_unlock(&vm->lock);
}

/* ---- Registers with one bit per INTID ---- */

struct frame {
	struct vcpu *vcpu;           /* whose SGIs and PPIs; for SPIs who asks */
	uint32_t word_min, word_end;
};

static struct vcpu *owner(const struct frame *f, uint32_t intid)
{
	return intid < 32 ? f->vcpu : target_of(f->vcpu->vm, intid);
}

static bool is_loaded_here(const struct vcpu *v)
{
	return this_cpu()->vcpu == v;
}

/* The hardware's level may have changed: asked again, it comes again at once if it is up. */
static void ask_again(struct vcpu *v, uint32_t intid)
{
	struct virq *irq = irq_of(v, intid);

	if (!irq->held || irq->active || irq->edge || (intid < 32 && !is_loaded_here(v)))
		return;
	irq->pending = false;
	release(irq, intid);
}

static bool read_group(struct vcpu *v, uint32_t intid)
{
	return irq_of(v, intid)->group1;
}

static bool read_enable(struct vcpu *v, uint32_t intid)
{
	return irq_of(v, intid)->enabled;
}

static bool read_pending(struct vcpu *v, uint32_t intid)
{
	struct virq *irq = irq_of(v, intid);

	if (is_hardware(v->vm, intid) && (intid >= 32 || is_loaded_here(v))) {
		ask_again(v, intid);
		if (gic_read(bank(intid), GIC_ISPENDR + intid / 32 * 4) & 1u << intid % 32)
			return true;
	}
	return irq->pending || irq->line;
}

static bool read_active(struct vcpu *v, uint32_t intid)
{
	return irq_of(v, intid)->active;
}

static void write_group(struct vcpu *v, uint32_t intid, bool bit)
{
	irq_of(v, intid)->group1 = bit;
}

static bool is_passed_on(const struct vcpu *v, uint32_t intid)
{
	return intid >= 32 && is_hardware(v->vm, intid);
}

static void write_enable(struct vcpu *v, uint32_t intid, bool bit)
{
	(void)bit;
	if (irq_of(v, intid)->enabled)
		return;
	irq_of(v, intid)->enabled = true;
	ask_again(v, intid);
	if (is_passed_on(v, intid))
		physical_bit(intid, GIC_ISENABLER);
}

static void write_disable(struct vcpu *v, uint32_t intid, bool bit)
{
	(void)bit;
	irq_of(v, intid)->enabled = false;
	if (!is_passed_on(v, intid))
		return;
	physical_bit(intid, GIC_ICENABLER);
	gic_wait_distributor();
}

/* The software's own pending state is in memory, whoever raises the line. */
static void write_pend(struct vcpu *v, uint32_t intid, bool bit)
{
	(void)bit;
	irq_of(v, intid)->pending = true;
}

static void write_unpend(struct vcpu *v, uint32_t intid, bool bit)
{
	struct virq *irq = irq_of(v, intid);

	(void)bit;
	irq->pending = false;
	if (!irq->active && (intid >= 32 || is_loaded_here(v)))
		release(irq, intid);
	if (is_passed_on(v, intid))
		physical_bit(intid, GIC_ICPENDR);
}

static void write_activate(struct vcpu *v, uint32_t intid, bool bit)
{
	(void)bit;
	irq_of(v, intid)->active = true;
}

static void write_deactivate(struct vcpu *v, uint32_t intid, bool bit)
{
	struct virq *irq = irq_of(v, intid);

	(void)bit;
	if (!irq->active)
		return;
	irq->active = false;
	if (intid >= 32 || is_loaded_here(v))
		release(irq, intid);
}

/* IGROUPR, ISENABLER, ICENABLER, ISPENDR, ICPENDR, ISACTIVER, ICACTIVER: 0x80 bytes each. */
static const struct {
	bool (*read)(struct vcpu *v, uint32_t intid);
	void (*write)(struct vcpu *v, uint32_t intid, bool bit);
	bool writes_zeros;
} bit_registers[] = {
	{ read_group, write_group, true },
	{ read_enable, write_enable, false }, { read_enable, write_disable, false },
	{ read_pending, write_pend, false }, { read_pending, write_unpend, false },
	{ read_active, write_activate, false }, { read_active, write_deactivate, false },
};

static void access_bits(const struct frame *f, struct mmio *m, uint32_t offset)
{
	uint32_t kind = (offset - GIC_IGROUPR) / 0x80;
	uint32_t word = offset % 0x80 / 4;

	if (m->size != 4 || word < f->word_min || word >= f->word_end)
		return;
	for (uint32_t i = 0; i < 32; i++) {
		uint32_t intid = 32 * word + i;
		struct vcpu *v = owner(f, intid);
		bool bit = m->value >> i & 1;

		if (!exists(intid))
			continue;
		if (!m->write) {
			m->value |= (uint64_t)bit_registers[kind].read(v, intid) << i;
		} else if (bit || bit_registers[kind].writes_zeros) {
			bit_registers[kind].write(v, intid, bit);
			changed(v, intid);
		}
	}
}

/* ---- Priorities, configuration, targets ---- */

static void access_priority(const struct frame *f, struct mmio *m, uint32_t offset)
{
	if (m->size != 1 && m->size != 4)
		return;
	for (uint32_t i = 0; i < m->size; i++) {
		uint32_t intid = offset - GIC_IPRIORITYR + i;
		struct virq *irq;

		if (intid / 32 < f->word_min || intid / 32 >= f->word_end || !exists(intid))
			continue;
		irq = irq_of(owner(f, intid), intid);
		if (m->write)
			irq->priority = (uint8_t)(m->value >> 8 * i) & PRIORITY_BITS;
		else
			m->value |= (uint64_t)irq->priority << 8 * i;
	}
}

static void configure(struct vm *vm, uint32_t intid, bool edge)
{
	uint32_t offset = GIC_ICFGR + intid / 16 * 4, bit = 2u << intid % 16 * 2;
	uint32_t value;

	vm->spi[intid].edge = edge;
	if (!is_hardware(vm, intid))
		return;
	value = gic_read(machine.gicd.start, offset) & ~bit;
	gic_write(machine.gicd.start, offset, value | (edge ? bit : 0));
}

/* Two bits each, of which the upper one says edge. SGIs and PPIs are as they are. */
static void access_configuration(const struct frame *f, struct mmio *m, uint32_t offset)
{
	uint32_t first = (offset - GIC_ICFGR) * 4;

	if (m->size != 4 || first / 32 < f->word_min || first / 32 >= f->word_end)
		return;
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t intid = first + i;

		if (!m->write)
			m->value |= (uint64_t)irq_of(owner(f, intid), intid)->edge << (2 * i + 1);
		else if (intid >= 32)
			configure(f->vcpu->vm, intid, m->value >> (2 * i + 1) & 1);
	}
}

static void access_banks(const struct frame *f, struct mmio *m, uint32_t offset)
{
	if (offset % m->size)
		return;
	if (offset >= GIC_IGROUPR && offset < GIC_IPRIORITYR)
		access_bits(f, m, offset);
	else if (offset >= GIC_IPRIORITYR && offset < GIC_IPRIORITYR + 32 * 32)
		access_priority(f, m, offset);
	else if (offset >= GIC_ICFGR && offset < GIC_ICFGR + 32 * 8)
		access_configuration(f, m, offset);
}

/* The vCPUs have affinity 0.0.0.N. "Any" is the first. */
static void access_router(struct vm *vm, struct mmio *m, uint32_t offset)
{
	uint32_t intid = (offset - GICD_IROUTER) / 8;
	struct virq *irq = &vm->spi[intid];

	if (intid >= 32 * vm->irq_words || (m->size != 8 && m->size != 4))
		return;
	if (!m->write) {
		m->value = offset % 8 ? 0 : irq->target;
		return;
	}
	if (offset % 8)
		return;
	if (!(m->value & BIT(31)) && (uint32_t)m->value >= vm->cpu_count)
		return;
	/* What the old target has in its list registers comes back to the new one. */
	irq->target = m->value & BIT(31) ? 0 : (uint8_t)m->value;
	changed(target_of(vm, intid), intid);
}

/* ---- Distributor ---- */

static void access_control(struct vm *vm, struct mmio *m)
{
	if (!m->write) {
		m->value = vm->gicd_ctlr | GICD_CTLR_ARE | GICD_CTLR_DS;
		return;
	}
	vm->gicd_ctlr = (uint32_t)m->value & (GICD_CTLR_GRP0 | GICD_CTLR_GRP1);
	all_changed(vm);
}

/* 10 bits of INTID, no LPIs, no messages, no 1-of-N. */
static uint32_t distributor_type(const struct vm *vm)
{
	return (vm->irq_words - 1) | 9u << 19 | 1u << 25;
}

static void access_distributor(struct vcpu *v, struct mmio *m, uint32_t offset)
{
	struct frame f = { v, 1, v->vm->irq_words };

	if (offset >= GICD_IROUTER + 32 * 8 && offset < GICD_IROUTER + INTID_COUNT * 8)
		access_router(v->vm, m, offset);
	else if (offset == GICD_CTLR && m->size == 4)
		access_control(v->vm, m);
	else if (offset >= GIC_IGROUPR && offset < GICD_IROUTER)
		access_banks(&f, m, offset);
	else if (m->write || m->size != 4)
		return;
	else if (offset == GICD_TYPER)
		m->value = distributor_type(v->vm);
	else if (offset == GICD_IIDR)
		m->value = IIDR_OURS;
	else if (offset == GIC_PIDR2)
		m->value = PIDR2_V3;
}

/* ---- Redistributors: one after the other from where the machine's begin ---- */

static uint64_t redistributor_stride(void)
{
	return machine.gicr_stride ? machine.gicr_stride : REDISTRIBUTOR_SIZE;
}

static uint64_t redistributor_type(const struct vcpu *v)
{
	uint64_t last = v->index + 1 == v->vm->cpu_count ? GICR_TYPER_LAST : 0;

	return (uint64_t)v->index << 32 | (uint64_t)v->index << 8 | last;
}

static void access_waker(struct vcpu *v, struct mmio *m)
{
	if (m->write)
		v->sleeping = m->value & GICR_WAKER_SLEEP;
	else
		m->value = v->sleeping ? GICR_WAKER_SLEEP | GICR_WAKER_CHILDREN : 0;
}

static void access_rd_frame(struct vcpu *v, struct mmio *m, uint32_t offset)
{
	uint64_t type = redistributor_type(v);

	if (offset == GICR_WAKER && m->size == 4)
		access_waker(v, m);
	else if (m->write)
		return;
	else if (offset == GICR_TYPER && m->size >= 4)
		m->value = m->size == 8 ? type : (uint32_t)type;
	else if (offset == GICR_TYPER + 4 && m->size == 4)
		m->value = type >> 32;
	else if (offset == GIC_PIDR2 && m->size == 4)
		m->value = PIDR2_V3;
}

static void access_redistributors(struct vm *vm, struct mmio *m, uint64_t at)
{
	uint64_t index = at / redistributor_stride();
	uint32_t offset = (uint32_t)(at % redistributor_stride());
	struct frame f = { NULL, 0, 1 };

	if (index >= vm->cpu_count)
		return;
	f.vcpu = &vm->vcpu[index];
	if (offset < GICR_SGI_FRAME)
		access_rd_frame(f.vcpu, m, offset);
	else if (offset < REDISTRIBUTOR_SIZE)
		access_banks(&f, m, offset - GICR_SGI_FRAME);
}

bool tgic_access(struct cpu *c, struct mmio *m)
{
	struct vm *vm = c->vcpu->vm;
	bool distributor = range_contains(machine.gicd, m->address);

	if (!distributor && !range_contains(machine.gicr[0], m->address))
		return false;
	count_exit(c, distributor ? EXIT_GICD : EXIT_GICR);
	if (!m->write)
		m->value = 0;  /* what is not known reads as zero */
	if (m->address % m->size)
		return true;
	spin_lock(&vm->lock);
	if (distributor)
		access_distributor(c->vcpu, m, (uint32_t)(m->address - machine.gicd.start));
	else
		access_redistributors(vm, m, m->address - machine.gicr[0].start);
	spin_unlock(&vm->lock);
	return true;
}

/* ---- Set-up ---- */

/* A shared one that it held when it went off is not active any more, and may come again. */
static void reset_shared(struct vcpu *v, uint32_t intid)
{
	struct virq *irq = &v->vm->spi[intid];

	if (irq->active && irq->holder == v->index) {
		irq->active = false;
		release(irq, intid);
	}
	changed(target_of(v->vm, intid), intid);
}

void tgic_vcpu_reset(struct vcpu *v)
{
	spin_lock(&v->vm->lock);
	memset(v->irq, 0, sizeof(v->irq));
	memset(v->queue, 0, sizeof(v->queue));
	v->queued = 0;
	v->sleeping = true;
	for (uint32_t intid = 0; intid < 16; intid++)
		v->irq[intid].edge = true;
	for (uint32_t intid = 32; intid < 32 * v->vm->irq_words; intid++)
		reset_shared(v, intid);
	spin_unlock(&v->vm->lock);
}

void tgic_vm_init(struct vm *vm)
{
	uint32_t type = gic_read(machine.gicd.start, GICD_TYPER);

	vm->irq_words = (type & 0x1F) + 1;
	if (vm->irq_words > INTID_COUNT / 32)
		vm->irq_words = INTID_COUNT / 32;
}
