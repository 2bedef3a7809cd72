/* SPDX-License-Identifier: MIT */
#include "x86_hw.h"

#define BIT(n) ((uint64_t)1 << (n))
#define FIXED VPMU_X86_FIXED

#define MSR_PERFCTR 0xC1u
#define MSR_PERFEVTSEL 0x186u
#define MSR_FIXED_CTR 0x309u
#define MSR_FIXED_CTR_CTRL 0x38Du
#define MSR_GLOBAL_STATUS 0x38Eu
#define MSR_GLOBAL_CTRL 0x38Fu
#define MSR_STATUS_RESET 0x390u
#define MSR_STATUS_SET 0x391u
#define MSR_PMC 0x4C1u
#define MSR_AMD_GLOBAL_STATUS 0xC0000300u
#define MSR_AMD_GLOBAL_CTL 0xC0000301u
#define MSR_AMD_STATUS_CLR 0xC0000302u
#define MSR_AMD_STATUS_SET 0xC0000303u
#define MSR_K7_EVNTSEL 0xC0010000u
#define MSR_K7_PERFCTR 0xC0010004u
#define MSR_PERF_CTL 0xC0010200u
#define MSR_PERF_CTR 0xC0010201u

#define EVENT 0xFFFFull
#define EVENT_AMD (EVENT | 0xFull << 32)
#define SELECTOR_USR BIT(16)
#define SELECTOR_OS BIT(17)
#define SELECTOR_INT BIT(20)
#define SELECTOR_EN BIT(22)
#define SELECTOR_GUEST_ONLY BIT(40)
#define SELECTOR_HOST_ONLY BIT(41)
#define GROUP_PMI BIT(3)
#define GROUP 0xFu
#define GROUP_RINGS 3u
#define STATUS_CTR_FRZ BIT(59)
#define RDPMC_FIXED 0x40000000u
#define LVTPC_NMI (4u << 8)

static struct vpmu_x86_hw *of(struct vpmu_hw *hw)
{
	return (struct vpmu_x86_hw *)(void *)hw;
}

static bool is_amd(const struct vpmu_x86_hw *x86)
{
	return x86->pmu.vendor == VPMU_X86_AMD;
}

static bool has_global(const struct vpmu_x86_hw *x86)
{
	return x86->pmu.version >= 2;
}

/* ---- One access ---- */

static uint64_t rdmsr(struct vpmu_x86_hw *x86, uint32_t index)
{
	x86->hw.accesses++;
	return x86->port->rdmsr(x86->context, index);
}

static void wrmsr(struct vpmu_x86_hw *x86, uint32_t index, uint64_t value)
{
	x86->hw.accesses++;
	x86->port->wrmsr(x86->context, index, value);
}

/* ---- Which register ---- */

static uint32_t selector_msr(const struct vpmu_x86_hw *x86, unsigned int i)
{
	if (!is_amd(x86))
		return MSR_PERFEVTSEL + i;
	return x86->pmu.core_extension ? MSR_PERF_CTL + 2 * i : MSR_K7_EVNTSEL + i;
}

/* Without full-width writes only 32 bits, sign-extended, can be written: caps.exact_writes. */
static uint32_t counter_msr(const struct vpmu_x86_hw *x86, unsigned int i)
{
	if (i >= FIXED)
		return MSR_FIXED_CTR + i - FIXED;
	if (!is_amd(x86))
		return (x86->pmu.full_width_writes ? MSR_PMC : MSR_PERFCTR) + i;
	return x86->pmu.core_extension ? MSR_PERF_CTR + 2 * i : MSR_K7_PERFCTR + i;
}

static uint64_t width_mask(const struct vpmu_x86_hw *x86, unsigned int i)
{
	return BIT(i < FIXED ? x86->pmu.gp_width : x86->pmu.fixed_width) - 1;
}

static unsigned int next(uint64_t *mask)
{
	unsigned int i = (unsigned int)__builtin_ctzll(*mask);

	*mask &= *mask - 1;
	return i;
}

