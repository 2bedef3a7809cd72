/* SPDX-License-Identifier: MIT */
/*
 * mmu.c - translation tables: stage 1 of EL2 (1:1, W^X), stage 2 of the guest (1:1) or guests.
 *
 * Both use 4 KiB granules and the VMSAv8-64 long descriptor format (DDI 0487 D8.3). The first
 * tables are made with the MMU off.
 */
#include "tenant.h"

#define ENTRIES 512u
#define PAGE_MASK ((uint64_t)PAGE_SIZE - 1)
#define DESC_BLOCK BIT(0)
#define DESC_TABLE (BIT(0) | BIT(1))
#define DESC_PAGE (BIT(0) | BIT(1))
#define DESC_TYPE (BIT(0) | BIT(1))
#define DESC_ADDRESS UINT64_C(0x0000FFFFFFFFF000)

/* Stage 1: AttrIndx, AP[2:1], SH, AF, XN. In the EL2 regime AP[1] is RES1. */
#define S1_DEVICE (UINT64_C(0) << 2)
#define S1_NORMAL (UINT64_C(1) << 2 | UINT64_C(3) << 8)
#define S1_AP1 BIT(6)
#define S1_READONLY BIT(7)
#define S1_AF BIT(10)
#define S1_XN BIT(54)
#define S1_PXN BIT(53)               /* only in the EL1 regime */

/* Stage 2: MemAttr, S2AP, SH, AF, XN. */
#define S2_DEVICE (UINT64_C(1) << 2)
#define S2_NORMAL (UINT64_C(15) << 2 | UINT64_C(3) << 8)
#define S2_RW (UINT64_C(3) << 6)

static const uint64_t attributes[MAP_KIND_COUNT] = {
	[MAP_TEXT] = S1_NORMAL | S1_AP1 | S1_AF | S1_READONLY,
	[MAP_RODATA] = S1_NORMAL | S1_AP1 | S1_AF | S1_READONLY | S1_XN,
	[MAP_DATA] = S1_NORMAL | S1_AP1 | S1_AF | S1_XN,
	[MAP_DEVICE] = S1_DEVICE | S1_AP1 | S1_AF | S1_XN,
	[MAP_GUEST_RAM] = S2_NORMAL | S2_RW | S1_AF,
	[MAP_GUEST_DEVICE] = S2_DEVICE | S2_RW | S1_AF | S1_XN,
};

struct table {
	uint64_t entry[ENTRIES];
} __attribute__((aligned(PAGE_SIZE)));

/* A root covers (1 << bits) bytes; several tables of its first level may be concatenated. */
struct space {
	uint64_t *root;
	unsigned int level;
	unsigned int bits;
	uint64_t offset;             /* output address less input */
	uint64_t attribute_clear;
	uint64_t attribute_if_xn;
};

/*
 * Bound: stage 1 needs 2 tables per root for each region that is not a whole block, stage 2 up to 2
 * around each hole; a guest that has RAM alone, in whole blocks, up to 2.
 */
static struct table pool[48 + 2 * VM_MAX];
static unsigned int pool_used;

struct table stage1_run;             /* head.S uses it for the other CPUs */
static struct table stage1_boot;
static struct { struct table table[2]; } __attribute__((aligned(2 * PAGE_SIZE))) stage2_root[VM_MAX];

static struct space boot_space, run_space;

/* From link.ld. */
extern char image_start[], text_end[], data_start[], bss_end[], image_end[], stacks[];

static uint64_t *new_table(void)
{
	if (pool_used == sizeof(pool) / sizeof(pool[0]))
		machine_fail("out of translation tables\n");
	return pool[pool_used++].entry;
}

static unsigned int level_shift(unsigned int level)
{
	return 39 - 9 * level;
}

/* The entry for (address) at (level), with the tables above it. NULL: a block above covers it. */
static uint64_t *walk(const struct space *s, uint64_t address, unsigned int level)
{
	uint64_t *table = s->root;

	for (unsigned int l = s->level;; l++) {
		/*
		 * The first level may have more or fewer than 512 entries; its index is not masked.
		 */
		uint64_t index = address >> level_shift(l);
		uint64_t *entry = &table[l == s->level ? index : index % ENTRIES];

		if (l == level)
			return entry;
		if (!(*entry & BIT(0)))
			*entry = (uint64_t)new_table() | DESC_TABLE;
		else if ((*entry & DESC_TYPE) == DESC_BLOCK)
			return NULL;
		table = (uint64_t *)(*entry & DESC_ADDRESS);
	}
}

