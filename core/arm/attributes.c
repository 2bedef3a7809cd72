/* SPDX-License-Identifier: MIT */
/* KVM_ARM_VCPU_PMU_V3_CTRL: one row per attribute, and the PMUs of heterogeneous machines. */
#include <vpmu/arm_attributes.h>

#include "pmuv3.h"

#define ENXIO (-(int)VPMU_LINUX_ENXIO)
#define EFAULT (-(int)VPMU_LINUX_EFAULT)
#define EBUSY (-(int)VPMU_LINUX_EBUSY)
#define ENODEV (-(int)VPMU_LINUX_ENODEV)
#define EINVAL (-(int)VPMU_LINUX_EINVAL)

/* ---- Physical PMUs ---- */

static bool has_cpu(const struct vpmu_arm_cpus *cpus, uint32_t cpu)
{
	return cpu < VPMU_ARM_CPUS_MAX && cpus->mask[cpu / 64] & VPMU_BIT(cpu % 64);
}

static bool overlap(const struct vpmu_arm_cpus *a, const struct vpmu_arm_cpus *b)
{
	for (unsigned int i = 0; i < VPMU_ARM_CPUS_MAX / 64; i++) {
		if (a->mask[i] & b->mask[i])
			return true;
	}
	return false;
}

static uint32_t count_of(const struct vpmu_arm_pmus *pmus)
{
	return atomic_load_explicit(&pmus->count, memory_order_acquire);
}

void vpmu_arm_pmus_init(struct vpmu_arm_pmus *pmus)
{
	atomic_init(&pmus->count, 0);
}

int vpmu_arm_pmus_add(struct vpmu_arm_pmus *pmus, const struct vpmu_arm_pmu *pmu)
{
	uint32_t count = count_of(pmus);

	if (count == VPMU_ARM_PMUS_MAX)
		return VPMU_ERR_LIMIT;
	if (pmu->type <= 0)
		return VPMU_ERR_PARAM;
	for (uint32_t i = 0; i < count; i++) {
		if (pmus->pmu[i]->type == pmu->type || overlap(&pmus->pmu[i]->cpus, &pmu->cpus))
			return VPMU_ERR_PARAM;
	}
	pmus->pmu[count] = pmu;
	atomic_store_explicit(&pmus->count, count + 1, memory_order_release);
	return 0;
}

static const struct vpmu_arm_pmu *pmu_of_type(const struct vpmu_arm_pmus *pmus, int32_t type)
{
	for (uint32_t i = 0; i < count_of(pmus); i++) {
		if (pmus->pmu[i]->type == type)
			return pmus->pmu[i];
	}
	return NULL;
}

static const struct vpmu_arm_pmu *pmu_of_cpu(const struct vpmu_arm_pmus *pmus, uint32_t cpu)
{
	for (uint32_t i = 0; i < count_of(pmus); i++) {
		if (has_cpu(&pmus->pmu[i]->cpus, cpu))
			return pmus->pmu[i];
	}
	return NULL;
}

/* ---- The guest's PMU ---- */

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What two PMUs both have. Slots have a meaning of their own on each: gone unless equal. */
static void meet(struct vpmu_arm_model *all, const struct vpmu_arm_model *one)
{
	if (one->version < all->version)
		all->version = one->version;
	all->counters = (uint32_t)min(all->counters, one->counters);
	all->ceid[0] &= one->ceid[0];
	all->ceid[1] &= one->ceid[1];
	if (all->id != one->id)
		all->id = 0;
	if (all->mmir != one->mmir)
		all->mmir = 0;
	all->listed_only = true;
}

static void cut_to_cycles(struct vpmu_arm_model *m)
{
	m->counters = 0;
	m->ceid[0] &= VPMU_BIT(EVENT_CPU_CYCLES);
	m->ceid[1] = 0;
	m->mmir = 0;
}

static int common_model(const struct vpmu_arm_pmus *pmus, struct vpmu_arm_model *model)
{
	uint32_t count = count_of(pmus);

	if (!count)
		return VPMU_ERR_UNSUPPORTED;
	*model = pmus->pmu[0]->model;
	for (uint32_t i = 1; i < count; i++)
		meet(model, &pmus->pmu[i]->model);
	return 0;
}

