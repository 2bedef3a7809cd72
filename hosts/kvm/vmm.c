/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Words ---- */

void vmm_say(struct vmm *m, const char *format, ...)
{
	char text[200];
	va_list args;

	if (!m->config.say)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	m->config.say(m->config.context, text);
}

void vmm_end(struct vmm *m, enum vmm_result result, const char *format, ...)
{
	uint64_t one = 1;
	va_list args;

	(void)pthread_mutex_lock(&m->lock);
	if (!m->ending) {
		m->result = result;
		va_start(args, format);
		(void)vsnprintf(m->error, sizeof(m->error), format, args);
		va_end(args);
		m->ending = true;
	}
	(void)pthread_mutex_unlock(&m->lock);
	(void)!write(m->ended, &one, sizeof(one));
}

void vmm_stop(struct vmm *m)
{
	uint64_t one = 1;

	m->stopped = true;
	(void)!write(m->ended, &one, sizeof(one));
}

int vmm_exit_code(const struct vmm *m)
{
	return pc_exit_code(m->pc) >> 1;
}

const char *vmm_error(const struct vmm *m)
{
	return m->error;
}

/* ---- All CPUs out of the guest ---- */

static void wait_for_end_of_pause(struct vmm_cpu *c)
{
	struct vmm *m = c->m;

	c->paused = true;
	(void)pthread_cond_broadcast(&m->changed);
	while (m->pausing)
		(void)pthread_cond_wait(&m->changed, &m->lock);
	c->paused = false;
}

static bool others_are_out(const struct vmm_cpu *c)
{
	const struct vmm *m = c->m;

	for (unsigned int i = 0; i < m->config.cpus; i++) {
		if (&m->cpu[i] != c && m->cpu[i].started && !m->cpu[i].paused)
			return false;
	}
	return true;
}

bool vmm_pause(struct vmm_cpu *c)
{
	struct vmm *m = c->m;
	bool mine;

	(void)pthread_mutex_lock(&m->lock);
	mine = !m->pausing;
	if (mine) {
		m->pausing = true;
		m->pauses++;
		for (unsigned int i = 0; i < m->config.cpus; i++) {
			if (&m->cpu[i] != c && m->cpu[i].started)
				vmm_cpu_kick(&m->cpu[i]);
		}
		while (!others_are_out(c))
			(void)pthread_cond_wait(&m->changed, &m->lock);
	} else {
		wait_for_end_of_pause(c);
	}
	(void)pthread_mutex_unlock(&m->lock);
	return mine;
}

void vmm_resume(struct vmm_cpu *c)
{
	struct vmm *m = c->m;

	(void)pthread_mutex_lock(&m->lock);
	m->pausing = false;
	(void)pthread_cond_broadcast(&m->changed);
	(void)pthread_mutex_unlock(&m->lock);
}

void vmm_stand_by(struct vmm_cpu *c)
{
	(void)pthread_mutex_lock(&c->m->lock);
	if (c->m->pausing)
		wait_for_end_of_pause(c);
	(void)pthread_mutex_unlock(&c->m->lock);
}

void vmm_leave(struct vmm_cpu *c)
{
	(void)pthread_mutex_lock(&c->m->lock);
	c->started = false;
	(void)pthread_cond_broadcast(&c->m->changed);
	(void)pthread_mutex_unlock(&c->m->lock);
}

/* ---- Making ---- */

/* hosts/pc hands its loader's entry to an engine: this one only remembers it. */
static void remember(struct pc_engine *engine, const struct pc_state *state, uint32_t eax,
		     uint32_t ebx)
{
	struct vmm *m = (struct vmm *)(void *)((char *)engine - offsetof(struct vmm, engine));

	m->entry = *state;
	m->entry_rax = eax;
	m->entry_rbx = ebx;
}

static const struct pc_engine_ops engine_ops = { .size = sizeof(engine_ops), .start = remember };

static int make_pc(struct vmm *m, const char **why)
{
	const struct pc_config config = {
		.ram = m->config.ram, .cpus = m->config.cpus,
		.amd = m->config.model.vendor == VPMU_X86_AMD,
		.console = m->config.console, .console_context = m->config.context,
	};

	*why = "no memory for the guest";
	m->pc = pc_create(&config);
	m->engine.ops = &engine_ops;
	return m->pc ? 0 : -1;
}

