/* SPDX-License-Identifier: MIT */
/*
 * switch-beside - the world switch where a CPU has a second user: another VM, or an event of the host.
 * PMU register accesses on the software PMUs, counted by the backend, so that they are the same on each
 * machine; see run.sh for what is counted. Each figure is refused unless every counter of every
 * guest and of the host has the count of what was executed.
 *
 * usage: switch-beside [--check]    --check: prints nothing but what exceeds its budget, and then fails
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vpmu/arm.h>
#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "model_hw.h"
#include "x86_cpu.h"

#define BIT(n) ((uint64_t)1 << (n))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SELECTOR (X86_SEL_USR | X86_SEL_OS | X86_SEL_EN)

#define ROUNDS 100u       /* fewer than VPMU_LOOK_INTERVAL: no look is among them */
#define GUEST_RUNS 1000u  /* instructions between enter and exit */
#define HOST_RUNS 300u

static void die(const char *machine, const char *what)
{
	fprintf(stderr, "switch-beside: %s: %s\n", machine, what);
	exit(1);
}

/* ---- The machines ---- */

enum state { TWOVM, TWOVM_READING, TWOVM_ALL, TWOVM_PAIR, HOSTEVENT, CONFLICT, STATES };

/*
 * (gp): counters of the machine and its guests. A budget is in accesses; for two VMs it is a part of what the
 * eager switch takes (all of it where they count on every counter).
 */
struct kind {
	const char *name;         /* and the dot after it */
	unsigned int gp;
	int x86;                  /* enum x86_cpu_class, or -1 */
	int arm;                  /* enum model_class, or -1 */
	double twovm_part, budget[STATES];
};

/* Where all of the PMU is direct (p1), all selectors have to be looked at. */
static const struct kind kinds[] = {
	{ "", 8, -1, MODEL_P5_FGT, 0.6, { [HOSTEVENT] = 4, [CONFLICT] = 10 } },
	{ "neoverse-n1.", 6, -1, MODEL_P1, 0.7, { [TWOVM_PAIR] = 3, [HOSTEVENT] = 4, [CONFLICT] = 10 } },
	{ "intel.", 8, X86_CPU_SKYLAKE, -1, 0.6, { [HOSTEVENT] = 4, [CONFLICT] = 10 } },
	{ "amd.", 6, X86_CPU_ZEN4, -1, 0.6, { [HOSTEVENT] = 4, [CONFLICT] = 10 } },
};

#define VMS 2u

struct guest {
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
	struct vpmu_x86_model x86;
	struct vpmu_arm_model arm;
	uint64_t ran;             /* instructions since its counters started */
	uint64_t counters;        /* that it counts on, from the beginning */
	bool cycles;              /* it counts cycles, not instructions: as many */
};

struct bed {
	const struct kind *kind;
	struct x86_cpu x86;
	struct model_pmu pmu;
	struct model_hw arm;
	struct vpmu_machine machine;
	struct vpmu_cpu cpu;
	struct guest guests[VMS];
	struct guest *loaded;
};

static bool is_x86(const struct bed *b)
{
	return b->kind->x86 >= 0;
}

static struct vpmu_hw *hw_of(struct bed *b)
{
	return is_x86(b) ? &b->x86.x86.hw : &b->arm.hw;
}

static void must(const struct bed *b, const char *what, bool fine)
{
	if (!fine)
		die(b->kind->name, what);
}

static void x86_power_on(struct bed *b)
{
	struct x86_pmu_config config;

	x86_cpu_class_config((enum x86_cpu_class)b->kind->x86, &config);
	must(b, "the CPU", !x86_cpu_init(&b->x86, &config, true));
	b->x86.host_owned = BIT(b->kind->gp) - 1;
	for (unsigned int i = 0; i < VMS; i++) {
		x86_cpu_model(&config, &b->guests[i].x86);
		b->guests[i].x86.debug_bits = 0;
	}
}

static void arm_power_on(struct bed *b)
{
	struct model_config config;

	model_class_config((enum model_class)b->kind->arm, &config);
	config.counters = b->kind->gp;
	/* Without rubbish: a host that is no guest of PMSELR_EL0 has 0 there. */
	model_pmu_reset(&b->pmu, &config, 0);
	model_hw_init(&b->arm, &b->pmu);
}

static void power_on(struct bed *b, const struct kind *kind)
{
	memset(b, 0, sizeof(*b));
	b->kind = kind;
	if (is_x86(b))
		x86_power_on(b);
	else
		arm_power_on(b);
	vpmu_machine_init(&b->machine);
	vpmu_machine_add(&b->machine, &hw_of(b)->caps);
	must(b, "vpmu_cpu_init", !vpmu_cpu_init(&b->cpu, 0, hw_of(b)));
	for (unsigned int i = 0; i < VMS && !is_x86(b); i++)
		must(b, "vpmu_arm_model_of", !vpmu_arm_model_of(&b->machine, &b->guests[i].arm));
}

