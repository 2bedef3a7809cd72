/* SPDX-License-Identifier: MIT */
/*
 * `vpmu play`: scenario scripts for PMUs, see vpmu-play(5). A file becomes a tree (play_lex.c,
 * play_parse.c, play_expr.c), which is run once for each of its cases (play_run.c) in a world of
 * its own: physical CPUs, VMs and vCPUs (play_world.c), and the loop of a hypervisor (play_loop.c).
 */
#ifndef VPMU_TOOLS_PLAY_H
#define VPMU_TOOLS_PLAY_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common.h"

#define PLAY_FILE_MAX (256u * 1024) /* bytes of a file */
#define PLAY_DEPTH_MAX 64u          /* blocks and parentheses in each other */
#define PLAY_NAMES_MAX 128u         /* variables, arrays, definitions of a file */
#define PLAY_ELEMENTS_MAX 65536u    /* of all arrays of a file */
#define PLAY_PARAMS_MAX 4u
#define PLAY_MODELS_MAX 16u
#define PLAY_VMS_MAX 4u
#define PLAY_VCPUS_MAX 8u
#define PLAY_CPUS_MAX 4u
#define PLAY_SLOTS_MAX 16u          /* filters, saved states, and host events, of a file */
#define PLAY_WORK_MAX 100000000u    /* steps and parts of expressions of a case */

#define PLAY_BIT(n) ((uint64_t)1 << (n))
#define PLAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A sign of two characters, as an operator. */
#define PLAY_PAIR(a, b) ((a) << 8 | (b))

/* ---- What a case is ---- */

enum play_arch { PLAY_INTEL, PLAY_AMD, PLAY_ARM, PLAY_ARCHS };

enum play_mode {
	PLAY_CHEAP,
	PLAY_DEAR,
	PLAY_LAZY,                   /* from here on: counters of the hardware */
	PLAY_EAGER,
	PLAY_PARTITIONED,            /* with the lazy switch */
	PLAY_PARTITIONED_EAGER,
	PLAY_PASSTHROUGH,
	PLAY_OFF,                    /* on a physical CPU, and has none of its counters */
	PLAY_BARE,                   /* no hypervisor: the guest on the software PMU itself */
	PLAY_MODES,
};

/* What `matrix all` stands for. The others need a model that is to their taste. */
#define PLAY_ALL (1u << PLAY_CHEAP | 1u << PLAY_DEAR | 1u << PLAY_LAZY | 1u << PLAY_EAGER)

/* What a step needs of a case, or `only` asks of it. */
enum play_needs {
	PLAY_NEEDS_X86 = 1 << 0,
	PLAY_NEEDS_ARM = 1 << 1,
	PLAY_NEEDS_EMULATED = 1 << 2,
	PLAY_NEEDS_MEDIATED = 1 << 3,
	PLAY_TAKES_BARE = 1 << 4,    /* has a meaning without a hypervisor */
};

/* ---- The tree ---- */

struct play_file;
struct play_run;
struct play_expr;
struct play_step;

/*
 * An argument: positional (key is NULL), `key=value`, `key(index)=value`, or a bare word (value is
 * NULL).
 */
struct play_arg {
	const char *key;
	struct play_expr *index;
	struct play_expr *value;
	struct play_expr *last;      /* of a range value..last */
	struct play_arg *next;
};

enum play_expr_kind {
	PLAY_NUMBER,                 /* number */
	PLAY_STRING,                 /* text: in `print` only */
	PLAY_VARIABLE,               /* number: its place */
	PLAY_PARAM,                  /* number: which one of the definition */
	PLAY_ELEMENT,                /* number: place of element 0; size; a: which one */
	PLAY_FAMILY,                 /* family, a: which member */
	PLAY_UNARY,                  /* op, a */
	PLAY_BINARY,                 /* op, a, b */
	PLAY_CHOICE,                 /* a ? b : c */
	PLAY_WITHIN,                 /* a in b..c */
	PLAY_CALL,                   /* function, args */
	PLAY_MACRO,                  /* definition, args */
};

struct play_function {
	const char *name;
	uint8_t min, max;            /* positional arguments */
	uint8_t needs;               /* enum play_needs */
	const char *options;         /* keys, separated by spaces; NULL: none */
	uint64_t (*call)(struct play_run *r, const struct play_arg *args);
};

struct play_definition {
	const char *name;
	const char *params[PLAY_PARAMS_MAX];
	unsigned int param_count;
	struct play_expr *body;
};

/* A family of registers. */
struct play_family {
	uint32_t first;
	uint32_t members;
	uint32_t stride;             /* 0: as vpmu_arm_reg_member() says */
};

