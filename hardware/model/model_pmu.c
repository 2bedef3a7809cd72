/* SPDX-License-Identifier: MIT */
#include "model_pmu.h"

#define CYCLE VPMU_ARM_CYCLE
#define LOW32 0xFFFFFFFFu
#define BIT(n) ((uint64_t)1 << (n))
#define HPMN_MASK 0x1Fu

/* How EL0 gets at a register, beside bits of PMUSERENR_EL0. */
#define EL0_NEVER 0u       /* UNDEF */
#define EL0_ALWAYS 0x100u
#define EN (1u << 0)
#define SW (1u << 1)
#define CR (1u << 2)
#define ER (1u << 3)

enum reg_id {
	PMCR,
	PMCNTENSET,
	PMCNTENCLR,
	PMOVSCLR,
	PMOVSSET,
	PMSWINC,
	PMSELR,
	PMCEID0,
	PMCEID1,
	PMCCNTR,
	PMXEVTYPER,
	PMXEVCNTR,
	PMUSERENR,
	PMINTENSET,
	PMINTENCLR,
	PMMIR,
	PMCCFILTR,
	PMEVCNTR,
	PMEVTYPER,
};

struct reg_row {
	uint32_t encoding;
	enum reg_id id;
	bool readable, writable;
	uint16_t el0_read, el0_write;
	uint8_t trap_read, trap_write; /* bit in HDFGRTR_EL2, HDFGWTR_EL2; 0: none */
};

#define RW true, true
#define RO true, false
#define WO false, true
#define FGT(name) MODEL_FGT_##name, MODEL_FGT_##name

/* D24.5, "Accessing the register" of each. PMEVCNTR and PMEVTYPER rows stand for member 0. */
static const struct reg_row rows[] = {
	{ MODEL_PMCR, PMCR, RW, EN, EN, 0, MODEL_FGT_PMCR },
	{ MODEL_PMCNTENSET, PMCNTENSET, RW, EN, EN, FGT(PMCNTEN) },
	{ MODEL_PMCNTENCLR, PMCNTENCLR, RW, EN, EN, FGT(PMCNTEN) },
	{ MODEL_PMOVSCLR, PMOVSCLR, RW, EN, EN, FGT(PMOVS) },
	{ MODEL_PMOVSSET, PMOVSSET, RW, EN, EN, FGT(PMOVS) },
	{ MODEL_PMSWINC, PMSWINC, WO, EN, EN | SW, 0, MODEL_FGT_PMSWINC },
	{ MODEL_PMSELR, PMSELR, RW, EN | ER, EN | ER, FGT(PMSELR) },
	{ MODEL_PMCEID0, PMCEID0, RO, EN, EN, MODEL_FGT_PMCEID, 0 },
	{ MODEL_PMCEID1, PMCEID1, RO, EN, EN, MODEL_FGT_PMCEID, 0 },
	{ MODEL_PMCCNTR, PMCCNTR, RW, EN | CR, EN, FGT(PMCCNTR) },
	{ MODEL_PMXEVTYPER, PMXEVTYPER, RW, EN, EN, FGT(PMEVTYPER) },
	{ MODEL_PMXEVCNTR, PMXEVCNTR, RW, EN | ER, EN, FGT(PMEVCNTR) },
	{ MODEL_PMUSERENR, PMUSERENR, RW, EL0_ALWAYS, EL0_NEVER, FGT(PMUSERENR) },
	{ MODEL_PMINTENSET, PMINTENSET, RW, EL0_NEVER, EL0_NEVER, FGT(PMINTEN) },
	{ MODEL_PMINTENCLR, PMINTENCLR, RW, EL0_NEVER, EL0_NEVER, FGT(PMINTEN) },
	{ MODEL_PMMIR, PMMIR, RO, EL0_NEVER, EL0_NEVER, MODEL_FGT_PMMIR, 0 },
	{ MODEL_PMCCFILTR, PMCCFILTR, RW, EN, EN, FGT(PMCCFILTR) },
	{ MODEL_PMEVCNTR(0), PMEVCNTR, RW, EN | ER, EN, FGT(PMEVCNTR) },
	{ MODEL_PMEVTYPER(0), PMEVTYPER, RW, EN, EN, FGT(PMEVTYPER) },
};

