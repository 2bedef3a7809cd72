/* SPDX-License-Identifier: MIT */
/*
 * The smallest VMM on Linux KVM with a PMU that KVM does not have to offer: a guest of a few
 * instructions counts a loop and samples itself. The library's part is embed.c.
 * Exit status 77: this machine cannot run it, and why.
 */
#include "embed.h"
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CANNOT 77
#define MSRS 0x2000u                 /* from 0 on: where Intel's are */
#define CPUID_MAX 128u
#define LVTPC_AT (APIC_AT + 0x340u)

static struct {
	int kvm, vm, cpu;
	struct kvm_run *run;
	uint8_t *memory;
	uint32_t port[GUEST_PORTS];
} vmm;

void need(bool there, int status, const char *what)
{
	if (there)
		return;
	fprintf(stderr, "%s: %s\n", status == CANNOT ? "SKIP" : "example-kvm", what);
	exit(status);
}

static int request(int fd, unsigned long number, void *argument, const char *what)
{
	int result = ioctl(fd, number, argument);

	need(result >= 0, 1, what);
	return result;
}

/* ---- Set-up ---- */

static void open_kvm(void)
{
	vmm.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	need(vmm.kvm >= 0, CANNOT, errno == ENOENT ? "there is no /dev/kvm" :
	     "/dev/kvm cannot be opened");
	need(ioctl(vmm.kvm, KVM_CHECK_EXTENSION, KVM_CAP_X86_USER_SPACE_MSR) > 0 &&
	     ioctl(vmm.kvm, KVM_CHECK_EXTENSION, KVM_CAP_X86_MSR_FILTER) > 0, CANNOT,
	     "this KVM hands no MSRs to user space (Linux 5.10)");
	vmm.vm = ioctl(vmm.kvm, KVM_CREATE_VM, 0);
	need(vmm.vm >= 0, CANNOT, "this KVM makes no VM");
}

static void take_msrs(void)
{
	static uint8_t allowed[MSRS / 8];
	struct kvm_msr_filter filter = { .ranges[0] = {
		.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .nmsrs = MSRS, .bitmap = allowed,
	} };
	struct kvm_enable_cap exits = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { KVM_MSR_EXIT_REASON_FILTER },
	};

	memset(allowed, 0xff, sizeof(allowed));
	pmu_filter(allowed, MSRS);
	request(vmm.vm, KVM_ENABLE_CAP, &exits, "no exits for MSRs");
	request(vmm.vm, KVM_X86_SET_MSR_FILTER, &filter, "no MSR filter");
}

static void make_vm(void)
{
	struct kvm_userspace_memory_region ram = { .memory_size = GUEST_MEMORY };
	struct kvm_enable_cap no_pmu = {
		.cap = KVM_CAP_PMU_CAPABILITY, .args = { KVM_PMU_CAP_DISABLE },
	};

	vmm.memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	need(vmm.memory != MAP_FAILED, 1, "no memory");
	/* Before Linux 5.18 KVM's own PMU stays, behind the filter. */
	(void)ioctl(vmm.vm, KVM_ENABLE_CAP, &no_pmu);
	ram.userspace_addr = (uintptr_t)vmm.memory;
	request(vmm.vm, KVM_SET_USER_MEMORY_REGION, &ram, "no memory for the guest");
	take_msrs();
}

static void make_cpu(void)
{
	int size = request(vmm.kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "no size of a CPU");

	vmm.cpu = request(vmm.vm, KVM_CREATE_VCPU, NULL, "no CPU");
	vmm.run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vmm.cpu, 0);
	need(vmm.run != MAP_FAILED, 1, "no shared memory of a CPU");
}

static void start_cpu(void)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	need(cpuid, 1, "no memory");
	cpuid->nent = CPUID_MAX - 1;
	request(vmm.kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "no CPUID");
	pmu_cpuid(cpuid);
	request(vmm.cpu, KVM_SET_CPUID2, cpuid, "no CPUID for the guest");
	free(cpuid);
	request(vmm.cpu, KVM_GET_SREGS, &sregs, "no registers");
	guest_load(vmm.memory, &regs, &sregs);
	request(vmm.cpu, KVM_SET_SREGS, &sregs, "no registers for the guest");
	request(vmm.cpu, KVM_SET_REGS, &regs, "no registers for the guest");
}

/* ---- Exits ---- */

static void msr(struct kvm_run *run, bool write)
{
	uint64_t value = run->msr.data;

	run->msr.error = !pmu_msr(run->msr.index, write, &value);
	run->msr.data = value;
}

/* All of an APIC that this guest needs; one in the kernel is read instead (hosts/kvm). */
static void mmio(const struct kvm_run *run)
{
	uint32_t value;

	if (run->mmio.phys_addr != LVTPC_AT || !run->mmio.is_write)
		return;
	memcpy(&value, run->mmio.data, sizeof(value));
	pmu_lvtpc(value);
}

static void out(const struct kvm_run *run)
{
	unsigned int i = run->io.port - PORT_CYCLES;

	if (i < GUEST_PORTS && run->io.size == sizeof(vmm.port[0]))
		memcpy(&vmm.port[i], (const uint8_t *)run + run->io.data_offset, sizeof(vmm.port[0]));
}

/* returns: does the guest go on? */
static bool handle(struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_X86_RDMSR:
		msr(run, false);
		return true;
	case KVM_EXIT_X86_WRMSR:
		msr(run, true);
		return true;
	case KVM_EXIT_MMIO:
		mmio(run);
		return true;
	case KVM_EXIT_IO:
		out(run);
		return true;
	case KVM_EXIT_HLT:
		return false;
	}
	fprintf(stderr, "example-kvm: exit %u of KVM\n", run->exit_reason);
	exit(1);
}

/* KVM_RUN then returns at once, also if it has not begun. */
static void kick(void)
{
	((volatile struct kvm_run *)vmm.run)->immediate_exit = 1;
}

static void nmi(void)
{
	request(vmm.cpu, KVM_NMI, NULL, "no NMI");
}

static bool run_once(void)
{
	int result, error;

	((volatile struct kvm_run *)vmm.run)->immediate_exit = 0;
	atomic_signal_fence(memory_order_seq_cst);
	pmu_enter(nmi);
	result = ioctl(vmm.cpu, KVM_RUN, 0);
	error = errno;
	pmu_exit();
	if (result == 0)
		return handle(vmm.run);
	need(error == EINTR || error == EAGAIN, 1, "the guest cannot run");
	return true;
}

int main(void)
{
	int tsc_khz;

	open_kvm();
	make_vm();
	make_cpu();
	tsc_khz = request(vmm.cpu, KVM_GET_TSC_KHZ, NULL, "no frequency");
	pmu_create((uint64_t)tsc_khz, kick);
	start_cpu();
	while (run_once())
		;
	pmu_destroy();
	printf("counted by %s: %" PRIu32 " cycles in %" PRIu32 " of the TSC, %" PRIu32 " samples\n",
	       pmu_source(), vmm.port[0], vmm.port[1], vmm.port[2]);
	return 0;
}
