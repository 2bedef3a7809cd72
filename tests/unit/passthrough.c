/* SPDX-License-Identifier: MIT */
/*
 * The two ends of the modes: a VM whose PMU is passed through, and one without a PMU (vpmu/vpmu.h).
 *
 * Passed through, nothing exits: what a guest does to the physical PMU it does to a bare one too, and after
 * any puts, reclaims and other guests in between both show the same.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/arm.h>
#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "model_hw.h"
#include "support.h"
#include "x86_cpu.h"

#define ROUNDS 20000u
#define SEL0 0x186u
#define PERFCTR0 0xC1u
#define PMC0 0x4C1u
#define FIXED_CTR0 0x309u
#define FIXED_CTRL 0x38Du
#define STATUS 0x38Eu
#define GLOBAL 0x38Fu
#define STATUS_RESET 0x390u
#define LATE (BIT(48) - 0x1000)  /* a counter with it overflows soon */

static struct vpmu_vm_config mode_config(enum vpmu_mode mode, enum vpmu_switch_kind kind)
{
	return (struct vpmu_vm_config){
		.size = sizeof(struct vpmu_vm_config), .mode = mode, .switch_kind = kind,
	};
}

/* ---- x86 ---- */

struct pc {
	struct x86_cpu hw;
	struct x86_pmu bare;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v, other;   /* two vCPUs of one VM: the second only makes the first leave */
	struct rng rng;
};

static void x86_machine(struct pc *m, enum x86_cpu_class class)
{
	struct x86_pmu_config config;

	*m = (struct pc){ .rng = { 7 } };
	x86_cpu_class_config(class, &config);
	assert_int_equal(x86_cpu_init(&m->hw, &config, true), 0);
	m->hw.cost = NULL;
	x86_pmu_reset(&m->bare, &config);
	vpmu_machine_init(&m->machine);
	vpmu_machine_add(&m->machine, &m->hw.x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&m->cpu, 0, &m->hw.x86.hw), 0);
	x86_cpu_model(&config, &m->model);
	m->model.debug_bits = 0;
}

static int x86_vm(struct pc *m, struct vpmu_vm *vm, enum vpmu_mode mode, enum vpmu_switch_kind kind)
{
	struct vpmu_vm_config config = mode_config(mode, kind);

	return vpmu_x86_vm_init(vm, &m->machine, &m->model, &config);
}

/* An access of the running guest: without an exit once its PMU is in the hardware. */
static uint64_t x86_guest(struct pc *m, uint32_t index, bool write, uint64_t value)
{
	uint64_t bare = value;
	bool direct = vpmu_x86_is_direct(&m->v, index, write);

	assert_true(write ? x86_pmu_wrmsr(&m->bare, index, value) :
			    x86_pmu_rdmsr(&m->bare, index, &bare));
	if (direct) {
		assert_true(write ? x86_pmu_wrmsr(&m->hw.pmu, index, value) :
				    x86_pmu_rdmsr(&m->hw.pmu, index, &value));
	} else {
		x86_cpu_exit(&m->hw);
		assert_int_equal(vpmu_vcpu_exit(&m->v, 0), 0);
		assert_int_equal(write ? vpmu_x86_wrmsr(&m->v, index, value) :
					 vpmu_x86_rdmsr(&m->v, index, &value), VPMU_HANDLED);
		assert_int_equal(vpmu_vcpu_enter(&m->v, 0), 0);
		x86_cpu_enter(&m->hw);
	}
	if (value != bare)
		fail_msg("MSR %#x: %#llx, bare %#llx", index, (unsigned long long)value,
			 (unsigned long long)bare);
	return value;
}

static void x86_compare(struct pc *m)
{
	for (uint32_t i = 0; i < m->model.gp; i++) {
		x86_guest(m, SEL0 + i, false, 0);
		x86_guest(m, PERFCTR0 + i, false, 0);
	}
	for (uint32_t i = 0; i < m->model.fixed; i++)
		x86_guest(m, FIXED_CTR0 + i, false, 0);
	x86_guest(m, FIXED_CTRL, false, 0);
	x86_guest(m, STATUS, false, 0);
	x86_guest(m, GLOBAL, false, 0);
}

