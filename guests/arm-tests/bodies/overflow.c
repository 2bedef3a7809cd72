/* SPDX-License-Identifier: MIT */
/* Overflow status, the level of the interrupt line, interrupts, sampling. */
#include "common.h"

#define NO_INSTRUCTIONS "INST_RETIRED is not advertised"
#define ALL_ONES (~UINT64_C(0))

void overflow_software(struct pmu_result *r)
{
	pmu_write(PMOVSSET_EL0, CYCLE_BIT | 1);
	CHECK_EQ(r, "set", pmu_read(PMOVSCLR_EL0), CYCLE_BIT | 1);
	pmu_write(PMOVSCLR_EL0, 1);
	CHECK_EQ(r, "one cleared", pmu_read(PMOVSSET_EL0), CYCLE_BIT);
	pmu_write(PMOVSCLR_EL0, CYCLE_BIT);
	CHECK_EQ(r, "both cleared", pmu_read(PMOVSSET_EL0), 0);
}

/* Status stays through stop, counter writes, PMCR.P and PMCR.C, until it is cleared. */
void overflow_sticky(struct pmu_result *r)
{
	start_counter(0, EVENT_SW_INCR | here(), LOW32);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_write(PMSWINC_EL0, 1);
	CHECK_EQ(r, "at the wrap", pmu_read(PMOVSSET_EL0), 1);
	pmu_write(PMCNTENCLR_EL0, 1);
	pmu_write(PMEVCNTR0_EL0, 7);
	pmu_write(PMCR_EL0, PMCR_P | PMCR_C | PMCR_LC);
	CHECK_EQ(r, "after stop, write and resets", pmu_read(PMOVSSET_EL0), 1);
	pmu_write(PMOVSCLR_EL0, 1);
	CHECK_EQ(r, "after the clear", pmu_read(PMOVSSET_EL0), 0);
}

void overflow_instructions(struct pmu_result *r)
{
	uint64_t value;

	REQUIRE(r, has_event(EVENT_INST_RETIRED), NO_INSTRUCTIONS);
	start_counter(0, EVENT_INST_RETIRED | here(), LOW32 - 4999);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 1000);
	CHECK_EQ(r, "PMOVS too early", pmu_read(PMOVSSET_EL0), 0);
	pmu_run(pmu_el(), 5000);
	stop_all();
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), 1);
	value = pmu_read(PMEVCNTR0_EL0);
	CHECK(r, "went on after the wrap", (value & LOW32) >= 1000 && (value & LOW32) < 5000);
	CHECK_EQ(r, "carry", value >> 32, pmu_version() < PMUVER_P5 ? 0 : 1);
}

void overflow_long(struct pmu_result *r)
{
	REQUIRE(r, pmu_version() >= PMUVER_P5, "no long counters before PMUv3p5");
	pmu_write(PMCR_EL0, PMCR_LC | PMCR_LP);
	start_counter(0, EVENT_CPU_CYCLES | here(), LOW32 - 100);
	start_counter(1, EVENT_CPU_CYCLES | here(), ALL_ONES - 100);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC | PMCR_LP);
	pmu_run(pmu_el(), 5000);
	stop_all();
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), 2);
	CHECK_EQ(r, "counter 0, upper half", pmu_read(PMEVCNTR0_EL0) >> 32, 1);
	CHECK_EQ(r, "counter 1, upper half", pmu_read(PMEVCNTR1_EL0) >> 32, 0);
}

static uint64_t cycle_status(uint64_t lc, uint64_t preset)
{
	pmu_write(PMCR_EL0, lc);
	pmu_write(PMOVSCLR_EL0, ALL_ONES);
	start_counter(CYCLE, here(), preset);
	pmu_write(PMCR_EL0, PMCR_E | lc);
	pmu_run(pmu_el(), 5000);
	stop_all();
	return pmu_read(PMOVSSET_EL0);
}

void overflow_cycles(struct pmu_result *r)
{
	CHECK_EQ(r, "LC=1, 2^32", cycle_status(PMCR_LC, LOW32 - 100), 0);
	CHECK_EQ(r, "upper half", pmu_read(PMCCNTR_EL0) >> 32, 1);
	CHECK_EQ(r, "LC=1, 2^64", cycle_status(PMCR_LC, ALL_ONES - 100), CYCLE_BIT);
	CHECK_EQ(r, "upper half", pmu_read(PMCCNTR_EL0) >> 32, 0);
}

