/* SPDX-License-Identifier: MIT */
/* Names that every scenario has: words of cases, registers, constants, functions, commands. */
#include "play.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <vpmu/arm.h>
#include <vpmu/x86.h>

const char *const play_arch_names[PLAY_ARCHS] = {
	[PLAY_INTEL] = "intel", [PLAY_AMD] = "amd", [PLAY_ARM] = "arm",
};

const char *const play_mode_labels[PLAY_MODES] = {
	[PLAY_CHEAP] = "emulated cheap",
	[PLAY_DEAR] = "emulated dear",
	[PLAY_LAZY] = "mediated lazy",
	[PLAY_EAGER] = "mediated eager",
	[PLAY_PARTITIONED] = "partitioned lazy",
	[PLAY_PARTITIONED_EAGER] = "partitioned eager",
	[PLAY_PASSTHROUGH] = "passed through",
	[PLAY_OFF] = "off",
	[PLAY_BARE] = "bare",
};

#define ANY_ARCH ((1u << PLAY_ARCHS) - 1)
#define ANY_MODE ((1u << PLAY_MODES) - 1)
#define EMULATED (1u << PLAY_CHEAP | 1u << PLAY_DEAR)
#define PARTITIONED (1u << PLAY_PARTITIONED | 1u << PLAY_PARTITIONED_EAGER)
#define MEDIATED (1u << PLAY_LAZY | 1u << PLAY_EAGER)

/* What is partitioned or passed through is mediated, and has one of the two switches. */
const struct play_word play_words[] = {
	{ "intel", 1u << PLAY_INTEL, ANY_MODE, 0 },
	{ "amd", 1u << PLAY_AMD, ANY_MODE, 0 },
	{ "arm", 1u << PLAY_ARM, ANY_MODE, 0 },
	{ "x86", PLAY_X86, ANY_MODE, 0 },
	{ "emulated", ANY_ARCH, EMULATED, EMULATED },
	{ "mediated", ANY_ARCH, MEDIATED | PARTITIONED | 1u << PLAY_PASSTHROUGH, MEDIATED },
	{ "partitioned", ANY_ARCH, PARTITIONED, PARTITIONED },
	{ "cheap", ANY_ARCH, 1u << PLAY_CHEAP, 1u << PLAY_CHEAP },
	{ "dear", ANY_ARCH, 1u << PLAY_DEAR, 1u << PLAY_DEAR },
	{ "passthrough", ANY_ARCH, 1u << PLAY_PASSTHROUGH, 1u << PLAY_PASSTHROUGH },
	{ "off", ANY_ARCH, 1u << PLAY_OFF, 1u << PLAY_OFF },
	{ "bare", ANY_ARCH, 1u << PLAY_BARE, 1u << PLAY_BARE },
	{ "lazy", ANY_ARCH, 1u << PLAY_LAZY | 1u << PLAY_PARTITIONED | 1u << PLAY_PASSTHROUGH,
	  1u << PLAY_LAZY },
	{ "eager", ANY_ARCH, 1u << PLAY_EAGER | 1u << PLAY_PARTITIONED_EAGER, 1u << PLAY_EAGER },
};

const struct play_word *play_find_word(const char *name)
{
	for (size_t i = 0; i < PLAY_COUNT(play_words); i++) {
		if (!strcmp(play_words[i].name, name))
			return &play_words[i];
	}
	return NULL;
}

bool play_word_holds(const struct play_word *word, enum play_arch arch, enum play_mode mode)
{
	return word->archs >> arch & 1 && word->modes >> mode & 1;
}

const char *const play_outcome_names[PLAY_OUTCOMES] = {
	[PLAY_OK] = "OK",
	[PLAY_GP] = "GP",
	[PLAY_UNDEF] = "UNDEF",
	[PLAY_EL1] = "EL1",
	[PLAY_NOT_MINE] = "NOT_MINE",
	[PLAY_AGAIN] = "AGAIN",
	[PLAY_E_PARAM] = "E_PARAM",
	[PLAY_E_SIZE] = "E_SIZE",
	[PLAY_E_STATE] = "E_STATE",
	[PLAY_E_UNSUPPORTED] = "E_UNSUPPORTED",
	[PLAY_E_LIMIT] = "E_LIMIT",
	[PLAY_E_BUSY] = "E_BUSY",
	[PLAY_E_WATCHDOG] = "E_WATCHDOG",
};

int play_find_outcome(const char *name)
{
	for (int i = 0; i < PLAY_OUTCOMES; i++) {
		if (!strcmp(play_outcome_names[i], name))
			return i;
	}
	return -1;
}

