/* SPDX-License-Identifier: MIT */
/*
 * Several PCs that take turns on the physical CPUs of one host, each with a mode and a PMU of its own, while the
 * host counts: what each of them sees must be what it sees alone on the bare machine, and what the
 * host counts must be what happened.
 *
 * usage: test-tenants PROFILE MIX
 */
#include "runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unicorn.h"

#define RAM (32u << 20)
#define LIMIT 100000000u
#define GUESTS_MAX 5u
#define CPUS 2u
#define EVENTS_MAX 4u

static struct image profile, mix;

/* ---- Machines and guests ---- */

#define INTEL(...) { .size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_INTEL, \
	.gp_width = 48, .events_length = 7, .pdcm = true, .full_width_writes = true, \
	.events_missing = 1u << VPMU_X86_LLC_REFERENCES | 1u << VPMU_X86_LLC_MISSES, __VA_ARGS__ }
#define AMD(...) { .size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_AMD, .gp_width = 48, \
	.core_extension = true, __VA_ARGS__ }
#define FIXED(n) .fixed = (n), .fixed_width = 48

static const struct vpmu_x86_model icelake = INTEL(.version = 5, .gp = 8, FIXED(3));
static const struct vpmu_x86_model small5 = INTEL(.version = 5, .gp = 6, FIXED(3));
/* A partition never freezes on a PMI: as a bare machine without PDCM, and before version 4. */
static const struct vpmu_x86_model part3 = { .size = sizeof(part3), .vendor = VPMU_X86_INTEL,
	.version = 3, .gp = 4, .gp_width = 48, FIXED(2), .events_length = 7,
	.events_missing = 1u << VPMU_X86_LLC_REFERENCES | 1u << VPMU_X86_LLC_MISSES };
static const struct vpmu_x86_model small2 = INTEL(.version = 2, .gp = 3);
static const struct vpmu_x86_model none = { .size = sizeof(none), .vendor = VPMU_X86_INTEL };
static const struct vpmu_x86_model zen4 = AMD(.version = 2, .gp = 6);
static const struct vpmu_x86_model part_amd = AMD(.version = 2, .gp = 3);
static const struct vpmu_x86_model core_amd = AMD(.version = 1, .gp = 6);

struct guest {
	const char *name;
	enum pc_pmu_mode mode;
	enum vpmu_switch_kind kind;
	const struct vpmu_x86_model *model;
	unsigned int seed;           /* of mix; 0: profile */
};

/* Which event the host has on each CPU; what it must count is known without it. */
enum truth { OF_THE_HOST, OF_ALL_GUESTS, OF_GUEST_1 };

struct event {
	enum truth truth;
	uint64_t period;
};

struct scene {
	const char *name;
	const struct vpmu_x86_model *machine;
	struct guest guests[GUESTS_MAX];
	struct event events[EVENTS_MAX];
	unsigned int event_count;
};

static const struct scene scenes[] = {
	{
		"intel", &icelake,
		{ { "mediated", PC_PMU_MEDIATED, VPMU_SWITCH_LAZY, &small5, 0 },
		  { "partitioned", PC_PMU_PARTITIONED, VPMU_SWITCH_LAZY, &part3, 0 },
		  { "emulated", PC_PMU_EMULATED, VPMU_SWITCH_LAZY, &small2, 0 },
		  { "mediated eager", PC_PMU_MEDIATED, VPMU_SWITCH_EAGER, &small5, 31 },
		  { "off", PC_PMU_OFF, VPMU_SWITCH_LAZY, &none, 0 } },
		{ { OF_THE_HOST, 0 }, { OF_THE_HOST, 100003 } }, 2,
	},
	{
		"intel-partitions", &icelake,
		{ { "partitioned", PC_PMU_PARTITIONED, VPMU_SWITCH_LAZY, &part3, 0 },
		  { "partitioned 2", PC_PMU_PARTITIONED, VPMU_SWITCH_LAZY, &part3, 1000 },
		  { "emulated", PC_PMU_EMULATED, VPMU_SWITCH_LAZY, &small2, 0 },
		  { "partitioned eager", PC_PMU_PARTITIONED, VPMU_SWITCH_EAGER, &part3, 77 } },
		{ { OF_THE_HOST, 0 }, { OF_ALL_GUESTS, 50021 }, { OF_GUEST_1, 0 } }, 3,
	},
	{
		"intel-passed-through", &icelake,
		{ { "passed through", PC_PMU_PASSTHROUGH, VPMU_SWITCH_LAZY, &icelake, 0 },
		  { "emulated", PC_PMU_EMULATED, VPMU_SWITCH_LAZY, &small2, 0 },
		  { "off", PC_PMU_OFF, VPMU_SWITCH_LAZY, &none, 0 } },
		{ { OF_THE_HOST, 0 } }, 0,
	},
	{
		"amd", &zen4,
		{ { "mediated", PC_PMU_MEDIATED, VPMU_SWITCH_LAZY, &part_amd, 0 },
		  { "partitioned", PC_PMU_PARTITIONED, VPMU_SWITCH_LAZY, &part_amd, 2000 },
		  { "mediated eager", PC_PMU_MEDIATED, VPMU_SWITCH_EAGER, &part_amd, 0 } },
		{ { OF_THE_HOST, 0 }, { OF_THE_HOST, 100003 } }, 2,
	},
	{
		"amd-emulated", &zen4,
		{ { "emulated", PC_PMU_EMULATED, VPMU_SWITCH_LAZY, &core_amd, 0 },
		  { "partitioned", PC_PMU_PARTITIONED, VPMU_SWITCH_LAZY, &part_amd, 0 } },
		{ { OF_THE_HOST, 0 } }, 0,
	},
};

