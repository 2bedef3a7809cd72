/* SPDX-License-Identifier: MIT */
#include "options.h"
#include "pmu_type.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576u

#define CPUS_MAX 4 /* what the monitor runs */
#define COUNTERS_MAX 31
/* With less, QEMU puts its device tree elsewhere: see image.c. */
#define MEMORY_MIN (256 * MIB)
#define MEMORY_MAX (255ull * 1024 * MIB)
/* What the PC takes, see hosts/pc/pc.h. */
#define PC_MEMORY_MIN (2 * MIB)
#define PC_MEMORY_MAX (3ull * 1024 * MIB)

#define ANY (ARCH_ARM64 | ARCH_X86)
#define ARM ARCH_ARM64
#define X86 ARCH_X86

struct option_row {
	unsigned int archs; /* enum arch, those that have it */
	const char *name;
	const char *value; /* what the value is called, NULL: the option takes none */
	void (*apply)(struct run_options *options, const char *value);
	const char *help;
};

void bad_value(const char *option, const char *value, const char *expected)
{
	die(EXIT_USAGE, "%s: '%s' is not %s", option, value, expected);
}

uint64_t number_between(const char *option, const char *value, uint64_t low, uint64_t high)
{
	uint64_t n;

	if (!parse_number(value, &n) || n < low || n > high)
		die(EXIT_USAGE, "%s: '%s' is not a number from %llu to %llu", option, value,
		    (unsigned long long)low, (unsigned long long)high);
	return n;
}

static void set_arch(struct run_options *o, const char *value)
{
	if (!strcmp(value, "arm64"))
		o->arch = ARCH_ARM64;
	else if (!strcmp(value, "x86"))
		o->arch = ARCH_X86;
	else
		bad_value("--arch", value, "arm64 or x86");
}

static void set_engine(struct run_options *o, const char *value)
{
	if (strcmp(value, "unicorn") != 0 && strcmp(value, "kvm") != 0)
		bad_value("--engine", value, "unicorn or kvm");
	o->x86.kvm = !strcmp(value, "kvm");
}

static void set_mode(struct run_options *o, const char *value)
{
	o->mode_name = value;
}

static void set_pmu(struct run_options *o, const char *value)
{
	o->pmu = value;
}

static void set_cpu(struct run_options *o, const char *value)
{
	o->cpu = value;
}

static void set_cpu_count(struct run_options *o, const char *value)
{
	o->cpu_count = number_between("--smp", value, 1, CPUS_MAX);
}

static void set_memory(struct run_options *o, const char *value)
{
	o->memory_text = value;
}

uint64_t size_between(const char *option, const char *value, uint64_t low, uint64_t high)
{
	char *digits = text("%s", value);
	size_t length = strlen(digits);
	char unit = length > 0 ? (char)toupper((unsigned char)digits[length - 1]) : '\0';
	uint64_t n, scale = unit == 'G' ? 1024ull * MIB : MIB;

	if (unit == 'G' || unit == 'M')
		digits[length - 1] = '\0';
	if (!parse_number(digits, &n) || n > MEMORY_MAX / MIB)
		bad_value(option, value, "a size such as 512M or 2G");
	n *= scale;
	if (n < low || n > high)
		die(EXIT_USAGE, "%s: %s is not between %lluM and %lluG", option, value,
		    (unsigned long long)(low / MIB), (unsigned long long)(high / MIB / 1024));
	return n;
}

/* An event number of 16 bits, decimal or 0x...; no other base, and no leading zero. */
static bool event_number(const char *s, uint64_t *event)
{
	if (s[0] == '0' && s[1] != '\0' && s[1] != 'x' && s[1] != 'X')
		return false;
	return parse_number(s, event) && *event <= 0xFFFF;
}

/* EVENT or FIRST-LAST; changes (word). */
static bool event_range(char *word)
{
	char *dash = strchr(word, '-');
	uint64_t first, last;

	if (!dash)
		return event_number(word, &first);
	*dash = '\0';
	return event_number(word, &first) && event_number(dash + 1, &last) && first <= last;
}

/* LIST: events and ranges separated by commas. */
static bool event_list(const char *list)
{
	char *copy = text("%s", list), *next = copy, *word;

	while ((word = strsep(&next, ",")) != NULL)
		if (!event_range(word))
			return false;
	return true;
}

