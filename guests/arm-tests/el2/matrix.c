/* SPDX-License-Identifier: MIT */
/* MDCR_EL2 and the PMU: see matrix.h. */
#include "matrix.h"

#include "bodies/common.h"
#include "image/cpu.h"
#include "image/run.h"
#include "nsh/loops.h"

#define MDCR_TPMCR BIT(5)
#define MDCR_TPM BIT(6)
#define MDCR_HPME BIT(7)
#define MDCR_HPMD BIT(17)
#define MDCR_HCCD BIT(23)

#define HCR_IMO BIT(4)
#define HCR_TSC BIT(19)
#define HCR_RW BIT(31)

void window(uint64_t mdcr_on, uint64_t pmcr_on, uint64_t mdcr_off, uint64_t pmcr_off, uint64_t n);

#include "expected.h"

#define MATRIX_ENTRY(name, source, flags) { #name, source, flags, name },
static const struct pmu_test tests[] = { MATRIX_TESTS(MATRIX_ENTRY) };
#undef MATRIX_ENTRY

static const size_t test_count = sizeof(tests) / sizeof(tests[0]);

const char image_name[] = "el2-matrix";
const unsigned image_level = 2;
const struct suite image_suites[] = { { tests, &test_count }, { NULL, NULL } };

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

#define HPMN 2u
#define RANGE1 0u	/* a counter below HPMN, and one above */
#define RANGE2 3u

#define NO_CPI "needs cpi= (cycles per instruction)"

/* The manual's answer passes; QEMU's known other answer passes too, and is named. */
static void expect(struct pmu_result *r, const char *what, uint64_t got, uint64_t arm,
		   uint64_t qemu)
{
	if (got == arm || !pmu_equal(r, what, got, qemu))
		return;
	r->deviation = "qemu";
	r->got = got;
	r->want = arm;
}

static void mdcr_write(uint64_t value)
{
	sysreg_write("mdcr_el2", value);
}

static void mdcr_reset(void)
{
	mdcr_write(counter_count());
}

/* Runs fn at EL1 on a stack of its own; the answer comes back here. */
static uint64_t at_el1(uint64_t (*fn)(uint64_t argument), uint64_t argument)
{
	static uint8_t stack[4096] __attribute__((aligned(16)));

	return call_el1(&cpu_self()->below[2], (void *)(uintptr_t)fn, argument,
			(uintptr_t)stack + sizeof(stack));
}

static const unsigned counted_by[] = { RANGE1, RANGE2, CYCLE };

static void start_all(void)
{
	size_t i;

	for (i = 0; i < ROWS(counted_by); i++)
		start_counter(counted_by[i], EVENT_CPU_CYCLES | FILTER_NSH, 0);
}

void matrix_counting(struct pmu_result *r)
{
	size_t i;

	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	for (i = 0; i < ROWS(counting_rows); i++) {
		const struct counting_row *row = &counting_rows[i];
		uint64_t mdcr = HPMN | (row->hpmd ? MDCR_HPMD : 0);

		r->at = i;
		start_all();
		window(mdcr | (row->hpme ? MDCR_HPME : 0), (row->e ? PMCR_E : 0) | PMCR_LC,
		       mdcr, PMCR_LC, WINDOW);
		mdcr_reset();
		CHECK_EQ(r, "range 1", pmu_read(PMEVCNTR0_EL0), row->range1 * pmu_cpi());
		CHECK_EQ(r, "range 2", pmu_read(PMEVCNTR3_EL0), row->range2 * pmu_cpi());
		CHECK_EQ(r, "PMCCNTR", pmu_read(PMCCNTR_EL0), row->cycles * pmu_cpi());
	}
}

