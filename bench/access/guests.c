/* SPDX-License-Identifier: MIT */
#include "guests.h"

#define COUNTING 4u

/* ---- Arm hardware that is not there ---- */

static struct null_hw *null_of(struct vpmu_hw *hw)
{
	return (struct null_hw *)(void *)hw;
}

static void write_mask(struct vpmu_hw *hw, uint64_t mask)
{
	(void)mask;
	hw->accesses++;
}

static uint64_t read_zero(struct vpmu_hw *hw)
{
	hw->accesses++;
	return 0;
}

static uint64_t read_counter(struct vpmu_hw *hw, unsigned int i)
{
	(void)i;
	hw->accesses++;
	return 0;
}

static void write_counter(struct vpmu_hw *hw, unsigned int i, uint64_t value)
{
	(void)i;
	(void)value;
	hw->accesses++;
}

static void stop(struct vpmu_hw *hw, uint64_t mask)
{
	null_of(hw)->started &= ~mask;
	hw->accesses++;
}

static void start(struct vpmu_hw *hw, uint64_t mask)
{
	null_of(hw)->started |= mask;
	hw->accesses++;
}

static uint64_t started(struct vpmu_hw *hw)
{
	hw->accesses++;
	return null_of(hw)->started;
}

static uint64_t global(struct vpmu_hw *hw)
{
	hw->accesses++;
	return null_of(hw)->global;
}

static void set_global(struct vpmu_hw *hw, uint64_t value)
{
	null_of(hw)->global = value;
	hw->accesses++;
}

static void boundary(struct vpmu_hw *hw, uint64_t guest, uint64_t host)
{
	(void)hw;
	(void)guest;
	(void)host;
}

static void reach(struct vpmu_hw *hw, enum vpmu_reach what)
{
	(void)hw;
	(void)what;
}

static const struct vpmu_hw_ops null_ops = {
	.size = sizeof(null_ops),
	.stop = stop,
	.start = start,
	.started = started,
	.read = read_counter,
	.write = write_counter,
	.select = write_counter,
	.selected = read_counter,
	.status = read_zero,
	.status_clear = write_mask,
	.status_set = write_mask,
	.interrupts = read_zero,
	.interrupts_clear = write_mask,
	.interrupts_set = write_mask,
	.global = global,
	.set_global = set_global,
	.user = read_zero,
	.set_user = write_mask,
	.pointer = read_zero,
	.set_pointer = write_mask,
	.boundary = boundary,
	.reach = reach,
};

/* ---- x86 instructions that do nothing, below the real backend ---- */

static uint64_t port_read(void *context, uint32_t index)
{
	(void)context;
	(void)index;
	return 0;
}

static void port_wrmsr(void *context, uint32_t index, uint64_t value)
{
	(void)context;
	(void)index;
	(void)value;
}

static void port_set_lvtpc(void *context, uint32_t value)
{
	(void)context;
	(void)value;
}

static uint64_t port_guest_global(void *context)
{
	return ((struct guest *)context)->guest_global;
}

static void port_set_guest_global(void *context, uint64_t value)
{
	((struct guest *)context)->guest_global = value;
}

static void port_switch_global(void *context, bool on, uint64_t host)
{
	(void)context;
	(void)on;
	(void)host;
}

static const struct vpmu_x86_port port = {
	.size = sizeof(port),
	.rdmsr = port_read,
	.wrmsr = port_wrmsr,
	.rdpmc = port_read,
	.set_lvtpc = port_set_lvtpc,
	.guest_global = port_guest_global,
	.set_guest_global = port_set_guest_global,
	.switch_global = port_switch_global,
};

/* ---- vCPUs ---- */

