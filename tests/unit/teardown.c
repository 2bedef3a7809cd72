/* SPDX-License-Identifier: MIT */
/*
 * The end of a guest (museum M111, M119, M120): whatever comes up while its PMU is put (a request from
 * another CPU, the interrupt of its last overflow), afterwards its memory is nobody's: nothing reads or writes it,
 * a late interrupt is delivered to nobody, and who comes next finds nothing of it. Every class of Arm machine,
 * both switches.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <vpmu/host.h>

#define POISON 0xA5

struct guest {
	struct vpmu_arm_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
};

struct bed {
	struct model_pmu pmu;
	struct model_hw hw;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	unsigned int accesses;       /* of the put under test so far */
	unsigned int at;             /* the one that is interrupted; 0: none */
};

static void power_on(struct bed *b, enum model_class class)
{
	struct model_config config;

	*b = (struct bed){ .at = 0 };
	model_class_config(class, &config);
	model_pmu_reset(&b->pmu, &config, 119);
	model_hw_init(&b->hw, &b->pmu);
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &b->hw.hw.caps);
	assert_int_equal(vpmu_cpu_init(&b->cpu, 0, &b->hw.hw), 0);
}

static struct guest *create(struct bed *b, enum vpmu_switch_kind kind)
{
	struct vpmu_vm_config config = { .size = sizeof(config), .switch_kind = kind };
	struct guest *g = malloc(sizeof(*g));

	assert_non_null(g);
	assert_int_equal(vpmu_arm_model_of(&b->machine, &g->model), 0);
	assert_int_equal(vpmu_arm_vm_init(&g->vm, &b->machine, &g->model, &config), 0);
	vpmu_vcpu_init(&g->v, &g->vm);
	assert_int_equal(vpmu_vcpu_load(&g->v, &b->cpu), 0);
	return g;
}

/* It ends, and its memory is another's. */
static void destroy(struct guest *g)
{
	vpmu_vm_end(&g->vm);
	memset(g, POISON, sizeof(*g));
}

static void check_untouched(struct guest *g)
{
	const unsigned char *bytes = (const unsigned char *)g;

	for (size_t i = 0; i < sizeof(*g); i++)
		assert_int_equal(bytes[i], POISON);
	free(g);
}

static void runs(struct bed *b, struct guest *g, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = n };

	assert_int_equal(vpmu_vcpu_enter(&g->v, 0), 0);
	b->hw.guest_runs = true;
	model_retire(&b->pmu, 1, &events);
	b->hw.guest_runs = false;
	assert_int_equal(vpmu_vcpu_exit(&g->v, 0), 0);
}

