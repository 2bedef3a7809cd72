/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of the guest in guest/, each on a new PC. Counters are behind the guest's RDPMC, so
 * that it measures itself.
 *
 * usage: test-guest IMAGE [SCENARIO | FIRST-SEED END]
 */
#include "../unit/cmocka_vpmu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pc.h"
#include "unicorn.h"

#define RAM (32u << 20)
#define MSR_PMI_NOW   0x5000u
#define MSR_PMI_AFTER 0x5001u
#define MSR_EXITS     0x5002u

/* Unicorn loses some of its own memory, and all of it when it crashes (guard.h). */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libunicorn\n";
}

static uint8_t *image;
static size_t image_size;

/* ---- Behind the seam ---- */

struct bench {
	struct pc *pc;
	struct pc_engine *engine;
	struct pc_events sum;
	uint64_t user;
	uint64_t pmi_at; /* an instruction count, 0: none */
	bool intercept, inside; /* exit() takes everything; between exit and enter */
	uint64_t exits, enters, emulated;
};

static void add(struct bench *b, bool user, const struct pc_events *e)
{
	const uint64_t *from = (const uint64_t *)(const void *)e;
	uint64_t *to = (uint64_t *)(void *)&b->sum;

	for (size_t i = 0; i < sizeof(*e) / sizeof(*to); i++)
		to[i] += from[i];
	if (user)
		b->user += e->instructions;
}

static struct pc_horizon retired(void *context, bool user, const struct pc_events *e)
{
	struct bench *b = context;
	struct pc_horizon h = { ~0ull, ~0ull };

	assert_false(b->inside && e->instructions);
	add(b, user, e);
	if (!b->pmi_at)
		return h;
	if (b->sum.instructions >= b->pmi_at) {
		assert_int_equal(b->sum.instructions, b->pmi_at); /* not one too late */
		b->pmi_at = 0;
		(void)pc_pmi(b->pc);
	} else {
		h.events = b->pmi_at - b->sum.instructions;
	}
	return h;
}

static void emulated(void *context, bool user, const struct pc_events *e)
{
	struct bench *b = context;

	assert_true(b->inside);
	assert_int_equal(e->instructions, 1);
	b->emulated++;
	(void)add(b, user, e);
}

static enum pc_answer wrmsr(void *context, uint32_t index, uint64_t value)
{
	struct bench *b = context;

	switch (index) {
	case MSR_PMI_NOW:
		(void)pc_pmi(b->pc);
		return PC_DONE;
	case MSR_PMI_AFTER: /* this WRMSR has not retired yet */
		b->pmi_at = b->sum.instructions + 1 + value;
		return PC_DONE;
	}
	return PC_NOT_MINE;
}

static enum pc_answer rdmsr(void *context, uint32_t index, uint64_t *value)
{
	struct bench *b = context;

	if (index != MSR_EXITS)
		return PC_NOT_MINE;
	*value = b->exits;
	return PC_DONE;
}

static enum pc_answer rdpmc(void *context, uint32_t index, unsigned int cpl, bool pce,
	uint64_t *value)
{
	struct bench *b = context;
	const struct pc_events *s = &b->sum;
	const uint64_t counters[] = { s->instructions, s->branches, s->branches_conditional,
		s->branches_taken, s->branches_mispredicted, s->loads, s->stores,
		s->llc_references, s->llc_misses, b->user, s->cycles };

	if ((cpl && !pce) || index >= ARRAY_SIZE(counters))
		return PC_FAULT;
	*value = counters[index];
	return PC_DONE;
}

static bool leave(void *context, enum pc_exit why, uint32_t index)
{
	struct bench *b = context;

	(void)why;
	(void)index;
	if (!b->intercept)
		return false;
	assert_false(b->inside);
	b->inside = true;
	b->exits++;
	return true;
}

static void enter(void *context)
{
	struct bench *b = context;

	assert_true(b->inside);
	b->inside = false;
	b->enters++;
}

