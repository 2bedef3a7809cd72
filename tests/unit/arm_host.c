/* SPDX-License-Identifier: MIT */
/*
 * Host events beside Arm guests (vpmu/host.h, RULES A8, B, B3), on every class of machine: EL2 is the host,
 * and PMCR_EL0.E is shared by all.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>

#include <vpmu/arm.h>
#include <vpmu/host.h>

#include "model_hw.h"

#define INST_RETIRED 0x08u

struct bed {
	struct model_pmu pmu;
	struct model_hw hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
};

static void power_on(struct bed *b, enum model_class class)
{
	struct model_config config;

	*b = (struct bed){ .model = { .size = 0 } };
	model_class_config(class, &config);
	model_pmu_reset(&b->pmu, &config, 1);
	model_hw_init(&b->hw, &b->pmu);
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.hw), 0);
	assert_int_equal(vpmu_arm_model_of(&b->machine, &b->model), 0);
}

static void make_guest(struct bed *b, enum vpmu_mode mode, enum vpmu_switch_kind kind, uint32_t n)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .mode = mode, .switch_kind = kind };

	b->model.counters = n;
	assert_int_equal(vpmu_arm_vm_init(&b->vm, &b->machine, &b->model, &config), 0);
	vpmu_vcpu_init(&b->v, &b->vm);
	assert_int_equal(vpmu_vcpu_load(&b->v, &b->cpu), 0);
}

static uint64_t trap(struct bed *b, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };

	assert_int_equal(vpmu_arm_access(&b->v, &access), VPMU_HANDLED);
	return access.value;
}

static void guest_counts(struct bed *b, unsigned int i)
{
	trap(b, MODEL_PMEVTYPER(i), true, INST_RETIRED);
	trap(b, MODEL_PMCNTENSET, true, BIT(i));
	trap(b, MODEL_PMCR, true, MODEL_PMCR_E);
}

static void runs(struct bed *b, unsigned int el, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = n };

	model_retire(&b->pmu, el, &events);
	b->hw.time += n;
}

static void enter(struct bed *b)
{
	assert_int_equal(vpmu_vcpu_enter(&b->v, 0), 0);
	b->hw.guest_runs = true;
}

static void leave(struct bed *b)
{
	b->hw.guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&b->v, 0), 0);
}

static void guest_runs(struct bed *b, uint64_t n)
{
	enter(b);
	runs(b, 1, n);
	leave(b);
}

static struct vpmu_host_event_config host_config(void)
{
	return (struct vpmu_host_event_config){
		.size = sizeof(struct vpmu_host_event_config), .scope = VPMU_SCOPE_CPU,
		.event = INST_RETIRED, .user = true, .kernel = true,
	};
}

static int create(struct bed *b, struct vpmu_host_event *e, const struct vpmu_host_event_config *c)
{
	return vpmu_host_event_create(e, &b->machine, &b->cpu, c);
}

static uint64_t reading(struct vpmu_host_event *e)
{
	struct vpmu_count count;

	assert_int_equal(vpmu_host_event_read(e, &count), 0);
	return count.value;
}

static void at_the_end(struct bed *b)
{
	if (b->hw.violations)
		print_error("%s\n", b->hw.violation);
	assert_int_equal(b->hw.violations, 0);
}

static void beside_mediated(void **state)
{
	struct vpmu_host_event_config outside = host_config(), everywhere = host_config();
	struct vpmu_host_event e, f;
	uint64_t accesses;
	struct bed b;

	(void)state;
	outside.exclude_guest = true;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class);
		make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 6);
		assert_int_equal(create(&b, &f, &everywhere), VPMU_ERR_BUSY);
		guest_counts(&b, 0);
		guest_runs(&b, 100);
		assert_int_equal(create(&b, &e, &outside), 0);
		guest_runs(&b, 20);
		accesses = b.hw.hw.accesses;
		for (unsigned int i = 0; i < 100; i++) {
			guest_runs(&b, 3);
			runs(&b, 2, 1000);
		}
		assert_int_equal(b.hw.hw.accesses, accesses);
		assert_int_equal(reading(&e), 100000);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 420);
		/* E is the guest's to clear, and the host counts on. */
		trap(&b, MODEL_PMCR, true, 0);
		assert_int_equal(trap(&b, MODEL_PMCR, false, 0) & MODEL_PMCR_E, 0);
		guest_runs(&b, 50);
		runs(&b, 2, 7);
		assert_int_equal(reading(&e), 100007);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 420);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		trap(&b, MODEL_PMCR, true, MODEL_PMCR_E);
		guest_runs(&b, 5);
		runs(&b, 2, 7);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), 425);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(b.pmu.pmcr & MODEL_PMCR_E, 0);
		at_the_end(&b);
	}
}

