/* SPDX-License-Identifier: MIT */
/* What the files of this engine share. */
#ifndef VPMU_UNICORN_INTERNAL_H
#define VPMU_UNICORN_INTERNAL_H

#include <unicorn/unicorn.h>

#include "decode.h"
#include "guard.h"
#include "layout.h"
#include "unicorn.h"

#define DECODED 65536u     /* entries, direct-mapped */
#define FETCH_PAGES 256u
#define ALIASES 1024u      /* Unicorn takes less than 4096 pieces of memory, and gets slow */
#define PREDICTORS 1024u
#define TARGETS 256u

/* The branch predictor of events.md. */
struct predictor {
	uint8_t counters[PREDICTORS];
	struct {
		uint64_t branch, target;
	} targets[TARGETS];
};

/* The caches of events.md: 32 KiB and 1 MiB, 8 and 16 ways of 64-byte lines, LRU. */
#define L1_SETS 64u
#define L1_WAYS 8u
#define LLC_SETS 1024u
#define LLC_WAYS 16u

struct caches {
	uint64_t l1[L1_SETS][L1_WAYS], llc[LLC_SETS][LLC_WAYS]; /* line number + 1, newest first */
};

struct alias {
	uint64_t address, size;
	void *host; /* NULL: a device page */
	uint64_t device;
	struct unicorn *owner;
};

struct unicorn {
	struct pc_engine base;
	struct unicorn_config config;
	uc_engine *uc;
	uc_context *context;
	bool dead; /* crashed: see guard.h */
	struct layout at;
	struct decoder *decoder;

	/* The CPU's mode, which hooks do not tell. */
	unsigned int mode, cpl;

	/* The instruction that is executing, if any; no other is decoded before it is done. */
	bool executing;
	bool sti_opens; /* it is STI, and IF was clear */
	bool intercepted; /* pc_exit() took part of it */
	struct insn *insn;
	const struct insn_memory *insn_memory; /* its operand */
	bool taken_to_next; /* it is INSN_TO_NEXT, and the condition holds */
	struct pc_events own; /* its share of models: cache references */

	uint64_t dr7;
	unsigned int breakpoints; /* on execution, enabled in DR7: which of DR0 to DR3 */

	/* Retired and not yet reported, all in ring `cpl`; and when to report. */
	struct pc_events events;
	struct pc_horizon horizon;

	bool attention; /* pc_attention(), or not sure */
	bool stopped;   /* run() is to return `stop` ... */
	bool deferred;  /* ... after executing `insn` itself */
	bool resume;    /* ... or to go on where it was */
	bool remap;     /* before that, look at the guest's page tables again */
	enum pc_stop stop;

	struct predictor predictor;
	struct caches *caches;
	struct insn *decoded;
	struct insn_memory *memory; /* parallel to decoded */
	struct {
		uint64_t page; /* + 1 */
		const uint8_t *host;
	} fetch[FETCH_PAGES];
	uint64_t code_page; /* + 1: the one that the last instruction was in */
	const uint8_t *code_host;

	struct alias aliases[ALIASES];
	unsigned int alias_count;
	uint64_t stale; /* an address whose translation is not what memory has */
};

/* engine.c */
uint64_t unicorn_register(const struct unicorn *u, int reg);
void unicorn_set_register(struct unicorn *u, int reg, uint64_t value);
void unicorn_state(struct unicorn *u, struct pc_state *s);
void unicorn_set_state(struct unicorn *u, const struct pc_state *s);
void unicorn_stop(struct unicorn *u, enum pc_stop why);
void unicorn_raise(struct unicorn *u, struct pc_event event);
/* The instruction in execution has completed; the next one is at `next`. */
void unicorn_retire(struct unicorn *u, uint64_t next);
/* Reports what has retired, and asks when to do it again. */
void unicorn_flush(struct unicorn *u);
void unicorn_broken(struct unicorn *u, const char *why);
/* Drops all mirrors, and executes the instruction again. */
void unicorn_restart(struct unicorn *u);
bool unicorn_begin_exit(struct unicorn *u, enum pc_exit why, uint32_t index);

/* take.c: instructions that the engine executes itself. True: it was one. */
bool unicorn_take(struct unicorn *u);
/* The ones that cannot be done within a hook: SYSCALL, SYSRET, HLT. */
void unicorn_take_deferred(struct unicorn *u);
uint64_t unicorn_operand(const struct unicorn *u, const struct insn_memory *m, uint64_t next);

/* map.c: memory */
bool unicorn_map_ram(struct unicorn *u);
/* An access that Unicorn has no memory for: maps it, or raises what the CPU does. */
bool unicorn_unmapped(struct unicorn *u, uint64_t address, unsigned int access);
void unicorn_drop_aliases(struct unicorn *u);
/* Refuses what cannot be mirrored; see unicorn.h. */
bool unicorn_check_map(struct unicorn *u, const struct pc_state *s);
const uint8_t *unicorn_fetch_page(struct unicorn *u, uint64_t address);
void unicorn_forget_pages(struct unicorn *u);

/* events.c: the models */
void predictor_reset(struct predictor *p);
bool predictor_conditional(struct predictor *p, uint64_t address, bool taken);
bool predictor_indirect(struct predictor *p, uint64_t address, uint64_t target);
void caches_access(struct caches *c, uint64_t address, struct pc_events *e);
void caches_flush(struct caches *c, uint64_t address);
uint64_t model_extra_cycles(const struct pc_events *e);

#endif