/* ---- What this implementation has ---- */

static bool has_p1(const struct model_pmu *pmu)
{
	return pmu->config.version >= VPMU_ARM_V3P1;
}

static bool has_p5(const struct model_pmu *pmu)
{
	return pmu->config.version >= VPMU_ARM_V3P5;
}

/* HPMN above N, and 0 without FEAT_HPMN0, are CONSTRAINED UNPREDICTABLE: here, as if it were N. */
static unsigned int hpmn(const struct model_pmu *pmu)
{
	unsigned int n = (unsigned int)(pmu->mdcr_el2 & HPMN_MASK);

	if (!n && !pmu->config.hpmn0)
		return pmu->config.counters;
	return n < pmu->config.counters ? n : pmu->config.counters;
}

static unsigned int visible(const struct model_pmu *pmu, unsigned int el)
{
	return el == 2 ? pmu->config.counters : hpmn(pmu);
}

/* The same for what (hole) lets EL1 past. */
static unsigned int accessible(const struct model_pmu *pmu, unsigned int el, uint32_t hole)
{
	return pmu->config.hpmn_holes & hole ? pmu->config.counters : visible(pmu, el);
}

/* The bitmap of n event counters and the cycle counter. */
static uint64_t bitmap(unsigned int n)
{
	return (BIT(n) - 1) | BIT(CYCLE);
}

static uint64_t value_mask(const struct model_pmu *pmu)
{
	return has_p5(pmu) ? ~(uint64_t)0 : LOW32;
}

static uint64_t filter_mask(const struct model_pmu *pmu)
{
	uint64_t mask = MODEL_FILTER_P | MODEL_FILTER_U;

	if (!pmu->config.no_el2)
		mask |= MODEL_FILTER_NSH;
	if (pmu->config.el3)
		mask |= MODEL_FILTER_NSK | MODEL_FILTER_NSU | MODEL_FILTER_M;
	return mask;
}

static uint64_t type_mask(const struct model_pmu *pmu)
{
	return filter_mask(pmu) | (has_p1(pmu) ? 0xFFFFu : 0x3FFu);
}

static uint64_t pmcr_mask(const struct model_pmu *pmu)
{
	uint64_t mask = MODEL_PMCR_E | MODEL_PMCR_DP;

	if (pmu->config.aarch32)
		mask |= MODEL_PMCR_D | MODEL_PMCR_LC;
	if (has_p5(pmu))
		mask |= MODEL_PMCR_LP;
	return mask;
}

static uint64_t mdcr_mask(const struct model_pmu *pmu)
{
	uint64_t mask = HPMN_MASK | MODEL_MDCR_TPMCR | MODEL_MDCR_TPM | MODEL_MDCR_HPME;

	if (has_p1(pmu))
		mask |= MODEL_MDCR_HPMD;
	if (has_p5(pmu))
		mask |= MODEL_MDCR_HCCD | MODEL_MDCR_HLP;
	return mask;
}

static uint64_t fgt_mask(bool write)
{
	uint64_t both = (BIT(20) - BIT(12)) | BIT(MODEL_FGT_PMUSERENR);

	if (write)
		return both | BIT(MODEL_FGT_PMSWINC) | BIT(MODEL_FGT_PMCR);
	return both | BIT(MODEL_FGT_PMMIR) | BIT(MODEL_FGT_PMCEID);
}

