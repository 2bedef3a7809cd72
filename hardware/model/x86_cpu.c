/* SPDX-License-Identifier: MIT */
#include "x86_cpu.h"

#define BIT(n) ((uint64_t)1 << (n))
#define RING_0 false
#define RING_3 true

static void violation(struct x86_cpu *cpu, const char *text)
{
	if (cpu->violations++ == 0)
		cpu->violation = text;
}

void x86_cpu_host(struct x86_cpu *cpu, bool user, const struct x86_pmu_events *events)
{
	if (cpu->pmu.guest)
		violation(cpu, "the host executes while the guest runs");
	cpu->host_instructions += events->instructions;
	x86_pmu_retire(&cpu->pmu, user, events);
}

/* ---- One access ---- */

static void around(struct x86_cpu *cpu)
{
	if (cpu->hook)
		cpu->hook(cpu, cpu->hook_context);
	if (!cpu->cost)
		return;
	cpu->host_instructions += cpu->cost->instructions;
	x86_pmu_retire(&cpu->pmu, RING_0, cpu->cost);
}

static void before(struct x86_cpu *cpu)
{
	if (cpu->pmu.guest)
		violation(cpu, "an access while the guest runs");
	around(cpu);
}

static void after(struct x86_cpu *cpu, enum x86_cpu_op op, uint32_t index, uint64_t value)
{
	if (cpu->trace && cpu->trace_count < cpu->trace_size)
		cpu->trace[cpu->trace_count] = (struct x86_cpu_access){ op, index, value };
	cpu->trace_count++;
	around(cpu);
}

/* ---- What a write must not do (RULES A3 to A5) ---- */

static bool counts(const struct x86_cpu *cpu, unsigned int i)
{
	return x86_pmu_counts(&cpu->pmu, i, RING_0) || x86_pmu_counts(&cpu->pmu, i, RING_3);
}

/* Member of the register family at (first), if (index) is one. */
static bool is_member(uint32_t index, uint32_t first, unsigned int stride, unsigned int members,
		      unsigned int *n)
{
	if (index < first || (index - first) % stride)
		return false;
	*n = (index - first) / stride;
	return *n < members;
}

static bool is_counter(const struct x86_cpu *cpu, uint32_t index, unsigned int *i)
{
	const struct x86_pmu_config *c = &cpu->pmu.config;

	if (c->vendor == X86_PMU_AMD)
		return is_member(index, X86_MSR_K7_PERFCTR(0), 1, 4, i) ||
		       is_member(index, X86_MSR_PERF_CTR(0), 2, 6, i);
	if (is_member(index, X86_MSR_PERFCTR(0), 1, c->gp, i) ||
	    is_member(index, X86_MSR_PMC(0), 1, c->gp, i))
		return true;
	if (!is_member(index, X86_MSR_FIXED_CTR(0), 1, c->fixed, i))
		return false;
	*i += X86_PMU_FIXED;
	return true;
}

static bool is_selector(const struct x86_cpu *cpu, uint32_t index, unsigned int *i)
{
	const struct x86_pmu_config *c = &cpu->pmu.config;

	if (c->vendor == X86_PMU_AMD)
		return is_member(index, X86_MSR_K7_EVNTSEL(0), 1, 4, i) ||
		       is_member(index, X86_MSR_PERF_CTL(0), 2, 6, i);
	return is_member(index, X86_MSR_PERFEVTSEL(0), 1, c->gp, i);
}

static void set_enabled(struct x86_cpu *cpu, unsigned int i, bool enabled)
{
	cpu->guest_enabled = enabled ? cpu->guest_enabled | BIT(i) : cpu->guest_enabled & ~BIT(i);
}

/* Stopping what counts is what writing 0 is for; making it count something else is not. */
static void check_change(struct x86_cpu *cpu, unsigned int i, uint64_t old, uint64_t value,
			 uint64_t enables)
{
	if (value != old && value & enables && counts(cpu, i))
		violation(cpu, "a selector written while its counter counts");
	set_enabled(cpu, i, value & enables && !(cpu->host_owned >> i & 1));
}

static void check_selector(struct x86_cpu *cpu, unsigned int i, uint64_t value)
{
	check_change(cpu, i, cpu->pmu.selector[i], value, X86_SEL_EN);
	if (cpu->pmu.config.vendor != X86_PMU_AMD || !(value & X86_SEL_EN))
		return;
	if (cpu->host_owned >> i & 1)
		return;
	if (!(value & X86_SEL_GUEST_ONLY) || value & X86_SEL_HOST_ONLY)
		violation(cpu, "an enabled selector that is not for guests only");
}