static void make_guest(struct bed *b, struct guest *g, enum vpmu_switch_kind kind, unsigned int gp)
{
	struct vpmu_vm_config config = {
		.size = sizeof(config), .mode = VPMU_MODE_MEDIATED, .switch_kind = kind,
	};

	g->arm.counters = gp;
	g->x86.gp = (uint8_t)gp;
	must(b, "the VM", !(is_x86(b) ? vpmu_x86_vm_init(&g->vm, &b->machine, &g->x86, &config)
				       : vpmu_arm_vm_init(&g->vm, &b->machine, &g->arm, &config)));
	vpmu_vcpu_init(&g->v, &g->vm);
}

/* ---- What everybody does ---- */

static void load(struct bed *b, struct guest *g)
{
	must(b, "vpmu_vcpu_load", !vpmu_vcpu_load(&g->v, &b->cpu));
	b->loaded = g;
}

static void put(struct bed *b)
{
	must(b, "vpmu_vcpu_put", !vpmu_vcpu_put(&b->loaded->v));
	b->loaded = NULL;
}

static void enter(struct bed *b)
{
	must(b, "vpmu_vcpu_enter", !vpmu_vcpu_enter(&b->loaded->v, 0));
	if (is_x86(b))
		x86_cpu_enter(&b->x86);
	b->arm.guest_runs = true;
}

static void leave(struct bed *b)
{
	b->arm.guest_runs = false;
	if (is_x86(b))
		x86_cpu_exit(&b->x86);
	must(b, "vpmu_vcpu_exit", !vpmu_vcpu_exit(&b->loaded->v, 0));
}

/* x86's exact counts leave out what the host executes around its own accesses: see HOST_RUNS. */
static void guest_runs(struct bed *b)
{
	const struct x86_pmu_events x86 = { .instructions = GUEST_RUNS, .cycles = GUEST_RUNS };
	const struct model_events arm = { .instructions = GUEST_RUNS, .cycles = GUEST_RUNS };

	if (is_x86(b))
		x86_pmu_retire(&b->x86.pmu, false, &x86);
	else
		model_retire(&b->pmu, 1, &arm);
	b->loaded->ran += GUEST_RUNS;
}

static void host_runs(struct bed *b)
{
	const struct x86_pmu_events x86 = { .instructions = HOST_RUNS, .cycles = HOST_RUNS };
	const struct model_events arm = { .instructions = HOST_RUNS, .cycles = HOST_RUNS };

	if (is_x86(b))
		x86_cpu_host(&b->x86, false, &x86);
	else
		model_retire(&b->pmu, 2, &arm);
}

static void x86_write(struct bed *b, uint32_t intel, uint32_t amd, uint64_t value)
{
	uint32_t index = b->kind->x86 == X86_CPU_ZEN4 ? amd : intel;

	must(b, "WRMSR", vpmu_x86_wrmsr(&b->loaded->v, index, value) == VPMU_HANDLED);
}

static uint64_t arm_access(struct bed *b, uint32_t reg, bool write, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = write, .value = value };

	must(b, "MRS or MSR", vpmu_arm_access(&b->loaded->v, &access) == VPMU_HANDLED);
	return access.value;
}

/* The guest counts on (i), too. Trapped: between exit and enter. */
static void start_counter(struct bed *b, unsigned int i, uint64_t enabled)
{
	bool cycles = b->loaded->cycles;

	if (is_x86(b)) {
		uint64_t of_cycles = b->kind->x86 == X86_CPU_ZEN4 ? 0x76 : 0x3C;

		x86_write(b, 0x186 + i, 0xC0010200 + 2 * i, SELECTOR | (cycles ? of_cycles : 0xC0));
		x86_write(b, X86_MSR_GLOBAL_CTRL, X86_MSR_AMD_GLOBAL_CTL, enabled);
		return;
	}
	(void)arm_access(b, MODEL_PMEVTYPER(i), true, cycles ? 0x11 : 0x08);
	(void)arm_access(b, MODEL_PMCNTENSET, true, enabled);
	(void)arm_access(b, MODEL_PMCR, true, MODEL_PMCR_E);
}

/* On the first (n). */
static void start_counting(struct bed *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		b->loaded->counters |= BIT(i);
		start_counter(b, i, b->loaded->counters);
	}
}

