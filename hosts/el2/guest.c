/* SPDX-License-Identifier: MIT */
/*
 * guest.c - places the guest's kernel and device tree, and derives that tree from the machine's.
 *
 * The guest gets the machine as it is, less what the monitor keeps: its memory, the interrupt
 * translation service (LPIs cannot go through hardware list registers), EL2's timer and the GIC's
 * maintenance interrupt.
 */
#include <libfdt.h>

#include "monitor.h"
#include "string.h"

#define IMAGE_MAGIC 0x644D5241u      /* "ARM\x64" */
/* What the tree may grow by: bootargs, initrd, memory ranges. */
#define FDT_SLACK 0x4000u

struct image_header {
	uint32_t code[2];
	uint64_t text_offset;
	uint64_t image_size;
	uint64_t flags;
	uint64_t reserved[3];
	uint32_t magic;
	uint32_t pe;
};

/* ---- Placing ---- */

struct taken {
	struct range range[4];
	unsigned int count;
};

static bool collides(const struct taken *t, struct range r, uint64_t *past)
{
	for (unsigned int i = 0; i < t->count; i++) {
		if (range_overlaps(t->range[i], r)) {
			*past = t->range[i].end;
			return true;
		}
	}
	return false;
}

/* First free place of (size) at a multiple of (align) plus (offset). returns: 0: there is none. */
static uint64_t find_place(const struct taken *t, uint64_t size, uint64_t align, uint64_t offset)
{
	for (unsigned int i = 0; i < machine.ram_count; i++) {
		uint64_t at = machine.ram[i].start;

		for (;;) {
			uint64_t past;
			struct range r;

			at = ((at + align - 1) & ~(align - 1)) + offset;
			r = (struct range){ at, at + size };
			if (!range_covers(machine.ram[i], r))
				break;
			if (!collides(t, r, &past))
				return at;
			at = past;
		}
	}
	return 0;
}

uint64_t guest_image_size(struct range m, uint64_t *offset)
{
	const struct image_header *h = (const struct image_header *)m.start;
	uint64_t file_size = m.end - m.start;

	if (file_size < sizeof(*h) || m.start % 8 || h->magic != IMAGE_MAGIC)
		machine_fail("the guest's kernel is not an arm64 Image\n");
	*offset = h->text_offset;
	return h->image_size > file_size ? h->image_size : file_size;
}

void guest_image_placed(uint64_t at, uint64_t size)
{
	dcache_clean_invalidate(at, size);
	__asm__ volatile("ic ialluis" : : : "memory");
	dsb(ish);
}

/*
 * The kernel stays where the module is if it may run there and has room for its BSS; else it moves.
 * returns: where it is entered.
 */
static uint64_t place_kernel(struct taken *t)
{
	uint64_t file_size = machine.kernel.end - machine.kernel.start;
	uint64_t offset, past, at = machine.kernel.start;
	uint64_t size = guest_image_size(machine.kernel, &offset);
	struct range here;

	here = (struct range){ at, at + size };
	if ((at - offset) % BLOCK_SIZE || !machine_is_guest_ram(here) || collides(t, here, &past)) {
		/* Not onto itself: the copy runs upwards. */
		struct taken with_itself = *t;

		with_itself.range[with_itself.count++] = machine.kernel;
		at = find_place(&with_itself, size, BLOCK_SIZE, offset % BLOCK_SIZE);
		if (!at)
			machine_fail("no room for the guest's kernel (%lu bytes)\n", size);
		memcpy((void *)at, (const void *)machine.kernel.start, file_size);
	}
	guest_image_placed(at, file_size);
	t->range[t->count++] = (struct range){ at, at + size };
	return at;
}

/* ---- The tree ---- */

static void check(int result, const char *what)
{
	if (result < 0)
		machine_fail("guest's device tree, %s: %s\n", what, fdt_strerror(result));
}

static void append_range(void *fdt, int node, int ac, int sc, struct range r)
{
	if (r.start >= r.end)
		return;
	check(ac == 2 ? fdt_appendprop_u64(fdt, node, "reg", r.start)
		      : fdt_appendprop_u32(fdt, node, "reg", (uint32_t)r.start), "memory");
	check(sc == 2 ? fdt_appendprop_u64(fdt, node, "reg", r.end - r.start)
		      : fdt_appendprop_u32(fdt, node, "reg", (uint32_t)(r.end - r.start)), "memory");
}

/* All memory in the first memory node, the monitor's left out. */
static void fix_memory(void *fdt)
{
	int node = fdt_node_offset_by_prop_value(fdt, -1, "device_type", "memory", 7);
	int ac = fdt_address_cells(fdt, 0), sc = fdt_size_cells(fdt, 0);
	int other;

	fdt_delprop(fdt, node, "reg");
	for (unsigned int i = 0; i < machine.ram_count; i++) {
		struct range r = machine.ram[i], m = machine.image;

		if (!range_overlaps(r, m)) {
			append_range(fdt, node, ac, sc, r);
			continue;
		}
		append_range(fdt, node, ac, sc, (struct range){ r.start, m.start });
		append_range(fdt, node, ac, sc, (struct range){ m.end, r.end });
	}
	while ((other = fdt_node_offset_by_prop_value(fdt, node, "device_type", "memory", 7)) >= 0)
		check(fdt_del_node(fdt, other), "memory");
}

static void remove_msi_references(void *fdt)
{
	for (int node = 0; node >= 0; node = fdt_next_node(fdt, node, NULL)) {
		fdt_delprop(fdt, node, "msi-map");
		fdt_delprop(fdt, node, "msi-map-mask");
		fdt_delprop(fdt, node, "msi-parent");
	}
}