void check_events(const char *option, const char *value)
{
	if (!event_list(value))
		bad_value(option, value, "a list of event numbers up to 0xffff");
}

void check_cpus(const char *option, const char *value)
{
	const char *dash = strchr(value, '-');
	char *first = text("%.*s", dash ? (int)(dash - value) : (int)strlen(value), value);
	uint64_t low = number_between(option, first, 0, CPUS_MAX - 1);

	if (dash)
		number_between(option, dash + 1, low, CPUS_MAX - 1);
}

void check_policy(const char *option, const char *value)
{
	const char *list = strchr(value, ':');

	if ((strncmp(value, "allow:", 6) != 0 && strncmp(value, "deny:", 5) != 0) ||
	    !event_list(list + 1))
		bad_value(option, value, "allow:LIST or deny:LIST with event numbers up to 0xffff");
}

/* The monitor takes one list: further ones of the same kind make it longer. */
static void add_policy(struct run_options *o, const char *value)
{
	check_policy("--policy", value);
	if (!o->policy) {
		o->policy = value;
		return;
	}
	if (o->policy[0] != value[0])
		die(EXIT_USAGE, "--policy: a guest has an allow list or a deny list, not both");
	o->policy = text("%s,%s", o->policy, strchr(value, ':') + 1);
}

/* What the monitor understands after "mode=". */
static const char *const monitor_modes[] = { "mediated", "partitioned", "emulated",
					     "passthrough", "off" };

static bool is_monitor_mode(const char *value)
{
	for (size_t i = 0; i < sizeof(monitor_modes) / sizeof(monitor_modes[0]); i++)
		if (!strcmp(monitor_modes[i], value))
			return true;
	return false;
}

void check_monitor_mode(const char *option, const char *value)
{
	if (!is_monitor_mode(value))
		bad_value(option, value, "mediated, partitioned, emulated, passthrough or off");
}

void check_counters(const char *option, const char *value)
{
	number_between(option, value, 1, COUNTERS_MAX);
}

void check_pmu_version(const char *option, const char *value)
{
	static const char *const versions[] = { "v3", "v3p1", "v3p4", "v3p5" };

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (!strcmp(versions[i], value))
			return;
	bad_value(option, value, "v3, v3p1, v3p4 or v3p5");
}

static void set_counters(struct run_options *o, const char *value)
{
	check_counters("--counters", value);
	args_add(&o->words, text("counters=%s", value));
}

static void set_pmu_version(struct run_options *o, const char *value)
{
	check_pmu_version("--pmu-version", value);
	args_add(&o->words, text("version=%s", value));
}

static void set_switch(struct run_options *o, const char *value)
{
	if (strcmp(value, "lazy") != 0 && strcmp(value, "eager") != 0)
		bad_value("--switch", value, "lazy or eager");
	o->switch_name = value;
	args_add(&o->words, text("switch=%s", value));
}

static void set_stats(struct run_options *o, const char *value)
{
	(void)value;
	o->x86.stats = true;
	args_add(&o->words, "stats");
}

static void set_profile(struct run_options *o, const char *value)
{
	o->profile.sides = value ? value : "all";
	if (strcmp(o->profile.sides, "all") != 0 && strcmp(o->profile.sides, "guests") != 0 &&
	    strcmp(o->profile.sides, "hypervisor") != 0)
		bad_value("--host-profile", value, "hypervisor, guests or all");
}

/* Below, the monitor would do nothing else. */
#define PERIOD_MIN 10000u

static void set_profile_period(struct run_options *o, const char *value)
{
	if (number_between("--host-profile-period", value, 0, 1ull << 31) != 0)
		number_between("--host-profile-period", value, PERIOD_MIN, 1ull << 31);
	o->profile.period = value;
}

static void set_profile_event(struct run_options *o, const char *value)
{
	if (strcmp(value, "cycles") != 0 && strcmp(value, "instructions") != 0)
		bad_value("--host-profile-event", value, "cycles or instructions");
	o->profile.event = value;
}

static void set_profile_out(struct run_options *o, const char *value)
{
	o->profile.out = value;
}

static void set_limit(struct run_options *o, const char *value)
{
	o->x86.limit = number_between("--limit", value, 1, UINT64_MAX);
}

static void set_caches(struct run_options *o, const char *value)
{
	(void)value;
	o->x86.caches = true;
}