static bool event_exists(const struct model_pmu *pmu, uint32_t event)
{
	const struct model_config *config = &pmu->config;

	if (config->exists)
		return config->exists(config->exists_context, event);
	if (event < 0x40)
		return config->ceid[event >> 5] >> (event & 31) & 1;
	if (has_p1(pmu) && event >= 0x4000 && event < 0x4040)
		return config->ceid[event >> 5 & 1] >> (32 + (event & 31)) & 1;
	return true;
}

/* ---- Reset ---- */

/* splitmix64: rubbish that differs for each register and seed. */
static uint64_t rubbish(uint64_t *seed)
{
	uint64_t z;

	if (*seed == 0)
		return 0;
	z = *seed += 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

void model_pmu_reset(struct model_pmu *pmu, const struct model_config *config, uint64_t seed)
{
	*pmu = (struct model_pmu){ .config = *config };
	pmu->pmcr = rubbish(&seed) & pmcr_mask(pmu) & ~(uint64_t)MODEL_PMCR_E;
	pmu->pmcnten = rubbish(&seed) & bitmap(config->counters);
	pmu->pminten = rubbish(&seed) & bitmap(config->counters);
	pmu->pmovs = rubbish(&seed) & bitmap(config->counters);
	pmu->pmselr = rubbish(&seed) & 0x1F;
	pmu->pmuserenr = rubbish(&seed) & 0xF;
	for (unsigned int i = 0; i < config->counters; i++) {
		pmu->pmevcntr[i] = rubbish(&seed) & value_mask(pmu);
		pmu->pmevtyper[i] = rubbish(&seed) & type_mask(pmu);
	}
	pmu->pmccntr = rubbish(&seed);
	pmu->pmccfiltr = rubbish(&seed) & filter_mask(pmu);
	pmu->mdcr_el2 = (rubbish(&seed) & mdcr_mask(pmu) & ~(uint64_t)HPMN_MASK) | config->counters;
	if (!config->fgt)
		return;
	pmu->hdfgrtr_el2 = rubbish(&seed) & fgt_mask(false);
	pmu->hdfgwtr_el2 = rubbish(&seed) & fgt_mask(true);
}

/* ---- Counting ---- */

/* D13.3, "Filtering": Non-secure state. */
static bool filtered(const struct model_pmu *pmu, uint64_t filter, unsigned int el)
{
	bool nsk = pmu->config.el3 && (filter & MODEL_FILTER_NSK);
	bool nsu = pmu->config.el3 && (filter & MODEL_FILTER_NSU);

	switch (el) {
	case 0:
		return !!(filter & MODEL_FILTER_U) != nsu;
	case 1:
		return !!(filter & MODEL_FILTER_P) != nsk;
	default:
		return !(filter & MODEL_FILTER_NSH);
	}
}

static bool enabled(const struct model_pmu *pmu, unsigned int i)
{
	bool range1 = i == CYCLE || i < hpmn(pmu);

	if (!(pmu->pmcnten >> i & 1))
		return false;
	return range1 ? pmu->pmcr & MODEL_PMCR_E : (pmu->mdcr_el2 & MODEL_MDCR_HPME) != 0;
}

static bool prohibited(const struct model_pmu *pmu, unsigned int i, unsigned int el)
{
	bool hpmd = el == 2 && (pmu->mdcr_el2 & MODEL_MDCR_HPMD);

	if (i != CYCLE)
		return hpmd && i < hpmn(pmu);
	if (el == 2 && (pmu->mdcr_el2 & MODEL_MDCR_HCCD))
		return true;
	return hpmd && (pmu->pmcr & MODEL_PMCR_DP);
}

bool model_counts(const struct model_pmu *pmu, unsigned int i, unsigned int el)
{
	uint64_t filter = i == CYCLE ? pmu->pmccfiltr : pmu->pmevtyper[i];

	return enabled(pmu, i) && !prohibited(pmu, i, el) && !filtered(pmu, filter, el);
}

static bool counts_event(const struct model_pmu *pmu, unsigned int i, uint32_t event,
			 unsigned int el)
{
	return (pmu->pmevtyper[i] & 0xFFFF) == event && model_counts(pmu, i, el);
}

static bool overflows_at_64(const struct model_pmu *pmu, unsigned int i)
{
	if (i < hpmn(pmu))
		return pmu->pmcr & MODEL_PMCR_LP;
	return (pmu->mdcr_el2 & MODEL_MDCR_HLP) != 0;
}

/* How often value + n carries out of bit 31. */
static uint64_t carries_32(uint64_t value, uint64_t n)
{
	return (n >> 32) + (((value & LOW32) + (n & LOW32)) >> 32);
}

/* Adds to one event counter. returns: the CHAIN events that this makes for the next one. */
static uint64_t advance(struct model_pmu *pmu, unsigned int i, uint64_t n)
{
	uint64_t old = pmu->pmevcntr[i];
	uint64_t carries = carries_32(old, n);

	pmu->pmevcntr[i] = (old + n) & value_mask(pmu);
	if (overflows_at_64(pmu, i)) {
		if (old + n < old)
			pmu->pmovs |= BIT(i);
		return 0;
	}
	if (carries)
		pmu->pmovs |= BIT(i);
	return carries;
}

static void chain(struct model_pmu *pmu, unsigned int even, uint64_t n, unsigned int el)
{
	unsigned int odd = even + 1;
	bool pair = even % 2 == 0 && odd < pmu->config.counters && odd != hpmn(pmu);

	if (n && pair && event_exists(pmu, MODEL_EVENT_CHAIN) &&
	    counts_event(pmu, odd, MODEL_EVENT_CHAIN, el))
		(void)advance(pmu, odd, n);
}

static void count_event(struct model_pmu *pmu, unsigned int i, uint64_t n, unsigned int el)
{
	chain(pmu, i, advance(pmu, i, n), el);
}

/* A loop over the set bits of a mask: takes out and returns the lowest one. */
static unsigned int next(uint64_t *mask)
{
	unsigned int i = (unsigned int)__builtin_ctzll(*mask);

	*mask &= *mask - 1;
	return i;
}

/* The counters whose enables and filters let them count at (el), whatever their event. */
static uint64_t counting_at(const struct model_pmu *pmu, unsigned int el)
{
	uint64_t rest = pmu->pmcnten & (BIT(pmu->config.counters) - 1), mask = 0;

	while (rest) {
		unsigned int i = next(&rest);

		if (model_counts(pmu, i, el))
			mask |= BIT(i);
	}
	return mask;
}

static void happen(struct model_pmu *pmu, uint64_t counting, uint32_t event, uint64_t n,
		   unsigned int el)
{
	if (n == 0 || !counting || !event_exists(pmu, event))
		return;
	while (counting) {
		unsigned int i = next(&counting);

		if ((pmu->pmevtyper[i] & 0xFFFF) == event)
			count_event(pmu, i, n, el);
	}
}

static void cycles(struct model_pmu *pmu, uint64_t n, unsigned int el)
{
	uint64_t old = pmu->pmccntr;
	bool lc = !pmu->config.aarch32 || (pmu->pmcr & MODEL_PMCR_LC);

	if (!model_counts(pmu, CYCLE, el))
		return;
	if (!lc && (pmu->pmcr & MODEL_PMCR_D)) {
		n += pmu->divider;
		pmu->divider = n % 64;
		n /= 64;
	}
	pmu->pmccntr = old + n;
	if (lc ? old + n < old : carries_32(old, n) != 0)
		pmu->pmovs |= BIT(CYCLE);
}

void model_retire(struct model_pmu *pmu, unsigned int el, const struct model_events *events)
{
	uint64_t counting;

	if (!pmu->pmcnten)
		return;
	counting = counting_at(pmu, el);
	happen(pmu, counting, MODEL_EVENT_INST_RETIRED, events->instructions, el);
	happen(pmu, counting, MODEL_EVENT_CPU_CYCLES, events->cycles, el);
	cycles(pmu, events->cycles, el);
	for (size_t i = 0; counting && i < events->other_count; i++)
		happen(pmu, counting, events->others[i].event, events->others[i].n, el);
}

static void software_increment(struct model_pmu *pmu, uint64_t which, unsigned int el)
{
	for (unsigned int i = 0; i < accessible(pmu, el, MODEL_HOLE_INCREMENT); i++) {
		if (which >> i & 1 && counts_event(pmu, i, MODEL_EVENT_SW_INCR, el))
			count_event(pmu, i, 1, el);
	}
}

/* ---- Interrupt ---- */

bool model_interrupt(const struct model_pmu *pmu)
{
	uint64_t asking = pmu->pmovs & pmu->pminten & bitmap(pmu->config.counters);
	uint64_t range1 = bitmap(accessible(pmu, 1, MODEL_HOLE_LINE));

	if (pmu->pmcr & MODEL_PMCR_E && asking & range1)
		return true;
	return pmu->mdcr_el2 & MODEL_MDCR_HPME && asking & ~range1;
}

void model_interrupt_sample(struct model_pmu *pmu)
{
	pmu->line_history = pmu->line_history << 1 | model_interrupt(pmu);
}

bool model_interrupt_late(const struct model_pmu *pmu, unsigned int steps)
{
	return pmu->line_history >> steps & 1;
}

/* ---- Registers ---- */

static uint64_t pmcr_read(const struct model_pmu *pmu, unsigned int el)
{
	uint64_t lc = pmu->config.aarch32 ? 0 : MODEL_PMCR_LC;

	return (uint64_t)pmu->config.id << 16 | (uint64_t)visible(pmu, el) << 11 | lc |
	       pmu->pmcr;
}

static void pmcr_write(struct model_pmu *pmu, uint64_t value, unsigned int el)
{
	pmu->pmcr = value & pmcr_mask(pmu);
	if (value & MODEL_PMCR_P) {
		for (unsigned int i = 0; i < accessible(pmu, el, MODEL_HOLE_RESET); i++)
			pmu->pmevcntr[i] = 0;
	}
	if (value & MODEL_PMCR_C)
		pmu->pmccntr = 0;
}

/* The bits of a mask register that (el) reaches. */
static uint64_t reachable(const struct model_pmu *pmu, enum reg_id id, unsigned int el)
{
	switch (id) {
	case PMINTENSET:
	case PMINTENCLR:
		return bitmap(accessible(pmu, el, MODEL_HOLE_INTERRUPTS));
	case PMOVSSET:
	case PMOVSCLR:
		return bitmap(accessible(pmu, el, MODEL_HOLE_STATUS));
	case PMSWINC:
		return bitmap(accessible(pmu, el, MODEL_HOLE_INCREMENT));
	default:
		return bitmap(accessible(pmu, el, MODEL_HOLE_ENABLES));
	}
}

static uint64_t read_reg(const struct model_pmu *pmu, enum reg_id id, unsigned int n,
			 unsigned int el)
{
	uint64_t mask = reachable(pmu, id, el);

	switch (id) {
	case PMCR:
		return pmcr_read(pmu, el);
	case PMCNTENSET:
	case PMCNTENCLR:
		return pmu->pmcnten & mask;
	case PMINTENSET:
	case PMINTENCLR:
		return pmu->pminten & mask;
	case PMOVSSET:
	case PMOVSCLR:
		return pmu->pmovs & mask;
	case PMSELR:
		return pmu->pmselr;
	case PMCEID0:
		return pmu->config.ceid[0];
	case PMCEID1:
		return pmu->config.ceid[1];
	case PMMIR:
		return pmu->config.mmir;
	case PMUSERENR:
		return pmu->pmuserenr;
	case PMCCNTR:
		return pmu->pmccntr;
	case PMCCFILTR:
		return pmu->pmccfiltr;
	case PMXEVCNTR:
	case PMEVCNTR:
		return pmu->pmevcntr[n];
	case PMXEVTYPER:
	case PMEVTYPER:
		return n == CYCLE ? pmu->pmccfiltr : pmu->pmevtyper[n];
	case PMSWINC:
		break;
	}
	return 0;
}

static void write_reg(struct model_pmu *pmu, enum reg_id id, unsigned int n, unsigned int el,
		      uint64_t value)
{
	uint64_t bits = value & reachable(pmu, id, el);

	switch (id) {
	case PMCR:
		pmcr_write(pmu, value, el);
		break;
	case PMCNTENSET:
		pmu->pmcnten |= bits;
		break;
	case PMCNTENCLR:
		pmu->pmcnten &= ~bits;
		break;
	case PMINTENSET:
		pmu->pminten |= bits;
		break;
	case PMINTENCLR:
		pmu->pminten &= ~bits;
		break;
	case PMOVSSET:
		pmu->pmovs |= bits;
		break;
	case PMOVSCLR:
		pmu->pmovs &= ~bits;
		break;
	case PMSWINC:
		software_increment(pmu, bits, el);
		break;
	case PMSELR:
		pmu->pmselr = value & 0x1F;
		break;
	case PMUSERENR:
		pmu->pmuserenr = value & 0xF;
		break;
	case PMCCNTR:
		pmu->pmccntr = value;
		break;
	case PMCCFILTR:
		pmu->pmccfiltr = value & filter_mask(pmu);
		break;
	case PMXEVCNTR:
	case PMEVCNTR:
		pmu->pmevcntr[n] = value & value_mask(pmu);
		break;
	case PMXEVTYPER:
	case PMEVTYPER:
		if (n == CYCLE)
			pmu->pmccfiltr = value & filter_mask(pmu);
		else
			pmu->pmevtyper[n] = value & type_mask(pmu);
		break;
	case PMCEID0:
	case PMCEID1:
	case PMMIR:
		break;
	}
}

/* ---- Access checks ---- */

/* The member number of a PMEVCNTRn or PMEVTYPERn encoding: CRm[1:0] and op2. */
static unsigned int member_of(uint32_t encoding)
{
	return (encoding >> 1 & 3) << 3 | (encoding >> 17 & 7);
}

static const struct reg_row *find_row(uint32_t encoding)
{
	const uint32_t member_bits = VPMU_ARM_SYSREG(0, 0, 0, 3, 7);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool family = rows[i].id == PMEVCNTR || rows[i].id == PMEVTYPER;
		uint32_t fixed = family && member_of(encoding) != 31 ? ~member_bits : ~0u;

		if ((encoding & fixed) == rows[i].encoding)
			return &rows[i];
	}
	return NULL;
}

