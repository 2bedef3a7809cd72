/* SPDX-License-Identifier: MIT */
/*
 * machine.c - what the machine's device tree says.
 *
 * The tree comes from the firmware and is trusted to be about this machine; libfdt checks its form.
 * It is read once, before the guest exists.
 */
#include <libfdt.h>

#include "monitor.h"
#include "string.h"

struct machine machine;

extern char image_start[], image_end[];

static uint64_t read_cells(const fdt32_t *cell, int count)
{
	uint64_t value = 0;

	while (count-- > 0)
		value = value << 32 | fdt32_to_cpu(*cell++);
	return value;
}

/* Entry (index) of a property of address and size cells. returns: false: there is none. */
static bool read_range(const void *fdt, int node, const char *property, int ac, int sc,
		       unsigned int index, struct range *out)
{
	int length;
	const fdt32_t *cell = fdt_getprop(fdt, node, property, &length);
	unsigned int entry = (unsigned int)(ac + sc);

	if (!cell || ac < 1 || ac > 2 || sc < 1 || sc > 2 ||
	    (uint64_t)(index + 1) * entry * 4 > (uint64_t)length)
		return false;
	cell += index * entry;
	out->start = read_cells(cell, ac);
	out->end = out->start + read_cells(cell + ac, sc);
	return out->end >= out->start;
}

static bool read_reg(const void *fdt, int node, unsigned int index, struct range *out)
{
	int parent = fdt_parent_offset(fdt, node);

	return read_range(fdt, node, "reg", fdt_address_cells(fdt, parent),
			  fdt_size_cells(fdt, parent), index, out);
}

static uint64_t read_u32(const void *fdt, int node, const char *property, uint64_t otherwise)
{
	int length;
	const fdt32_t *cell = fdt_getprop(fdt, node, property, &length);

	return cell && length >= 4 && length % 4 == 0 ? read_cells(cell, length > 4 ? 2 : 1) : otherwise;
}

static int find_console_node(const void *fdt)
{
	int chosen = fdt_path_offset(fdt, "/chosen");
	const char *path = fdt_getprop(fdt, chosen, "stdout-path", NULL);
	int node = -FDT_ERR_NOTFOUND;

	if (path) {
		const char *options_at = strchr(path, ':');  /* "/uart@1000:115200" */
		size_t length = options_at ? (size_t)(options_at - path) : strlen(path);

		node = fdt_path_offset_namelen(fdt, path, (int)length);
	}
	if (node < 0 || fdt_node_check_compatible(fdt, node, "arm,pl011"))
		node = fdt_node_offset_by_compatible(fdt, -1, "arm,pl011");
	return node;
}

/* The first interrupt, if it is an SPI: type 0, number, flags. returns: its INTID, or 0. */
static uint32_t read_spi(const void *fdt, int node)
{
	int length;
	const fdt32_t *cell = fdt_getprop(fdt, node, "interrupts", &length);

	if (!cell || length < 12 || fdt32_to_cpu(cell[0]) || fdt32_to_cpu(cell[1]) >= INTID_COUNT - 32)
		return 0;
	return fdt32_to_cpu(cell[1]) + 32;
}

void machine_find_console(const void *fdt)
{
	int psci;
	const char *method;

	if (fdt_check_header(fdt) || fdt_totalsize(fdt) > BLOCK_SIZE)
		machine_off();
	machine.fdt = fdt;
	machine.image = (struct range){ (uintptr_t)image_start, (uintptr_t)image_end };
	psci = fdt_path_offset(fdt, "/psci");
	method = fdt_getprop(fdt, psci, "method", NULL);
	machine.psci_hvc = method && !strcmp(method, "hvc");
	if (read_reg(fdt, find_console_node(fdt), 0, &machine.uart)) {
		machine.uart_intid = read_spi(fdt, find_console_node(fdt));
		mmu_map_console();
		console_init(machine.uart.start);
	}
}

static void parse_ram(const void *fdt)
{
	int node = -1;

	for (;;) {
		struct range r;

		node = fdt_node_offset_by_prop_value(fdt, node, "device_type", "memory", 7);
		if (node < 0)
			break;
		for (unsigned int i = 0; read_reg(fdt, node, i, &r); i++) {
			if (machine.ram_count == RAM_MAX)
				machine_fail("more than %u ranges of RAM\n", RAM_MAX);
			machine.ram[machine.ram_count++] = r;
		}
	}
	if (!machine.ram_count)
		machine_fail("no RAM in the device tree\n");
}

static void parse_gic(const void *fdt)
{
	int node = fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3");
	uint64_t regions;

	if (node < 0 || !read_reg(fdt, node, 0, &machine.gicd))
		machine_fail("no GICv3 in the device tree (QEMU: -M virt,gic-version=3)\n");
	regions = read_u32(fdt, node, "#redistributor-regions", 1);
	machine.gicr_stride = read_u32(fdt, node, "redistributor-stride", 0);
	while (machine.gicr_count < regions) {
		if (machine.gicr_count == GICR_REGION_MAX ||
		    !read_reg(fdt, node, machine.gicr_count + 1, &machine.gicr[machine.gicr_count]))
			machine_fail("unusable redistributor regions in the device tree\n");
		machine.gicr_count++;
	}
	for (node = fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3-its"); node >= 0;
	     node = fdt_node_offset_by_compatible(fdt, node, "arm,gic-v3-its")) {
		if (machine.its_count == ITS_MAX || !read_reg(fdt, node, 0, &machine.its[machine.its_count]))
			machine_fail("unusable interrupt translation services in the device tree\n");
		machine.its_count++;
	}
}