static bool is_table(uint64_t entry)
{
	return (entry & DESC_TYPE) == DESC_TABLE;
}

/* Maps one block or page at (at), the largest that fits. returns: its size. */
static uint64_t map_one(const struct space *s, uint64_t at, uint64_t end, uint64_t attribute)
{
	for (unsigned int level = s->level < 1 ? 1 : s->level; level <= 3; level++) {
		uint64_t size = BIT(level_shift(level));
		uint64_t *entry;

		if (at % size || s->offset % size || end - at < size)
			continue;
		entry = walk(s, at, level);
		if (!entry)
			return size;  /* part of a larger block already */
		if (level < 3 && is_table(*entry))
			continue;
		*entry = (at + s->offset) | attribute | (level == 3 ? DESC_PAGE : DESC_BLOCK);
		return size;
	}
	return PAGE_SIZE;
}

static void map(const struct space *s, uint64_t start, uint64_t end, enum map_kind kind)
{
	uint64_t attribute = attributes[kind] & ~s->attribute_clear;

	if (attribute & S1_XN)
		attribute |= s->attribute_if_xn;
	start &= ~PAGE_MASK;
	end = (end + PAGE_MASK) & ~PAGE_MASK;
	if (end > BIT(s->bits))
		end = BIT(s->bits);
	while (start < end)
		start += map_one(s, start, end, attribute);
}

/* The monitor: its sections, and its stacks without the page below each. */
static void map_image(const struct space *s)
{
	uintptr_t stack = (uintptr_t)stacks;

	map(s, (uintptr_t)image_start, (uintptr_t)text_end, MAP_TEXT);
	map(s, (uintptr_t)text_end, (uintptr_t)data_start, MAP_RODATA);
	map(s, (uintptr_t)data_start, stack, MAP_DATA);
	for (unsigned int i = 0; i < CPU_MAX; i++, stack += STACK_STRIDE) {
		uintptr_t emergency = stack + PAGE_SIZE + STACK_SIZE + PAGE_SIZE;

		map(s, stack + PAGE_SIZE, stack + PAGE_SIZE + STACK_SIZE, MAP_DATA);
		map(s, emergency, emergency + STACK_EMERGENCY, MAP_DATA);
	}
}

uint64_t mmu_boot_tables(const void *fdt, bool el1)
{
	uint64_t window = (uintptr_t)fdt & ~((uint64_t)BLOCK_SIZE - 1);

	boot_space = (struct space){ .root = stage1_boot.entry, .bits = 48 };
	run_space = (struct space){ .root = stage1_run.entry, .bits = 48 };
	if (el1) {
		boot_space.attribute_clear = S1_AP1;
		boot_space.attribute_if_xn = S1_PXN;
	}
	map_image(&boot_space);
	map_image(&run_space);
	/* At most 2 MiB, and it may cross a multiple of 2 MiB (booting protocol). */
	if (!range_overlaps((struct range){ window, window + 2 * BLOCK_SIZE },
			    (struct range){ (uintptr_t)image_start, (uintptr_t)image_end }))
		map(&boot_space, window, window + 2 * BLOCK_SIZE, MAP_RODATA);
	return (uintptr_t)stage1_boot.entry;
}

static void map_both(struct range r)
{
	map(&boot_space, r.start, r.end, MAP_DEVICE);
	map(&run_space, r.start, r.end, MAP_DEVICE);
}

void mmu_map_console(void)
{
	map_both(machine.uart);
	dsb(ishst);
	isb();
}

/* Calls map for (r) without the holes in (hole). Recursion: at most (count) deep. */
static void map_around(const struct space *s, struct range r, const struct range *hole,
		       unsigned int count, enum map_kind kind)
{
	while (count && !range_overlaps(r, *hole)) {
		hole++;
		count--;
	}
	if (!count) {
		map(s, r.start, r.end, kind);
		return;
	}
	if (r.start < hole->start)
		map_around(s, (struct range){ r.start, hole->start }, hole + 1, count - 1, kind);
	if (hole->end < r.end)
		map_around(s, (struct range){ hole->end, r.end }, hole + 1, count - 1, kind);
}

void mmu_map_machine(void)
{
	map_both(machine.gicd);
	for (unsigned int i = 0; i < machine.gicr_count; i++)
		map_both(machine.gicr[i]);
	for (unsigned int i = 0; i < machine.ram_count; i++)
		map_around(&boot_space, machine.ram[i], &machine.image, 1, MAP_DATA);
	dsb(ishst);
	/* The window around the device tree was read-only until now. */
	__asm__ volatile("tlbi alle2" : : : "memory");
	dsb(ish);
	isb();
}

