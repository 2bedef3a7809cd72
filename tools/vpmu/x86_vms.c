/* SPDX-License-Identifier: MIT */
/* vpmu run --arch x86 --vm ...: PCs that take turns on the physical CPUs of one host in software. */
#include "x86.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "pc.h"
#include "pmu.h"
#include "unicorn.h"

#define MIB 1048576ull
#define MEMORY (64 * MIB)
#define MEMORY_MIN (2 * MIB)
#define MEMORY_MAX (1024 * MIB)
#define TURN 1000000u /* instructions */
#define LINE_MAX 512u

struct tenant {
	const char *name;            /* "vm0." */
	/* As its --vm says. */
	const char *image, *append, *policy_text;
	uint64_t memory;
	struct x86_options x86;      /* its PMU */
	struct vpmu_x86_filter filter;
	struct vpmu_policy policy;
	struct pc_pmu_config config;
	/* Running. */
	struct pc_pmu *pmu;
	struct pc *pc;
	uint64_t left;               /* of --limit */
	bool loaded, ended;
	int status;
	unsigned int number;
	size_t length;               /* of the console's line so far */
	char line[LINE_MAX];
};

static struct tenant tenants[VM_MAX]; /* what is in the engines outlives no part of it */
static volatile sig_atomic_t ended_by;

static void on_signal(int number)
{
	ended_by = number;
	for (unsigned int i = 0; i < VM_MAX; i++)
		if (tenants[i].pc)
			pc_kick(tenants[i].pc);
}

/* ---- --vm ---- */

static void set_kernel(struct tenant *t, const char *value)
{
	t->image = value;
}

static void set_append(struct tenant *t, const char *value)
{
	t->append = value;
}

static void set_memory(struct tenant *t, const char *value)
{
	t->memory = size_between("--vm memory", value, MEMORY_MIN, MEMORY_MAX);
}

static void set_pmu(struct tenant *t, const char *value)
{
	x86_parse_pmu(&t->x86, value);
}

static void set_mode(struct tenant *t, const char *value)
{
	static const struct {
		const char *name;
		enum pc_pmu_mode mode;
	} modes[] = {
		{ "mediated", PC_PMU_MEDIATED },       { "partitioned", PC_PMU_PARTITIONED },
		{ "emulated", PC_PMU_EMULATED },       { "passthrough", PC_PMU_PASSTHROUGH },
		{ "off", PC_PMU_OFF },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(modes[i].name, value)) {
			t->config.mode = modes[i].mode;
			return;
		}
	}
	bad_value("--vm mode", value, "mediated, partitioned, emulated, passthrough or off");
}

static void set_switch(struct tenant *t, const char *value)
{
	if (strcmp(value, "lazy") != 0 && strcmp(value, "eager") != 0)
		bad_value("--vm switch", value, "lazy or eager");
	t->config.switch_kind = *value == 'e' ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
}

static void set_policy(struct tenant *t, const char *value)
{
	check_policy("--vm policy", value);
	t->policy_text = value;
}

static const struct {
	const char *name;
	void (*set)(struct tenant *t, const char *value);
} keys[] = {
	{ "kernel", set_kernel }, { "append", set_append }, { "memory", set_memory },
	{ "pmu", set_pmu },       { "mode", set_mode },     { "switch", set_switch },
	{ "policy", set_policy },
};

static void set_one(struct tenant *t, char *item)
{
	char *value = strchr(item, '=');

	if (!value)
		die(EXIT_USAGE, "--vm: '%s' is not KEY=VALUE", item);
	*value++ = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!strcmp(keys[i].name, item)) {
			keys[i].set(t, value);
			return;
		}
	}
	die(EXIT_USAGE, "--vm: an x86 guest has no key named '%s'", item);
}

static void parse(struct tenant *t, const char *spec, const struct run_options *o)
{
	while (*spec != '\0') {
		set_one(t, comma_item(&spec));
		if (*spec == ',')
			spec++;
	}
	if (!t->image)
		die(EXIT_USAGE, "--vm: a guest needs kernel=FILE, a multiboot or PVH image");
	if (t->x86.model.vendor != o->x86.model.vendor)
		die(EXIT_USAGE, "--vm: a guest's PMU is of the machine's vendor, see --pmu");
	t->config.model = t->x86.model;
	if (!t->policy_text)
		return;
	x86_parse_policy(&t->filter, &t->x86, t->policy_text);
	t->policy.x86 = &t->filter;
	t->config.policy = &t->policy;
}

/* ---- Consoles: whole lines, each with its guest's number ---- */

static void flush_line(struct tenant *t)
{
	if (t->length)
		printf("[%u] %.*s\n", t->number, (int)t->length, t->line);
	fflush(stdout);
	t->length = 0;
}

static void put(void *context, uint8_t byte)
{
	struct tenant *t = context;

	if (byte == '\r')
		return;
	if (byte != '\n')
		t->line[t->length++] = (char)byte;
	else if (!t->length)
		printf("[%u] \n", t->number);
	if (byte == '\n' || t->length == LINE_MAX)
		flush_line(t);
}

