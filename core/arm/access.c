/* SPDX-License-Identifier: MIT */
/*
 * A trapped access: decode (may fail, changes nothing of the guest's), then apply (cannot fail).
 */
#include "pmuv3.h"

/* ---- Handlers ---- */

uint64_t vpmu_arm_read_pmcr(struct arm_access *a)
{
	return (uint64_t)a->model->id << PMCR_ID_SHIFT |
	       (uint64_t)a->model->counters << PMCR_N_SHIFT | a->v->state.global;
}

static void zero_counters(struct arm_access *a, uint64_t mask)
{
	a->change.values |= mask;
	while (mask)
		a->v->state.value[vpmu_mask_next(&mask)] = 0;
}

void vpmu_arm_write_pmcr(struct arm_access *a, uint64_t value)
{
	a->v->state.global = (value & vpmu_arm_global_mask(a->model)) | PMCR_LC;
	if (value & PMCR_P)
		zero_counters(a, a->v->vm->counters & ~CYCLE_BIT);
	if (value & PMCR_C)
		zero_counters(a, CYCLE_BIT);
}

uint64_t vpmu_arm_read_enabled(struct arm_access *a)
{
	return a->v->state.enabled;
}

void vpmu_arm_write_cntenset(struct arm_access *a, uint64_t value)
{
	a->v->state.enabled |= value & a->v->vm->counters;
}

void vpmu_arm_write_cntenclr(struct arm_access *a, uint64_t value)
{
	a->v->state.enabled &= ~value;
}

uint64_t vpmu_arm_read_status(struct arm_access *a)
{
	return a->v->state.status;
}

void vpmu_arm_write_ovsset(struct arm_access *a, uint64_t value)
{
	a->v->state.status |= value & a->v->vm->counters;
}

void vpmu_arm_write_ovsclr(struct arm_access *a, uint64_t value)
{
	a->v->state.status &= ~value;
}

uint64_t vpmu_arm_read_interrupts(struct arm_access *a)
{
	return a->v->state.interrupts;
}

void vpmu_arm_write_intenset(struct arm_access *a, uint64_t value)
{
	a->v->state.interrupts |= value & a->v->vm->counters;
}

void vpmu_arm_write_intenclr(struct arm_access *a, uint64_t value)
{
	a->v->state.interrupts &= ~value;
}

/* PMUSWIncrement(): event 0 for each written counter, subject to every enable and filter. */
void vpmu_arm_write_swinc(struct arm_access *a, uint64_t value)
{
	struct vpmu_vcpu *v = a->v;
	uint64_t mask = value & ~CYCLE_BIT & vpmu_active(v->vm, &v->state);

	vpmu_vcpu_pull(v, 0, mask | v->vm->arch->carries(v->vm, &v->state, mask));
	while (mask) {
		unsigned int i = vpmu_mask_next(&mask);
		uint64_t selector = v->state.selector[i];

		if ((selector & 0xFFFF) == EVENT_SW_INCR && vpmu_arm_counts_at(selector, a->el))
			a->change.values |= vpmu_arm_add(v->vm, &v->state, i, a->el == 0, 1);
	}
}

uint64_t vpmu_arm_read_selr(struct arm_access *a)
{
	return a->v->state.pointer;
}

void vpmu_arm_write_selr(struct arm_access *a, uint64_t value)
{
	a->v->state.pointer = value & PMSELR_MASK;
}

uint64_t vpmu_arm_read_ceid0(struct arm_access *a)
{
	return a->v->vm->advertised[0];
}

uint64_t vpmu_arm_read_ceid1(struct arm_access *a)
{
	return a->v->vm->advertised[1];
}

uint64_t vpmu_arm_read_mmir(struct arm_access *a)
{
	return a->model->mmir;
}

uint64_t vpmu_arm_read_counter(struct arm_access *a)
{
	vpmu_vcpu_pull(a->v, 0, VPMU_BIT(a->n));
	if (a->n != VPMU_ARM_CYCLE)
		a->v->touched_counters = true;
	return a->v->state.value[a->n];
}

void vpmu_arm_write_counter(struct arm_access *a, uint64_t value)
{
	a->v->state.value[a->n] = value & vpmu_arm_value_mask(a->model, a->n);
	a->change.values |= VPMU_BIT(a->n);
	if (a->n != VPMU_ARM_CYCLE)
		a->v->touched_counters = true;
}

uint64_t vpmu_arm_read_typer(struct arm_access *a)
{
	return a->v->state.selector[a->n];
}

void vpmu_arm_write_typer(struct arm_access *a, uint64_t value)
{
	a->v->state.selector[a->n] = value & vpmu_arm_selector_mask(a->model, a->n);
	a->change.selectors |= VPMU_BIT(a->n);
}

