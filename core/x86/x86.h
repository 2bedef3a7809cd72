/* SPDX-License-Identifier: MIT */
/* core/x86/x86.h - bits of the x86 PMU's registers, and the register table's row. */
#ifndef VPMU_CORE_X86_X86_H
#define VPMU_CORE_X86_X86_H

#include <vpmu/x86.h>

#include "../internal.h"

/* IA32_PERFEVTSELn (SDM 20.2.1.1), PERF_CTLn (APM 13.2.1). */
#define SEL_EVENT 0xFFull
#define SEL_UMASK 0xFF00ull
#define SEL_USR VPMU_BIT(16)
#define SEL_OS VPMU_BIT(17)
#define SEL_EDGE VPMU_BIT(18)
#define SEL_PIN VPMU_BIT(19)
#define SEL_INT VPMU_BIT(20)
#define SEL_ANY VPMU_BIT(21)         /* AnyThread: would count another guest */
#define SEL_EN VPMU_BIT(22)
#define SEL_INV VPMU_BIT(23)
#define SEL_CMASK 0xFF000000ull
#define SEL_IN_TX VPMU_BIT(32)
#define SEL_IN_TXCP VPMU_BIT(33)
#define SEL_AMD_EVENT_HIGH (0xFull << 32)
#define SEL_AMD_GUEST_ONLY VPMU_BIT(40)
#define SEL_AMD_HOST_ONLY VPMU_BIT(41)
#define SEL_LOW 0xFFFFFFFFull
/* What changes how often an event is counted. */
#define SEL_MODIFIERS (SEL_EDGE | SEL_INV | SEL_CMASK | SEL_IN_TX | SEL_IN_TXCP)

/* A counter's 4 bits of IA32_FIXED_CTR_CTRL. Bit 2, AnyThread, is not offered. */
#define FIXED_OS 1u
#define FIXED_USR 2u
#define FIXED_RINGS 3u
#define FIXED_PMI 8u
#define FIXED_BITS 0xBu

#define STATUS_CTR_FRZ VPMU_BIT(59)  /* from version 4 */
/* OvfBuf and CondChgd never become set, but software has always cleared them along. */
#define RESET_ALSO (VPMU_BIT(62) | VPMU_BIT(63))
#define INUSE_PMI VPMU_BIT(63)

#define DEBUGCTL_FREEZE_PERFMON VPMU_BIT(12)
#define DEBUGCTL_FREEZE_SMM VPMU_BIT(14)
/* LBR, TR, BTS, BTINT, BTS_OFF_OS, BTS_OFF_USR, the freezes, UNCORE_PMI. */
#define DEBUGCTL_PMU (VPMU_BIT(0) | 0x7FC0ull)

#define MISC_EMON VPMU_BIT(7)
#define MISC_BTS_UNAVAILABLE VPMU_BIT(11)
#define MISC_PEBS_UNAVAILABLE VPMU_BIT(12)
#define MISC_UNAVAILABLE (MISC_BTS_UNAVAILABLE | MISC_PEBS_UNAVAILABLE)

#define CAPABILITIES_FW_WRITES VPMU_BIT(13)

#define MSR_MISC_ENABLE 0x1A0u
#define MSR_PERFCTR0 0xC1u

/* One access under way, after decoding. */
struct x86_access {
	struct vpmu_vcpu *v;
	const struct vpmu_x86_model *model;
	struct vpmu_change change;
	unsigned int n;      /* which counter, as an index of struct vpmu_state */
};

/* What a family's members are. */
enum x86_index { X86_INDEX_NONE, X86_INDEX_GP, X86_INDEX_FIXED };

/* When an access may run direct. */
enum x86_direct {
	X86_TRAPPED,
	X86_DIRECT_VALUE,
	X86_DIRECT_GLOBAL,
	X86_DIRECT_STATUS,
	X86_DIRECT_RESET,
	X86_DIRECT_SELECTOR,
};

struct x86_reg {
	struct vpmu_x86_reg_info info;
	uint32_t uses;       /* items that a handler looks at or changes */
	enum x86_index index;
	enum x86_direct direct;
	/* Is it part of the save list? NULL: never. */
	bool (*saved)(const struct vpmu_x86_model *m);
	/* NULL: nothing but the version and the number of counters decides. */
	bool (*exists)(const struct vpmu_x86_model *m);
	uint64_t (*read)(struct x86_access *a);
	/* Would a write of (value) by the guest fault? By the host: be refused? NULL: never. */
	bool (*faults)(const struct x86_access *a, uint64_t value);
	bool (*refuses)(const struct x86_access *a, uint64_t value);
	/* The guest's write, and the host's. NULL: it does nothing. */
	void (*write)(struct x86_access *a, uint64_t value);
	void (*set)(struct x86_access *a, uint64_t value);
};

