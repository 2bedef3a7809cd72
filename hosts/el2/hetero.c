/* SPDX-License-Identifier: MIT */
/*
 * hetero.c - physical CPUs with different PMUs, and which of them a guest has.
 *
 *	pmu-type=NAME:cpus=LIST[:counters=N][:events=LIST]
 *
 * makes CPUs that are alike act as if they were not: those in (cpus) have N event counters, and of the
 * events those in LIST (numbers that PMCEID speaks of). What is kept back counts for nobody: the capabilities of
 * these CPUs are cut before any guest sees them, and a selector of an event that is not in the list is
 * written as one that counts nowhere. Without the word all CPUs are of one kind.
 *
 * Towards a guest the monitor is the VMM: it makes the calls that a VMM makes for KVM_ARM_VCPU_PMU_V3_CTRL, in
 * their order, with what the guest's options say; libvpmu answers, also before each turn.
 */
#include "string.h"
#include "tenant.h"

#define TYPE_MAX 4u
#define FILTER_MAX 0x8000u           /* events in one call: its count is 16 bits wide */

#define EVTYPER_NOWHERE (BIT(31) | BIT(30)) /* P, U; NSH is 0 */

struct kind {
	char name[PMU_NAME_SIZE];    /* empty: of the machine that has one kind */
	uint32_t cpus;               /* bits */
	uint32_t counters;           /* 0: all */
	bool events_given;
	uint64_t ceid[2];            /* events, as in PMCEID */
	struct vpmu_machine part;
	struct vpmu_arm_pmu pmu;
};

static struct kind kinds[TYPE_MAX];
static unsigned int kind_count;
static struct vpmu_arm_pmus pmus;
static struct vpmu_machine *whole;
static struct vpmu_hw_ops reduced_ops;
static const struct vpmu_hw_ops *real_ops;

/* ---- Options ---- */

static size_t length_to(const char *s, const char *end, char stop)
{
	const char *at = memchr(s, stop, (size_t)(end - s));

	return (size_t)((at ? at : end) - s);
}

static bool is_name(const char *s, size_t length)
{
	if (!length || length >= PMU_NAME_SIZE)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!memchr("abcdefghijklmnopqrstuvwxyz0123456789-_", s[i], 38))
			return false;
	return true;
}

static const char *copy_name(char *to, const char *s, size_t length)
{
	if (!is_name(s, length))
		return "a name has 1 to 15 letters a-z, digits, - and _";
	memcpy(to, s, length);
	to[length] = '\0';
	return NULL;
}

static const char *add_cpus(void *to, uint32_t first, uint32_t last)
{
	struct kind *k = to;

	for (uint32_t i = first; i <= last; i++)
		k->cpus |= 1u << i;
	return NULL;
}

/* Where PMCEID has (event). returns: false: it does not speak of it. */
static bool ceid_bit(uint32_t event, unsigned int *half, uint64_t *bit)
{
	uint32_t common = event & ~0x4000u;

	*half = common / 32 % 2;
	*bit = BIT(common % 32 + (event == common ? 0 : 32));
	return common <= 0x3F;
}

static const char *add_events(void *to, uint32_t first, uint32_t last)
{
	struct kind *k = to;

	for (uint32_t event = first; event <= last; event++) {
		unsigned int half;
		uint64_t bit;

		if (!ceid_bit(event, &half, &bit))
			return "events are 0-0x3f and 0x4000-0x403f";
		k->ceid[half] |= bit;
	}
	return NULL;
}

static const char *set_cpus(struct kind *k, const char *s, const char *end)
{
	return parse_list(k, s, end, CPU_MAX - 1, add_cpus);
}

static const char *set_counters(struct kind *k, const char *s, const char *end)
{
	uint64_t n;

	if (!parse_number(&s, end, VPMU_ARM_EVENTS_MAX, &n) || s < end || !n)
		return "counters: not a number, or out of range";
	k->counters = (uint32_t)n;
	return NULL;
}

/* Software increments and cycles are in every PMU (D13.11). */
static const char *set_events(struct kind *k, const char *s, const char *end)
{
	k->events_given = true;
	k->ceid[0] |= BIT(0x00) | BIT(0x11);
	return parse_list(k, s, end, 0xFFFF, add_events);
}

static const struct {
	const char *prefix;
	const char *(*set)(struct kind *k, const char *s, const char *end);
} fields[] = {
	{ "cpus=", set_cpus },
	{ "counters=", set_counters },
	{ "events=", set_events },
};