struct play_expr {
	enum play_expr_kind kind;
	int op;
	uint32_t line;
	uint32_t size;
	uint64_t number;
	const char *text;
	const struct play_function *function;
	const struct play_definition *definition;
	struct play_family family;
	struct play_expr *a, *b, *c;
	struct play_arg *args;
};

enum play_step_kind {
	PLAY_COMMAND,                /* command, args */
	PLAY_ASSIGN,                 /* number: the variable's place; e */
	PLAY_ASSIGN_ELEMENT,         /* e: the element; e2 */
	PLAY_EVALUATE,               /* e */
	PLAY_EXPECT,                 /* e */
	PLAY_EXPECT_OUTCOME,         /* number: outcome; body: one step */
	PLAY_TRY,                    /* body: one step */
	PLAY_REPEAT,                 /* e, body */
	PLAY_FOREACH,                /* number: as ASSIGN; args: the list, NULL: msr_list; body */
	PLAY_WHILE,                  /* e, body */
	PLAY_IF,                     /* e, body, otherwise */
	PLAY_ONLY,                   /* words, body */
	PLAY_ON_VCPU,                /* e, body */
	PLAY_ON_CPU,                 /* e, body */
	PLAY_SKIP,                   /* text */
	PLAY_PRINT,                  /* args */
};

/* The first positional argument of a command is a name. */
enum play_name_kind { PLAY_NO_NAME, PLAY_FILTER_NAME, PLAY_STATE_NAME, PLAY_EVENT_NAME };

struct play_command {
	const char *name;            /* "source count" is two words */
	void (*run)(struct play_run *r, const struct play_arg *args);
	uint8_t min, max;            /* positional arguments, without name or assigned value */
	uint8_t needs;
	bool assigns;                /* NAME a = b: both are positional */
	enum play_name_kind names;   /* then the first positional argument is its number */
	const struct play_command *more; /* if its name follows that name */
	const char *options;
};

#define PLAY_ONLY_WORDS_MAX 8u

struct play_step {
	enum play_step_kind kind;
	uint32_t line;
	const struct play_command *command;
	struct play_arg *args;
	struct play_expr *e, *e2;
	uint64_t number;
	const char *text;
	/* Places in play_words[], + 1, | 0x80 after `not`; 0 ends. */
	uint8_t only[PLAY_ONLY_WORDS_MAX];
	struct play_step *body, *otherwise, *next;
};

/* One line of `model`, `hardware` or `vm`. */
struct play_shape {
	uint32_t line;
	const char *label;
	enum play_arch arch;
	struct play_arg *args;
	struct play_shape *next;
};

enum play_name_is {
	PLAY_NAME_VARIABLE,
	PLAY_NAME_ARRAY,
	PLAY_NAME_DEFINITION,
	PLAY_NAME_FILTER,
	PLAY_NAME_STATE,
	PLAY_NAME_EVENT,
};

struct play_name {
	const char *name;
	enum play_name_is kind;
	uint64_t number;
	uint32_t size;
	struct play_definition *definition;
};

struct play_file {
	const char *path;
	char *text;
	const char *id;
	const char *meaning;
	uint32_t modes;              /* mask of enum play_mode */
	struct play_shape *models;   /* in the order of the file */
	struct play_shape *hardware;
	struct play_shape *vms;
	unsigned int vm_count;       /* with VM 0 */
	unsigned int vcpus[PLAY_VMS_MAX];
	unsigned int cpu_count;
	uint64_t seed;
	bool mixed;                  /* a VM may have a mode of its own */
	bool host_events;            /* so emulated vCPUs are loaded on physical CPUs, too */
	struct play_step *steps;
	struct play_name names[PLAY_NAMES_MAX];
	unsigned int name_count;
	uint64_t variables;          /* how many places variables and elements take */
	unsigned int filters, states, events;
	void *blocks;                /* everything allocated */
};

/* play_parse.c: reads (path); NULL: it cannot be read or is no scenario, and that was said. */
struct play_file *play_load(const char *path);
void play_unload(struct play_file *f);
void *play_allocate(struct play_file *f, size_t size);
/* Line (line) of the file, without what surrounds it; for messages. */
const char *play_line(const struct play_file *f, uint32_t line, int *length);

/* ---- Words and names (play_names.c) ---- */

/* What `only` and predicates name. */
struct play_word {
	const char *name;
	uint32_t archs;              /* mask of enum play_arch */
	uint32_t modes;              /* mask of enum play_mode */
	uint32_t matrix;             /* those that a head line means by it; 0: none */
};

extern const struct play_word play_words[];
const struct play_word *play_find_word(const char *name);
bool play_word_holds(const struct play_word *word, enum play_arch arch, enum play_mode mode);

extern const char *const play_arch_names[PLAY_ARCHS];
extern const char *const play_mode_labels[PLAY_MODES];