static void x86_program(struct pc *m)
{
	static const uint16_t events[] = { 0xC0, 0x3C, 0xC4, 0xC5, 0x412E };
	uint64_t r = rng_next(&m->rng);
	uint32_t i = (uint32_t)(r >> 8 & 7);
	uint64_t wide = rng_next(&m->rng) & (BIT(48) - 1);

	switch (r & 7) {
	case 0:
	case 1:
		x86_guest(m, SEL0 + i, true, events[(r >> 16) % 5] | (r >> 20 & 7) << 16 |
			  (r >> 24 & 1) * X86_SEL_EN);
		break;
	case 2:
		x86_guest(m, FIXED_CTRL, true, (r >> 16) & 0x3333);
		break;
	case 3:
		x86_guest(m, GLOBAL, true, (r >> 16 & 0xFF) | (r >> 24 & 0xF) << 32);
		break;
	case 4:
		/* Near the overflow, often. */
		x86_guest(m, PMC0 + i, true, r >> 40 & 1 ? wide | LATE : wide);
		break;
	case 5:
		x86_guest(m, STATUS_RESET, true, wide & 0xF000000FF);
		break;
	default:
		x86_compare(m);
	}
}

static void x86_run(struct pc *m)
{
	uint64_t n = rng_next(&m->rng) % 3000;
	struct x86_pmu_events events = { .instructions = n, .cycles = 2 * n, .reference_cycles = n,
					 .branches = n / 5, .branch_misses = n / 50 };
	bool user = rng_next(&m->rng) & 1;

	x86_pmu_retire(&m->hw.pmu, user, &events);
	x86_pmu_retire(&m->bare, user, &events);
}

static void x86_leave(struct pc *m)
{
	x86_cpu_exit(&m->hw);
	assert_int_equal(vpmu_vcpu_exit(&m->v, 0), 0);
}

static void x86_enter(struct pc *m)
{
	assert_int_equal(vpmu_vcpu_enter(&m->v, 0), 0);
	x86_cpu_enter(&m->hw);
}

/* The host works, and it or another vCPU has the PMU meanwhile. */
static void x86_interlude(struct pc *m)
{
	static const struct x86_pmu_events work = { .instructions = 1000, .cycles = 1000 };
	uint64_t kind = rng_next(&m->rng) % 4;

	x86_leave(m);
	if (kind == 0)
		assert_int_equal(vpmu_cpu_reclaim(&m->cpu, rng_next(&m->rng) & 1 ? 0xFF : 0), 0);
	if (kind >= 2) {
		assert_int_equal(vpmu_vcpu_put(&m->v), 0);
		assert_int_equal(vpmu_vcpu_load(&m->other, &m->cpu), 0);
		assert_int_equal(vpmu_vcpu_enter(&m->other, 0), 0);
		x86_cpu_enter(&m->hw);
		x86_pmu_retire(&m->hw.pmu, false, &work);
		x86_cpu_exit(&m->hw);
		assert_int_equal(vpmu_vcpu_exit(&m->other, 0), 0);
		assert_int_equal(vpmu_vcpu_put(&m->other), 0);
		x86_cpu_host(&m->hw, false, &work);
		assert_int_equal(vpmu_vcpu_load(&m->v, &m->cpu), 0);
	}
	x86_enter(m);
}

static void x86_equals_bare(enum vpmu_switch_kind kind)
{
	struct pc m;

	x86_machine(&m, X86_CPU_ICELAKE);
	assert_int_equal(x86_vm(&m, &m.vm, VPMU_MODE_PASSTHROUGH, kind), 0);
	vpmu_vcpu_init(&m.v, &m.vm);
	vpmu_vcpu_init(&m.other, &m.vm);
	assert_int_equal(vpmu_vcpu_load(&m.v, &m.cpu), 0);
	x86_enter(&m);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		x86_program(&m);
		x86_run(&m);
		if (rng_next(&m.rng) % 8 == 0)
			x86_interlude(&m);
	}
	x86_compare(&m);
	x86_leave(&m);
	if (m.hw.violations)
		fail_msg("%s", m.hw.violation);
	assert_int_equal(vpmu_vcpu_put(&m.v), 0);
	vpmu_vm_end(&m.vm);
}

