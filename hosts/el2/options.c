/* SPDX-License-Identifier: MIT */
/*
 * options.c - the monitor's options: words in the machine's /chosen/bootargs.
 *
 *	stats                print statistics at the guest's end
 *	switch=lazy|eager    the PMU's world switch
 *	policy=allow:LIST    the guest counts these events only
 *	policy=deny:LIST     ... all but these
 *	mode=off|mediated|partitioned|emulated|passthrough
 *	                     the guest has no PMU; all of the machine's (default); a part of it; one that
 *	                     counts on counters that nobody has at the moment; the machine's without traps,
 *	                     for the only guest that has any
 *	counters=N           it has N event counters instead of all (partitioned: half; emulated: one less)
 *	version=v3|v3p1|v3p4|v3p5
 *	                     its PMU's version, not above the machine's
 *	pmu-type=NAME:cpus=LIST[:counters=N][:events=LIST]
 *	                     these CPUs have a PMU of their own kind (hetero.c)
 *	profile=hypervisor|guests|all
 *	                     the host profiles itself, the guests, or both, and says so at the end
 *	profile-period=N     a sample every so many events; 0: none (default: 1000002)
 *	profile-event=cycles|instructions
 *	                     ... of these (default: cycles)
 *	profile-key=WORD     stands in each line of the profile, and no guest gets to know it
 *	vm                   another guest: what follows is about it alone
 *	  kernel=ADDRESS     its kernel module, where the loader put it; it must have one
 *	  initrd=ADDRESS     its initial ramdisk
 *	  memory=N           MiB of memory; the first guest has what the others leave
 *	  cpus=N             its CPUs (default 1)
 *	  on=LIST            the machine's CPUs on which it may run (default: all)
 *	  pmu=NAME|common|fixed
 *	                     which kind of PMU it has (default: that of its first CPU)
 *	  wait=yes|no        does the machine go on until it ends? (default: yes)
 *
 * LIST: numbers or FIRST-LAST, separated by commas. Numbers are decimal or 0x hexadecimal. A word
 * that is not understood is an error: a policy that was mistyped must not run as no policy.
 */
#include "tenant.h"
#include "string.h"

#define PERIOD_DEFAULT 1000002u      /* even: see docs/qemu.md */
/* Much more than taking a sample costs: or nothing else would be done. */
#define PERIOD_MIN 10000u

struct options options = { .vm = { { .cpus = 1 } }, .profile_period = PERIOD_DEFAULT };

