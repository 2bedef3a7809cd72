/* SPDX-License-Identifier: MIT */
/*
 * The architecture's answer and QEMU's, where it differs. QEMU 7.2.22 and 10.0.2 gave the same
 * values in every row below (measured, max, neoverse-n1 and cortex-a57, -icount shift 0 and 1);
 * what they do not share is FEAT_FGT, which QEMU 10's max has: that table is keyed by the feature.
 * Included by matrix.c alone.
 */

/* Instructions inside window() that a range counts: the loop, and what lies between the writes. */
#define WINDOW 10000u
#define RANGE1_COUNTS (WINDOW + 2)
#define RANGE2_COUNTS (WINDOW + 6)

/*
 * 11.1: HPMN = 2; counters 0 (range 1), 3 (range 2) and PMCCNTR count CPU_CYCLES with NSH at EL2.
 * In instructions, to be multiplied by cycles per instruction. QEMU obeys HPMD on PMUv3 too,
 * which has no such bit, so the rows hold for every -cpu.
 */
static const struct counting_row {
	bool hpme, e, hpmd;
	uint64_t range1, range2, cycles;
} counting_rows[] = {
	{ 0, 0, 0, 0, 0, 0 },
	{ 0, 0, 1, 0, 0, 0 },
	{ 0, 1, 0, RANGE1_COUNTS, 0, RANGE1_COUNTS },
	{ 0, 1, 1, 0, 0, RANGE1_COUNTS },
	{ 1, 0, 0, 0, RANGE2_COUNTS, 0 },
	{ 1, 0, 1, 0, RANGE2_COUNTS, 0 },
	{ 1, 1, 0, RANGE1_COUNTS, RANGE2_COUNTS, RANGE1_COUNTS },
	{ 1, 1, 1, 0, RANGE2_COUNTS, RANGE1_COUNTS },
};

/* RULES A4: what stops NSH counters at EL2. HCCD exists from PMUv3p5. */
static const struct stop_row {
	bool hpmd, hccd, dp;
	bool event_stops, cycles_stop_p5, cycles_stop;
} stop_rows[] = {
	{ 0, 0, 0, false, false, false },
	{ 1, 0, 0, true, false, false },
	{ 0, 1, 0, false, true, false },
	{ 1, 1, 0, true, true, false },
	{ 0, 0, 1, false, false, false },
	{ 1, 0, 1, true, true, true },
	{ 0, 1, 1, false, true, false },
	{ 1, 1, 1, true, true, true },
};

/* 11.2: one digit per access: 0 = executed, 1 = EL1 EC 0x18, 2 = EL2 EC 0x18. */
static const struct {
	enum pmu_reg reg;
	bool write;
} el0_accesses[] = {
	{ PMCCNTR_EL0, false }, { PMEVCNTR0_EL0, false }, { PMSELR_EL0, false },
	{ PMSWINC_EL0, true }, { PMCR_EL0, false }, { PMCCNTR_EL0, true },
	{ PMUSERENR_EL0, false },
};

static const struct el0_row {
	uint64_t userenr, tpm;
	uint64_t arm, qemu;
} el0_rows[] = {
	{ 0x0, 0, 0x1111110, 0x1111110 },
	{ 0x1, 0, 0x0000000, 0x0000000 },
	{ 0xe, 0, 0x0000110, 0x0000110 },
	{ 0xf, 0, 0x0000000, 0x0000000 },
	{ 0x0, 1, 0x1111112, 0x1111112 },
	{ 0x1, 1, 0x2222222, 0x2222222 },
	{ 0xe, 1, 0x2222112, 0x0000112 },
	{ 0xf, 1, 0x2222222, 0x0000222 },
};

/* 11.4: counter 0, PMINTEN = PMOVS = 1, PMCNTEN = 0; the level after each write. */
static const struct line_step {
	enum pmu_reg reg;
	uint64_t value;
	bool arm, qemu;
} line_steps[] = {
	{ PMCR_EL0, PMCR_E | PMCR_LC, false, false },
	{ PMINTENSET_EL1, 1, false, false },
	{ PMOVSSET_EL0, 1, true, true },
	{ PMCR_EL0, PMCR_LC, false, true },
	{ PMOVSSET_EL0, 1, false, false },
	{ PMCR_EL0, PMCR_E | PMCR_LC, true, false },
	{ PMOVSSET_EL0, 1, true, true },
	{ PMINTENCLR_EL1, 1, false, false },
};