static const char *set_field(struct kind *k, const char *s, const char *end)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		size_t n = strlen(fields[i].prefix);

		if ((size_t)(end - s) >= n && !memcmp(s, fields[i].prefix, n))
			return fields[i].set(k, s + n, end);
	}
	return "a PMU has NAME:cpus=LIST:counters=N:events=LIST";
}

static struct kind *find_kind(const char *name)
{
	for (unsigned int i = 0; i < kind_count; i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static bool is_placement(const char *name)
{
	return !strcmp(name, "common") || !strcmp(name, "fixed");
}

static const char *check_kind(const struct kind *k)
{
	if (!k->cpus)
		return "a PMU needs cpus=LIST";
	if (is_placement(k->name))
		return "no PMU can be named so";
	if (find_kind(k->name))
		return "there is one with this name";
	for (unsigned int i = 0; i < kind_count; i++)
		if (kinds[i].cpus & k->cpus)
			return "a CPU of it has one already";
	return NULL;
}

const char *hetero_describe(const char *s, const char *end)
{
	struct kind *k = &kinds[kind_count];
	size_t length = length_to(s, end, ':');
	const char *error;

	if (kind_count == TYPE_MAX)
		return "too many kinds of PMU";
	error = copy_name(k->name, s, length);
	for (s += length; !error && s < end; s += length) {
		s++;
		length = length_to(s, end, ':');
		error = set_field(k, s, s + length);
	}
	if (!error)
		error = check_kind(k);
	if (!error)
		kind_count++;
	return error;
}

const char *hetero_choice(struct vm_options *vm, const char *s, const char *end)
{
	return copy_name(vm->pmu, s, (size_t)(end - s));
}

bool hetero_is_described(void)
{
	return kind_count;
}

/* ---- Saying which CPUs ---- */

#define CPUS_TEXT (2 * CPU_MAX + 1)

/* "0,1" */
static const char *cpus_text(uint32_t mask, char *out)
{
	char *to = out;

	for (unsigned int i = 0; i < CPU_MAX; i++) {
		if (!(mask & 1u << i))
			continue;
		if (to > out)
			*to++ = ',';
		*to++ = (char)('0' + i);
	}
	*to = '\0';
	return out;
}

/* ---- What a kind has ---- */

static uint64_t counters_of(const struct kind *k, uint64_t there)
{
	uint64_t mine = k->counters ? BIT(k->counters) - 1 : UINT64_MAX;

	return there & (mine | BIT(VPMU_ARM_CYCLE));
}

/* A description keeps something back. It does not invent anything. */
static void must_have(const struct kind *k, const struct vpmu_hw_caps *there, unsigned int cpu)
{
	uint64_t events = there->counters & ~BIT(VPMU_ARM_CYCLE);

	if (k->counters && BIT(k->counters) - 1 > events)
		machine_fail("PMU \"%s\": %u counters, but CPU %u has %u\n", k->name, k->counters, cpu,
			     (unsigned int)__builtin_ctzll(~events));
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t gone = k->events_given ? k->ceid[i] & ~there->identity[i] : 0;
		unsigned int bit = gone ? (unsigned int)__builtin_ctzll(gone) : 0;

		if (gone)
			machine_fail("PMU \"%s\": CPU %u has no event 0x%x\n", k->name, cpu,
				     (bit < 32 ? 0 : 0x4000) + i * 32 + bit % 32);
	}
}

static void reduce(const struct kind *k, struct vpmu_hw_caps *caps)
{
	if (!k->counters && !k->events_given)
		return;
	caps->counters = counters_of(k, caps->counters);
	caps->selectable = counters_of(k, caps->selectable);
	caps->host_counters = counters_of(k, caps->host_counters);
	for (unsigned int i = 0; k->events_given && i < 2; i++)
		caps->identity[i] &= k->ceid[i];
	caps->reduced = 1;
}

/* The machine's other kind, of CPUs that no word is about, if there is no word at all. */
static void describe_machine(void)
{
	kinds[0].cpus = (1u << machine.cpu_count) - 1;
	kind_count = 1;
}

static void add_kind(struct kind *k, const struct vpmu_hw_caps *there)
{
	struct vpmu_hw_caps caps = *there;

	if (!(k->cpus & ((1u << machine.cpu_count) - 1)))
		machine_fail("PMU \"%s\": \"cpus=\" names no CPU of this machine\n", k->name);
	must_have(k, there, 0);
	reduce(k, &caps);
	vpmu_machine_part(&k->part, whole);
	vpmu_machine_add(&k->part, &caps);
	vpmu_machine_add(whole, &caps);
	k->pmu.type = (int32_t)(k - kinds) + 1;
	k->pmu.cpus.mask[0] = k->cpus;
	if (vpmu_arm_model_of(&k->part, &k->pmu.model) || vpmu_arm_pmus_add(&pmus, &k->pmu))
		machine_fail("PMU \"%s\": libvpmu does not take it\n", k->name);
}

void hetero_init(struct vpmu_machine *all)
{
	const struct vpmu_hw_caps there = all->caps;

	whole = all;
	vpmu_arm_pmus_init(&pmus);
	if (!kind_count)
		describe_machine();
	for (unsigned int i = 0; i < kind_count; i++)
		add_kind(&kinds[i], &there);
}

/* ---- A CPU of a kind ---- */

static struct kind *kind_of(unsigned int cpu)
{
	for (unsigned int i = 0; i < kind_count; i++)
		if (kinds[i].cpus & 1u << cpu)
			return &kinds[i];
	return NULL;
}

/* Also of what PMCEID does not speak of, if the description is complete. */
static bool kind_has(const struct kind *k, uint32_t event)
{
	unsigned int half;
	uint64_t bit;

	return !k->events_given || (ceid_bit(event, &half, &bit) && k->ceid[half] & bit);
}

static void reduced_select(struct vpmu_hw *hw, unsigned int i, uint64_t selector)
{
	const struct kind *k = kind_of(this_cpu()->index);

	if (i != VPMU_ARM_CYCLE && !kind_has(k, (uint32_t)selector & 0xFFFF))
		selector = (selector & ~BIT(27)) | EVTYPER_NOWHERE;
	real_ops->select(hw, i, selector);
}

static void reduced_host_select(struct vpmu_hw *hw, unsigned int i, uint64_t event,
				unsigned int flags)
{
	const struct kind *k = kind_of(this_cpu()->index);

	real_ops->host_select(hw, i, event, kind_has(k, (uint32_t)event & 0xFFFF) ? flags : 0);
}

void hetero_cpu_init(struct cpu *c)
{
	struct vpmu_hw *hw = &c->pmu.hw.hw;
	const struct kind *k = kind_of(c->index);

	if (!k)
		return;
	must_have(k, &hw->caps, c->index);
	reduce(k, &hw->caps);
	if (!hw->caps.reduced)
		return;
	/* The same for every CPU. */
	real_ops = hw->ops;
	reduced_ops = *hw->ops;
	reduced_ops.select = reduced_select;
	reduced_ops.host_select = reduced_host_select;
	hw->ops = &reduced_ops;
}

/* ---- The VMM ---- */

static enum vpmu_arm_placement placement_of(const struct vm_options *o)
{
	if (!strcmp(o->pmu, "common"))
		return VPMU_ARM_COMMON;
	return strcmp(o->pmu, "fixed") ? VPMU_ARM_ONE_PMU : VPMU_ARM_FIXED_ONLY;
}

/* The kind that the options name, or that of the first CPU on which the guest may run. */
static struct kind *choose_kind(const struct vm *vm)
{
	const struct vm_options *o = vm->options;
	unsigned int first = (unsigned int)__builtin_ctz(o->on);
	struct kind *k;