/* ---- Constants ---- */

static const struct {
	const char *name;
	uint64_t number;
} constants[] = {
	{ "COUNTING", VPMU_COUNTER_COUNTING },
	{ "STOPPED", VPMU_COUNTER_STOPPED },
	{ "STARVED", VPMU_COUNTER_STARVED },
	{ "DENIED", VPMU_COUNTER_DENIED },
	{ "UNSUPPORTED", VPMU_COUNTER_UNSUPPORTED },
	{ "ABSENT", VPMU_COUNTER_ABSENT },
	{ "HOST", VPMU_OWNER_HOST },
	{ "LIVE", VPMU_OWNER_LIVE },
	{ "PARKED", VPMU_OWNER_PARKED },
	{ "ALLOW", 0 }, /* KVM_PMU_EVENT_ALLOW */
	{ "DENY", 1 },	/* KVM_PMU_EVENT_DENY */
	{ "eax", 0 },
	{ "ebx", 1 },
	{ "ecx", 2 },
	{ "edx", 3 },
	{ "p0", VPMU_ARM_V3 },
	{ "p1", VPMU_ARM_V3P1 },
	{ "p4", VPMU_ARM_V3P4 },
	{ "p5", VPMU_ARM_V3P5 },
	{ "MEANS_RAW", VPMU_MEANS_RAW },
	{ "MEANS_INSTRUCTIONS", VPMU_MEANS_INSTRUCTIONS },
	{ "MEANS_CYCLES", VPMU_MEANS_CYCLES },
	{ "MEANS_REFERENCE_CYCLES", VPMU_MEANS_REFERENCE_CYCLES },
	{ "MEANS_LLC_REFERENCES", VPMU_MEANS_LLC_REFERENCES },
	{ "MEANS_LLC_MISSES", VPMU_MEANS_LLC_MISSES },
	{ "MEANS_BRANCHES", VPMU_MEANS_BRANCHES },
	{ "MEANS_BRANCH_MISSES", VPMU_MEANS_BRANCH_MISSES },
	{ "FINE_TRAPS", VPMU_REACH_FINE_TRAPS },
	{ "OPEN", VPMU_REACH_OPEN },
	{ "POLICY", VPMU_REACH_POLICY },
	{ "UNSAFE", VPMU_REACH_UNSAFE },
	{ "SHAPE", VPMU_REACH_SHAPE },
	{ "SHARED", VPMU_REACH_SHARED },
	{ "EMULATED", VPMU_REACH_EMULATED },
	/* The embedder's, so not in the library's table. */
	{ "IA32_MISC_ENABLE", 0x1A0 },
};

bool play_find_constant(const char *name, uint64_t *number)
{
	int outcome = play_find_outcome(name);

	for (size_t i = 0; i < PLAY_COUNT(constants); i++) {
		if (!strcmp(constants[i].name, name)) {
			*number = constants[i].number;
			return true;
		}
	}
	*number = (uint64_t)outcome;
	return outcome >= 0;
}

const char play_prelude[] =
	"define SEL(e) = 0x430000 | e\n"
	"define SELI(e) = 0x530000 | e\n"
	"define FIXED(i) = 32 + i\n"
	"define CTL(i) = intel ? IA32_PERFEVTSEL(i) : core ? PERF_CTL(i) : K7_EVNTSEL(i)\n"
	"define CTR(i) = intel ? IA32_PERFCTR(i) : core ? PERF_CTR(i) : K7_PERFCTR(i)\n"
	"define GLOBAL_CTRL = intel ? IA32_PERF_GLOBAL_CTRL : PerfCntrGlobalCtl\n"
	"define GLOBAL_STATUS = intel ? IA32_PERF_GLOBAL_STATUS : PerfCntrGlobalStatus\n"
	"define GLOBAL_RESET = intel ? IA32_PERF_GLOBAL_STATUS_RESET : PerfCntrGlobalStatusClr\n"
	"define INSTRUCTIONS = arm ? 0x08 : 0xC0\n"
	"define CYCLES = arm ? 0x11 : intel ? 0x3C : 0x76\n"
	"define REFERENCE_CYCLES = intel ? 0x13C : 0\n"
	"define LLC_REFERENCES = arm ? 0x36 : intel ? 0x4F2E : 0\n"
	"define LLC_MISSES = arm ? 0x37 : intel ? 0x412E : 0\n"
	"define BRANCHES = arm ? 0x21 : intel ? 0xC4 : 0xC2\n"
	"define BRANCH_MISSES = arm ? 0x22 : intel ? 0xC5 : 0xC3\n";

/* ---- Registers ---- */

