/* SPDX-License-Identifier: MIT */
/*
 * RDMSR, WRMSR and RDPMC of the guest, and host-initiated accesses: decode (may fail, changes nothing),
 * then apply (cannot fail).
 */
#include "x86.h"

/* ---- Decode ---- */

static bool has_counter(const struct x86_reg *r, const struct vpmu_x86_model *m, unsigned int member,
			unsigned int *n)
{
	*n = 0;
	if (r->index == X86_INDEX_GP) {
		*n = vpmu_clamp(member, VPMU_X86_GP_MAX);
		return member < m->gp;
	}
	if (r->index == X86_INDEX_FIXED) {
		*n = VPMU_X86_FIXED + vpmu_clamp(member, VPMU_X86_FIXED_MAX);
		return member < m->fixed;
	}
	return true;
}

bool vpmu_x86_exists(const struct x86_reg *r, const struct vpmu_x86_model *m, unsigned int member,
		     unsigned int *n)
{
	if (!r->info.offered || m->version < r->info.since)
		return false;
	return has_counter(r, m, member, n) && (!r->exists || r->exists(m));
}

/* Old software probes the P6's two counters whether they exist or not: they read 0 and drop writes. */
static bool is_p6_counter(const struct vpmu_x86_model *m, uint32_t index)
{
	return m->vendor == VPMU_X86_INTEL && index - MSR_PERFCTR0 < 2;
}

/* ---- The guest ---- */

static void count_access(struct vpmu_vcpu *v, bool write, bool fault, uint64_t accesses)
{
	if (write)
		v->stats.trapped_writes++;
	else
		v->stats.trapped_reads++;
	if (fault)
		v->stats.faults++;
	if (v->cpu)
		v->stats.trap_accesses += v->cpu->hw->accesses - accesses;
}

static int guest_read(const struct x86_reg *r, struct x86_access *a, uint64_t *value)
{
	if (!r->info.readable)
		return VPMU_FAULT_GP;
	vpmu_vcpu_pull(a->v, r->uses, 0);
	*value = r->read(a);
	return VPMU_HANDLED;
}

static void apply(struct x86_access *a, uint32_t uses, void (*write)(struct x86_access *, uint64_t),
		  uint64_t value)
{
	vpmu_vcpu_pull(a->v, uses, 0);
	a->change = vpmu_vcpu_change(a->v);
	write(a, value);
	vpmu_vcpu_push(a->v, &a->change);
}

static int guest_write(const struct x86_reg *r, struct x86_access *a, uint64_t value)
{
	if (!r->info.writable && !r->faults)
		return VPMU_FAULT_GP;
	if (r->faults && r->faults(a, value))
		return VPMU_FAULT_GP;
	if (r->write)
		apply(a, r->uses, r->write, value);
	return VPMU_HANDLED;
}

/* BTS and PEBS unavailable are read-only (SDM vol. 4); the rest of MISC_ENABLE is the embedder's. */
static int misc_enable(const struct vpmu_x86_model *m, uint64_t value)
{
	if (m->vendor != VPMU_X86_INTEL)
		return VPMU_NOT_MINE;
	return (value & MISC_UNAVAILABLE) == MISC_UNAVAILABLE ? VPMU_NOT_MINE : VPMU_FAULT_GP;
}

static int guest_access(struct vpmu_vcpu *v, uint32_t index, bool write, uint64_t *value)
{
	struct x86_access a = { .v = v, .model = vpmu_x86_model(v->vm) };
	unsigned int member;
	const struct x86_reg *r = vpmu_x86_table_find(a.model->vendor, index, &member);

	if (write && index == MSR_MISC_ENABLE)
		return misc_enable(a.model, *value);
	if (!r)
		return VPMU_NOT_MINE;
	if (vpmu_x86_exists(r, a.model, member, &a.n))
		return write ? guest_write(r, &a, *value) : guest_read(r, &a, value);
	if (!is_p6_counter(a.model, index))
		return VPMU_FAULT_GP;
	if (!write)
		*value = 0;
	return VPMU_HANDLED;
}

static int counted_access(struct vpmu_vcpu *v, uint32_t index, bool write, uint64_t *value)
{
	uint64_t accesses = v->cpu ? v->cpu->hw->accesses : 0;
	int outcome;

	if (v->in_guest)
		return VPMU_ERR_STATE;
	outcome = guest_access(v, index, write, value);
	if (outcome != VPMU_NOT_MINE)
		count_access(v, write, outcome == VPMU_FAULT_GP, accesses);
	return outcome;
}