/* Before anybody asked for fewer counters. */
static int full_model(const struct vpmu_arm_attributes *a, struct vpmu_arm_model *model)
{
	int error = 0;

	if (a->placement == VPMU_ARM_ONE_PMU) {
		if (!a->chosen)
			return VPMU_ERR_UNSUPPORTED;
		*model = a->chosen->model;
	} else {
		error = common_model(a->pmus, model);
	}
	if (!error && a->placement == VPMU_ARM_FIXED_ONLY)
		cut_to_cycles(model);
	return error;
}

/* No PMU: no counters. */
static uint32_t counters_max(const struct vpmu_arm_attributes *a)
{
	struct vpmu_arm_model model;

	return full_model(a, &model) ? 0 : model.counters;
}

/* The newest version that is not newer than the number, some of which mean none. */
static enum vpmu_arm_version version_of(uint32_t pmuver)
{
	return pmuver < VPMU_ARM_V3P1 ? VPMU_ARM_V3 : (enum vpmu_arm_version)pmuver;
}

/* What full_model() found, as far as the guest is to see it. */
static int limit(const struct vpmu_arm_attributes *a, struct vpmu_arm_model *model)
{
	model->counters = (uint32_t)min(model->counters, a->counters);
	if (!a->lowered)
		return 0;
	if (!a->pmuver)
		return VPMU_ERR_UNSUPPORTED;
	if (version_of(a->pmuver) < model->version)
		model->version = version_of(a->pmuver);
	return 0;
}

int vpmu_arm_attributes_model(const struct vpmu_arm_attributes *a, struct vpmu_arm_model *model)
{
	int error;

	if (a->shown) {
		*model = a->shape;
		return 0;
	}
	error = full_model(a, model);
	return error ? error : limit(a, model);
}

const struct vpmu_policy *vpmu_arm_attributes_policy(const struct vpmu_arm_attributes *a)
{
	return a->filtered ? &a->policy : NULL;
}

void vpmu_arm_attributes_set_pmcr(struct vpmu_arm_attributes *a, uint64_t pmcr)
{
	uint32_t n = (uint32_t)(pmcr >> PMCR_N_SHIFT) & 0x1F;

	if (!a->ran && n < a->counters)
		a->counters = n;
}

static uint32_t pmuver_max(const struct vpmu_arm_attributes *a)
{
	struct vpmu_arm_model model;

	return full_model(a, &model) ? 0 : (uint32_t)model.version;
}

/* After the first run nothing but what is there is taken; that comes before the limit. */
int vpmu_arm_attributes_set_pmuver(struct vpmu_arm_attributes *a, uint32_t pmuver)
{
	uint32_t max = pmuver_max(a);

	if (pmuver == 0xF)
		pmuver = 0;
	if (a->ran)
		return pmuver == (a->lowered ? min(a->pmuver, max) : max) ? 0 : EBUSY;
	if (pmuver > max)
		return EINVAL;
	a->lowered = true;
	a->pmuver = (uint8_t)pmuver;
	return 0;
}

/* ---- Creation ---- */

int vpmu_arm_attributes_init(struct vpmu_arm_attributes *a, const struct vpmu_arm_pmus *pmus,
			     enum vpmu_arm_placement placement, bool irqchip)
{
	if (placement > VPMU_ARM_FIXED_ONLY)
		return VPMU_ERR_PARAM;
	*a = (struct vpmu_arm_attributes){
		.pmus = pmus, .placement = placement, .irqchip = irqchip,
	};
	return 0;
}

static void choose(struct vpmu_arm_attributes *a, const struct vpmu_arm_pmu *pmu)
{
	a->chosen = pmu;
	a->counters = counters_max(a);
}