/* A register or a family of the library's tables. */
bool play_find_register(const char *name, uint64_t *number);
bool play_find_family(const char *name, struct play_family *family);
/* The name of a register, for traces; "0x..." if it has none. (text) has 64 bytes. */
const char *play_register_name(enum play_arch arch, uint64_t number, char *text);

bool play_find_constant(const char *name, uint64_t *number);
/* Functions and values of the case; (play_look.c, play_guest.c). */
const struct play_function *play_find_function(const char *name);
const struct play_command *play_find_command(const char *name);

extern const struct play_function play_look_functions[];
extern const struct play_function play_guest_functions[];
extern const struct play_command play_guest_commands[];
extern const struct play_command play_host_commands[];
extern const struct play_command play_source_commands[];
extern const struct play_command play_beside_commands[];
extern const struct play_function play_beside_functions[];

/* Definitions that every file begins with. */
extern const char play_prelude[];

/* ---- Outcomes of steps ---- */

enum play_outcome {
	PLAY_OK,
	PLAY_GP,
	PLAY_UNDEF,
	PLAY_EL1,
	PLAY_NOT_MINE,
	PLAY_AGAIN,
	PLAY_E_PARAM,
	PLAY_E_SIZE,
	PLAY_E_STATE,
	PLAY_E_UNSUPPORTED,
	PLAY_E_LIMIT,
	PLAY_E_BUSY,
	PLAY_E_WATCHDOG,
	PLAY_OUTCOMES,
	PLAY_ANY = PLAY_OUTCOMES,
};

extern const char *const play_outcome_names[PLAY_OUTCOMES];
int play_find_outcome(const char *name); /* or -1 */

/* ---- Running (play_run.c) ---- */

struct play_world;

struct play_case {
	const struct play_file *file;
	const struct play_shape *model;
	enum play_mode mode;
};

enum play_verdict { PLAY_PASSED, PLAY_FAILED, PLAY_SKIPPED, PLAY_SENSELESS };

struct play_run {
	const struct play_case *what;
	struct play_world *world;
	bool verbose;
	jmp_buf end;
	enum play_verdict verdict;
	uint32_t line;               /* of the step that is being made */
	uint64_t work;
	uint64_t *variables;
	const uint64_t *params;      /* of the definition that is being evaluated */
	unsigned int vcpu;
	int cpu;                     /* asked for by `cpu N`, or -1 */
	/* Of the step: what must come out, what did, and what was read. */
	enum play_outcome wanted;
	bool by_hand;                /* nothing is implied */
	enum play_outcome outcome;
	uint64_t value;
	uint64_t raw_outcome;        /* a positive answer of a host call */
	uint64_t executed;
	uint64_t random;
	char reason[512];
};

/* The case ends: as failed, with what was expected and seen; or because its file makes no sense. */
void play_fail(struct play_run *r, const char *format, ...) PRINTF_LIKE(2, 3)
	__attribute__((noreturn));
void play_senseless(struct play_run *r, const char *format, ...) PRINTF_LIKE(2, 3)
	__attribute__((noreturn));

/* Runs one case; prints its line and what explains it. */
enum play_verdict play_case(const struct play_case *what, bool verbose);

uint64_t play_evaluate(struct play_run *r, const struct play_expr *e);
/* a op b */
uint64_t play_operate(struct play_run *r, int op, uint64_t a, uint64_t b);

/*
 * Arguments of a step or function, evaluated: positional (n), which is there; (key), or (otherwise)
 * if it is not; is (key) there? Whatever the step must come out as, these must succeed.
 */
uint64_t play_arg(struct play_run *r, const struct play_arg *args, unsigned int n);
unsigned int play_arg_count(const struct play_arg *args);
uint64_t play_option(struct play_run *r, const struct play_arg *args, const char *key,
		     uint64_t otherwise);
const struct play_arg *play_find_option(const struct play_arg *args, const char *key);
/* positional (n), or play_senseless() if it is not below (size) */
unsigned int play_index(struct play_run *r, const struct play_arg *args, unsigned int n,
			unsigned int size);

/* The step came out as (outcome): remembered, and the case fails if that must not be. */
void play_came_out(struct play_run *r, const char *what, enum play_outcome outcome);
/* The same for what a library function returned. */
void play_returned(struct play_run *r, const char *what, int returned);
/* The same for an access, where 0 is "not mine". */
void play_accessed(struct play_run *r, const char *what, int returned);
/* What an implied call returned: anything but 0 fails. */
void play_must(struct play_run *r, const char *what, int returned);

bool play_is(const struct play_run *r, uint32_t archs);
static inline bool play_is_bare(const struct play_run *r)
{
	return r->what->mode == PLAY_BARE;
}
#define PLAY_X86 (1u << PLAY_INTEL | 1u << PLAY_AMD)

#endif /* VPMU_TOOLS_PLAY_H */
