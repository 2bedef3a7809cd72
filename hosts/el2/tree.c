/* SPDX-License-Identifier: MIT */
/*
 * tree.c - the device tree of a guest that has no devices: CPUs, memory, interrupt controller,
 * timer, PMU, console. Devices that are emulated are where the machine has its own.
 */
#include <libfdt.h>

#include "tenant.h"
#include "string.h"

#define PHANDLE_GIC 1u
#define PHANDLE_CLOCK 2u
#define GIC_SPI 0u
#define GIC_PPI 1u
#define IRQ_LEVEL_HIGH 4u
#define CLOCK_HZ 24000000u

static void check(int result)
{
	if (result < 0)
		machine_fail("a guest's device tree: %s\n", fdt_strerror(result));
}

/* ---- Properties ---- */

static void begin(void *fdt, const char *name)
{
	check(fdt_begin_node(fdt, name));
}

static void end(void *fdt)
{
	check(fdt_end_node(fdt));
}

static void text(void *fdt, const char *name, const char *value)
{
	check(fdt_property(fdt, name, value, (int)strlen(value) + 1));
}

static void flag(void *fdt, const char *name)
{
	check(fdt_property(fdt, name, NULL, 0));
}

static void number(void *fdt, const char *name, uint32_t value)
{
	check(fdt_property_u32(fdt, name, value));
}

static void cells(void *fdt, const char *name, const uint32_t *value, unsigned int count)
{
	uint32_t *to;

	check(fdt_property_placeholder(fdt, name, (int)(count * 4), (void **)&to));
	for (unsigned int i = 0; i < count; i++)
		to[i] = cpu_to_fdt32(value[i]);
}

/* Two cells of address and of size for each. */
static void ranges(void *fdt, const struct range *r, unsigned int count)
{
	uint32_t value[4 * 2];

	for (unsigned int i = 0; i < count; i++) {
		uint64_t size = r[i].end - r[i].start;

		value[4 * i] = (uint32_t)(r[i].start >> 32);
		value[4 * i + 1] = (uint32_t)r[i].start;
		value[4 * i + 2] = (uint32_t)(size >> 32);
		value[4 * i + 3] = (uint32_t)size;
	}
	cells(fdt, "reg", value, 4 * count);
}