/* 11.4: range-2 counter 3 with PMINTEN and PMOVS set. */
static const struct {
	bool hpme, e, arm, qemu;
} range2_lines[] = {
	{ 0, 0, false, false },
	{ 1, 0, true, false },
	{ 0, 1, false, true },
	{ 1, 1, true, true },
};

/*
 * 11.7: ESR_EL2 of a trapped read or write at EL1 with MDCR_EL2.TPM; x1 is always the register,
 * so PMCCFILTR differs from the page (x0) by 0x20.
 */
static const struct {
	enum pmu_reg reg;
	bool write;
	uint32_t esr;
} syndromes[] = {
	{ PMCR_EL0, false, 0x6230e439 }, { PMCR_EL0, true, 0x6230e438 },
	{ PMCNTENSET_EL0, false, 0x6232e439 }, { PMCNTENCLR_EL0, false, 0x6234e439 },
	{ PMOVSCLR_EL0, false, 0x6236e439 }, { PMSWINC_EL0, true, 0x6238e438 },
	{ PMSELR_EL0, false, 0x623ae439 }, { PMCEID0_EL0, false, 0x623ce439 },
	{ PMCEID1_EL0, false, 0x623ee439 }, { PMCCNTR_EL0, false, 0x6230e43b },
	{ PMXEVTYPER_EL0, false, 0x6232e43b }, { PMXEVCNTR_EL0, false, 0x6234e43b },
	{ PMUSERENR_EL0, false, 0x6230e43d }, { PMINTENSET_EL1, false, 0x6232243d },
	{ PMINTENCLR_EL1, false, 0x6234243d }, { PMOVSSET_EL0, false, 0x6236e43d },
	{ PMEVCNTR0_EL0, false, 0x6230f831 }, { PMEVTYPER0_EL0, false, 0x6230f839 },
	{ PMCCFILTR_EL0, false, 0x623ef83f },
};

/* 3.2: bit of HDFGRTR_EL2 and HDFGWTR_EL2 that traps each register, 0 = none. */
static const struct fine_trap {
	enum pmu_reg reg;
	unsigned read, write;
} fine_traps[] = {
	{ PMCR_EL0, 0, 21 },
	{ PMCNTENSET_EL0, 16, 16 }, { PMCNTENCLR_EL0, 16, 16 },
	{ PMOVSCLR_EL0, 18, 18 }, { PMOVSSET_EL0, 18, 18 },
	{ PMSWINC_EL0, 0, 20 }, { PMSELR_EL0, 19, 19 },
	{ PMCEID0_EL0, 58, 0 }, { PMCEID1_EL0, 58, 0 },
	{ PMCCNTR_EL0, 15, 15 }, { PMCCFILTR_EL0, 14, 14 },
	{ PMXEVTYPER_EL0, 13, 13 }, { PMXEVCNTR_EL0, 12, 12 },
	{ PMINTENSET_EL1, 17, 17 }, { PMINTENCLR_EL1, 17, 17 },
	{ PMMIR_EL1, 22, 0 },
	{ PMEVCNTR0_EL0, 12, 12 }, { PMEVTYPER0_EL0, 13, 13 },
};

/*
 * RULES A7: instructions that the hardware counts at EL1 for one iteration of a loop of four, of
 * which one enters EL2 and is skipped there. A trapped instruction does not complete (HVC does),
 * but QEMU counts it; where the register does not end a translation block, QEMU counts the whole
 * block at the trap and its remainder again afterwards.
 */
static const struct trapped_row {
	void (*loop)(uint64_t n, uint64_t fid);
	uint64_t hcr, mdcr;
	uint64_t arm, qemu;
} trapped_rows[] = {
	{ hvc_loop, 0, 0, 4, 4 },
	{ type_loop, 0, 0, 4, 4 },
	{ type_loop, 0, MDCR_TPM, 3, 4 },
	{ smc_loop, HCR_TSC, 0, 3, 4 },
	{ id_loop, 0, 0, 4, 4 },
	{ id_loop, 0, MDCR_TPM, 3, 6 },
};