/* LC = 0 moves the overflow to bit 31; the counter itself goes on past it. */
void overflow_cycles_short(struct pmu_result *r)
{
	pmu_write(PMCR_EL0, 0);
	REQUIRE(r, !(pmu_read(PMCR_EL0) & PMCR_LC), "LC is RES1");
	CHECK_EQ(r, "LC=0, 2^32", cycle_status(0, LOW32 - 100), CYCLE_BIT);
	CHECK_EQ(r, "upper half", pmu_read(PMCCNTR_EL0) >> 32, 1);
}

/* M71: PMCR.E & PMOVS & PMINTEN, without PMCNTEN, for every counter. PMCR is written first. */
static void check_line_row(struct pmu_result *r, unsigned n, unsigned row)
{
	bool e = row & 1, status = row & 2, enable = row & 4;

	r->at = n * 16 + row;
	pmu_write(PMCR_EL0, (e ? PMCR_E : 0) | PMCR_LC);
	pmu_write(PMCNTENCLR_EL0, ALL_ONES);
	/* SW_INCR: the counter may be enabled without counting anything. */
	pmu_write(PMCNTENSET_EL0, row & 8 ? BIT(n) : 0);
	pmu_write(PMOVSCLR_EL0, ALL_ONES);
	pmu_write(PMOVSSET_EL0, status ? BIT(n) : 0);
	pmu_write(PMINTENCLR_EL1, ALL_ONES);
	pmu_write(PMINTENSET_EL1, enable ? BIT(n) : 0);
	CHECK_EQ(r, "line, row = 16 n + CNTEN INTEN OVS E", pmu_line(), e && status && enable);
}

void line_truth_table(struct pmu_result *r)
{
	unsigned n, row;
	uint64_t mask = counter_mask();

	pmu_write(PMCCNTR_EL0, 0);
	for (n = 0; n < 32; n++) {
		for (row = 0; (mask & BIT(n)) && row < 16; row++)
			CHECKED(r, check_line_row(r, n, row));
	}
}

/* The last write is PMCR: QEMU keeps the old level until PMOVS or PMINTEN is written. */
void line_follows_pmcr(struct pmu_result *r)
{
	pmu_write(PMINTENSET_EL1, 1);
	pmu_write(PMOVSSET_EL0, 1);
	CHECK_EQ(r, "E=0 at first", pmu_line(), 0);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	CHECK_EQ_OR(r, PMU_ALLOW_line, "E=1", pmu_line(), 1);
	pmu_write(PMINTENSET_EL1, 1);
	CHECK_EQ(r, "E=1, after PMINTENSET", pmu_line(), 1);
	pmu_write(PMCR_EL0, PMCR_LC);
	CHECK_EQ_OR(r, PMU_ALLOW_line, "E=0", pmu_line(), 0);
	pmu_write(PMINTENSET_EL1, 1);
	CHECK_EQ(r, "E=0, after PMINTENSET", pmu_line(), 0);
}

void line_follows_writes(struct pmu_result *r)
{
	static const struct {
		enum pmu_reg reg;
		uint64_t value;
		bool line;
	} steps[] = {
		{ PMINTENSET_EL1, 1, false },
		{ PMOVSSET_EL0, 1, true },
		{ PMCNTENCLR_EL0, 1, true },
		{ PMCNTENSET_EL0, 1, true },
		{ PMINTENCLR_EL1, 1, false },
		{ PMINTENSET_EL1, 1, true },
		{ PMOVSCLR_EL0, 2, true },
		{ PMOVSCLR_EL0, 1, false },
		{ PMOVSSET_EL0, 2, false },
		{ PMINTENSET_EL1, 2, true },
		{ PMOVSSET_EL0, CYCLE_BIT, true },
		{ PMOVSCLR_EL0, 2, false },
		{ PMINTENSET_EL1, CYCLE_BIT, true },
		{ PMINTENCLR_EL1, CYCLE_BIT, false },
	};
	size_t i;

	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		r->at = i;
		pmu_write(steps[i].reg, steps[i].value);
		CHECK_EQ(r, "line after the step", pmu_line(), steps[i].line);
	}
}