int vpmu_x86_rdmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	return counted_access(v, index, false, value);
}

int vpmu_x86_wrmsr(struct vpmu_vcpu *v, uint32_t index, uint64_t value)
{
	return counted_access(v, index, true, &value);
}

/* ---- RDPMC ---- */

#define RDPMC_TYPE_SHIFT 16
#define RDPMC_GP 0u
#define RDPMC_FIXED 0x4000u

/*
 * Which counter; false: there is none. With architectural counters ECX[31:16] is a type, not flags: no
 * "fast" bit 31 (SDM vol. 2, RDPMC). AMD has a plain index (APM vol. 3).
 */
static bool rdpmc_counter(const struct vpmu_x86_model *m, uint32_t ecx, unsigned int *n)
{
	uint32_t type = m->vendor == VPMU_X86_INTEL ? ecx >> RDPMC_TYPE_SHIFT : RDPMC_GP;
	uint32_t i = m->vendor == VPMU_X86_INTEL ? ecx & 0xFFFF : ecx;

	*n = 0;
	if (type == RDPMC_GP) {
		*n = vpmu_clamp(i, VPMU_X86_GP_MAX);
		return i < m->gp;
	}
	if (type == RDPMC_FIXED) {
		*n = VPMU_X86_FIXED + vpmu_clamp(i, VPMU_X86_FIXED_MAX);
		return i < m->fixed;
	}
	return false;
}

static int rdpmc_outcome(struct vpmu_vcpu *v, struct vpmu_x86_rdpmc *rdpmc)
{
	unsigned int n;

	if (!rdpmc_counter(vpmu_x86_model(v->vm), rdpmc->index, &n))
		return VPMU_FAULT_GP;
	if (rdpmc->cpl && !rdpmc->pce && rdpmc->protected_mode)
		return VPMU_FAULT_GP;
	vpmu_vcpu_pull(v, 0, VPMU_BIT(n));
	rdpmc->value = v->state.value[n];
	v->touched_counters = true;
	if (v->vm->sw->show)
		v->vm->sw->show(v);
	return VPMU_HANDLED;
}

int vpmu_x86_rdpmc(struct vpmu_vcpu *v, struct vpmu_x86_rdpmc *rdpmc)
{
	uint64_t accesses = v->cpu ? v->cpu->hw->accesses : 0;
	int outcome;

	if (v->in_guest)
		return VPMU_ERR_STATE;
	outcome = rdpmc_outcome(v, rdpmc);
	count_access(v, false, outcome == VPMU_FAULT_GP, accesses);
	return outcome;
}

/* ---- The host ---- */

static int host_access(struct vpmu_vcpu *v, uint32_t index, struct x86_access *a,
		       const struct x86_reg **r, bool *exists)
{
	unsigned int member;

	if (v->in_guest)
		return VPMU_ERR_STATE;
	*a = (struct x86_access){ .v = v, .model = vpmu_x86_model(v->vm) };
	*r = vpmu_x86_table_find(a->model->vendor, index, &member);
	if (!*r)
		return VPMU_NOT_MINE;
	*exists = vpmu_x86_exists(*r, a->model, member, &a->n);
	return VPMU_HANDLED;
}

int vpmu_x86_get_msr(struct vpmu_vcpu *v, uint32_t index, uint64_t *value)
{
	const struct x86_reg *r;
	struct x86_access a;
	bool exists;
	int outcome = host_access(v, index, &a, &r, &exists);

	if (outcome != VPMU_HANDLED)
		return outcome;
	*value = 0;
	if (exists) {
		vpmu_vcpu_pull(v, r->uses, 0);
		*value = r->read(&a);
	}
	return VPMU_HANDLED;
}

int vpmu_x86_set_msr(struct vpmu_vcpu *v, uint32_t index, uint64_t value)
{
	const struct x86_reg *r;
	struct x86_access a;
	bool exists;
	int outcome = host_access(v, index, &a, &r, &exists);

	if (outcome != VPMU_HANDLED)
		return outcome;
	if (!exists)
		return value ? VPMU_ERR_PARAM : VPMU_HANDLED;
	if (r->refuses && r->refuses(&a, value))
		return VPMU_ERR_PARAM;
	if (r->set)
		apply(&a, r->uses, r->set, value);
	return VPMU_HANDLED;
}