static void set_skid(struct run_options *o, const char *value)
{
	o->x86.skid = (unsigned int)number_between("--skid", value, 0, X86_SKID_MAX);
}

static void set_source(struct run_options *o, const char *value)
{
	if (strcmp(value, "auto") != 0 && strcmp(value, "perf") != 0 && strcmp(value, "time") != 0)
		bad_value("--source", value, "auto, perf or time");
	o->x86.source = value;
}

static void set_no_patch(struct run_options *o, const char *value)
{
	(void)value;
	o->x86.no_patch = true;
}

static void set_kernel(struct run_options *o, const char *value)
{
	o->kernel = value;
}

static void set_initrd(struct run_options *o, const char *value)
{
	o->initrd = value;
}

static void set_append(struct run_options *o, const char *value)
{
	o->append = value;
}

static void add_vm(struct run_options *o, const char *value)
{
	if (o->vm_count == VM_MAX)
		die(EXIT_USAGE, "--vm: more than %u guests", VM_MAX);
	o->vm_text[o->vm_count++] = value;
}

static void add_pmu_type(struct run_options *o, const char *value)
{
	args_add(&o->words, pmu_type_word(value));
}

static void set_monitor(struct run_options *o, const char *value)
{
	o->monitor = value;
}

static void add_monitor_word(struct run_options *o, const char *value)
{
	args_add(&o->words, value);
}

static void set_qemu(struct run_options *o, const char *value)
{
	o->qemu = value;
}

static void add_qemu_arg(struct run_options *o, const char *value)
{
	args_add(&o->qemu_args, value);
}

static void set_timeout(struct run_options *o, const char *value)
{
	o->timeout = number_between("--timeout", value, 1, 1000000);
}

static void clear_icount(struct run_options *o, const char *value)
{
	(void)value;
	o->icount = false;
}

static void set_semihosting(struct run_options *o, const char *value)
{
	(void)value;
	o->semihosting = true;
}

static void set_testdev(struct run_options *o, const char *value)
{
	(void)value;
	o->testdev = true;
}

static void set_interactive(struct run_options *o, const char *value)
{
	(void)value;
	o->interactive = true;
}

static void set_dry_run(struct run_options *o, const char *value)
{
	(void)value;
	o->dry_run = true;
}

