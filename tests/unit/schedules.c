/* SPDX-License-Identifier: MIT */
/*
 * Random schedules: a lazy and an eager world switch on the same class of machine, in step.
 * Guests must see what bare machines do and the same with both switches; the matrix of state
 * edges says that the schedule went everywhere (RULES A9).
 *
 * usage: test-schedules p5hpmn|p5fgt|p5|p1|v3 [SEED]
 */
#include <stdlib.h>
#include <string.h>

#include "rig.h"

/* Each cell of the matrix is hit so often, or the run fails. */
#define HITS 1000u
#define CHUNK 10000u
#define CHUNKS_MAX 400u

static const char *const class_names[MODEL_CLASSES] = { "p5hpmn", "p5fgt", "p5", "p1", "v3" };
static enum model_class class;
static uint64_t seed = 1;
static struct rig lazy, eager;

static bool covered(const struct rig *r)
{
	for (unsigned int e = 0; e < EDGES; e++) {
		for (unsigned int v = 0; v < RIG_VCPUS; v++) {
			if (r->matrix[e][v] < HITS)
				return false;
		}
	}
	return true;
}

static void print_matrix(const struct rig *r)
{
	print_message("# %-18s %9s %9s %9s %9s\n", class_names[class], "vm0/0", "vm0/1", "vm1",
		      "vm2");
	for (unsigned int e = 0; e < EDGES; e++)
		print_message(
			"# %-18s %9llu %9llu %9llu %9llu\n", rig_edge_names[e],
			(unsigned long long)r->matrix[e][0], (unsigned long long)r->matrix[e][1],
			(unsigned long long)r->matrix[e][2], (unsigned long long)r->matrix[e][3]);
	print_message("# steps %llu, direct accesses %llu, trapped %llu, PMIs %llu, late %llu\n",
		      (unsigned long long)r->step, (unsigned long long)r->direct,
		      (unsigned long long)r->trapped, (unsigned long long)r->pmi_guest,
		      (unsigned long long)r->pmi_late);
}

static void in_step(unsigned int steps)
{
	for (unsigned int i = 0; i < steps; i++) {
		rig_step(&lazy);
		rig_step(&eager);
		if (lazy.trace != eager.trace)
			rig_fail(&lazy, "the switches differ in what guests see");
	}
}

static void lazy_equals_eager_equals_bare(void **state)
{
	(void)state;
	rig_init(&lazy, class, VPMU_SWITCH_LAZY, seed);
	rig_init(&eager, class, VPMU_SWITCH_EAGER, seed);
	for (unsigned int chunk = 0; chunk < CHUNKS_MAX && !covered(&lazy); chunk++)
		in_step(CHUNK);
	print_matrix(&lazy);
	assert_true(covered(&lazy));
}

/*
 * Guests that write RES0 bits, reserved values and everything at random: nothing breaks or leaks.
 */
static void hostile_guests(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < 2; kind++) {
		rig_init(&lazy, class, kind ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY,
			 seed + 7 + kind);
		lazy.hostile = true;
		for (unsigned int i = 0; i < 5 * CHUNK; i++)
			rig_step(&lazy);
	}
}

/* Lazy and eager VMs on the same CPUs: what one leaves in the hardware, the other finds. */
static void lazy_beside_eager(void **state)
{
	static const enum vpmu_switch_kind kinds[2][RIG_VMS] = {
		{ VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER, VPMU_SWITCH_LAZY },
		{ VPMU_SWITCH_EAGER, VPMU_SWITCH_LAZY, VPMU_SWITCH_EAGER },
	};
	const enum model_class classes[RIG_CPUS] = { class, class };

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		rig_init_mixed(&lazy, classes, kinds[k], seed + 9 + k);
		for (unsigned int i = 0; i < 5 * CHUNK; i++)
			rig_step(&lazy);
	}
}

/* CPUs that identify alike but stop and trap differently: direct here, by fine traps there. */
static void unequal_cpus(void **state)
{
	static const enum model_class others[] = {
		[MODEL_P5_HPMN] = MODEL_P5_FGT, [MODEL_P5_FGT] = MODEL_P5, [MODEL_P5] = MODEL_P5_HPMN,
	};
	const enum model_class classes[RIG_CPUS] = { class, others[class] };
	static const enum vpmu_switch_kind kinds[RIG_VMS] = { VPMU_SWITCH_LAZY };

	(void)state;
	rig_init_mixed(&lazy, classes, kinds, seed + 10);
	for (unsigned int i = 0; i < 5 * CHUNK; i++)
		rig_step(&lazy);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(lazy_equals_eager_equals_bare),
		cmocka_unit_test(hostile_guests),
		cmocka_unit_test(lazy_beside_eager),
	};
	const struct CMUnitTest on_p5[] = {
		cmocka_unit_test(unequal_cpus),
	};
	int failed;

	while (class < MODEL_CLASSES && (argc < 2 || strcmp(argv[1], class_names[class])))
		class++;
	if (class == MODEL_CLASSES) {
		print_error("usage: test-schedules p5hpmn|p5fgt|p5|p1|v3 [SEED]\n");
		return 2;
	}
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0);
	failed = cmocka_run_group_tests_name(class_names[class], all, NULL, NULL);
	if (class <= MODEL_P5)
		failed += cmocka_run_group_tests_name("unequal", on_p5, NULL, NULL);
	return failed;
}
