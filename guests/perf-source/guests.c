/* SPDX-License-Identifier: MIT */
/* Events that count a guest of KVM and nothing of this host (RULES F5). */
#include "cases.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* The loop of main.c, then a store to no memory, which ends KVM_RUN; and again. */
extern const char guest_begin[], guest_end[];

__asm__(".pushsection .rodata\n"
	".balign 4\n"
	".globl guest_begin, guest_end\n"
	"guest_begin:\n"
	"1:	add	x1, x1, x2\n"
	"	eor	x2, x2, x1\n"
	"	subs	x0, x0, #1\n"
	"	b.ne	1b\n"
	"	str	x0, [x3]\n"
	"	b	1b\n"
	"guest_end:\n"
	".popsection\n");

#define MEMORY 0x40000000ul
#define MEMORY_SIZE 0x10000u
#define DEVICE 0x09000000ul
#define EL1H 0x3C5u                          /* all interrupts masked */
#define EL0T 0x3C0u

static int vcpu = -1;
static struct kvm_run *run;

static void set_register(uint64_t offset, uint64_t value)
{
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | offset / 4,
		.addr = (uint64_t)(uintptr_t)&value,
	};

	check(!ioctl(vcpu, KVM_SET_ONE_REG, &reg), "register at %lu: %s", offset, strerror(errno));
}

#define REGISTER(member) offsetof(struct kvm_regs, regs.member)

static bool make_memory(int vm)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = MEMORY, .memory_size = MEMORY_SIZE,
	};
	void *memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);

	if (memory == MAP_FAILED)
		return false;
	memcpy(memory, guest_begin, (size_t)(guest_end - guest_begin));
	region.userspace_addr = (uint64_t)(uintptr_t)memory;
	return !ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static bool make_vcpu(int kvm, int vm)
{
	struct kvm_vcpu_init init;
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0 || size < 0 || ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) ||
	    ioctl(vcpu, KVM_ARM_VCPU_INIT, &init))
		return false;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	return run != MAP_FAILED;
}

bool enter_guest(void)
{
	int n = ioctl(vcpu, KVM_RUN, 0);

	if (n < 0 && errno == EINTR)
		return false;
	check(!n && run->exit_reason == KVM_EXIT_MMIO && run->mmio.phys_addr == DEVICE,
	      "KVM_RUN: %d (%s), exit %u", n, n ? strerror(errno) : "no error", run->exit_reason);
	return true;
}

void end_guest(void *context)
{
	(void)context;
	run->immediate_exit = 1;
}

void allow_guest(void)
{
	run->immediate_exit = 0;
}

void set_guest_loop(uint64_t iterations)
{
	set_register(REGISTER(regs[0]), iterations);
}

uint64_t guest_length(uint64_t iterations)
{
	return 1 + LOOP_INSTRUCTIONS * iterations;
}

static void a_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	check(vm >= 0 && make_memory(vm) && make_vcpu(kvm, vm), "no VM: %s", strerror(errno));
	if (vcpu < 0)
		return;
	set_register(REGISTER(pstate), EL1H);
	set_register(REGISTER(pc), MEMORY);
	set_register(REGISTER(regs[0]), 1);
	set_register(REGISTER(regs[3]), DEVICE);
	check(enter_guest(), "a signal for nothing");
}

static void guest_loop(uint64_t iterations)
{
	set_guest_loop(iterations);
	check(enter_guest(), "a signal for nothing");
}

static void check_guest(unsigned int slot, bool counts)
{
	static const uint64_t lengths[] = { 1, 1000, 123457, 2000000 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint64_t expected = counts ? guest_length(lengths[i]) : 0, before = value_of(slot), n;

		guest_loop(lengths[i]);
		n = value_of(slot) - before;
		check(n == expected, "slot %u: %lu of %lu instructions", slot, n, expected);
	}
}

static void guest_counts(void)
{
	struct vpmu_event e = event_of(VPMU_MEANS_INSTRUCTIONS);

	start_source(false, NULL);
	if (create(0, &e))
		check_guest(0, true);
	stop_source();
}

static void host_counts_nothing(void)
{
	struct vpmu_event e = event_of(VPMU_MEANS_INSTRUCTIONS);

	start_source(false, NULL);
	if (create(0, &e)) {
		uint64_t n;

		loop(2000000);
		n = value_of(0);
		check(n == 0, "%lu instructions of the host", n);
	}
	stop_source();
}

static void guest_rings(void)
{
	struct vpmu_event user = user_event_of(VPMU_MEANS_INSTRUCTIONS), kernel = user;

	kernel.user = false;
	kernel.kernel = true;
	start_source(false, NULL);
	if (create(0, &user) && create(1, &kernel)) {
		check_guest(0, false);
		check_guest(1, true);
		set_register(REGISTER(pstate), EL0T);
		check_guest(0, true);
		check_guest(1, false);
		set_register(REGISTER(pstate), EL1H);
	}
	stop_source();
}

#define GUEST_PERIOD 1000003u

/* The guest would go on for a long time: the overflow ends KVM_RUN, at once. */
static void overflow_ends_the_guest(void)
{
	struct vpmu_event e = event_of(VPMU_MEANS_CYCLES);
	uint64_t n;

	e.period = GUEST_PERIOD;
	start_source(false, end_guest);
	if (!create(0, &e))
		return;
	set_guest_loop(UINT64_MAX);
	check(!enter_guest() && hints[0] == 1, "%u hints", hints[0]);
	n = value_of(0);
	allow_guest();
	check(n >= GUEST_PERIOD && n < GUEST_PERIOD + 100000, "after %lu cycles", n);
	guest_loop(1);
	stop_source();
}

/* KVM_RUN between a read and the next must not take user mode's right to read. */
static void guest_with_user_reads(void)
{
	struct vpmu_event e = event_of(VPMU_MEANS_INSTRUCTIONS);
	uint64_t calls;

	start_source(false, NULL);
	check(source.source.cheap_reads, "reads are not cheap");
	if (create(0, &e)) {
		calls = source.system_calls;
		check_guest(0, true);
		check(source.system_calls == calls, "a read made a system call");
	}
	stop_source();
}

void cases_of_guests(void)
{
	if (access("/dev/kvm", R_OK | W_OK)) {
		skip_case("guest", "this machine has no EL2: no /dev/kvm");
		return;
	}
	run_case("a_vm", a_vm);
	run_case("guest_counts", guest_counts);
	run_case("host_counts_nothing", host_counts_nothing);
	run_case("guest_rings", guest_rings);
	run_case("overflow_ends_the_guest", overflow_ends_the_guest);
	if (set_kernel("perf_user_access", 1))
		run_case("guest_with_user_reads", guest_with_user_reads);
}