static void parse_cpus(const void *fdt)
{
	int parent = fdt_path_offset(fdt, "/cpus");
	int cells = fdt_address_cells(fdt, parent);
	int node;

	fdt_for_each_subnode(node, fdt, parent) {
		const char *type = fdt_getprop(fdt, node, "device_type", NULL);
		int length;
		const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &length);

		if (!type || strcmp(type, "cpu") || !reg || length < 4 * cells)
			continue;
		if (machine.cpu_count == CPU_MAX) {
			console_printf("vpmu: only the first %u CPUs are used\n", (unsigned int)CPU_MAX);
			break;
		}
		machine.mpidr[machine.cpu_count++] = cpu_affinity(read_cells(reg, cells));
	}
}

static void add_window(struct range r)
{
	if (r.start < machine.ram[0].start)
		return;  /* all below RAM is device space anyway */
	if (machine.window_count < WINDOW_MAX)
		machine.window[machine.window_count++] = r;
	else
		console_printf("vpmu: PCI window at %lx ignored\n", r.start);
}

/* ECAM and the memory windows; "ranges" is child address (3 cells), parent address, size (2). */
static void parse_pci(const void *fdt)
{
	int node = -1;

	for (;;) {
		struct range r;
		const fdt32_t *cell;
		int length, ac;

		node = fdt_node_offset_by_compatible(fdt, node, "pci-host-ecam-generic");
		if (node < 0)
			return;
		if (read_reg(fdt, node, 0, &r))
			add_window(r);
		ac = fdt_address_cells(fdt, fdt_parent_offset(fdt, node));
		cell = fdt_getprop(fdt, node, "ranges", &length);
		for (; cell && length >= 4 * (5 + ac); length -= 4 * (5 + ac), cell += 5 + ac) {
			r.start = read_cells(cell + 3, ac);
			r.end = r.start + read_cells(cell + 3 + ac, 2);
			add_window(r);
		}
	}
}

/*
 * The Xen multiboot protocol for device trees: what QEMU's guest-loader device leaves in /chosen.
 */
static void parse_modules(const void *fdt)
{
	int chosen = fdt_path_offset(fdt, "/chosen");
	bool own_cells = fdt_getprop(fdt, chosen, "#address-cells", NULL) != NULL;
	int cells_from = own_cells ? chosen : 0;
	int node;

	fdt_for_each_subnode(node, fdt, chosen) {
		struct range r;
		bool kernel = !fdt_node_check_compatible(fdt, node, "multiboot,kernel");

		if (fdt_node_check_compatible(fdt, node, "multiboot,module"))
			continue;
		if (!read_range(fdt, node, "reg", fdt_address_cells(fdt, cells_from),
				fdt_size_cells(fdt, cells_from), 0, &r) || !machine_is_guest_ram(r))
			machine_fail("guest module %s is not in free RAM\n", fdt_get_name(fdt, node, NULL));
		if (machine.module_count == MODULE_MAX)
			machine_fail("more than %u guest modules\n", MODULE_MAX);
		machine.module[machine.module_count++] = (struct module){
			r, kernel, fdt_getprop(fdt, node, "bootargs", NULL),
		};
		if (kernel) {
			machine.kernel = r;
			machine.guest_bootargs = fdt_getprop(fdt, node, "bootargs", NULL);
		} else if (!fdt_node_check_compatible(fdt, node, "multiboot,ramdisk")) {
			machine.initrd = r;
		}
	}
}

const struct module *machine_module(uint64_t address, bool kernel)
{
	for (unsigned int i = 0; i < machine.module_count; i++)
		if (machine.module[i].range.start == address && machine.module[i].kernel == kernel)
			return &machine.module[i];
	return NULL;
}

static bool is_in_use(struct range r)
{
	bool used = range_overlaps(r, machine.image);
	uint64_t fdt = (uintptr_t)machine.fdt;

	used |= range_overlaps(r, (struct range){ fdt, fdt + fdt_totalsize(machine.fdt) });
	for (unsigned int i = 0; i < machine.module_count; i++)
		used |= range_overlaps(r, machine.module[i].range);
	return used;
}

struct range machine_take_ram(uint64_t size)
{
	for (unsigned int i = machine.ram_count; i-- > 0;) {
		uint64_t end = machine.ram[i].end & ~((uint64_t)BLOCK_SIZE - 1);
		struct range r = { end - size, end };

		if (end < size || !range_covers(machine.ram[i], r) || is_in_use(r))
			continue;
		machine.ram[i].end = r.start;
		return r;
	}
	machine_fail("%lu MiB of RAM are not free for a guest\n", size >> 20);
}

bool machine_is_guest_ram(struct range r)
{
	if (range_overlaps(r, machine.image))
		return false;
	for (unsigned int i = 0; i < machine.ram_count; i++)
		if (range_covers(machine.ram[i], r))
			return true;
	return false;
}

int machine_cpu_index(uint64_t affinity)
{
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		if (machine.mpidr[i] == affinity)
			return (int)i;
	return -1;
}

void machine_parse(const void *fdt)
{
	parse_ram(fdt);
	parse_gic(fdt);
	parse_cpus(fdt);
	parse_pci(fdt);
	mmu_map_machine();
	parse_modules(fdt);
}