int vpmu_arm_vcpu_attributes_init(struct vpmu_arm_vcpu_attributes *v, struct vpmu_arm_attributes *a,
				  bool has_pmu, uint32_t cpu)
{
	const struct vpmu_arm_pmu *pmu = pmu_of_cpu(a->pmus, cpu);

	if (has_pmu && !a->chosen && !pmu)
		return EINVAL;
	*v = (struct vpmu_arm_vcpu_attributes){ .vm = a, .has_pmu = has_pmu };
	if (has_pmu && !a->chosen)
		choose(a, pmu);
	return 0;
}

/* ---- IRQ and INIT ---- */

static bool is_ppi(int32_t irq)
{
	return irq >= 16 && irq < 32;
}

static bool is_spi(int32_t irq)
{
	return irq >= 32 && irq < 1020;
}

/* One PPI for all vCPUs, or an SPI for each. */
static bool is_consistent(const struct vpmu_arm_attributes *a, int32_t irq, bool any)
{
	if (!any)
		return true;
	if (is_ppi(irq))
		return a->ppi == irq;
	return !a->ppi && !(a->spi[irq / 8] & 1u << irq % 8);
}

static bool any_spi(const struct vpmu_arm_attributes *a)
{
	unsigned int any = 0;

	for (unsigned int i = 0; i < sizeof(a->spi); i++)
		any |= a->spi[i];
	return any;
}

static int set_irq(struct vpmu_arm_vcpu_attributes *v, const void *data)
{
	struct vpmu_arm_attributes *a = v->vm;
	int32_t irq;

	if (!a->irqchip)
		return EINVAL;
	if (!data)
		return EFAULT;
	__builtin_memcpy(&irq, data, sizeof(irq));
	if (!is_ppi(irq) && !is_spi(irq))
		return EINVAL;
	if (!is_consistent(a, irq, a->ppi || any_spi(a)))
		return EINVAL;
	if (v->irq)
		return EBUSY;
	v->irq = irq;
	if (is_ppi(irq))
		a->ppi = irq;
	else
		a->spi[irq / 8] |= (uint8_t)(1u << irq % 8);
	return 0;
}

static int initialise(struct vpmu_arm_vcpu_attributes *v, const void *data)
{
	(void)data;
	if (v->vm->irqchip && !v->vm->irqchip_ready)
		return ENODEV;
	if (v->vm->irqchip && !v->irq)
		return ENXIO;
	v->created = true;
	return 0;
}

/* ---- FILTER ---- */

/* The event space is the physical PMU's, not the guest's. */
static uint32_t event_count(const struct vpmu_arm_attributes *a)
{
	struct vpmu_arm_model model;

	if (full_model(a, &model) || model.version < VPMU_ARM_V3P1)
		return 1024;
	return 65536;
}

/* The first range decides about all events outside it. */
static void start_filter(struct vpmu_arm_attributes *a, bool deny)
{
	for (unsigned int i = 0; i < VPMU_ARM_EVENT_WORDS; i++)
		a->allowed[i] = deny ? UINT64_MAX : 0;
	a->policy = (struct vpmu_policy){ .events = a->allowed };
	a->filtered = true;
}

static int add_filter(struct vpmu_arm_vcpu_attributes *v, const void *data)
{
	struct vpmu_arm_attributes *a = v->vm;
	struct vpmu_arm_filter_range r;

	if (!data)
		return EFAULT;
	__builtin_memcpy(&r, data, sizeof(r));
	if ((uint32_t)r.base_event + r.nevents > event_count(a) || r.action > 1)
		return EINVAL;
	if (a->ran)
		return EBUSY;
	if (!a->filtered)
		start_filter(a, r.action);
	for (uint32_t event = r.base_event; event < (uint32_t)r.base_event + r.nevents; event++) {
		if (r.action)
			a->allowed[event / 64] &= ~VPMU_BIT(event % 64);
		else
			a->allowed[event / 64] |= VPMU_BIT(event % 64);
	}
	return 0;
}

/* ---- SET_PMU and SET_NR_COUNTERS ---- */