void matrix_stop_at_el2(struct pmu_result *r)
{
	bool p5 = pmu_version() >= PMUVER_P5;
	size_t i;

	for (i = 0; i < ROWS(stop_rows); i++) {
		const struct stop_row *row = &stop_rows[i];
		bool stop = p5 ? row->cycles_stop_p5 : row->cycles_stop;
		uint64_t mdcr = counter_count() | (row->hpmd ? MDCR_HPMD : 0) |
				(row->hccd ? MDCR_HCCD : 0);

		r->at = i;
		start_all();
		window(mdcr, PMCR_E | PMCR_LC | (row->dp ? PMCR_DP : 0), mdcr, PMCR_LC, WINDOW);
		mdcr_reset();
		CHECK_EQ(r, "event counter stops", pmu_read(PMEVCNTR0_EL0) == 0,
			 row->event_stops);
		CHECK_EQ(r, "PMCCNTR stops", pmu_read(PMCCNTR_EL0) == 0, stop);
	}
}

/* EL1 tries each access at EL0; one hexadecimal digit each. */
static uint64_t el0_digits(uint64_t unused)
{
	static const uint8_t digit[] = {
		[PMU_OK] = 0, [PMU_UNDEF] = 0xe, [PMU_TRAP] = 1, [PMU_TRAP_EL2] = 2,
		[PMU_OTHER] = 0xf,
	};
	uint64_t value, digits = unused;
	enum pmu_end end;
	size_t i;

	for (i = 0; i < ROWS(el0_accesses); i++) {
		if (el0_accesses[i].write)
			end = pmu_try_write(0, el0_accesses[i].reg, 0);
		else
			end = pmu_try_read(0, el0_accesses[i].reg, &value);
		digits = digits << 4 | digit[end];
	}
	return digits;
}

static void check_el0_rows(struct pmu_result *r, uint64_t tpm)
{
	size_t i;

	for (i = 0; i < ROWS(el0_rows); i++) {
		const struct el0_row *row = &el0_rows[i];
		uint64_t digits;

		if (row->tpm != tpm)
			continue;
		r->at = row->userenr;
		pmu_write(PMUSERENR_EL0, row->userenr);
		mdcr_write(counter_count() | (tpm ? MDCR_TPM : 0));
		digits = at_el1(el0_digits, 0);
		mdcr_reset();
		CHECKED(r, expect(r, "EL0 accesses, 0 ok, 1 EL1, 2 EL2", digits, row->arm,
				  row->qemu));
	}
}

void matrix_el0_access(struct pmu_result *r)
{
	check_el0_rows(r, 0);
}

void matrix_el0_access_tpm(struct pmu_result *r)
{
	check_el0_rows(r, 1);
}

static uint64_t read_end(uint64_t reg)
{
	uint64_t value;

	return pmu_try_read(1, (enum pmu_reg)reg, &value);
}

static uint64_t read_value(uint64_t reg)
{
	return pmu_read((enum pmu_reg)reg);
}

static uint64_t write_ones(uint64_t reg)
{
	pmu_write((enum pmu_reg)reg, ~UINT64_C(0));
	return pmu_read((enum pmu_reg)reg);
}

static uint64_t write_pmcr(uint64_t value)
{
	pmu_write(PMCR_EL0, value);
	return 0;
}

void matrix_tpmcr(struct pmu_result *r)
{
	uint64_t end;

	mdcr_write(counter_count() | MDCR_TPMCR);
	end = at_el1(read_end, PMCR_EL0);
	mdcr_reset();
	expect(r, "PMCR read at EL1 with TPMCR", end, PMU_TRAP_EL2, PMU_OK);
}

/* N follows HPMN; the bitmaps do not on QEMU. */
void matrix_hpmn_bitmaps(struct pmu_result *r)
{
	static const enum pmu_reg bitmaps[] = { PMCNTENSET_EL0, PMOVSSET_EL0, PMINTENSET_EL1 };
	uint64_t all = counter_mask(), range1 = CYCLE_BIT | (BIT(HPMN) - 1), n, got[3];
	size_t i;

	mdcr_write(HPMN);
	n = at_el1(read_value, PMCR_EL0) >> 11 & 0x1f;
	for (i = 0; i < ROWS(bitmaps); i++)
		got[i] = at_el1(write_ones, bitmaps[i]);
	mdcr_reset();
	CHECK_EQ(r, "PMCR.N at EL1", n, HPMN);
	for (i = 0; i < ROWS(bitmaps); i++) {
		r->at = i;
		CHECKED(r, expect(r, "bitmap after EL1 wrote ones", got[i], range1, all));
	}
}

