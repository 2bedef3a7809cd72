/* SPDX-License-Identifier: MIT */
/* Timers of the kernel, and their signals. */
#include "time_source.h"

#include <errno.h>
#include <stdatomic.h>

#define SECOND 1000000000u

static int linux_create(struct vpmu_time_system *sys, int signal, pid_t tid, unsigned int slot,
			timer_t *timer)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = signal,
		.sigev_value.sival_int = (int)slot,
	};

	(void)sys;
	event._sigev_un._tid = tid;
	return timer_create(CLOCK_MONOTONIC, &event, timer) ? -errno : 0;
}

static int linux_set(struct vpmu_time_system *sys, timer_t timer, uint64_t nanoseconds)
{
	const struct itimerspec when = {
		.it_value = {
			.tv_sec = (time_t)(nanoseconds / SECOND),
			.tv_nsec = (long)(nanoseconds % SECOND),
		},
	};

	(void)sys;
	return timer_settime(timer, 0, &when, NULL) ? -errno : 0;
}

static void linux_destroy(struct vpmu_time_system *sys, timer_t timer)
{
	(void)sys;
	(void)timer_delete(timer);
}

const struct vpmu_time_system vpmu_time_linux = {
	.create = linux_create,
	.set = linux_set,
	.destroy = linux_destroy,
};

/* In the static block: a handler must not allocate it. */
static _Thread_local struct vpmu_time_source *_Atomic target
	__attribute__((tls_model("initial-exec")));

static void handle(int signal, siginfo_t *info, void *context)
{
	struct vpmu_time_source *s = atomic_load_explicit(&target, memory_order_relaxed);

	(void)signal;
	(void)context;
	if (s && info->si_code == SI_TIMER)
		vpmu_time_source_overflow(s, (unsigned int)info->si_value.sival_int);
}

void vpmu_time_signal_target(struct vpmu_time_source *s)
{
	atomic_store_explicit(&target, s, memory_order_relaxed);
}

int vpmu_time_signal_init(int signal)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART };

	(void)sigemptyset(&action.sa_mask);
	return sigaction(signal, &action, NULL) ? -errno : 0;
}