static const struct pc_cpu_ops cpu_ops = {
	.size = sizeof(cpu_ops), .rdmsr = rdmsr, .wrmsr = wrmsr, .rdpmc = rdpmc,
	.retired = retired, .emulated = emulated, .exit = leave, .enter = enter,
};

/* ---- One run ---- */

static void start(struct bench *b, const char *scenario, bool intercept, bool caches)
{
	const struct unicorn_config engine = { .caches = caches };
	const struct pc_config config = { .ram = RAM, .cpu = &cpu_ops, .context = b };
	const char *why = NULL;

	*b = (struct bench){ .intercept = intercept };
	b->pc = pc_create(&config);
	assert_non_null(b->pc);
	assert_int_equal(pc_load(b->pc, image, image_size, scenario), 0);
	b->engine = unicorn_create(b->pc, &engine, &why);
	if (!b->engine)
		fail_msg("%s", why);
	pc_attach(b->pc, b->engine);
}

static void end(struct bench *b)
{
	b->engine->ops->destroy(b->engine);
	pc_destroy(b->pc);
}

#define LIMIT 20000000u

static enum pc_result run(struct bench *b)
{
	enum pc_result r = pc_run(b->pc, LIMIT);

	assert_int_equal(b->sum.instructions, pc_instructions(b->pc));
	if (r != PC_EXITED || pc_exit_code(b->pc) != 1)
		print_message("%s%s\n", pc_console(b->pc), r == PC_BROKEN ? pc_error(b->pc) : "");
	return r;
}

static void passes(const char *scenario, bool intercept, bool caches)
{
	struct bench b;

	start(&b, scenario, intercept, caches);
	(void)pc_input(b.pc, "x", 1);
	assert_int_equal(run(&b), PC_EXITED);
	assert_int_equal(pc_exit_code(b.pc), 1);
	assert_int_equal(b.exits, b.enters);
	end(&b);
}

/* Each passes on the bare machine, and when every exit is a hypervisor's. */
static void scenario(void **state)
{
	passes(*state, false, false);
	passes(*state, true, false);
}

static void bare_scenario(void **state)
{
	passes(*state, false, false);
}

static void intercepted_scenario(void **state)
{
	passes(*state, true, false);
}

static void cached_scenario(void **state)
{
	passes(*state, false, true);
}

static void hello(void **state)
{
	struct bench b;

	(void)state;
	start(&b, "hello", false, false);
	assert_int_equal(run(&b), PC_EXITED);
	assert_string_equal(pc_console(b.pc), "hello\n");
	end(&b);
}

static void shutdown_(void **state)
{
	struct bench b;

	(void)state;
	start(&b, "triple_fault", false, false);
	assert_int_equal(pc_run(b.pc, LIMIT), PC_SHUTDOWN);
	end(&b);
}

/* Bounded, although nothing retires. */
static void circle(void **state)
{
	struct bench b;

	(void)state;
	start(&b, "circle", false, false);
	assert_int_equal(pc_run(b.pc, 30000), PC_LIMIT);
	end(&b);
}

static void stuck(void **state)
{
	struct bench b;

	(void)state;
	start(&b, "stuck", false, false);
	assert_int_equal(pc_run(b.pc, LIMIT), PC_STUCK);
	assert_int_equal(pc_run(b.pc, LIMIT), PC_STUCK); /* still */
	end(&b);
}

static void refused(void **state)
{
	struct bench b;

	(void)state;
	start(&b, "low_alias", false, false);
	assert_int_equal(pc_run(b.pc, LIMIT), PC_BROKEN);
	assert_non_null(strstr(pc_error(b.pc), "low virtual address"));
	assert_string_equal(pc_console(b.pc), "");
	end(&b);
}

/* However the run is cut, the outcome is the same. */
static void limits(void **state)
{
	struct bench whole, cut;
	enum pc_result r;
	uint64_t before;

	(void)state;
	start(&whole, "timer", false, false);
	assert_int_equal(run(&whole), PC_EXITED);
	start(&cut, "timer", false, false);
	do {
		before = pc_instructions(cut.pc);
		r = pc_run(cut.pc, 777);
		if (r == PC_LIMIT)
			assert_int_equal(pc_instructions(cut.pc) - before, 777);
	} while (r == PC_LIMIT);
	assert_int_equal(r, PC_EXITED);
	assert_memory_equal(&whole.sum, &cut.sum, sizeof(whole.sum));
	end(&whole);
	end(&cut);
}

