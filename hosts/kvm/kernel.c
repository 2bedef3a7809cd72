/* SPDX-License-Identifier: MIT */
/* The VM as the kernel has it: without KVM's own PMU, and with the library's MSRs handed out. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where Intel's hosts keep three pages of their own: below the top of 4 GiB, clear of the APICs. */
#define TSS_AT 0xfffbd000ul
#define IDENTITY_AT 0xfffbc000ull

static const struct need {
	int capability;
	const char *why;
} needs[] = {
	{ KVM_CAP_IRQCHIP, "this KVM has no interrupt controllers" },
	{ KVM_CAP_PIT2, "this KVM has no timer" },
	{ KVM_CAP_USER_NMI, "this KVM cannot deliver an NMI" },
	{ KVM_CAP_SIGNAL_MSI, "this KVM cannot deliver an interrupt to a local APIC" },
	{ KVM_CAP_IMMEDIATE_EXIT, "this KVM has no immediate exit (Linux 4.13)" },
	{ KVM_CAP_X86_USER_SPACE_MSR, "this KVM hands no MSRs to user space (Linux 5.10)" },
	{ KVM_CAP_X86_MSR_FILTER, "this KVM has no MSR filter (Linux 5.10)" },
};

int vmm_kernel_open(struct vmm *m, const char **why)
{
	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0) {
		*why = errno == ENOENT ? "there is no /dev/kvm" :
			"/dev/kvm cannot be opened by this user";
		return -1;
	}
	*why = "/dev/kvm has another interface version";
	if (ioctl(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return -1;
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		*why = needs[i].why;
		if (ioctl(m->kvm, KVM_CHECK_EXTENSION, needs[i].capability) <= 0)
			return -1;
	}
	m->run_size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	*why = "/dev/kvm gives no memory for a CPU";
	return m->run_size < (int)sizeof(struct kvm_run) ? -1 : 0;
}

static int enable(int fd, uint32_t capability, uint64_t argument)
{
	struct kvm_enable_cap cap = { .cap = capability, .args = { argument } };

	return ioctl(fd, KVM_ENABLE_CAP, &cap);
}

/* Time that the kernel spins for a halted guest would be the guest's (sources/time). */
static void tune(int kvm, int fd)
{
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY) & KVM_PMU_CAP_DISABLE)
		(void)enable(fd, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_HALT_POLL) > 0)
		(void)enable(fd, KVM_CAP_HALT_POLL, 0);
}

int vmm_kernel_vm(struct vmm *m, const char **why)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_AT;
	int fd = ioctl(m->kvm, KVM_CREATE_VM, 0);

	*why = "KVM makes no VM";
	if (fd < 0)
		return -1;
	tune(m->kvm, fd);
	(void)ioctl(fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	(void)ioctl(fd, KVM_SET_TSS_ADDR, TSS_AT);
	*why = "KVM makes no interrupt controllers";
	if (ioctl(fd, KVM_CREATE_IRQCHIP, 0) || ioctl(fd, KVM_CREATE_PIT2, &pit))
		goto fail;
	*why = "KVM hands no MSRs to user space";
	if (enable(fd, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER) ||
	    vmm_filter_set(fd, m->config.model.vendor))
		goto fail;
	return fd;
fail:
	(void)close(fd);
	return -1;
}

int vmm_kernel_cpuid(struct vmm *m, struct vmm_cpu *c)
{
	struct vmm_cpuid *cpuid = calloc(1, sizeof(*cpuid));
	const struct vmm_cpuid_config config = {
		.vm = &m->vm, .vendor = m->config.model.vendor, .cpus = m->config.cpus,
		.id = c->id,
		.deadline = ioctl(m->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};
	int result;

	if (!cpuid)
		return -1;
	cpuid->nent = VMM_CPUID_MAX - 8;
	result = ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (!result) {
		vmm_cpuid_make(cpuid, &config);
		result = ioctl(c->fd, KVM_SET_CPUID2, cpuid);
	}
	free(cpuid);
	return result;
}
