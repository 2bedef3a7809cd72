/* SPDX-License-Identifier: MIT */
/*
 * Every order of the attributes of KVM_ARM_VCPU_PMU_V3_CTRL: whatever is done before, each call answers as the
 * first row of its table that applies, and what is accepted has the effect that Linux's has. The tables are
 * arch/arm64/kvm/pmu-emul.c's checks in their order (where Documentation/virt/kvm/devices/vcpu.rst differs: the
 * code), with the effects of arch/arm64/kvm/arm.c and sys_regs.c; they share nothing with the library. A row
 * that no order reached fails the test (museum M100, M101).
 */
#include "support.h"

#include <vpmu/arm_attributes.h>

/* ---- The machine: CPUs 0, 1: PMU 8. CPUs 2, 3: PMU 9. CPU 4 has none. ---- */

static const struct vpmu_arm_pmu registered[] = {
	{ .type = 8, .cpus = { { 0x3 } },
	  .model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3P5, .counters = 6,
		     .ceid = { 0x20901 } } },
	{ .type = 9, .cpus = { { 0xC } },
	  .model = { .size = sizeof(struct vpmu_arm_model), .version = VPMU_ARM_V3, .counters = 4,
		     .ceid = { 0x20801 } } },
};

#define VCPUS 3u                     /* the last has no PMU */
#define CPUS 5u

enum what {
	READY,                       /* the interrupt controller is initialised */
	SET, GET, HAS,               /* attribute (attribute) */
	RUN,                         /* on CPU (value) */
	PMCR,                        /* KVM_SET_ONE_REG, N = (value) */
	PMUVER,
};

#define FAULT 0x7FFFFFFF             /* as a value: the address cannot be read */

struct op {
	enum what what;
	uint64_t attribute;
	uint32_t vcpu;
	int32_t value;
	struct vpmu_arm_filter_range range;
};

/* ---- What Linux would say ---- */

#define RANGES 32u

struct truth {
	enum vpmu_arm_placement placement;
	bool irqchip, ready, ran, bound;
	int32_t pmu;                 /* type */
	int32_t n;
	int32_t pmuver;              /* -1: the PMU's */
	bool shown;
	int32_t shown_n, shown_version;
	unsigned int ranges;
	struct vpmu_arm_filter_range range[RANGES];
	bool inited[VCPUS];
	int32_t irq[VCPUS];
};

static bool has_pmu(const struct op *op)
{
	return op->vcpu < 2;
}

static int32_t most(const struct truth *t)
{
	static const int32_t n[][2] = {
		[VPMU_ARM_ONE_PMU] = { 6, 4 }, [VPMU_ARM_COMMON] = { 4, 4 }, [VPMU_ARM_FIXED_ONLY] = { 0, 0 },
	};

	return n[t->placement][t->pmu - 8];
}

static bool is_new(const struct truth *t)
{
	return t->placement == VPMU_ARM_ONE_PMU && t->pmu == 8;
}

static int32_t version(const struct truth *t)
{
	return is_new(t) ? VPMU_ARM_V3P5 : VPMU_ARM_V3;
}

static bool is_ppi(int32_t irq)
{
	return irq >= 16 && irq <= 31;
}

/* The conditions of the rows. */
static bool no_feature(const struct truth *t, const struct op *op) { (void)t; return !has_pmu(op); }
static bool inited(const struct truth *t, const struct op *op) { return t->inited[op->vcpu]; }
static bool unknown(const struct truth *t, const struct op *op) { (void)t; return op->attribute > 4; }
static bool not_irq(const struct truth *t, const struct op *op) { (void)t; return op->attribute != 0; }
static bool userspace(const struct truth *t, const struct op *op) { (void)op; return !t->irqchip; }
static bool fault(const struct truth *t, const struct op *op) { (void)t; return op->value == FAULT; }
static bool has_irq(const struct truth *t, const struct op *op) { return t->irq[op->vcpu]; }
static bool has_none(const struct truth *t, const struct op *op) { return !t->irq[op->vcpu]; }
static bool ran(const struct truth *t, const struct op *op) { (void)op; return t->ran; }

