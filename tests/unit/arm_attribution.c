/* SPDX-License-Identifier: MIT */
/*
 * Whose overflow interrupt it is, with several owners, on the one PPI that all of them share (RULES
 * C2): a guest, mediated or partitioned, an event of the host's, or both overflow; the interrupt is
 * taken at once, or after what happened to the guest since. Nobody is told of another's, each guest
 * has its level when it is back, and the host one sample.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>
#include <stdio.h>

#include <vpmu/arm.h>
#include <vpmu/host.h>

#include "model_hw.h"

#define CPUS 2u
#define GUESTS 2u
#define INST_RETIRED 0x08u
#define ROWS 455u                /* of all machines */
#define PERIOD 60u               /* of the host's event */
#define BURST 70u                /* instructions; all that overflows does so within */

/* What happens between the exit after the overflow and the interrupt. */
enum arrival {
	AT_THE_EXIT,                 /* nothing: the guest is PARKED */
	AFTER_A_RECLAIM,
	AFTER_PUT,
	AFTER_LOAD_OF_ANOTHER,
	AFTER_A_RUN_OF_ANOTHER,
	AFTER_MIGRATION,             /* it is loaded on another CPU */
	AFTER_ITS_RETURN,            /* another was loaded in between */
	ARRIVALS,
};

static const char *const arrival_names[ARRIVALS] = {
	"at the exit", "after a reclaim", "after put", "after load of another",
	"after a run of another", "after migration", "after its return",
};

enum side { GUEST = 1, HOST = 2 };

struct row {
	enum model_class class;
	enum vpmu_mode mode;
	enum vpmu_switch_kind kind;
	unsigned int overflow;       /* enum side */
	bool host_there;             /* has an event that samples */
	enum arrival arrival;
};

struct world {
	struct row row;
	struct model_pmu pmu[CPUS];
	struct model_hw hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine machine;
	struct vpmu_arm_model model;
	struct vpmu_vm vm[GUESTS];
	struct vpmu_vcpu v[GUESTS];
	struct vpmu_host_event event;
	bool latched;                /* the line was up */
	unsigned int samples;
};

static struct world w;
static char name[160];

static void same(const char *what, uint64_t got, uint64_t want)
{
	if (got == want)
		return;
	print_error("%s: %s is %llu, not %llu\n", name, what, (unsigned long long)got,
		    (unsigned long long)want);
	fail();
}

/* ---- Set-up ---- */

static void init_cpu(unsigned int k)
{
	struct model_config config;

	model_class_config(w.row.class, &config);
	model_pmu_reset(&w.pmu[k], &config, k + 1);
	model_hw_init(&w.hw[k], &w.pmu[k]);
	vpmu_machine_add(&w.machine, &w.hw[k].hw.caps);
	assert_int_equal(vpmu_cpu_init(&w.cpu[k], k, &w.hw[k].hw), 0);
}

static void init_guest(unsigned int g)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = w.row.mode,
					       .switch_kind = w.row.kind };

	assert_int_equal(vpmu_arm_vm_init(&w.vm[g], &w.machine, &w.model, &config), 0);
	vpmu_vcpu_init(&w.v[g], &w.vm[g]);
}

/* In a partition it counts guests; else it counts the host, which runs after the exit. */
static void init_event(void)
{
	const struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = INST_RETIRED,
		.user = true, .kernel = true, .exclude_guest = w.row.mode == VPMU_MODE_MEDIATED,
		.exclude_host = w.row.mode == VPMU_MODE_PARTITIONED,
		.period = w.row.overflow & HOST ? PERIOD : 100000,
	};

	assert_int_equal(vpmu_host_event_create(&w.event, &w.machine, &w.cpu[0], &config), 0);
}

static void power_on(const struct row *row)
{
	w = (struct world){ .row = *row };
	vpmu_machine_init(&w.machine);
	for (unsigned int k = 0; k < CPUS; k++)
		init_cpu(k);
	assert_int_equal(vpmu_arm_model_of(&w.machine, &w.model), 0);
	if (row->mode == VPMU_MODE_PARTITIONED)
		w.model.counters = 3;
	for (unsigned int g = 0; g < GUESTS; g++)
		init_guest(g);
	if (row->host_there)
		init_event();
}

/* ---- What runs ---- */

static void load(unsigned int g, unsigned int k)
{
	same("load", (uint64_t)vpmu_vcpu_load(&w.v[g], &w.cpu[k]), 0);
}

static void put(unsigned int g)
{
	same("put", (uint64_t)vpmu_vcpu_put(&w.v[g]), 0);
}

static void msr(unsigned int g, uint32_t reg, uint64_t value)
{
	struct vpmu_arm_access access = { .reg = reg, .el = 1, .write = true, .value = value };

	same("MSR", (uint64_t)vpmu_arm_access(&w.v[g], &access), VPMU_HANDLED);
}

static void program(unsigned int g, uint64_t left)
{
	msr(g, MODEL_PMEVCNTR(0), UINT32_MAX + 1 - left);
	msr(g, MODEL_PMEVTYPER(0), INST_RETIRED);
	msr(g, MODEL_PMINTENSET, 1);
	msr(g, MODEL_PMCNTENSET, 1);
	msr(g, MODEL_PMCR, MODEL_PMCR_E);
}

static void execute(unsigned int k, unsigned int el, uint64_t n)
{
	const struct model_events events = { .instructions = n, .cycles = n };

	model_retire(&w.pmu[k], el, &events);
}

