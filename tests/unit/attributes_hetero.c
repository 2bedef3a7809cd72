/* SPDX-License-Identifier: MIT */
/*
 * Machines whose CPUs have different PMUs, for every pair of classes: CPU 0 is big, CPU 1 is little. The three
 * ways to place a VM count right wherever they let it run, and what the guest was shown is what counts (V12;
 * museum M57, M100, M102).
 */
#include "support.h"

#include <pthread.h>

#include <vpmu/arm_attributes.h>
#include <vpmu/host.h>

#define MEM_ACCESS 0x13u             /* big has it, little has not */
#define RAW 0xC0u                    /* on both, and something else on each */

struct bed {
	struct model_pmu pmu[2];
	struct model_hw hw[2];
	struct vpmu_cpu cpu[2];
	struct vpmu_machine machine, part[2];
	struct vpmu_arm_pmu kind[2];
	struct vpmu_arm_pmus pmus;
	struct vpmu_arm_attributes attributes;
	struct vpmu_arm_vcpu_attributes vcpu;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	unsigned int at;             /* where it is loaded */
};

static void bring_up(struct bed *b, unsigned int n, const struct model_config *config)
{
	struct vpmu_arm_pmu *kind = &b->kind[n];

	model_pmu_reset(&b->pmu[n], config, 7 + n);
	model_hw_init(&b->hw[n], &b->pmu[n]);
	vpmu_machine_part(&b->part[n], &b->machine);
	vpmu_machine_add(&b->part[n], &b->hw[n].hw.caps);
	vpmu_machine_add(&b->machine, &b->hw[n].hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu[n], n, &b->hw[n].hw), 0);
	*kind = (struct vpmu_arm_pmu){ .type = 8 + (int32_t)n, .cpus = { { BIT(n) } } };
	assert_int_equal(vpmu_arm_model_of(&b->part[n], &kind->model), 0);
	assert_int_equal(vpmu_arm_pmus_add(&b->pmus, kind), 0);
}

/* (counters): little's. */
static void power_on(struct bed *b, enum model_class big, enum model_class little, uint32_t counters)
{
	struct model_config config;

	*b = (struct bed){ .at = 0 };
	vpmu_machine_init(&b->machine);
	vpmu_arm_pmus_init(&b->pmus);
	model_class_config(big, &config);
	bring_up(b, 0, &config);
	model_class_config(little, &config);
	config.counters = counters;
	config.ceid[0] &= ~BIT(MEM_ACCESS);
	bring_up(b, 1, &config);
}

static int make_vm(struct bed *b, struct vpmu_machine *on, enum vpmu_switch_kind kind)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .switch_kind = kind };
	int error = vpmu_arm_vm_init(&b->vm, on, &b->model, &config);

	if (!error)
		vpmu_vcpu_init(&b->v, &b->vm);
	return error;
}

/* As a VMM does it. (type): 0 for the default. */
static void describe(struct bed *b, enum vpmu_arm_placement placement, int32_t type)
{
	assert_int_equal(vpmu_arm_attributes_init(&b->attributes, &b->pmus, placement, false), 0);
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&b->vcpu, &b->attributes, true, 0), 0);
	if (type)
		assert_int_equal(vpmu_arm_attribute_set(&b->vcpu, VPMU_ARM_ATTR_SET_PMU, &type), 0);
	assert_int_equal(vpmu_arm_attribute_set(&b->vcpu, VPMU_ARM_ATTR_INIT, NULL), 0);
	assert_int_equal(vpmu_arm_attributes_model(&b->attributes, &b->model), 0);
}

static void enter(struct bed *b)
{
	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	b->hw[b->at].guest_runs = true;
}

static void leave(struct bed *b)
{
	b->hw[b->at].guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void start_on(struct bed *b, unsigned int cpu)
{
	b->at = cpu;
	assert_int_equal(vpmu_arm_attributes_run(&b->vcpu, cpu), 0);
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu[cpu]), 0);
	enter(b);
}