static uint64_t gp_of(uint64_t mask)
{
	return mask & (BIT(FIXED) - 1);
}

static uint64_t fixed_of(uint64_t mask)
{
	return mask & ~(BIT(FIXED) - 1);
}

/* ---- Selectors, behind shadows ---- */

static bool differs(const struct vpmu_x86_hw *x86, unsigned int i, uint64_t value)
{
	return !(x86->known >> i & 1) || x86->written[i] != value;
}

static void note(struct vpmu_x86_hw *x86, unsigned int i, uint64_t value)
{
	x86->written[i] = value;
	x86->known |= BIT(i);
}

static void write_selector(struct vpmu_x86_hw *x86, unsigned int i, uint64_t value)
{
	if (!differs(x86, i, value))
		return;
	wrmsr(x86, selector_msr(x86, i), value);
	note(x86, i, value);
}

/*
 * What the register of counter (i) is to hold: nothing while it is stopped, but for a guest that reads its
 * selectors itself.
 */
static uint64_t wanted(const struct vpmu_x86_hw *x86, unsigned int i)
{
	if (x86->started >> i & 1)
		return x86->selector[i];
	if (!x86->open || !(x86->selected >> i & 1))
		return 0;
	return x86->selector[i] & ~(uint64_t)(i < FIXED ? SELECTOR_EN : GROUP_RINGS);
}

static uint64_t fixed_value(const struct vpmu_x86_hw *x86, unsigned int i)
{
	return wanted(x86, i) & GROUP;
}

static bool fixed_differs(const struct vpmu_x86_hw *x86, uint64_t mask)
{
	while (mask) {
		unsigned int i = next(&mask);

		if (differs(x86, i, fixed_value(x86, i)))
			return true;
	}
	return false;
}

/* The host's groups of FIXED_CTR_CTRL in a partition: its driver changes them as it likes. */
static uint64_t host_groups(struct vpmu_x86_hw *x86, uint64_t counters)
{
	uint64_t groups = 0;

	if (!counters)
		return 0;
	while (counters)
		groups |= (uint64_t)GROUP << (4 * (next(&counters) - FIXED));
	return rdmsr(x86, MSR_FIXED_CTR_CTRL) & groups;
}

/* All groups in one write, if one of (mask) is not what it should be. */
static void write_fixed(struct vpmu_x86_hw *x86, uint64_t mask)
{
	uint64_t kept = fixed_of(x86->host & ~mask);
	uint64_t rest = fixed_of(x86->hw.caps.counters & ~kept);
	uint64_t value;

	if (!fixed_differs(x86, fixed_of(mask)))
		return;
	value = host_groups(x86, kept);
	while (rest) {
		unsigned int i = next(&rest);

		note(x86, i, fixed_value(x86, i));
		value |= x86->written[i] << (4 * (i - FIXED));
	}
	wrmsr(x86, MSR_FIXED_CTR_CTRL, value);
}

/* The registers of (mask) become what started and select() say. */
static void write_selectors(struct vpmu_x86_hw *x86, uint64_t mask)
{
	for (uint64_t rest = gp_of(mask); rest;) {
		unsigned int i = next(&rest);

		write_selector(x86, i, wanted(x86, i));
	}
	write_fixed(x86, mask);
}

static uint64_t read_selector(struct vpmu_x86_hw *x86, unsigned int i)
{
	uint64_t value;

	if (!x86->open && x86->known >> i & 1)
		return x86->written[i];
	if (i < FIXED)
		value = rdmsr(x86, selector_msr(x86, i));
	else
		value = rdmsr(x86, MSR_FIXED_CTR_CTRL) >> (4 * (i - FIXED)) & GROUP;
	note(x86, i, value);
	return value;
}

/* ---- The operations ---- */