static void guest_runs(unsigned int g, unsigned int k, uint64_t n)
{
	same("enter", (uint64_t)vpmu_vcpu_enter(&w.v[g], 0), 0);
	w.hw[k].guest_runs = true;
	execute(k, 1, n);
	w.latched |= model_interrupt(&w.pmu[k]);
	w.hw[k].guest_runs = false;
	same("exit", (uint64_t)vpmu_vcpu_exit(&w.v[g], 0), 0);
}

/* ---- The rows ---- */

static unsigned int take_interrupt(unsigned int k)
{
	enum vpmu_pmi pmi = vpmu_cpu_pmi(&w.cpu[k]);

	while (vpmu_cpu_sample(&w.cpu[k]))
		w.samples++;
	return (pmi == VPMU_PMI_GUEST || pmi == VPMU_PMI_BOTH ? GUEST : 0) |
	       (pmi == VPMU_PMI_HOST || pmi == VPMU_PMI_BOTH ? HOST : 0);
}

static void arrive(void)
{
	switch (w.row.arrival) {
	case AFTER_A_RECLAIM:
		assert_int_equal(vpmu_cpu_reclaim(&w.cpu[0], 0), 0);
		break;
	case AFTER_PUT:
		put(0);
		break;
	case AFTER_LOAD_OF_ANOTHER:
		put(0);
		load(1, 0);
		break;
	case AFTER_A_RUN_OF_ANOTHER:
		put(0);
		load(1, 0);
		guest_runs(1, 0, 5);
		break;
	case AFTER_MIGRATION:
		put(0);
		load(0, 1);
		break;
	case AFTER_ITS_RETURN:
		put(0);
		load(1, 0);
		put(1);
		load(0, 0);
		break;
	case AT_THE_EXIT:
	case ARRIVALS:
		break;
	}
}

/* Latched in the interrupt controller at the overflow, taken now. */
static void check_answer(void)
{
	bool is_here = w.cpu[0].loaded == &w.v[0];
	unsigned int told = take_interrupt(0);

	same("to the guest", told & GUEST, is_here ? w.row.overflow & GUEST : 0);
	if (w.row.arrival == AT_THE_EXIT)
		same("the interrupt's answer", told, w.row.overflow);
	/* What may keep the line up is the guest that is in the hardware, and nobody else. */
	if (!(w.row.overflow & GUEST) || w.cpu[0].resident != &w.v[0])
		same("the line", model_interrupt(&w.pmu[0]), 0);
}

static void comes_back(unsigned int home)
{
	if (w.v[1].loaded) {
		same("the line of the other", (uint64_t)vpmu_vcpu_interrupt(&w.v[1]), 0);
		put(1);
	}
	if (!w.v[0].loaded)
		load(0, home);
	guest_runs(0, home, 1);
	same("its line", (uint64_t)vpmu_vcpu_interrupt(&w.v[0]), w.row.overflow & GUEST ? 1 : 0);
	same("its interrupt", take_interrupt(home) & GUEST, w.row.overflow & GUEST);
	msr(0, MODEL_PMOVSCLR, 1);
	same("its line, answered", (uint64_t)vpmu_vcpu_interrupt(&w.v[0]), 0);
	same("one more interrupt", take_interrupt(home) & GUEST, 0);
	same("the line", model_interrupt(&w.pmu[home]), 0);
}

static void attribute(const struct row *row)
{
	power_on(row);
	load(1, 0);
	program(1, 10000);
	put(1);
	load(0, 0);
	program(0, row->overflow & GUEST ? 50 : 10000);
	guest_runs(0, 0, BURST);
	/* The host's own event overflows now, if it excludes guests. */
	if (row->mode == VPMU_MODE_MEDIATED && row->host_there)
		execute(0, 2, BURST);
	same("the line of all was up", w.latched || model_interrupt(&w.pmu[0]), 1);
	arrive();
	check_answer();
	comes_back(row->arrival == AFTER_MIGRATION ? 1 : 0);
	(void)take_interrupt(0);
	same("samples of the host", w.samples, row->overflow & HOST ? 1 : 0);
	same("violations", w.hw[0].violations + w.hw[1].violations, 0);
}

static bool exists(const struct row *r)
{
	if (!r->overflow || (r->overflow & HOST && !r->host_there))
		return false;
	/* A guest of the eager switch leaves no counter for the host. */
	return !(r->kind == VPMU_SWITCH_EAGER && r->host_there && r->mode == VPMU_MODE_MEDIATED);
}

static void every_row(void **state)
{
	static const enum vpmu_mode modes[] = { VPMU_MODE_MEDIATED, VPMU_MODE_PARTITIONED };
	static const char *const sides[] = { "nobody", "the guest", "the host", "both" };
	unsigned int rows = 0;

	(void)state;
	for (unsigned int bits = 0; bits < MODEL_CLASSES * 2 * 2 * 4 * 2 * ARRIVALS; bits++) {
		unsigned int n = bits / ARRIVALS;
		const struct row r = {
			.arrival = (enum arrival)(bits % ARRIVALS), .mode = modes[n & 1],
			.kind = n >> 1 & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY,
			.overflow = n >> 2 & 3, .host_there = n >> 4 & 1,
			.class = (enum model_class)(n >> 5),
		};

		if (!exists(&r))
			continue;
		(void)snprintf(name, sizeof(name), "class %d, %s, %s overflows%s, %s", (int)r.class,
			       r.mode ? "partitioned" : "mediated", sides[r.overflow],
			       r.kind ? ", eager" : "", arrival_names[r.arrival]);
		attribute(&r);
		rows++;
	}
	print_message("# %u rows\n", rows);
	assert_int_equal(rows, ROWS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
