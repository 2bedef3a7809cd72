/* SPDX-License-Identifier: MIT */
/*
 * The overflow interrupt: whose it is (RULES C2), and, where it is an edge, that each overflow is told
 * once and at most one interrupt is given per exit.
 *
 * v->reported holds the overflows that the guest was told of and has not cleared since: while there are any and the
 * entry lets interrupts through, clearing traps. So a set bit that is not in it is a new overflow. A new overflow of a
 * counter in it shows nowhere. A guest that has ever cleared one gets no interrupt for it, because the vector may
 * be an old one's, of this guest or of another: cpu->vectors_due are those of overflows that were found by
 * looking. A guest that never clears its status (it does not know that it has one) gets all the others.
 */
#include "registers.h"

/* ---- Overflows found in the hardware's status ---- */

static bool is_edge(const struct vpmu_vcpu *v)
{
	return v->vm->arch->edge;
}

static uint64_t overflows(const struct vpmu_vcpu *v)
{
	return v->state.status & v->state.interrupts & v->vm->counters;
}

/* A guest without a status register never clears it: that is done for it. */
static void clear_for_guest(struct vpmu_vcpu *v, uint64_t mask)
{
	if (v->vm->arch->has_status(v->vm) || !mask)
		return;
	if (vpmu_vcpu_is_resident(v))
		v->cpu->hw->ops->status_clear(v->cpu->hw, mask);
	v->state.status = 0;
	v->reported = 0;
}

/* An overflow while the entry is masked sends nothing, and is as good as told. */
static void report(struct vpmu_vcpu *v, uint64_t fresh)
{
	v->clears |= (v->reported & ~v->state.status) != 0;
	v->reported = (v->reported | fresh) & v->state.status;
	if (!v->interrupt_masked)
		v->state.pending |= fresh;
}

void vpmu_vcpu_note(struct vpmu_vcpu *v)
{
	uint64_t fresh = overflows(v) & ~v->reported;

	if (!is_edge(v))
		return;
	report(v, fresh);
	if (fresh && !v->interrupt_masked)
		v->cpu->vectors_due++;
	clear_for_guest(v, v->state.status);
}

/*
 * A trapped access switched interrupt enables; (old): as they were. What overflowed until now did so under
 * those: an overflow without one sends nothing later, and that of a counter that has lost its own is still owed.
 */
void vpmu_vcpu_switched(struct vpmu_vcpu *v, uint64_t old)
{
	uint64_t now = v->state.interrupts;

	if (!is_edge(v) || old == now)
		return;
	v->state.interrupts = old;
	v->vm->sw->pull(v, VPMU_ITEM_STATUS, 0);
	if (vpmu_vcpu_is_resident(v))
		vpmu_vcpu_note(v);
	v->state.interrupts = now;
	v->reported |= v->state.status & now & ~old;
}

/* What software sets in the status sends no interrupt by itself. */
void vpmu_vcpu_noted(struct vpmu_vcpu *v, uint64_t old)
{
	v->clears |= (v->reported & ~v->state.status) != 0;
	v->reported = (v->reported | (v->state.status & ~old)) & v->state.status;
}

/* ---- The interrupt arrived ---- */

static enum vpmu_pmi late(struct vpmu_vcpu *v)
{
	v->stats.pmi_late++;
	return VPMU_PMI_LATE;
}

static enum vpmu_pmi taken(struct vpmu_vcpu *v)
{
	v->stats.pmi_taken++;
	return VPMU_PMI_GUEST;
}

/*
 * Not the line's level: the guest may have cleared the global enable after the overflow raised the line,
 * and the overflow is still to be reported.
 */
static enum vpmu_pmi level_pmi(struct vpmu_vcpu *v)
{
	/* None of its counters is one of the hardware. */
	if (v->emulated)
		return late(v);
	vpmu_vcpu_pull(v, VPMU_ITEM_STATUS | VPMU_ITEM_INTERRUPTS, 0);
	if (!overflows(v))
		return late(v);
	/* It may also be the host's, and the guest's line low all the time: then it is the level after all. */
	if (v->cpu->host_counters && vpmu_vcpu_interrupt(v) == 0)
		return late(v);
	return taken(v);
}

/* Nobody's. Which entry it used is not known then. */
static void drop_vector(struct vpmu_cpu *cpu)
{
	if (cpu->vectors_due)
		cpu->vectors_due--;
	if (cpu->hw->caps.self_masking)
		cpu->route = VPMU_CPU_ROUTE_UNKNOWN;
}

static enum vpmu_pmi edge_late(struct vpmu_vcpu *v)
{
	drop_vector(v->cpu);
	return late(v);
}

