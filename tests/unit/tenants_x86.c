/* SPDX-License-Identifier: MIT */
/* Tenants of an x86 machine: MSRs and RDPMC on hardware/model/x86_cpu.h. */
#include <string.h>

#include "tenants.h"

#define FIXED VPMU_X86_FIXED
#define LVTPC_VECTOR 0x40u

struct code {
	uint16_t event;
	uint8_t umask;
};

static const struct code codes[2][TENANT_EVENTS] = {
	{
		[TENANT_INSTRUCTIONS] = { 0xC0, 0 },
		[TENANT_CYCLES] = { 0x3C, 0 },
		[TENANT_REFERENCE_CYCLES] = { 0x3C, 1 },
		[TENANT_BRANCHES] = { 0xC4, 0 },
		[TENANT_BRANCH_MISSES] = { 0xC5, 0 },
		[TENANT_REFERENCES] = { 0x2E, 0x4F },
		[TENANT_MISSES] = { 0x2E, 0x41 },
	},
	{
		[TENANT_INSTRUCTIONS] = { 0xC0, 0 },
		[TENANT_CYCLES] = { 0x76, 0 },
		[TENANT_REFERENCE_CYCLES] = { 0x120, 1 },
		[TENANT_BRANCHES] = { 0xC2, 0 },
		[TENANT_BRANCH_MISSES] = { 0xC3, 0 },
		[TENANT_REFERENCES] = { 0x60, 0xFF },
		[TENANT_MISSES] = { 0x64, 0x09 },
	},
};

static bool is_amd(const struct tenant_arch *arch)
{
	return arch->class == X86_CPU_ZEN4;
}

static bool amd_guest(const struct tenant_vcpu *g)
{
	return is_amd(g->vm->world->arch);
}

/* Of a selector, and of an entry of KVM's filter. */
static uint64_t encoding(const struct tenant_arch *arch, enum tenant_event event)
{
	struct code c = codes[is_amd(arch)][event];

	return (c.event & 0xFFu) | (uint64_t)c.umask << 8 | (uint64_t)(c.event & 0xF00u) << 24;
}

/* Which counters are the host's, its writes' check learns before each. */
static void nmi(struct x86_cpu *x86, void *context)
{
	struct tenant_cpu *c = context;
	enum x86_cpu_op op = x86->trace[0].op;
	bool wrote = x86->trace_count && op != X86_CPU_RDMSR && op != X86_CPU_RDPMC &&
		     op != X86_CPU_GET_GUEST_GLOBAL;

	x86->trace_count = 0;
	x86->host_owned = c->cpu.host_counters;
	tenant_nmi(c, wrote);
}

/* The host's own instructions: what its events do not count. */
static const struct x86_pmu_events cost = { .instructions = 5, .cycles = 7, .reference_cycles = 6 };

static void init_cpu(struct tenant_cpu *c)
{
	struct x86_pmu_config config;

	x86_cpu_class_config((enum x86_cpu_class)c->world->arch->class, &config);
	assert_int_equal(x86_cpu_init(&c->is.x86, &config, true), 0);
	x86_pmu_set_lvtpc(&c->is.x86.pmu, X86_LVTPC_NMI);
	c->is.x86.cost = &cost;
	c->is.x86.hook = nmi;
	c->is.x86.hook_context = c;
	c->is.x86.trace = &c->last_access.x86;
	c->is.x86.trace_size = 1;
	c->hw = &c->is.x86.x86.hw;
}

static void describe(struct tenant_vm *vm)
{
	struct vpmu_x86_model *model = &vm->model.x86;

	assert_int_equal(vpmu_x86_model_of(&vm->world->machine, model), 0);
	if (vm->config.mode == VPMU_MODE_PARTITIONED)
		model->gp = 3;
	if (vm->config.mode == VPMU_MODE_EMULATED)
		model->tsx = false;
	if (vm->config.mode != VPMU_MODE_OFF)
		vm->counters = (BIT(model->gp) - 1) | (BIT(model->fixed) - 1) << FIXED;
}

static int init_vm(struct tenant_vm *vm)
{
	return vpmu_x86_vm_init(&vm->vm, &vm->world->machine, &vm->model.x86, &vm->config);
}