/* B1 for Arm: whatever a partitioned guest does to shared registers, the host counts and samples on. */
static void partition(void **state)
{
	const enum vpmu_switch_kind kinds[] = { VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER };
	struct vpmu_host_event_config everywhere = host_config(), inside = host_config();
	struct vpmu_host_event e, i;
	struct bed b;

	(void)state;
	everywhere.period = 1000;
	inside.exclude_host = true;
	inside.scope = VPMU_SCOPE_VM;
	for (unsigned int k = 0; k < 2 * MODEL_CLASSES; k++) {
		power_on(&b, (enum model_class)(k / 2));
		inside.vm = &b.vm;
		assert_int_equal(create(&b, &e, &everywhere), 0);
		make_guest(&b, VPMU_MODE_PARTITIONED, kinds[k % 2], 3);
		assert_int_equal(create(&b, &i, &inside), 0);
		/* B3: never the cycle counter. */
		assert_true(e.counter != VPMU_ARM_CYCLE && i.counter != VPMU_ARM_CYCLE);
		runs(&b, 2, 5);
		guest_counts(&b, 2);
		trap(&b, MODEL_PMCNTENSET, true, BIT(31));
		trap(&b, MODEL_PMINTENSET, true, BIT(2));
		guest_runs(&b, 100);
		trap(&b, MODEL_PMCNTENCLR, true, ~UINT64_C(0));
		trap(&b, MODEL_PMOVSCLR, true, ~UINT64_C(0));
		trap(&b, MODEL_PMINTENCLR, true, ~UINT64_C(0));
		trap(&b, MODEL_PMCR, true, MODEL_PMCR_P | MODEL_PMCR_C);
		assert_int_equal(trap(&b, MODEL_PMCNTENSET, false, 0), 0);
		guest_runs(&b, 800);
		assert_false(model_interrupt(&b.pmu));
		guest_runs(&b, 95);
		assert_true(model_interrupt(&b.pmu));
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
		assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
		assert_false(model_interrupt(&b.pmu));
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 0);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(2), false, 0), 0);
		assert_int_equal(trap(&b, MODEL_PMCCNTR, false, 0), 0);
		guest_counts(&b, 2);
		guest_runs(&b, 10);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(2), false, 0), 10);
		/* Its E is clear, its counter enabled: the hardware's E is the host's. */
		trap(&b, MODEL_PMCR, true, 0);
		guest_runs(&b, 0);
		assert_int_equal(trap(&b, MODEL_PMCNTENSET, false, 0), BIT(2));
		guest_runs(&b, 3);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(2), false, 0), 10);
		assert_int_equal(reading(&e), 1013);
		assert_int_equal(reading(&i), 1008);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		runs(&b, 2, 1);
		assert_int_equal(reading(&e), 1014);
		assert_int_equal(vpmu_host_event_destroy(&i), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* The guest's own overflow interrupt, with the host's events beside it: split by status. */
static void both_overflow(void **state)
{
	struct vpmu_host_event_config everywhere = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	everywhere.period = 50;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class);
		make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 2);
		assert_int_equal(create(&b, &e, &everywhere), 0);
		trap(&b, MODEL_PMEVCNTR(0), true, 0xFFFFFFFF - 9);
		trap(&b, MODEL_PMINTENSET, true, 1);
		guest_counts(&b, 0);
		guest_runs(&b, 50);
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_BOTH);
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 1);
		assert_int_equal(trap(&b, MODEL_PMOVSSET, false, 0), 1);
		/* With its E clear the guest's line is low, and the hardware's too. */
		trap(&b, MODEL_PMCR, true, 0);
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 0);
		assert_false(model_interrupt(&b.pmu));
		/* The host's interrupt is not the guest's then. */
		guest_runs(&b, 50);
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
		trap(&b, MODEL_PMCR, true, MODEL_PMCR_E);
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 1);
		assert_true(model_interrupt(&b.pmu));
		trap(&b, MODEL_PMOVSCLR, true, 1);
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_LATE);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

/* What counts in one VM alone should not have counted while that was away. */
static void time_without_the_guest(void **state)
{
	struct vpmu_host_event_config inside = host_config();
	struct vpmu_host_event e;
	struct vpmu_count count;
	struct bed b;

	(void)state;
	power_on(&b, (enum model_class)0);
	make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 2);
	inside.scope = VPMU_SCOPE_VM;
	inside.vm = &b.vm;
	assert_int_equal(create(&b, &e, &inside), 0);
	guest_runs(&b, 100);
	assert_int_equal(vpmu_vcpu_put(&b.v), 0);
	runs(&b, 2, 1000);
	assert_int_equal(vpmu_vcpu_load(&b.v, &b.cpu), 0);
	guest_runs(&b, 20);
	assert_int_equal(vpmu_host_event_read(&e, &count), 0);
	assert_int_equal(count.value, 120);
	assert_int_equal(count.running, 120);
	assert_int_equal(count.enabled, 120);
	assert_int_equal(vpmu_vcpu_put(&b.v), 0);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	at_the_end(&b);
}