/* Does the register name one event counter? Then (*n) is its number, 31: the cycle counter's. */
static bool names_counter(const struct model_pmu *pmu, const struct reg_row *row, uint32_t encoding,
			  unsigned int *n)
{
	*n = 0;
	if (row->id == PMXEVCNTR || row->id == PMXEVTYPER)
		*n = (unsigned int)pmu->pmselr;
	else if (row->id == PMEVCNTR || row->id == PMEVTYPER)
		*n = member_of(encoding);
	else
		return false;
	return row->id != PMXEVTYPER || *n != CYCLE;
}

/* Is there such a register, in this version, for this direction? */
static const struct reg_row *allocated(const struct model_pmu *pmu, uint32_t encoding, bool write)
{
	const struct reg_row *row = find_row(encoding);

	if (!row || !(write ? row->writable : row->readable))
		return NULL;
	if (row->id == PMMIR && pmu->config.version < VPMU_ARM_V3P4)
		return NULL;
	return row;
}

static bool el0_denied(const struct model_pmu *pmu, uint16_t allow)
{
	return !(allow & EL0_ALWAYS) && !(pmu->pmuserenr & allow);
}

static bool trapped_to_el2(const struct model_pmu *pmu, const struct reg_row *row, bool write)
{
	uint8_t bit = write ? row->trap_write : row->trap_read;
	uint64_t traps = write ? pmu->hdfgwtr_el2 : pmu->hdfgrtr_el2;

	if (pmu->config.fgt && bit && traps >> bit & 1)
		return true;
	if (pmu->mdcr_el2 & MODEL_MDCR_TPM)
		return true;
	return row->id == PMCR && pmu->mdcr_el2 & MODEL_MDCR_TPMCR;
}