static bool is_fixed(unsigned int i, enum tenant_event *event)
{
	/* This machine has one slot per cycle. */
	static const enum tenant_event fixed[VPMU_X86_FIXED_MAX] = {
		TENANT_INSTRUCTIONS, TENANT_CYCLES, TENANT_REFERENCE_CYCLES, TENANT_CYCLES,
	};

	if (i >= FIXED)
		*event = fixed[i - FIXED];
	return i >= FIXED;
}

static void compile(struct tenant_policy *p, const struct tenant_arch *arch)
{
	struct {
		uint32_t action, nevents, fixed, flags, pad[4];
		uint64_t events[TENANT_EVENTS];
	} kvm = { .action = 0 };
	enum tenant_event event = TENANT_EVENTS;

	for (unsigned int k = 0; k < TENANT_EVENTS; k++) {
		if (p->allowed >> k & 1)
			kvm.events[kvm.nevents++] = encoding(arch, (enum tenant_event)k);
	}
	for (unsigned int n = 0; n < VPMU_X86_FIXED_MAX; n++) {
		(void)is_fixed(FIXED + n, &event);
		kvm.fixed |= (p->allowed >> event & 1) << n;
	}
	assert_int_equal(vpmu_x86_filter_compile(&p->filter, is_amd(arch) ? VPMU_X86_AMD : VPMU_X86_INTEL,
						 &kvm, sizeof(kvm)), 0);
	p->policy = (struct vpmu_policy){ .x86 = &p->filter };
}

static uint64_t width(const struct tenant_vm *vm, unsigned int i)
{
	return BIT(i < FIXED ? vm->model.x86.gp_width : vm->model.x86.fixed_width) - 1;
}

/* ---- The guest's registers ---- */

static uint32_t selector_msr(const struct tenant_vcpu *g, unsigned int i)
{
	return amd_guest(g) ? X86_MSR_PERF_CTL(i) : X86_MSR_PERFEVTSEL(i);
}

static uint32_t counter_msr(const struct tenant_vcpu *g, unsigned int i)
{
	if (i >= FIXED)
		return X86_MSR_FIXED_CTR(i - FIXED);
	return amd_guest(g) ? X86_MSR_PERF_CTR(i) : X86_MSR_PMC(i);
}

static void wrmsr(struct tenant_vcpu *g, uint32_t index, uint64_t value)
{
	if (vpmu_x86_is_direct(&g->v, index, true)) {
		tenant_direct(g);
		assert_true(x86_pmu_wrmsr(&g->cpu->is.x86.pmu, index, value));
		return;
	}
	tenant_exit(g);
	tenant_trapped(g);
	assert_int_equal(vpmu_x86_wrmsr(&g->v, index, value), VPMU_HANDLED);
	tenant_enter(g);
}

static uint64_t rdmsr(struct tenant_vcpu *g, uint32_t index)
{
	uint64_t value = 0;

	if (vpmu_x86_is_direct(&g->v, index, false)) {
		tenant_direct(g);
		assert_true(x86_pmu_rdmsr(&g->cpu->is.x86.pmu, index, &value));
		return value;
	}
	tenant_exit(g);
	tenant_trapped(g);
	assert_int_equal(vpmu_x86_rdmsr(&g->v, index, &value), VPMU_HANDLED);
	tenant_enter(g);
	return value;
}

static uint64_t rdpmc(struct tenant_vcpu *g, uint32_t ecx)
{
	struct vpmu_x86_rdpmc rdpmc = { .index = ecx, .protected_mode = true };
	uint64_t value = 0;

	if (vpmu_x86_rdpmc_is_direct(&g->v)) {
		tenant_direct(g);
		assert_true(x86_pmu_rdpmc(&g->cpu->is.x86.pmu, ecx, 0, false, true, &value));
		return value;
	}
	tenant_exit(g);
	tenant_trapped(g);
	assert_int_equal(vpmu_x86_rdpmc(&g->v, &rdpmc), VPMU_HANDLED);
	tenant_enter(g);
	return rdpmc.value;
}