static void stop(struct bed *b)
{
	leave(b);
	assert_int_equal(vpmu_vcpu_put(&b->v), 0);
}

/* The guest's own access, direct or trapped as the CPU has it now. returns: false: UNDEF. */
static bool access_of(struct bed *b, uint32_t reg, bool write, uint64_t *value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = *value };
	enum model_result direct = model_guest_access(&b->pmu[b->at], 1, reg, write, value);
	int answer;

	if (direct != MODEL_TRAP_EL2)
		return direct == MODEL_EXECUTED;
	leave(b);
	answer = vpmu_arm_access(&b->v, &access);
	enter(b);
	assert_true(answer == VPMU_HANDLED || answer == VPMU_FAULT_UNDEF);
	*value = access.value;
	return answer == VPMU_HANDLED;
}

static uint64_t get(struct bed *b, uint32_t reg)
{
	uint64_t value = 0;

	assert_true(access_of(b, reg, false, &value));
	return value;
}

static void set(struct bed *b, uint32_t reg, uint64_t value)
{
	assert_true(access_of(b, reg, true, &value));
}

/* n instructions and cycles of the guest, and as many of every other event. */
static void work(struct bed *b, uint64_t n)
{
	const struct model_event_count others[] = { { MEM_ACCESS, n }, { RAW, n } };
	const struct model_events events = { n, n, others, 2 };

	model_retire(&b->pmu[b->at], 1, &events);
}

static void at_the_end(struct bed *b)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (b->hw[i].violations)
			print_error("CPU %u: %s\n", i, b->hw[i].violation);
		assert_int_equal(b->hw[i].violations, 0);
	}
}

/* Counts in 0: instructions, 1: what big alone has, 2: what means something else on each, and cycles. */
static void select_all(struct bed *b)
{
	set(b, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
	set(b, MODEL_PMEVTYPER(1), MEM_ACCESS);
	set(b, MODEL_PMEVTYPER(2), RAW);
	for (unsigned int i = 0; i < 3; i++)
		set(b, MODEL_PMEVCNTR(i), 0);
	set(b, MODEL_PMCNTENSET, CYCLE_BIT | 7);
	set(b, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC | MODEL_PMCR_C);
}

/* What a guest of COMMON reads, wherever it is. */
static void check_common(struct bed *b, uint64_t total)
{
	uint64_t value;

	assert_int_equal(get(b, MODEL_PMCR) >> 11 & 31, 4);
	assert_int_equal(get(b, MODEL_PMCEID0), b->kind[0].model.ceid[0] & b->kind[1].model.ceid[0]);
	assert_int_equal(get(b, MODEL_PMCEID1), b->kind[0].model.ceid[1] & b->kind[1].model.ceid[1]);
	assert_int_equal(get(b, MODEL_PMEVTYPER(0)), MODEL_EVENT_INST_RETIRED);
	assert_int_equal(get(b, MODEL_PMEVTYPER(1)), MEM_ACCESS);
	assert_int_equal(get(b, MODEL_PMEVTYPER(2)), RAW);
	assert_int_equal(get(b, MODEL_PMEVCNTR(0)), total);
	assert_int_equal(get(b, MODEL_PMEVCNTR(1)), 0);
	assert_int_equal(get(b, MODEL_PMEVCNTR(2)), 0);
	assert_int_equal(get(b, MODEL_PMCCNTR), total);
	assert_false(access_of(b, MODEL_PMEVCNTR(4), false, &value));
}

static void check_states(struct bed *b)
{
	static const enum vpmu_counter_state states[] = {
		VPMU_COUNTER_COUNTING, VPMU_COUNTER_UNSUPPORTED, VPMU_COUNTER_UNSUPPORTED,
	};
	struct vpmu_counter_status s;

	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(vpmu_vcpu_counter(&b->v, i, &s), 0);
		assert_int_equal(s.state, states[i]);
	}
}