/* What an interrupt handler saw: the union of PMOVS. It clears all of it. */
static void note_status(void *context)
{
	uint64_t *seen = context;
	uint64_t status = pmu_read(PMOVSCLR_EL0);

	pmu_write(PMOVSCLR_EL0, status);
	*seen |= status;
}

void irq_disabled_counter(struct pmu_result *r)
{
	uint64_t seen = 0;

	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	start_counter(0, EVENT_SW_INCR | here(), LOW32);
	pmu_write(PMSWINC_EL0, 1);
	pmu_write(PMCNTENCLR_EL0, 1);
	pmu_write(PMINTENSET_EL1, 1);
	pmu_irq_on(note_status, &seen);
	pmu_run(pmu_el(), 1000);
	pmu_irq_off();
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 1);
	CHECK_EQ(r, "PMOVS in the handler", seen, 1);
}

/* Overflow first, PMINTENSET later: the level rises with the write. */
void irq_late_enable(struct pmu_result *r)
{
	uint64_t seen = 0;

	pmu_irq_on(note_status, &seen);
	start_counter(CYCLE, here(), ALL_ONES - 100);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 5000);
	CHECK_EQ(r, "interrupts before PMINTENSET", pmu_irq_count(), 0);
	pmu_write(PMINTENSET_EL1, CYCLE_BIT);
	pmu_run(pmu_el(), 1000);
	pmu_irq_off();
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 1);
	CHECK_EQ(r, "PMOVS in the handler", seen, CYCLE_BIT);
}

void irq_not_enabled(struct pmu_result *r)
{
	uint64_t seen = 0;

	pmu_irq_on(note_status, &seen);
	start_counter(CYCLE, here(), ALL_ONES - 100);
	start_counter(0, EVENT_CPU_CYCLES | here(), LOW32 - 100);
	pmu_write(PMINTENSET_EL1, counter_mask() & ~(CYCLE_BIT | 1));
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 5000);
	pmu_irq_off();
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 0);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), CYCLE_BIT | 1);
}

void irq_cycle_once(struct pmu_result *r)
{
	uint64_t seen = 0;

	start_counter(CYCLE, here(), ALL_ONES - 998);
	pmu_write(PMINTENSET_EL1, CYCLE_BIT);
	pmu_irq_on(note_status, &seen);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 20000);
	pmu_irq_off();
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 1);
	CHECK_EQ(r, "PMOVS in the handler", seen, CYCLE_BIT);
}

/*
 * An even distance: QEMU under -icount shift=1 loses the interrupt of an event counter that
 * takes exactly the value 2^32 - 1 when its timer fires, and cycles go by in twos there.
 */
void irq_event_once(struct pmu_result *r)
{
	uint64_t seen = 0;

	start_counter(0, EVENT_CPU_CYCLES | here(), LOW32 + 1 - 4000);
	pmu_write(PMINTENSET_EL1, 1);
	pmu_irq_on(note_status, &seen);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 20000);
	CHECK_EQ_OR(r, PMU_ALLOW_event_irq, "interrupts without a register access",
		    pmu_irq_count(), 1);
	pmu_read(PMEVCNTR0_EL0);
	pmu_run(pmu_el(), 100);
	pmu_irq_off();
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 1);
	CHECK_EQ(r, "PMOVS in the handler", seen, 1);
}

/* Each counter overflows once, one after the other; no status bit is lost. */
void irq_all_counters(struct pmu_result *r)
{
	unsigned n, count = counter_count();
	uint64_t seen = 0;

	for (n = 0; n < count; n++)
		start_counter(n, EVENT_CPU_CYCLES | here(), LOW32 + 1 - (2001 + 2000 * n));
	start_counter(CYCLE, here(), ALL_ONES - 1000);
	pmu_write(PMINTENSET_EL1, counter_mask());
	pmu_irq_on(note_status, &seen);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(pmu_el(), 100000);
	pmu_irq_off();
	note_status(&seen);
	CHECK_EQ(r, "PMOVS in the handler", seen, counter_mask());
	CHECK(r, "at most one interrupt per overflow", pmu_irq_count() <= count + 1);
	CHECK(r, "an interrupt at all", pmu_irq_count() >= 1);
}