	if (!o->pmu[0] || is_placement(o->pmu)) {
		k = kind_of(first);
		if (!k)
			machine_fail("guest %u: CPU %u, its first, has no PMU\n", vm->index, first);
		return k;
	}
	k = find_kind(o->pmu);
	if (!k)
		machine_fail("guest %u: this machine has no PMU \"%s\"\n", vm->index, o->pmu);
	return k;
}

static int set_number(struct vm *vm, uint64_t attribute, uint32_t value)
{
	return vpmu_arm_attribute_set(&vm->vcpu[0].pmu_attributes, attribute, &value);
}

static struct vpmu_arm_model model_so_far(const struct vm *vm)
{
	struct vpmu_arm_model model;

	if (vpmu_arm_attributes_model(&vm->pmu_attributes, &model))
		machine_fail("guest %u: no PMU\n", vm->index);
	return model;
}

static void choose_counters(struct vm *vm)
{
	uint32_t there = model_so_far(vm).counters;
	uint32_t n = pmu_choose_counters(vm->options, there);

	if (set_number(vm, VPMU_ARM_ATTR_SET_NR_COUNTERS, n))
		machine_fail("option \"counters=%u\": %s has %u\n", n,
			     kinds[0].name[0] ? "this guest's PMU" : "this machine", there);
}

static int filter(struct vm *vm, uint32_t first, uint32_t count, bool allow)
{
	struct vpmu_arm_filter_range range = {
		.base_event = (uint16_t)first, .nevents = (uint16_t)count, .action = !allow,
	};

	return vpmu_arm_attribute_set(&vm->vcpu[0].pmu_attributes, VPMU_ARM_ATTR_FILTER, &range);
}

/* The first call decides about what is not listed. A PMU of Armv8.0 has 1024 events, no more. */
static void set_filter(struct vm *vm)
{
	const struct vm_options *o = vm->options;
	uint32_t space = model_so_far(vm).version < VPMU_ARM_V3P1 ? 1024 : VPMU_POLICY_EVENTS;
	int error = filter(vm, 0, 0, o->policy_allow);

	for (unsigned int i = 0; !error && i < o->policy_count; i++) {
		uint32_t end = o->policy[i].last < space ? o->policy[i].last + 1 : space;

		for (uint32_t at = o->policy[i].first; !error && at < end; at += FILTER_MAX)
			error = filter(vm, at, end - at < FILTER_MAX ? end - at : FILTER_MAX,
				       o->policy_allow);
	}
	if (error)
		machine_fail("guest %u: its policy: error %u\n", vm->index, (unsigned int)-error);
}

static void init_vcpus(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->cpu_count; i++) {
		struct vpmu_arm_vcpu_attributes *v = &vm->vcpu[i].pmu_attributes;
		const int32_t irq = PPI_PMU;

		if (vpmu_arm_attribute_set(v, VPMU_ARM_ATTR_IRQ, &irq) ||
		    vpmu_arm_attribute_set(v, VPMU_ARM_ATTR_INIT, NULL))
			machine_fail("guest %u: CPU %u does not get its PMU\n", vm->index, i);
	}
}