/* ---- One guest ---- */

struct tenant {
	struct run run;
	struct pc_pmu *pmu;
	struct pc *pc;
	struct pc_engine *engine;
	bool loaded, ended;
};

static const struct image *image_of(const struct guest *g)
{
	return g->seed ? &mix : &profile;
}

static const char *line_of(const struct guest *g)
{
	static char line[16];

	(void)snprintf(line, sizeof(line), "%u", g->seed);
	return g->seed ? line : "";
}

static void start(struct tenant *t, const struct guest *g, struct pc_host *host)
{
	const struct pc_pmu_config config = {
		.mode = host ? g->mode : PC_PMU_BARE, .host = host, .model = *g->model,
		.switch_kind = g->kind,
	};
	const struct unicorn_config engine_config = { .caches = false };
	struct pc_config pc_config = { .ram = RAM, .console = run_put, .console_context = &t->run,
				       .amd = g->model->vendor == VPMU_X86_AMD };
	const struct image *image = image_of(g);
	const char *why = "";

	*t = (struct tenant){ .run = { .name = host ? g->name : "bare" } };
	t->pmu = pc_pmu_create(&config, &why);
	if (!t->pmu)
		fail_msg("%s: %s", g->name, why);
	pc_config.cpu = pc_pmu_ops(t->pmu);
	pc_config.context = t->pmu;
	t->pc = pc_create(&pc_config);
	assert_non_null(t->pc);
	assert_int_equal(pc_load(t->pc, image->bytes, image->size, line_of(g)), 0);
	pc_pmu_attach(t->pmu, t->pc);
	t->engine = unicorn_create(t->pc, &engine_config, &why);
	if (!t->engine)
		fail_msg("%s", why);
	pc_attach(t->pc, t->engine);
}

static void ends(struct tenant *t, enum pc_result result)
{
	const struct run *r = &t->run;

	t->ended = true;
	if (result != PC_EXITED || pc_exit_code(t->pc) != 1)
		fail_msg("%s: result %d: %s%s", r->name, result,
			 r->output + (r->length > 200 ? r->length - 200 : 0), pc_error(t->pc));
}

static void finish(struct tenant *t)
{
	pc_pmu_detach(t->pmu);
	pc_pmu_stats(t->pmu, &t->run.stats);
	t->run.instructions = pc_instructions(t->pc);
	run_check_counters(t->pmu);
	t->engine->ops->destroy(t->engine);
	pc_destroy(t->pc);
	pc_pmu_destroy(t->pmu);
}

static void run_bare(struct tenant *t, const struct guest *g)
{
	start(t, g, NULL);
	ends(t, pc_run(t->pc, LIMIT));
	finish(t);
}

/* ---- Turns ---- */

struct stage {
	const struct scene *scene;
	struct pc_host *host;
	struct tenant tenants[GUESTS_MAX];
	unsigned int count;
	struct tenant *on[CPUS];
	struct vpmu_host_event events[CPUS][EVENTS_MAX];
	uint64_t began[CPUS];        /* the host's instructions when its events began */
	uint64_t samples[CPUS][EVENTS_MAX];
	uint64_t random;
};

