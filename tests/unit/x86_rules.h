/* SPDX-License-Identifier: MIT */
/*
 * Every register of the x86 guest and what an access of it does, written down from the manuals (SDM
 * vol. 3 ch. 20 and vol. 4; APM vol. 2 13.2), not derived from core's table. Where Linux KVM and
 * the manual differ, the manual holds; but a version 1 guest has no GLOBAL_CTRL, as under KVM.
 */
#ifndef VPMU_TESTS_X86_RULES_H
#define VPMU_TESTS_X86_RULES_H

#include <vpmu/x86.h>

#include "support.h"

#define FIXED0 32u

/* ---- Guests ---- */

#define INTEL(v) \
	.size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_INTEL, .version = (v)
#define AMD(v) .size = sizeof(struct vpmu_x86_model), .vendor = VPMU_X86_AMD, .version = (v)

/* Every version of both vendors: the Intel ones first, in the order of leaf_a in x86_cpuid.c. */
#define MODELS 16u
extern const struct vpmu_x86_model models[MODELS];
/* One with all there is: version 4. */
#define FULL_MODEL (&models[8])

#define FOR_EACH_MODEL(m) for (const struct vpmu_x86_model *m = models; m < models + MODELS; m++)

struct guest {
	struct vpmu_machine machine;
	struct vpmu_x86_model model;
	struct vpmu_vm vm;
	struct vpmu_vcpu v;
};

/* Emulated: no physical PMU has to fit, and no source is needed where nothing runs. */
void guest_init(struct guest *g, const struct vpmu_x86_model *m, const struct vpmu_policy *policy);

bool is_intel(const struct vpmu_x86_model *m);
/* AMD's core extension. */
bool has_core(const struct vpmu_x86_model *m);
uint64_t counters_of(const struct vpmu_x86_model *m);
uint64_t mask_status(const struct vpmu_x86_model *m, unsigned int n);
uint64_t mask_debugctl(const struct vpmu_x86_model *m, unsigned int n);

/* ---- The registers ---- */

enum holds {
	GP_VALUE, FIXED_VALUE, SELECTOR, FIXED_CTRL, STATUS, GLOBAL, DEBUG,
	NOTHING, INUSE, CAPABILITIES,
};

/* What a write does with a bit outside of the mask, and with the others. */
enum does {
	CHECKED,      /* outside: refused; else kept */
	CUT,          /* outside: dropped */
	SIGNED,       /* 32 bits, sign-extended, cut */
	REFUSED,      /* whatever the value */
	IGNORED,
	CLEARS,       /* outside: refused; clears what is named in STATUS */
	CLEARS_ANY,
	SETS,         /* outside: refused; sets it */
	SETS_CUT,
	SAME_ONLY,    /* refused unless it is what it reads */
};

enum needs { NEEDS_NOTHING, NEEDS_PDCM, NEEDS_FULL_WIDTH, NEEDS_CORE };
enum which { ONE, GP, FIXED };

struct rule {
	const char *name;
	uint32_t index;
	unsigned int members, stride;
	enum which which;
	enum vpmu_x86_vendor vendor;
	unsigned int since;
	enum needs needs;
	enum holds holds;
	uint64_t (*mask)(const struct vpmu_x86_model *m, unsigned int n);
	enum does guest, host;
	bool saved;
};

#define RULES 20u
extern const struct rule rules[RULES];

/* Is member (n) of (r) there for a guest of (m)? Is it in the save list? */
bool is_there(const struct rule *r, const struct vpmu_x86_model *m, unsigned int n);
bool is_saved(const struct rule *r, const struct vpmu_x86_model *m);
/* The P6 had two counters, and old software probes them without asking. */
bool is_p6_counter(const struct rule *r, unsigned int n);
uint32_t index_of(const struct rule *r, unsigned int n);

/* ---- A register file that obeys them ---- */

struct file {
	uint64_t value[FIXED0 + 4];
	uint64_t selector[FIXED0];
	uint64_t fixed_ctrl, global, status, debug;
};

void file_reset(struct file *f, const struct vpmu_x86_model *m);

/* (g) is in the state that (f) says; every register reads so, for the guest and for the host. */
void expect_state(struct guest *g, const struct file *f, const char *after);
void expect_reads(struct guest *g, struct file *f, const char *after);

/* One write, the guest's or the (host)'s, to both; its outcome and effect are as they should be. */
void write_both(struct guest *g, struct file *f, const struct rule *r, unsigned int n, bool host,
		uint64_t value);
/* Sixty writes of any kind. */
void scramble(struct guest *g, struct file *f, struct rng *rng);

#endif