static void common(struct bed *b, enum vpmu_switch_kind kind)
{
	uint64_t total = 0;

	describe(b, VPMU_ARM_COMMON, 0);
	assert_int_equal(make_vm(b, &b->machine, kind), 0);
	start_on(b, 0);
	select_all(b);
	for (unsigned int i = 1; i < 20; i++) {
		work(b, i);
		total += i;
		check_common(b, total);
		stop(b);
		check_states(b);
		start_on(b, i % 3 % 2);
	}
	stop(b);
}

static void fixed_only(struct bed *b, enum vpmu_switch_kind kind)
{
	uint64_t value, total = 0;

	describe(b, VPMU_ARM_FIXED_ONLY, 0);
	assert_int_equal(make_vm(b, &b->machine, kind), 0);
	start_on(b, 0);
	set(b, MODEL_PMCNTENSET, CYCLE_BIT | 1);
	set(b, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC | MODEL_PMCR_C);
	for (unsigned int i = 1; i < 20; i++) {
		work(b, i);
		total += i;
		assert_int_equal(get(b, MODEL_PMCR) >> 11 & 31, 0);
		assert_int_equal(get(b, MODEL_PMCNTENSET), CYCLE_BIT);
		assert_int_equal(get(b, MODEL_PMCEID0), BIT(MODEL_EVENT_CPU_CYCLES));
		assert_int_equal(get(b, MODEL_PMCCNTR), total);
		assert_false(access_of(b, MODEL_PMEVCNTR(0), false, &value));
		stop(b);
		start_on(b, i % 2);
	}
	stop(b);
}

/* All that one kind has; the other refuses it, and then it goes on where it belongs. */
static void one_pmu(struct bed *b, enum vpmu_switch_kind kind, unsigned int home)
{
	const struct vpmu_arm_model *m = &b->kind[home].model;

	describe(b, VPMU_ARM_ONE_PMU, 8 + (int32_t)home);
	assert_int_equal(make_vm(b, &b->part[home], kind), 0);
	start_on(b, home);
	select_all(b);
	for (uint64_t i = 1; i < 10; i++) {
		work(b, 10);
		assert_int_equal(get(b, MODEL_PMCR) >> 11 & 31, m->counters);
		assert_int_equal(get(b, MODEL_PMCEID0), m->ceid[0]);
		assert_int_equal(get(b, MODEL_PMEVCNTR(0)), 10 * i);
		assert_int_equal(get(b, MODEL_PMEVCNTR(1)), home ? 0 : 10 * i);
		assert_int_equal(get(b, MODEL_PMEVCNTR(2)), 10 * i);
		stop(b);
		assert_int_equal(vpmu_arm_attributes_run(&b->vcpu, 1 - home), VPMU_ARM_FAIL_ENTRY);
		assert_int_equal(b->vcpu.refused_cpu, 1 - home);
		start_on(b, home);
	}
	stop(b);
}

static void placements(void **unused)
{
	struct bed b;

	(void)unused;
	for (unsigned int c = 0; c < MODEL_CLASSES * MODEL_CLASSES * 2; c++) {
		enum model_class big = (enum model_class)(c % MODEL_CLASSES);
		enum model_class little = (enum model_class)(c / MODEL_CLASSES % MODEL_CLASSES);
		enum vpmu_switch_kind kind = c / MODEL_CLASSES / MODEL_CLASSES ? VPMU_SWITCH_EAGER
									       : VPMU_SWITCH_LAZY;

		power_on(&b, big, little, 4);
		common(&b, kind);
		fixed_only(&b, kind);
		one_pmu(&b, kind, 0);
		one_pmu(&b, kind, 1);
		at_the_end(&b);
	}
}

/* The whole machine does not have what one of its kinds has; a CPU says so itself too. */
static void too_large_for_the_whole(void **unused)
{
	struct bed b;

	(void)unused;
	power_on(&b, MODEL_P5_FGT, MODEL_P5_FGT, 4);
	describe(&b, VPMU_ARM_ONE_PMU, 8);
	assert_int_equal(make_vm(&b, &b.machine, VPMU_SWITCH_LAZY), VPMU_ERR_UNSUPPORTED);
	assert_int_equal(make_vm(&b, &b.part[1], VPMU_SWITCH_LAZY), VPMU_ERR_UNSUPPORTED);
	assert_int_equal(make_vm(&b, &b.part[0], VPMU_SWITCH_LAZY), 0);
	assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu[1]), VPMU_ERR_UNSUPPORTED);
	assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu[0]), 0);
}

