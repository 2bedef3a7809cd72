/* SPDX-License-Identifier: MIT */
/* One CPU: its state at the start, its thread, its exits. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* ---- Signals ---- */

/* In the static block: a handler must not allocate it. */
static _Thread_local struct vmm_cpu *_Atomic self __attribute__((tls_model("initial-exec")));

/* Between its look at the reasons and KVM_RUN a signal would be too early: this is not. */
static void on_kick(int number)
{
	struct vmm_cpu *c = atomic_load_explicit(&self, memory_order_relaxed);

	(void)number;
	if (c)
		((volatile struct kvm_run *)c->run)->immediate_exit = 1;
}

int vmm_signals_init(void)
{
	struct sigaction action = { .sa_handler = on_kick };

	(void)sigemptyset(&action.sa_mask);
	if (sigaction(VMM_SIGNAL_KICK, &action, NULL))
		return -1;
	return 0;
}

void vmm_cpu_kick(struct vmm_cpu *c)
{
	if (c->has_thread)
		(void)pthread_kill(c->thread, VMM_SIGNAL_KICK);
}

/* ---- Set-up ---- */

int vmm_cpu_create(struct vmm *m, unsigned int id)
{
	struct vmm_cpu *c = &m->cpu[id];
	void *run;

	c->fd = ioctl(m->fd, KVM_CREATE_VCPU, id);
	if (c->fd < 0)
		return -1;
	run = mmap(NULL, (size_t)m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (run == MAP_FAILED)
		return -1;
	c->run = run;
	return vmm_kernel_cpuid(m, c);
}

static struct kvm_segment kvm_segment_of(const struct pc_segment *s)
{
	uint32_t a = s->attributes;

	return (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->selector,
		.type = a >> 8 & 15, .s = a >> 12 & 1, .dpl = a >> 13 & 3, .present = a >> 15 & 1,
		.avl = a >> 20 & 1, .l = a >> 21 & 1, .db = a >> 22 & 1, .g = a >> 23 & 1,
		.unusable = !(a >> 15 & 1),
	};
}

static struct pc_segment pc_segment_of(const struct kvm_segment *s)
{
	return (struct pc_segment){
		.base = s->base, .limit = s->limit, .selector = s->selector,
		.attributes = (uint32_t)s->type << 8 | (uint32_t)s->s << 12 |
			(uint32_t)s->dpl << 13 | (uint32_t)s->present << 15 |
			(uint32_t)s->l << 21 | (uint32_t)s->db << 22 | (uint32_t)s->g << 23,
	};
}

void vmm_cpu_set_privilege(struct kvm_sregs *k, const struct pc_state *s)
{
	k->cs = kvm_segment_of(&s->cs);
	k->ss = kvm_segment_of(&s->ss);
}

int vmm_cpu_set_state(struct vmm_cpu *c, const struct pc_state *s)
{
	struct kvm_sregs k;

	if (ioctl(c->fd, KVM_GET_SREGS, &k))
		return -1;
	k.cs = kvm_segment_of(&s->cs);
	k.ss = k.ds = k.es = k.fs = k.gs = kvm_segment_of(&s->ss);
	k.tr = kvm_segment_of(&s->tr);
	k.ldt = kvm_segment_of(&s->ldt);
	k.gdt = (struct kvm_dtable){ .base = s->gdt.base, .limit = (uint16_t)s->gdt.limit };
	k.idt = (struct kvm_dtable){ .base = s->idt.base, .limit = (uint16_t)s->idt.limit };
	k.cr0 = s->cr0;
	k.cr3 = s->cr3;
	k.cr4 = s->cr4;
	k.efer = s->efer;
	return ioctl(c->fd, KVM_SET_SREGS, &k);
}

int vmm_cpu_start(struct vmm_cpu *c)
{
	struct vmm *m = c->m;
	struct kvm_regs regs = {
		.rip = m->entry.rip, .rflags = 2, .rsp = m->entry.rsp,
		.rax = m->entry_rax, .rbx = m->entry_rbx, .rsi = m->entry_rsi,
	};

	if (vmm_cpu_set_state(c, &m->entry))
		return -1;
	return ioctl(c->fd, KVM_SET_REGS, &regs);
}

int vmm_cpu_state(struct vmm_cpu *c, struct pc_state *s)
{
	struct kvm_sregs k;

	if (ioctl(c->fd, KVM_GET_SREGS, &k))
		return -1;
	*s = (struct pc_state){
		.cr0 = k.cr0, .cr2 = k.cr2, .cr3 = k.cr3, .cr4 = k.cr4, .efer = k.efer,
		.cs = pc_segment_of(&k.cs), .ss = pc_segment_of(&k.ss),
		.gdt = { .base = k.gdt.base, .limit = k.gdt.limit },
		.idt = { .base = k.idt.base, .limit = k.idt.limit },
	};
	return 0;
}

/* ---- Exits ---- */

static void read_msr(struct vmm_cpu *c)
{
	uint64_t value = 0;

	c->msr_exits++;
	c->run->msr.error = !vmm_pmu_rdmsr(c, c->run->msr.index, &value);
	c->run->msr.data = value;
}

static void write_msr(struct vmm_cpu *c)
{
	c->msr_exits++;
	c->run->msr.error = !vmm_pmu_wrmsr(c, c->run->msr.index, c->run->msr.data);
}

/* There is nothing but memory and what the kernel has: reads give ones, writes are lost. */
static void memory(struct vmm_cpu *c)
{
	if (!c->run->mmio.is_write)
		memset(c->run->mmio.data, 0xff, sizeof(c->run->mmio.data));
}

static void system_event(struct vmm_cpu *c)
{
	if (c->run->system_event.type == KVM_SYSTEM_EVENT_RESET)
		vmm_end(c->m, VMM_RESET, "the guest reset the machine");
	else
		vmm_end(c->m, VMM_SHUTDOWN, "the guest shut down");
}

static void handle(struct vmm_cpu *c)
{
	struct kvm_run *run = c->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		vmm_port(c);
		break;
	case KVM_EXIT_MMIO:
		memory(c);
		break;
	case KVM_EXIT_X86_RDMSR:
		read_msr(c);
		break;
	case KVM_EXIT_X86_WRMSR:
		write_msr(c);
		break;
	case KVM_EXIT_DEBUG:
		vmm_rdpmc_debug(c);
		break;
	case KVM_EXIT_SHUTDOWN:
		vmm_end(c->m, VMM_SHUTDOWN, "the guest shut down: a triple fault");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		system_event(c);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		vmm_end(c->m, VMM_BROKEN, "KVM cannot go on: internal error %u",
			run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		vmm_end(c->m, VMM_BROKEN, "KVM cannot enter the guest: %#" PRIx64,
			(uint64_t)run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		vmm_end(c->m, VMM_BROKEN, "an exit of KVM that nobody expects: %u",
			run->exit_reason);
	}
}

static void run(struct vmm_cpu *c)
{
	int r, error;

	if (!vmm_pmu_enter(c))
		return;
	r = ioctl(c->fd, KVM_RUN, 0);
	error = errno;
	vmm_pmu_exit(c);
	c->exits++;
	if (r == 0)
		handle(c);
	else if (error != EINTR && error != EAGAIN)
		vmm_end(c->m, VMM_BROKEN, "KVM_RUN: %s", strerror(error));
	vmm_rdpmc_look(c);
}

static void take_signals(struct vmm_cpu *c)
{
	sigset_t set;

	atomic_store_explicit(&self, c, memory_order_relaxed);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, VMM_SIGNAL_KICK);
	(void)sigaddset(&set, VMM_SIGNAL_OVERFLOW);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void *vmm_cpu_thread(void *cpu)
{
	struct vmm_cpu *c = cpu;
	struct vmm *m = c->m;

	take_signals(c);
	if (vmm_pmu_init(c))
		vmm_end(m, VMM_BROKEN, "the PMU of a CPU cannot be made");
	for (;;) {
		((volatile struct kvm_run *)c->run)->immediate_exit = 0;
		atomic_signal_fence(memory_order_seq_cst);
		if (m->ending)
			break;
		if (m->pausing) {
			vmm_stand_by(c);
			continue;
		}
		run(c);
	}
	vmm_pmu_fini(c);
	vmm_leave(c);
	return NULL;
}
