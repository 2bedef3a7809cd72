/* SPDX-License-Identifier: MIT */
/*
 * What this KVM does with RDPMC for a guest without a PMU of KVM's, which no interface says: a guest of a
 * few instructions in a VM like the real one finds out. On the way, the TSC's frequency.
 */
#include "internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 0x20000u
#define IDT_AT 0x1000u
#define TABLES_AT 0x10000u
#define GDT_AT 0x6000u
#define CODE_AT 0x8000u
#define FAULT_AT 0x9000u
#define STACK_AT 0xb000u
#define PORT_DONE 0xe0u
#define PORT_FAULT 0xe1u
#define INDICES 8u                   /* of RDPMC, that are tried */

static const uint8_t code[] = {
	0x0f, 0x33,                  /* rdpmc */
	0xe6, PORT_DONE,             /* out PORT_DONE, al */
	0xf4,
};

static const uint8_t handler[] = {
	0xe6, PORT_FAULT,            /* out PORT_FAULT, al */
	0xf4,
};

struct guest {
	int vm;
	struct vmm_cpu cpu;
	uint8_t *memory;
};

static void put64(struct guest *g, uint32_t at, uint64_t value)
{
	memcpy(g->memory + at, &value, sizeof(value));
}

static void fill(struct guest *g)
{
	static const uint64_t gdt[3] = { 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };

	memcpy(g->memory + CODE_AT, code, sizeof(code));
	memcpy(g->memory + FAULT_AT, handler, sizeof(handler));
	memcpy(g->memory + GDT_AT, gdt, sizeof(gdt));
	put64(g, IDT_AT + 16 * PC_GP, (uint64_t)(FAULT_AT & 0xffff) | 8u << 16 | 0x8e0000000000ull);
	put64(g, TABLES_AT, (TABLES_AT + 0x1000) | 3);
	put64(g, TABLES_AT + 0x1000, (TABLES_AT + 0x2000) | 3);
	put64(g, TABLES_AT + 0x2000, 0x83);
}

static const struct pc_state start = {
	.cr0 = PC_CR0_PE | PC_CR0_PG | 0x10, .cr3 = TABLES_AT, .cr4 = PC_CR4_PAE,
	.efer = PC_EFER_LME | PC_EFER_LMA,
	.cs = { .selector = 8, .limit = 0xffffffffu, .attributes = 0xaf9b00 },
	.ss = { .selector = 16, .limit = 0xffffffffu, .attributes = 0xcf9300 },
	.tr = { .limit = 0x67, .attributes = 0x8b00 },
	.ldt = { .attributes = 0x8200 },
	.gdt = { .base = GDT_AT, .limit = 23 },
	.idt = { .base = IDT_AT, .limit = 0xfff },
};

static enum vmm_rdpmc try(struct guest *g, uint32_t index)
{
	const struct kvm_regs regs = {
		.rip = CODE_AT, .rsp = STACK_AT, .rflags = 2, .rcx = index,
	};
	const struct kvm_run *run = g->cpu.run;

	if (vmm_cpu_set_state(&g->cpu, &start) || ioctl(g->cpu.fd, KVM_SET_REGS, &regs) ||
	    ioctl(g->cpu.fd, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_IO)
		return VMM_RDPMC_UNKNOWN;
	if (run->io.port == PORT_FAULT)
		return VMM_RDPMC_FAULTS;
	return run->io.port == PORT_DONE ? VMM_RDPMC_SILENT : VMM_RDPMC_UNKNOWN;
}

/* One index that is answered is enough to be wrong. */
static enum vmm_rdpmc try_all(struct guest *g)
{
	enum vmm_rdpmc all = VMM_RDPMC_FAULTS;

	for (uint32_t i = 0; i < INDICES; i++) {
		enum vmm_rdpmc one = try(g, i);

		if (one == VMM_RDPMC_UNKNOWN)
			return one;
		if (one == VMM_RDPMC_SILENT)
			all = one;
	}
	return all;
}

/* Does a breakpoint on the handler of a fault exit before the handler's first instruction? */
static bool try_breakpoint(struct guest *g)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
		.arch.debugreg = { FAULT_AT, [7] = VMM_DR7_WATCH },
	};

	if (ioctl(g->cpu.fd, KVM_SET_GUEST_DEBUG, &debug))
		return false;
	(void)try(g, 0);
	return g->cpu.run->exit_reason == KVM_EXIT_DEBUG &&
	       g->cpu.run->debug.arch.pc == FAULT_AT;
}

static bool make(struct vmm *m, struct guest *g)
{
	struct kvm_userspace_memory_region ram = { .memory_size = SIZE };
	const char *why;
	void *run;

	g->memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->memory == MAP_FAILED)
		return false;
	g->vm = vmm_kernel_vm(m, &why);
	ram.userspace_addr = (uintptr_t)g->memory;
	if (g->vm < 0 || ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &ram))
		return false;
	g->cpu.fd = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	if (g->cpu.fd < 0)
		return false;
	run = mmap(NULL, (size_t)m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->cpu.fd, 0);
	if (run == MAP_FAILED)
		return false;
	g->cpu.run = run;
	return !vmm_kernel_cpuid(m, &g->cpu);
}

static void unmake(struct vmm *m, struct guest *g)
{
	if (g->cpu.run)
		(void)munmap(g->cpu.run, (size_t)m->run_size);
	if (g->cpu.fd >= 0)
		(void)close(g->cpu.fd);
	if (g->vm >= 0)
		(void)close(g->vm);
	if (g->memory != MAP_FAILED)
		(void)munmap(g->memory, SIZE);
}

enum vmm_rdpmc vmm_probe(struct vmm *m, uint64_t *tsc_khz)
{
	struct guest g = { .vm = -1, .cpu = { .m = m, .fd = -1 } };
	enum vmm_rdpmc result = VMM_RDPMC_UNKNOWN;
	int khz;

	*tsc_khz = 0;
	if (make(m, &g)) {
		khz = ioctl(g.cpu.fd, KVM_GET_TSC_KHZ, 0);
		*tsc_khz = khz > 0 ? (uint64_t)khz : 0;
		fill(&g);
		result = try_all(&g);
		m->breakpoints = result == VMM_RDPMC_FAULTS && try_breakpoint(&g);
	}
	unmake(m, &g);
	return result;
}
