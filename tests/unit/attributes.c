/* SPDX-License-Identifier: MIT */
/*
 * The attributes of KVM_ARM_VCPU_PMU_V3_CTRL: every errno, every order of checks, and what a
 * heterogeneous machine makes of a VM (Linux, Documentation/virt/kvm/devices/vcpu.rst and
 * arch/arm64/kvm/pmu-emul.c; museum M57, M99 to M102).
 */
#include "cmocka_vpmu.h"

#include <string.h>

#include <vpmu/arm_attributes.h>

#define E(name) (-(int)VPMU_LINUX_##name)

/* CPUs 0 and 1: a big core. CPUs 2 and 3: a little one. CPU 4 has no PMU. */
static const struct vpmu_arm_pmu big = {
	.type = 8, .cpus = { { 0x3 } },
	.model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3P5, .counters = 6,
		   .id = 0x4100, .ceid = { 0x7FFF0F3F, 0xF2AE7F }, .mmir = 5 },
};

static const struct vpmu_arm_pmu little = {
	.type = 9, .cpus = { { 0xC } },
	.model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3, .counters = 4,
		   .id = 0x4103, .ceid = { 0x63FF0FFF, 0 } },
};

struct bed {
	struct vpmu_arm_pmus pmus;
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_vcpu_attributes vcpu[3];
};

static void make(struct bed *b, enum vpmu_arm_placement placement, bool irqchip)
{
	vpmu_arm_pmus_init(&b->pmus);
	assert_int_equal(vpmu_arm_pmus_add(&b->pmus, &little), 0);
	assert_int_equal(vpmu_arm_pmus_add(&b->pmus, &big), 0);
	assert_int_equal(vpmu_arm_attributes_init(&b->vm, &b->pmus, placement, irqchip), 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(vpmu_arm_vcpu_attributes_init(&b->vcpu[i], &b->vm, i != 2, 0), 0);
}

static int set32(struct vpmu_arm_vcpu_attributes *v, uint64_t attribute, uint32_t value)
{
	return vpmu_arm_attribute_set(v, attribute, &value);
}

static int filter(struct vpmu_arm_vcpu_attributes *v, uint16_t base, uint16_t n, uint8_t action)
{
	struct vpmu_arm_filter_range r = { base, n, action, { 1, 2, 3 } };

	return vpmu_arm_attribute_set(v, VPMU_ARM_ATTR_FILTER, &r);
}

static void ready(struct bed *b)
{
	b->vm.irqchip_ready = true;
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(set32(&b->vcpu[i], VPMU_ARM_ATTR_IRQ, 23), 0);
		assert_int_equal(vpmu_arm_attribute_set(&b->vcpu[i], VPMU_ARM_ATTR_INIT, NULL), 0);
	}
}

/* The three checks that come before any attribute's own, in their order. */
static void common_checks(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, true);
	for (uint64_t attribute = 0; attribute < 7; attribute++) {
		bool known = attribute <= VPMU_ARM_ATTR_SET_NR_COUNTERS;

		/* vCPU 2 has no PMU: that comes before the attribute is looked at. */
		assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[2], attribute, NULL), E(ENODEV));
		assert_int_equal(vpmu_arm_attribute_has(&b.vcpu[0], attribute), known ? 0 : E(ENXIO));
		assert_int_equal(vpmu_arm_attribute_has(&b.vcpu[2], attribute), E(ENXIO));
	}
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], 5, NULL), E(ENXIO));
	ready(&b);
	for (uint64_t attribute = 0; attribute < 7; attribute++)
		assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], attribute, NULL), E(EBUSY));
}

static void irq(void **unused)
{
	static const uint32_t neither[] = { 0, 1, 15, 1020, 1023, 0xFFFFFFFF, 0x20000017 };
	struct bed b;
	int32_t got = 0;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, false);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, NULL), E(EINVAL));
	assert_int_equal(vpmu_arm_attribute_get(&b.vcpu[2], VPMU_ARM_ATTR_IRQ, &got), E(EINVAL));

	make(&b, VPMU_ARM_ONE_PMU, true);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, NULL), E(EFAULT));
	for (unsigned int i = 0; i < sizeof(neither) / sizeof(neither[0]); i++)
		assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, neither[i]), E(EINVAL));
	assert_int_equal(vpmu_arm_attribute_get(&b.vcpu[2], VPMU_ARM_ATTR_IRQ, &got), E(ENODEV));
	assert_int_equal(vpmu_arm_attribute_get(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, &got), E(ENXIO));
	assert_int_equal(vpmu_arm_attribute_get(&b.vcpu[0], VPMU_ARM_ATTR_FILTER, &got), E(ENXIO));

	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, 23), 0);
	assert_int_equal(vpmu_arm_attribute_get(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, &got), 0);
	assert_int_equal(got, 23);
	/* Inconsistent comes before already set. */
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, 24), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, 23), E(EBUSY));
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_IRQ, 24), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_IRQ, 40), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_IRQ, 23), 0);
}

static void spis_are_one_each(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, true);
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, 1019), 0);
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_IRQ, 1019), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_IRQ, 23), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_IRQ, 32), 0);
}