static uint64_t below(struct stage *s, uint64_t n)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (s->random >> 20) % n;
}

static struct tenant *choose(struct stage *s)
{
	unsigned int first = (unsigned int)below(s, s->count);

	for (unsigned int i = 0; i < s->count; i++) {
		struct tenant *t = &s->tenants[(first + i) % s->count];

		if (!t->loaded && !t->ended)
			return t;
	}
	return NULL;
}

static void switch_to(struct stage *s, unsigned int cpu, struct tenant *next)
{
	struct tenant *old = s->on[cpu];

	if (old) {
		pc_pmu_put(old->pmu);
		old->loaded = false;
	}
	s->on[cpu] = next;
	if (!next)
		return;
	next->loaded = true;
	assert_true(pc_pmu_load(next->pmu, cpu));
}

/* One slice; then perhaps another's turn, who may have been on another CPU. */
static bool turn(struct stage *s, unsigned int cpu)
{
	struct tenant *t = s->on[cpu];
	enum pc_result r;

	if (!t) {
		switch_to(s, cpu, choose(s));
		return s->on[cpu];
	}
	r = pc_run(t->pc, 1 + below(s, 20000));
	if (r != PC_LIMIT)
		ends(t, r);
	if (t->ended || below(s, 3) == 0)
		switch_to(s, cpu, choose(s));
	return true;
}

static void play(struct stage *s)
{
	bool going = true;

	while (going) {
		going = false;
		for (unsigned int cpu = 0; cpu < CPUS; cpu++)
			going |= turn(s, cpu);
	}
}

/* ---- The host's events ---- */

static void sampled(void *context, unsigned int cpu, const struct vpmu_host_event *e)
{
	struct stage *s = context;

	for (unsigned int i = 0; i < s->scene->event_count; i++)
		s->samples[cpu][i] += e == &s->events[cpu][i];
}

static void create_events(struct stage *s, unsigned int cpu)
{
	for (unsigned int i = 0; i < s->scene->event_count; i++) {
		const struct event *e = &s->scene->events[i];
		struct vpmu_host_event_config config = {
			.size = sizeof(config), .event = 0xC0, .user = true, .kernel = true,
			.period = e->period, .pinned = true,
		};

		config.scope = e->truth == OF_THE_HOST ? VPMU_SCOPE_HYPERVISOR :
			       e->truth == OF_GUEST_1 ? VPMU_SCOPE_VM : VPMU_SCOPE_CPU;
		config.exclude_host = e->truth == OF_ALL_GUESTS;
		config.vm = pc_pmu_vm(s->tenants[1].pmu);
		assert_int_equal(vpmu_host_event_create(&s->events[cpu][i], pc_host_machine(s->host),
							pc_host_cpu(s->host, cpu), &config), 0);
	}
}

static uint64_t counted(struct stage *s, unsigned int i)
{
	uint64_t sum = 0;

	for (unsigned int cpu = 0; cpu < CPUS; cpu++) {
		struct vpmu_count count;

		assert_int_equal(vpmu_host_event_read(&s->events[cpu][i], &count), 0);
		assert_int_equal(count.enabled, count.running);
		sum += count.value;
	}
	return sum;
}

static uint64_t retired(const struct stage *s, unsigned int first, unsigned int end)
{
	uint64_t sum = 0;

	for (unsigned int i = first; i < end; i++) {
		struct pc_pmu_stats stats;

		pc_pmu_stats(s->tenants[i].pmu, &stats);
		sum += stats.retired;
	}
	return sum;
}

/* What the host executes to arm an event again after a sample is not counted by it. */
#define REARMING 64u

/* Of each CPU's event at most one period is under way. The host executes while its own events begin and end. */
static void check_event(struct stage *s, unsigned int i)
{
	const struct event *e = &s->scene->events[i];
	uint64_t is = counted(s, i), must = 0, samples = 0;
	uint64_t slack;

	for (unsigned int cpu = 0; cpu < CPUS; cpu++) {
		samples += s->samples[cpu][i];
		if (e->truth == OF_THE_HOST)
			must += pc_host_instructions(s->host, cpu) - s->began[cpu];
	}
	if (e->truth == OF_ALL_GUESTS)
		must = retired(s, 0, s->count);
	if (e->truth == OF_GUEST_1)
		must = retired(s, 1, 2);
	slack = e->truth == OF_THE_HOST ? 1000 + REARMING * samples : 0;
	if (is > must || must - is > slack)
		fail_msg("%s: event %u counted %llu, not %llu", s->scene->name, i,
			 (unsigned long long)is, (unsigned long long)must);
	if (e->period)
		assert_in_range(samples, is / e->period - CPUS, is / e->period);
}

