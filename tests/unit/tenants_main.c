/* SPDX-License-Identifier: MIT */
/*
 * usage: test-tenants CLASS [STEPS [SEED]]
 *
 * STEPS of the schedule with SEED, in two worlds; then everything is looked at, and the matrix of state edge x
 * owner x mode printed. With the default steps or more, each cell that can be hit is hit 1,000 times, or the
 * run fails.
 */
#include <stdlib.h>
#include <string.h>

#include "tenants.h"

#define HITS 1000u
#define STEPS 2500000u

static const struct tenant_arch *arch;
static uint64_t steps = STEPS;
static uint64_t seed = 1;
static struct tenant_world world[2];

static uint64_t hits(unsigned int edge, unsigned int owner, unsigned int mode)
{
	return world[0].matrix[edge][owner][mode] + world[1].matrix[edge][owner][mode];
}

static void print_row(unsigned int edge, unsigned int owner)
{
	uint64_t sum = 0;

	for (unsigned int mode = 0; mode < TENANT_MODES; mode++)
		sum += hits(edge, owner, mode);
	if (!sum)
		return;
	print_message("# %-17s %-6s", tenant_edge_names[edge], tenant_owner_names[owner]);
	for (unsigned int mode = 0; mode < TENANT_MODES; mode++)
		print_message(" %10llu", (unsigned long long)hits(edge, owner, mode));
	print_message("\n");
}

static void print_matrix(void)
{
	print_message("# %-24s", arch->name);
	for (unsigned int mode = 0; mode < TENANT_MODES; mode++)
		print_message(" %10s", tenant_mode_names[mode]);
	print_message("\n");
	for (unsigned int edge = 0; edge < TENANT_EDGES; edge++) {
		for (unsigned int owner = 0; owner < 3; owner++)
			print_row(edge, owner);
	}
}

/* How many cells are hit too seldom. */
static unsigned int print_gaps(unsigned int *cells)
{
	unsigned int gaps = 0;

	*cells = 0;
	for (unsigned int k = 0; k < TENANT_EDGES * 3 * TENANT_MODES; k++) {
		unsigned int edge = k / 3 / TENANT_MODES, owner = k / TENANT_MODES % 3;
		unsigned int mode = k % TENANT_MODES;

		if (!tenants_cell_exists(arch, (enum tenant_edge)edge, (enum vpmu_owner)owner,
					 (enum tenant_mode)mode))
			continue;
		++*cells;
		if (hits(edge, owner, mode) >= HITS)
			continue;
		print_message("# only %llu: %s, %s, %s\n", (unsigned long long)hits(edge, owner, mode),
			      tenant_edge_names[edge], tenant_owner_names[owner], tenant_mode_names[mode]);
		gaps++;
	}
	return gaps;
}

static void print_sums(void)
{
	uint64_t nmis = 0;

	for (unsigned int i = 0; i < 2 * TENANT_CPUS; i++)
		nmis += world[i % 2].cpus[i / 2].nmis;
	print_message("# seed %llu, steps %llu in each of 2 worlds; NMIs %llu, migrations %llu, VM starts %llu, refused %llu, samples %llu, starved %llu\n",
		      (unsigned long long)seed, (unsigned long long)world[0].step,
		      (unsigned long long)nmis,
		      (unsigned long long)(world[0].migrations + world[1].migrations),
		      (unsigned long long)(world[0].restarts + world[1].restarts),
		      (unsigned long long)(world[0].busy + world[1].busy),
		      (unsigned long long)(world[0].samples + world[1].samples),
		      (unsigned long long)(world[0].starved + world[1].starved));
}

static void in_step(uint64_t n)
{
	while (n--) {
		tenants_step(&world[0]);
		tenants_step(&world[1]);
		tenants_agree(&world[0], &world[1]);
		if (world[0].trace != world[1].trace)
			tenant_fail(&world[0], "the switches differ in what guests see");
	}
}

static void everybody_counts(void **state)
{
	unsigned int cells, gaps;

	(void)state;
	tenants_init(&world[0], arch, false, seed);
	tenants_init(&world[1], arch, true, seed);
	in_step(steps);
	tenants_look(&world[0]);
	tenants_look(&world[1]);
	print_matrix();
	print_sums();
	if (steps < STEPS)
		return;
	gaps = print_gaps(&cells);
	print_message("# %u cells, %u of them hit less than %u times\n", cells, gaps, HITS);
	assert_int_equal(gaps, 0);
}

static const struct tenant_arch *find(const char *name)
{
	for (unsigned int i = 0; i < MODEL_CLASSES; i++) {
		if (!strcmp(tenant_arm_classes[i].name, name))
			return &tenant_arm_classes[i];
	}
	for (unsigned int i = 0; i < TENANT_X86_CLASSES; i++) {
		if (!strcmp(tenant_x86_classes[i].name, name))
			return &tenant_x86_classes[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(everybody_counts),
	};

	arch = argc > 1 ? find(argv[1]) : NULL;
	if (!arch) {
		print_error("usage: test-tenants p5hpmn|p5fgt|p5|p1|v3|skylake|icelake|zen4 [STEPS [SEED]]\n");
		return 2;
	}
	if (argc > 2)
		steps = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		seed = strtoull(argv[3], NULL, 0);
	return cmocka_run_group_tests_name(arch->name, all, NULL, NULL);
}
