/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576u

#define CPUS_MAX 4 /* what the monitor runs */
/* With less, QEMU puts its device tree elsewhere: see image.c. */
#define MEMORY_MIN (256 * MIB)
#define MEMORY_MAX (255ull * 1024 * MIB)

struct option_row {
	const char *name;
	const char *value; /* what the value is called, NULL: the option takes none */
	void (*apply)(struct run_options *options, const char *value);
	const char *help;
};

static void __attribute__((noreturn)) bad(const char *option, const char *value,
					  const char *expected)
{
	die(EXIT_USAGE, "%s: '%s' is not %s", option, value, expected);
}

static uint64_t number_between(const char *option, const char *value, uint64_t low, uint64_t high)
{
	uint64_t n;

	if (!parse_number(value, &n) || n < low || n > high)
		die(EXIT_USAGE, "%s: '%s' is not a number from %llu to %llu", option, value,
		    (unsigned long long)low, (unsigned long long)high);
	return n;
}

static void set_arch(struct run_options *o, const char *value)
{
	(void)o; /* there is one so far */
	if (strcmp(value, "arm64") != 0)
		bad("--arch", value, "arm64, the only architecture so far");
}

static void set_mode(struct run_options *o, const char *value)
{
	if (!strcmp(value, "monitor"))
		o->mode = MODE_MONITOR;
	else if (!strcmp(value, "bare"))
		o->mode = MODE_BARE;
	else if (!strcmp(value, "bare-el2"))
		o->mode = MODE_BARE_EL2;
	else
		bad("--mode", value, "monitor, bare or bare-el2");
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
	char *digits = text("%s", value);
	size_t length = strlen(digits);
	char unit = length > 0 ? (char)toupper((unsigned char)digits[length - 1]) : '\0';
	uint64_t n, scale = unit == 'G' ? 1024ull * MIB : MIB;

	if (unit == 'G' || unit == 'M')
		digits[length - 1] = '\0';
	if (!parse_number(digits, &n) || n > MEMORY_MAX / MIB)
		bad("--memory", value, "a size such as 512M or 2G");
	o->memory = n * scale;
	if (o->memory < MEMORY_MIN || o->memory > MEMORY_MAX)
		die(EXIT_USAGE, "--memory: %s is not between 256M and 255G", value);
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

/* The monitor takes one list: further ones of the same kind make it longer. */
static void add_policy(struct run_options *o, const char *value)
{
	const char *list = strchr(value, ':');

	if ((strncmp(value, "allow:", 6) != 0 && strncmp(value, "deny:", 5) != 0) ||
	    !event_list(list + 1))
		bad("--policy", value, "allow:LIST or deny:LIST with event numbers up to 0xffff");
	if (!o->policy) {
		o->policy = value;
		return;
	}
	if (o->policy[0] != value[0])
		die(EXIT_USAGE, "--policy: a guest has an allow list or a deny list, not both");
	o->policy = text("%s,%s", o->policy, list + 1);
}

static void set_switch(struct run_options *o, const char *value)
{
	if (strcmp(value, "lazy") != 0 && strcmp(value, "eager") != 0)
		bad("--switch", value, "lazy or eager");
	args_add(&o->words, text("switch=%s", value));
}

static void set_stats(struct run_options *o, const char *value)
{
	(void)value;
	args_add(&o->words, "stats");
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
	{ "--arch", "ARCH", set_arch, "the guest's architecture: arm64" },
	{ "--cpu", "MODEL", set_cpu, "QEMU's CPU model (default: max, without SVE and SME)" },
	{ "--smp", "N", set_cpu_count, "CPUs, 1 to 4 (default: 1)" },
	{ "--memory", "SIZE", set_memory, "memory, e.g. 512M or 2G (default: 1G)" },
	{ "--policy", "POLICY", add_policy, "allow:LIST or deny:LIST of event numbers; repeatable" },
	{ "--switch", "KIND", set_switch, "world switch: lazy (default) or eager" },
	{ "--kernel", "FILE", set_kernel, "an arm64 Image (default: a Debian kernel)" },
	{ "--initrd", "FILE", set_initrd, "its initial ramdisk" },
	{ "--append", "STR", set_append, "more words for the guest's command line" },
	{ "--stats", NULL, set_stats, "the monitor prints its statistics at the end" },
	{ "--no-icount", NULL, clear_icount, "real time instead of counted instructions" },
	{ "--timeout", "S", set_timeout, "end the guest after S seconds of host time, status 124" },
	{ "--interactive", NULL, set_interactive, "^C goes to the guest; ^A x ends the run" },
	{ "--qemu", "PATH", set_qemu, "the qemu-system-aarch64 to use" },
	{ "--monitor", "FILE", set_monitor, "the monitor's image" },
	{ "--monitor-word", "WORD", add_monitor_word, "a word for the monitor's command line" },
	{ "--mode", "MODE", set_mode, "monitor (default); bare: the same guest without it" },
	{ "--semihosting", NULL, set_semihosting, "semihosting; the guest can reach host files" },
	{ "--testdev", NULL, set_testdev, "a virtio console whose packets end the guest" },
	{ "--qemu-arg", "ARG", add_qemu_arg, "one more argument for QEMU; repeatable" },
	{ "--dry-run", NULL, set_dry_run, "print QEMU's command line and do nothing" },
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static void usage(FILE *to)
{
	fputs("usage: vpmu run [OPTION...]\n\n"
	      "Runs a guest under the EL2 monitor in QEMU; by default a Debian kernel that\n"
	      "profiles itself. The exit status is the guest's verdict.\n\n",
	      to);
	for (size_t i = 0; i < ROW_COUNT; i++)
		fprintf(to, "  %-14s %-6s  %s\n", rows[i].name, rows[i].value ? rows[i].value : "",
			rows[i].help);
	fputs("  -h, --help             this text\n", to);
}

/* The row of (word), which is an option's name or NAME=VALUE. */
static const struct option_row *find_row(const char *word)
{
	size_t length = strcspn(word, "=");

	for (size_t i = 0; i < ROW_COUNT; i++)
		if (strlen(rows[i].name) == length && !strncmp(rows[i].name, word, length))
			return &rows[i];
	die(EXIT_USAGE, "no option is named '%.*s'; 'vpmu run --help' lists them", (int)length,
	    word);
}

/* The option at argv[i]; the answer is the index of the last word it used. */
static int parse_one(struct run_options *options, int argc, char **argv, int i)
{
	const struct option_row *row = find_row(argv[i]);
	const char *value = strchr(argv[i], '=');

	if (!row->value) {
		if (value)
			die(EXIT_USAGE, "%s takes no value", row->name);
		row->apply(options, NULL);
		return i;
	}
	if (value) {
		row->apply(options, value + 1);
		return i;
	}
	if (i + 1 >= argc)
		die(EXIT_USAGE, "%s needs a value: %s", row->name, row->value);
	row->apply(options, argv[i + 1]);
	return i + 1;
}

static void check_together(const struct run_options *o)
{
	if (o->mode != MODE_MONITOR && o->words.count > 0)
		die(EXIT_USAGE, "'%s' is for the monitor, which --mode bare leaves out",
		    o->words.list[0]);
	if (o->mode != MODE_MONITOR && o->monitor)
		die(EXIT_USAGE, "--monitor and --mode bare exclude each other");
}

void parse_run_options(struct run_options *options, int argc, char **argv)
{
	*options = (struct run_options){
		.cpu = "max",
		.cpu_count = 1,
		.memory = 1024ull * MIB,
		.icount = true,
	};
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			usage(stdout);
			exit(0);
		}
		i = parse_one(options, argc, argv, i);
	}
	if (options->policy)
		args_add(&options->words, text("policy=%s", options->policy));
	check_together(options);
}