/* K1.2.6: what an inaccessible counter does without FEAT_FGT. */
static enum model_result out_of_range(const struct model_pmu *pmu, bool write, uint64_t *value)
{
	if (!pmu->config.out_of_range_raz)
		return MODEL_UNDEF;
	if (!write)
		*value = 0;
	return MODEL_EXECUTED;
}

static enum model_result execute(struct model_pmu *pmu, const struct reg_row *row, unsigned int n,
				 unsigned int el, bool write, uint64_t *value)
{
	if (write)
		write_reg(pmu, row->id, n, el, *value);
	else
		*value = read_reg(pmu, row->id, n, el);
	return MODEL_EXECUTED;
}

/* The order of the checks is that of the access pseudocode in D24.5. */
enum model_result model_guest_access(struct model_pmu *pmu, unsigned int el, uint32_t reg,
				     bool write, uint64_t *value)
{
	const struct reg_row *row = allocated(pmu, reg, write);
	unsigned int n;
	uint16_t allow;
	bool counter;

	if (!row)
		return MODEL_UNDEF;
	allow = write ? row->el0_write : row->el0_read;
	if (el == 0 && allow == EL0_NEVER)
		return MODEL_UNDEF;
	counter = names_counter(pmu, row, reg, &n);
	if (counter && n >= pmu->config.counters)
		return pmu->config.fgt ? MODEL_UNDEF : out_of_range(pmu, write, value);
	if (el == 0 && el0_denied(pmu, allow))
		return MODEL_TRAP_EL1;
	if (trapped_to_el2(pmu, row, write))
		return MODEL_TRAP_EL2;
	if (counter && n >= accessible(pmu, el, MODEL_HOLE_COUNTERS))
		return pmu->config.fgt ? MODEL_TRAP_EL2 : out_of_range(pmu, write, value);
	return execute(pmu, row, n, el, write, value);
}