static int set_pmu(struct vpmu_arm_vcpu_attributes *v, const void *data)
{
	struct vpmu_arm_attributes *a = v->vm;
	const struct vpmu_arm_pmu *pmu;
	int32_t type;

	if (!data)
		return EFAULT;
	__builtin_memcpy(&type, data, sizeof(type));
	pmu = pmu_of_type(a->pmus, type);
	if (!pmu)
		return ENXIO;
	if (a->ran)
		return EBUSY;
	if (a->filtered && a->chosen != pmu)
		return EBUSY;
	choose(a, pmu);
	a->restricted = true;
	return 0;
}

static int set_counters(struct vpmu_arm_vcpu_attributes *v, const void *data)
{
	struct vpmu_arm_attributes *a = v->vm;
	uint32_t n;

	if (!data)
		return EFAULT;
	__builtin_memcpy(&n, data, sizeof(n));
	if (!a->chosen || n > counters_max(a))
		return EINVAL;
	a->counters = n;
	return 0;
}

/* ---- The door ---- */

static int (*const setters[])(struct vpmu_arm_vcpu_attributes *v, const void *data) = {
	[VPMU_ARM_ATTR_IRQ] = set_irq,
	[VPMU_ARM_ATTR_INIT] = initialise,
	[VPMU_ARM_ATTR_FILTER] = add_filter,
	[VPMU_ARM_ATTR_SET_PMU] = set_pmu,
	[VPMU_ARM_ATTR_SET_NR_COUNTERS] = set_counters,
};

#define ATTRIBUTES (sizeof(setters) / sizeof(setters[0]))

int vpmu_arm_attribute_has(const struct vpmu_arm_vcpu_attributes *v, uint64_t attribute)
{
	return v->has_pmu && attribute < ATTRIBUTES ? 0 : ENXIO;
}

int vpmu_arm_attribute_set(struct vpmu_arm_vcpu_attributes *v, uint64_t attribute, const void *data)
{
	if (!v->has_pmu)
		return ENODEV;
	if (v->created)
		return EBUSY;
	if (attribute >= ATTRIBUTES)
		return ENXIO;
	return setters[attribute](v, data);
}

int vpmu_arm_attribute_get(const struct vpmu_arm_vcpu_attributes *v, uint64_t attribute, int32_t *irq)
{
	if (attribute != VPMU_ARM_ATTR_IRQ)
		return ENXIO;
	if (!v->vm->irqchip)
		return EINVAL;
	if (!v->has_pmu)
		return ENODEV;
	if (!v->irq)
		return ENXIO;
	*irq = v->irq;
	return 0;
}

/* ---- Running ---- */

/* A PMU that came after the guest was shown its own may have less. */
static bool has_all_of(const struct vpmu_arm_model *pmu, const struct vpmu_arm_model *shape)
{
	return pmu->version >= shape->version && pmu->counters >= shape->counters &&
	       !(shape->ceid[0] & ~pmu->ceid[0]) && !(shape->ceid[1] & ~pmu->ceid[1]) &&
	       (!shape->mmir || pmu->mmir == shape->mmir);
}

static bool may_run_on(const struct vpmu_arm_attributes *a, uint32_t cpu)
{
	const struct vpmu_arm_pmu *pmu;

	if (a->placement == VPMU_ARM_ONE_PMU)
		return !a->restricted || has_cpu(&a->chosen->cpus, cpu);
	pmu = pmu_of_cpu(a->pmus, cpu);
	return pmu && (!a->shown || has_all_of(&pmu->model, &a->shape));
}

int vpmu_arm_attributes_run(struct vpmu_arm_vcpu_attributes *v, uint32_t cpu)
{
	struct vpmu_arm_attributes *a = v->vm;

	if (v->has_pmu && !v->created)
		return EINVAL;
	/* INIT let a vCPU without an interrupt controller through: then it may have no interrupt. */
	if (v->has_pmu && !a->irqchip && v->irq)
		return EINVAL;
	if (v->has_pmu && !may_run_on(a, cpu)) {
		v->refused_cpu = cpu;
		return VPMU_ARM_FAIL_ENTRY;
	}
	if (v->has_pmu && !a->shown)
		a->shown = !vpmu_arm_attributes_model(a, &a->shape);
	if (!a->ran)
		a->ran = true;
	return 0;
}
