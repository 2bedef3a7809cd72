/* SPDX-License-Identifier: MIT */
/*
 * tenant.c - from the options to several running guests.
 *
 * The first guest has the machine's memory at its own addresses, less what the others got, and the
 * machine's devices. Another one's memory is a piece off the end of the machine's, and begins in
 * the guest where the machine's begins; its modules are copied there, and wiped where they were,
 * for that memory becomes the first guest's.
 */
#include <libfdt.h>

#include "tenant.h"
#include "string.h"

#define TREE_MAX 0x10000u

struct vm vms[VM_MAX];
uint32_t vm_count;

/* ---- The others ---- */

static uint64_t round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

/* Copies (m) to the guest's address (at). */
static void move_in(const struct vm *vm, struct range m, uint64_t at)
{
	void *to = (void *)(at + vm->offset);

	memcpy(to, (const void *)m.start, m.end - m.start);
	memset((void *)m.start, 0, m.end - m.start);
	guest_image_placed((uintptr_t)to, m.end - m.start);
	dcache_clean_invalidate(m.start, m.end - m.start);
}

static void must_fit(const struct vm *vm, uint64_t end)
{
	if (end + vm->offset > vm->ram.end)
		machine_fail("guest %u: %lu MiB of memory are too few\n", vm->index,
			     (vm->ram.end - vm->ram.start) >> 20);
}

static const struct module *find_module(const struct vm *vm, uint64_t address, bool kernel)
{
	const struct module *m = machine_module(address, kernel);

	if (!m)
		machine_fail("guest %u: no %s module at %lx\n", vm->index,
			     kernel ? "kernel" : "initrd", address);
	return m;
}

/* returns: where it is entered. The first block is the tree's. */
static uint64_t place(struct vm *vm)
{
	const struct vm_options *o = vm->options;
	const struct module *kernel = find_module(vm, o->kernel, true);
	uint64_t base = vm->ram.start - vm->offset, offset;
	uint64_t size = guest_image_size(kernel->range, &offset);
	uint64_t entry = base + BLOCK_SIZE + offset % BLOCK_SIZE;
	uint64_t initrd_at = round_up(entry + size, BLOCK_SIZE);
	struct range initrd = { initrd_at, initrd_at };

	must_fit(vm, entry + size);
	move_in(vm, kernel->range, entry);
	if (o->initrd) {
		struct range m = find_module(vm, o->initrd, false)->range;

		initrd.end += m.end - m.start;
		must_fit(vm, initrd.end);
		move_in(vm, m, initrd.start);
	}
	tenant_tree(vm, (void *)vm->ram.start, TREE_MAX, initrd, kernel->bootargs);
	dcache_clean_invalidate(vm->ram.start, TREE_MAX);
	vm->vcpu[0].regs = (struct regs){ .x = { base } };
	return entry;
}

static void prepare_other(struct vm *vm)
{
	uint64_t base = machine.ram[0].start;

	if (!vm->options->memory)
		machine_fail("guest %u: no memory= for it\n", vm->index);
	vm->ram = machine_take_ram(vm->options->memory);
	vm->offset = vm->ram.start - base;
	stage2_build_ram(vm->index, (struct range){ base, base + vm->options->memory }, vm->offset);
	context_reset(&vm->vcpu[0].context, place(vm));
}

/* ---- The first ---- */

static void prepare_first(struct vm *vm)
{
	const struct vm_options *o = vm->options;
	struct guest g;

	if (o->memory)
		machine_fail("option \"memory=\": the first guest has what the others leave\n");
	if (o->cpus > machine.cpu_count)
		machine_fail("option \"cpus=%u\": the first guest has at most the machine's\n",
			     o->cpus);
	machine.initrd = (struct range){ 0, 0 };
	machine.kernel = find_module(vm, o->kernel, true)->range;
	machine.guest_bootargs = find_module(vm, o->kernel, true)->bootargs;
	if (o->initrd)
		machine.initrd = find_module(vm, o->initrd, false)->range;
	g = guest_prepare();
	stage2_build();
	context_reset(&vm->vcpu[0].context, g.entry);
	vm->vcpu[0].regs = (struct regs){ .x = { g.fdt } };
}