uint64_t vpmu_arm_read_userenr(struct arm_access *a)
{
	return a->v->state.user;
}

void vpmu_arm_write_userenr(struct arm_access *a, uint64_t value)
{
	a->v->state.user = value & PMUSERENR_MASK;
}

/* ---- Decode ---- */

static bool exists(const struct arm_reg *r, const struct vpmu_arm_model *m, bool write)
{
	if (!r->info.offered || m->version < r->info.since)
		return false;
	return write ? r->write != NULL : r->read != NULL;
}

/* AArch64.CheckPMU*: at EL0 the grant is looked at before anything about the counter. */
static enum vpmu_outcome check_el0(const struct arm_reg *r, struct vpmu_vcpu *v, bool write)
{
	uint8_t grant = write ? r->info.el0_write : r->info.el0_read;

	if (!grant)
		return VPMU_FAULT_UNDEF;
	if (grant == 0xFF)
		return VPMU_HANDLED;
	vpmu_vcpu_pull(v, VPMU_ITEM_USER, 0);
	return v->state.user & grant ? VPMU_HANDLED : VPMU_FAULT_EL1_TRAP;
}

/*
 * Which counter; false: there is none. PMXEVCNTR with PMSELR 31 and every counter beyond PMCR.N are
 * CONSTRAINED UNPREDICTABLE without FEAT_FGT and UNDEF with it: always UNDEF here.
 */
static bool find_counter(const struct arm_reg *r, struct arm_access *a, unsigned int member)
{
	switch (r->index) {
	case ARM_INDEX_NONE:
		return true;
	case ARM_INDEX_MEMBER:
		a->n = member;
		return member < a->model->counters;
	case ARM_INDEX_CYCLE:
		a->n = VPMU_ARM_CYCLE;
		return true;
	case ARM_INDEX_TYPER:
	case ARM_INDEX_COUNTER:
		break;
	}
	vpmu_vcpu_pull(a->v, VPMU_ITEM_POINTER, 0);
	a->n = (unsigned int)a->v->state.pointer & PMSELR_MASK;
	if (a->n == VPMU_ARM_CYCLE)
		return r->index == ARM_INDEX_TYPER;
	return a->n < a->model->counters;
}

static enum vpmu_outcome decode(const struct arm_reg *r, struct arm_access *a, unsigned int member,
				bool write)
{
	enum vpmu_outcome outcome = VPMU_HANDLED;

	if (!exists(r, a->model, write))
		return VPMU_FAULT_UNDEF;
	if (a->el == 0)
		outcome = check_el0(r, a->v, write);
	if (outcome != VPMU_HANDLED)
		return outcome;
	return find_counter(r, a, member) ? VPMU_HANDLED : VPMU_FAULT_UNDEF;
}

/* ---- Apply ---- */

static void apply(const struct arm_reg *r, struct arm_access *a, struct vpmu_arm_access *access)
{
	vpmu_vcpu_pull(a->v, r->uses, 0);
	if (!access->write) {
		access->value = r->read(a);
		return;
	}
	a->change = vpmu_vcpu_change(a->v);
	r->write(a, access->value);
	vpmu_vcpu_push(a->v, &a->change);
}

static int access_register(struct vpmu_vcpu *v, struct vpmu_arm_access *access)
{
	struct arm_access a = { .v = v, .model = vpmu_arm_model(v->vm), .el = access->el };
	unsigned int member;
	const struct arm_reg *r = vpmu_arm_table_find(access->reg, &member);
	enum vpmu_outcome outcome;

	if (!r)
		return VPMU_NOT_MINE;
	outcome = decode(r, &a, member, access->write);
	if (outcome != VPMU_HANDLED) {
		v->stats.faults++;
		return (int)outcome;
	}
	if (access->count)
		(void)vpmu_count(v, VPMU_EVENT_INSTRUCTIONS, access->el == 0, 1);
	apply(r, &a, access);
	return VPMU_HANDLED;
}

int vpmu_arm_access(struct vpmu_vcpu *v, struct vpmu_arm_access *access)
{
	uint64_t before = v->cpu ? v->cpu->hw->accesses : 0;
	int outcome;

	if (v->in_guest)
		return VPMU_ERR_STATE;
	outcome = access_register(v, access);
	if (outcome == VPMU_NOT_MINE)
		return outcome;
	if (access->write)
		v->stats.trapped_writes++;
	else
		v->stats.trapped_reads++;
	if (v->cpu)
		v->stats.trap_accesses += v->cpu->hw->accesses - before;
	return outcome;
}