/* One row of either table. */
struct row {
	const char *name;
	struct play_family family;
};

static bool x86_row(size_t n, struct row *row)
{
	struct vpmu_x86_reg_info info;

	if (vpmu_x86_reg_info(n, &info))
		return false;
	*row = (struct row){ info.name, { info.index, info.members, info.stride } };
	return true;
}

static bool arm_row(size_t n, struct row *row)
{
	struct vpmu_arm_reg_info info;

	if (vpmu_arm_reg_info(n, &info))
		return false;
	*row = (struct row){ info.name, { info.reg, info.members, 0 } };
	return true;
}

static uint64_t member(const struct play_family *family, unsigned int n)
{
	return family->stride ? family->first + (uint64_t)n * family->stride
			      : vpmu_arm_reg_member(family->first, n);
}

/* Is (name) that of a row, with "<n>" left out (*n is then -1) or a number? */
static bool matches(const char *row, const char *name, int *n)
{
	const char *hole = strstr(row, "<n>");
	size_t length = hole ? (size_t)(hole - row) : strlen(row);
	char *end;

	*n = -1;
	if (strncmp(row, name, length))
		return false;
	if (!hole)
		return name[length] == '\0';
	if (!strcmp(name + length, hole + 3))
		return true;
	if (!isdigit((unsigned char)name[length]) ||
	    (name[length] == '0' && isdigit((unsigned char)name[length + 1])))
		return false;
	*n = (int)strtoul(name + length, &end, 10);
	return !strcmp(end, hole + 3);
}

static bool find_in(bool (*get)(size_t n, struct row *row), const char *name, struct row *found,
		    int *n)
{
	for (size_t i = 0; get(i, found); i++) {
		if (matches(found->name, name, n))
			return true;
	}
	return false;
}

static bool find(const char *name, struct row *row, int *n)
{
	return find_in(x86_row, name, row, n) || find_in(arm_row, name, row, n);
}

bool play_find_register(const char *name, uint64_t *number)
{
	struct row row;
	int n;

	if (!find(name, &row, &n) || (strstr(row.name, "<n>") && n < 0) ||
	    (n >= 0 && (uint32_t)n >= row.family.members))
		return false;
	*number = n < 0 ? row.family.first : member(&row.family, (unsigned int)n);
	return true;
}

bool play_find_family(const char *name, struct play_family *family)
{
	struct row row;
	int n;

	if (!find(name, &row, &n) || n >= 0 || !strstr(row.name, "<n>"))
		return false;
	*family = row.family;
	return true;
}

static bool is_vendors(size_t row, enum play_arch arch)
{
	struct vpmu_x86_reg_info info;

	return !vpmu_x86_reg_info(row, &info) &&
	       info.vendor == (arch == PLAY_AMD ? VPMU_X86_AMD : VPMU_X86_INTEL);
}

static void put_name(char *text64, const char *name, unsigned int n)
{
	const char *hole = strstr(name, "<n>");

	if (hole)
		snprintf(text64, 64, "%.*s%u%s", (int)(hole - name), name, n, hole + 3);
	else
		snprintf(text64, 64, "%s", name);
}

const char *play_register_name(enum play_arch arch, uint64_t number, char *text64)
{
	bool (*get)(size_t n, struct row *row) = arch == PLAY_ARM ? arm_row : x86_row;
	struct row row;

	for (size_t i = 0; get(i, &row); i++) {
		if (arch != PLAY_ARM && !is_vendors(i, arch))
			continue;
		for (unsigned int n = 0; n < row.family.members; n++) {
			if (member(&row.family, n) == number) {
				put_name(text64, row.name, n);
				return text64;
			}
		}
	}
	snprintf(text64, 64, "%#llx", (unsigned long long)number);
	return text64;
}

/* ---- Functions and commands ---- */

const struct play_function *play_find_function(const char *name)
{
	static const struct play_function *const tables[] = {
		play_look_functions, play_guest_functions, play_beside_functions,
	};

	for (size_t t = 0; t < PLAY_COUNT(tables); t++) {
		for (const struct play_function *f = tables[t]; f->name; f++) {
			if (!strcmp(f->name, name))
				return f;
		}
	}
	return NULL;
}

const struct play_command *play_find_command(const char *name)
{
	static const struct play_command *const tables[] = {
		play_guest_commands, play_host_commands, play_source_commands,
		play_beside_commands,
	};

	for (size_t t = 0; t < PLAY_COUNT(tables); t++) {
		for (const struct play_command *c = tables[t]; c->name; c++) {
			if (!strcmp(c->name, name))
				return c;
		}
	}
	return NULL;
}