/* A guest that has all counters and gives them up without being put: rotation finds them. */
static void comes_back(void **state)
{
	struct vpmu_host_event_config outside = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	outside.scope = VPMU_SCOPE_HYPERVISOR;
	power_on(&b, MODEL_P5_FGT);
	make_guest(&b, VPMU_MODE_MEDIATED, VPMU_SWITCH_LAZY, 6);
	assert_int_equal(create(&b, &e, &outside), 0);
	for (unsigned int i = 0; i < 6; i++)
		guest_counts(&b, i);
	guest_runs(&b, 1);
	runs(&b, 2, 100);
	assert_int_equal(vpmu_cpu_rotate(&b.cpu), 0);
	assert_int_equal(reading(&e), 0);
	trap(&b, MODEL_PMCR, true, 0);
	for (unsigned int i = 0; i < 2 * VPMU_LOOK_INTERVAL; i++)
		guest_runs(&b, 1);
	assert_int_equal(vpmu_cpu_rotate(&b.cpu), 0);
	runs(&b, 2, 100);
	assert_int_equal(reading(&e), 100);
	assert_int_equal(vpmu_vcpu_put(&b.v), 0);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	at_the_end(&b);
}

/* What is counted until a sample is taken is of the next period: as many samples as periods. */
static void late_samples(void **state)
{
	struct vpmu_host_event_config everywhere = host_config();
	struct vpmu_host_event e;
	uint64_t samples = 0, n = 0;
	struct bed b;

	(void)state;
	everywhere.period = 1000;
	power_on(&b, MODEL_P5_FGT);
	make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 2);
	assert_int_equal(create(&b, &e, &everywhere), 0);
	/* Looked at every 137 events, read in between: up to 137 late. */
	for (; n < 137 * 5000; n += 137) {
		guest_runs(&b, 137);
		if (n % 3 == 0)
			assert_int_equal(reading(&e), n + 137);
		if (vpmu_cpu_pmi(&b.cpu) == VPMU_PMI_HOST)
			samples += vpmu_cpu_sample(&b.cpu) == &e;
	}
	assert_int_equal(reading(&e), n);
	assert_int_equal(samples, n / 1000);
	/* Of several periods that went by unseen, one sample; the next one is due as if none had been missed. */
	guest_runs(&b, 3000);
	assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
	assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
	guest_runs(&b, 1000 - n % 1000 - 1);
	assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_LATE);
	guest_runs(&b, 1);
	assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
	assert_int_equal(vpmu_vcpu_put(&b.v), 0);
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	at_the_end(&b);
}

/* It fires in time while a guest spins with interrupts masked, its own overflow pending for good. */
static void watchdog(void **state)
{
	struct vpmu_host_event_config c = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	c.period = 1000;
	c.watchdog = true;
	c.pinned = true;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		unsigned int samples = 0, guests = 0;

		power_on(&b, (enum model_class)class);
		make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 3);
		assert_int_equal(create(&b, &e, &c), 0);
		trap(&b, MODEL_PMEVCNTR(0), true, UINT32_MAX - 699);
		trap(&b, MODEL_PMINTENSET, true, 1);
		guest_counts(&b, 0);
		for (unsigned int n = 0; n < 100; n++) {
			enum vpmu_pmi pmi;

			guest_runs(&b, 100);
			/* The line is for EL2: PSTATE.I of the guest does not hold it back. */
			if (!model_interrupt(&b.pmu))
				continue;
			pmi = vpmu_cpu_pmi(&b.cpu);
			if (pmi == VPMU_PMI_HOST || pmi == VPMU_PMI_BOTH) {
				assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
				assert_null(vpmu_cpu_sample(&b.cpu));
				samples++;
			}
			guests += pmi == VPMU_PMI_GUEST || pmi == VPMU_PMI_BOTH;
		}
		assert_int_equal(samples, 10);
		/* Never answered: forwarded once is enough, but its level stays. */
		assert_in_range(guests, 1, 100);
		assert_int_equal(vpmu_vcpu_interrupt(&b.v), 1);
		assert_int_equal(reading(&e), 10000);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		at_the_end(&b);
	}
}

