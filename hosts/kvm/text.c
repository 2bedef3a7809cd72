/* SPDX-License-Identifier: MIT */
/*
 * RDPMC in guest kernel text. Its two bytes also occur inside other instructions and in data, so a place
 * counts only if all around it decodes as compiled code does: decoders that start at many places in
 * front of it nearly all meet its first byte (x86 code synchronizes within a few instructions), ECX was
 * written not long before, and EAX or EDX is used soon after.
 */
#include "text.h"

#include <capstone/capstone.h>
#include <string.h>

#define RUN_UP_MIN 64u               /* bytes in front of the place that a decoder gets at least, */
#define RUN_UP_MAX VMM_TEXT_BEFORE   /* and at most */
#define STRICT 48u                   /* of them without a mistake */
#define STARTS (RUN_UP_MAX - RUN_UP_MIN)
#define MEETINGS (STARTS * 3 / 4)    /* so many must meet the place */
#define BEFORE 12u                   /* instructions among which ECX is written */
#define AFTER 6u                     /* and EAX or EDX used */

#define LONGEST 15u                  /* bytes of an instruction */

static const uint8_t rdpmc[2] = { 0x0f, 0x33 };

struct decoder {
	csh handle;
	cs_insn *insn;
};

/*
 * First opcode bytes that compilers do not make for a 64-bit kernel, or so rarely that a site near one may be
 * missed: x87, ports, loops, far returns, moves to absolute addresses, exchanges with EAX.
 */
static const struct {
	uint8_t first, last;
} odd[] = {
	{ 0x6c, 0x6f }, { 0x91, 0x97 }, { 0x9b, 0x9b }, { 0x9e, 0xa3 }, { 0xc8, 0xc8 },
	{ 0xca, 0xcb }, { 0xcd, 0xcf }, { 0xd7, 0xe7 }, { 0xec, 0xef }, { 0xf1, 0xf1 },
	{ 0xf5, 0xf5 }, { 0xf8, 0xf9 },
};

static bool is_odd(const cs_insn *insn)
{
	uint8_t opcode = insn->detail->x86.opcode[0];

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		if (opcode >= odd[i].first && opcode <= odd[i].last)
			return true;
	}
	/* ADD [RAX], AL is what zeros decode as. */
	return insn->bytes[0] == 0 && insn->bytes[1] == 0;
}

static bool decode(struct decoder *d, const uint8_t *bytes, size_t size, size_t *at)
{
	const uint8_t *code = bytes + *at;
	size_t left = size - *at;
	uint64_t address = *at;

	if (!cs_disasm_iter(d->handle, &code, &left, &address, d->insn))
		return false;
	*at = (size_t)(code - bytes);
	return !is_odd(d->insn);
}

/*
 * Does the decoder that starts at (start) meet (place) without a mistake? One that began inside an instruction
 * makes some at first.
 */
static bool meets(struct decoder *d, const uint8_t *bytes, size_t place, size_t start)
{
	size_t at = start;

	while (at < place) {
		if (decode(d, bytes, place + sizeof(rdpmc), &at))
			continue;
		if (at >= place - STRICT)
			return false;
		at = ++start;
	}
	return at == place;
}

static bool touches(struct decoder *d, bool write, unsigned int first, unsigned int second)
{
	cs_regs read, written;
	uint8_t reads, writes;
	const uint16_t *list = write ? written : read;

	if (cs_regs_access(d->handle, d->insn, read, &reads, written, &writes))
		return false;
	for (uint8_t i = 0; i < (write ? writes : reads); i++) {
		if (list[i] == first || list[i] == second)
			return true;
	}
	return false;
}

/* Is ECX written shortly before, by the instructions that nearly all decoders see there? */
static bool has_index(struct decoder *d, const uint8_t *bytes, size_t place)
{
	unsigned int since = BEFORE;
	size_t start = place - STRICT, at = start;

	while (at < place) {
		if (decode(d, bytes, place + sizeof(rdpmc), &at))
			since = touches(d, true, X86_REG_ECX, X86_REG_RCX) ? 0 : since + 1;
		else
			at = ++start;
	}
	return since < BEFORE;
}

static bool has_use(struct decoder *d, const uint8_t *bytes, size_t size, size_t place)
{
	size_t at = place + sizeof(rdpmc);
	bool used = false;

	/* The last instruction may be cut off. */
	for (unsigned int i = 0; at + LONGEST <= size; i++) {
		if (!decode(d, bytes, size, &at))
			return false;
		used |= i < AFTER && (touches(d, false, X86_REG_EAX, X86_REG_RAX) ||
				      touches(d, false, X86_REG_EDX, X86_REG_RDX));
	}
	return used;
}

static bool is_site(struct decoder *d, const uint8_t *bytes, size_t size, size_t place)
{
	unsigned int meetings = 0;

	for (size_t start = place - RUN_UP_MAX; start < place - RUN_UP_MIN; start++) {
		if (!meets(d, bytes, place, start))
			continue;
		meetings++;
	}
	return meetings >= MEETINGS && has_index(d, bytes, place) &&
	       has_use(d, bytes, size, place);
}