/* "name@ADDRESS" */
static void begin_at(void *fdt, const char *name, uint64_t address)
{
	char full[40], *p = full;
	int shift = 60;

	while (*name)
		*p++ = *name++;
	*p++ = '@';
	while (shift && !(address >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*p++ = "0123456789abcdef"[address >> shift & 0xF];
	*p = '\0';
	begin(fdt, full);
}

/* ---- Nodes ---- */

static void add_cpus(void *fdt, const struct vm *vm)
{
	begin(fdt, "cpus");
	number(fdt, "#address-cells", 1);
	number(fdt, "#size-cells", 0);
	for (unsigned int i = 0; i < vm->cpu_count; i++) {
		begin_at(fdt, "cpu", i);
		text(fdt, "device_type", "cpu");
		text(fdt, "compatible", "arm,armv8");
		number(fdt, "reg", i);
		text(fdt, "enable-method", "psci");
		end(fdt);
	}
	end(fdt);
}

static void add_psci(void *fdt)
{
	static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2";

	begin(fdt, "psci");
	check(fdt_property(fdt, "compatible", compatible, sizeof(compatible)));
	text(fdt, "method", "smc");
	end(fdt);
}

static void add_memory(void *fdt, const struct vm *vm)
{
	struct range r = { vm->ram.start - vm->offset, vm->ram.end - vm->offset };

	begin_at(fdt, "memory", r.start);
	text(fdt, "device_type", "memory");
	ranges(fdt, &r, 1);
	end(fdt);
}

static void add_gic(void *fdt)
{
	const struct range r[2] = { machine.gicd, machine.gicr[0] };

	begin_at(fdt, "interrupt-controller", machine.gicd.start);
	text(fdt, "compatible", "arm,gic-v3");
	flag(fdt, "interrupt-controller");
	number(fdt, "#interrupt-cells", 3);
	number(fdt, "#address-cells", 2);
	number(fdt, "#size-cells", 2);
	flag(fdt, "ranges");
	ranges(fdt, r, 2);
	number(fdt, "#redistributor-regions", 1);
	if (machine.gicr_stride) {
		const uint32_t stride[2] = { (uint32_t)(machine.gicr_stride >> 32),
					     (uint32_t)machine.gicr_stride };

		cells(fdt, "redistributor-stride", stride, 2);
	}
	number(fdt, "phandle", PHANDLE_GIC);
	end(fdt);
}

/* Secure, non-secure and virtual EL1 timer. */
static void add_timer(void *fdt)
{
	static const uint32_t interrupts[] = {
		GIC_PPI, 13, IRQ_LEVEL_HIGH, GIC_PPI, 14, IRQ_LEVEL_HIGH,
		GIC_PPI, 11, IRQ_LEVEL_HIGH,
	};

	begin(fdt, "timer");
	text(fdt, "compatible", "arm,armv8-timer");
	cells(fdt, "interrupts", interrupts, 9);
	flag(fdt, "always-on");
	end(fdt);
}

static void add_pmu(void *fdt)
{
	static const uint32_t interrupts[] = { GIC_PPI, PPI_PMU - 16, IRQ_LEVEL_HIGH };

	begin(fdt, "pmu");
	text(fdt, "compatible", "arm,armv8-pmuv3");
	cells(fdt, "interrupts", interrupts, 3);
	end(fdt);
}

static void add_console(void *fdt)
{
	static const char compatible[] = "arm,pl011\0arm,primecell";
	static const char names[] = "uartclk\0apb_pclk";
	static const uint32_t clocks[] = { PHANDLE_CLOCK, PHANDLE_CLOCK };
	const uint32_t interrupts[] = { GIC_SPI, machine.uart_intid - 32, IRQ_LEVEL_HIGH };

	begin(fdt, "apb-pclk");
	text(fdt, "compatible", "fixed-clock");
	number(fdt, "#clock-cells", 0);
	number(fdt, "clock-frequency", CLOCK_HZ);
	number(fdt, "phandle", PHANDLE_CLOCK);
	end(fdt);
	begin_at(fdt, "serial", machine.uart.start);
	check(fdt_property(fdt, "compatible", compatible, sizeof(compatible)));
	ranges(fdt, &machine.uart, 1);
	cells(fdt, "interrupts", interrupts, 3);
	check(fdt_property(fdt, "clock-names", names, sizeof(names)));
	cells(fdt, "clocks", clocks, 2);
	end(fdt);
}

static void put_address(void *fdt, const char *name, uint64_t address)
{
	const uint32_t value[2] = { (uint32_t)(address >> 32), (uint32_t)address };

	cells(fdt, name, value, 2);
}

static void add_chosen(void *fdt, struct range initrd, const char *bootargs)
{
	begin(fdt, "chosen");
	if (bootargs)
		text(fdt, "bootargs", bootargs);
	if (initrd.end > initrd.start) {
		put_address(fdt, "linux,initrd-start", initrd.start);
		put_address(fdt, "linux,initrd-end", initrd.end);
	}
	end(fdt);
}

void tenant_tree(struct vm *vm, void *at, uint64_t size, struct range initrd, const char *bootargs)
{
	check(fdt_create(at, (int)size));
	check(fdt_finish_reservemap(at));
	begin(at, "");
	text(at, "compatible", "linux,dummy-virt");
	text(at, "model", "vpmu");
	number(at, "#address-cells", 2);
	number(at, "#size-cells", 2);
	number(at, "interrupt-parent", PHANDLE_GIC);
	add_psci(at);
	add_cpus(at, vm);
	add_memory(at, vm);
	add_gic(at);
	add_timer(at);
	if (vm->options->mode != PMU_OFF)
		add_pmu(at);
	add_console(at);
	add_chosen(at, initrd, bootargs);
	end(at);
	check(fdt_finish(at));
}