/* n >= HPMN: trap to EL2 with FEAT_FGT, CONSTRAINED without; QEMU gives the counter away. */
void matrix_hpmn_counters(struct pmu_result *r)
{
	uint64_t counter, type;

	mdcr_write(HPMN);
	counter = at_el1(read_end, PMEVCNTR5_EL0);
	type = at_el1(read_end, PMEVTYPER5_EL0);
	mdcr_reset();
	CHECKED(r, expect(r, "PMEVCNTR5 at EL1", counter, PMU_TRAP_EL2, PMU_OK));
	expect(r, "PMEVTYPER5 at EL1", type, PMU_TRAP_EL2, PMU_OK);
}

static void fill(uint64_t value)
{
	pmu_write(PMEVCNTR0_EL0, value);
	pmu_write(PMEVCNTR5_EL0, value);
}

/* PMCR.P at EL1 is for range 1, at EL2 for both. */
void matrix_hpmn_reset(struct pmu_result *r)
{
	REQUIRE(r, counter_count() >= 6, "fewer than six counters");
	mdcr_write(HPMN);
	fill(7);
	at_el1(write_pmcr, PMCR_P | PMCR_LC);
	mdcr_reset();
	CHECK_EQ(r, "counter 0 after P at EL1", pmu_read(PMEVCNTR0_EL0), 0);
	CHECKED(r, expect(r, "counter 5 after P at EL1", pmu_read(PMEVCNTR5_EL0), 7, 0));
	mdcr_write(HPMN);
	fill(7);
	write_pmcr(PMCR_P | PMCR_LC);
	mdcr_reset();
	CHECK_EQ(r, "counter 0 after P at EL2", pmu_read(PMEVCNTR0_EL0), 0);
	CHECK_EQ(r, "counter 5 after P at EL2", pmu_read(PMEVCNTR5_EL0), 0);
}

void matrix_line(struct pmu_result *r)
{
	size_t i;

	for (i = 0; i < ROWS(line_steps); i++) {
		r->at = i;
		pmu_write(line_steps[i].reg, line_steps[i].value);
		CHECKED(r, expect(r, "line after the step", gic_pending(INTID_PMU),
				  line_steps[i].arm, line_steps[i].qemu));
	}
}

void matrix_line_ranges(struct pmu_result *r)
{
	size_t i;
	bool line;

	for (i = 0; i < ROWS(range2_lines); i++) {
		r->at = i;
		mdcr_write(HPMN | (range2_lines[i].hpme ? MDCR_HPME : 0));
		pmu_write(PMCR_EL0, (range2_lines[i].e ? PMCR_E : 0) | PMCR_LC);
		pmu_write(PMINTENSET_EL1, BIT(RANGE2));
		pmu_write(PMOVSSET_EL0, BIT(RANGE2));
		line = gic_pending(INTID_PMU);
		pmu_write(PMOVSCLR_EL0, BIT(RANGE2));
		mdcr_reset();
		CHECKED(r, expect(r, "line of range 2", line, range2_lines[i].arm,
				  range2_lines[i].qemu));
	}
}

/* The first overflow interrupt: what the counter read then. It stops all counters. */
struct first {
	enum pmu_reg reg;
	uint64_t value;
};

static void note_first(void *context)
{
	struct first *first = context;

	first->value = pmu_read(first->reg);
	pmu_write(PMCR_EL0, PMCR_LC);
	pmu_write(PMOVSCLR_EL0, ~UINT64_C(0));
}

#define LATENCY_RUN 600000u
#define LATENCY_MAX 200u	/* instructions from the overflow to the read in the handler */