/* ---- A scene ---- */

static void together(void **state)
{
	static struct stage s;
	static struct tenant bare;
	const struct scene *scene = *state;
	const struct pc_host_config config = {
		.model = *scene->machine, .cpus = CPUS, .sampled = sampled, .context = &s,
	};
	const char *why = "";

	s = (struct stage){ .scene = scene, .random = 88172645463325252u };
	s.host = pc_host_create(&config, &why);
	if (!s.host)
		fail_msg("%s", why);
	for (; s.count < GUESTS_MAX && scene->guests[s.count].name; s.count++)
		start(&s.tenants[s.count], &scene->guests[s.count], s.host);
	for (unsigned int cpu = 0; cpu < CPUS; cpu++) {
		s.began[cpu] = pc_host_instructions(s.host, cpu);
		create_events(&s, cpu);
	}
	play(&s);
	for (unsigned int i = 0; i < scene->event_count; i++)
		check_event(&s, i);
	if (pc_host_violations(s.host, &why))
		fail_msg("%s: %s", scene->name, why);
	for (unsigned int i = 0; i < s.count; i++) {
		finish(&s.tenants[i]);
		run_bare(&bare, &scene->guests[i]);
		assert_same(&bare.run, &s.tenants[i].run);
	}
	for (unsigned int cpu = 0; cpu < CPUS; cpu++) {
		for (unsigned int i = 0; i < scene->event_count; i++)
			assert_int_equal(vpmu_host_event_destroy(&s.events[cpu][i]), 0);
	}
	pc_host_destroy(s.host);
}

/* Who cannot be beside whom, with a reason that says what to do. */
static void refused(void **state)
{
	const struct pc_host_config config = { .model = icelake, .cpus = 1 };
	struct pc_pmu_config guest = { .mode = PC_PMU_MEDIATED, .model = icelake };
	struct vpmu_host_event_config watchdog = {
		.size = sizeof(watchdog), .scope = VPMU_SCOPE_CPU, .event = 0x3C, .kernel = true,
		.watchdog = true, .period = 1u << 30,
	};
	const char *why = "";
	struct vpmu_host_event e;
	struct pc_pmu *p, *other;

	(void)state;
	guest.host = pc_host_create(&config, &why);
	assert_non_null(guest.host);
	p = pc_pmu_create(&guest, &why);
	assert_non_null(p);
	guest.mode = PC_PMU_PASSTHROUGH;
	assert_null(pc_pmu_create(&guest, &why));
	assert_non_null(strstr(why, "no other has counters"));
	pc_pmu_destroy(p);
	assert_int_equal(vpmu_host_event_create(&e, pc_host_machine(guest.host),
						pc_host_cpu(guest.host, 0), &watchdog), 0);
	guest.mode = PC_PMU_MEDIATED;
	assert_null(pc_pmu_create(&guest, &why));
	assert_string_equal(why, vpmu_strerror(VPMU_ERR_WATCHDOG));
	guest.mode = PC_PMU_PARTITIONED;
	guest.model.gp = 7;
	other = pc_pmu_create(&guest, &why);
	assert_non_null(other);
	pc_pmu_destroy(other);
	guest.mode = PC_PMU_BARE;
	assert_null(pc_pmu_create(&guest, &why));
	assert_int_equal(vpmu_host_event_destroy(&e), 0);
	pc_host_destroy(guest.host);
}

#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

int main(int argc, char **argv)
{
	struct CMUnitTest tests[SCENES + 1];
	int failures;

	if (argc < 3) {
		printf("skipped: no compiler for x86-64 guests (x86_64-linux-gnu-gcc)\n");
		return 77;
	}
	profile = slurp(argv[1]);
	mix = slurp(argv[2]);
	for (unsigned int i = 0; i < SCENES; i++)
		tests[i] = (struct CMUnitTest){ scenes[i].name, together, NULL, NULL,
						(void *)(uintptr_t)&scenes[i] };
	tests[SCENES] = (struct CMUnitTest)cmocka_unit_test(refused);
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	free(profile.bytes);
	free(mix.bytes);
	return failures;
}