static void x86_lazy_equals_bare(void **state)
{
	(void)state;
	x86_equals_bare(VPMU_SWITCH_LAZY);
}

static void x86_eager_equals_bare(void **state)
{
	(void)state;
	x86_equals_bare(VPMU_SWITCH_EAGER);
}

/* Selectors too, and every counter by RDPMC, but only while the guest's PMU is in the hardware. */
static void x86_nothing_exits(void **state)
{
	struct pc m;

	(void)state;
	x86_machine(&m, X86_CPU_ICELAKE);
	assert_int_equal(x86_vm(&m, &m.vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY), 0);
	vpmu_vcpu_init(&m.v, &m.vm);
	assert_int_equal(vpmu_vcpu_load(&m.v, &m.cpu), 0);
	x86_enter(&m);
	assert_int_equal(vpmu_x86_intercepts(&m.v), 0);
	x86_guest(&m, SEL0, true, 0x4300C0);
	assert_int_equal(vpmu_vcpu_reach_reason(&m.v), VPMU_REACH_OPEN);
	for (uint32_t i = 0; i < 8; i++) {
		assert_true(vpmu_x86_is_direct(&m.v, SEL0 + i, true));
		assert_true(vpmu_x86_is_direct(&m.v, SEL0 + i, false));
		assert_true(vpmu_x86_is_direct(&m.v, PMC0 + i, true));
	}
	assert_true(vpmu_x86_is_direct(&m.v, FIXED_CTRL, true));
	assert_true(vpmu_x86_is_direct(&m.v, GLOBAL, true));
	assert_true(vpmu_x86_rdpmc_is_direct(&m.v));
	assert_false(vpmu_x86_is_direct(&m.v, 0x1D9, true));
	x86_leave(&m);
}

/* Hardware may have selector bits that the guest's PMU has not: they are not part of its state (V4). */
static void x86_bits_beyond(void **state)
{
	struct vpmu_state s;
	struct pc m;

	(void)state;
	x86_machine(&m, X86_CPU_ICELAKE);
	assert_int_equal(x86_vm(&m, &m.vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY), 0);
	vpmu_vcpu_init(&m.v, &m.vm);
	assert_int_equal(vpmu_vcpu_load(&m.v, &m.cpu), 0);
	x86_enter(&m);
	x86_guest(&m, SEL0, true, 0x4300C0);
	m.hw.pmu.selector[0] |= BIT(34);
	x86_leave(&m);
	assert_int_equal(vpmu_vcpu_get_state(&m.v, &s), 0);
	assert_int_equal(s.selector[0], 0x4300C0);
	assert_int_equal(vpmu_vcpu_put(&m.v), 0);
	assert_int_equal(vpmu_vcpu_set_state(&m.v, &s), 0);
}

/* While the host counts, what both share exits again, and the guest counts on exactly. */
static void x86_beside_a_host_event(void **state)
{
	const struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_HYPERVISOR, .event = 0xC0,
		.user = true, .kernel = true,
	};
	struct vpmu_host_event e;
	struct vpmu_count count;
	struct pc m;

	(void)state;
	x86_machine(&m, X86_CPU_ICELAKE);
	assert_int_equal(x86_vm(&m, &m.vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY), 0);
	vpmu_vcpu_init(&m.v, &m.vm);
	assert_int_equal(vpmu_vcpu_load(&m.v, &m.cpu), 0);
	x86_enter(&m);
	x86_guest(&m, SEL0, true, 0x4300C0);
	x86_run(&m);
	x86_leave(&m);
	assert_int_equal(vpmu_host_event_create(&e, &m.machine, &m.cpu, &config), 0);
	x86_cpu_host(&m.hw, false, &(const struct x86_pmu_events){ .instructions = 500, .cycles = 500 });
	x86_enter(&m);
	assert_false(vpmu_x86_is_direct(&m.v, GLOBAL, true));
	assert_false(vpmu_x86_is_direct(&m.v, SEL0, true));
	x86_run(&m);
	x86_compare(&m);
	x86_leave(&m);
	assert_int_equal(vpmu_host_event_read(&e, &count), 0);
	assert_int_equal(count.value, 500);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	x86_enter(&m);
	assert_true(vpmu_x86_is_direct(&m.v, SEL0, true));
	x86_compare(&m);
	x86_leave(&m);
}

