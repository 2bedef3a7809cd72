/* SPDX-License-Identifier: MIT */
/* From the kernel's signal to a slot. All of it may interrupt any operation of the same thread. */
#include "perf_source.h"

#include <errno.h>
#include <stdatomic.h>

/* In the static block: a handler must not allocate it. */
static _Thread_local struct vpmu_perf_source *_Atomic target
	__attribute__((tls_model("initial-exec")));

static bool has(struct vpmu_perf_slot *slot, int fd)
{
	for (unsigned int i = 0; i < VPMU_PERF_PMUS; i++) {
		int own = atomic_load_explicit(&slot->fd[i], memory_order_relaxed);

		if (own >= 0 && (fd < 0 || own == fd))
			return true;
	}
	return false;
}

void vpmu_perf_source_overflow(struct vpmu_perf_source *s, int fd)
{
	bool kick = false;

	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++) {
		if (has(&s->slot[i], fd))
			kick |= vpmu_vcpu_overflow(s->v, i);
	}
	if (kick && s->config.kick)
		s->config.kick(s->config.context);
}

static void handle(int signal, siginfo_t *info, void *context)
{
	struct vpmu_perf_source *s = atomic_load_explicit(&target, memory_order_relaxed);
	/* SIGIO, and whatever somebody else sent, does not name the file. */
	bool named = signal != SIGIO && (info->si_code == POLL_IN || info->si_code == POLL_HUP);

	(void)context;
	if (s)
		vpmu_perf_source_overflow(s, named ? info->si_fd : -1);
}

void vpmu_perf_signal_target(struct vpmu_perf_source *s)
{
	atomic_store_explicit(&target, s, memory_order_relaxed);
}

static int install(int signal)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART };

	(void)sigemptyset(&action.sa_mask);
	return sigaction(signal, &action, NULL) ? -errno : 0;
}

int vpmu_perf_signal_init(int signal)
{
	struct sigaction old;
	int error = install(signal);

	if (error)
		return error;
	if (sigaction(SIGIO, NULL, &old))
		return -errno;
	return old.sa_flags & SA_SIGINFO || old.sa_handler != SIG_DFL ? 0 : install(SIGIO);
}