static void exchange(uint64_t *reg, uint64_t mask, bool write, uint64_t *value)
{
	if (write)
		*reg = *value & mask;
	else
		*value = *reg;
}

static bool el2_register(struct model_pmu *pmu, uint32_t reg, bool write, uint64_t *value)
{
	if (reg == MODEL_MDCR_EL2)
		exchange(&pmu->mdcr_el2, mdcr_mask(pmu), write, value);
	else if (reg == MODEL_HDFGRTR_EL2 && pmu->config.fgt)
		exchange(&pmu->hdfgrtr_el2, fgt_mask(false), write, value);
	else if (reg == MODEL_HDFGWTR_EL2 && pmu->config.fgt)
		exchange(&pmu->hdfgwtr_el2, fgt_mask(true), write, value);
	else
		return false;
	return true;
}

bool model_el2_access(struct model_pmu *pmu, uint32_t reg, bool write, uint64_t *value)
{
	const struct reg_row *row;
	unsigned int n;

	if (el2_register(pmu, reg, write, value))
		return true;
	row = allocated(pmu, reg, write);
	if (!row)
		return false;
	if (names_counter(pmu, row, reg, &n) && n >= pmu->config.counters)
		return !pmu->config.fgt && out_of_range(pmu, write, value) == MODEL_EXECUTED;
	return execute(pmu, row, n, 2, write, value) == MODEL_EXECUTED;
}