static void init(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, true);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), E(ENODEV));
	b.vm.irqchip_ready = true;
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), E(ENXIO));
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], 0), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_IRQ, 23), 0);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), 0);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), E(EBUSY));
	/* A refused run is no run. */
	assert_false(b.vm.ran);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], 0), 0);
	assert_true(b.vm.ran);

	make(&b, VPMU_ARM_ONE_PMU, false);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), 0);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], 0), 0);
	/* A vCPU without a PMU asks for nothing. */
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[2], 0), 0);
}

static bool allows(const struct bed *b, uint32_t event)
{
	return vpmu_policy_allows(vpmu_arm_attributes_policy(&b->vm), event);
}

static void filters(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, true);
	assert_null(vpmu_arm_attributes_policy(&b.vm));
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_FILTER, NULL), E(EFAULT));
	assert_int_equal(filter(&b.vcpu[0], 0, 1, 2), E(EINVAL));
	assert_int_equal(filter(&b.vcpu[0], 0xFFFF, 2, 0), E(EINVAL));
	assert_null(vpmu_arm_attributes_policy(&b.vm));
	/* The first is an allow: everything else is denied. */
	assert_int_equal(filter(&b.vcpu[0], 0x8, 1, 0), 0);
	assert_int_equal(filter(&b.vcpu[1], 0xFFFF, 1, 0), 0);
	assert_true(allows(&b, 0x8) && allows(&b, 0xFFFF));
	assert_false(allows(&b, 0x9) || allows(&b, 0x11) || allows(&b, 0xFFFE));
	assert_int_equal(filter(&b.vcpu[0], 0x8, 1, 1), 0);
	assert_false(allows(&b, 0x8));

	/* The first is a deny, of nothing: everything is allowed, and that is a filter. */
	make(&b, VPMU_ARM_ONE_PMU, true);
	assert_int_equal(filter(&b.vcpu[0], 0, 0, 1), 0);
	assert_true(allows(&b, 0) && allows(&b, 0xFFFF));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 9), E(EBUSY));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 8), 0);

	/* A PMU of PMUv3p0 has 1024 events. */
	make(&b, VPMU_ARM_ONE_PMU, true);
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 9), 0);
	assert_int_equal(filter(&b.vcpu[0], 0, 1025, 0), E(EINVAL));
	assert_int_equal(filter(&b.vcpu[0], 1023, 1, 0), 0);

	/* Any vCPU that ran ends it, also for one that is not initialised; bad ranges come first. */
	make(&b, VPMU_ARM_ONE_PMU, false);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[1], VPMU_ARM_ATTR_INIT, NULL), 0);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[1], 0), 0);
	assert_int_equal(filter(&b.vcpu[0], 0, 1, 2), E(EINVAL));
	assert_int_equal(filter(&b.vcpu[0], 0, 1, 0), E(EBUSY));
}

static uint32_t counters(const struct bed *b)
{
	struct vpmu_arm_model model;

	assert_int_equal(vpmu_arm_attributes_model(&b->vm, &model), 0);
	return model.counters;
}

static void set_pmu_and_counters(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, false);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, NULL), E(EFAULT));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 7), E(ENXIO));
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_SET_NR_COUNTERS, NULL),
			 E(EFAULT));
	/* The default is the PMU of the CPU that made the first vCPU: no SET_PMU is needed. */
	assert_int_equal(counters(&b), 6);
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_NR_COUNTERS, 7), E(EINVAL));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_NR_COUNTERS, 2), 0);
	assert_int_equal(counters(&b), 2);
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_SET_NR_COUNTERS, 5), 0);
	/* Choosing a PMU cancels it. */
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 9), 0);
	assert_int_equal(counters(&b), 4);
	/* As does nothing else: a filter does not. */
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_NR_COUNTERS, 0), 0);
	assert_int_equal(filter(&b.vcpu[0], 0, 1, 0), 0);
	assert_int_equal(counters(&b), 0);

	/* After the first run the PMU is fixed; the number is not, on another vCPU (as in the code). */
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[1], VPMU_ARM_ATTR_INIT, NULL), 0);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[1], 2), 0);
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 7), E(ENXIO));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_PMU, 9), E(EBUSY));
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_NR_COUNTERS, 3), 0);
}

static void legacy_n(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, false);
	vpmu_arm_attributes_set_pmcr(&b.vm, 7 << 11);
	assert_int_equal(counters(&b), 6);
	vpmu_arm_attributes_set_pmcr(&b.vm, 3 << 11 | 1);
	assert_int_equal(counters(&b), 3);
	b.vm.ran = true;
	vpmu_arm_attributes_set_pmcr(&b.vm, 1 << 11);
	assert_int_equal(counters(&b), 3);
}