static uint64_t read_counter(struct bed *b, unsigned int i)
{
	struct vpmu_x86_rdpmc rdpmc = { .index = i, .protected_mode = true };

	if (!is_x86(b))
		return arm_access(b, MODEL_PMEVCNTR(i), false, 0);
	must(b, "RDPMC", vpmu_x86_rdpmc(&b->loaded->v, &rdpmc) == VPMU_HANDLED);
	return rdpmc.value;
}

/* The guest looks at its counters, as a profiler does: from then on it can at any time. */
static void check_guest(struct bed *b)
{
	for (unsigned int i = 0; i < b->kind->gp; i++) {
		if (b->loaded->counters & BIT(i))
			must(b, "a guest's counter is wrong",
			     read_counter(b, i) == b->loaded->ran);
	}
}

static void check_hardware(struct bed *b)
{
	const char *violation = is_x86(b) ? b->x86.violation : b->arm.violation;

	if (b->x86.violations || b->arm.violations)
		die(b->kind->name, violation);
}

static uint64_t accesses(struct bed *b)
{
	return hw_of(b)->accesses;
}

/* ---- Two VMs ---- */

struct result {
	double switches;          /* per switch from one VM to the other */
	double pairs;             /* per exit and enter of the same one */
};

/* The guest's turn; (reads): it looks at its counters. */
static void slice(struct bed *b, struct guest *g, bool reads, struct result *sum)
{
	uint64_t before = accesses(b);

	if (b->loaded) {
		leave(b);
		put(b);
	}
	load(b, g);
	enter(b);
	sum->switches += (double)(accesses(b) - before);
	guest_runs(b);
	leave(b);
	if (reads)
		check_guest(b);
	enter(b);
	before = accesses(b);
	leave(b);
	enter(b);
	sum->pairs += (double)(accesses(b) - before);
	guest_runs(b);
}

static struct result two_vms(const struct kind *kind, enum vpmu_switch_kind sw, unsigned int used,
			     bool reads)
{
	struct result sum = { 0 }, warm = { 0 };
	static struct bed b;

	power_on(&b, kind);
	for (unsigned int i = 0; i < VMS; i++) {
		make_guest(&b, &b.guests[i], sw, kind->gp);
		b.guests[i].cycles = i;
		load(&b, &b.guests[i]);
		start_counting(&b, used);
		put(&b);
	}
	for (unsigned int i = 0; i < VMS; i++)
		slice(&b, &b.guests[i], reads, &warm);
	for (unsigned int round = 0; round < ROUNDS; round++)
		slice(&b, &b.guests[round % VMS], reads, &sum);
	leave(&b);
	put(&b);
	for (unsigned int i = 0; i < VMS; i++) {
		load(&b, &b.guests[i]);
		check_guest(&b);
		put(&b);
	}
	check_hardware(&b);
	return (struct result){ sum.switches / ROUNDS, sum.pairs / ROUNDS };
}

/* ---- A host event ---- */

static void add_event(struct bed *b, struct vpmu_host_event *e)
{
	const struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = is_x86(b) ? 0xC0 : 0x08,
		.user = true, .kernel = true, .exclude_guest = true,
	};

	must(b, "vpmu_host_event_create",
	     !vpmu_host_event_create(e, &b->machine, &b->cpu, &config));
}

static uint64_t reading(struct bed *b, struct vpmu_host_event *e)
{
	struct vpmu_count count;

	must(b, "vpmu_host_event_read", !vpmu_host_event_read(e, &count));
	return count.value;
}

/*
 * A guest that counts, and an event that does not count it. The backends execute something around their
 * accesses, too, which an event of the host's rightly counts: left out here, for the count to be known.
 */
static void host_and_guest(struct bed *b, const struct kind *kind, enum vpmu_switch_kind sw)
{
	power_on(b, kind);
	b->x86.cost = NULL;
	/* The eager switch takes all counters of its guest at each enter: one is left out. */
	make_guest(b, &b->guests[0], sw, kind->gp - (sw == VPMU_SWITCH_EAGER));
	load(b, &b->guests[0]);
	start_counting(b, kind->gp / 2);
	enter(b);
	guest_runs(b);
	leave(b);
}

static uint64_t exit_and_enter(struct bed *b)
{
	uint64_t before = accesses(b);

	leave(b);
	host_runs(b);
	enter(b);
	before = accesses(b) - before;
	guest_runs(b);
	return before;
}

static double host_event(const struct kind *kind, enum vpmu_switch_kind sw)
{
	static struct vpmu_host_event e;
	static struct bed b;
	uint64_t sum = 0;

	host_and_guest(&b, kind, sw);
	add_event(&b, &e);
	enter(&b);
	guest_runs(&b);
	for (unsigned int round = 0; round < ROUNDS; round++)
		sum += exit_and_enter(&b);
	leave(&b);
	must(&b, "the event's count is wrong", reading(&b, &e) == ROUNDS * HOST_RUNS);
	check_guest(&b);
	check_hardware(&b);
	return (double)sum / ROUNDS;
}