/* ---- Set-up ---- */

static struct pc_host *make_host(const struct run_options *o)
{
	const struct pc_host_config config = {
		.model = o->x86.model, .cpus = (unsigned int)o->cpu_count, .skid = o->x86.skid,
	};
	const char *why;
	struct pc_host *host = pc_host_create(&config, &why);

	if (!host)
		die(EXIT_CANNOT, "this machine cannot be: %s", why);
	return host;
}

static void start(struct tenant *t, const struct run_options *o)
{
	struct unicorn_config engine_config = { .caches = o->x86.caches };
	struct pc_config config = {
		.ram = t->memory,
		.context = NULL,
		.amd = t->x86.model.vendor == VPMU_X86_AMD,
		.console = put,
		.console_context = t,
	};
	struct pc_engine *engine;
	const char *why = "no memory";
	size_t size;
	void *image = x86_read_image(t->image, &size);

	t->pmu = pc_pmu_create(&t->config, &why);
	if (!t->pmu)
		die(EXIT_CANNOT, "guest %u: this PMU cannot be: %s", t->number, why);
	config.cpu = pc_pmu_ops(t->pmu);
	config.context = t->pmu;
	t->pc = pc_create(&config);
	if (!t->pc)
		die(EXIT_CANNOT, "guest %u: no memory", t->number);
	if (pc_load(t->pc, image, size, t->append ? t->append : "") < 0)
		die(EXIT_CANNOT, "guest %u: %s: %s", t->number, t->image, pc_error(t->pc));
	free(image);
	pc_pmu_attach(t->pmu, t->pc);
	engine = unicorn_create(t->pc, &engine_config, &why);
	if (!engine)
		die(EXIT_CANNOT, "the engine does not start: %s", why);
	pc_attach(t->pc, engine);
}

/* ---- Turns ---- */

/* The next in line that is not on a CPU. */
static struct tenant *next_after(const struct tenant *last, unsigned int count)
{
	unsigned int from = last ? last->number : count - 1;

	for (unsigned int i = 1; i <= count; i++) {
		struct tenant *t = &tenants[(from + i) % count];

		if (!t->loaded && !t->ended)
			return t;
	}
	return NULL;
}

static void give_turn(struct tenant *t, unsigned int cpu)
{
	t->loaded = true;
	if (!pc_pmu_load(t->pmu, cpu))
		die(EXIT_CANNOT, "guest %u cannot run on CPU %u", t->number, cpu);
}

static void take_turn_away(struct tenant *t)
{
	pc_pmu_put(t->pmu);
	t->loaded = false;
}

static void run_turn(struct tenant *t)
{
	uint64_t turn = t->left < TURN ? t->left : TURN;
	enum pc_result r = pc_run(t->pc, turn);

	t->left -= turn;
	if (r == PC_LIMIT && t->left && !ended_by)
		return;
	t->ended = true;
	if (!t->left)
		warn("%slimit: the guest did not end within its instructions", t->name);
	t->status = x86_verdict(t->name, t->pc, (int)r);
	flush_line(t);
}

/* One turn of each CPU. returns: does anybody run? */
static bool turns(struct tenant **on, unsigned int cpus, unsigned int count)
{
	bool going = false;

	for (unsigned int cpu = 0; cpu < cpus; cpu++) {
		struct tenant *t = on[cpu], *next;

		if (t)
			run_turn(t);
		next = next_after(t, count);
		if (t && (next || t->ended))
			take_turn_away(t);
		if (!t || t->ended || next)
			on[cpu] = next;
		if (next)
			give_turn(next, cpu);
		going |= on[cpu] != NULL;
	}
	return going;
}

static int worst(unsigned int count, const struct run_options *o)
{
	int status = 0;

	for (unsigned int i = 0; i < count; i++)
		status = tenants[i].status > status ? tenants[i].status : status;
	if (ended_by == SIGALRM)
		warn("timeout: the guests did not end within %" PRIu64 " seconds", o->timeout);
	return ended_by && ended_by != SIGALRM ? EXIT_INTERRUPTED : status;
}

int x86_run_vms(const struct run_options *o)
{
	struct tenant *on[PC_HOST_CPUS_MAX] = { NULL };
	struct pc_host *host = make_host(o);
	unsigned int count = o->vm_count;

	for (unsigned int i = 0; i < count; i++) {
		struct tenant *t = &tenants[i];

		*t = (struct tenant){ .number = i, .name = text("vm%u.", i), .memory = MEMORY,
				      .x86 = o->x86, .left = o->x86.limit,
				      .config = { .mode = PC_PMU_MEDIATED, .host = host,
						  .caches = o->x86.caches } };
		parse(t, o->vm_text[i], o);
	}
	for (unsigned int i = 0; i < count; i++)
		start(&tenants[i], o);
	x86_take_signals(on_signal, o->timeout);
	while (turns(on, (unsigned int)o->cpu_count, count))
		;
	for (unsigned int i = 0; o->x86.stats && i < count; i++)
		x86_show_pc(tenants[i].name, tenants[i].pmu, tenants[i].pc);
	return worst(count, o);
}