static uint8_t *slurp(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = malloc(1u << 20);

	*size = f && bytes ? fread(bytes, 1, 1u << 20, f) : 0;
	if (f)
		fclose(f);
	return bytes;
}

static uint32_t random_state;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

/* Prefixes and opcodes of instructions that concern the system, more often than by chance. */
static void fill_random(uint8_t *code, size_t size)
{
	static const uint8_t likely[] = { 0x0f, 0x0f, 0x0f, 0xf3, 0xf2, 0x66, 0x48, 0x01, 0x00,
		0x20, 0x21, 0x22, 0x23, 0x30, 0x32, 0x33, 0x31, 0x05, 0x07, 0x34, 0x35, 0xa2,
		0x8e, 0xcf, 0xcb, 0xca, 0xcd, 0xcc, 0xf1, 0xf4, 0xfa, 0xfb, 0x9d, 0x9c, 0x17,
		0xec, 0xee, 0x6e, 0x6c, 0xa4, 0xaa, 0xff, 0xae, 0xc7, 0xa1, 0xa9, 0x09, 0x08,
		0xea, 0x9a, 0xe2, 0xeb };

	for (size_t i = 0; i < size; i++)
		code[i] = random32() & 1 ? (uint8_t)random32() :
			likely[random32() % sizeof(likely)];
}

/* Any outcome is good, but a crash or a hang; or an engine that gives up on a sane guest. */
static void random_one(uint32_t seed, bool talk)
{
	struct bench b;
	enum pc_result r;

	random_state = seed * 2654435761u + 1;
	start(&b, "random", seed & 1, seed & 2);
	fill_random(pc_ram(b.pc, 0x600000, 0x10000), 0x10000);
	r = pc_run(b.pc, 60000);
	if (talk)
		printf("%u: %d %s\n", seed, r, pc_error(b.pc));
	end(&b);
}

static void random_(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 40; seed++)
		random_one(seed, false);
}

/* For oracle.sh: one scenario's console on standard output. */
static int show(const char *name)
{
	struct bench b;
	enum pc_result r;

	start(&b, name, false, false);
	r = pc_run(b.pc, LIMIT);
	fputs(pc_console(b.pc), stdout);
	end(&b);
	return r == PC_EXITED ? 0 : 1;
}

#define S(name) { #name, scenario, NULL, NULL, (void *)(uintptr_t)#name }

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello), S(exceptions), S(page_faults), S(many), S(debug), S(double_fault),
		cmocka_unit_test(shutdown_), S(ring3), S(system_calls), S(nmi), S(shadow),
		S(priorities), S(timer), S(halt), cmocka_unit_test(stuck),
		cmocka_unit_test(circle), S(x2apic), S(lvtpc),
		{ "exact", bare_scenario, NULL, NULL, (void *)(uintptr_t)"exact" },
		S(counts), S(faults), S(disturbed), S(mirrors), cmocka_unit_test(refused),
		S(ports), S(compatibility),
		{ "exits", intercepted_scenario, NULL, NULL, (void *)(uintptr_t)"exits" },
		{ "caches", cached_scenario, NULL, NULL, (void *)(uintptr_t)"caches" },
		cmocka_unit_test(limits), cmocka_unit_test(random_),
	};
	int failures;

	if (argc < 2) {
		printf("skipped: no compiler for x86-64 guests (x86_64-linux-gnu-gcc)\n");
		return 77;
	}
	image = slurp(argv[1], &image_size);
	if (argc > 3) {
		for (int seed = atoi(argv[2]); seed < atoi(argv[3]); seed++)
			random_one((uint32_t)seed, true);
		return 0;
	}
	if (argc > 2)
		return show(argv[2]);
	failures = cmocka_run_group_tests(tests, NULL, NULL);
	free(image);
	return failures;
}