static int make_vm(struct vmm *m, const char **why)
{
	struct kvm_userspace_memory_region ram = {
		.memory_size = m->config.ram,
		.userspace_addr = (uintptr_t)pc_ram(m->pc, 0, m->config.ram),
	};

	m->fd = vmm_kernel_vm(m, why);
	if (m->fd < 0)
		return -1;
	*why = "KVM does not take the guest's memory";
	if (ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &ram))
		return -1;
	*why = "KVM makes no CPU";
	for (unsigned int i = 0; i < m->config.cpus; i++) {
		if (vmm_cpu_create(m, i))
			return -1;
	}
	return 0;
}

static int make(struct vmm *m, const char **why)
{
	*why = "the number of CPUs";
	if (m->config.cpus < 1 || m->config.cpus > VMM_CPUS)
		return -1;
	if (vmm_kernel_open(m, why))
		return -1;
	*why = "out of files or signals";
	m->ended = eventfd(0, EFD_CLOEXEC);
	if (m->ended < 0 || vmm_signals_init())
		return -1;
	if (vmm_pmu_make(m, why) || make_pc(m, why))
		return -1;
	return make_vm(m, why);
}

struct vmm *vmm_create(const struct vmm_config *config, const char **why)
{
	struct vmm *m = calloc(1, sizeof(*m));

	*why = "out of memory";
	if (!m)
		return NULL;
	m->config = *config;
	m->kvm = m->fd = m->ended = -1;
	for (unsigned int i = 0; i < VMM_CPUS; i++)
		m->cpu[i] = (struct vmm_cpu){ .m = m, .id = i, .fd = -1 };
	(void)pthread_mutex_init(&m->ports, NULL);
	(void)pthread_mutex_init(&m->lock, NULL);
	(void)pthread_cond_init(&m->changed, NULL);
	if (make(m, why)) {
		vmm_destroy(m);
		return NULL;
	}
	return m;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void vmm_destroy(struct vmm *m)
{
	for (unsigned int i = 0; i < VMM_CPUS; i++) {
		if (m->cpu[i].run)
			(void)munmap(m->cpu[i].run, (size_t)m->run_size);
		close_if_open(m->cpu[i].fd);
	}
	close_if_open(m->fd);
	close_if_open(m->kvm);
	close_if_open(m->ended);
	pc_destroy(m->pc);
	free(m->host);
	(void)pthread_cond_destroy(&m->changed);
	(void)pthread_mutex_destroy(&m->lock);
	(void)pthread_mutex_destroy(&m->ports);
	free(m);
}

/* ---- Loading ---- */

/* PVH: the start info that hosts/pc made gets the initial ramdisk as its one module. */
static int add_module(struct vmm *m, const struct vmm_guest *guest)
{
	enum { MODULES = 12, LIST = 16, AT = 0x9800 };
	uint64_t at = vmm_initrd_load(m, guest);
	uint64_t list = AT, module[4] = { at, guest->initrd_size, 0, 0 };
	uint32_t one = 1;
	uint8_t *info = pc_ram(m->pc, m->entry_rbx, 56);

	if (!guest->initrd_size)
		return 0;
	if (!at || !info)
		return -1;
	if (m->entry_rax) {
		(void)snprintf(m->error, sizeof(m->error),
			       "cannot load: a multiboot guest takes no initial ramdisk");
		return -1;
	}
	memcpy(info + MODULES, &one, sizeof(one));
	memcpy(info + LIST, &list, sizeof(list));
	memcpy(pc_ram(m->pc, AT, sizeof(module)), module, sizeof(module));
	return 0;
}

static int load_other(struct vmm *m, const struct vmm_guest *guest)
{
	if (pc_load(m->pc, guest->image, guest->size, guest->command_line) < 0) {
		(void)snprintf(m->error, sizeof(m->error), "%s", pc_error(m->pc));
		return -1;
	}
	pc_attach(m->pc, &m->engine);
	return add_module(m, guest);
}

int vmm_load(struct vmm *m, const struct vmm_guest *guest)
{
	void *tables = pc_ram(m->pc, VMM_MPTABLE_AT, VMM_MPTABLE_ROOM);
	int r = vmm_linux_load(m, guest);

	if (r < 0 || (r == 0 && load_other(m, guest)))
		return -1;
	(void)vmm_mptable_make(tables, VMM_MPTABLE_ROOM, VMM_MPTABLE_AT, m->config.cpus);
	if (vmm_cpu_start(&m->cpu[0])) {
		(void)snprintf(m->error, sizeof(m->error), "KVM does not take the CPU's state");
		return -1;
	}
	return 0;
}

/* ---- Running ---- */

static bool start_threads(struct vmm *m)
{
	for (unsigned int i = 0; i < m->config.cpus; i++) {
		struct vmm_cpu *c = &m->cpu[i];

		c->started = true;
		if (pthread_create(&c->thread, NULL, vmm_cpu_thread, c)) {
			c->started = false;
			vmm_end(m, VMM_BROKEN, "the host makes no thread for a CPU");
			return false;
		}
		c->has_thread = true;
	}
	return true;
}

/* Milliseconds that a breakpoint of ours may be in the guest's way unnoticed. */
#define LOOK_INTERVAL 100

static void kick_watched(struct vmm *m)
{
	(void)pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->config.cpus; i++) {
		if (m->cpu[i].started && m->cpu[i].watched)
			vmm_cpu_kick(&m->cpu[i]);
	}
	(void)pthread_mutex_unlock(&m->lock);
}