static void op_stop(struct vpmu_hw *hw, uint64_t mask)
{
	of(hw)->started &= ~mask;
	if (of(hw)->open)
		of(hw)->selected &= ~mask;
	write_selectors(of(hw), mask & hw->caps.counters);
}

static void op_start(struct vpmu_hw *hw, uint64_t mask)
{
	of(hw)->started |= mask & hw->caps.counters;
	write_selectors(of(hw), mask & hw->caps.counters);
}

static bool is_enabled(unsigned int i, uint64_t selector)
{
	return selector & (i < FIXED ? SELECTOR_EN : GROUP_RINGS);
}

/* The guest writes its selectors itself: the shadows become what they are now. */
static void look_at_selectors(struct vpmu_x86_hw *x86)
{
	for (uint64_t rest = x86->hw.caps.counters & ~x86->host; rest;) {
		unsigned int i = next(&rest);

		x86->selector[i] = read_selector(x86, i);
		x86->selected |= BIT(i);
		if (is_enabled(i, x86->selector[i]))
			x86->started |= BIT(i);
		else
			x86->started &= ~BIT(i);
	}
}

static uint64_t op_started(struct vpmu_hw *hw)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (x86->open)
		look_at_selectors(x86);
	return x86->started;
}

static uint64_t op_read(struct vpmu_hw *hw, unsigned int i)
{
	struct vpmu_x86_hw *x86 = of(hw);

	hw->accesses++;
	return x86->port->rdpmc(x86->context, i < FIXED ? i : RDPMC_FIXED | (i - FIXED));
}

static void op_write(struct vpmu_hw *hw, unsigned int i, uint64_t value)
{
	wrmsr(of(hw), counter_msr(of(hw), i), value & width_mask(of(hw), i));
}

static void op_select(struct vpmu_hw *hw, unsigned int i, uint64_t selector)
{
	struct vpmu_x86_hw *x86 = of(hw);

	x86->selector[i] = selector;
	x86->selected |= BIT(i);
	if (x86->open || x86->started >> i & 1)
		write_selectors(x86, BIT(i));
}

static uint64_t op_selected(struct vpmu_hw *hw, unsigned int i)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (x86->open)
		x86->selector[i] = read_selector(x86, i);
	return x86->selected >> i & 1 ? x86->selector[i] : read_selector(x86, i);
}

static uint64_t op_status(struct vpmu_hw *hw)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (!has_global(x86))
		return 0;
	return rdmsr(x86, is_amd(x86) ? MSR_AMD_GLOBAL_STATUS : MSR_GLOBAL_STATUS) &
	       (hw->caps.counters | hw->caps.status);
}

static void op_status_clear(struct vpmu_hw *hw, uint64_t mask)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (has_global(x86))
		wrmsr(x86, is_amd(x86) ? MSR_AMD_STATUS_CLR : MSR_STATUS_RESET, mask);
}

static void op_status_set(struct vpmu_hw *hw, uint64_t mask)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (hw->caps.status_set)
		wrmsr(x86, is_amd(x86) ? MSR_AMD_STATUS_SET : MSR_STATUS_SET, mask);
}

/* They are a bit of each selector, so setting and clearing is done there. */
static uint64_t op_interrupts(struct vpmu_hw *hw)
{
	struct vpmu_x86_hw *x86 = of(hw);
	uint64_t mask = 0;

	if (x86->open)
		look_at_selectors(x86);
	for (uint64_t rest = x86->selected; rest;) {
		unsigned int i = next(&rest);

		if (x86->selector[i] & (i < FIXED ? SELECTOR_INT : GROUP_PMI))
			mask |= BIT(i);
	}
	return mask;
}

static void op_interrupts_change(struct vpmu_hw *hw, uint64_t mask)
{
	(void)hw;
	(void)mask;
}

/* ---- GLOBAL_CTRL: the guest's, the host's, and what host events need in both ---- */

static uint64_t events(const struct vpmu_x86_hw *x86)
{
	return x86->inside | x86->beyond;
}

