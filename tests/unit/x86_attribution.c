/* SPDX-License-Identifier: MIT */
/*
 * Whose overflow interrupt it is, with several owners (RULES C2, B1): a guest, mediated or
 * partitioned, an event of the host's, or both overflow; the vector is taken at once, or after what
 * happened to the guest since. Each guest gets one PMI for its own overflow and none for another's,
 * and the host one sample.
 */
#include "cmocka_vpmu.h"

#include <stdbool.h>
#include <stdio.h>

#include <vpmu/host.h>
#include <vpmu/x86.h>

#include "x86_cpu.h"

#define CPUS 2u
#define GUESTS 2u
#define INSTRUCTIONS 0xC0u
#define SEL (X86_SEL_USR | X86_SEL_OS | X86_SEL_EN | X86_SEL_INT | INSTRUCTIONS)
#define ROWS 182u                /* of each vendor */
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
	enum x86_cpu_class class;
	enum vpmu_mode mode;
	enum vpmu_switch_kind kind;
	unsigned int overflow;       /* enum side */
	bool host_there;             /* has an event that samples */
	uint32_t skid;               /* instructions until the interrupt fires */
	enum arrival arrival;
};

struct world {
	struct row row;
	struct x86_cpu hw[CPUS];
	struct vpmu_cpu cpu[CPUS];
	struct vpmu_machine machine;
	struct vpmu_x86_model model;
	struct vpmu_vm vm[GUESTS];
	struct vpmu_vcpu v[GUESTS];
	struct vpmu_host_event event;
	unsigned int told;           /* vectors by whose: enum side; neither: late */
	unsigned int samples, pmis[GUESTS];
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

static void note_host_counters(struct x86_cpu *hw, void *context)
{
	const struct vpmu_cpu *cpu = context;

	hw->host_owned = cpu->host_counters;
}

static void init_cpu(unsigned int k)
{
	struct x86_pmu_config config;

	x86_cpu_class_config(w.row.class, &config);
	config.interrupt_skid = w.row.skid;
	assert_int_equal(x86_cpu_init(&w.hw[k], &config, true), 0);
	w.hw[k].cost = NULL;
	w.hw[k].hook = note_host_counters;
	w.hw[k].hook_context = &w.cpu[k];
	vpmu_machine_add(&w.machine, &w.hw[k].x86.hw.caps);
	assert_int_equal(vpmu_cpu_init(&w.cpu[k], k, &w.hw[k].x86.hw), 0);
	x86_pmu_set_lvtpc(&w.hw[k].pmu, X86_LVTPC_NMI);
}

static void init_guest(unsigned int g)
{
	const struct vpmu_vm_config config = { .size = sizeof(config), .mode = w.row.mode,
					       .switch_kind = w.row.kind };

	assert_int_equal(vpmu_x86_vm_init(&w.vm[g], &w.machine, &w.model, &config), 0);
	vpmu_vcpu_init(&w.v[g], &w.vm[g]);
	assert_int_equal(vpmu_vcpu_lvtpc(&w.v[g], 0x40), 0);
}

/* In a partition it counts guests too; else it counts the host, which runs after the exit. */
static void init_event(void)
{
	const struct vpmu_host_event_config config = {
		.size = sizeof(config), .scope = VPMU_SCOPE_CPU, .event = INSTRUCTIONS,
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
	assert_int_equal(vpmu_x86_model_of(&w.machine, &w.model), 0);
	w.model.gp = row->mode == VPMU_MODE_PARTITIONED ? 4 : w.model.gp;
	w.model.debug_bits = 0;
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

static void write_msr(unsigned int g, uint32_t index, uint64_t value)
{
	same("WRMSR", (uint64_t)vpmu_x86_wrmsr(&w.v[g], index, value), VPMU_HANDLED);
}

static void program(unsigned int g, uint64_t left)
{
	bool amd = w.model.vendor == VPMU_X86_AMD;
	uint64_t width = BIT(w.model.gp_width) - 1;

	write_msr(g, amd ? X86_MSR_PERF_CTR(0) : X86_MSR_PMC(0), (0 - left) & width);
	write_msr(g, amd ? X86_MSR_PERF_CTL(0) : X86_MSR_PERFEVTSEL(0), SEL);
	write_msr(g, amd ? X86_MSR_AMD_GLOBAL_CTL : X86_MSR_GLOBAL_CTRL, 1);
}

static void clear_status(unsigned int g)
{
	bool amd = w.model.vendor == VPMU_X86_AMD;

	write_msr(g, amd ? X86_MSR_AMD_STATUS_CLR : X86_MSR_STATUS_RESET, 1);
}

/* One instruction at a time: what is late is late by instructions. */
static void execute(struct x86_cpu *hw, uint64_t n)
{
	const struct x86_pmu_events one = { .instructions = 1, .cycles = 1, .reference_cycles = 1 };

	while (n--)
		x86_pmu_retire(&hw->pmu, false, &one);
}

static void guest_runs(unsigned int g, unsigned int k, uint64_t n)
{
	same("enter", (uint64_t)vpmu_vcpu_enter(&w.v[g], 0), 0);
	x86_cpu_enter(&w.hw[k]);
	execute(&w.hw[k], n);
	x86_cpu_exit(&w.hw[k]);
	same("exit", (uint64_t)vpmu_vcpu_exit(&w.v[g], 0), 0);
}

/* ---- Interrupts ---- */

static void take_interrupts(unsigned int k)
{
	while (x86_pmu_take_interrupt(&w.hw[k].pmu) != X86_PMU_NO_INTERRUPT) {
		enum vpmu_pmi pmi = vpmu_cpu_pmi(&w.cpu[k]);

		if (pmi == VPMU_PMI_GUEST || pmi == VPMU_PMI_BOTH)
			w.told |= GUEST;
		if (pmi == VPMU_PMI_HOST || pmi == VPMU_PMI_BOTH)
			w.told |= HOST;
	}
	while (vpmu_cpu_sample(&w.cpu[k]))
		w.samples++;
}

static void ask(unsigned int g)
{
	w.pmis[g] += vpmu_vcpu_pmi(&w.v[g]) == 1;
}

/* ---- The rows ---- */

/* Host instructions, also those that late interrupts need to come. */
static void host_runs(uint64_t n)
{
	for (unsigned int k = 0; k < CPUS; k++)
		execute(&w.hw[k], n);
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

/* Where the guest that overflowed is when the interrupt comes. */
static void check_answer(void)
{
	bool away = w.row.arrival != AT_THE_EXIT;

	if (w.row.skid || w.row.kind == VPMU_SWITCH_EAGER)
		return;
	if (!away)
		same("the vector's answer", w.told, w.row.overflow);
	else if (!(w.row.overflow & GUEST))
		same("the vector's answer, to a guest", w.told & GUEST, 0);
}

static void comes_back(void)
{
	unsigned int home = w.row.arrival == AFTER_MIGRATION ? 1 : 0;

	if (w.v[1].loaded) {
		take_interrupts(0);
		ask(1);
		put(1);
	}
	if (!w.v[0].loaded)
		load(0, home);
	take_interrupts(0);
	take_interrupts(home);
	ask(0);
	ask(0);
	/* Answered; and nothing comes again. */
	clear_status(0);
	guest_runs(0, home, 5);
	host_runs(5);
	take_interrupts(0);
	take_interrupts(home);
	ask(0);
}

/* The entry that has masked itself is open again. */
static void host_goes_on(void)
{
	if (!(w.row.overflow & HOST))
		return;
	if (w.row.mode == VPMU_MODE_MEDIATED)
		host_runs(PERIOD);
	else if (w.row.arrival != AFTER_MIGRATION)
		guest_runs(0, 0, PERIOD);
	else
		return;
	host_runs(w.row.skid + 1);
	take_interrupts(0);
	same("samples of the host, after another period", w.samples, 2);
}

static void attribute(const struct row *row)
{
	power_on(row);
	load(1, 0);
	program(1, 10000);
	put(1);
	load(0, 0);
	/* With skid, at the last instruction before the exit. */
	program(0, row->overflow & GUEST ? (row->skid ? BURST : 50) : 10000);
	guest_runs(0, 0, BURST);
	/* The host executes; its own event overflows now, if it excludes guests. */
	if (row->mode == VPMU_MODE_MEDIATED && row->host_there)
		host_runs(BURST);
	if (!row->skid)
		same("latched", x86_pmu_interrupt(&w.hw[0].pmu) != X86_PMU_NO_INTERRUPT, 1);
	arrive();
	host_runs(row->skid + 1);
	take_interrupts(0);
	check_answer();
	comes_back();
	same("PMIs of the guest", w.pmis[0], row->overflow & GUEST ? 1 : 0);
	same("PMIs of the other guest", w.pmis[1], 0);
	same("samples of the host", w.samples, row->overflow & HOST ? 1 : 0);
	host_goes_on();
	same("violations", w.hw[0].violations + w.hw[1].violations, 0);
}

static bool exists(const struct row *r)
{
	if (r->overflow & HOST && !r->host_there)
		return false;
	/* A guest of the eager switch leaves no counter for the host. */
	return !(r->kind == VPMU_SWITCH_EAGER && r->host_there && r->mode == VPMU_MODE_MEDIATED);
}

static const char *const sides[] = { "nobody", "the guest", "the host", "both" };

static void every_row(enum x86_cpu_class class)
{
	static const enum vpmu_mode modes[] = { VPMU_MODE_MEDIATED, VPMU_MODE_PARTITIONED };
	unsigned int rows = 0;

	for (unsigned int bits = 0; bits < 2 * 2 * 4 * 2 * 2 * ARRIVALS; bits++) {
		unsigned int n = bits;
		struct row r = { .class = class };

		r.arrival = (enum arrival)(n % ARRIVALS);
		n /= ARRIVALS;
		r.mode = modes[n & 1];
		r.kind = n >> 1 & 1 ? VPMU_SWITCH_EAGER : VPMU_SWITCH_LAZY;
		r.overflow = n >> 2 & 3;
		r.host_there = n >> 4 & 1;
		r.skid = n >> 5 & 1 ? 3 : 0;
		if (!r.overflow || !exists(&r))
			continue;
		(void)snprintf(name, sizeof(name), "%s, %s overflows%s, skid %u, %s",
			       r.mode ? "partitioned" : "mediated", sides[r.overflow],
			       r.kind ? ", eager" : "", r.skid, arrival_names[r.arrival]);
		attribute(&r);
		rows++;
	}
	print_message("# %u rows\n", rows);
	assert_int_equal(rows, ROWS);
}

static void intel(void **state)
{
	(void)state;
	every_row(X86_CPU_SKYLAKE);
}

static void amd(void **state)
{
	(void)state;
	every_row(X86_CPU_ZEN4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intel),
		cmocka_unit_test(amd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