/* The entry that the overflow used has masked itself. The host's does not stay so. */
static void note_masking(struct vpmu_cpu *cpu)
{
	if (!cpu->hw->caps.self_masking)
		return;
	if (cpu->route == VPMU_CPU_ROUTE_GUEST)
		cpu->route = VPMU_CPU_ROUTE_MASKED;
	else if (cpu->route == VPMU_CPU_ROUTE_HOST)
		cpu->route = VPMU_CPU_ROUTE_UNKNOWN;
}

/* May a vector that no new overflow explains be another's: one that is due, or of a counter of the host? */
static bool may_be_anothers(const struct vpmu_vcpu *v)
{
	return v->clears || v->cpu->vectors_due || v->cpu->host_counters;
}

static enum vpmu_pmi edge_pmi(struct vpmu_vcpu *v)
{
	uint64_t fresh;

	if (!vpmu_vcpu_is_resident(v))
		return edge_late(v);
	v->vm->sw->pull(v, VPMU_ITEM_STATUS | VPMU_ITEM_INTERRUPTS, 0);
	report(v, 0);
	fresh = overflows(v) & ~v->reported;
	if (!overflows(v) || (!fresh && may_be_anothers(v)))
		return edge_late(v);
	note_masking(v->cpu);
	/* The others' vectors may be under way too, also where the entry masks itself: it was written since. */
	if (fresh & (fresh - 1))
		v->cpu->vectors_due++;
	if (!fresh)
		fresh = overflows(v);
	report(v, fresh);
	clear_for_guest(v, v->state.status);
	return taken(v);
}

static enum vpmu_pmi guest_pmi(struct vpmu_cpu *cpu)
{
	struct vpmu_vcpu *v = cpu->loaded;

	if (!v) {
		drop_vector(cpu);
		return VPMU_PMI_LATE;
	}
	return is_edge(v) ? edge_pmi(v) : level_pmi(v);
}

enum vpmu_pmi vpmu_cpu_pmi(struct vpmu_cpu *cpu)
{
	enum vpmu_pmi guest = guest_pmi(cpu);

	if (!vpmu_host_pmi(cpu))
		return guest;
	if (guest == VPMU_PMI_GUEST)
		return VPMU_PMI_BOTH;
	/* It explains the interrupt. */
	if (cpu->loaded)
		cpu->loaded->stats.pmi_late--;
	return VPMU_PMI_HOST;
}

/* ---- To the guest ---- */

int vpmu_vcpu_interrupt(struct vpmu_vcpu *v)
{
	if (v->in_guest)
		return VPMU_ERR_STATE;
	vpmu_vcpu_pull(v, VPMU_ITEM_STATUS | VPMU_ITEM_INTERRUPTS | VPMU_ITEM_GLOBAL, 0);
	return v->vm->arch->interrupt(v->vm, &v->state) && !v->interrupt_masked;
}

/* For what no hardware froze: emulated counters, and overflows of emulated instructions. */
static void freeze(struct vpmu_vcpu *v)
{
	struct vpmu_change change;

	if (!v->state.debug)
		return;
	vpmu_vcpu_pull(v, VPMU_ITEM_STATUS | VPMU_ITEM_GLOBAL, 0);
	change = vpmu_vcpu_change(v);
	v->vm->arch->freeze(v->vm, &v->state);
	vpmu_vcpu_push(v, &change);
}

/*
 * The request freezes, whether or not the entry lets it through. An overflow of the hardware that was found late is
 * not owed any more: the guest may have thawed since.
 */
void vpmu_vcpu_lose(struct vpmu_vcpu *v)
{
	if (!v->interrupt_masked || !v->state.pending)
		return;
	freeze(v);
	v->state.pending = 0;
}

int vpmu_vcpu_pmi(struct vpmu_vcpu *v)
{
	if (v->in_guest)
		return VPMU_ERR_STATE;
	vpmu_vcpu_take_hints(v);
	vpmu_vcpu_lose(v);
	if (!v->state.pending || v->pmi_given)
		return 0;
	freeze(v);
	v->state.pending = 0;
	v->pmi_given = true;
	v->stats.pmi_given++;
	return 1;
}

void vpmu_vcpu_mask_interrupt(struct vpmu_vcpu *v, bool masked)
{
	if (v->interrupt_masked == masked)
		return;
	/*
	 * What overflowed until now did so under the old value. An entry that masks itself does so with a PMI:
	 * what else overflowed came with it.
	 */
	if (!(masked && v->pmi_given))
		vpmu_vcpu_pull(v, VPMU_ITEM_STATUS, 0);
	vpmu_vcpu_lose(v);
	v->interrupt_masked = masked;
}