uint64_t mmu_run_root(void)
{
	return (uintptr_t)stage1_run.entry;
}

void mmu_enter_run_tables(void)
{
	write_sysreg(ttbr0_el2, mmu_run_root());
	isb();
	__asm__ volatile("tlbi alle2" : : : "memory");
	dsb(ish);
	isb();
}

/* ---- Stage 2 ---- */

/* PARange of the smallest CPU would be right; CPUs of one machine are taken to be alike here. */
static unsigned int physical_bits(void)
{
	static const uint8_t bits[] = { 32, 36, 40, 42, 44, 48, 48 };
	uint64_t range = FIELD(read_sysreg(id_aa64mmfr0_el1), 0, 4);

	return range < sizeof(bits) ? bits[range] : 48;
}

/*
 * Two concatenated tables of level 1 reach 40 bits: all that the boards here use, without a level
 * 0.
 */
unsigned int stage2_ipa_bits(void)
{
	return physical_bits() < 40 ? physical_bits() : 40;
}

static bool granule_supported(void)
{
	uint64_t mmfr0 = read_sysreg(id_aa64mmfr0_el1);
	uint64_t stage2 = FIELD(mmfr0, 40, 4);

	return stage2 == 0 ? FIELD(mmfr0, 28, 4) != 0xF : stage2 != 1;
}

static unsigned int collect_holes(struct range *hole)
{
	unsigned int n = 0;

	hole[n++] = machine.image;
	hole[n++] = machine.gicd;
	for (unsigned int i = 0; i < machine.gicr_count; i++)
		hole[n++] = machine.gicr[i];
	for (unsigned int i = 0; i < machine.its_count; i++)
		hole[n++] = machine.its[i];
	if (vm_count)
		hole[n++] = machine.uart;
	return n;
}

static struct space stage2_space(unsigned int vm, uint64_t offset)
{
	return (struct space){
		.root = stage2_root[vm].table[0].entry, .level = 1, .bits = stage2_ipa_bits(), .offset = offset,
	};
}

void stage2_build_ram(unsigned int vm, struct range ram, uint64_t offset)
{
	struct space space = stage2_space(vm, offset);

	map(&space, ram.start, ram.end, MAP_GUEST_RAM);
	dsb(ishst);
}

uint64_t stage2_vttbr(unsigned int vm)
{
	return (uintptr_t)&stage2_root[vm] | (uint64_t)(vm + 1) << 48;
}

void stage2_build(void)
{
	struct range hole[3 + GICR_REGION_MAX + ITS_MAX];
	unsigned int holes = collect_holes(hole);
	struct range low = { 0, UINT64_MAX };

	struct space guest_space = stage2_space(0, 0);

	if (!granule_supported())
		machine_fail("this CPU has no 4 KiB pages at stage 2\n");
	for (unsigned int i = 0; i < machine.ram_count; i++) {
		map_around(&guest_space, machine.ram[i], hole, holes, MAP_GUEST_RAM);
		if (machine.ram[i].end > BIT(guest_space.bits))
			console_printf("vpmu: RAM above %u address bits is not mapped\n", guest_space.bits);
		if (machine.ram[i].start < low.end)
			low.end = machine.ram[i].start;
	}
	map_around(&guest_space, low, hole, holes, MAP_GUEST_DEVICE);
	for (unsigned int i = 0; i < machine.window_count; i++) {
		map_around(&guest_space, machine.window[i], hole, holes, MAP_GUEST_DEVICE);
		if (machine.window[i].end > BIT(guest_space.bits))
			console_printf("vpmu: a PCI window above %u address bits is not mapped\n",
				       guest_space.bits);
	}
	dsb(ishst);
}

void stage2_cpu_init(void)
{
	uint64_t ps = FIELD(read_sysreg(id_aa64mmfr0_el1), 0, 4);
	uint64_t vtcr = BIT(31) |            /* RES1 */
			(ps < 5 ? ps : 5) << 16 |
			UINT64_C(3) << 12 |  /* walks inner shareable, */
			UINT64_C(1) << 10 | UINT64_C(1) << 8 |  /* write-back */
			UINT64_C(1) << 6 |   /* SL0: from level 1 */
			(64 - stage2_ipa_bits());

	write_sysreg(vtcr_el2, vtcr);
	write_sysreg(vttbr_el2, stage2_vttbr(0));
	isb();
	__asm__ volatile("tlbi alle1" : : : "memory");  /* whatever VMIDs were used before us */
	dsb(nsh);
	isb();
}