static void create_vcpus(struct vm *vm, const struct kind *k)
{
	unsigned int cpu = (unsigned int)__builtin_ctz(k->cpus);

	/* The monitor knows of no other placements. */
	(void)vpmu_arm_attributes_init(&vm->pmu_attributes, &pmus, placement_of(vm->options), true);
	vm->pmu_attributes.irqchip_ready = true;
	for (unsigned int i = 0; i < vm->cpu_count; i++)
		if (vpmu_arm_vcpu_attributes_init(&vm->vcpu[i].pmu_attributes, &vm->pmu_attributes,
						  true, cpu))
			machine_fail("guest %u: CPU %u has no PMU\n", vm->index, cpu);
}

/*
 * The default is the first CPU's kind, as under KVM; but there a guest's counters silently stop on other CPUs,
 * and here it is bound to its kind's.
 */
struct vpmu_machine *hetero_vm_init(struct vm *vm)
{
	struct kind *k = choose_kind(vm);

	create_vcpus(vm, k);
	if (set_number(vm, VPMU_ARM_ATTR_SET_PMU, (uint32_t)k->pmu.type))
		machine_fail("guest %u: PMU \"%s\" cannot be its own\n", vm->index, k->name);
	choose_counters(vm);
	if (vm->options->policy_given)
		set_filter(vm);
	init_vcpus(vm);
	vm->pmu_model = model_so_far(vm);
	return placement_of(vm->options) == VPMU_ARM_ONE_PMU ? &k->part : whole;
}

static void say_refused(const struct vcpu *v, unsigned int cpu)
{
	const struct vpmu_arm_pmu *chosen = v->vm->pmu_attributes.chosen;
	const struct kind *k = &kinds[chosen->type - 1];
	char text[CPUS_TEXT];

	if (v->vm->pmu_attributes.placement == VPMU_ARM_ONE_PMU)
		console_printf("vpmu: CPU %u refuses guest %u CPU %u: PMU \"%s\" is of CPUs %s\n", cpu,
			       v->vm->index, v->index, k->name, cpus_text(k->cpus, text));
	else
		console_printf("vpmu: CPU %u refuses guest %u CPU %u: it has no PMU\n", cpu,
			       v->vm->index, v->index);
}

bool hetero_may_run(struct vcpu *v, const struct cpu *c)
{
	int answer;

	if (!v->has_pmu)
		return true;
	spin_lock(&v->vm->lock);
	answer = vpmu_arm_attributes_run(&v->pmu_attributes, c->index);
	spin_unlock(&v->vm->lock);
	if (answer == VPMU_ARM_FAIL_ENTRY)
		say_refused(v, v->pmu_attributes.refused_cpu);
	else if (answer)
		machine_fail("guest %u: its PMU is not initialised\n", v->vm->index);
	return !answer;
}