/* (value), but for the counters of host events, of which (on) count. */
static uint64_t with_events(const struct vpmu_x86_hw *x86, uint64_t value, uint64_t on)
{
	return (value & ~events(x86)) | on;
}

/* The host's own bits of (value), those that host events cover as they were before. */
static uint64_t own_bits(const struct vpmu_x86_hw *x86, uint64_t value)
{
	return (value & ~events(x86)) | (x86->host_global & events(x86));
}

static uint64_t op_global(struct vpmu_hw *hw)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (is_amd(x86))
		return has_global(x86) ? rdmsr(x86, MSR_AMD_GLOBAL_CTL) & ~events(x86) : 0;
	if (!x86->port->guest_global)
		return 0;
	return x86->port->guest_global(x86->context) & ~events(x86);
}

/* AMD's host events are on the right side of the boundary by their selectors. */
static void op_set_global(struct vpmu_hw *hw, uint64_t value)
{
	struct vpmu_x86_hw *x86 = of(hw);

	x86->guest = value & hw->caps.counters;
	if (!is_amd(x86)) {
		if (x86->port->set_guest_global)
			x86->port->set_guest_global(x86->context,
						    with_events(x86, x86->guest, x86->inside));
	} else if (has_global(x86)) {
		wrmsr(x86, MSR_AMD_GLOBAL_CTL, with_events(x86, value, events(x86)));
	}
}

/* The register outside guests. */
static void put_outside(struct vpmu_x86_hw *x86, uint64_t value)
{
	if (value != x86->outside)
		wrmsr(x86, MSR_GLOBAL_CTRL, value);
	x86->outside = value;
}

static void look_at_host_global(struct vpmu_x86_hw *x86)
{
	x86->outside = rdmsr(x86, MSR_GLOBAL_CTRL);
	x86->host_global = own_bits(x86, x86->outside);
}

/*
 * While a guest owns counters, GLOBAL_CTRL outside it has what the host still counts. Without one others may
 * run: host events do not count on the wrong side of them either.
 */
static void put_globals(struct vpmu_x86_hw *x86, bool events_changed)
{
	uint64_t host = x86->has_guest ? x86->host_global & x86->host : x86->host_global;
	uint64_t guest = x86->has_guest ? x86->guest : x86->host_global;
	bool on = x86->has_guest || events(x86);

	if (!on)
		x86->port->switch_global(x86->context, false, 0);
	put_outside(x86, with_events(x86, host, x86->beyond));
	if (!on)
		return;
	if (events(x86) || events_changed)
		x86->port->set_guest_global(x86->context, with_events(x86, guest, x86->inside));
	x86->port->switch_global(x86->context, true, x86->outside);
}

static void intel_boundary(struct vpmu_x86_hw *x86, bool guest)
{
	bool had = x86->has_guest;

	if (!guest && !had)
		return;
	if (guest && !had)
		look_at_host_global(x86);
	x86->has_guest = guest;
	put_globals(x86, false);
}

static void intel_host(struct vpmu_x86_hw *x86, uint64_t inside, uint64_t outside)
{
	if (!x86->has_guest)
		look_at_host_global(x86);
	x86->inside = inside;
	x86->beyond = outside;
	put_globals(x86, true);
}

static void amd_host(struct vpmu_x86_hw *x86, uint64_t inside, uint64_t outside)
{
	uint64_t old = rdmsr(x86, MSR_AMD_GLOBAL_CTL);
	uint64_t value;

	if (!x86->has_guest)
		x86->host_global = own_bits(x86, old);
	x86->inside = inside;
	x86->beyond = outside;
	value = with_events(x86, x86->has_guest ? x86->guest : x86->host_global, events(x86));
	if (value != old)
		wrmsr(x86, MSR_AMD_GLOBAL_CTL, value);
}

static void op_host(struct vpmu_hw *hw, uint64_t inside, uint64_t outside)
{
	struct vpmu_x86_hw *x86 = of(hw);

	if (x86->inside == inside && x86->beyond == outside)
		return;
	if (is_amd(x86))
		amd_host(x86, inside, outside);
	else
		intel_host(x86, inside, outside);
}