static struct vpmu_hw *hardware_init(struct guest *g, enum guest_arch arch)
{
	if (arch == GUEST_X86)
		return vpmu_x86_hw_init(&g->x86, &g->x86_model, &port, g, 0xF5) ? NULL : &g->x86.hw;
	g->arm.hw = (struct vpmu_hw){
		.ops = &null_ops,
		.caps = {
			.counters = 0x8000003F, .selectable = 0x8000003F,
			.direct_values = 0x80000000, .global_enable = 1,
			.boundary = VPMU_BOUNDARY_ATOMIC, .fine_traps = 1,
			.version = VPMU_ARM_V3P5, .identity = { UINT64_MAX, UINT64_MAX, 8, 0x4130 },
		},
	};
	return &g->arm.hw;
}

static int vm_init(struct guest *g, enum guest_arch arch, enum vpmu_mode mode)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = mode };

	if (arch == GUEST_X86)
		return vpmu_x86_vm_init(&g->vm, &g->machine, &g->x86_model, &config);
	return vpmu_arm_vm_init(&g->vm, &g->machine, &g->arm_model, &config);
}

static bool x86_start(struct vpmu_vcpu *v)
{
	uint64_t all = 0xFF;
	bool fine = door_wrmsr(v, X86_GLOBAL_CTRL, &all) == VPMU_HANDLED;

	for (unsigned int i = 0; i < COUNTING; i++) {
		uint64_t selector = (i % 2 ? X86_CYCLES : X86_INSTRUCTIONS) | X86_EN;

		fine &= door_wrmsr(v, X86_PERFEVTSEL(i), &selector) == VPMU_HANDLED;
	}
	return fine;
}

static bool arm_start(struct vpmu_vcpu *v)
{
	uint64_t enable = 1, counters = (1u << COUNTING) - 1;
	bool fine = true;

	for (unsigned int i = 0; i < COUNTING; i++) {
		uint64_t event = i % 2 ? ARM_CYCLES : ARM_INSTRUCTIONS;

		fine &= door_msr(v, ARM_PMEVTYPER(i), &event) == VPMU_HANDLED;
	}
	fine &= door_msr(v, ARM_PMCNTENSET, &counters) == VPMU_HANDLED;
	return fine && door_msr(v, ARM_PMCR, &enable) == VPMU_HANDLED;
}

static void models(struct guest *g)
{
	g->x86_model = (struct vpmu_x86_model){
		.size = sizeof(g->x86_model), .vendor = VPMU_X86_INTEL, .version = 4, .gp = 8,
		.gp_width = 48, .fixed = 3, .fixed_width = 48, .events_length = 7, .pdcm = true,
		.full_width_writes = true,
	};
	g->arm_model = (struct vpmu_arm_model){
		.size = sizeof(g->arm_model), .version = VPMU_ARM_V3P5, .counters = 6,
		.id = 0x4130, .ceid = { UINT64_MAX, UINT64_MAX }, .mmir = 8,
	};
}

bool guest_init(struct guest *g, enum guest_arch arch, enum guest_mode mode)
{
	bool mediated = mode != GUEST_EMULATED;
	struct vpmu_hw *hw;
	uint64_t unused;

	*g = (struct guest){ 0 };
	models(g);
	hw = hardware_init(g, arch);
	if (!hw)
		return false;
	vpmu_machine_init(&g->machine);
	vpmu_machine_add(&g->machine, &hw->caps);
	if (vpmu_cpu_init(&g->cpu, 0, hw) ||
	    vm_init(g, arch, mediated ? VPMU_MODE_MEDIATED : VPMU_MODE_EMULATED))
		return false;
	vpmu_vcpu_init(&g->v, &g->vm);
	vpmu_model_source_init(&g->source, &g->v, VPMU_COUNTER_MAX, true);
	if (!mediated && vpmu_vcpu_attach(&g->v, &g->emulated, &g->source.source))
		return false;
	if (vpmu_vcpu_load(&g->v, mediated ? &g->cpu : NULL))
		return false;
	if (mode != GUEST_QUIET && !(arch == GUEST_X86 ? x86_start(&g->v) : arm_start(&g->v)))
		return false;
	return door_round(&g->v, 0, &unused) == VPMU_HANDLED;
}

uint64_t guest_accesses(const struct guest *g)
{
	return g->x86.hw.accesses + g->arm.hw.accesses;
}