/* What would need enforcement is refused: at creation, and later. */
static void x86_refusals(void **state)
{
	static const struct vpmu_x86_filter filter = { .deny = false };
	static const struct vpmu_policy closed = { .x86 = &filter };
	struct vpmu_vm_config config = mode_config(VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY);
	struct vpmu_vm vm, second;
	struct pc m;

	(void)state;
	x86_machine(&m, X86_CPU_ICELAKE);
	config.policy = &closed;
	assert_int_equal(vpmu_x86_vm_init(&vm, &m.machine, &m.model, &config),
			 VPMU_ERR_UNSUPPORTED);
	m.model.gp = 4;
	assert_int_equal(x86_vm(&m, &vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
			 VPMU_ERR_UNSUPPORTED);
	m.model.gp = 8;
	assert_int_equal(x86_vm(&m, &vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY), 0);
	assert_int_equal(vpmu_vm_set_policy(&vm, &closed), VPMU_ERR_UNSUPPORTED);
	assert_int_equal(vpmu_vm_set_policy(&vm, NULL), 0);
	vpmu_vm_end(&vm);
	/* AnyThread, and AMD's GuestOnly. */
	x86_machine(&m, X86_CPU_SKYLAKE);
	assert_int_equal(x86_vm(&m, &vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
			 VPMU_ERR_UNSUPPORTED);
	x86_machine(&m, X86_CPU_ZEN4);
	assert_int_equal(x86_vm(&m, &vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
			 VPMU_ERR_UNSUPPORTED);
	assert_int_equal(x86_vm(&m, &second, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY), 0);
}

/* Who may be there besides, both ways round: nobody else with counters of the hardware. */
static void sole_tenant(void **state)
{
	static const struct { enum vpmu_mode mode; int answer; } others[] = {
		{ VPMU_MODE_PASSTHROUGH, VPMU_ERR_BUSY },
		{ VPMU_MODE_MEDIATED, VPMU_ERR_BUSY },
		{ VPMU_MODE_PARTITIONED, VPMU_ERR_BUSY },
		{ VPMU_MODE_EMULATED, 0 },
		{ VPMU_MODE_OFF, 0 },
	};
	struct vpmu_host_event_config event = {
		.size = sizeof(event), .scope = VPMU_SCOPE_CPU, .event = 0xC0, .kernel = true,
	};
	struct vpmu_host_event e;
	struct vpmu_vm first, second;
	struct vpmu_host_event_config inside = event;
	struct pc m;

	(void)state;
	inside.scope = VPMU_SCOPE_VM;
	inside.vm = &first;
	x86_machine(&m, X86_CPU_ICELAKE);
	for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		enum vpmu_mode mode = others[i].mode;

		assert_int_equal(x86_vm(&m, &first, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY), 0);
		assert_int_equal(x86_vm(&m, &second, mode, VPMU_SWITCH_LAZY), others[i].answer);
		assert_int_equal(vpmu_host_event_create(&e, &m.machine, &m.cpu, &event),
				 VPMU_ERR_BUSY);
		assert_int_equal(vpmu_host_event_create(&e, &m.machine, &m.cpu, &inside),
				 VPMU_ERR_BUSY);
		vpmu_vm_end(&first);
		if (!others[i].answer)
			vpmu_vm_end(&second);
		assert_int_equal(x86_vm(&m, &second, mode, VPMU_SWITCH_LAZY), 0);
		assert_int_equal(x86_vm(&m, &first, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
				 others[i].answer);
		if (!others[i].answer)
			vpmu_vm_end(&first);
		vpmu_vm_end(&second);
	}
	assert_int_equal(vpmu_host_event_create(&e, &m.machine, &m.cpu, &event), 0);
	assert_int_equal(x86_vm(&m, &first, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
			 VPMU_ERR_BUSY);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	assert_int_equal(x86_vm(&m, &first, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY), 0);
}

/* ---- Arm ---- */

struct board {
	struct model_pmu pmu, bare;
	struct model_hw hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v, other;
	struct rng rng;
	uint64_t traps;
};

static void arm_machine(struct board *b, enum model_class class)
{
	struct model_config config;

	*b = (struct board){ .rng = { 11 } };
	model_class_config(class, &config);
	model_pmu_reset(&b->pmu, &config, 1);
	model_hw_init(&b->hw, &b->pmu);
	/* The bare machine has no EL2 that traps anything. */
	model_pmu_reset(&b->bare, &config, 0);
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.hw), 0);
	assert_int_equal(vpmu_arm_model_of(&b->machine, &b->model), 0);
}

static int arm_vm(struct board *b, struct vpmu_vm *vm, enum vpmu_mode mode,
		  enum vpmu_switch_kind kind)
{
	struct vpmu_vm_config config = mode_config(mode, kind);

	return vpmu_arm_vm_init(vm, &b->machine, &b->model, &config);
}

static void arm_leave(struct board *b)
{
	b->hw.guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void arm_enter(struct board *b)
{
	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	b->hw.guest_runs = true;
}

static int arm_trap(struct board *b, unsigned int el, uint32_t reg, bool write, uint64_t *value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = (uint8_t)el, .write = write,
					  .value = *value };
	int outcome;

	arm_leave(b);
	b->traps++;
	outcome = vpmu_arm_access(&b->v, &access);
	*value = access.value;
	arm_enter(b);
	return outcome;
}

static void arm_guest(struct board *b, uint32_t reg, bool write, uint64_t value)
{
	uint64_t bare = value;

	assert_int_equal(model_guest_access(&b->bare, 1, reg, write, &bare), MODEL_EXECUTED);
	if (model_guest_access(&b->pmu, 1, reg, write, &value) != MODEL_EXECUTED)
		assert_int_equal(arm_trap(b, 1, reg, write, &value), VPMU_HANDLED);
	if (!write && value != bare)
		fail_msg("register %#x: %#llx, bare %#llx", reg, (unsigned long long)value,
			 (unsigned long long)bare);
}

static void arm_compare(struct board *b)
{
	for (unsigned int i = 0; i < 6; i++) {
		arm_guest(b, MODEL_PMEVTYPER(i), false, 0);
		arm_guest(b, MODEL_PMEVCNTR(i), false, 0);
	}
	arm_guest(b, MODEL_PMCCNTR, false, 0);
	arm_guest(b, MODEL_PMCR, false, 0);
	arm_guest(b, MODEL_PMCNTENSET, false, 0);
	arm_guest(b, MODEL_PMINTENSET, false, 0);
	arm_guest(b, MODEL_PMOVSSET, false, 0);
	arm_guest(b, MODEL_PMCEID0, false, 0);
}

/* Selectors within what a guest's PMU has: P, U and events that both count. */
static void arm_program(struct board *b)
{
	uint64_t r = rng_next(&b->rng);
	unsigned int i = (unsigned int)(r >> 8) % 6;

	switch (r & 7) {
	case 0:
	case 1:
		arm_guest(b, MODEL_PMEVTYPER(i), true, (r >> 16 & 1 ? 8 : 0x11) | (r >> 17 & 3) << 30);
		break;
	case 2:
		arm_guest(b, MODEL_PMCNTENSET, true, (r >> 16 & 0x3F) | BIT(31));
		break;
	case 3:
		arm_guest(b, MODEL_PMCNTENCLR, true, r >> 16 & 0x3F);
		break;
	case 4:
		arm_guest(b, MODEL_PMEVCNTR(i), true, r >> 40 & 1 ? 0xFFFFF000 : r >> 41);
		break;
	case 5:
		arm_guest(b, MODEL_PMOVSCLR, true, r >> 16 & 0x3F);
		break;
	case 6:
		arm_guest(b, MODEL_PMCR, true, MODEL_PMCR_LC | (r >> 16 & 7 ? MODEL_PMCR_E : 0));
		break;
	default:
		arm_compare(b);
	}
}

static void arm_run(struct board *b)
{
	uint64_t n = rng_next(&b->rng) % 3000;
	const struct model_events events = { .instructions = n, .cycles = 2 * n };
	unsigned int el = rng_next(&b->rng) & 1;

	model_retire(&b->pmu, el, &events);
	model_retire(&b->bare, el, &events);
}

static void arm_interlude(struct board *b)
{
	static const struct model_events work = { .instructions = 1000, .cycles = 1000 };
	uint64_t kind = rng_next(&b->rng) % 4;

	arm_leave(b);
	model_retire(&b->pmu, 2, &work);
	if (kind == 0)
		assert_int_equal(vpmu_cpu_reclaim(&b->cpu, 0x3F), 0);
	if (kind >= 2) {
		assert_int_equal(vpmu_vcpu_put(&b->v), 0);
		assert_int_equal(vpmu_vcpu_load(&b->other, &b->cpu), 0);
		assert_int_equal(vpmu_vcpu_enter(&b->other, 0), 0);
		model_retire(&b->pmu, 1, &work);
		assert_int_equal(vpmu_vcpu_exit(&b->other, 0), 0);
		assert_int_equal(vpmu_vcpu_put(&b->other), 0);
		assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu), 0);
	}
	arm_enter(b);
}