/* ---- The interrupt's entry ---- */

int vpmu_vcpu_lvtpc(struct vpmu_vcpu *v, uint32_t value)
{
	if (v->in_guest)
		return VPMU_ERR_STATE;
	vpmu_vcpu_mask_interrupt(v, value & VPMU_X86_LVTPC_MASKED);
	return 0;
}

bool vpmu_x86_masks_lvtpc(const struct vpmu_vm *vm)
{
	return vpmu_x86_model(vm)->vendor == VPMU_X86_INTEL;
}

/* ---- Lists and intercepts ---- */

static size_t list_row(const struct x86_reg *r, const struct vpmu_x86_model *m, uint32_t *out,
		       size_t at, size_t max)
{
	unsigned int n;

	for (unsigned int member = 0; member < r->info.members; member++) {
		if (!vpmu_x86_exists(r, m, member, &n))
			break;
		if (at < max)
			out[at] = r->info.index + member * r->info.stride;
		at++;
	}
	return at;
}

size_t vpmu_x86_msr_list(const struct vpmu_vm *vm, uint32_t *out, size_t max)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(vm);
	const struct x86_reg *r;
	size_t count = 0;

	for (size_t row = 0; (r = vpmu_x86_table_row(row)); row++) {
		if (r->info.vendor == m->vendor && r->saved && r->saved(m))
			count = list_row(r, m, out, count, max);
	}
	return count;
}

#define INTERCEPT_GLOBAL VPMU_BIT(48)
#define INTERCEPT_RESET VPMU_BIT(49)
#define INTERCEPT_RDPMC VPMU_BIT(50)
#define INTERCEPT_SELECTORS VPMU_BIT(51)

/* Does the hardware show the guest's value in every counter that RDPMC can name (RULES A2)? */
static bool shows_all(const struct vpmu_vcpu *v)
{
	uint64_t rest = v->vm->counters & ~v->in_hw_counters;

	if (rest & ~v->cpu->known_value)
		return false;
	while (rest) {
		if (v->state.value[vpmu_mask_next(&rest)])
			return false;
	}
	return true;
}

uint64_t vpmu_x86_intercepts(const struct vpmu_vcpu *v)
{
	uint64_t word;

	if (!vpmu_vcpu_is_resident(v))
		return 0;
	word = v->in_hw_counters;
	if (v->cpu->reach == VPMU_REACH_NONE)
		return word;
	word |= INTERCEPT_GLOBAL;
	if (!vpmu_vcpu_watches_acks(v))
		word |= INTERCEPT_RESET;
	if (v->cpu->reach == VPMU_REACH_ALL)
		word |= INTERCEPT_SELECTORS;
	return shows_all(v) ? word | INTERCEPT_RDPMC : word;
}

bool vpmu_x86_rdpmc_is_direct(const struct vpmu_vcpu *v)
{
	return vpmu_x86_intercepts(v) & INTERCEPT_RDPMC;
}

bool vpmu_x86_is_direct(const struct vpmu_vcpu *v, uint32_t index, bool write)
{
	const struct vpmu_x86_model *m = vpmu_x86_model(v->vm);
	unsigned int member, n;
	const struct x86_reg *r = vpmu_x86_table_find(m->vendor, index, &member);

	if (!r || !vpmu_x86_exists(r, m, member, &n))
		return false;
	switch (r->direct) {
	case X86_TRAPPED:
		break;
	case X86_DIRECT_VALUE:
		return vpmu_x86_intercepts(v) & VPMU_BIT(n);
	case X86_DIRECT_GLOBAL:
		return vpmu_x86_intercepts(v) & INTERCEPT_GLOBAL;
	case X86_DIRECT_STATUS:
		return !write && vpmu_x86_intercepts(v) & INTERCEPT_GLOBAL;
	case X86_DIRECT_RESET:
		return write && vpmu_x86_intercepts(v) & INTERCEPT_RESET;
	case X86_DIRECT_SELECTOR:
		return vpmu_x86_intercepts(v) & INTERCEPT_SELECTORS;
	}
	return false;
}