/*
 * The guest starts to use the counter that the event has: the event has to leave it, and goes on counting on
 * another one. With the eager switch it has a counter that is none of the guest's anyway.
 */
static uint64_t conflict(const struct kind *kind, enum vpmu_switch_kind sw)
{
	static struct vpmu_host_event e;
	static struct bed b;
	struct guest *g = &b.guests[0];
	unsigned int taken = kind->gp - 1 - (sw == VPMU_SWITCH_EAGER);
	uint64_t sum;

	host_and_guest(&b, kind, sw);
	add_event(&b, &e);
	enter(&b);
	guest_runs(&b);
	must(&b, "the event is elsewhere", sw == VPMU_SWITCH_EAGER || e.counter == taken);
	sum = accesses(&b);
	leave(&b);
	host_runs(&b);
	g->counters |= BIT(taken);
	start_counter(&b, taken, g->counters);
	b.x86.host_owned = BIT(kind->gp) - 1 - g->counters;
	enter(&b);
	sum = accesses(&b) - sum;
	guest_runs(&b);
	leave(&b);
	host_runs(&b);
	must(&b, "the event has not moved", e.counter != taken);
	must(&b, "the event's count is wrong", reading(&b, &e) == 2 * HOST_RUNS);
	must(&b, "the counter that was taken is wrong", read_counter(&b, taken) == GUEST_RUNS);
	g->counters &= ~BIT(taken);
	check_guest(&b);
	check_hardware(&b);
	return sum;
}

/* ---- Figures ---- */

static const char *const state_names[STATES] = {
	"twovm", "twovm_reading", "twovm_all", "twovm_pair", "hostevent", "hostevent_conflict",
};

struct figures {
	double of[STATES];
};

static struct figures measure(const struct kind *kind, enum vpmu_switch_kind sw)
{
	struct result half = two_vms(kind, sw, kind->gp / 2, false);

	return (struct figures){ {
		[TWOVM] = half.switches,
		[TWOVM_READING] = two_vms(kind, sw, kind->gp / 2, true).switches,
		[TWOVM_ALL] = two_vms(kind, sw, kind->gp, true).switches,
		[TWOVM_PAIR] = half.pairs,
		[HOSTEVENT] = host_event(kind, sw),
		[CONFLICT] = (double)conflict(kind, sw),
	} };
}

static void print(const struct kind *kind, const struct figures *lazy, const struct figures *eager)
{
	for (unsigned int s = 0; s < STATES; s++) {
		printf("switch.%slazy.%s.accesses,%.2f,accesses\n", kind->name, state_names[s],
		       lazy->of[s]);
		printf("switch.%seager.%s.accesses,%.2f,accesses\n", kind->name, state_names[s],
		       eager->of[s]);
		fprintf(stderr, "  %s%-*s %8.2f %8.2f %8.2f\n", kind->name,
			34 - (int)strlen(kind->name), state_names[s], lazy->of[s], eager->of[s],
			lazy->of[s] / eager->of[s]);
	}
}

static bool is_within(const struct kind *kind, const struct figures *lazy,
		      const struct figures *eager)
{
	bool fine = true;

	for (unsigned int s = 0; s < STATES; s++) {
		double budget = kind->budget[s];

		if (s <= TWOVM_READING)
			budget = kind->twovm_part * eager->of[s];
		if (s == TWOVM_ALL)
			budget = eager->of[s];
		if (lazy->of[s] <= budget)
			continue;
		fprintf(stderr, "switch-beside: %s%s takes %.2f accesses, the budget is %.2f\n",
			kind->name, state_names[s], lazy->of[s], budget);
		fine = false;
	}
	return fine;
}

int main(int argc, char **argv)
{
	bool check = argc == 2 && !strcmp(argv[1], "--check"), fine = true;

	if (argc > 1 && !check) {
		fputs("usage: switch-beside [--check]\n", stderr);
		return 2;
	}
	if (!check)
		fprintf(stderr, "  %-34s %8s %8s %8s\n", "accesses", "lazy", "eager", "part");
	for (unsigned int k = 0; k < COUNT(kinds); k++) {
		struct figures lazy = measure(&kinds[k], VPMU_SWITCH_LAZY);
		struct figures eager = measure(&kinds[k], VPMU_SWITCH_EAGER);

		if (!check)
			print(&kinds[k], &lazy, &eager);
		else
			fine = is_within(&kinds[k], &lazy, &eager) && fine;
	}
	return fine ? 0 : 1;
}