/*
 * The same shape and all direct, but one event more on CPU 0: on CPU 1, where no trap hides it, the selector
 * reads back as it was written, and on CPU 0 it does not count.
 */
static void one_event_more(void **unused)
{
	struct bed b;

	(void)unused;
	power_on(&b, MODEL_P5, MODEL_P5, 6);
	describe(&b, VPMU_ARM_ONE_PMU, 0);
	assert_int_equal(vpmu_arm_model_of(&b.machine, &b.model), 0);
	assert_int_equal(make_vm(&b, &b.machine, VPMU_SWITCH_LAZY), 0);
	start_on(&b, 1);
	select_all(&b);
	for (unsigned int i = 0; i < 4; i++) {
		stop(&b);
		start_on(&b, i % 2);
		work(&b, 10);
		assert_int_equal(get(&b, MODEL_PMEVTYPER(1)), MEM_ACCESS);
		assert_int_equal(get(&b, MODEL_PMEVCNTR(1)), 0);
		assert_int_equal(get(&b, MODEL_PMEVCNTR(0)), 10 * (i + 1));
	}
	stop(&b);
	at_the_end(&b);
}

/* A CPU that keeps counters back: no guest sees them, whatever could be direct there. */
static void reduced(void **unused)
{
	const struct vpmu_vm_config passthrough = {
		.size = sizeof(passthrough), .mode = VPMU_MODE_PASSTHROUGH,
	};
	struct bed b;
	uint64_t value;

	(void)unused;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		struct vpmu_hw_caps *caps;

		power_on(&b, (enum model_class)class, (enum model_class)class, 6);
		caps = &b.hw[0].hw.caps;
		caps->counters &= CYCLE_BIT | 3;
		caps->reduced = 1;
		vpmu_machine_part(&b.part[0], &b.machine);
		vpmu_machine_add(&b.part[0], caps);
		assert_int_equal(vpmu_arm_model_of(&b.part[0], &b.model), 0);
		assert_int_equal(b.model.counters, 2);
		describe(&b, VPMU_ARM_ONE_PMU, 0);
		b.model.counters = 2;
		/* Not for a guest that is to have all of it either. */
		assert_int_equal(vpmu_arm_vm_init(&b.vm, &b.part[0], &b.model, &passthrough),
				 VPMU_ERR_UNSUPPORTED);
		assert_int_equal(make_vm(&b, &b.part[0], VPMU_SWITCH_LAZY), 0);
		start_on(&b, 0);
		set(&b, MODEL_PMCNTENSET, UINT64_MAX);
		set(&b, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
		assert_int_equal(vpmu_vcpu_reach_reason(&b.v), VPMU_REACH_SHAPE);
		assert_int_equal(get(&b, MODEL_PMCR) >> 11 & 31, 2);
		assert_int_equal(get(&b, MODEL_PMCNTENSET), CYCLE_BIT | 3);
		assert_false(access_of(&b, MODEL_PMEVCNTR(2), false, &value));
		stop(&b);
		at_the_end(&b);
	}
	/* One CPU that does makes the machine one that does. */
	assert_false(b.machine.caps.reduced);
	vpmu_machine_add(&b.machine, &b.hw[0].hw.caps);
	assert_true(b.machine.caps.reduced);
}