/* Interrupts of counter n, and the value in the handler, after a preset. */
static unsigned overflow_once(unsigned n, uint64_t type, uint64_t preset, uint64_t lc,
			      uint64_t *value)
{
	struct first first = { value_reg(n), 0 };

	pmu_write(PMCR_EL0, lc);
	start_counter(n, type | FILTER_NSH, preset);
	pmu_write(PMINTENSET_EL1, BIT(n));
	pmu_irq_on(note_first, &first);
	pmu_write(PMCR_EL0, PMCR_E | lc);
	spin(LATENCY_RUN);
	pmu_irq_off();
	*value = first.value;
	return pmu_irq_count();
}

/* PMCCNTR is precise: the same latency whatever the preset. */
void matrix_latency_cycles(struct pmu_result *r)
{
	uint64_t near, far, narrow;

	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	CHECK_EQ(r, "preset -1000", overflow_once(CYCLE, 0, UINT64_C(0) - 1000, PMCR_LC, &near), 1);
	CHECK_EQ(r, "preset -100000",
		 overflow_once(CYCLE, 0, UINT64_C(0) - 100000, PMCR_LC, &far), 1);
	CHECK_EQ(r, "LC=0, preset 2^32-1000",
		 overflow_once(CYCLE, 0, BIT(32) - 1000, 0, &narrow), 1);
	CHECK(r, "latency", near != 0 && near < LATENCY_MAX * pmu_cpi());
	CHECK_EQ(r, "latency after -100000", far, near);
	CHECK_EQ(r, "value with LC=0", narrow, BIT(32) + near);
}

/* QEMU loses the interrupt of an event counter that takes exactly the value 2^32 - 1. */
static void check_event(struct pmu_result *r, uint64_t event, uint64_t distance, uint64_t step)
{
	bool lost = (distance - 1) % step == 0;
	uint64_t value;
	unsigned count = overflow_once(0, event, BIT(32) - distance, PMCR_LC, &value);

	r->at = distance;
	CHECKED(r, expect(r, event == EVENT_CPU_CYCLES ? "CPU_CYCLES" : "INST_RETIRED", count, 1,
			  lost ? 0 : 1));
	pmu_read(PMEVCNTR0_EL0);	/* QEMU notices now */
	CHECK_EQ(r, "PMOVS of a lost one", pmu_read(PMOVSSET_EL0), count == 0);
	pmu_quiet();
}

void matrix_latency_events(struct pmu_result *r)
{
	REQUIRE(r, pmu_cpi() != 0, NO_CPI);
	CHECKED(r, check_event(r, EVENT_CPU_CYCLES, 1000, pmu_cpi()));
	CHECKED(r, check_event(r, EVENT_CPU_CYCLES, 1001, pmu_cpi()));
	CHECKED(r, check_event(r, EVENT_CPU_CYCLES, 100001, pmu_cpi()));
	if (!has_event(EVENT_INST_RETIRED))
		return;
	CHECKED(r, check_event(r, EVENT_INST_RETIRED, 1000, 1));
	check_event(r, EVENT_INST_RETIRED, 100001, 1);
}

/* The work-around: a second counter one event behind wakes QEMU up right after the overflow. */
void matrix_latency_shadow(struct pmu_result *r)
{
	uint64_t value;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), "INST_RETIRED is not advertised");
	start_counter(5, EVENT_INST_RETIRED | FILTER_NSH, BIT(32) - 1001);
	CHECK_EQ(r, "interrupts", overflow_once(0, EVENT_INST_RETIRED, BIT(32) - 1000, PMCR_LC,
						&value), 1);
	CHECK(r, "latency", (value & LOW32) < LATENCY_MAX);
}

void matrix_chain(struct pmu_result *r)
{
	start_counter(0, EVENT_CPU_CYCLES | FILTER_NSH, LOW32 - 100);
	start_counter(1, EVENT_CHAIN | FILTER_NSH, 0);
	window(counter_count(), PMCR_E | PMCR_LC, counter_count(), PMCR_LC, 1000);
	CHECK(r, "even counter wrapped", (pmu_read(PMEVCNTR0_EL0) & LOW32) < 10000);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), 1);
	CHECK_EQ(r, "odd counter", pmu_read(PMEVCNTR1_EL0), has_event(EVENT_CHAIN) ? 1 : 0);
}

