/* SPDX-License-Identifier: MIT */
/* vpmu run --arch x86 --engine kvm. */
#include "x86.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "vmm.h"

/* ---- The end that does not come from the guest ---- */

static struct vmm *to_stop; /* for signal handlers, which can have no other */
static volatile sig_atomic_t ended_by;

static void on_signal(int number)
{
	ended_by = number;
	vmm_stop(to_stop);
}

/* ---- Set-up ---- */

static void put(void *context, uint8_t byte)
{
	(void)context;
	putchar(byte);
	if (byte == '\n')
		fflush(stdout);
}

static void say(void *context, const char *words)
{
	(void)context;
	warn("%s", words);
}

static enum vmm_source source_of(const char *name)
{
	if (name && !strcmp(name, "perf"))
		return VMM_SOURCE_PERF;
	return name && !strcmp(name, "time") ? VMM_SOURCE_TIME : VMM_SOURCE_AUTO;
}

static struct vmm *make(const struct run_options *o)
{
	const struct vmm_config config = {
		.ram = o->memory, .cpus = (unsigned int)o->cpu_count, .model = o->x86.model,
		.policy = x86_policy(o), .source = source_of(o->x86.source),
		.no_patch = o->x86.no_patch, .console = put, .say = say,
	};
	const char *why;
	struct vmm *m = vmm_create(&config, &why);

	if (!m)
		die(EXIT_CANNOT, "no guest on KVM: %s", why);
	return m;
}

static void load(struct vmm *m, const struct run_options *o)
{
	struct vmm_guest guest = { .command_line = x86_command_line(&o->x86) };
	void *image = x86_read_image(o->x86.guest, &guest.size), *initrd = NULL;

	if (o->initrd)
		initrd = x86_read_image(o->initrd, &guest.initrd_size);
	guest.image = image;
	guest.initrd = initrd;
	if (vmm_load(m, &guest))
		die(EXIT_CANNOT, "%s: %s", o->x86.guest, vmm_error(m));
	free(initrd);
	free(image);
}

/* ---- The end ---- */

static int status_of(const struct vmm *m, const struct run_options *o, enum vmm_result r)
{
	switch (r) {
	case VMM_EXITED:
		return vmm_exit_code(m) & ~255 ? 255 : vmm_exit_code(m);
	case VMM_RESET:
		return 0;
	case VMM_SHUTDOWN:
	case VMM_BROKEN:
		warn("%s", vmm_error(m));
		return EXIT_CANNOT;
	case VMM_STOPPED:
		break;
	}
	if (ended_by != SIGALRM)
		return EXIT_INTERRUPTED;
	warn("timeout: the guest did not end within %" PRIu64 " seconds", o->timeout);
	return EXIT_TIMEOUT;
}

static void show_stats(struct vmm *m, const struct run_options *o)
{
	struct vpmu_counter_status c;
	struct vmm_stats s;

	vmm_stats(m, &s);
	fflush(stdout);
	x86_show("exits", s.exits);
	x86_show("exits.msr", s.msr_exits);
	x86_show("pmis", s.pmis);
	x86_show("pmis_while_masked", s.pmis_masked);
	x86_show("rdpmcs", s.rdpmcs);
	x86_show("rdpmc_sites", s.sites);
	x86_show("pauses", s.pauses);
	x86_show("source_calls", s.source_calls);
	x86_show("enters", s.vcpu.enters);
	x86_show("trapped_reads", s.vcpu.trapped_reads);
	x86_show("trapped_writes", s.vcpu.trapped_writes);
	x86_show("faults", s.vcpu.faults);
	for (unsigned int cpu = 0; cpu < o->cpu_count; cpu++)
		for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
			if (vmm_counter(m, cpu, i, &c))
				x86_show_counter(i, text("cpu%u.", cpu), &c);
}

int x86_run_kvm(const struct run_options *o)
{
	struct vmm *m = make(o);
	struct vmm_pmu_info pmu;
	enum vmm_result r;
	int status;

	vmm_pmu(m, &pmu);
	if (pmu.why)
		warn("the guest gets no PMU: %s", pmu.why);
	else if (o->x86.stats)
		warn("the guest's PMU: version %u, counted by %s; RDPMC: %s", pmu.model.version,
		     pmu.source, pmu.rdpmc);
	load(m, o);
	to_stop = m;
	x86_take_signals(on_signal, o->timeout);
	r = vmm_run(m, STDIN_FILENO);
	fflush(stdout);
	status = status_of(m, o, r);
	if (o->x86.stats)
		show_stats(m, o);
	return status;
}