/* A part's VMs and the whole's host events are in each other's way, and the other way round. */
static void claims(void **unused)
{
	struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = 8, .user = true, .kernel = true,
	};
	struct vpmu_host_event e;
	struct bed b;

	(void)unused;
	power_on(&b, MODEL_P5_FGT, MODEL_P5_FGT, 4);
	describe(&b, VPMU_ARM_ONE_PMU, 8);
	assert_int_equal(make_vm(&b, &b.part[0], VPMU_SWITCH_LAZY), 0);
	assert_int_equal(vpmu_host_event_create(&e, &b.machine, &b.cpu[1], &config), VPMU_ERR_BUSY);
	assert_int_equal(vpmu_host_event_create(&e, &b.part[1], &b.cpu[1], &config), VPMU_ERR_BUSY);
	vpmu_vm_end(&b.vm);
	vpmu_vm_end(&b.vm);
	assert_int_equal(vpmu_host_event_create(&e, &b.part[1], &b.cpu[1], &config), 0);
	assert_int_equal(make_vm(&b, &b.part[0], VPMU_SWITCH_LAZY), VPMU_ERR_BUSY);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	assert_int_equal(make_vm(&b, &b.part[0], VPMU_SWITCH_LAZY), 0);
	vpmu_vm_end(&b.vm);
	assert_int_equal(b.machine.claims, 0);
}

/*
 * PMUs that come after the first run: what the guest was shown stays, and a CPU that has less refuses it.
 */
static void late_kinds(void **unused)
{
	static const struct {
		const char *what;
		uint32_t version, counters;
		uint64_t ceid0, mmir;
		bool may;
	} rows[] = {
		{ "the same", VPMU_ARM_V3P4, 4, 0x20901, 8, true },
		{ "more", VPMU_ARM_V3P5, 6, 0x20903, 8, true },
		{ "a counter less", VPMU_ARM_V3P4, 3, 0x20901, 8, false },
		{ "an event less", VPMU_ARM_V3P4, 4, 0x20801, 8, false },
		{ "older", VPMU_ARM_V3P1, 4, 0x20901, 8, false },
		{ "other slots", VPMU_ARM_V3P4, 4, 0x20901, 4, false },
	};

	(void)unused;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vpmu_arm_model early = { .size = sizeof(early), .version = VPMU_ARM_V3P4,
						.counters = 4, .ceid = { 0x20901 }, .mmir = 8 };
		struct vpmu_arm_pmu first = { .type = 1, .cpus = { { 1 } }, .model = early };
		struct vpmu_arm_pmu late = first;
		struct bed b;

		late.type = 2;
		late.cpus.mask[0] = 2;
		late.model.version = (enum vpmu_arm_version)rows[i].version;
		late.model.counters = rows[i].counters;
		late.model.ceid[0] = rows[i].ceid0;
		late.model.mmir = rows[i].mmir;
		vpmu_arm_pmus_init(&b.pmus);
		assert_int_equal(vpmu_arm_pmus_add(&b.pmus, &first), 0);
		describe(&b, VPMU_ARM_COMMON, 0);
		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu, 1), VPMU_ARM_FAIL_ENTRY);
		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu, 0), 0);
		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu, 1), VPMU_ARM_FAIL_ENTRY);
		assert_int_equal(vpmu_arm_pmus_add(&b.pmus, &late), 0);
		if (vpmu_arm_attributes_run(&b.vcpu, 1) != (rows[i].may ? 0 : VPMU_ARM_FAIL_ENTRY))
			fail_msg("%s", rows[i].what);
		assert_int_equal(vpmu_arm_attributes_model(&b.attributes, &b.model), 0);
		assert_int_equal(b.model.version, early.version);
		assert_int_equal(b.model.counters, early.counters);
		assert_int_equal(b.model.ceid[0], early.ceid[0]);
		assert_int_equal(b.model.mmir, early.mmir);
		/* Before its first run, another takes the newcomer into account. */
		describe(&b, VPMU_ARM_COMMON, 0);
		assert_int_equal(b.model.counters, rows[i].counters < 4 ? rows[i].counters : 4);
		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu, 1), 0);
	}
}

/* ---- M102: PMUs are found in any order, late or never ---- */

#define FOUND_MAX 3u