/* From its first enabled counter on it traps no more: fewer traps than one per program. */
static void arm_equals_bare(enum model_class class, enum vpmu_switch_kind kind)
{
	struct board b;

	arm_machine(&b, class);
	assert_int_equal(arm_vm(&b, &b.vm, VPMU_MODE_PASSTHROUGH, kind), 0);
	vpmu_vcpu_init(&b.v, &b.vm);
	vpmu_vcpu_init(&b.other, &b.vm);
	assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu), 0);
	arm_enter(&b);
	/* Reset leaves most of a bare PMU UNKNOWN; a guest's is 0. */
	arm_guest(&b, MODEL_PMCR, true, MODEL_PMCR_LC);
	arm_guest(&b, MODEL_PMCNTENSET, true, BIT(31));
	arm_guest(&b, MODEL_PMCR, true, MODEL_PMCR_LC | MODEL_PMCR_E);
	assert_int_equal(b.cpu.reach, VPMU_REACH_ALL);
	b.traps = 0;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		arm_program(&b);
		arm_run(&b);
		if (rng_next(&b.rng) % 8 == 0)
			arm_interlude(&b);
	}
	arm_compare(&b);
	arm_leave(&b);
	/* Only while PMCR.E was off across a put. */
	assert_in_range(b.traps, 0, ROUNDS / 4);
	if (b.hw.violations)
		fail_msg("%s", b.hw.violation);
}

