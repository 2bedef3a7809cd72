/* SPDX-License-Identifier: MIT */
/*
 * Holes that a hostile review found, closed: policy, versions, reclaim, unlike CPUs, leftovers of
 * the host. What was decided otherwise is in docs/decisions (0003, 0004) and in
 * vpmu_cpu_reclaim()'s contract.
 */
#include <string.h>

#include "rig.h"
#include "../../core/internal.h"

static struct rig rig;
static struct vpmu_machine machine;
static struct model_pmu pmu[2];
static struct model_hw hw[2];
static struct vpmu_cpu cpu[2];

static void bring_up(unsigned int n, enum model_class class, uint32_t counters, uint64_t seed)
{
	struct model_config config;
	model_class_config(class, &config);
	if (counters)
		config.counters = counters;
	model_pmu_reset(&pmu[n], &config, seed);
	model_hw_init(&hw[n], &pmu[n]);
	vpmu_machine_add(&machine, &hw[n].hw.caps);
	assert_int_equal(vpmu_cpu_init(&cpu[n], n, &hw[n].hw), 0);
}

static void el2(unsigned int n, uint32_t reg, uint64_t v)
{
	assert_true(model_el2_access(&pmu[n], reg, true, &v));
}

static int vm_make(struct vpmu_vm *vm, struct vpmu_arm_model *m, enum vpmu_switch_kind k,
		   const struct vpmu_policy *p)
{
	struct vpmu_vm_config c = {.size = sizeof(c), .switch_kind = k, .policy = p};
	return vpmu_arm_vm_init(vm, &machine, m, &c);
}

/* request_reclaim + poll, then the requester's host uses the PMU; the next guest reads it. */
static void leak_after_request(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	uint64_t value = 0;
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5_FGT, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, NULL), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	guest_write(&v, MODEL_PMCNTENSET, 1);
	guest_write(&v, MODEL_PMCR, 0x41);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
	(void)guest_read(&v, MODEL_PMEVCNTR(2)); /* touched: reach COUNTERS */
	assert_true(vpmu_cpu_request_reclaim(&cpu[0]));
	vpmu_cpu_poll(&cpu[0]);
	assert_int_equal(vpmu_cpu_nmi_owner(&cpu[0]), VPMU_OWNER_HOST); /* "may be touched" */
	el2(0, MODEL_PMEVCNTR(2), 0xBEEF);
	el2(0, MODEL_PMEVTYPER(2), 0x13);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	assert_int_equal(model_guest_access(&pmu[0], 1, MODEL_PMEVCNTR(2), false, &value),
			 MODEL_EXECUTED);
	assert_int_equal(value, 0);
}

/* a model newer than the machine: V3 hardware, P1 guest, event bits above 9 are cut by hardware. */
static void policy_escape_by_version(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	static const struct vpmu_event_range r = {0x13, 0x13};
	static const struct vpmu_policy deny = {&r, 1, false, NULL, NULL};
	struct model_event_count mem = {0x13, 77};
	struct model_events ev = {1, 1, &mem, 1};
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_V3, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	m.version = VPMU_ARM_V3P1;
	if (vm_make(&vm, &m, VPMU_SWITCH_LAZY, &deny) < 0)
		return; /* refused: good */
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	guest_write(&v, MODEL_PMEVTYPER(0), 0x8013 | 0x400);
	guest_write(&v, MODEL_PMCNTENSET, 1);
	guest_write(&v, MODEL_PMCR, 0x41);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	model_retire(&pmu[0], 1, &ev);
	assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
	assert_int_equal(guest_read(&v, MODEL_PMEVCNTR(0)), 0);
}

/* p5 guest on p1 hardware (for instance after hosts/el2 adds CPU 0 only): 64 bits do not fit. */
static void values_do_not_fit(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_state s;
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, NULL), 0);
	bring_up(1, MODEL_P1, 0, 0);
	vpmu_vcpu_init(&v, &vm);
	if (vpmu_vcpu_load(&v, &cpu[1]) < 0)
		return;
	guest_write(&v, MODEL_PMEVCNTR(0), 0x123456789AULL);
	guest_write(&v, MODEL_PMCNTENSET, 1);
	guest_write(&v, MODEL_PMCR, 0xC1);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
	assert_int_equal(vpmu_vcpu_get_state(&v, &s), 0);
	assert_int_equal(s.value[0], 0x123456789AULL);
}

/* reclaim while a quiet guest runs: answers 0 and gives the guest the host's PMUSERENR. */
static void reclaim_while_quiet_guest_runs(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5, 0, 0);
	el2(0, MODEL_PMUSERENR, 0xF);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, NULL), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	assert_int_equal(vpmu_cpu_reclaim(&cpu[0], 0), VPMU_ERR_STATE);
	assert_int_equal(pmu[0].pmuserenr, 0);
}

/* capabilities of unlike CPUs: N is ANDed. */
static void caps_of_unlike_cpus(void **state)
{
	struct vpmu_arm_model m;
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P1, 8, 0);
	bring_up(1, MODEL_P1, 6, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(m.counters, 6);
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_V3, 6, 0);
	bring_up(1, MODEL_P1, 6, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(m.version, VPMU_ARM_V3);
}

