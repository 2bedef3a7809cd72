/* SPDX-License-Identifier: MIT */
/* The registers of the x86 PMU: MSRs, RDPMC, CPUID. Counting: x86_pmu.c. */
#include "x86_internal.h"

/* ---- Which bits can be set ---- */

static uint64_t counters(const struct x86_pmu *pmu)
{
	return x86_pmu_counters(&pmu->config);
}

/* SDM vol. 3 figures 20-1, 20-6; reference: reserved bits fault. */
static uint64_t intel_selector_bits(const struct x86_pmu *pmu, unsigned int n)
{
	uint64_t bits = 0xFFFFFFFF & ~(X86_SEL_PC | X86_SEL_ANY);

	if (pmu->config.pin_control)
		bits |= X86_SEL_PC;
	if (x86_has_anythread(pmu))
		bits |= X86_SEL_ANY;
	if (pmu->config.tsx)
		bits |= X86_SEL_IN_TX | (n == 2 ? X86_SEL_IN_TXCP : 0);
	return bits;
}

/* APM vol. 2 figure 13-7: [63:42], [39:36], 21 and 19 are reserved and stay 0. */
#define AMD_SELECTOR_BITS (UINT64_C(0x30FFFFFFFFF) & ~(X86_SEL_PC | X86_SEL_ANY))

static uint64_t fixed_ctrl_bits(const struct x86_pmu *pmu)
{
	uint64_t group = X86_FIXED_OS | X86_FIXED_USR | X86_FIXED_PMI;
	uint64_t bits = 0;

	if (x86_has_anythread(pmu))
		group |= X86_FIXED_ANY;
	for (unsigned int n = 0; n < pmu->config.fixed; n++)
		bits |= group << (4 * n);
	return bits;
}

/* What STATUS_RESET, formerly OVF_CTRL, takes. PT, uncore and SGX have no bits here. */
static uint64_t status_reset_bits(const struct x86_pmu *pmu)
{
	uint64_t bits = counters(pmu) | X86_STATUS_OVF_BUF | X86_STATUS_COND_CHGD;

	if (x86_intel_since(pmu, 4))
		bits |= X86_STATUS_LBR_FRZ | X86_STATUS_CTR_FRZ;
	return bits;
}

static uint64_t debugctl_bits(const struct x86_pmu *pmu)
{
	uint64_t bits = pmu->config.debugctl;

	if (pmu->config.pdcm && x86_intel_since(pmu, 2))
		bits |= X86_DEBUGCTL_FREEZE_PERFMON;
	if (pmu->config.freeze_smm)
		bits |= X86_DEBUGCTL_FREEZE_SMM;
	return bits;
}

/* Fast strings, thermal control, EIST, MONITOR, CPUID limit, xTPR, XD, turbo; and the PMU's own. */
#define MISC_ENABLE_BITS (UINT64_C(0x4400C50009) | X86_MISC_PERFMON | X86_MISC_NO_BTS | \
			  X86_MISC_NO_PEBS)

/* ---- Which registers exist ---- */

static bool is_intel(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return x86_is_intel(pmu);
}

static bool always(const struct x86_pmu *pmu, unsigned int n)
{
	(void)pmu;
	(void)n;
	return true;
}

static bool intel_gp(const struct x86_pmu *pmu, unsigned int n)
{
	return x86_is_intel(pmu) && n < pmu->config.gp;
}

static bool intel_full_width(const struct x86_pmu *pmu, unsigned int n)
{
	return intel_gp(pmu, n) && pmu->config.full_width_writes;
}

static bool intel_fixed(const struct x86_pmu *pmu, unsigned int n)
{
	return x86_is_intel(pmu) && n < pmu->config.fixed;
}

static bool intel_global_ctrl(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return x86_is_intel(pmu) && x86_has_global(pmu);
}

static bool intel_v2(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return x86_intel_since(pmu, 2);
}

static bool intel_v4(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return x86_intel_since(pmu, 4);
}