bool vmm_text_has_rdpmc(const uint8_t *bytes, size_t size, size_t place)
{
	struct decoder d;
	bool result = false;

	if (place < RUN_UP_MAX || size < place + sizeof(rdpmc) ||
	    memcmp(bytes + place, rdpmc, sizeof(rdpmc)) != 0)
		return false;
	if (cs_open(CS_ARCH_X86, CS_MODE_64, &d.handle))
		return false;
	(void)cs_option(d.handle, CS_OPT_DETAIL, CS_OPT_ON);
	d.insn = cs_malloc(d.handle);
	if (d.insn) {
		result = is_site(&d, bytes, size, place);
		cs_free(d.insn, 1);
	}
	(void)cs_close(&d.handle);
	return result;
}

bool vmm_text_is_rdpmc(const uint8_t *bytes, size_t size)
{
	struct decoder d;
	bool result = false;
	size_t at = 0;

	if (cs_open(CS_ARCH_X86, CS_MODE_64, &d.handle))
		return false;
	(void)cs_option(d.handle, CS_OPT_DETAIL, CS_OPT_ON);
	d.insn = cs_malloc(d.handle);
	if (d.insn) {
		result = decode(&d, bytes, size, &at) && at == sizeof(rdpmc) &&
			 d.insn->id == X86_INS_RDPMC;
		cs_free(d.insn, 1);
	}
	(void)cs_close(&d.handle);
	return result;
}

/* ---- Executable kernel memory ---- */

#define PTE_P  0x1u
#define PTE_U  0x4u
#define PTE_PS 0x80u
#define PTE_NX (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull
#define ENTRIES 512u

struct walk {
	struct pc *pc;
	void (*range)(void *context, uint64_t linear, uint64_t physical, uint64_t size);
	void *context;
	uint64_t left;               /* of the bytes and tables that one walk looks at */
	bool nx;                     /* enabled: otherwise the bit means nothing */
};

struct table {
	uint64_t at, base;           /* physical, and the linear address of entry 0 */
	unsigned int level, from, to; /* entries */
	bool user;
};

static bool is_leaf(uint64_t entry, unsigned int level)
{
	return level == 0 || (level <= 2 && entry & PTE_PS);
}

static void leaf(struct walk *w, uint64_t linear, uint64_t entry, unsigned int level)
{
	uint64_t size = 1ull << (12 + 9 * level);
	uint64_t physical = entry & PTE_ADDRESS & ~(size - 1);

	if (size > w->left) {
		w->left = 0;
		return;
	}
	w->left -= size;
	w->range(w->context, linear, physical, size);
}

static void walk_table(struct walk *w, struct table t);

/* Only what is user mode's on all levels is user mode's. */
static void walk_entry(struct walk *w, const struct table *t, uint64_t entry, uint64_t linear)
{
	bool user = t->user && entry & PTE_U;

	if (!(entry & PTE_P) || (w->nx && entry & PTE_NX))
		return;
	if (!is_leaf(entry, t->level))
		walk_table(w, (struct table){ .at = entry & PTE_ADDRESS, .base = linear,
					      .level = t->level - 1, .to = ENTRIES,
					      .user = user });
	else if (!user)
		leaf(w, linear, entry, t->level);
}

/* At most five levels deep. */
static void walk_table(struct walk *w, struct table t)
{
	const uint8_t *at = pc_ram(w->pc, t.at, 8 * ENTRIES);
	uint64_t entry;

	if (w->left < 4096)
		return;
	w->left -= 4096;
	for (unsigned int i = t.from; at && i < t.to && w->left; i++) {
		memcpy(&entry, at + 8 * i, sizeof(entry));
		walk_entry(w, &t, entry, t.base + ((uint64_t)i << (12 + 9 * t.level)));
	}
}

bool vmm_text_walk(struct pc *pc, const struct pc_state *s, uint64_t most,
		   void (*range)(void *context, uint64_t linear, uint64_t physical, uint64_t size),
		   void *context)
{
	unsigned int levels = s->cr4 & PC_CR4_LA57 ? 5 : 4;
	struct walk w = { .pc = pc, .range = range, .context = context, .left = most,
			  .nx = s->efer & PC_EFER_NXE };

	if (!(s->efer & PC_EFER_LMA))
		return false;
	walk_table(&w, (struct table){
		.at = s->cr3 & PTE_ADDRESS, .level = levels - 1, .to = ENTRIES / 2, .user = true,
	});
	/* The upper half is sign-extended from its highest bit. */
	walk_table(&w, (struct table){
		.at = s->cr3 & PTE_ADDRESS, .base = ~0ull << (12 + 9 * levels),
		.level = levels - 1, .from = ENTRIES / 2, .to = ENTRIES, .user = true,
	});
	return w.left > 0;
}
