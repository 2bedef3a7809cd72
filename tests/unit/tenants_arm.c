/* SPDX-License-Identifier: MIT */
/* Tenants of an Arm machine: registers of PMUv3 on hardware/model. Guests set PMCR_EL0.LC, and not LP. */
#include "tenants.h"

static const uint32_t numbers[TENANT_EVENTS] = {
	[TENANT_INSTRUCTIONS] = 0x08,
	[TENANT_CYCLES] = 0x11,
	[TENANT_REFERENCE_CYCLES] = 0x1B,
	[TENANT_BRANCHES] = 0x12,
	[TENANT_BRANCH_MISSES] = 0x10,
	[TENANT_REFERENCES] = 0x13,
	[TENANT_MISSES] = 0x03,
};

/* EL2's own instructions. */
static const struct model_event_count cost_others[] = { { 0x1B, 2 } };
static const struct model_events cost = { 3, 5, cost_others, ARRAY_SIZE(cost_others) };

static void nmi(struct model_hw *mhw, void *context)
{
	bool wrote = mhw->trace_count && mhw->trace[0].write;

	mhw->trace_count = 0;
	tenant_nmi(context, wrote);
}

static void init_cpu(struct tenant_cpu *c)
{
	struct model_config config;

	model_class_config((enum model_class)c->world->arch->class, &config);
	model_pmu_reset(&c->is.arm.pmu, &config, rng_next(&c->world->rng) | 1);
	model_hw_init(&c->is.arm.hw, &c->is.arm.pmu);
	c->is.arm.hw.cost = &cost;
	c->is.arm.hw.hook = nmi;
	c->is.arm.hw.hook_context = c;
	c->is.arm.hw.trace = &c->last_access.arm;
	c->is.arm.hw.trace_size = 1;
	c->hw = &c->is.arm.hw.hw;
}

static void describe(struct tenant_vm *vm)
{
	assert_int_equal(vpmu_arm_model_of(&vm->world->machine, &vm->model.arm), 0);
	if (vm->config.mode == VPMU_MODE_PARTITIONED)
		vm->model.arm.counters = 3;
	if (vm->config.mode != VPMU_MODE_OFF)
		vm->counters = (BIT(vm->model.arm.counters) - 1) | CYCLE_BIT;
}

static int init_vm(struct tenant_vm *vm)
{
	return vpmu_arm_vm_init(&vm->vm, &vm->world->machine, &vm->model.arm, &vm->config);
}

static void compile(struct tenant_policy *p, const struct tenant_arch *arch)
{
	uint32_t n = 0;

	(void)arch;
	for (unsigned int k = 0; k < TENANT_EVENTS; k++) {
		if (p->allowed >> k & 1)
			p->ranges[n++] = (struct vpmu_event_range){ numbers[k], numbers[k] };
	}
	p->policy = (struct vpmu_policy){ .ranges = p->ranges, .range_count = n, .allow_listed = true };
}

static bool is_fixed(unsigned int i, enum tenant_event *event)
{
	if (i == CYCLE)
		*event = TENANT_CYCLES;
	return i == CYCLE;
}

static uint64_t encoding(const struct tenant_arch *arch, enum tenant_event event)
{
	(void)arch;
	return numbers[event];
}

static uint64_t width(const struct tenant_vm *vm, unsigned int i)
{
	return i == CYCLE || vm->model.arm.version >= VPMU_ARM_V3P5 ? UINT64_MAX : UINT32_MAX;
}

static uint64_t wraps(const struct tenant_vm *vm, unsigned int i)
{
	(void)vm;
	return i == CYCLE ? UINT64_MAX : UINT32_MAX;
}

/* ---- The guest's registers ---- */

static void trap(struct tenant_vcpu *g, uint32_t reg, bool write, uint64_t *value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = *value };

	tenant_exit(g);
	tenant_trapped(g);
	assert_int_equal(vpmu_arm_access(&g->v, &access), VPMU_HANDLED);
	*value = access.value;
	tenant_enter(g);
}

static uint64_t sysreg(struct tenant_vcpu *g, uint32_t reg, bool write, uint64_t value)
{
	enum model_result result = model_guest_access(&g->cpu->is.arm.pmu, 1, reg, write, &value);

	if (result == MODEL_EXECUTED)
		tenant_direct(g);
	else if (result == MODEL_TRAP_EL2)
		trap(g, reg, write, &value);
	else
		tenant_fail(g->vm->world, "an access faults");
	return value;
}

static void write_control(struct tenant_vcpu *g, unsigned int i)
{
	const struct tenant_counter *c = &g->counter[i];
	uint64_t type = i == CYCLE ? 0 : numbers[c->event];

	type |= c->rings & TENANT_KERNEL ? 0 : MODEL_FILTER_P;
	type |= c->rings & TENANT_USER ? 0 : MODEL_FILTER_U;
	if (!(g->enabled & BIT(i))) {
		(void)sysreg(g, MODEL_PMCNTENCLR, true, BIT(i));
		(void)sysreg(g, MODEL_PMINTENCLR, true, BIT(i) & ~g->interrupts);
	}
	(void)sysreg(g, i == CYCLE ? MODEL_PMCCFILTR : MODEL_PMEVTYPER(i), true, type);
	(void)sysreg(g, g->interrupts & BIT(i) ? MODEL_PMINTENSET : MODEL_PMINTENCLR, true, BIT(i));
	if (g->enabled & BIT(i))
		(void)sysreg(g, MODEL_PMCNTENSET, true, BIT(i));
}