static void wait_for_end(struct vmm *m, int input)
{
	struct pollfd files[2] = { { .fd = m->ended, .events = POLLIN },
				   { .fd = input, .events = POLLIN } };
	uint8_t bytes[256];
	ssize_t n;

	while (!m->ending && !m->stopped) {
		int n_ready = poll(files, 2, LOOK_INTERVAL);

		if (n_ready < 0 && errno != EINTR)
			return;
		kick_watched(m);
		if (n_ready <= 0 || !files[1].revents)
			continue;
		n = read(input, bytes, sizeof(bytes));
		if (n > 0)
			vmm_input(m, bytes, (size_t)n);
		else if (n == 0 || errno != EINTR)
			files[1].fd = -1;
	}
}

enum vmm_result vmm_run(struct vmm *m, int input)
{
	if (start_threads(m))
		wait_for_end(m, input);
	vmm_end(m, VMM_STOPPED, "stopped");
	for (unsigned int i = 0; i < m->config.cpus; i++) {
		struct vmm_cpu *c = &m->cpu[i];

		if (!c->has_thread)
			continue;
		(void)pthread_mutex_lock(&m->lock);
		if (c->started)
			vmm_cpu_kick(c);
		(void)pthread_mutex_unlock(&m->lock);
		(void)pthread_join(c->thread, NULL);
	}
	return m->result;
}

/* ---- Looking ---- */

void vmm_stats(const struct vmm *m, struct vmm_stats *out)
{
	*out = (struct vmm_stats){ .sites = m->sites, .pauses = m->pauses };
	for (unsigned int i = 0; i < m->config.cpus; i++) {
		const struct vmm_cpu *c = &m->cpu[i];
		const struct vpmu_vcpu_stats *s = vpmu_vcpu_stats(&c->pmu.vcpu);

		out->exits += c->exits;
		out->msr_exits += c->msr_exits;
		out->pmis += c->pmis;
		out->pmis_masked += c->pmis_masked;
		out->rdpmcs += c->rdpmcs;
		out->source_calls += c->pmu.source->calls;
		out->vcpu.enters += s->enters;
		out->vcpu.trapped_reads += s->trapped_reads;
		out->vcpu.trapped_writes += s->trapped_writes;
		out->vcpu.faults += s->faults;
		out->vcpu.pmi_given += s->pmi_given;
	}
}

bool vmm_counter(struct vmm *m, unsigned int cpu, unsigned int i, struct vpmu_counter_status *out)
{
	return cpu < m->config.cpus && vpmu_vcpu_counter(&m->cpu[cpu].pmu.vcpu, i, out) == 0;
}