/* M57, M100: refused on the wrong CPU by name, and it may retry. */
static void wrong_cpu(void **unused)
{
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_ONE_PMU, false);
	assert_int_equal(set32(&b.vcpu[1], VPMU_ARM_ATTR_SET_PMU, 9), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[i], VPMU_ARM_ATTR_INIT, NULL), 0);
	for (uint32_t cpu = 0; cpu < 6; cpu++) {
		bool ok = cpu == 2 || cpu == 3;

		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], cpu), ok ? 0 : VPMU_ARM_FAIL_ENTRY);
		if (!ok)
			assert_int_equal(b.vcpu[0].refused_cpu, cpu);
	}
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], VPMU_ARM_CPUS_MAX), VPMU_ARM_FAIL_ENTRY);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], 3), 0);

	/* Without an explicit choice it runs anywhere, as under Linux. */
	make(&b, VPMU_ARM_ONE_PMU, false);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), 0);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], 3), 0);
}

static void declared_ways(void **unused)
{
	struct vpmu_arm_model model;
	struct bed b;

	(void)unused;
	make(&b, VPMU_ARM_COMMON, false);
	assert_int_equal(vpmu_arm_attributes_model(&b.vm, &model), 0);
	assert_int_equal(model.version, VPMU_ARM_V3);
	assert_int_equal(model.counters, 4);
	assert_int_equal(model.ceid[0], big.model.ceid[0] & little.model.ceid[0]);
	assert_int_equal(model.ceid[1], 0);
	assert_int_equal(model.id, 0);
	assert_int_equal(model.mmir, 0);
	assert_int_equal(vpmu_arm_attribute_set(&b.vcpu[0], VPMU_ARM_ATTR_INIT, NULL), 0);
	for (uint32_t cpu = 0; cpu < 4; cpu++)
		assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], cpu), 0);
	assert_int_equal(vpmu_arm_attributes_run(&b.vcpu[0], 4), VPMU_ARM_FAIL_ENTRY);

	make(&b, VPMU_ARM_FIXED_ONLY, false);
	assert_int_equal(vpmu_arm_attributes_model(&b.vm, &model), 0);
	assert_int_equal(model.counters, 0);
	assert_int_equal(model.ceid[0], 1 << 0x11);
	assert_int_equal(set32(&b.vcpu[0], VPMU_ARM_ATTR_SET_NR_COUNTERS, 1), E(EINVAL));
}

/* M102: PMUs appear late, in any order, or never; what creation accepts is what the list says. */
static void late_pmus(void **unused)
{
	const struct vpmu_arm_pmu overlapping = { .type = 10, .cpus = { { 0x6 } } };
	const struct vpmu_arm_pmu same_type = { .type = 8, .cpus = { { 0x100 } } };
	const struct vpmu_arm_pmu no_type = { .type = 0, .cpus = { { 0x100 } } };
	struct vpmu_arm_vcpu_attributes v;
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_model model;
	struct vpmu_arm_pmus pmus;

	(void)unused;
	vpmu_arm_pmus_init(&pmus);
	assert_int_equal(vpmu_arm_attributes_init(&vm, &pmus, (enum vpmu_arm_placement)3, false),
			 VPMU_ERR_PARAM);
	assert_int_equal(vpmu_arm_attributes_init(&vm, &pmus, VPMU_ARM_ONE_PMU, false), 0);
	assert_int_equal(vpmu_arm_attributes_model(&vm, &model), VPMU_ERR_UNSUPPORTED);
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, 0), E(EINVAL));
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, false, 0), 0);
	assert_int_equal(vpmu_arm_pmus_add(&pmus, &big), 0);
	assert_int_equal(vpmu_arm_pmus_add(&pmus, &overlapping), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_arm_pmus_add(&pmus, &same_type), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_arm_pmus_add(&pmus, &no_type), VPMU_ERR_PARAM);
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, 2), E(EINVAL));
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, 1), 0);
	assert_int_equal(vpmu_arm_pmus_add(&pmus, &little), 0);
	/* The first vCPU's choice stays. */
	assert_int_equal(vpmu_arm_vcpu_attributes_init(&v, &vm, true, 2), 0);
	assert_int_equal(vpmu_arm_attributes_model(&vm, &model), 0);
	assert_int_equal(model.counters, 6);
}

static void full_list(void **unused)
{
	struct vpmu_arm_pmu pmu[VPMU_ARM_PMUS_MAX + 1];
	struct vpmu_arm_pmus pmus;

	(void)unused;
	vpmu_arm_pmus_init(&pmus);
	for (unsigned int i = 0; i <= VPMU_ARM_PMUS_MAX; i++) {
		pmu[i] = (struct vpmu_arm_pmu){ .type = (int32_t)i + 1 };
		pmu[i].cpus.mask[i / 4] = (uint64_t)1 << i;
		assert_int_equal(vpmu_arm_pmus_add(&pmus, &pmu[i]),
				 i < VPMU_ARM_PMUS_MAX ? 0 : VPMU_ERR_LIMIT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(common_checks),
		cmocka_unit_test(irq),
		cmocka_unit_test(spis_are_one_each),
		cmocka_unit_test(init),
		cmocka_unit_test(filters),
		cmocka_unit_test(set_pmu_and_counters),
		cmocka_unit_test(legacy_n),
		cmocka_unit_test(wrong_cpu),
		cmocka_unit_test(declared_ways),
		cmocka_unit_test(late_pmus),
		cmocka_unit_test(full_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