static void op_host_select(struct vpmu_hw *hw, unsigned int i, uint64_t event, unsigned int flags)
{
	struct vpmu_x86_hw *x86 = of(hw);
	uint64_t selector = (event & (is_amd(x86) ? EVENT_AMD : EVENT)) | SELECTOR_EN;

	selector |= flags & VPMU_HOST_USER ? SELECTOR_USR : 0;
	selector |= flags & VPMU_HOST_KERNEL ? SELECTOR_OS : 0;
	selector |= flags & VPMU_HOST_INTERRUPT ? SELECTOR_INT : 0;
	if (is_amd(x86) && !(flags & VPMU_HOST_OUTSIDE))
		selector |= SELECTOR_GUEST_ONLY;
	if (is_amd(x86) && !(flags & VPMU_HOST_INSIDE))
		selector |= SELECTOR_HOST_ONLY;
	op_select(hw, i, selector);
}

static uint64_t op_time(struct vpmu_hw *hw)
{
	struct vpmu_x86_hw *x86 = of(hw);

	return x86->port->time ? x86->port->time(x86->context) : 0;
}

/* The host's PMU driver does not tell us what it writes. What to write for a guest stays known. */
static void forget(struct vpmu_x86_hw *x86, uint64_t mask)
{
	x86->known &= ~mask;
	x86->started &= ~mask;
}

static void op_boundary(struct vpmu_hw *hw, uint64_t guest, uint64_t host)
{
	struct vpmu_x86_hw *x86 = of(hw);

	x86->host = host;
	forget(x86, host);
	if (hw->caps.boundary == VPMU_BOUNDARY_ATOMIC)
		intel_boundary(x86, guest);
	else
		x86->has_guest = guest;
}

/* The embedder's intercepts follow vpmu_x86_intercepts(). */
static void op_reach(struct vpmu_hw *hw, enum vpmu_reach reach)
{
	of(hw)->open = reach == VPMU_REACH_ALL;
}

static void op_route(struct vpmu_hw *hw, enum vpmu_route route, int masked)
{
	struct vpmu_x86_hw *x86 = of(hw);
	uint32_t lvtpc = LVTPC_NMI;

	if (route == VPMU_ROUTE_GUEST)
		lvtpc = x86->vector | (masked ? VPMU_X86_LVTPC_MASKED : 0);
	hw->accesses++;
	x86->port->set_lvtpc(x86->context, lvtpc);
}

static const struct vpmu_hw_ops x86_ops = {
	.size = sizeof(struct vpmu_hw_ops),
	.stop = op_stop,
	.start = op_start,
	.started = op_started,
	.read = op_read,
	.write = op_write,
	.select = op_select,
	.selected = op_selected,
	.status = op_status,
	.status_clear = op_status_clear,
	.status_set = op_status_set,
	.interrupts = op_interrupts,
	.interrupts_clear = op_interrupts_change,
	.interrupts_set = op_interrupts_change,
	.global = op_global,
	.set_global = op_set_global,
	.boundary = op_boundary,
	.reach = op_reach,
	.route = op_route,
	.host_select = op_host_select,
	.host = op_host,
	.time = op_time,
};

/* ---- What the machine can do ---- */

static bool is_width(uint8_t width)
{
	return width >= VPMU_X86_WIDTH_MIN && width <= 63;
}

static bool is_intel_model(const struct vpmu_x86_model *pmu)
{
	if (pmu->version < 1 || pmu->gp > VPMU_X86_HW_GP_MAX || pmu->events_length > 8)
		return false;
	if (pmu->fixed > (pmu->version >= 2 ? VPMU_X86_FIXED_MAX : 0))
		return false;
	if (pmu->full_width_writes && !pmu->pdcm)
		return false;
	return is_width(pmu->gp_width) && (!pmu->fixed || is_width(pmu->fixed_width));
}