static bool starts_with(const char *s, size_t length, const char *prefix)
{
	size_t n = strlen(prefix);

	return length >= n && !memcmp(s, prefix, n);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

bool parse_number(const char **s, const char *end, uint64_t max, uint64_t *out)
{
	uint64_t base = 10;
	const char *first;

	if (starts_with(*s, (size_t)(end - *s), "0x")) {
		base = 16;
		*s += 2;
	}
	*out = 0;
	for (first = *s; *s < end && digit_value(**s) < (int)base; (*s)++) {
		uint64_t digit = (uint64_t)digit_value(**s);

		if (digit > max || *out > (max - digit) / base)
			return false;
		*out = *out * base + digit;
	}
	return *s > first;
}

const char *parse_list(void *to, const char *s, const char *end, uint64_t max,
		       const char *(*add)(void *to, uint32_t a, uint32_t b))
{
	do {
		uint64_t first, last;
		const char *error;

		if (!parse_number(&s, end, max, &first))
			return "a number in it is missing or too large";
		last = first;
		if (s < end && *s == '-') {
			s++;
			if (!parse_number(&s, end, max, &last) || last < first)
				return "it has something that is not a range";
		}
		error = add(to, (uint32_t)first, (uint32_t)last);
		if (error)
			return error;
		if (s < end && *s++ != ',')
			return "numbers are separated by commas";
	} while (s < end);
	return NULL;
}

static const char *add_events(void *to, uint32_t first, uint32_t last)
{
	struct vm_options *vm = to;

	if (vm->policy_count == POLICY_RANGES)
		return "too many events";
	vm->policy[vm->policy_count++] = (struct vpmu_event_range){ first, last };
	return NULL;
}

static const char *add_cpus(void *to, uint32_t first, uint32_t last)
{
	struct vm_options *vm = to;

	for (uint32_t i = first; i <= last; i++)
		vm->on |= 1u << i;
	return NULL;
}

static const char *set_policy(struct vm_options *vm, const char *s, const char *end)
{
	bool allow = starts_with(s, (size_t)(end - s), "allow:");

	if (!allow && !starts_with(s, (size_t)(end - s), "deny:"))
		return "a policy is allow:LIST or deny:LIST";
	if (vm->policy_given)
		return "a policy was given before";
	vm->policy_given = true;
	vm->policy_allow = allow;
	s += strlen(allow ? "allow:" : "deny:");
	return s < end ? parse_list(vm, s, end, 0xFFFF, add_events) : NULL;
}

static bool is(const char *s, const char *end, const char *word)
{
	return (size_t)(end - s) == strlen(word) && !memcmp(s, word, strlen(word));
}

static const char *set_switch(struct vm_options *vm, const char *s, const char *end)
{
	vm->eager = is(s, end, "eager");
	return vm->eager || is(s, end, "lazy") ? NULL : "the switch is lazy or eager";
}

static const struct { const char *word; enum pmu_mode value; } modes[] = {
	{ "off", PMU_OFF },
	{ "mediated", PMU_MEDIATED },
	{ "partitioned", PMU_PARTITIONED },
	{ "emulated", PMU_EMULATED },
	{ "passthrough", PMU_PASSTHROUGH },
};

static const char *set_mode(struct vm_options *vm, const char *s, const char *end)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (is(s, end, modes[i].word)) {
			vm->mode = modes[i].value;
			return NULL;
		}
	}
	return "the mode is off, mediated, partitioned, emulated or passthrough";
}

static const struct { const char *word; enum vpmu_arm_version value; } versions[] = {
	{ "v3", VPMU_ARM_V3 },
	{ "v3p1", VPMU_ARM_V3P1 },
	{ "v3p4", VPMU_ARM_V3P4 },
	{ "v3p5", VPMU_ARM_V3P5 },
};

static const char *set_version(struct vm_options *vm, const char *s, const char *end)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (is(s, end, versions[i].word)) {
			vm->version = versions[i].value;
			return NULL;
		}
	}
	return "the version is v3, v3p1, v3p4 or v3p5";
}

static const char *set_wait(struct vm_options *vm, const char *s, const char *end)
{
	vm->awaited = is(s, end, "yes");
	return vm->awaited || is(s, end, "no") ? NULL : "it is yes or no";
}

static const char *set_on(struct vm_options *vm, const char *s, const char *end)
{
	vm->on = 0;
	return parse_list(vm, s, end, CPU_MAX - 1, add_cpus);
}

static const char *whole_number(const char *s, const char *end, uint64_t max, uint64_t *out)
{
	if (parse_number(&s, end, max, out) && s == end && *out)
		return NULL;
	return "not a number, or out of range";
}

static const char *set_counters(struct vm_options *vm, const char *s, const char *end)
{
	uint64_t n = 0;
	const char *error = whole_number(s, end, VPMU_ARM_EVENTS_MAX, &n);

	vm->counters = (uint32_t)n;
	return error;
}

static const char *set_cpu_count(struct vm_options *vm, const char *s, const char *end)
{
	uint64_t n = 0;
	const char *error = whole_number(s, end, VCPU_MAX, &n);

	vm->cpus = (uint32_t)n;
	return error;
}

static const char *set_memory(struct vm_options *vm, const char *s, const char *end)
{
	const char *error = whole_number(s, end, UINT64_C(1) << 20, &vm->memory);

	vm->memory <<= 20;
	return error ? error : vm->memory % BLOCK_SIZE ? "not a multiple of 2 MiB" : NULL;
}

static const char *set_kernel(struct vm_options *vm, const char *s, const char *end)
{
	return whole_number(s, end, UINT64_MAX, &vm->kernel);
}

static const char *set_initrd(struct vm_options *vm, const char *s, const char *end)
{
	return whole_number(s, end, UINT64_MAX, &vm->initrd);
}

