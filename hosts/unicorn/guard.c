/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "guard.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE };
#define COUNT (sizeof(signals) / sizeof(signals[0]))

static _Thread_local struct guard *inner;
static struct sigaction before[COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static size_t index_of(int number)
{
	size_t i = 0;

	while (i < COUNT - 1 && signals[i] != number)
		i++;
	return i;
}

static void caught(int number, siginfo_t *info, void *context)
{
	struct guard *g = inner;
	sigset_t set;

	(void)info;
	(void)context;
	if (!g) {
		/* Not ours: as before. The instruction or abort() raises it again. */
		(void)sigaction(number, &before[index_of(number)], NULL);
		return;
	}
	inner = g->outer;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, number);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	siglongjmp(g->back, number);
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };

	for (size_t i = 0; i < COUNT; i++)
		(void)sigaction(signals[i], &action, &before[i]);
}

void guard_install(void)
{
	(void)pthread_once(&once, install);
}

void guard_push(struct guard *g)
{
	g->outer = inner;
	inner = g;
}

void guard_pop(void)
{
	inner = inner->outer;
}