/* ---- All ---- */

static void init_vm(struct vm *vm, uint32_t index)
{
	const struct vm_options *o = &options.vm[index];

	vm->index = index;
	vm->options = o;
	vm->cpu_count = o->cpus;
	vm->vttbr = stage2_vttbr(index);
	if (!o->kernel)
		machine_fail("guest %u: no kernel= for it\n", index);
	if (!(o->on & ((1u << machine.cpu_count) - 1)))
		machine_fail("guest %u: \"on=\" names no CPU of this machine\n", index);
	for (unsigned int i = 0; i < vm->cpu_count; i++) {
		vm->vcpu[i].vm = vm;
		vm->vcpu[i].index = i;
	}
}

/*
 * The machine's tree says what all guests were told, and lies in what is the first one's memory
 * now.
 */
static void wipe_tree(void)
{
	void *tree = (void *)(uintptr_t)machine.fdt;
	uint64_t size = fdt_totalsize(tree);

	memset(tree, 0, size);
	dcache_clean_invalidate((uintptr_t)tree, size);
	machine.fdt = NULL;
}

void tenants_prepare(void)
{
	vm_count = options.vm_count;
	if (!machine.uart_intid)
		machine_fail("no console with an SPI in the device tree\n");
	for (unsigned int i = 0; i < vm_count; i++)
		init_vm(&vms[i], i);
	for (unsigned int i = 1; i < vm_count; i++)
		prepare_other(&vms[i]);
	prepare_first(&vms[0]);
	wipe_tree();
}

static void start_vm(struct vm *vm)
{
	vm->start = vm->index ? read_sysreg(cntpct_el0) : 0;
	tgic_vm_init(vm);
	for (unsigned int i = 0; i < vm->cpu_count; i++)
		tgic_vcpu_reset(&vm->vcpu[i]);
	vm->vcpu[0].power = VCPU_READY;
	vm->vcpu[0].turn = vm->index;
}

void tenant_cpu_start(struct cpu *c)
{
	sched_init(c);
	sched_run(c);
}

void tenants_start(struct cpu *c)
{
	tenant_pmu_init();
	cpu_init(c);
	gic_enable_distributor();
	for (unsigned int i = 0; i < vm_count; i++)
		start_vm(&vms[i]);
	for (unsigned int i = 0; i < machine.cpu_count; i++)
		if (&cpus[i] != c && firmware_start_cpu(&cpus[i]) != PSCI_SUCCESS)
			machine_fail("CPU %u does not start\n", i);
	tenant_cpu_start(c);
}

/* ---- Statistics ---- */

static void print_vcpu(struct vcpu *v)
{
	char name[] = "vmN.cpuN";

	name[2] = (char)('0' + v->vm->index);
	name[7] = (char)('0' + v->index);
	if (v->refusals)
		console_printf("vpmu: %s refusals %lu\n", name, v->refusals);
	if (!v->slices)
		return;
	console_printf("vpmu: %s slices %lu\n", name, v->slices);
	console_printf("vpmu: %s waits %lu\n", name, v->waited);
	console_printf("vpmu: %s migrations %lu\n", name, v->migrations);
	if (v->has_pmu)
		pmu_print(name, &v->pmu, v->pmu_late);
}

void tenant_stats(void)
{
	for (unsigned int i = 0; i < machine.cpu_count; i++) {
		stats_print_exits(i);
		pmu_print_partition(&cpus[i]);
	}
	for (unsigned int i = 0; i < vm_count; i++)
		for (unsigned int j = 0; j < vms[i].cpu_count; j++)
			print_vcpu(&vms[i].vcpu[j]);
}