static bool no_ppi_or_spi(const struct truth *t, const struct op *op)
{
	(void)t;
	return op->value < 16 || op->value > 1019;
}

/* A PPI must be everybody's, an SPI nobody else's. */
static bool inconsistent(const struct truth *t, const struct op *op)
{
	for (unsigned int i = 0; i < VCPUS; i++) {
		if (!t->irq[i])
			continue;
		if (is_ppi(op->value) ? t->irq[i] != op->value : t->irq[i] == op->value || is_ppi(t->irq[i]))
			return true;
	}
	return false;
}

static bool not_ready(const struct truth *t, const struct op *op)
{
	(void)op;
	return t->irqchip && !t->ready;
}

static bool needs_irq(const struct truth *t, const struct op *op)
{
	return t->irqchip && !t->irq[op->vcpu];
}

static bool bad_range(const struct truth *t, const struct op *op)
{
	int32_t events = is_new(t) ? 65536 : 1024;

	return op->range.base_event + op->range.nevents > events || op->range.action > 1;
}

static bool no_such_pmu(const struct truth *t, const struct op *op)
{
	(void)t;
	return op->value != 8 && op->value != 9;
}

static bool filtered_for_another(const struct truth *t, const struct op *op)
{
	return t->ranges && t->pmu != op->value;
}

static bool too_many(const struct truth *t, const struct op *op)
{
	return (uint32_t)op->value > (uint32_t)most(t);
}

static bool not_inited(const struct truth *t, const struct op *op)
{
	return has_pmu(op) && !t->inited[op->vcpu];
}

static int32_t pmuver_now(const struct truth *t)
{
	return t->pmuver < 0 || t->pmuver > version(t) ? version(t) : t->pmuver;
}

static bool another_version(const struct truth *t, const struct op *op)
{
	return t->ran && pmuver_now(t) != (op->value == 0xF ? 0 : op->value);
}

static bool newer_version(const struct truth *t, const struct op *op)
{
	return !t->ran && op->value != 0xF && op->value > version(t);
}

struct row {
	const char *what;
	bool (*applies)(const struct truth *t, const struct op *op);
	int error;
	unsigned int hits;
};

#define E(name) (-(int)VPMU_LINUX_##name)
#define ROWS 8

static struct row common_rows[ROWS] = {
	{ "no feature", no_feature, E(ENODEV), 0 },
	{ "initialised", inited, E(EBUSY), 0 },
	{ "unknown", unknown, E(ENXIO), 0 },
};

static struct row set_rows[5][ROWS] = {
	[VPMU_ARM_ATTR_IRQ] = {
		{ "irq: no irqchip", userspace, E(EINVAL), 0 },
		{ "irq: fault", fault, E(EFAULT), 0 },
		{ "irq: neither PPI nor SPI", no_ppi_or_spi, E(EINVAL), 0 },
		{ "irq: inconsistent", inconsistent, E(EINVAL), 0 },
		{ "irq: set already", has_irq, E(EBUSY), 0 },
	},
	[VPMU_ARM_ATTR_INIT] = {
		{ "init: irqchip not ready", not_ready, E(ENODEV), 0 },
		{ "init: no irq", needs_irq, E(ENXIO), 0 },
	},
	[VPMU_ARM_ATTR_FILTER] = {
		{ "filter: fault", fault, E(EFAULT), 0 },
		{ "filter: range or action", bad_range, E(EINVAL), 0 },
		{ "filter: has run", ran, E(EBUSY), 0 },
	},
	[VPMU_ARM_ATTR_SET_PMU] = {
		{ "pmu: fault", fault, E(EFAULT), 0 },
		{ "pmu: unknown", no_such_pmu, E(ENXIO), 0 },
		{ "pmu: has run", ran, E(EBUSY), 0 },
		{ "pmu: filtered for another", filtered_for_another, E(EBUSY), 0 },
	},
	[VPMU_ARM_ATTR_SET_NR_COUNTERS] = {
		{ "counters: fault", fault, E(EFAULT), 0 },
		{ "counters: too many", too_many, E(EINVAL), 0 },
	},
};

