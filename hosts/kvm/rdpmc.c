/* SPDX-License-Identifier: MIT */
/*
 * RDPMC, which KVM does not hand out (RULES F4). An instruction of the guest's kernel is replaced by one of
 * the same length that exits, OUT to a port of ours:
 *
 *  where RDPMC faults, when it has: a hardware breakpoint on the guest's #GP handler sees it first;
 *  where it is answered with zeros, or breakpoints do not work (QEMU's SVM), all that are found in the kernel's
 *  text before a counter counts.
 *
 * Text changes while all CPUs are out of the guest.
 */
#include "internal.h"
#include "text.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define OUT_IMM8 0xe6u
#define SCAN_MOST (512ull << 20)
#define RFLAGS_RF 0x10000u
#define DR7_ENABLED 0xffu
#define SCANS 8u                     /* tries to find a site at all */

/* How long a breakpoint stays when it is not known to be needed. */
#define WATCH_TIME 2000000000u

static const uint8_t patch[2] = { OUT_IMM8, VMM_PORT_RDPMC };

static uint64_t now(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Guest memory ---- */

static bool read_guest(struct vmm_cpu *c, const struct pc_state *s, uint64_t at, void *to,
		       size_t size)
{
	struct pc_event fault;

	return pc_read_linear(c->m->pc, s, at, PC_ACCESS_QUIET | PC_ACCESS_IMPLICIT, to, size,
			      &fault);
}

static uint8_t *host_address(struct vmm_cpu *c, const struct pc_state *s, uint64_t at)
{
	struct pc_translation t;
	uint16_t error;

	if (!pc_translate(c->m->pc, s, at, PC_ACCESS_QUIET, &t, &error))
		return NULL;
	return pc_ram(c->m->pc, t.address, 1);
}

/* ---- Sites ---- */

static bool is_known(const struct vmm *m, uint64_t site)
{
	for (unsigned int i = 0; i < m->sites; i++) {
		if (m->site[i] == site)
			return true;
	}
	return false;
}

/*
 * All CPUs are out. A site on two pages is left alone: nobody has made one. The text may have another name
 * by which it is changed already.
 */
static bool patch_site(struct vmm_cpu *c, const struct pc_state *s, uint64_t site)
{
	struct vmm *m = c->m;
	uint8_t *at = host_address(c, s, site);

	if (is_known(m, site))
		return true;
	if (!at || m->sites == VMM_SITES || (site & 0xfff) == 0xfff)
		return false;
	if (at[0] == 0x0f && at[1] == 0x33)
		memcpy(at, patch, sizeof(patch));
	if (memcmp(at, patch, sizeof(patch)) != 0)
		return false;
	m->site[m->sites++] = site;
	vmm_say(m, "guest text: RDPMC at %#" PRIx64 " now exits", site);
	return true;
}

/* ---- Where RDPMC is answered with zeros ---- */

struct scan {
	struct vmm_cpu *c;
	const struct pc_state *s;
	uint64_t found[VMM_SITES];
	unsigned int count;
	bool overflow;
};

static void look_at(struct scan *scan, uint64_t linear)
{
	uint8_t window[VMM_TEXT_BEFORE + VMM_TEXT_AFTER];

	if (!read_guest(scan->c, scan->s, linear - VMM_TEXT_BEFORE, window, sizeof(window)) ||
	    !vmm_text_has_rdpmc(window, sizeof(window), VMM_TEXT_BEFORE))
		return;
	if (scan->count == VMM_SITES)
		scan->overflow = true;
	else
		scan->found[scan->count++] = linear;
}

static void scan_range(void *context, uint64_t linear, uint64_t physical, uint64_t size)
{
	struct scan *scan = context;
	const uint8_t *start = pc_ram(scan->c->m->pc, physical, size), *at = start;
	const uint8_t *end = start + size;

	while (start && at + 1 < end && (at = memchr(at, 0x0f, (size_t)(end - at - 1)))) {
		if (at[1] == 0x33)
			look_at(scan, linear + (uint64_t)(at - start));
		at++;
	}
}

static void scan(struct vmm_cpu *c)
{
	struct pc_state s;
	struct scan scan = { .c = c, .s = &s };
	bool all;

	c->m->scans++;
	if (vmm_cpu_state(c, &s))
		return;
	all = vmm_text_walk(c->m->pc, &s, SCAN_MOST, scan_range, &scan);
	for (unsigned int i = 0; i < scan.count; i++)
		all &= patch_site(c, &s, scan.found[i]);
	if (!all || scan.overflow)
		vmm_say(c->m, "guest text: not all of it could be searched for RDPMC");
	if (!c->m->sites && c->m->scans == SCANS)
		vmm_say(c->m, "guest text: no RDPMC was found");
}

static void find_sites(struct vmm_cpu *c)
{
	while (!c->m->sites && c->m->scans < SCANS) {
		if (!vmm_pause(c))
			continue;
		scan(c);
		vmm_resume(c);
		return;
	}
}

/* ---- Where RDPMC faults ---- */

static uint64_t fault_handler(struct vmm_cpu *c)
{
	struct pc_state s;
	uint8_t gate[16];
	uint64_t low, high;

	if (vmm_cpu_state(c, &s) || !(s.efer & PC_EFER_LMA) ||
	    !read_guest(c, &s, s.idt.base + 16 * PC_GP, gate, sizeof(gate)))
		return 0;
	memcpy(&low, gate, 8);
	memcpy(&high, gate + 8, 8);
	return (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32;
}

static bool guest_debugs(struct vmm_cpu *c)
{
	struct kvm_debugregs d;

	return ioctl(c->fd, KVM_GET_DEBUGREGS, &d) || d.dr7 & DR7_ENABLED;
}

static void watch(struct vmm_cpu *c, uint64_t handler)
{
	struct kvm_guest_debug debug = {
		.control = handler ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP : 0,
		.arch.debugreg = { handler, [7] = handler ? VMM_DR7_WATCH : 0 },
	};

	if (handler == c->watched)
		return;
	c->watched = ioctl(c->fd, KVM_SET_GUEST_DEBUG, &debug) ? 0 : handler;
}

/* The debug registers are the guest's as soon as it uses them: then its text must do. */
void vmm_rdpmc_look(struct vmm_cpu *c)
{
	if (!c->watched)
		return;
	if (guest_debugs(c)) {
		watch(c, 0);
		find_sites(c);
	} else if (c->m->sites && now() > c->watch_until) {
		watch(c, 0);
	}
}

void vmm_rdpmc_needed(struct vmm_cpu *c)
{
	if (c->m->rdpmc == VMM_RDPMC_SILENT || !c->m->breakpoints || guest_debugs(c)) {
		find_sites(c);
		return;
	}
	c->watch_until = now() + WATCH_TIME;
	watch(c, fault_handler(c));
}

/* ---- Answering ---- */

static bool answer(struct vmm_cpu *c, const struct pc_state *s, unsigned int cpl,
		   struct kvm_regs *regs)
{
	struct vpmu_x86_rdpmc r = {
		.index = (uint32_t)regs->rcx, .cpl = (uint8_t)cpl, .pce = s->cr4 & PC_CR4_PCE,
		.protected_mode = s->cr0 & PC_CR0_PE,
	};

	c->rdpmcs++;
	if (vpmu_x86_rdpmc(&c->pmu.vcpu, &r) != VPMU_HANDLED)
		return false;
	(void)vpmu_count(&c->pmu.vcpu, VPMU_EVENT_INSTRUCTIONS, cpl == 3, 1);
	regs->rax = (uint32_t)r.value;
	regs->rdx = r.value >> 32;
	return true;
}

/* ---- The exit of a changed instruction ---- */

/* KVM ends the instruction when it runs again: here without the guest. */
static void finish_instruction(struct vmm_cpu *c)
{
	((volatile struct kvm_run *)c->run)->immediate_exit = 1;
	(void)ioctl(c->fd, KVM_RUN, 0);
}

static void inject_fault(struct vmm_cpu *c)
{
	struct kvm_vcpu_events events;

	if (ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events))
		return;
	events.flags = 0;
	events.exception.injected = 1;
	events.exception.nr = PC_GP;
	events.exception.has_error_code = 1;
	events.exception.error_code = 0;
	(void)ioctl(c->fd, KVM_SET_VCPU_EVENTS, &events);
}

bool vmm_rdpmc_port(struct vmm_cpu *c)
{
	struct kvm_regs regs;
	struct pc_state s;

	finish_instruction(c);
	if (ioctl(c->fd, KVM_GET_REGS, &regs) || vmm_cpu_state(c, &s) ||
	    !is_known(c->m, regs.rip - sizeof(patch)))
		return false;
	if (answer(c, &s, pc_cpl(&s), &regs)) {
		(void)ioctl(c->fd, KVM_SET_REGS, &regs);
		return true;
	}
	regs.rip -= sizeof(patch);
	(void)ioctl(c->fd, KVM_SET_REGS, &regs);
	inject_fault(c);
	return true;
}

/* ---- The breakpoint ---- */

/* What #GP has pushed in 64-bit mode (SDM vol. 3, 6.14.2). */
struct frame {
	uint64_t error, rip, cs, rflags, rsp, ss;
};

static bool read_segment(struct vmm_cpu *c, const struct pc_state *s, uint64_t selector,
			 struct pc_segment *out)
{
	uint32_t descriptor[2];

	if (selector & 4 ||
	    !read_guest(c, s, s->gdt.base + (selector & 0xfff8), descriptor, sizeof(descriptor)))
		return false;
	*out = (struct pc_segment){
		.selector = (uint16_t)selector, .limit = UINT32_MAX,
		.attributes = descriptor[1] & 0x00f0ff00,
	};
	return true;
}

/* Back to behind the instruction that faulted, as if it had not. */
static bool go_back(struct vmm_cpu *c, struct pc_state *s, const struct frame *f,
		    struct kvm_regs *regs)
{
	struct kvm_sregs k;

	if (f->cs & 3) {
		if (!read_segment(c, s, f->cs, &s->cs) || !read_segment(c, s, f->ss, &s->ss) ||
		    ioctl(c->fd, KVM_GET_SREGS, &k))
			return false;
		vmm_cpu_set_privilege(&k, s);
		if (ioctl(c->fd, KVM_SET_SREGS, &k))
			return false;
	}
	regs->rip = f->rip + sizeof(patch);
	regs->rsp = f->rsp;
	regs->rflags = f->rflags & ~(uint64_t)RFLAGS_RF;
	return true;
}

/* True: the instruction that faulted was RDPMC, and has been served. */
static bool serve_fault(struct vmm_cpu *c, struct kvm_regs *regs)
{
	uint8_t bytes[16] = { 0 };
	struct pc_state s;
	struct frame f;

	if (vmm_cpu_state(c, &s) || !read_guest(c, &s, regs->rsp, &f, sizeof(f)) || f.error)
		return false;
	if (!read_guest(c, &s, f.rip, bytes, sizeof(patch)) ||
	    !vmm_text_is_rdpmc(bytes, sizeof(bytes)) || !answer(c, &s, f.cs & 3, regs))
		return false;
	if (!(f.cs & 3) && vmm_pause(c)) {
		(void)patch_site(c, &s, f.rip);
		vmm_resume(c);
	}
	return go_back(c, &s, &f, regs);
}

void vmm_rdpmc_debug(struct vmm_cpu *c)
{
	struct kvm_regs regs;

	if (ioctl(c->fd, KVM_GET_REGS, &regs))
		return;
	if (regs.rip != c->watched || !serve_fault(c, &regs))
		regs.rflags |= RFLAGS_RF;
	(void)ioctl(c->fd, KVM_SET_REGS, &regs);
}
