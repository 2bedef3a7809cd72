/* SPDX-License-Identifier: MIT */
/*
 * The guests of guest/profile.c and guest/mix.c on many PMUs, under whatever can count for them:
 * what they see must be what they see on the bare machine, line by line.
 *
 * usage: test-profile PROFILE MIX [FIRST-SEED END]
 */
#include "runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unicorn.h"

#define RAM (32u << 20)
#define LIMIT 100000000u

static struct image profile, mix;

/* ---- One run ---- */

static void run_image(struct run *r, const char *name, const struct pc_pmu_config *config,
		      const struct image *image, const char *line)
{
	const struct unicorn_config engine_config = { .caches = config->caches };
	struct pc_config pc_config = { .ram = RAM, .console = run_put, .console_context = r,
		.amd = config->model.vendor == VPMU_X86_AMD };
	const char *why = "";
	struct pc_pmu *pmu = pc_pmu_create(config, &why);
	struct pc_engine *engine;
	enum pc_result result;
	struct pc *pc;

	if (!pmu)
		fail_msg("%s: %s", name, why);
	*r = (struct run){ .name = name };
	pc_config.cpu = pc_pmu_ops(pmu);
	pc_config.context = pmu;
	pc = pc_create(&pc_config);
	assert_non_null(pc);
	assert_int_equal(pc_load(pc, image->bytes, image->size, line), 0);
	pc_pmu_attach(pmu, pc);
	engine = unicorn_create(pc, &engine_config, &why);
	if (!engine)
		fail_msg("%s", why);
	pc_attach(pc, engine);
	result = pc_run(pc, LIMIT);
	pc_pmu_detach(pmu);
	pc_pmu_stats(pmu, &r->stats);
	r->instructions = pc_instructions(pc);
	if (result != PC_EXITED || pc_exit_code(pc) != 1)
		fail_msg("%s: result %d: %s%s", name, result,
			 r->output + (r->length > 200 ? r->length - 200 : 0), pc_error(pc));
	if (r->stats.violations)
		fail_msg("%s: %s", name, r->stats.violation);
	run_check_counters(pmu);
	engine->ops->destroy(engine);
	pc_destroy(pc);
	pc_pmu_destroy(pmu);
}

static void run(struct run *r, const char *name, const struct pc_pmu_config *config)
{
	run_image(r, name, config, &profile, config->skid ? "late" : "");
}

/* ---- PMUs ---- */

#define INTEL(...) { .size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_INTEL, __VA_ARGS__ }
#define AMD(...) { .size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_AMD, .gp_width = 48, \
	__VA_ARGS__ }
#define LLC_MISSING (1u << VPMU_X86_LLC_REFERENCES | 1u << VPMU_X86_LLC_MISSES)

static const struct pmu {
	const char *name;
	struct vpmu_x86_model model;
} pmus[] = {
	{ "intel1", INTEL(.version = 1, .gp = 2, .gp_width = 40, .events_length = 7,
		.events_missing = LLC_MISSING) },
	{ "intel2", INTEL(.version = 2, .gp = 8, .gp_width = 48, .fixed = 3, .fixed_width = 48,
		.events_length = 7, .events_missing = LLC_MISSING, .pdcm = true,
		.full_width_writes = true) },
	{ "intel2old", INTEL(.version = 2, .gp = 2, .gp_width = 40, .fixed = 3, .fixed_width = 40,
		.events_length = 7, .events_missing = LLC_MISSING, .pdcm = true) },
	{ "intel3", INTEL(.version = 3, .gp = 4, .gp_width = 48, .fixed = 3, .fixed_width = 48,
		.events_length = 7, .events_missing = LLC_MISSING, .pdcm = true,
		.full_width_writes = true, .tsx = true) },
	{ "intel4", INTEL(.version = 4, .gp = 8, .gp_width = 48, .fixed = 3, .fixed_width = 48,
		.events_length = 7, .events_missing = LLC_MISSING, .pdcm = true,
		.full_width_writes = true) },
	{ "intel5", INTEL(.version = 5, .gp = 6, .gp_width = 48, .fixed = 2, .fixed_width = 48,
		.events_length = 7, .events_missing = LLC_MISSING, .pdcm = true,
		.full_width_writes = true) },
	{ "intel0", INTEL(.version = 0) },
	{ "k7", AMD(.version = 1, .gp = 4) },
	{ "core", AMD(.version = 1, .gp = 6, .core_extension = true) },
	{ "v2", AMD(.version = 2, .gp = 6, .core_extension = true) },
};

/* Of these, the ones that are also run with late overflows. */
static const unsigned int late_pmus[] = { 1, 4, 7, 9 };
#define LATE (sizeof(late_pmus) / sizeof(late_pmus[0]))

/* Of these, the ones with a global control whose guest is let loose. */
static const unsigned int mixed_pmus[] = { 1, 4, 9 };

static struct run bare, other;

/* Everything agrees with the bare machine, overflow by overflow. */
static void same(void **state)
{
	const struct pmu *p = *state;
	struct pc_pmu_config config = { .model = p->model };

	run(&bare, "bare", &config);
	config.mode = PC_PMU_EMULATED;
	run(&other, "emulated", &config);
	assert_same(&bare, &other);
	config.mode = PC_PMU_MEDIATED;
	run(&other, "mediated", &config);
	assert_same(&bare, &other);
	config.switch_kind = VPMU_SWITCH_EAGER;
	run(&other, "mediated, eager", &config);
	assert_same(&bare, &other);
}