static uint64_t group_of(const struct tenant_vcpu *g, unsigned int i)
{
	uint64_t group = g->interrupts & BIT(i) ? X86_FIXED_PMI : 0;

	if (!(g->enabled & BIT(i)))
		return group;
	group |= g->counter[i].rings & TENANT_KERNEL ? X86_FIXED_OS : 0;
	return group | (g->counter[i].rings & TENANT_USER ? X86_FIXED_USR : 0);
}

static void write_fixed(struct tenant_vcpu *g)
{
	uint64_t value = 0;

	for (unsigned int n = 0; n < g->vm->model.x86.fixed; n++)
		value |= group_of(g, FIXED + n) << 4 * n;
	wrmsr(g, X86_MSR_FIXED_CTR_CTRL, value);
}

static void write_control(struct tenant_vcpu *g, unsigned int i)
{
	const struct tenant_counter *c = &g->counter[i];
	uint64_t selector = encoding(g->vm->world->arch, c->event);

	if (i >= FIXED) {
		write_fixed(g);
		return;
	}
	selector |= c->rings & TENANT_KERNEL ? X86_SEL_OS : 0;
	selector |= c->rings & TENANT_USER ? X86_SEL_USR : 0;
	selector |= g->interrupts & BIT(i) ? X86_SEL_INT : 0;
	selector |= g->enabled & BIT(i) ? X86_SEL_EN : 0;
	wrmsr(g, selector_msr(g, i), selector);
}

static void write_value(struct tenant_vcpu *g, unsigned int i)
{
	wrmsr(g, counter_msr(g, i), g->counter[i].value);
}

static void write_global(struct tenant_vcpu *g)
{
	wrmsr(g, amd_guest(g) ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, g->global);
}

static void clear_status(struct tenant_vcpu *g, uint64_t mask)
{
	wrmsr(g, amd_guest(g) ? X86_MSR_AMD_STATUS_CLR : X86_MSR_STATUS_RESET, mask);
}

static void set_entry(struct tenant_vcpu *g)
{
	uint32_t mask = g->masked ? VPMU_X86_LVTPC_MASKED : 0;

	assert_int_equal(vpmu_vcpu_lvtpc(&g->v, LVTPC_VECTOR | mask), 0);
}

static uint64_t read_value(struct tenant_vcpu *g, unsigned int i, bool other)
{
	if (!other)
		return rdmsr(g, counter_msr(g, i));
	return rdpmc(g, i < FIXED ? i : 1u << 30 | (i - FIXED));
}

static uint64_t read_status(struct tenant_vcpu *g)
{
	return rdmsr(g, amd_guest(g) ? X86_MSR_AMD_GLOBAL_STATUS : X86_MSR_GLOBAL_STATUS);
}

static void probe(struct tenant_vcpu *g)
{
	uint32_t index = amd_guest(g) ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL;
	uint64_t value = 0;

	assert_false(vpmu_x86_is_direct(&g->v, index, false));
	assert_false(vpmu_x86_rdpmc_is_direct(&g->v));
	tenant_exit(g);
	tenant_trapped(g);
	assert_int_equal(vpmu_x86_rdmsr(&g->v, index, &value), VPMU_FAULT_GP);
	tenant_enter(g);
}

static uint64_t global_of(const struct tenant_vm *vm, const struct vpmu_state *s)
{
	return s->global & vm->counters;
}

/* ---- The CPU ---- */

static void cross(struct tenant_cpu *c, bool enter)
{
	c->boundary = true;
	if (enter)
		x86_cpu_enter(&c->is.x86);
	else
		x86_cpu_exit(&c->is.x86);
	c->boundary = false;
}

static void execute(struct tenant_cpu *c, bool guest, unsigned int ring, const uint64_t *amount)
{
	const struct x86_pmu_events events = {
		.instructions = amount[TENANT_INSTRUCTIONS],
		.cycles = amount[TENANT_CYCLES],
		.reference_cycles = amount[TENANT_REFERENCE_CYCLES],
		.branches = amount[TENANT_BRANCHES],
		.branch_misses = amount[TENANT_BRANCH_MISSES],
		.llc_references = amount[TENANT_REFERENCES],
		.llc_misses = amount[TENANT_MISSES],
	};

	if (guest)
		x86_pmu_retire(&c->is.x86.pmu, ring == TENANT_USER, &events);
	else
		x86_cpu_host(&c->is.x86, ring == TENANT_USER, &events);
}