static void write_value(struct tenant_vcpu *g, unsigned int i)
{
	(void)sysreg(g, i == CYCLE ? MODEL_PMCCNTR : MODEL_PMEVCNTR(i), true, g->counter[i].value);
}

static void write_global(struct tenant_vcpu *g)
{
	(void)sysreg(g, MODEL_PMCR, true, MODEL_PMCR_LC | (g->global ? MODEL_PMCR_E : 0));
}

static void clear_status(struct tenant_vcpu *g, uint64_t mask)
{
	(void)sysreg(g, MODEL_PMOVSCLR, true, mask);
}

static uint64_t read_value(struct tenant_vcpu *g, unsigned int i, bool other)
{
	if (!other || i == CYCLE)
		return sysreg(g, i == CYCLE ? MODEL_PMCCNTR : MODEL_PMEVCNTR(i), false, 0);
	(void)sysreg(g, MODEL_PMSELR, true, i);
	return sysreg(g, MODEL_PMXEVCNTR, false, 0);
}

static uint64_t read_status(struct tenant_vcpu *g)
{
	return sysreg(g, MODEL_PMOVSSET, false, 0);
}

static void probe(struct tenant_vcpu *g)
{
	struct vpmu_arm_access access = { .reg = MODEL_PMCR, .el = 1 };
	uint64_t value = 0;

	assert_int_equal(model_guest_access(&g->cpu->is.arm.pmu, 1, MODEL_PMCR, false, &value),
			 MODEL_TRAP_EL2);
	tenant_exit(g);
	tenant_trapped(g);
	assert_int_equal(vpmu_arm_access(&g->v, &access), VPMU_FAULT_UNDEF);
	tenant_enter(g);
}

static uint64_t global_of(const struct tenant_vm *vm, const struct vpmu_state *s)
{
	return s->global & MODEL_PMCR_E ? vm->counters : 0;
}

/* ---- The CPU ---- */

static void cross(struct tenant_cpu *c, bool enter)
{
	if (enter)
		model_retire(&c->is.arm.pmu, 2, &cost);
	c->is.arm.hw.guest_runs = enter;
	if (!enter)
		model_retire(&c->is.arm.pmu, 2, &cost);
}

static void execute(struct tenant_cpu *c, bool guest, unsigned int ring, const uint64_t *amount)
{
	struct model_event_count others[TENANT_EVENTS];
	struct model_events events = { .instructions = amount[TENANT_INSTRUCTIONS],
				       .cycles = amount[TENANT_CYCLES], .others = others };

	for (unsigned int k = TENANT_REFERENCE_CYCLES; k < TENANT_EVENTS; k++)
		others[events.other_count++] = (struct model_event_count){ numbers[k], amount[k] };
	model_retire(&c->is.arm.pmu, guest ? ring == TENANT_KERNEL : 2, &events);
}

/* A level; nothing is latched. */
static unsigned int interrupts(struct tenant_cpu *c, bool take)
{
	(void)take;
	return model_interrupt(&c->is.arm.pmu);
}

static void burst(const struct tenant_arch *arch, struct vpmu_script_burst *b,
		  struct vpmu_script_raw *raw, const uint64_t *amount)
{
	(void)arch;
	b->amount[VPMU_MEANS_INSTRUCTIONS] = amount[TENANT_INSTRUCTIONS];
	b->amount[VPMU_MEANS_CYCLES] = amount[TENANT_CYCLES];
	for (unsigned int k = 0; k < TENANT_EVENTS; k++)
		raw[k] = (struct vpmu_script_raw){ numbers[k], amount[k] };
	b->raw = raw;
	b->raw_count = TENANT_EVENTS;
}

static void pass(struct tenant_cpu *c, uint64_t nanoseconds)
{
	c->is.arm.hw.time += nanoseconds;
}

static void scribble(struct tenant_cpu *c, unsigned int i, uint64_t value)
{
	c->is.arm.pmu.pmevcntr[i] = value;
}

/* V1. */
static const char *wrong(const struct tenant_cpu *c, enum vpmu_owner owner)
{
	const struct model_pmu *pmu = &c->is.arm.pmu;
	uint64_t guests = ~c->cpu.host_counters;

	if (c->is.arm.hw.violations)
		return c->is.arm.hw.violation;
	if (owner == VPMU_OWNER_HOST && (pmu->pmcnten | pmu->pminten | pmu->pmovs) & guests)
		return "something of a guest is left in HOST";
	return NULL;
}

#define ARM(class_name, class_number) { \
	.name = class_name, .class = class_number, .init_cpu = init_cpu, .describe = describe, \
	.init_vm = init_vm, .compile = compile, .is_fixed = is_fixed, .encoding = encoding, \
	.width = width, .wraps = wraps, .write_control = write_control, .write_value = write_value, \
	.write_global = write_global, .clear_status = clear_status, .read_value = read_value, \
	.read_status = read_status, .probe = probe, .global_of = global_of, .cross = cross, .execute = execute, \
	.interrupts = interrupts, .burst = burst, .pass = pass, .scribble = scribble, .wrong = wrong, \
}

const struct tenant_arch tenant_arm_classes[MODEL_CLASSES] = {
	ARM("p5hpmn", MODEL_P5_HPMN),
	ARM("p5fgt", MODEL_P5_FGT),
	ARM("p5", MODEL_P5),
	ARM("p1", MODEL_P1),
	ARM("v3", MODEL_V3),
};
