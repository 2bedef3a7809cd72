/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "armv8_sim.h"
#include "support.h"

struct armv8_sim *armv8_sim_here;

static const struct {
	const char *name;
	uint32_t reg;
} names[] = {
	{ "pmcr_el0", MODEL_PMCR },
	{ "pmcntenset_el0", MODEL_PMCNTENSET },
	{ "pmcntenclr_el0", MODEL_PMCNTENCLR },
	{ "pmovsset_el0", MODEL_PMOVSSET },
	{ "pmovsclr_el0", MODEL_PMOVSCLR },
	{ "pmintenset_el1", MODEL_PMINTENSET },
	{ "pmintenclr_el1", MODEL_PMINTENCLR },
	{ "pmuserenr_el0", MODEL_PMUSERENR },
	{ "pmselr_el0", MODEL_PMSELR },
	{ "pmccntr_el0", MODEL_PMCCNTR },
	{ "pmccfiltr_el0", MODEL_PMCCFILTR },
	{ "pmceid0_el0", MODEL_PMCEID0 },
	{ "pmceid1_el0", MODEL_PMCEID1 },
	{ "S3_0_C9_C14_6", MODEL_PMMIR },
	{ "mdcr_el2", MODEL_MDCR_EL2 },
	{ "S3_4_C3_C1_4", MODEL_HDFGRTR_EL2 },
	{ "S3_4_C3_C1_5", MODEL_HDFGWTR_EL2 },
};

/* returns: its number in a family of that name; -1: it is not one. */
static int member(const char *name, const char *family)
{
	size_t n = strlen(family);

	return strncmp(name, family, n) || name[n] < '0' || name[n] > '9' ? -1 : atoi(name + n);
}

static uint32_t encoding(const char *name)
{
	int n = member(name, "pmevcntr");

	if (n >= 0)
		return MODEL_PMEVCNTR((unsigned int)n);
	n = member(name, "pmevtyper");
	if (n >= 0)
		return MODEL_PMEVTYPER((unsigned int)n);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i].name, name))
			return names[i].reg;
	}
	fail_msg("the backend uses %s", name);
	return 0;
}

static bool is_trap_control(uint32_t reg)
{
	return reg == MODEL_MDCR_EL2 || reg == MODEL_HDFGRTR_EL2 || reg == MODEL_HDFGWTR_EL2;
}

static void around(const struct armv8_sim *sim, uint32_t reg)
{
	if (is_trap_control(reg))
		return;
	if (sim->hook)
		sim->hook(sim->hook_context);
	if (sim->cost)
		model_retire(sim->pmu, 2, sim->cost);
}

static uint64_t access(const char *name, bool write, uint64_t value)
{
	struct armv8_sim *sim = armv8_sim_here;
	uint32_t reg = encoding(name);

	assert_false(sim->guest_runs);
	around(sim, reg);
	if (!model_el2_access(sim->pmu, reg, write, &value))
		fail_msg("%s is UNDEFINED at EL2", name);
	around(sim, reg);
	return value;
}

/* What is no PMU register. returns: is it one of these? */
static bool identification(const char *name, uint64_t *value)
{
	const struct model_config *config = &armv8_sim_here->pmu->config;

	if (!strcmp(name, "id_aa64dfr0_el1"))
		*value = (uint64_t)config->version << 8 | (uint64_t)config->hpmn0 << 60;
	else if (!strcmp(name, "id_aa64mmfr0_el1"))
		*value = (uint64_t)config->fgt << 56;
	else if (!strcmp(name, "mpidr_el1"))
		*value = 0x80000000;
	else if (!strcmp(name, "cntpct_el0"))
		*value = armv8_sim_here->time;
	else if (!strcmp(name, "cntfrq_el0"))
		*value = 1000000000;
	else
		return false;
	return true;
}

uint64_t armv8_sim_read(const char *name)
{
	uint64_t value = 0;

	return identification(name, &value) ? value : access(name, false, 0);
}

static void check_stopped(const char *name)
{
	int n = member(name, "pmevcntr");

	if (n < 0)
		n = member(name, "pmevtyper");
	if (!strcmp(name, "pmccntr_el0") || !strcmp(name, "pmccfiltr_el0"))
		n = CYCLE;
	if (n >= 0 && model_counts(armv8_sim_here->pmu, (unsigned int)n, 2))
		fail_msg("%s is written while it counts", name);
}

/*
 * D24.3: HPMN and HPME are used with PMCR.E by the counters themselves, so one written after the other is in
 * force after it only with an ISB in between.
 */
static void check_order(const char *name, uint64_t value)
{
	struct armv8_sim *sim = armv8_sim_here;
	bool moves = !strcmp(name, "mdcr_el2") && ((sim->pmu->mdcr_el2 ^ value) & 0x1F);

	if (sim->written && moves)
		fail_msg("HPMN is written with PMCR under way");
	if (!strcmp(name, "pmcr_el0"))
		sim->written = true;
	if (!strcmp(name, "pmcr_el0") && value & (MODEL_PMCR_P | MODEL_PMCR_C))
		fail_msg("P or C is written at EL2");
}

void armv8_sim_write(const char *name, uint64_t value)
{
	check_stopped(name);
	check_order(name, value);
	(void)access(name, true, value);
}

void armv8_sim_isb(void)
{
	armv8_sim_here->written = false;
}