static const struct option_row rows[] = {
	{ ANY, "--arch", "ARCH", set_arch, "the guest's architecture: arm64 (default) or x86" },
	{ ANY, "--mode", "MODE", set_mode, "who counts for the guest, see below" },
	{ ANY, "--memory", "SIZE", set_memory, "memory, e.g. 512M (default: 1G; x86: 256M)" },
	{ ANY, "--policy", "POLICY", add_policy,
	  "allow:LIST or deny:LIST of event numbers; repeatable" },
	{ ANY, "--switch", "KIND", set_switch, "world switch: lazy (default) or eager" },
	{ ANY, "--stats", NULL, set_stats, "print statistics at the end" },
	{ ANY, "--timeout", "S", set_timeout,
	  "end the guest after S seconds of host time, status 124" },
	{ ANY, "--smp", "N", set_cpu_count, "CPUs, 1 to 4 (default: 1)" },
	{ ANY, "--initrd", "FILE", set_initrd, "the guest's initial ramdisk" },
	{ ARM, "--cpu", "MODEL", set_cpu, "QEMU's CPU model (default: max, without SVE and SME)" },
	{ ARM, "--counters", "N", set_counters, "event counters of the guest's PMU, see vpmu(1)" },
	{ ARM, "--pmu-version", "V", set_pmu_version,
	  "its version: v3, v3p1, v3p4, v3p5 (default: the machine's)" },
	{ ARM, "--kernel", "FILE", set_kernel, "an arm64 Image (default: a Debian kernel)" },
	{ ARM, "--append", "STR", set_append, "more words for the guest's command line" },
	{ ANY, "--vm", "SPEC", add_vm,
	  "a guest among several: KEY=VALUE,..., see vpmu(1); repeatable" },
	{ ARM, "--pmu-type", "SPEC", add_pmu_type,
	  "some CPUs have another PMU: NAME,cpus=LIST,..., see vpmu(1)" },
	{ ARM, "--host-profile", "[=WHAT]", set_profile,
	  "the host profiles hypervisor, guests or all (default)" },
	{ ARM, "--host-profile-period", "N", set_profile_period,
	  "a sample every N events; 0: counts alone" },
	{ ARM, "--host-profile-event", "EVENT", set_profile_event,
	  "of cycles (default) or instructions" },
	{ ARM, "--host-profile-out", "FILE", set_profile_out, "folded stacks" },
	{ ARM, "--no-icount", NULL, clear_icount, "real time instead of counted instructions" },
	{ ARM, "--interactive", NULL, set_interactive, "^C goes to the guest; ^A x ends the run" },
	{ ARM, "--qemu", "PATH", set_qemu, "the qemu-system-aarch64 to use" },
	{ ARM, "--monitor", "FILE", set_monitor, "the monitor's image" },
	{ ARM, "--monitor-word", "WORD", add_monitor_word,
	  "a word for the monitor's command line" },
	{ ARM, "--semihosting", NULL, set_semihosting,
	  "semihosting; the guest can reach host files" },
	{ ARM, "--testdev", NULL, set_testdev, "a virtio console whose packets end the guest" },
	{ ARM, "--qemu-arg", "ARG", add_qemu_arg, "one more argument for QEMU; repeatable" },
	{ ARM, "--dry-run", NULL, set_dry_run, "print QEMU's command line and do nothing" },
	{ X86, "--engine", "ENGINE", set_engine,
	  "what executes the guest: unicorn (default) or kvm" },
	{ X86, "--pmu", "PMU", set_pmu,
	  "the PMU: intel:v=2,gp=8,fixed=3 (default), amd:v2 ...; with --vm the machine's" },
	{ X86, "--source", "SOURCE", set_source,
	  "kvm: what counts: perf, time, or auto (default), perf where it counts anything" },
	{ X86, "--no-patch", NULL, set_no_patch,
	  "kvm: never change the guest's text, at the price of its PMU" },
	{ X86, "--limit", "N", set_limit, "end the guest after N instructions, status 124" },
	{ X86, "--caches", NULL, set_caches, "model the last-level cache, and count its events" },
	{ X86, "--skid", "N", set_skid, "overflows are seen N instructions late, up to 64" },
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))
_Static_assert(ROW_COUNT <= 64, "rows_used");

static void print_rows(FILE *to, unsigned int archs)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (rows[i].archs == archs)
			fprintf(to, "  %-14s %-6s  %s\n", rows[i].name,
				rows[i].value ? rows[i].value : "", rows[i].help);
}

static void usage(FILE *to)
{
	fputs("usage: vpmu run [OPTION...]\n"
	      "       vpmu run --arch x86 [OPTION...] GUEST [ARGUMENT...]\n\n"
	      "arm64: runs a guest under the EL2 monitor in QEMU, by default a Debian kernel that\n"
	      "profiles itself. x86: runs GUEST, a multiboot or PVH image, on a PC in software;\n"
	      "with --engine kvm on Linux KVM, and Linux kernels, too.\n"
	      "The exit status is the guest's verdict.\n\n",
	      to);
	print_rows(to, ANY);
	fputs("  -h, --help             this text\n"
	      "  -n N, -m SIZE, -c      short for --limit, --memory, --caches\n"
	      "arm64, MODE mediated (default), partitioned, emulated, passthrough, off,\n"
	      "bare, bare-el2:\n", to);
	print_rows(to, ARM);
	fputs("x86, MODE mediated (default), emulated, bare:\n", to);
	print_rows(to, X86);
}

/* Short names, for what is typed often. */
static const char *long_name(const char *word)
{
	static const char *const names[][2] = {
		{ "-n", "--limit" }, { "-m", "--memory" }, { "-c", "--caches" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i][0], word))
			return names[i][1];
	return word;
}

/* The row of (word), which is an option's name or NAME=VALUE. */
static size_t find_row(const char *word)
{
	size_t length;

	word = long_name(word);
	length = strcspn(word, "=");
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (strlen(rows[i].name) == length && !strncmp(rows[i].name, word, length))
			return i;
	die(EXIT_USAGE, "no option is named '%.*s'; 'vpmu run --help' lists them", (int)length,
	    word);
}