static void check_fixed_ctrl(struct x86_cpu *cpu, uint64_t value)
{
	for (unsigned int n = 0; n < cpu->pmu.config.fixed; n++) {
		uint64_t old = cpu->pmu.fixed_ctrl >> (4 * n) & 0xF, group = value >> (4 * n) & 0xF;

		/* In a partition, the groups of the host are written as they are. */
		if (group != old)
			check_change(cpu, X86_PMU_FIXED + n, old, group,
				     X86_FIXED_OS | X86_FIXED_USR);
	}
}

/* Outside the guest, Intel's GLOBAL_CTRL is what holds the guest's counters. */
static void check_global(struct x86_cpu *cpu, uint64_t value)
{
	if (cpu->pmu.config.vendor == X86_PMU_INTEL && value & cpu->guest_enabled)
		violation(cpu, "a guest's counter enabled outside the guest");
}

static void check_write(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	unsigned int i;

	if (is_counter(cpu, index, &i)) {
		if (counts(cpu, i))
			violation(cpu, "a counter written while it counts");
	} else if (is_selector(cpu, index, &i)) {
		check_selector(cpu, i, value);
	} else if (index == X86_MSR_FIXED_CTR_CTRL) {
		check_fixed_ctrl(cpu, value);
	} else if (index == X86_MSR_GLOBAL_CTRL) {
		check_global(cpu, value);
	}
}

/* ---- The port ---- */

static uint64_t port_rdmsr(void *context, uint32_t index)
{
	struct x86_cpu *cpu = context;
	uint64_t value = 0;

	before(cpu);
	if (!x86_pmu_rdmsr(&cpu->pmu, index, &value))
		violation(cpu, "a RDMSR that faults");
	after(cpu, X86_CPU_RDMSR, index, value);
	return value;
}

static void port_wrmsr(void *context, uint32_t index, uint64_t value)
{
	struct x86_cpu *cpu = context;

	before(cpu);
	check_write(cpu, index, value);
	if (!x86_pmu_wrmsr(&cpu->pmu, index, value))
		violation(cpu, "a WRMSR that faults");
	after(cpu, X86_CPU_WRMSR, index, value);
}

static uint64_t port_rdpmc(void *context, uint32_t index)
{
	struct x86_cpu *cpu = context;
	uint64_t value = 0;

	before(cpu);
	if (!x86_pmu_rdpmc(&cpu->pmu, index, 0, false, true, &value))
		violation(cpu, "a RDPMC that faults");
	after(cpu, X86_CPU_RDPMC, index, value);
	return value;
}

/* The route to the host ends a guest's ownership: nothing of the guest may be left enabled. */
static void port_set_lvtpc(void *context, uint32_t value)
{
	struct x86_cpu *cpu = context;

	bool leaves = (value & 0xFF) != X86_CPU_VECTOR &&
		      (cpu->pmu.lvtpc & 0xFF) == X86_CPU_VECTOR;

	before(cpu);
	if (leaves && cpu->guest_enabled)
		violation(cpu, "a guest's selector enabled while the host has the PMU");
	x86_pmu_set_lvtpc(&cpu->pmu, value);
	after(cpu, X86_CPU_LVTPC, 0, value);
}

static uint64_t port_guest_global(void *context)
{
	struct x86_cpu *cpu = context;
	uint64_t value;

	before(cpu);
	value = cpu->pmu.guest_global;
	after(cpu, X86_CPU_GET_GUEST_GLOBAL, 0, value);
	return value;
}

static void port_set_guest_global(void *context, uint64_t value)
{
	struct x86_cpu *cpu = context;

	before(cpu);
	cpu->pmu.guest_global = value;
	after(cpu, X86_CPU_SET_GUEST_GLOBAL, 0, value);
}

static void port_switch_global(void *context, bool on, uint64_t host)
{
	struct x86_cpu *cpu = context;

	before(cpu);
	if (on)
		check_global(cpu, host);
	cpu->pmu.vmx_controls = on;
	cpu->pmu.host_global = host;
	after(cpu, X86_CPU_SWITCH_GLOBAL, on, host);
}

static uint64_t port_time(void *context)
{
	const struct x86_cpu *cpu = context;

	return cpu->time;
}

#define PORT_BASE \
	.size = sizeof(struct vpmu_x86_port), \
	.rdmsr = port_rdmsr, \
	.wrmsr = port_wrmsr, \
	.rdpmc = port_rdpmc, \
	.set_lvtpc = port_set_lvtpc, \
	.time = port_time

static const struct vpmu_x86_port port = { PORT_BASE };

static const struct vpmu_x86_port vmx_port = {
	PORT_BASE,
	.guest_global = port_guest_global,
	.set_guest_global = port_set_guest_global,
	.switch_global = port_switch_global,
};

/* ---- The CPU ---- */