static bool intel_pdcm(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return pmu->config.pdcm;
}

static bool amd_k7(const struct x86_pmu *pmu, unsigned int n)
{
	return x86_amd_since(pmu, 1) && n < pmu->config.gp;
}

static bool amd_core(const struct x86_pmu *pmu, unsigned int n)
{
	return amd_k7(pmu, n) && pmu->config.core_extension;
}

static bool amd_v2(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return x86_amd_since(pmu, 2);
}

/* ---- Reads ---- */

static uint64_t read_zero(const struct x86_pmu *pmu, unsigned int n)
{
	(void)pmu;
	(void)n;
	return 0;
}

static uint64_t read_gp(const struct x86_pmu *pmu, unsigned int n)
{
	return pmu->gp[n];
}

static uint64_t read_selector(const struct x86_pmu *pmu, unsigned int n)
{
	return pmu->selector[n];
}

static uint64_t read_fixed(const struct x86_pmu *pmu, unsigned int n)
{
	return pmu->fixed[n];
}

static uint64_t read_fixed_ctrl(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return pmu->fixed_ctrl;
}

static uint64_t read_global_ctrl(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return pmu->global_ctrl;
}

static uint64_t read_global_status(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return pmu->global_status;
}

/* SDM vol. 3 20.2.4.3: an event other than 0, a ring, any interrupt enable. */
static uint64_t read_inuse(const struct x86_pmu *pmu, unsigned int n)
{
	const uint64_t pmi_inuse = BIT(63);
	uint64_t value = 0;

	(void)n;
	for (unsigned int i = 0; i < pmu->config.gp; i++) {
		if (pmu->selector[i] & 0xFF)
			value |= BIT(i);
		if (pmu->selector[i] & X86_SEL_INT)
			value |= pmi_inuse;
	}
	for (unsigned int i = 0; i < pmu->config.fixed; i++) {
		uint64_t group = pmu->fixed_ctrl >> (4 * i);

		if (group & (X86_FIXED_OS | X86_FIXED_USR))
			value |= BIT(X86_PMU_FIXED + i);
		if (group & X86_FIXED_PMI)
			value |= pmi_inuse;
	}
	return value;
}

static uint64_t read_capabilities(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return (pmu->config.full_width_writes ? X86_CAP_FW_WRITES : 0) |
	       (pmu->config.freeze_smm ? X86_CAP_FREEZE_SMM : 0);
}

static uint64_t read_debugctl(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return pmu->debugctl;
}

static uint64_t read_misc_enable(const struct x86_pmu *pmu, unsigned int n)
{
	(void)n;
	return pmu->misc_enable;
}

/* ---- Writes. false: #GP ---- */

static bool write_checked(uint64_t *field, uint64_t value, uint64_t bits)
{
	if (value & ~bits)
		return false;
	*field = value;
	return true;
}

static bool write_ignored(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)pmu;
	(void)n;
	(void)value;
	return true;
}

/* SDM vol. 3 20.2.8: bits 31:0, sign-extended; 63:32 are ignored. */
static bool write_perfctr(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	pmu->gp[n] = (uint64_t)(int64_t)(int32_t)(uint32_t)value & x86_gp_mask(pmu);
	return true;
}

static bool write_pmc(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	return write_checked(&pmu->gp[n], value, x86_gp_mask(pmu));
}

static bool write_selector(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	return write_checked(&pmu->selector[n], value, intel_selector_bits(pmu, n));
}

static bool write_fixed(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	return write_checked(&pmu->fixed[n], value, x86_fixed_mask(pmu));
}

static bool write_fixed_ctrl(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	return write_checked(&pmu->fixed_ctrl, value, fixed_ctrl_bits(pmu));
}

static bool write_global_ctrl(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	return write_checked(&pmu->global_ctrl, value, counters(pmu));
}

static bool write_status_reset(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	if (value & ~status_reset_bits(pmu))
		return false;
	pmu->global_status &= ~value;
	return true;
}