static void switch_off(void *context)
{
	(void)context;
	pmu_irq_off();
}

/* Nobody clears the status: one interrupt, then the consumer's mask holds, and life goes on. */
void irq_no_consumer(struct pmu_result *r)
{
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_write(PMINTENSET_EL1, 1);
	pmu_irq_on(switch_off, NULL);
	pmu_write(PMOVSSET_EL0, 1);
	pmu_run(pmu_el(), 10000);
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 1);
	CHECK_EQ(r, "PMOVS", pmu_read(PMOVSSET_EL0), 1);
	CHECK_EQ(r, "line is still high", pmu_line(), 1);
	pmu_write(PMOVSCLR_EL0, 1);
	CHECK_EQ(r, "line after the clear", pmu_line(), 0);
}

/* The overflow happens while EL0 runs, by a counter that counts EL0 alone. */
void irq_at_el0(struct pmu_result *r)
{
	uint64_t seen = 0;

	start_counter(CYCLE, FILTER_P, ALL_ONES - 998);
	pmu_write(PMINTENSET_EL1, CYCLE_BIT);
	pmu_irq_on(note_status, &seen);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	pmu_run(1, 5000);
	CHECK_EQ(r, "interrupts while only EL1 ran", pmu_irq_count(), 0);
	pmu_run(0, 5000);
	pmu_irq_off();
	CHECK_EQ(r, "interrupts", pmu_irq_count(), 1);
	CHECK_EQ(r, "PMOVS in the handler", seen, CYCLE_BIT);
}

struct sampler {
	unsigned n;		/* the counter that samples */
	uint64_t period;
	uint64_t samples, spurious;
};

static uint64_t preset_before(unsigned n, uint64_t value)
{
	return n == CYCLE ? value : value & LOW32;
}

/* All counters stand still inside, so that no cycle is lost between the read and the write. */
static void take_sample(void *context)
{
	struct sampler *s = context;

	stop_all();
	if (pmu_read(PMOVSCLR_EL0) & BIT(s->n))
		s->samples++;
	else
		s->spurious++;
	pmu_write(PMOVSCLR_EL0, BIT(s->n));
	pmu_write(value_reg(s->n),
		  preset_before(s->n, pmu_read(value_reg(s->n)) - s->period));
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
}

/*
 * One counter samples, another one counts the same event freely. A sample is due each time that
 * the free one has advanced by a period: none may be missing, none too many.
 */
static void check_sampling(struct pmu_result *r, unsigned n, unsigned free, uint64_t period)
{
	struct sampler s = { n, period, 0, 0 };
	uint64_t total, due;

	start_counter(free, EVENT_CPU_CYCLES | here(), 0);
	start_counter(n, EVENT_CPU_CYCLES | here(), preset_before(n, UINT64_C(0) - period));
	pmu_write(PMINTENSET_EL1, BIT(n));
	pmu_irq_on(take_sample, &s);
	pmu_write(PMCR_EL0, PMCR_E | PMCR_LC);
	for (total = 0; total < 1000 * period; total = pmu_read(value_reg(free)))
		pmu_run(pmu_el(), 100000);
	stop_all();
	pmu_irq_off();
	total = pmu_read(value_reg(free));
	due = total / period;
	CHECK(r, "a thousand samples", s.samples >= 1000);
	CHECK_EQ(r, "spurious interrupts", s.spurious, 0);
	if (pmu_read(PMOVSSET_EL0) & BIT(n))
		s.samples++;
	CHECK_EQ(r, "samples", s.samples, due);
}

void sampling_cycles(struct pmu_result *r)
{
	check_sampling(r, CYCLE, 0, 10001);
}

void sampling_events(struct pmu_result *r)
{
	REQUIRE(r, !pmu_allows(PMU_ALLOW_event_irq), "overflows of event counters come late here");
	check_sampling(r, 0, CYCLE, 10000);	/* even: see irq_event_once */
}