static struct row get_rows[ROWS] = {
	{ "get: not the irq", not_irq, E(ENXIO), 0 },
	{ "get: no irqchip", userspace, E(EINVAL), 0 },
	{ "get: no feature", no_feature, E(ENODEV), 0 },
	{ "get: not set", has_none, E(ENXIO), 0 },
};

static struct row has_rows[ROWS] = {
	{ "has: no feature", no_feature, E(ENXIO), 0 },
	{ "has: unknown", unknown, E(ENXIO), 0 },
};

static struct row run_rows[ROWS] = {
	{ "run: not initialised", not_inited, E(EINVAL), 0 },
};

static struct row pmuver_rows[ROWS] = {
	{ "pmuver: has run", another_version, E(EBUSY), 0 },
	{ "pmuver: newer", newer_version, E(EINVAL), 0 },
};

static int first_error(struct row *rows, const struct truth *t, const struct op *op)
{
	for (; rows->what; rows++) {
		if (!rows->applies(t, op))
			continue;
		rows->hits++;
		return rows->error;
	}
	return 0;
}

/* ---- Effects ---- */

static void do_set(struct truth *t, const struct op *op)
{
	switch (op->attribute) {
	case VPMU_ARM_ATTR_IRQ:
		t->irq[op->vcpu] = op->value;
		break;
	case VPMU_ARM_ATTR_INIT:
		t->inited[op->vcpu] = true;
		break;
	case VPMU_ARM_ATTR_FILTER:
		t->range[t->ranges++] = op->range;
		break;
	case VPMU_ARM_ATTR_SET_PMU:
		t->pmu = op->value;
		t->n = most(t);
		t->bound = t->placement == VPMU_ARM_ONE_PMU;
		break;
	case VPMU_ARM_ATTR_SET_NR_COUNTERS:
		t->n = op->value;
		break;
	}
}

static int set_answer(struct truth *t, const struct op *op)
{
	int error = first_error(common_rows, t, op);

	if (!error)
		error = first_error(set_rows[op->attribute], t, op);
	if (!error)
		do_set(t, op);
	return error;
}

static bool covered(const struct truth *t, int32_t cpu)
{
	if (!t->bound)
		return t->placement == VPMU_ARM_ONE_PMU || cpu < 4;
	return t->pmu == 8 ? cpu < 2 : cpu == 2 || cpu == 3;
}

static int run_answer(struct truth *t, const struct op *op)
{
	int error = first_error(run_rows, t, op);

	if (error)
		return error;
	if (has_pmu(op) && !covered(t, op->value))
		return VPMU_ARM_FAIL_ENTRY;
	if (has_pmu(op) && !t->shown && pmuver_now(t)) {
		t->shown = true;
		t->shown_n = t->n;
		t->shown_version = pmuver_now(t);
	}
	t->ran = true;
	return 0;
}

static int pmuver_answer(struct truth *t, const struct op *op)
{
	int error = first_error(pmuver_rows, t, op);

	if (!error && !t->ran)
		t->pmuver = op->value == 0xF ? 0 : op->value;
	return error;
}

static int answer(struct truth *t, const struct op *op)
{
	switch (op->what) {
	case READY:
		t->ready = true;
		return 0;
	case SET:
		return set_answer(t, op);
	case GET:
		return first_error(get_rows, t, op);
	case HAS:
		return first_error(has_rows, t, op);
	case RUN:
		return run_answer(t, op);
	case PMCR:
		if (!t->ran && op->value < t->n)
			t->n = op->value;
		return 0;
	case PMUVER:
		break;
	}
	return pmuver_answer(t, op);
}