static void mixed_seed(const struct pmu *p, unsigned int seed)
{
	struct pc_pmu_config config = { .model = p->model };
	char line[16];

	(void)snprintf(line, sizeof(line), "%u", seed);
	run_image(&bare, "bare", &config, &mix, line);
	config.mode = PC_PMU_EMULATED;
	run_image(&other, "emulated", &config, &mix, line);
	assert_same(&bare, &other);
	config.mode = PC_PMU_MEDIATED;
	run_image(&other, "mediated", &config, &mix, line);
	assert_same(&bare, &other);
	config.switch_kind = VPMU_SWITCH_EAGER;
	run_image(&other, "mediated, eager", &config, &mix, line);
	assert_same(&bare, &other);
}

/* The same of a guest that does whatever comes to its mind. */
static void mixed(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		mixed_seed(&pmus[mixed_pmus[i]], 1000 * i);
}

/* Overflows that are seen late: the guest's own sums come out, wherever the host is by then. */
static void late(void **state)
{
	const struct pmu *p = *state;
	struct pc_pmu_config config = { .model = p->model };

	for (config.skid = 1; config.skid <= 16; config.skid += 15) {
		config.mode = PC_PMU_BARE;
		run(&bare, "late bare", &config);
		config.mode = PC_PMU_MEDIATED;
		run(&other, "late mediated", &config);
	}
}

/* The cache's events too, which only an engine with caches can count. */
static void caches(void **state)
{
	struct pc_pmu_config config = { .model = pmus[1].model, .caches = true };

	(void)state;
	config.model.events_missing = 0;
	run(&bare, "bare", &config);
	assert_non_null(strstr(bare.output, "llc-misses"));
	config.mode = PC_PMU_EMULATED;
	run(&other, "emulated", &config);
	assert_same(&bare, &other);
	config.mode = PC_PMU_MEDIATED;
	run(&other, "mediated", &config);
	assert_same(&bare, &other);
}

static uint64_t exits_of(const struct run *r)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < PC_PMU_EXITS; i++)
		n += r->stats.exits[i];
	return n;
}

/* What mediation is for: most accesses run direct, and an exit costs next to nothing. */
static void costs(void **state)
{
	struct pc_pmu_config config = { .mode = PC_PMU_EMULATED, .model = pmus[1].model };
	uint64_t emulated;

	(void)state;
	run(&bare, "emulated", &config);
	emulated = exits_of(&bare);
	config.mode = PC_PMU_MEDIATED;
	run(&other, "mediated", &config);
	assert_true(other.stats.direct > 0);
	assert_true(exits_of(&other) * 2 < emulated);
	assert_true(other.stats.hardware_accesses < 4 * exits_of(&other));
	assert_true(other.stats.vcpu.quiet > 0);
	assert_true(other.stats.vcpu.loads < other.stats.vcpu.enters / 100);
}

/* A policy's events stand still, everything else goes on. */
static void policy(void **state)
{
	struct {
		uint32_t action, count, fixed, flags, pad[4];
		uint64_t events[1];
	} bytes = { .action = 1, .count = 1, .events = { 0xc4 } };
	struct vpmu_x86_filter filter;
	struct vpmu_policy deny = { .x86 = &filter };
	struct pc_pmu_config config = { .model = pmus[1].model, .policy = &deny };
	const char *why = "";

	(void)state;
	assert_int_equal(vpmu_x86_filter_compile(&filter, VPMU_X86_INTEL, &bytes, sizeof(bytes)),
			 0);
	for (config.mode = PC_PMU_EMULATED; config.mode <= PC_PMU_MEDIATED; config.mode++) {
		struct pc_pmu *p = pc_pmu_create(&config, &why);
		uint32_t r[4] = { 0 };

		assert_non_null(p);
		pc_pmu_ops(p)->cpuid(p, 10, 0, r);
		assert_int_equal(r[1] >> VPMU_X86_BRANCHES & 1, 1);
		assert_int_equal(r[1] >> VPMU_X86_INSTRUCTIONS & 1, 0);
		pc_pmu_destroy(p);
	}
}

/* What no mode can give is refused with a reason. */
static void refused(void **state)
{
	struct pc_pmu_config config = { .model = pmus[1].model };
	const char *why = NULL;

	(void)state;
	config.model.gp = 9;
	config.mode = PC_PMU_EMULATED;
	assert_null(pc_pmu_create(&config, &why));
	assert_non_null(why);
	config.mode = PC_PMU_MEDIATED;
	why = NULL;
	assert_null(pc_pmu_create(&config, &why));
	assert_non_null(why);
}

#define PMUS (sizeof(pmus) / sizeof(pmus[0]))

int main(int argc, char **argv)
{
	struct CMUnitTest tests[PMUS + LATE + 5];
	char names[PMUS + LATE][32];
	size_t n = 0;
	int failures;

	if (argc < 3) {
		printf("skipped: no compiler for x86-64 guests (x86_64-linux-gnu-gcc)\n");
		return 77;
	}
	profile = slurp(argv[1]);
	mix = slurp(argv[2]);
	if (argc > 4) {
		for (int seed = atoi(argv[3]); seed < atoi(argv[4]); seed += 10)
			mixed_seed(&pmus[mixed_pmus[seed / 10 % 3]], (unsigned int)seed);
		return 0;
	}
	for (; n < PMUS + LATE; n++) {
		const struct pmu *p = n < PMUS ? &pmus[n] : &pmus[late_pmus[n - PMUS]];

		(void)snprintf(names[n], sizeof(names[n]), "%s-%s", n < PMUS ? "same" : "late",
			p->name);
		tests[n] = (struct CMUnitTest){ names[n], n < PMUS ? same : late, NULL, NULL,
			(void *)(uintptr_t)p };
	}
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(mixed);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(caches);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(costs);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(policy);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(refused);
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	free(profile.bytes);
	free(mix.bytes);
	return failures;
}