/* Without an ITS a device that asks for MSIs uses its wired interrupt. */
static void remove_its(void *fdt)
{
	int node;

	while ((node = fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3-its")) >= 0)
		check(fdt_del_node(fdt, node), "ITS");
	remove_msi_references(fdt);
}

/* Secure, non-secure and virtual EL1 timer; not the hypervisor's. Three cells each. */
static void fix_timer(void *fdt)
{
	int node = fdt_node_offset_by_compatible(fdt, -1, "arm,armv8-timer");
	uint8_t kept[3 * 3 * sizeof(fdt32_t)];
	int length;
	const void *interrupts = fdt_getprop(fdt, node, "interrupts", &length);

	if (!interrupts || length <= (int)sizeof(kept))
		return;
	memcpy(kept, interrupts, sizeof(kept));
	check(fdt_setprop(fdt, node, "interrupts", kept, sizeof(kept)), "timer");
	if (fdt_getprop(fdt, node, "interrupt-names", NULL))
		check(fdt_setprop(fdt, node, "interrupt-names", "sec-phys\0phys\0virt",
				  sizeof("sec-phys\0phys\0virt")), "timer");
}

static void fix_gic(void *fdt)
{
	fdt_delprop(fdt, fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3"), "interrupts");
}

static bool is_cpu(const void *fdt, int node)
{
	const char *type = fdt_getprop(fdt, node, "device_type", NULL);

	return type && !strcmp(type, "cpu");
}

/* Offset of the CPU node after the first (skip), or negative. */
static int find_cpu(const void *fdt, unsigned int skip)
{
	int node;

	fdt_for_each_subnode(node, fdt, fdt_path_offset(fdt, "/cpus"))
		if (is_cpu(fdt, node) && !skip--)
			return node;
	return -FDT_ERR_NOTFOUND;
}

/* CPUs beyond those that the guest has. */
static void remove_cpus(void *fdt)
{
	unsigned int count = options.vm_count ? options.vm[0].cpus : machine.cpu_count;
	int node;

	while ((node = find_cpu(fdt, count)) >= 0)
		check(fdt_del_node(fdt, node), "CPUs");
}

/* Among several guests each numbers its own, as sched.c does. */
static void renumber_cpus(void *fdt)
{
	int cells = fdt_address_cells(fdt, fdt_path_offset(fdt, "/cpus"));

	for (unsigned int i = 0; options.vm_count && i < options.vm[0].cpus; i++) {
		int node = find_cpu(fdt, i);

		check(cells == 2 ? fdt_setprop_u64(fdt, node, "reg", i)
				 : fdt_setprop_u32(fdt, node, "reg", i), "CPUs");
	}
}

static void remove_pmu(void *fdt)
{
	int node = fdt_node_offset_by_compatible(fdt, -1, "arm,armv8-pmuv3");

	if (options.vm[0].mode == PMU_OFF && node >= 0)
		check(fdt_del_node(fdt, node), "PMU");
}

static void remove_modules(void *fdt, int chosen)
{
	int node = fdt_first_subnode(fdt, chosen);

	while (node >= 0) {
		if (fdt_node_check_compatible(fdt, node, "multiboot,module")) {
			node = fdt_next_subnode(fdt, node);
			continue;
		}
		check(fdt_del_node(fdt, node), "modules");
		node = fdt_first_subnode(fdt, chosen);
	}
}

static void fix_chosen(void *fdt)
{
	int chosen = fdt_path_offset(fdt, "/chosen");

	check(chosen, "/chosen");
	remove_modules(fdt, chosen);
	fdt_delprop(fdt, chosen, "bootargs");
	fdt_delprop(fdt, chosen, "linux,initrd-start");
	fdt_delprop(fdt, chosen, "linux,initrd-end");
	if (machine.guest_bootargs)
		check(fdt_setprop(fdt, chosen, "bootargs", machine.guest_bootargs,
				  (int)strlen(machine.guest_bootargs) + 1), "bootargs");
	if (machine.initrd.end > machine.initrd.start) {
		check(fdt_setprop_u64(fdt, chosen, "linux,initrd-start", machine.initrd.start), "initrd");
		check(fdt_setprop_u64(fdt, chosen, "linux,initrd-end", machine.initrd.end), "initrd");
	}
}

static uint64_t place_tree(struct taken *t)
{
	uint64_t size = fdt_totalsize(machine.fdt) + FDT_SLACK;
	uint64_t at;
	void *fdt;

	/* The machine's tree is read while the guest's is written. */
	t->range[t->count++] = (struct range){ (uintptr_t)machine.fdt, (uintptr_t)machine.fdt + size };
	at = find_place(t, BLOCK_SIZE, BLOCK_SIZE, 0);
	if (!at)
		machine_fail("no room for the guest's device tree\n");
	fdt = (void *)at;
	check(fdt_open_into(machine.fdt, fdt, (int)size), "copy");
	fix_memory(fdt);
	remove_its(fdt);
	fix_timer(fdt);
	fix_gic(fdt);
	remove_cpus(fdt);
	renumber_cpus(fdt);
	remove_pmu(fdt);
	fix_chosen(fdt);
	dcache_clean_invalidate(at, size);
	return at;
}

struct guest guest_prepare(void)
{
	struct taken t = { .range = { machine.image, machine.initrd }, .count = 2 };
	struct guest g;

	if (machine.kernel.start == machine.kernel.end)
		machine_fail("no guest: give one with -device guest-loader,addr=...,kernel=FILE\n");
	g.entry = place_kernel(&t);
	dcache_clean_invalidate(machine.initrd.start, machine.initrd.end - machine.initrd.start);
	g.fdt = place_tree(&t);
	return g;
}