/* "name=VALUE"; some are for a guest among several. */
static const struct {
	const char *prefix;
	bool several;
	const char *(*set)(struct vm_options *vm, const char *s, const char *end);
} values[] = {
	{ "policy=", false, set_policy },
	{ "switch=", false, set_switch },
	{ "mode=", false, set_mode },
	{ "counters=", false, set_counters },
	{ "version=", false, set_version },
	{ "kernel=", true, set_kernel },
	{ "initrd=", true, set_initrd },
	{ "memory=", true, set_memory },
	{ "cpus=", true, set_cpu_count },
	{ "on=", true, set_on },
	{ "wait=", true, set_wait },
	{ "pmu=", true, hetero_choice },
};

static const struct vm_options defaults = { .cpus = 1, .on = (1u << CPU_MAX) - 1, .awaited = true };
static bool is_set;                  /* something about the one guest */

/* ---- The host's profile ---- */

static const char *set_profile(const char *s, const char *end)
{
	static const struct { const char *word; uint32_t sides; } words[] = {
		{ "hypervisor", PROFILE_HOST },
		{ "guests", PROFILE_GUESTS },
		{ "all", PROFILE_HOST | PROFILE_GUESTS },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (is(s, end, words[i].word)) {
			options.profile = words[i].sides;
			return NULL;
		}
	}
	return "it is hypervisor, guests or all";
}

static const char *set_profile_period(const char *s, const char *end)
{
	uint64_t *period = &options.profile_period;

	if (!parse_number(&s, end, UINT64_C(1) << 31, period) || s != end)
		return "not a number, or out of range";
	return *period && *period < PERIOD_MIN ? "it is 0, or at least 10000" : NULL;
}

static const char *set_profile_event(const char *s, const char *end)
{
	options.profile_instructions = is(s, end, "instructions");
	if (options.profile_instructions || is(s, end, "cycles"))
		return NULL;
	return "the event is cycles or instructions";
}

static const char *set_profile_key(const char *s, const char *end)
{
	size_t length = (size_t)(end - s);

	if (!length || length > PROFILE_KEY_MAX)
		return "too short, or too long";
	memcpy(options.profile_key, s, length);
	options.profile_key[length] = '\0';
	options.profile_key_at = s;
	return NULL;
}

/* "name=VALUE" about the whole machine. */
static const struct {
	const char *prefix;
	const char *(*set)(const char *s, const char *end);
} machine_values[] = {
	{ "profile=", set_profile },
	{ "profile-period=", set_profile_period },
	{ "profile-event=", set_profile_event },
	{ "profile-key=", set_profile_key },
};

static const char *add_vm(void)
{
	if (options.vm_count == VM_MAX)
		return "too many guests";
	if (!options.vm_count && is_set)
		return "what comes before it is about no guest";
	options.vm[options.vm_count++] = defaults;
	return NULL;
}

static const char *parse_word(const char *s, size_t length)
{
	struct vm_options *vm = &options.vm[options.vm_count ? options.vm_count - 1 : 0];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (!starts_with(s, length, values[i].prefix))
			continue;
		if (values[i].several && !options.vm_count)
			return "only after \"vm\"";
		is_set = true;
		return values[i].set(vm, s + strlen(values[i].prefix), s + length);
	}
	for (size_t i = 0; i < sizeof(machine_values) / sizeof(machine_values[0]); i++) {
		size_t n = strlen(machine_values[i].prefix);

		if (starts_with(s, length, machine_values[i].prefix))
			return machine_values[i].set(s + n, s + length);
	}
	if (is(s, s + length, "vm"))
		return add_vm();
	if (starts_with(s, length, "pmu-type="))
		return hetero_describe(s + strlen("pmu-type="), s + length);
	if (!is(s, s + length, "stats"))
		return "unknown option";
	options.stats = true;
	return NULL;
}

const char *options_parse(const char *words, const char **word, size_t *length)
{
	for (;;) {
		const char *error;

		while (*words == ' ')
			words++;
		*word = words;
		while (*words && *words != ' ')
			words++;
		*length = (size_t)(words - *word);
		if (!*length)
			return NULL;
		error = parse_word(*word, *length);
		if (error)
			return error;
	}
}
