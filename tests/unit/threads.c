/* SPDX-License-Identifier: MIT */
/*
 * Contexts that may race (RULES E1): a guest runs on its CPU while other threads replace its
 * policy, ask for its PMU and look at the owner. What vpmu_policy_unused() releases is
 * overwritten at once (M117).
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "rig.h"

#define EXITS 100000u
#define EVENTS 3u

static struct rig rig;
static atomic_bool done;
static atomic_uint replaced, asked, looks;

/* Ranges with a wild pointer: whoever still reads them crashes. */
static void destroy(struct vpmu_policy *p)
{
	p->ranges = (const struct vpmu_event_range *)(uintptr_t)16;
	p->range_count = VPMU_POLICY_RANGES_MAX;
}

static void *replace_policies(void *unused)
{
	static const struct vpmu_event_range ranges[EVENTS] = {
		{ 8, 8 }, { 0x11, 0x11 }, { 0, 0x3F },
	};
	struct vpmu_vcpu *vcpus[] = { &rig.vcpus[0].v, &rig.vcpus[1].v };
	struct vpmu_policy policies[2];
	unsigned int now = 0;

	(void)unused;
	while (!atomic_load(&done)) {
		struct vpmu_policy *old = &policies[now ^ 1];

		policies[now] = (struct vpmu_policy){ &ranges[replaced % EVENTS], 1, false, NULL, NULL };
		assert_int_equal(vpmu_vm_set_policy(&rig.vms[0].vm, &policies[now]), 0);
		atomic_fetch_add(&replaced, 1);
		while (!vpmu_policy_unused(vcpus, ARRAY_SIZE(vcpus), old) && !atomic_load(&done))
			sched_yield();
		if (!atomic_load(&done))
			destroy(old);
		now ^= 1;
	}
	return NULL;
}

static void *ask_for_the_pmu(void *unused)
{
	(void)unused;
	while (!atomic_load(&done)) {
		(void)vpmu_cpu_request_reclaim(&rig.cpus[0].cpu);
		if (vpmu_cpu_nmi_owner(&rig.cpus[0].cpu) != VPMU_OWNER_HOST)
			atomic_fetch_add(&looks, 1);
		atomic_fetch_add(&asked, 1);
		sched_yield();
	}
	return NULL;
}

/* Without rig_enter() and its checks: they know neither policy nor owner here. */
static void exit_and_enter(struct rig_vcpu *g)
{
	rig.cpus[0].hw.guest_runs = true;
	model_retire(&rig.cpus[0].pmu, 1, &(struct model_events){ 10, 10, NULL, 0 });
	rig.cpus[0].hw.guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	assert_int_equal(vpmu_count(&g->v, VPMU_EVENT_INSTRUCTIONS, false, 1), 0);
	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
}

static void guest(struct rig_vcpu *g, unsigned int exits)
{
	assert_int_equal(vpmu_vcpu_load(&g->v, &rig.cpus[0].cpu), 0);
	guest_write(&g->v, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
	guest_write(&g->v, MODEL_PMCNTENSET, 1 | CYCLE_BIT);
	guest_write(&g->v, MODEL_PMCR, MODEL_PMCR_E);
	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
	while (exits--)
		exit_and_enter(g);
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
}

static void m117_policies_and_requests_race_with_a_guest(void **state)
{
	pthread_t threads[2];

	(void)state;
	rig_init(&rig, MODEL_P5_FGT, VPMU_SWITCH_LAZY, 1);
	rig.cpus[0].hw.hook = NULL;
	assert_int_equal(pthread_create(&threads[0], NULL, replace_policies, NULL), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, ask_for_the_pmu, NULL), 0);
	/* Both vCPUs obey: a policy is unused when neither does, so they take turns. */
	for (unsigned int turn = 0; turn < EXITS / 50; turn++)
		guest(&rig.vcpus[turn % 2], 50);
	atomic_store(&done, true);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	print_message("# %u policies, %u requests, %u looks at a guest\n", atomic_load(&replaced),
		      atomic_load(&asked), atomic_load(&looks));
	assert_in_range(atomic_load(&replaced), 2, UINT32_MAX);
	assert_in_range(atomic_load(&asked), 2, UINT32_MAX);
	assert_int_equal(rig.cpus[0].hw.violations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(m117_policies_and_requests_race_with_a_guest),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