static bool write_status_set(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	/* CondChgd cannot be set. */
	if (value & ~(status_reset_bits(pmu) & ~X86_STATUS_COND_CHGD))
		return false;
	pmu->global_status |= value;
	return true;
}

static bool write_debugctl(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	return write_checked(&pmu->debugctl, value, debugctl_bits(pmu));
}

/* BTS and PEBS unavailable cannot be changed; that there is a PMU is not a write's business. */
static bool write_misc_enable(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	const uint64_t fixed = X86_MISC_NO_BTS | X86_MISC_NO_PEBS;

	(void)n;
	if (value & ~MISC_ENABLE_BITS || (value ^ pmu->misc_enable) & fixed)
		return false;
	pmu->misc_enable = (value & ~X86_MISC_PERFMON) | (pmu->misc_enable & X86_MISC_PERFMON);
	return true;
}

static bool amd_write_counter(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	pmu->gp[n] = value & x86_gp_mask(pmu);
	return true;
}

static bool amd_write_selector(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	pmu->selector[n] = value & AMD_SELECTOR_BITS;
	return true;
}

static bool amd_write_global_ctl(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	pmu->global_ctrl = value & counters(pmu);
	return true;
}

static bool amd_write_status_clr(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	pmu->global_status &= ~value;
	return true;
}

static bool amd_write_status_set(struct x86_pmu *pmu, unsigned int n, uint64_t value)
{
	(void)n;
	pmu->global_status |= value & counters(pmu);
	return true;
}

/* ---- The table ---- */

struct msr {
	uint32_t index;              /* of member 0 */
	uint8_t members;
	uint8_t stride;
	bool (*exists)(const struct x86_pmu *pmu, unsigned int n);
	uint64_t (*read)(const struct x86_pmu *pmu, unsigned int n);
	bool (*write)(struct x86_pmu *pmu, unsigned int n, uint64_t value); /* NULL: #GP */
};

#define GP X86_PMU_GP_MAX
#define FIXED X86_PMU_FIXED_MAX

static const struct msr msrs[] = {
	{ X86_MSR_PERFCTR(0), GP, 1, intel_gp, read_gp, write_perfctr },
	{ X86_MSR_PERFEVTSEL(0), GP, 1, intel_gp, read_selector, write_selector },
	{ X86_MSR_MISC_ENABLE, 1, 1, is_intel, read_misc_enable, write_misc_enable },
	{ X86_MSR_DEBUGCTL, 1, 1, always, read_debugctl, write_debugctl },
	{ X86_MSR_FIXED_CTR(0), FIXED, 1, intel_fixed, read_fixed, write_fixed },
	{ X86_MSR_PERF_CAPABILITIES, 1, 1, intel_pdcm, read_capabilities, NULL },
	{ X86_MSR_FIXED_CTR_CTRL, 1, 1, intel_v2, read_fixed_ctrl, write_fixed_ctrl },
	{ X86_MSR_GLOBAL_STATUS, 1, 1, intel_v2, read_global_status, NULL },
	{ X86_MSR_GLOBAL_CTRL, 1, 1, intel_global_ctrl, read_global_ctrl, write_global_ctrl },
	{ X86_MSR_STATUS_RESET, 1, 1, intel_v2, read_zero, write_status_reset },
	{ X86_MSR_STATUS_SET, 1, 1, intel_v4, read_zero, write_status_set },
	{ X86_MSR_GLOBAL_INUSE, 1, 1, intel_v4, read_inuse, NULL },
	{ X86_MSR_PMC(0), GP, 1, intel_full_width, read_gp, write_pmc },
	{ X86_MSR_K7_EVNTSEL(0), 4, 1, amd_k7, read_selector, amd_write_selector },
	{ X86_MSR_K7_PERFCTR(0), 4, 1, amd_k7, read_gp, amd_write_counter },
	{ X86_MSR_PERF_CTL(0), 6, 2, amd_core, read_selector, amd_write_selector },
	{ X86_MSR_PERF_CTR(0), 6, 2, amd_core, read_gp, amd_write_counter },
	{ X86_MSR_AMD_GLOBAL_STATUS, 1, 1, amd_v2, read_global_status, write_ignored },
	{ X86_MSR_AMD_GLOBAL_CTL, 1, 1, amd_v2, read_global_ctrl, amd_write_global_ctl },
	{ X86_MSR_AMD_STATUS_CLR, 1, 1, amd_v2, read_zero, amd_write_status_clr },
	{ X86_MSR_AMD_STATUS_SET, 1, 1, amd_v2, read_zero, amd_write_status_set },
};

