/* SPDX-License-Identifier: MIT */
/* The options of `vpmu run`, checked as far as that is possible without files. */
#ifndef VPMU_TOOLS_OPTIONS_H
#define VPMU_TOOLS_OPTIONS_H

#include "common.h"
#include "profile.h"
#include "vm.h"
#include "x86.h"

enum arch {
	ARCH_ARM64 = 1,
	ARCH_X86 = 2,
};

enum mode {
	MODE_MONITOR,  /* arm64: the guest at EL1 under our monitor */
	MODE_BARE,     /* the guest alone; arm64: at EL1 of a machine without EL2 */
	MODE_BARE_EL2, /* arm64: the guest alone, at EL2 */
	MODE_EMULATED, /* x86 */
	MODE_MEDIATED, /* x86 */
};

struct run_options {
	enum arch arch;
	enum mode mode;
	const char *cpu;     /* as given, e.g. "max" */
	uint64_t cpu_count;
	uint64_t memory;     /* bytes */
	const char *policy;  /* NULL: none, else "allow:LIST" or "deny:LIST" */
	struct args words;   /* for the monitor's command line, from several options */
	const char *kernel;  /* NULL: the default guest's */
	const char *initrd;  /* NULL: the default guest's, or none with --kernel */
	const char *append;  /* NULL: nothing */
	const char *monitor; /* NULL: found beside the command */
	const char *qemu;    /* NULL: searched */
	struct args qemu_args;
	const char *vm_text[VM_MAX]; /* as given */
	struct vm_spec vm[VM_MAX];   /* arm64 */
	unsigned int vm_count; /* 0: one guest, described by the rest */
	uint64_t timeout;    /* seconds, 0: none */
	bool icount;
	bool semihosting;
	bool testdev;
	bool interactive;
	bool dry_run;
	struct profile_options profile;
	struct x86_options x86;
	/* As given, for messages and for checks that need all options. */
	const char *mode_name;
	const char *switch_name;
	const char *memory_text;
	const char *pmu;
	uint64_t rows_used;  /* which rows of the option table, as bits */
};

/* For values of options; all exit with a message that names (option). */
void bad_value(const char *option, const char *value, const char *expected)
	__attribute__((noreturn));
uint64_t number_between(const char *option, const char *value, uint64_t low, uint64_t high);
uint64_t size_between(const char *option, const char *value, uint64_t low, uint64_t high);
/* N or FIRST-LAST. */
void check_cpus(const char *option, const char *value);
void check_events(const char *option, const char *value);
void check_policy(const char *option, const char *value);
void check_monitor_mode(const char *option, const char *value);
void check_counters(const char *option, const char *value);
void check_pmu_version(const char *option, const char *value);

/* Exits with a message when (argv) makes no sense, and with 0 after --help. */
void parse_run_options(struct run_options *options, int argc, char **argv);

#endif /* VPMU_TOOLS_OPTIONS_H */