/* the creation policy is in use as long as the VM lives. */
static void created_policy_unused(void **state)
{
	static const struct vpmu_event_range r = {0x13, 0x13};
	static const struct vpmu_policy deny = {&r, 1, false, NULL, NULL};
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_vcpu *list[] = {&v};
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, &deny), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vm_set_policy(&vm, NULL), 0);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
	assert_false(vpmu_policy_unused(list, 1, &deny));
}

/* the host left counter 5 on with its interrupt; the guest has 3. Nobody ends that line. */
static void foreign_line_storm(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	unsigned int late = 0;
	struct model_events ev = {100, 100, NULL, 0};
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5_FGT, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	m.counters = 3;
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, NULL), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_cpu_reclaim(&cpu[0], BIT(5)), 0);
	el2(0, MODEL_PMEVTYPER(5), 8);
	el2(0, MODEL_PMEVCNTR(5), UINT64_MAX & ~(uint64_t)0xF);
	el2(0, MODEL_PMINTENSET, BIT(5));
	el2(0, MODEL_PMCNTENSET, BIT(5));
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	guest_write(&v, MODEL_PMCNTENSET, 1);
	guest_write(&v, MODEL_PMCR, 0x41);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
		model_retire(&pmu[0], 1, &ev);
		assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
		if (model_interrupt(&pmu[0]) && vpmu_cpu_pmi(&cpu[0]) == VPMU_PMI_LATE)
			late++;
	}
	assert_true(late <= 1);
}

/* MT (bit 25) and other RES0 bits under reach ALL. */
static void mt_is_not_noticed(void **state)
{
	struct rig_vcpu *g;
	(void)state;
	rig_init(&rig, MODEL_P1, VPMU_SWITCH_LAZY, 5);
	rig.hostile = true;
	g = &rig.vcpus[0];
	rig_load(g, &rig.cpus[0]);
	rig_enter(g);
	rig_write(g, MODEL_PMCNTENSET, 1);
	rig_write(g, MODEL_PMCR, 0x41);
	rig_write(g, MODEL_PMEVTYPER(0), 0x11 | BIT(25) | MODEL_FILTER_NSK | MODEL_FILTER_P);
	rig_run(g, 1, 100);
	for (unsigned int i = 0; i < 2000; i++) {
		rig_exit(g);
		rig_enter(g);
	}
	assert_int_equal(vpmu_vcpu_reach_reason(&g->v), VPMU_REACH_UNSAFE);
}

/* an unadvertised event counts (V12). */
static void unadvertised_counts(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_counter_status st;
	struct model_events ev = {10, 10, NULL, 0};
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5_FGT, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	m.ceid[0] &= ~BIT(8);
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, NULL), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	guest_write(&v, MODEL_PMEVTYPER(0), 8);
	guest_write(&v, MODEL_PMCNTENSET, 1);
	guest_write(&v, MODEL_PMCR, 0x41);
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	model_retire(&pmu[0], 1, &ev);
	assert_int_equal(vpmu_vcpu_exit(&v, 0), 0);
	assert_int_equal(vpmu_vcpu_counter(&v, 0, &st), 0);
	assert_int_equal(st.value, 0);
}

/* another CPU asks between the poll in enter and the publication of the owner. */
static const struct vpmu_switch *real;
static bool answer;

static void enter_after_request(struct vpmu_vcpu *v)
{
	answer = vpmu_cpu_request_reclaim(v->cpu);
	real->enter(v);
}

static void request_races_enter(void **state)
{
	struct vpmu_arm_model m;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_switch sw;
	(void)state;
	vpmu_machine_init(&machine);
	bring_up(0, MODEL_P5_FGT, 0, 0);
	assert_int_equal(vpmu_arm_model_of(&machine, &m), 0);
	assert_int_equal(vm_make(&vm, &m, VPMU_SWITCH_LAZY, NULL), 0);
	vpmu_vcpu_init(&v, &vm);
	assert_int_equal(vpmu_vcpu_load(&v, &cpu[0]), 0);
	guest_write(&v, MODEL_PMCNTENSET, 1);
	guest_write(&v, MODEL_PMCR, 0x41);
	real = vm.sw;
	sw = *vm.sw;
	sw.enter = enter_after_request;
	vm.sw = &sw;
	assert_int_equal(vpmu_vcpu_enter(&v, 0), 0);
	/* false = "no guest is there, nobody to kick", and yet: */
	assert_false(!answer && vpmu_cpu_nmi_owner(&cpu[0]) == VPMU_OWNER_LIVE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leak_after_request),
		cmocka_unit_test(policy_escape_by_version),
		cmocka_unit_test(values_do_not_fit),
		cmocka_unit_test(reclaim_while_quiet_guest_runs),
		cmocka_unit_test(caps_of_unlike_cpus),
		cmocka_unit_test(created_policy_unused),
		cmocka_unit_test(foreign_line_storm),
		cmocka_unit_test(mt_is_not_noticed),
		cmocka_unit_test(unadvertised_counts),
		cmocka_unit_test(request_races_enter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