/* Ten instructions before its overflow. */
static void counts_down(struct guest *g)
{
	guest_write(&g->v, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
	guest_write(&g->v, MODEL_PMEVCNTR(0), 0xFFFFFFFF - 9);
	guest_write(&g->v, MODEL_PMINTENSET, 1 | CYCLE_BIT);
	guest_write(&g->v, MODEL_PMCNTENSET, 1 | CYCLE_BIT);
	guest_write(&g->v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
}

/* Another CPU asks for the PMU, and an NMI looks whose it is. */
static void interrupt(struct model_hw *hw, void *context)
{
	struct bed *b = context;

	(void)hw;
	if (++b->accesses != b->at)
		return;
	assert_int_not_equal(vpmu_cpu_nmi_owner(&b->cpu), VPMU_OWNER_HOST);
	(void)vpmu_cpu_request_reclaim(&b->cpu);
}

static void put(struct bed *b, struct guest *g)
{
	b->accesses = 0;
	b->hw.hook = interrupt;
	b->hw.hook_context = b;
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	b->hw.hook = NULL;
}

/* The next one finds what a reset leaves, and counts its own. */
static void check_next(struct bed *b, enum vpmu_switch_kind kind)
{
	struct guest *g = create(b, kind);

	for (unsigned int i = 0; i < g->model.counters; i++) {
		assert_int_equal(guest_read(&g->v, MODEL_PMEVCNTR(i)), 0);
		assert_int_equal(guest_read(&g->v, MODEL_PMEVTYPER(i)), 0);
	}
	assert_int_equal(guest_read(&g->v, MODEL_PMOVSSET), 0);
	guest_write(&g->v, MODEL_PMEVTYPER(0), MODEL_EVENT_INST_RETIRED);
	guest_write(&g->v, MODEL_PMCNTENSET, 1);
	guest_write(&g->v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	runs(b, g, 7);
	assert_int_equal(guest_read(&g->v, MODEL_PMEVCNTR(0)), 7);
	assert_int_equal(vpmu_vcpu_interrupt(&g->v), 0);
	assert_int_equal(vpmu_vcpu_put(&g->v), 0);
	vpmu_vm_end(&g->vm);
	free(g);
}

/* What may still come for a guest that is gone. */
static void afterwards(struct bed *b)
{
	assert_int_equal(vpmu_cpu_nmi_owner(&b->cpu), VPMU_OWNER_HOST);
	assert_int_equal(b->pmu.pmevcntr[0] | b->pmu.pmccntr, 0);
	assert_int_equal(b->pmu.pmcnten | b->pmu.pminten | b->pmu.pmovs, 0);
	assert_false(model_interrupt(&b->pmu));
	assert_int_equal(vpmu_cpu_pmi(&b->cpu), VPMU_PMI_LATE);
	assert_false(vpmu_cpu_request_reclaim(&b->cpu));
	vpmu_cpu_poll(&b->cpu);
	assert_int_equal(vpmu_cpu_reclaim(&b->cpu, 0), 0);
	assert_int_equal(vpmu_cpu_pmi(&b->cpu), VPMU_PMI_LATE);
}

/* returns: accesses of the put. (overflows): its interrupt is latched, or has been taken. */
static unsigned int end_one(enum model_class class, enum vpmu_switch_kind kind, unsigned int at,
			    bool overflows)
{
	struct guest *g;
	struct bed b;

	power_on(&b, class);
	g = create(&b, kind);
	counts_down(g);
	b.at = at;
	runs(&b, g, overflows ? 10 : 5);
	assert_int_equal(vpmu_vcpu_interrupt(&g->v), overflows);
	put(&b, g);
	destroy(g);
	afterwards(&b);
	check_next(&b, kind);
	check_untouched(g);
	if (b.hw.violations)
		print_error("%s\n", b.hw.violation);
	assert_int_equal(b.hw.violations, 0);
	return b.accesses;
}

static void at_every_access(void **unused)
{
	(void)unused;
	for (unsigned int c = 0; c < 4 * MODEL_CLASSES; c++) {
		enum model_class class = (enum model_class)(c / 4);
		enum vpmu_switch_kind kind = c & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		unsigned int accesses = end_one(class, kind, 0, c & 2);

		assert_true(accesses > 5 || kind == VPMU_SWITCH_EAGER);
		for (unsigned int at = 1; at <= accesses; at++)
			end_one(class, kind, at, c & 2);
	}
}

/* The CPU goes off with a guest in it, and comes back as after a reset: nothing of the guest is known any more. */
static void cpu_off_and_on(void **unused)
{
	(void)unused;
	for (unsigned int c = 0; c < 2 * MODEL_CLASSES; c++) {
		enum vpmu_switch_kind kind = c & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		struct model_config config;
		struct vpmu_state before, after;
		struct guest *g;
		struct bed b;

		power_on(&b, (enum model_class)(c / 2));
		g = create(&b, kind);
		counts_down(g);
		runs(&b, g, 5);
		assert_int_equal(vpmu_vcpu_get_state(&g->v, &before), 0);
		put(&b, g);
		/* The hardware forgets everything, and is rubbish. */
		config = b.pmu.config;
		model_pmu_reset(&b.pmu, &config, 1200 + c);
		model_hw_init(&b.hw, &b.pmu);
		assert_int_equal(vpmu_cpu_init(&b.cpu, 0, &b.hw.hw), 0);
		assert_int_equal(vpmu_vcpu_load(&g->v, &b.cpu), 0);
		assert_int_equal(vpmu_vcpu_get_state(&g->v, &after), 0);
		assert_memory_equal(before.value, after.value, sizeof(before.value));
		runs(&b, g, 5);
		assert_int_equal(vpmu_vcpu_interrupt(&g->v), 1);
		assert_int_equal(guest_read(&g->v, MODEL_PMEVCNTR(0)) & UINT32_MAX, 0);
		assert_int_equal(guest_read(&g->v, MODEL_PMCCNTR), 10);
		put(&b, g);
		destroy(g);
		afterwards(&b);
		check_next(&b, kind);
		check_untouched(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_every_access),
		cmocka_unit_test(cpu_off_and_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