static const struct vpmu_arm_pmu found[FOUND_MAX] = {
	{ .type = 4, .cpus = { { 0x3 } },
	  .model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3P5, .counters = 6,
		     .id = 0x4100, .ceid = { 0x20909, 0x18 }, .mmir = 8 } },
	{ .type = 9, .cpus = { { 0xC } },
	  .model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3P1, .counters = 8,
		     .id = 0x4100, .ceid = { 0x20905, 0x08 }, .mmir = 0 } },
	{ .type = 5, .cpus = { { 0x0, 0x1 } },
	  .model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3, .counters = 4,
		     .id = 0x4103, .ceid = { 0x20801, 0x00 }, .mmir = 0 } },
};

static const uint32_t cpu_of[FOUND_MAX] = { 1, 2, 64 };

/* What creation says of a CPU, and SET_PMU of a type, is what the list says; the first vCPU's stays. */
static void check_one_found(struct vpmu_arm_pmus *pmus, unsigned int which, bool there)
{
	const int32_t type = found[which].type;
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_vcpu_attributes v;
	struct vpmu_arm_model model;

	assert_int_equal(vpmu_arm_attributes_init(&vm, pmus, VPMU_ARM_ONE_PMU, false), 0);
	assert_int_equal(vpmu_arm_attributes_model(&vm, &model), VPMU_ERR_UNSUPPORTED);
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, cpu_of[which]),
			 there ? 0 : -(int)VPMU_LINUX_EINVAL);
	if (!there)
		return;
	assert_int_equal(vpmu_arm_attributes_model(&vm, &model), 0);
	assert_int_equal(model.counters, found[which].model.counters);
	assert_int_equal(model.ceid[0], found[which].model.ceid[0]);
	assert_false(model.listed_only);
	assert_int_equal(vpmu_arm_attribute_set(&v, VPMU_ARM_ATTR_SET_PMU, &type), 0);
	for (unsigned int i = 0; i < FOUND_MAX; i++) {
		assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, cpu_of[i]), 0);
		assert_int_equal(vm.chosen->type, type);
	}
}

static void check_unknown_types(struct vpmu_arm_pmus *pmus, unsigned int any, unsigned int there)
{
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_vcpu_attributes v;

	assert_int_equal(vpmu_arm_attributes_init(&vm, pmus, VPMU_ARM_ONE_PMU, false), 0);
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, cpu_of[any]), 0);
	for (unsigned int i = 0; i < FOUND_MAX; i++)
		assert_int_equal(vpmu_arm_attribute_set(&v, VPMU_ARM_ATTR_SET_PMU, &found[i].type),
				 there & 1u << i ? 0 : -(int)VPMU_LINUX_ENXIO);
}

/* By hand, not by folding. (there): at least one. */
static void check_all_found(struct vpmu_arm_pmus *pmus, unsigned int there)
{
	static const struct {
		uint32_t version, counters, id;
		uint64_t ceid0, ceid1, mmir;
	} common[8] = {
		[1] = { VPMU_ARM_V3P5, 6, 0x4100, 0x20909, 0x18, 8 },
		[2] = { VPMU_ARM_V3P1, 8, 0x4100, 0x20905, 0x08, 0 },
		[3] = { VPMU_ARM_V3P1, 6, 0x4100, 0x20901, 0x08, 0 },
		[4] = { VPMU_ARM_V3, 4, 0x4103, 0x20801, 0x00, 0 },
		[5] = { VPMU_ARM_V3, 4, 0, 0x20801, 0x00, 0 },
		[6] = { VPMU_ARM_V3, 4, 0, 0x20801, 0x00, 0 },
		[7] = { VPMU_ARM_V3, 4, 0, 0x20801, 0x00, 0 },
	};
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_vcpu_attributes v;
	struct vpmu_arm_model model;

	assert_int_equal(vpmu_arm_attributes_init(&vm, pmus, VPMU_ARM_COMMON, false), 0);
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true,
						       cpu_of[__builtin_ctz(there)]), 0);
	assert_int_equal(vpmu_arm_attributes_model(&vm, &model), 0);
	assert_int_equal(model.version, common[there].version);
	assert_int_equal(model.counters, common[there].counters);
	assert_int_equal(model.id, common[there].id);
	assert_int_equal(model.ceid[0], common[there].ceid0);
	assert_int_equal(model.ceid[1], common[there].ceid1);
	assert_int_equal(model.mmir, common[there].mmir);
	assert_int_equal(model.listed_only, (there & (there - 1)) != 0);
}