static uint64_t read_syndrome(uint64_t reg)
{
	read_end(reg);
	return cpu_self()->trap.el == 2 ? cpu_self()->trap.esr : 0;
}

static uint64_t write_syndrome(uint64_t reg)
{
	pmu_try_write(1, (enum pmu_reg)reg, 0);
	return cpu_self()->trap.el == 2 ? cpu_self()->trap.esr : 0;
}

void matrix_syndromes(struct pmu_result *r)
{
	uint64_t esr;
	size_t i;

	for (i = 0; i < ROWS(syndromes); i++) {
		r->at = syndromes[i].reg;
		mdcr_write(counter_count() | MDCR_TPM);
		esr = at_el1(syndromes[i].write ? write_syndrome : read_syndrome,
			     syndromes[i].reg);
		mdcr_reset();
		CHECK_EQ(r, "ESR_EL2", esr, syndromes[i].esr);
	}
}

static void fine_trap_write(uint64_t read, uint64_t write)
{
	sysreg_write("s3_4_c3_c1_4", read);	/* HDFGRTR_EL2 */
	sysreg_write("s3_4_c3_c1_5", write);	/* HDFGWTR_EL2 */
}

/* Does exactly this bit, of all PMU bits, trap the access? */
static void check_fine_trap(struct pmu_result *r, const struct fine_trap *row, bool write)
{
	unsigned bit, owner = write ? row->write : row->read;

	for (bit = 12; bit <= 58; bit += bit == 22 ? 36 : 1) {
		uint64_t esr;

		r->at = row->reg * 100 + bit;
		fine_trap_write(write ? 0 : BIT(bit), write ? BIT(bit) : 0);
		esr = at_el1(write ? write_syndrome : read_syndrome, row->reg);
		fine_trap_write(0, 0);
		CHECK_EQ(r, write ? "write traps" : "read traps", esr >> 26 == 0x18, bit == owner);
	}
}

void matrix_fine_traps(struct pmu_result *r)
{
	size_t i;

	REQUIRE(r, (sysreg_read("id_aa64mmfr0_el1") >> 56) & 0xf, "no FEAT_FGT");
	for (i = 0; i < ROWS(fine_traps); i++) {
		CHECKED(r, check_fine_trap(r, &fine_traps[i], false));
		CHECKED(r, check_fine_trap(r, &fine_traps[i], true));
	}
}

struct loop_call {
	void (*loop)(uint64_t n, uint64_t fid);
	uint64_t n;
};

static uint64_t run_loop(uint64_t argument)
{
	const struct loop_call *call = (const struct loop_call *)(uintptr_t)argument;

	trap_expect();
	call->loop(call->n, PSCI_VERSION);
	trap_end();
	return 0;
}

/* What counter 0 counts at EL1 for n iterations; EL2 is not counted. */
static uint64_t loop_counts(const struct trapped_row *row, uint64_t n)
{
	struct loop_call call = { row->loop, n };
	uint64_t before = pmu_read(PMEVCNTR0_EL0);

	sysreg_write("hcr_el2", HCR_RW | HCR_IMO | row->hcr);
	mdcr_write(counter_count() | row->mdcr);
	at_el1(run_loop, (uintptr_t)&call);
	mdcr_reset();
	sysreg_write("hcr_el2", HCR_RW | HCR_IMO);
	return pmu_read(PMEVCNTR0_EL0) - before;
}

void matrix_trapped_instructions(struct pmu_result *r)
{
	uint64_t once;
	size_t i;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), "INST_RETIRED is not advertised");
	start_counter(0, EVENT_INST_RETIRED, 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	for (i = 0; i < ROWS(trapped_rows); i++) {
		r->at = i;
		once = loop_counts(&trapped_rows[i], 1000);
		CHECKED(r, expect(r, "instructions of 1000 iterations",
				  loop_counts(&trapped_rows[i], 2000) - once,
				  1000 * trapped_rows[i].arm, 1000 * trapped_rows[i].qemu));
	}
}