/* A few instructions of a hypervisor. */
static const struct x86_pmu_events host_cost = {
	.instructions = 5, .cycles = 7, .reference_cycles = 7, .branches = 1,
};

void x86_cpu_model(const struct x86_pmu_config *config, struct vpmu_x86_model *model)
{
	bool amd = config->vendor == X86_PMU_AMD;

	*model = (struct vpmu_x86_model){
		.size = sizeof(*model),
		.vendor = amd ? VPMU_X86_AMD : VPMU_X86_INTEL,
		.version = config->version,
		.gp = config->gp,
		.gp_width = config->gp_width,
		.fixed = config->fixed,
		.fixed_width = config->fixed ? config->fixed_width : 0,
		.events_length = config->events_length,
		.events_missing = config->events_missing,
		.pdcm = config->pdcm,
		.full_width_writes = config->full_width_writes,
		.core_extension = config->core_extension,
		.tsx = config->tsx,
	};
}

int x86_cpu_init(struct x86_cpu *cpu, const struct x86_pmu_config *config, bool vmx_controls)
{
	bool amd = config->vendor == X86_PMU_AMD;
	struct vpmu_x86_model model;

	*cpu = (struct x86_cpu){ .cost = &host_cost };
	x86_pmu_reset(&cpu->pmu, config);
	cpu->pmu.svme = amd;
	x86_cpu_model(&cpu->pmu.config, &model);
	return vpmu_x86_hw_init(&cpu->x86, &model, vmx_controls && !amd ? &vmx_port : &port, cpu,
				X86_CPU_VECTOR);
}

void x86_cpu_enter(struct x86_cpu *cpu)
{
	before(cpu);
	if (!x86_pmu_vmenter(&cpu->pmu))
		violation(cpu, "a VM entry that fails");
}

/* A guest whose selectors are direct has enabled what it likes. */
static void note_enabled(struct x86_cpu *cpu)
{
	const struct x86_pmu *pmu = &cpu->pmu;

	for (unsigned int i = 0; i < pmu->config.gp; i++)
		set_enabled(cpu, i, pmu->selector[i] & X86_SEL_EN && !(cpu->host_owned >> i & 1));
	for (unsigned int n = 0; n < pmu->config.fixed; n++) {
		unsigned int i = X86_PMU_FIXED + n;

		set_enabled(cpu, i, pmu->fixed_ctrl >> (4 * n) & (X86_FIXED_OS | X86_FIXED_USR) &&
			    !(cpu->host_owned >> i & 1));
	}
}

void x86_cpu_exit(struct x86_cpu *cpu)
{
	if (!cpu->pmu.guest)
		violation(cpu, "a VM exit without an entry");
	note_enabled(cpu);
	x86_pmu_vmexit(&cpu->pmu);
	around(cpu);
}

/* ---- Machines ---- */

void x86_cpu_class_config(enum x86_cpu_class class, struct x86_pmu_config *config)
{
	static const struct x86_pmu_config classes[X86_CPU_CLASSES] = {
		[X86_CPU_CORE2] = {
			.version = 2, .gp = 2, .gp_width = 40, .fixed = 3, .fixed_width = 40,
			.events_length = 7, .pdcm = true, .pin_control = true,
		},
		[X86_CPU_HASWELL] = {
			.version = 3, .gp = 4, .gp_width = 48, .fixed = 3, .fixed_width = 48,
			.events_length = 7, .pdcm = true, .full_width_writes = true,
			.freeze_smm = true, .anythread = true, .tsx = true,
		},
		[X86_CPU_SKYLAKE] = {
			.version = 4, .gp = 8, .gp_width = 48, .fixed = 3, .fixed_width = 48,
			.events_length = 7, .pdcm = true, .full_width_writes = true,
			.freeze_smm = true, .anythread = true, .tsx = true,
		},
		[X86_CPU_ICELAKE] = {
			.version = 5, .gp = 8, .gp_width = 48, .fixed = 4, .fixed_width = 48,
			.events_length = 8, .pdcm = true, .full_width_writes = true,
			.freeze_smm = true,
		},
		[X86_CPU_K7] = {
			.vendor = X86_PMU_AMD, .version = 1, .gp = 4, .gp_width = 48,
		},
		[X86_CPU_ZEN2] = {
			.vendor = X86_PMU_AMD, .version = 1, .gp = 6, .gp_width = 48,
			.core_extension = true,
		},
		[X86_CPU_ZEN4] = {
			.vendor = X86_PMU_AMD, .version = 2, .gp = 6, .gp_width = 48,
			.core_extension = true,
		},
	};

	*config = classes[class];
	/* LBR and BTF, which every x86 CPU can set. */
	config->debugctl = 3;
}