static void arm_bare(void **state)
{
	(void)state;
	arm_equals_bare(MODEL_P5_FGT, VPMU_SWITCH_LAZY);
	arm_equals_bare(MODEL_P5_FGT, VPMU_SWITCH_EAGER);
	arm_equals_bare(MODEL_P5, VPMU_SWITCH_LAZY);
	arm_equals_bare(MODEL_P5, VPMU_SWITCH_EAGER);
}

static void arm_refusals(void **state)
{
	static const struct vpmu_event_range one = { 8, 8 };
	static const struct vpmu_policy closed = { .ranges = &one, .range_count = 1, .allow_listed = true };
	struct vpmu_vm_config config = mode_config(VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY);
	struct vpmu_vm vm;
	struct board b;

	(void)state;
	arm_machine(&b, MODEL_P5_FGT);
	config.policy = &closed;
	assert_int_equal(vpmu_arm_vm_init(&vm, &b.machine, &b.model, &config),
			 VPMU_ERR_UNSUPPORTED);
	b.model.counters = 4;
	assert_int_equal(arm_vm(&b, &vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
			 VPMU_ERR_UNSUPPORTED);
	b.model.counters = 6;
	b.machine.caps.multithreaded = 1;
	assert_int_equal(arm_vm(&b, &vm, VPMU_MODE_PASSTHROUGH, VPMU_SWITCH_LAZY),
			 VPMU_ERR_UNSUPPORTED);
}

/* ---- No PMU ---- */

/* As on a machine that has none: every register is UNDEF, at EL0 too, and the ID register says so. */
static void arm_off(void **state)
{
	static const uint32_t registers[] = { MODEL_PMCR, MODEL_PMCCNTR, MODEL_PMEVCNTR(0),
					      MODEL_PMCNTENSET, MODEL_PMUSERENR, MODEL_PMCEID0 };
	struct board b;

	(void)state;
	for (enum model_class class = MODEL_P5_FGT; class <= MODEL_P1; class++) {
		arm_machine(&b, class);
		assert_int_equal(arm_vm(&b, &b.vm, VPMU_MODE_OFF, VPMU_SWITCH_LAZY), 0);
		assert_int_equal(vpmu_arm_dfr0(&b.vm, 0xF00 | 0x15) & 0xF00, 0);
		vpmu_vcpu_init(&b.v, &b.vm);
		assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu), 0);
		arm_enter(&b);
		for (unsigned int i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
			for (unsigned int el = 0; el < 2; el++) {
				uint64_t value = 1;

				assert_int_equal(model_guest_access(&b.pmu, el, registers[i], false,
								    &value), MODEL_TRAP_EL2);
				assert_int_equal(arm_trap(&b, el, registers[i], false, &value),
						 VPMU_FAULT_UNDEF);
			}
		}
		arm_leave(&b);
		assert_int_equal(vpmu_vcpu_stats(&b.v)->loads, 0);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
	}
}