static void check_found(struct vpmu_arm_pmus *pmus, unsigned int there)
{
	for (unsigned int i = 0; i < FOUND_MAX; i++) {
		check_one_found(pmus, i, there & 1u << i);
		if (there & 1u << i)
			check_unknown_types(pmus, i, there);
	}
	if (there)
		check_all_found(pmus, there);
}

static void found_in_any_order(void **unused)
{
	static const unsigned int orders[][FOUND_MAX] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};

	(void)unused;
	for (unsigned int o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
		struct vpmu_arm_pmus pmus;
		unsigned int there = 0;

		vpmu_arm_pmus_init(&pmus);
		check_found(&pmus, there);
		for (unsigned int i = 0; i < FOUND_MAX; i++) {
			assert_int_equal(vpmu_arm_pmus_add(&pmus, &found[orders[o][i]]), 0);
			there |= 1u << orders[o][i];
			check_found(&pmus, there);
		}
	}
}

/* M120: found while VMs are made: whoever sees a PMU sees all of it. */
static void *make_vms(void *context)
{
	struct vpmu_arm_pmus *pmus = context;
	struct rng rng = { (uintptr_t)&pmus | 1 };
	struct vpmu_arm_vcpu_attributes v;
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_model model;

	do {
		unsigned int which = (unsigned int)rng_below(&rng, FOUND_MAX);

		if (vpmu_arm_attributes_init(&vm, pmus, VPMU_ARM_ONE_PMU, false) ||
		    vpmu_arm_vcpu_attributes_init(&v, &vm, true, cpu_of[which]))
			continue;
		if (vpmu_arm_attributes_model(&vm, &model) ||
		    model.counters != found[which].model.counters)
			return (void *)(uintptr_t)"a PMU was seen that was not there yet";
	} while (atomic_load(&pmus->count) < FOUND_MAX);
	return NULL;
}

static void found_while_vms_are_made(void **unused)
{
	(void)unused;
	for (unsigned int round = 0; round < 100; round++) {
		struct vpmu_arm_pmus pmus;
		pthread_t threads[3];
		void *answer;

		vpmu_arm_pmus_init(&pmus);
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, make_vms, &pmus), 0);
		for (unsigned int i = 0; i < FOUND_MAX; i++)
			assert_int_equal(vpmu_arm_pmus_add(&pmus, &found[i]), 0);
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(pthread_join(threads[i], &answer), 0);
			if (answer)
				fail_msg("%s", (const char *)answer);
		}
	}
}

/* 1024 events before PMUv3p1, 65536 from it on: of the PMU chosen, whatever was there before. */
static void event_space_follows(void **unused)
{
	static const uint32_t spaces[FOUND_MAX] = { 65536, 65536, 1024 };
	struct vpmu_arm_vcpu_attributes v;
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_pmus pmus;

	(void)unused;
	vpmu_arm_pmus_init(&pmus);
	for (unsigned int i = 0; i < FOUND_MAX; i++)
		assert_int_equal(vpmu_arm_pmus_add(&pmus, &found[i]), 0);
	for (unsigned int c = 0; c < FOUND_MAX * FOUND_MAX; c++) {
		unsigned int first = c % FOUND_MAX, chosen = c / FOUND_MAX;
		struct vpmu_arm_filter_range last = { (uint16_t)(spaces[chosen] - 1), 1, 1, { 0 } };
		struct vpmu_arm_filter_range beyond = { (uint16_t)(spaces[chosen] - 1), 2, 1, { 0 } };

		assert_int_equal(vpmu_arm_attributes_init(&vm, &pmus, VPMU_ARM_ONE_PMU, false), 0);
		assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, cpu_of[first]), 0);
		assert_int_equal(vpmu_arm_attribute_set(&v, VPMU_ARM_ATTR_SET_PMU,
							&found[chosen].type), 0);
		assert_int_equal(vpmu_arm_attribute_set(&v, VPMU_ARM_ATTR_FILTER, &beyond),
				 -(int)VPMU_LINUX_EINVAL);
		assert_int_equal(vpmu_arm_attribute_set(&v, VPMU_ARM_ATTR_FILTER, &last), 0);
		/* A lower version for the guest does not change it. */
		assert_int_equal(vpmu_arm_attributes_set_pmuver(&vm, VPMU_ARM_V3), 0);
		assert_int_equal(vpmu_arm_attribute_set(&v, VPMU_ARM_ATTR_FILTER, &last), 0);
	}
}