static void watchdog_or_all_counters(void **state)
{
	struct vpmu_vm_config all = { .size = sizeof(all), .mode = VPMU_MODE_MEDIATED };
	struct vpmu_host_event_config c = host_config();
	struct vpmu_host_event e;
	struct bed b;

	(void)state;
	c.period = 1000;
	c.watchdog = true;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class);
		assert_int_equal(create(&b, &e, &c), 0);
		assert_int_equal(vpmu_arm_vm_init(&b.vm, &b.machine, &b.model, &all),
				 VPMU_ERR_WATCHDOG);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_int_equal(vpmu_arm_vm_init(&b.vm, &b.machine, &b.model, &all), 0);
		assert_int_equal(create(&b, &e, &c), VPMU_ERR_WATCHDOG);
		vpmu_vm_end(&b.vm);
		assert_int_equal(create(&b, &e, &c), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_int_equal(b.machine.claims, 0);
		at_the_end(&b);
	}
}

/* The next sample is due anew, while nothing is lost; what only counts has no period. */
static void period_changes(void **state)
{
	struct vpmu_host_event_config config = host_config();
	struct vpmu_host_event e, f;
	struct bed b;

	(void)state;
	for (unsigned int class = 0; class < MODEL_CLASSES; class++) {
		power_on(&b, (enum model_class)class);
		config.period = 0;
		assert_int_equal(create(&b, &f, &config), 0);
		assert_int_equal(vpmu_host_event_period(&f, 10), VPMU_ERR_PARAM);
		config.period = 1000;
		assert_int_equal(create(&b, &e, &config), 0);
		assert_int_equal(vpmu_host_event_period(&e, 0), VPMU_ERR_PARAM);
		assert_int_equal(vpmu_host_event_period(&e, BIT(31) + 1), VPMU_ERR_PARAM);
		runs(&b, 2, 999);
		assert_int_equal(vpmu_host_event_period(&e, 50), 0);
		runs(&b, 2, 49);
		assert_false(model_interrupt(&b.pmu));
		runs(&b, 2, 1);
		assert_true(model_interrupt(&b.pmu));
		/* It came already, and comes all the same. */
		assert_int_equal(vpmu_host_event_period(&e, 7), 0);
		assert_true(model_interrupt(&b.pmu));
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
		assert_ptr_equal(vpmu_cpu_sample(&b.cpu), &e);
		assert_false(model_interrupt(&b.pmu));
		runs(&b, 2, 6);
		assert_false(model_interrupt(&b.pmu));
		runs(&b, 2, 1);
		assert_true(model_interrupt(&b.pmu));
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
		assert_int_equal(reading(&e), 1056);
		make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 2);
		enter(&b);
		assert_int_equal(vpmu_host_event_period(&e, 9), VPMU_ERR_STATE);
		leave(&b);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		/* A machine that loses overflows at odd distances. */
		b.hw.hw.caps.host_granule = 2;
		assert_int_equal(vpmu_host_event_period(&e, 9), 0);
		runs(&b, 2, 9);
		assert_false(model_interrupt(&b.pmu));
		runs(&b, 2, 1);
		assert_true(model_interrupt(&b.pmu));
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_int_equal(vpmu_host_event_destroy(&f), 0);
		at_the_end(&b);
	}
}

/*
 * From PMUv3p5 on counters have 64 bits, wherever they overflow: nothing is lost in more than 2^32 events, and a
 * period that ends there is one sample.
 */
static void more_than_32_bits(void **state)
{
	struct vpmu_host_event_config everywhere = host_config();
	struct vpmu_host_event e, sampling;
	const uint64_t many = ((uint64_t)3 << 32) + 5;
	struct bed b;

	(void)state;
	for (unsigned int class = MODEL_P5_HPMN; class <= MODEL_P5; class++) {
		power_on(&b, (enum model_class)class);
		make_guest(&b, VPMU_MODE_PARTITIONED, VPMU_SWITCH_LAZY, 2);
		assert_int_equal(create(&b, &e, &everywhere), 0);
		everywhere.period = (uint64_t)1 << 31;
		assert_int_equal(create(&b, &sampling, &everywhere), 0);
		everywhere.period = 0;
		guest_counts(&b, 0);
		guest_runs(&b, many);
		assert_int_equal(vpmu_cpu_pmi(&b.cpu), VPMU_PMI_HOST);
		assert_int_equal(reading(&e), many);
		assert_int_equal(reading(&sampling), many);
		runs(&b, 2, many);
		assert_int_equal(reading(&e), 2 * many);
		assert_int_equal(trap(&b, MODEL_PMEVCNTR(0), false, 0), many);
		assert_int_equal(vpmu_vcpu_put(&b.v), 0);
		assert_int_equal(vpmu_host_event_destroy(&e), 0);
		assert_int_equal(vpmu_host_event_destroy(&sampling), 0);
		at_the_end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(period_changes),
		cmocka_unit_test(beside_mediated),
		cmocka_unit_test(partition),
		cmocka_unit_test(both_overflow),
		cmocka_unit_test(time_without_the_guest),
		cmocka_unit_test(watchdog),
		cmocka_unit_test(watchdog_or_all_counters),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(late_samples),
		cmocka_unit_test(more_than_32_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