/* The option at argv[i]; the answer is the index of the last word it used. */
static int parse_one(struct run_options *options, int argc, char **argv, int i)
{
	size_t n = find_row(argv[i]);
	const struct option_row *row = &rows[n];
	const char *value = strchr(argv[i], '=');

	options->rows_used |= 1ull << n;
	if (!row->value) {
		if (value)
			die(EXIT_USAGE, "%s takes no value", row->name);
		row->apply(options, NULL);
		return i;
	}
	if (value || row->value[0] == '[') {
		row->apply(options, value ? value + 1 : NULL);
		return i;
	}
	if (i + 1 >= argc)
		die(EXIT_USAGE, "%s needs a value: %s", row->name, row->value);
	row->apply(options, argv[i + 1]);
	return i + 1;
}

/* ---- What all options together mean ---- */

static const struct mode_row {
	enum arch arch;
	const char *name;
	enum mode mode;
} modes[] = {
	/* The first of an architecture is its default. */
	{ ARCH_ARM64, "monitor", MODE_MONITOR },
	{ ARCH_ARM64, "mediated", MODE_MONITOR },
	{ ARCH_ARM64, "partitioned", MODE_MONITOR },
	{ ARCH_ARM64, "emulated", MODE_MONITOR },
	{ ARCH_ARM64, "passthrough", MODE_MONITOR },
	{ ARCH_ARM64, "off", MODE_MONITOR },
	{ ARCH_ARM64, "bare", MODE_BARE },
	{ ARCH_ARM64, "bare-el2", MODE_BARE_EL2 },
	{ ARCH_X86, "mediated", MODE_MEDIATED },
	{ ARCH_X86, "emulated", MODE_EMULATED },
	{ ARCH_X86, "bare", MODE_BARE },
};

static enum mode find_mode(const struct run_options *o)
{
	if (o->x86.kvm && !o->mode_name)
		return MODE_EMULATED;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (modes[i].arch == o->arch &&
		    (!o->mode_name || !strcmp(modes[i].name, o->mode_name)))
			return modes[i].mode;
	bad_value("--mode", o->mode_name, o->arch == ARCH_X86 ? "mediated, emulated or bare"
							      : "mediated, partitioned, emulated, passthrough, off, "
								"bare or bare-el2");
}

static void check_arch(const struct run_options *o)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (o->rows_used >> i & 1 && !(rows[i].archs & o->arch))
			die(EXIT_USAGE, "%s is for --arch %s", rows[i].name,
			    rows[i].archs & ARCH_X86 ? "x86" : "arm64");
}

/* What is about one guest stands in its --vm where there are several. */
static void check_several(const struct run_options *o)
{
	static const char *const about_one[] = { "--kernel", "--initrd", "--append", "--policy",
						 "--switch", "--memory", "--testdev", "--counters",
						 "--pmu-version" };

	if (o->mode != MODE_MONITOR)
		die(EXIT_USAGE, "--vm is for the monitor, which --mode %s leaves out",
		    o->mode_name);
	for (size_t i = 0; i < sizeof(about_one) / sizeof(about_one[0]); i++)
		if (o->rows_used >> find_row(about_one[i]) & 1)
			die(EXIT_USAGE, "%s is for one guest; with --vm it is said there",
			    about_one[i]);
}

static void check_arm64(struct run_options *o)
{
	for (unsigned int i = 0; i < o->vm_count; i++)
		parse_vm(&o->vm[i], o->vm_text[i]);
	if (o->vm_count > 0)
		check_several(o);
	else if (o->rows_used >> find_row("--pmu-type") & 1)
		die(EXIT_USAGE, "--pmu-type is for guests of --vm");
	if (o->x86.guest)
		die(EXIT_USAGE, "'%s' is not an option; arm64 takes its guest by --kernel",
		    o->x86.guest);
	if (o->mode_name && is_monitor_mode(o->mode_name)) {
		if (o->vm_count > 0)
			die(EXIT_USAGE, "--mode %s is for one guest; with --vm it is said there",
			    o->mode_name);
		args_add(&o->words, text("mode=%s", o->mode_name));
	}
	if (o->profile.sides)
		profile_words(&o->words, &o->profile);
	else if (o->profile.period || o->profile.event || o->profile.out)
		die(EXIT_USAGE, "--host-profile-...: only with --host-profile");
	if (o->mode != MODE_MONITOR && o->words.count > 0)
		die(EXIT_USAGE, "'%s' is for the monitor, which --mode bare leaves out",
		    o->words.list[0]);
	if (o->mode != MODE_MONITOR && o->monitor)
		die(EXIT_USAGE, "--monitor and --mode bare exclude each other");
}