/* The last range that has it, or the opposite of the first. */
static bool allows(const struct truth *t, uint32_t event)
{
	for (unsigned int i = t->ranges; i-- > 0;) {
		const struct vpmu_arm_filter_range *r = &t->range[i];

		if (event >= r->base_event && event < (uint32_t)r->base_event + r->nevents)
			return !r->action;
	}
	return !t->ranges || t->range[0].action;
}

/* ---- What the library says ---- */

struct bed {
	struct vpmu_arm_pmus pmus;
	struct vpmu_arm_attributes vm;
	struct vpmu_arm_vcpu_attributes vcpu[VCPUS];
	struct truth truth;
};

static struct bed bed;

static void begin(enum vpmu_arm_placement placement, bool irqchip)
{
	vpmu_arm_pmus_init(&bed.pmus);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(vpmu_arm_pmus_add(&bed.pmus, &registered[1 - i]), 0);
	assert_int_equal(vpmu_arm_attributes_init(&bed.vm, &bed.pmus, placement, irqchip), 0);
	for (unsigned int i = 0; i < VCPUS; i++)
		assert_int_equal(vpmu_arm_vcpu_attributes_init(&bed.vcpu[i], &bed.vm, i < 2, 1), 0);
	bed.truth = (struct truth){ .placement = placement, .irqchip = irqchip, .pmu = 8, .pmuver = -1 };
	bed.truth.n = most(&bed.truth);
}

static int call(const struct op *op)
{
	struct vpmu_arm_vcpu_attributes *v = &bed.vcpu[op->vcpu];
	bool is_filter = op->attribute == VPMU_ARM_ATTR_FILTER;
	const void *data = is_filter ? (const void *)&op->range : &op->value;
	int32_t irq = 0;
	int result;

	switch (op->what) {
	case READY:
		bed.vm.irqchip_ready = true;
		return 0;
	case SET:
		return vpmu_arm_attribute_set(v, op->attribute, op->value == FAULT ? NULL : data);
	case GET:
		result = vpmu_arm_attribute_get(v, op->attribute, &irq);
		assert_int_equal(irq, result ? 0 : bed.truth.irq[op->vcpu]);
		return result;
	case HAS:
		return vpmu_arm_attribute_has(v, op->attribute);
	case RUN:
		result = vpmu_arm_attributes_run(v, (uint32_t)op->value);
		if (result == VPMU_ARM_FAIL_ENTRY)
			assert_int_equal(v->refused_cpu, op->value);
		return result;
	case PMCR:
		vpmu_arm_attributes_set_pmcr(&bed.vm, (uint64_t)op->value << 11);
		return 0;
	case PMUVER:
		break;
	}
	return vpmu_arm_attributes_set_pmuver(&bed.vm, (uint32_t)op->value);
}

static void explain(const struct op *ops, unsigned int count, int got, int wanted)
{
	static const char *const names[] = { "ready", "set", "get", "has", "run", "pmcr", "pmuver" };

	print_error("placement %u, irqchip %u\n", (unsigned int)bed.truth.placement, bed.truth.irqchip);
	for (unsigned int i = 0; i < count; i++)
		print_error("vcpu %u: %s %llu: %d (%u+%u %u)\n", ops[i].vcpu, names[ops[i].what],
			    (unsigned long long)ops[i].attribute, ops[i].value, ops[i].range.base_event,
			    ops[i].range.nevents, ops[i].range.action);
	fail_msg("the last one: %d, expected %d", got, wanted);
}

static void check_model(void)
{
	const struct truth *t = &bed.truth;
	struct vpmu_arm_model model;

	if (!pmuver_now(t)) {
		assert_int_equal(vpmu_arm_attributes_model(&bed.vm, &model), VPMU_ERR_UNSUPPORTED);
		return;
	}
	assert_int_equal(vpmu_arm_attributes_model(&bed.vm, &model), 0);
	assert_int_equal(model.counters, t->shown ? t->shown_n : t->n);
	assert_int_equal(model.version, t->shown ? t->shown_version : pmuver_now(t));
	assert_int_equal(!(model.ceid[0] & BIT(8)), !is_new(t));
}