static bool is_amd_model(const struct vpmu_x86_model *pmu)
{
	bool core = pmu->core_extension || pmu->version >= 2;

	return pmu->version >= 1 && pmu->version <= 2 && pmu->fixed == 0 &&
	       pmu->gp >= 1 && pmu->gp <= (core ? 6 : 4) && is_width(pmu->gp_width);
}

static bool is_model(const struct vpmu_x86_model *pmu)
{
	switch (pmu->vendor) {
	case VPMU_X86_INTEL:
		return is_intel_model(pmu);
	case VPMU_X86_AMD:
		return is_amd_model(pmu);
	}
	return false;
}

static bool switches_global(const struct vpmu_x86_port *port)
{
	return port->guest_global && port->set_guest_global && port->switch_global;
}

static enum vpmu_boundary boundary_of(const struct vpmu_x86_hw *x86)
{
	if (!has_global(x86))
		return VPMU_BOUNDARY_NONE;
	if (is_amd(x86))
		return VPMU_BOUNDARY_GATED;
	return switches_global(x86->port) ? VPMU_BOUNDARY_ATOMIC : VPMU_BOUNDARY_NONE;
}

static uint64_t events_of(const struct vpmu_x86_model *pmu)
{
	if (pmu->vendor == VPMU_X86_AMD)
		return 0;
	return (BIT(pmu->events_length) - 1) & ~(uint64_t)pmu->events_missing;
}

static void describe(struct vpmu_x86_hw *x86)
{
	const struct vpmu_x86_model *pmu = &x86->pmu;
	uint64_t counters = (BIT(pmu->gp) - 1) | (BIT(pmu->fixed) - 1) << FIXED;
	bool amd = is_amd(x86);

	x86->hw.caps = (struct vpmu_hw_caps){
		.counters = counters,
		.selectable = counters,
		.status = !amd && pmu->version >= 4 ? STATUS_CTR_FRZ : 0,
		.global_enable = has_global(x86) ? counters : 0,
		.boundary = (uint8_t)boundary_of(x86),
		.fine_traps = 1,
		.host_counters = boundary_of(x86) == VPMU_BOUNDARY_NONE ? 0 : BIT(pmu->gp) - 1,
		.host_width = pmu->gp_width,
		.status_set = pmu->version >= (amd ? 2 : 4),
		.exact_writes = amd || pmu->full_width_writes,
		.self_masking = !amd,
		/* AnyThread; from version 5 on it is gone (SDM 20.2.5). */
		.multithreaded = !amd && (pmu->version == 3 || pmu->version == 4),
		.version = pmu->version,
		.identity = {
			VPMU_X86_IDENTITY(pmu->vendor, pmu->gp_width,
					  pmu->fixed ? pmu->fixed_width : 0) |
				(pmu->tsx ? VPMU_X86_IDENTITY_TSX : 0) |
				(pmu->metrics ? 0 : VPMU_X86_IDENTITY_NO_METRICS),
			events_of(pmu),
		},
	};
}

int vpmu_x86_hw_init(struct vpmu_x86_hw *x86, const struct vpmu_x86_model *pmu,
		     const struct vpmu_x86_port *port, void *context, uint8_t vector)
{
	if (pmu->size != sizeof(*pmu) || port->size != sizeof(*port))
		return VPMU_ERR_SIZE;
	if (!is_model(pmu) || vector < 16)
		return VPMU_ERR_PARAM;
	if (!port->rdmsr || !port->wrmsr || !port->rdpmc || !port->set_lvtpc)
		return VPMU_ERR_PARAM;
	*x86 = (struct vpmu_x86_hw){
		.hw = { .ops = &x86_ops },
		.port = port,
		.context = context,
		.pmu = *pmu,
		.vector = vector,
	};
	x86->pmu.core_extension |= is_amd(x86) && pmu->version >= 2;
	describe(x86);
	return 0;
}