/* table.c: the row of (index) for a guest of (vendor), (*member): which of a family; NULL: not a PMU register. */
const struct x86_reg *vpmu_x86_table_find(enum vpmu_x86_vendor vendor, uint32_t index,
					  unsigned int *member);
/* table.c: row (row), NULL beyond the last. */
const struct x86_reg *vpmu_x86_table_row(size_t row);

/* model.c */
const struct vpmu_x86_model *vpmu_x86_model(const struct vpmu_vm *vm);
bool vpmu_x86_has_global(const struct vpmu_x86_model *m);
uint64_t vpmu_x86_counters(const struct vpmu_x86_model *m);
uint64_t vpmu_x86_value_mask(const struct vpmu_x86_model *m, unsigned int i);
/* Bits that selector (i) may have. */
uint64_t vpmu_x86_selector_mask(const struct vpmu_x86_model *m, unsigned int i);
uint64_t vpmu_x86_status_mask(const struct vpmu_vm *vm);
uint64_t vpmu_x86_debug_mask(const struct vpmu_vm *vm);
uint64_t vpmu_x86_capabilities(const struct vpmu_x86_model *m);
void vpmu_x86_set_selector(struct vpmu_state *s, unsigned int i, uint64_t selector);

/* events.c */
/* The event of architectural event (e), event select and umask; of fixed counter (i). */
uint16_t vpmu_x86_event_code(enum vpmu_x86_event e);
enum vpmu_x86_event vpmu_x86_fixed_event(unsigned int i);
/* What event (code), without modifiers, means. */
enum vpmu_event_meaning vpmu_x86_meaning(enum vpmu_x86_vendor vendor, uint64_t code);
bool vpmu_x86_event(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
		    struct vpmu_event *event);
bool vpmu_x86_matches(const struct vpmu_vm *vm, unsigned int i, uint64_t selector,
		      enum vpmu_event_class event, bool user);

/* access.c: has this guest member (member) of (r)? Says in (*n) which counter it is about. */
bool vpmu_x86_exists(const struct x86_reg *r, const struct vpmu_x86_model *m, unsigned int member,
		     unsigned int *n);

/* handlers.c: what the table names */
bool vpmu_x86_has_pdcm(const struct vpmu_x86_model *m);
bool vpmu_x86_has_full_width(const struct vpmu_x86_model *m);
bool vpmu_x86_has_core_extension(const struct vpmu_x86_model *m);
uint64_t vpmu_x86_read_zero(struct x86_access *a);
uint64_t vpmu_x86_read_counter(struct x86_access *a);
uint64_t vpmu_x86_read_selector(struct x86_access *a);
uint64_t vpmu_x86_read_fixed_ctrl(struct x86_access *a);
uint64_t vpmu_x86_read_status(struct x86_access *a);
uint64_t vpmu_x86_read_global(struct x86_access *a);
uint64_t vpmu_x86_read_inuse(struct x86_access *a);
uint64_t vpmu_x86_read_capabilities(struct x86_access *a);
uint64_t vpmu_x86_read_debug(struct x86_access *a);
bool vpmu_x86_faults_always(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_width(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_selector(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_fixed_ctrl(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_global(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_status(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_reset(const struct x86_access *a, uint64_t value);
bool vpmu_x86_faults_debug(const struct x86_access *a, uint64_t value);
bool vpmu_x86_refuses_capabilities(const struct x86_access *a, uint64_t value);
void vpmu_x86_write_counter(struct x86_access *a, uint64_t value);
void vpmu_x86_write_counter32(struct x86_access *a, uint64_t value);
void vpmu_x86_write_selector(struct x86_access *a, uint64_t value);
void vpmu_x86_write_fixed_ctrl(struct x86_access *a, uint64_t value);
void vpmu_x86_write_global(struct x86_access *a, uint64_t value);
void vpmu_x86_write_status(struct x86_access *a, uint64_t value);
void vpmu_x86_write_reset(struct x86_access *a, uint64_t value);
void vpmu_x86_write_status_set(struct x86_access *a, uint64_t value);
void vpmu_x86_write_debug(struct x86_access *a, uint64_t value);

#endif