static void check_effects(void)
{
	static const uint32_t events[] = { 0x7, 0x8, 0x11, 0x3FE, 0x3FF, 0x400, 0x2000, 0xFFFF };
	const struct vpmu_policy *policy = vpmu_arm_attributes_policy(&bed.vm);

	check_model();
	assert_int_equal(!policy, !bed.truth.ranges);
	for (unsigned int i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		assert_int_equal(vpmu_policy_allows(policy, events[i]), allows(&bed.truth, events[i]));
}

static void perform(const struct op *ops, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		int wanted = answer(&bed.truth, &ops[i]);
		int got = call(&ops[i]);

		if (got != wanted)
			explain(ops, i + 1, got, wanted);
	}
	check_effects();
}

/* ---- Orders ---- */

/* The steps of arm.md's order, and what each of them may be instead. */
#define STEPS 7u
#define KINDS 3u

static const struct op steps[STEPS][KINDS] = {
	{ { .what = READY }, { .what = HAS, .attribute = 5 }, { .what = PMCR, .value = 3 } },
	{ { .what = SET, .attribute = VPMU_ARM_ATTR_SET_PMU, .value = 8 },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_SET_PMU, .value = 9 },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_SET_PMU, .value = 7 } },
	{ { .what = SET, .attribute = VPMU_ARM_ATTR_FILTER, .range = { 0x8, 1, 0, { 9 } } },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_FILTER, .range = { 0x3FF, 2, 1, { 0 } } },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_FILTER, .range = { 0, 0, 1, { 0 } } } },
	{ { .what = SET, .attribute = VPMU_ARM_ATTR_SET_NR_COUNTERS, .value = 2 },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_SET_NR_COUNTERS, .value = 5 },
	  { .what = PMUVER, .value = VPMU_ARM_V3P1 } },
	{ { .what = SET, .attribute = VPMU_ARM_ATTR_IRQ, .value = 23 },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_IRQ, .value = 23, .vcpu = 1 },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_IRQ, .value = 15 } },
	{ { .what = SET, .attribute = VPMU_ARM_ATTR_INIT },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_INIT, .vcpu = 1 },
	  { .what = SET, .attribute = VPMU_ARM_ATTR_INIT, .vcpu = 2 } },
	{ { .what = RUN, .value = 0 }, { .what = RUN, .value = 2, .vcpu = 1 },
	  { .what = RUN, .value = 4, .vcpu = 2 } },
};

static void try_order(const unsigned int *order, unsigned int kinds)
{
	struct op ops[STEPS];

	for (unsigned int i = 0; i < STEPS; i++) {
		unsigned int kind = kinds;

		for (unsigned int skip = 0; skip < order[i]; skip++)
			kind /= KINDS;
		ops[i] = steps[order[i]][kind % KINDS];
	}
	perform(ops, STEPS);
}

/* Heap's algorithm: all 5040 orders. */
static void permute(unsigned int *order, unsigned int n, enum vpmu_arm_placement placement, bool irqchip,
		    unsigned int kinds)
{
	if (n == 1) {
		begin(placement, irqchip);
		try_order(order, kinds);
		return;
	}
	for (unsigned int i = 0; i < n; i++) {
		unsigned int other = n % 2 ? 0 : i, swap;

		permute(order, n - 1, placement, irqchip, kinds);
		swap = order[other];
		order[other] = order[n - 1];
		order[n - 1] = swap;
	}
}