/* What the guest reads: PMCEID without what the filter denies, PMCR.N, PMUVer (M57, V12). */
static void shown_to_the_guest(void **unused)
{
	struct vpmu_arm_filter_range deny = { MODEL_EVENT_INST_RETIRED, 1, 1, { 0 } };
	uint32_t three = 3;
	struct bed b;

	(void)unused;
	for (unsigned int home = 0; home < 2; home++) {
		struct vpmu_vm_config config = { .size = sizeof(config) };
		uint64_t ceid0;

		power_on(&b, MODEL_P5_FGT, MODEL_P1, 4);
		ceid0 = b.kind[home].model.ceid[0] & ~BIT(MODEL_EVENT_INST_RETIRED);
		assert_int_equal(vpmu_arm_attributes_init(&b.attributes, &b.pmus, VPMU_ARM_ONE_PMU, false), 0);
		assert_int_equal(vpmu_arm_vcpu_attributes_init(&b.vcpu, &b.attributes, true, home), 0);
		assert_int_equal(vpmu_arm_attribute_set(&b.vcpu, VPMU_ARM_ATTR_SET_NR_COUNTERS, &three), 0);
		assert_int_equal(vpmu_arm_attribute_set(&b.vcpu, VPMU_ARM_ATTR_FILTER, &deny), 0);
		assert_int_equal(vpmu_arm_attributes_set_pmuver(&b.attributes, VPMU_ARM_V3), 0);
		assert_int_equal(vpmu_arm_attribute_set(&b.vcpu, VPMU_ARM_ATTR_INIT, NULL), 0);
		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu, home), 0);
		assert_int_equal(vpmu_arm_attributes_model(&b.attributes, &b.model), 0);
		config.policy = vpmu_arm_attributes_policy(&b.attributes);
		assert_int_equal(vpmu_arm_vm_init(&b.vm, &b.part[home], &b.model, &config), 0);
		vpmu_vcpu_init(&b.v, &b.vm);
		start_on(&b, home);
		assert_int_equal(vpmu_arm_dfr0(&b.vm, 0xF00), VPMU_ARM_V3 << 8);
		assert_int_equal(get(&b, MODEL_PMCR) >> 11 & 31, 3);
		assert_int_equal(get(&b, MODEL_PMCEID0), ceid0);
		select_all(&b);
		work(&b, 10);
		assert_int_equal(get(&b, MODEL_PMEVCNTR(0)), 0);
		assert_int_equal(get(&b, MODEL_PMEVTYPER(0)), MODEL_EVENT_INST_RETIRED);
		assert_int_equal(get(&b, MODEL_PMCCNTR), 10);
		stop(&b);
		at_the_end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(placements),
		cmocka_unit_test(too_large_for_the_whole),
		cmocka_unit_test(one_event_more),
		cmocka_unit_test(reduced),
		cmocka_unit_test(claims),
		cmocka_unit_test(late_kinds),
		cmocka_unit_test(found_in_any_order),
		cmocka_unit_test(found_while_vms_are_made),
		cmocka_unit_test(event_space_follows),
		cmocka_unit_test(shown_to_the_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