/* Of performance monitoring, but no machine here has them. */
static const struct { uint32_t first, last; } absent[] = {
	{ 0x1A6, 0x1A7 },            /* OFFCORE_RSP_0, 1 */
	{ 0x1C8, 0x1C9 },            /* LBR_SELECT, LASTBRANCH_TOS */
	{ 0x309, 0x311 },            /* fixed counters */
	{ 0x329, 0x329 },            /* PERF_METRICS */
	{ 0x3F1, 0x3F2 },            /* PEBS_ENABLE, PEBS_DATA_CFG */
	{ 0x3F6, 0x3F7 },            /* PEBS_LD_LAT, PEBS_FRONTEND */
	{ 0x560, 0x561 },            /* RTIT_OUTPUT_BASE, MASK_PTRS */
	{ 0x570, 0x572 },            /* RTIT_CTL, STATUS, CR3_MATCH */
	{ 0x580, 0x587 },            /* RTIT_ADDRn */
	{ 0x600, 0x600 },            /* DS_AREA */
	{ 0x680, 0x69F },            /* LASTBRANCH_n_FROM_IP */
	{ 0x6C0, 0x6DF },            /* LASTBRANCH_n_TO_IP */
	{ 0xDC0, 0xDDF },            /* LBR_INFO_n */
	{ 0x1200, 0x121F },          /* architectural LBR_n_INFO */
	{ 0x14CE, 0x14CF },          /* LBR_CTL, LBR_DEPTH */
	{ 0x1500, 0x151F },          /* LBR_n_FROM_IP */
	{ 0x1600, 0x161F },          /* LBR_n_TO_IP */
	{ 0x1900, 0x19FF },          /* version 6 aliases */
	{ 0xC0000304, 0xC000030F },
	{ 0xC001020C, 0xC001020F },
	{ 0xC0010230, 0xC001023F },  /* L3 */
	{ 0xC0010240, 0xC001024F },  /* northbridge, data fabric */
	{ 0xC0011030, 0xC001103D },  /* IBS */
};

static const struct msr *find(uint32_t index, unsigned int *n)
{
	for (size_t row = 0; row < sizeof(msrs) / sizeof(msrs[0]); row++) {
		uint32_t offset = index - msrs[row].index;

		if (index < msrs[row].index || offset % msrs[row].stride)
			continue;
		*n = offset / msrs[row].stride;
		if (*n < msrs[row].members)
			return &msrs[row];
	}
	return NULL;
}

bool x86_pmu_is_msr(uint32_t index)
{
	unsigned int n;

	if (find(index, &n))
		return true;
	for (size_t k = 0; k < sizeof(absent) / sizeof(absent[0]); k++) {
		if (index >= absent[k].first && index <= absent[k].last)
			return true;
	}
	return false;
}

bool x86_pmu_rdmsr(const struct x86_pmu *pmu, uint32_t index, uint64_t *value)
{
	unsigned int n;
	const struct msr *msr = find(index, &n);

	if (!msr || !msr->exists(pmu, n))
		return false;
	*value = msr->read(pmu, n);
	return true;
}

bool x86_pmu_wrmsr(struct x86_pmu *pmu, uint32_t index, uint64_t value)
{
	unsigned int n;
	const struct msr *msr = find(index, &n);

	return msr && msr->exists(pmu, n) && msr->write && msr->write(pmu, n, value);
}