/* The usual kind of each step, and each other kind of one or two steps. */
static void all_orders(void **unused)
{
	static const unsigned int weight[STEPS] = { 1, 3, 9, 27, 81, 243, 729 };

	(void)unused;
	for (unsigned int c = 0; c < 6; c++) {
		enum vpmu_arm_placement placement = (enum vpmu_arm_placement)(c / 2);
		unsigned int order[STEPS] = { 0, 1, 2, 3, 4, 5, 6 };

		permute(order, STEPS, placement, c % 2, 0);
		for (unsigned int i = 0; i < STEPS; i++)
			for (unsigned int kind = 1; kind < KINDS; kind++)
				permute(order, STEPS, placement, c % 2, weight[i] * kind);
	}
}

static int32_t one_of(struct rng *rng, const int32_t *values, unsigned int n)
{
	return values[rng_below(rng, n)];
}

#define PICK(rng, ...)                                                                             \
	one_of(rng, (const int32_t[]){ __VA_ARGS__ }, sizeof((const int32_t[]){ __VA_ARGS__ }) / 4)

static int32_t random_value(struct rng *rng, const struct op *op)
{
	if (op->what == SET && rng_one_in(rng, 12))
		return FAULT;
	switch (op->what == SET ? op->attribute : 99) {
	case VPMU_ARM_ATTR_IRQ:
		return PICK(rng, 23, 23, 24, 32, 40, 1019, 15, 1020, 0, -1, 0x20000017);
	case VPMU_ARM_ATTR_INIT:
		return 0;
	case VPMU_ARM_ATTR_SET_PMU:
		return PICK(rng, 8, 9, 7, 0, -1);
	case VPMU_ARM_ATTR_SET_NR_COUNTERS:
		return PICK(rng, 0, 1, 4, 5, 6, 7, -1);
	}
	if (op->what == PMUVER)
		return PICK(rng, 0, 1, 4, 5, 6, 7, 0xF);
	return (int32_t)rng_below(rng, op->what == PMCR ? 8 : CPUS);
}

static struct op random_op(struct rng *rng)
{
	struct op op = { .what = (enum what)PICK(rng, READY, SET, SET, SET, SET, SET, SET, GET, HAS, RUN, RUN,
						 PMCR, PMUVER) };

	op.vcpu = (uint32_t)PICK(rng, 0, 0, 0, 1, 1, 2);
	op.attribute = rng_one_in(rng, 20) ? rng_next(rng) : rng_below(rng, 6);
	op.value = random_value(rng, &op);
	op.range = (struct vpmu_arm_filter_range){
		.base_event = (uint16_t)PICK(rng, 0, 8, 0x11, 0x3FE, 0x3FF, 0x400, 0x1000, 0xFFFF),
		.nevents = (uint16_t)PICK(rng, 0, 1, 2, 0x10, 0x3F0, 0x400, 0x401, 0xFFFF),
		.action = (uint8_t)PICK(rng, 0, 1, 0, 1, 2, 255),
		.pad = { 1 },
	};
	return op;
}

static void any_order(void **unused)
{
	struct rng rng = { 101 };

	(void)unused;
	for (unsigned int round = 0; round < 60000; round++) {
		struct op ops[20];

		begin((enum vpmu_arm_placement)rng_below(&rng, 3), rng_one_in(&rng, 2));
		for (unsigned int i = 0; i < 20; i++)
			ops[i] = random_op(&rng);
		perform(ops, 20);
	}
}

static void expect_hits(const struct row *rows)
{
	for (; rows->what; rows++) {
		if (rows->hits < 100)
			fail_msg("%s: %u times", rows->what, rows->hits);
	}
}

/* Last: each row has decided. */
static void every_row(void **unused)
{
	(void)unused;
	expect_hits(common_rows);
	for (unsigned int i = 0; i < 5; i++)
		expect_hits(set_rows[i]);
	expect_hits(get_rows);
	expect_hits(has_rows);
	expect_hits(run_rows);
	expect_hits(pmuver_rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_orders),
		cmocka_unit_test(any_order),
		cmocka_unit_test(every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