static bool is_used(const struct run_options *o, const char *option)
{
	return o->rows_used >> find_row(option) & 1;
}

/* KVM has no hardware PMU to give, and no instruction counts. */
static void check_engine(const struct run_options *o)
{
	static const char *const of_unicorn[] = { "--limit", "--caches" };
	static const char *const of_kvm[] = { "--initrd", "--source", "--no-patch" };

	if (o->x86.kvm && o->mode != MODE_EMULATED)
		die(EXIT_USAGE, "--engine kvm has --mode emulated only");
	for (size_t i = 0; i < sizeof(of_unicorn) / sizeof(of_unicorn[0]); i++)
		if (o->x86.kvm && is_used(o, of_unicorn[i]))
			die(EXIT_USAGE, "%s is for --engine unicorn", of_unicorn[i]);
	for (size_t i = 0; i < sizeof(of_kvm) / sizeof(of_kvm[0]); i++)
		if (!o->x86.kvm && is_used(o, of_kvm[i]))
			die(EXIT_USAGE, "%s is for --engine kvm", of_kvm[i]);
	if (!o->x86.kvm && o->vm_count == 0 && is_used(o, "--smp"))
		die(EXIT_USAGE, "--smp is for --engine kvm, and for the CPUs that guests of --vm share");
}

/* What is about one guest stands in its --vm where there are several. */
static void check_x86_several(const struct run_options *o)
{
	static const char *const about_one[] = { "--mode", "--memory", "--policy", "--switch" };

	if (o->x86.kvm)
		die(EXIT_USAGE, "--vm is for --engine unicorn");
	if (o->x86.guest)
		die(EXIT_USAGE, "'%s' is one guest too many: with --vm it is said there", o->x86.guest);
	for (size_t i = 0; i < sizeof(about_one) / sizeof(about_one[0]); i++)
		if (is_used(o, about_one[i]))
			die(EXIT_USAGE, "%s is for one guest; with --vm it is said there",
			    about_one[i]);
	check_engine(o);
}

static void check_x86(const struct run_options *o)
{
	if (o->vm_count > 0) {
		check_x86_several(o);
		return;
	}
	if (!o->x86.guest)
		die(EXIT_USAGE, "--arch x86 needs a guest: a multiboot or PVH image");
	check_engine(o);
	if (o->mode == MODE_BARE && o->policy)
		die(EXIT_USAGE, "--policy is libvpmu's, which --mode bare leaves out");
	if (o->mode != MODE_MEDIATED && o->switch_name)
		die(EXIT_USAGE, "--switch is for --mode mediated");
	if (o->mode == MODE_EMULATED && o->x86.skid)
		die(EXIT_USAGE, "--skid is the physical PMU's, which --mode emulated does not use");
}

static void resolve(struct run_options *o)
{
	check_arch(o);
	o->mode = find_mode(o);
	if (!o->memory_text)
		o->memory_text = o->arch == ARCH_X86 ? "256M" : "1G";
	if (o->arch == ARCH_ARM64) {
		o->memory = size_between("--memory", o->memory_text, MEMORY_MIN, MEMORY_MAX);
		if (o->policy)
			args_add(&o->words, text("policy=%s", o->policy));
		check_arm64(o);
		return;
	}
	o->memory = size_between("--memory", o->memory_text, PC_MEMORY_MIN, PC_MEMORY_MAX);
	check_x86(o);
	x86_parse_pmu(&o->x86, o->pmu ? o->pmu : o->vm_count > 0 ? "intel:v=5" : "intel");
}

void parse_run_options(struct run_options *options, int argc, char **argv)
{
	*options = (struct run_options){
		.arch = ARCH_ARM64,
		.cpu = "max",
		.cpu_count = 1,
		.icount = true,
		.x86 = { .limit = UINT64_MAX },
	};
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			usage(stdout);
			exit(0);
		}
		if (argv[i][0] != '-') {
			options->x86.guest = argv[i];
			options->x86.arguments = argv + i + 1;
			options->x86.argument_count = argc - i - 1;
			break;
		}
		i = parse_one(options, argc, argv, i);
	}
	resolve(options);
}
