/* SPDX-License-Identifier: MIT */
/* What the rows of table.c do. */
#include "x86.h"

/* ---- What exists ---- */

bool vpmu_x86_has_pdcm(const struct vpmu_x86_model *m)
{
	return m->pdcm;
}

bool vpmu_x86_has_full_width(const struct vpmu_x86_model *m)
{
	return m->full_width_writes;
}

bool vpmu_x86_has_core_extension(const struct vpmu_x86_model *m)
{
	return m->core_extension || m->version >= 2;
}

/* ---- Reads ---- */

uint64_t vpmu_x86_read_zero(struct x86_access *a)
{
	(void)a;
	return 0;
}

uint64_t vpmu_x86_read_counter(struct x86_access *a)
{
	vpmu_vcpu_pull(a->v, 0, VPMU_BIT(a->n));
	return a->v->state.value[a->n];
}

uint64_t vpmu_x86_read_selector(struct x86_access *a)
{
	return a->v->state.selector[a->n];
}

uint64_t vpmu_x86_read_fixed_ctrl(struct x86_access *a)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < a->model->fixed; i++)
		value |= a->v->state.selector[VPMU_X86_FIXED + i] << 4 * i;
	return value;
}

uint64_t vpmu_x86_read_status(struct x86_access *a)
{
	return a->v->state.status;
}

uint64_t vpmu_x86_read_global(struct x86_access *a)
{
	return a->v->state.global;
}

/* SDM 20.2.4.3: a general-purpose counter is in use when its event select is not 0. */
uint64_t vpmu_x86_read_inuse(struct x86_access *a)
{
	const struct vpmu_state *s = &a->v->state;
	uint64_t rest = a->v->vm->counters;
	uint64_t value = s->interrupts ? INUSE_PMI : 0;

	while (rest) {
		unsigned int i = vpmu_mask_next(&rest);

		if (s->selector[i] & (i < VPMU_X86_FIXED ? SEL_EVENT : FIXED_RINGS))
			value |= VPMU_BIT(i);
	}
	return value;
}

uint64_t vpmu_x86_read_capabilities(struct x86_access *a)
{
	return vpmu_x86_capabilities(a->model);
}

uint64_t vpmu_x86_read_debug(struct x86_access *a)
{
	return a->v->state.debug;
}

/* ---- Which writes fault ---- */

bool vpmu_x86_faults_always(const struct x86_access *a, uint64_t value)
{
	(void)a;
	(void)value;
	return true;
}

bool vpmu_x86_faults_width(const struct x86_access *a, uint64_t value)
{
	return value & ~vpmu_x86_value_mask(a->model, a->n);
}

bool vpmu_x86_faults_selector(const struct x86_access *a, uint64_t value)
{
	return value & ~vpmu_x86_selector_mask(a->model, a->n);
}

bool vpmu_x86_faults_fixed_ctrl(const struct x86_access *a, uint64_t value)
{
	uint64_t legal = 0;

	for (unsigned int i = 0; i < a->model->fixed; i++)
		legal |= (uint64_t)FIXED_BITS << 4 * i;
	return value & ~legal;
}

bool vpmu_x86_faults_global(const struct x86_access *a, uint64_t value)
{
	return value & ~a->v->vm->counters;
}

bool vpmu_x86_faults_status(const struct x86_access *a, uint64_t value)
{
	return value & ~vpmu_x86_status_mask(a->v->vm);
}

bool vpmu_x86_faults_reset(const struct x86_access *a, uint64_t value)
{
	return value & ~(vpmu_x86_status_mask(a->v->vm) | RESET_ALSO);
}

bool vpmu_x86_faults_debug(const struct x86_access *a, uint64_t value)
{
	return value & ~vpmu_x86_debug_mask(a->v->vm);
}

bool vpmu_x86_refuses_capabilities(const struct x86_access *a, uint64_t value)
{
	return value != vpmu_x86_capabilities(a->model);
}

/* ---- Writes; AMD drops the bits that Intel faults on ---- */

void vpmu_x86_write_counter(struct x86_access *a, uint64_t value)
{
	a->v->state.value[a->n] = value & vpmu_x86_value_mask(a->model, a->n);
	a->change.values |= VPMU_BIT(a->n);
}

/* IA32_PERFCTRn takes 32 bits, sign-extended (SDM 20.2.1.1). */
void vpmu_x86_write_counter32(struct x86_access *a, uint64_t value)
{
	uint64_t sign = value & VPMU_BIT(31) ? ~SEL_LOW : 0;

	vpmu_x86_write_counter(a, (value & SEL_LOW) | sign);
}

static void change_selector(struct x86_access *a, unsigned int i, uint64_t selector)
{
	if (a->v->state.selector[i] == selector)
		return;
	vpmu_x86_set_selector(&a->v->state, i, selector);
	a->change.selectors |= VPMU_BIT(i);
}

void vpmu_x86_write_selector(struct x86_access *a, uint64_t value)
{
	change_selector(a, a->n, value & vpmu_x86_selector_mask(a->model, a->n));
}

void vpmu_x86_write_fixed_ctrl(struct x86_access *a, uint64_t value)
{
	for (unsigned int i = 0; i < a->model->fixed; i++)
		change_selector(a, VPMU_X86_FIXED + i, value >> 4 * i & FIXED_BITS);
}

void vpmu_x86_write_global(struct x86_access *a, uint64_t value)
{
	a->v->state.global = value & a->v->vm->counters;
}

void vpmu_x86_write_status(struct x86_access *a, uint64_t value)
{
	a->v->state.status = value & vpmu_x86_status_mask(a->v->vm);
}

void vpmu_x86_write_reset(struct x86_access *a, uint64_t value)
{
	a->v->state.status &= ~value;
}

void vpmu_x86_write_status_set(struct x86_access *a, uint64_t value)
{
	a->v->state.status |= value & vpmu_x86_status_mask(a->v->vm);
}

void vpmu_x86_write_debug(struct x86_access *a, uint64_t value)
{
	a->v->state.debug = value;
}