/* ---- RDPMC ---- */

#define RDPMC_GP 0x0000u
#define RDPMC_FIXED 0x4000u

static bool rdpmc_intel(const struct x86_pmu *pmu, uint32_t ecx, uint64_t *value)
{
	uint32_t type = ecx >> 16, n = ecx & 0xFFFF;

	if (type == RDPMC_GP && n < pmu->config.gp)
		*value = pmu->gp[n];
	else if (type == RDPMC_FIXED && n < pmu->config.fixed)
		*value = pmu->fixed[n];
	else
		return false;
	return true;
}

bool x86_pmu_rdpmc(const struct x86_pmu *pmu, uint32_t ecx, unsigned int cpl, bool pce, bool pe,
		   uint64_t *value)
{
	if (cpl && !pce && pe)
		return false;
	if (x86_is_intel(pmu))
		return rdpmc_intel(pmu, ecx, value);
	if (ecx >= pmu->config.gp)
		return false;
	*value = pmu->gp[ecx];
	return true;
}

/* ---- CPUID ---- */

enum { EAX, EBX, ECX, EDX };

static void put_bit(uint32_t *reg, unsigned int bit, bool value)
{
	*reg = (*reg & ~((uint32_t)1 << bit)) | (uint32_t)value << bit;
}

static void cpuid_0a(const struct x86_pmu *pmu, uint32_t regs[4])
{
	const struct x86_pmu_config *c = &pmu->config;

	if (!x86_intel_since(pmu, 1))
		return;
	regs[EAX] = (uint32_t)c->version | (uint32_t)c->gp << 8 | (uint32_t)c->gp_width << 16 |
		    (uint32_t)c->events_length << 24;
	regs[EBX] = c->events_missing;
	if (c->version >= 5)
		regs[ECX] = ((uint32_t)1 << c->fixed) - 1;
	if (c->version >= 2 && c->fixed)
		regs[EDX] = (uint32_t)c->fixed | (uint32_t)c->fixed_width << 5;
	put_bit(&regs[EDX], 15, c->version >= 3 && !x86_has_anythread(pmu));
}

static void cpuid_80000022(const struct x86_pmu *pmu, uint32_t regs[4])
{
	if (!x86_amd_since(pmu, 2))
		return;
	regs[EAX] = 1;
	regs[EBX] = pmu->config.gp;
}

static void clear(uint32_t regs[4])
{
	regs[EAX] = regs[EBX] = regs[ECX] = regs[EDX] = 0;
}

void x86_pmu_cpuid(const struct x86_pmu *pmu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	switch (leaf) {
	case 1:
		put_bit(&regs[ECX], 2, false);  /* DTES64 */
		put_bit(&regs[ECX], 4, false);  /* DS-CPL */
		put_bit(&regs[ECX], 15, pmu->config.pdcm);
		put_bit(&regs[EDX], 21, false); /* DS */
		break;
	case 7:
		if (subleaf == 0) {
			put_bit(&regs[EBX], 25, false); /* PT */
			put_bit(&regs[EDX], 19, false); /* architectural LBR */
		} else if (subleaf == 1) {
			put_bit(&regs[EAX], 8, false);  /* leaf 23H */
		}
		break;
	case 0xA:
		clear(regs);
		cpuid_0a(pmu, regs);
		break;
	case 0x14:                           /* PT */
	case 0x1C:                           /* architectural LBR */
	case 0x23:                           /* version 6 */
	case 0x8000001B:                     /* IBS */
		clear(regs);
		break;
	case 0x80000001:
		put_bit(&regs[ECX], 10, false); /* IBS */
		put_bit(&regs[ECX], 23, pmu->config.core_extension);
		put_bit(&regs[ECX], 24, false); /* northbridge */
		put_bit(&regs[ECX], 28, false); /* L3 */
		break;
	case 0x80000022:
		clear(regs);
		cpuid_80000022(pmu, regs);
		break;
	default:
		break;
	}
}