static unsigned int interrupts(struct tenant_cpu *c, bool take)
{
	unsigned int n = 0;

	if (!take)
		return x86_pmu_interrupt(&c->is.x86.pmu) != X86_PMU_NO_INTERRUPT;
	while (x86_pmu_take_interrupt(&c->is.x86.pmu) != X86_PMU_NO_INTERRUPT)
		n++;
	return n;
}

static void burst(const struct tenant_arch *arch, struct vpmu_script_burst *b,
		  struct vpmu_script_raw *raw, const uint64_t *amount)
{
	b->amount[VPMU_MEANS_INSTRUCTIONS] = amount[TENANT_INSTRUCTIONS];
	b->amount[VPMU_MEANS_CYCLES] = amount[TENANT_CYCLES];
	b->amount[VPMU_MEANS_REFERENCE_CYCLES] = amount[TENANT_REFERENCE_CYCLES];
	b->amount[VPMU_MEANS_BRANCHES] = amount[TENANT_BRANCHES];
	b->amount[VPMU_MEANS_BRANCH_MISSES] = amount[TENANT_BRANCH_MISSES];
	b->amount[VPMU_MEANS_LLC_REFERENCES] = amount[TENANT_REFERENCES];
	b->amount[VPMU_MEANS_LLC_MISSES] = amount[TENANT_MISSES];
	for (unsigned int k = 0; k < TENANT_EVENTS; k++)
		raw[k] = (struct vpmu_script_raw){ encoding(arch, (enum tenant_event)k), amount[k] };
	/* Slots, which only a fixed counter counts. */
	raw[TENANT_EVENTS] = (struct vpmu_script_raw){ 0x01A4, amount[TENANT_CYCLES] };
	b->raw = raw;
	b->raw_count = TENANT_EVENTS + 1;
}

static void pass(struct tenant_cpu *c, uint64_t nanoseconds)
{
	c->is.x86.time += nanoseconds;
}

static void scribble(struct tenant_cpu *c, unsigned int i, uint64_t value)
{
	c->is.x86.pmu.gp[i] = value;
}

/* V1, V7. */
static const char *wrong(const struct tenant_cpu *c, enum vpmu_owner owner)
{
	const struct x86_cpu *x86 = &c->is.x86;

	if (x86->violations)
		return x86->violation;
	if (owner != VPMU_OWNER_HOST)
		return NULL;
	if (x86->guest_enabled || x86->pmu.global_status & ~c->cpu.host_counters)
		return "something of a guest is left in HOST";
	/* An interrupt has masked it, and nobody has taken that; or it was late: who wants one next knows that. */
	if (x86->pmu.lvtpc == (X86_LVTPC_NMI | X86_LVTPC_MASKED) &&
	    (c->late || c->cpu.route == VPMU_CPU_ROUTE_UNKNOWN))
		return NULL;
	if (x86->pmu.lvtpc == X86_LVTPC_NMI)
		return NULL;
	return "the host's LVTPC is not as it was";
}

#define X86(class_name, class_number, masks) { \
	.name = class_name, .class = class_number, .edge = true, .self_masking = masks, \
	.host_rings = true, .init_cpu = init_cpu, .describe = describe, \
	.init_vm = init_vm, .compile = compile, .is_fixed = is_fixed, .encoding = encoding, \
	.width = width, .wraps = width, .write_control = write_control, .write_value = write_value, \
	.write_global = write_global, .clear_status = clear_status, .set_entry = set_entry, \
	.read_value = read_value, .read_status = read_status, .probe = probe, .global_of = global_of, \
	.cross = cross, .execute = execute, .interrupts = interrupts, .burst = burst, .pass = pass, \
	.scribble = scribble, .wrong = wrong, \
}

const struct tenant_arch tenant_x86_classes[TENANT_X86_CLASSES] = {
	X86("skylake", X86_CPU_SKYLAKE, true),
	X86("icelake", X86_CPU_ICELAKE, true),
	X86("zen4", X86_CPU_ZEN4, false),
};