/* CPUID and MSRs as without a PMU, whatever the model would have. */
static void x86_off(void **state)
{
	static const uint32_t gone[] = { SEL0, PMC0, FIXED_CTR0, FIXED_CTRL, STATUS, GLOBAL };
	uint32_t regs[4] = { 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF };
	uint64_t value;
	struct pc m;

	(void)state;
	x86_machine(&m, X86_CPU_ICELAKE);
	assert_int_equal(x86_vm(&m, &m.vm, VPMU_MODE_OFF, VPMU_SWITCH_LAZY), 0);
	vpmu_x86_cpuid(&m.vm, 0xA, 0, regs);
	assert_int_equal(regs[0] & 0xFF, 0);
	assert_int_equal(vpmu_x86_msr_list(&m.vm, NULL, 0), 1);  /* DEBUGCTL */
	vpmu_vcpu_init(&m.v, &m.vm);
	assert_int_equal(vpmu_vcpu_load(&m.v, &m.cpu), 0);
	for (unsigned int i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		assert_int_equal(vpmu_x86_rdmsr(&m.v, gone[i], &value), VPMU_FAULT_GP);
		assert_int_equal(vpmu_x86_wrmsr(&m.v, gone[i], 0), VPMU_FAULT_GP);
	}
	x86_enter(&m);
	assert_int_equal(vpmu_x86_intercepts(&m.v), 0);
	x86_leave(&m);
	assert_int_equal(vpmu_vcpu_stats(&m.v)->loads, 0);
	assert_int_equal(vpmu_vcpu_put(&m.v), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(x86_lazy_equals_bare),
		cmocka_unit_test(x86_eager_equals_bare),
		cmocka_unit_test(x86_nothing_exits),
		cmocka_unit_test(x86_bits_beyond),
		cmocka_unit_test(x86_beside_a_host_event),
		cmocka_unit_test(x86_refusals),
		cmocka_unit_test(sole_tenant),
		cmocka_unit_test(arm_bare),
		cmocka_unit_test(arm_refusals),
		cmocka_unit_test(arm_off),
		cmocka_unit_test(x86_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
