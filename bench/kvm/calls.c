/* SPDX-License-Identifier: MIT */
/*
 * System calls, counted where they are made: the linker puts __wrap_NAME in the place of NAME. A
 * signal that comes costs one, its return.
 */
#include "bench.h"

#include <stdarg.h>
#include <time.h>

struct tally tally;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
void __real_vpmu_time_source_overflow(struct vpmu_time_source *s, unsigned int slot);
void __wrap_vpmu_time_source_overflow(struct vpmu_time_source *s, unsigned int slot);
void __real_vpmu_perf_source_overflow(struct vpmu_perf_source *s, int fd);
void __wrap_vpmu_perf_source_overflow(struct vpmu_perf_source *s, int fd);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	void *argument;
	va_list args;

	va_start(args, request);
	argument = va_arg(args, void *);
	va_end(args);
	tally.calls++;
	tally.exits += request == KVM_RUN;
	return __real_ioctl(fd, request, argument);
}

/* A thread's time is the kernel's to tell; others are read in user mode. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	tally.calls += clock == CLOCK_THREAD_CPUTIME_ID;
	return __real_clock_gettime(clock, t);
}

void __wrap_vpmu_time_source_overflow(struct vpmu_time_source *s, unsigned int slot)
{
	tally.calls++;
	__real_vpmu_time_source_overflow(s, slot);
}

void __wrap_vpmu_perf_source_overflow(struct vpmu_perf_source *s, int fd)
{
	tally.calls++;
	__real_vpmu_perf_source_overflow(s, fd);
}

static void source_calls(uint64_t n)
{
	tally.calls += n;
	tally.source += n;
}

static void creates(uint64_t n)
{
	source_calls(n);
	tally.creates += n;
}

/* ---- Timers ---- */

static int (*host_set)(struct vpmu_time_system *sys, timer_t timer, uint64_t nanoseconds);

static int timer_new(struct vpmu_time_system *sys, int signal, pid_t tid, unsigned int slot,
		     timer_t *timer)
{
	creates(1);
	return vpmu_time_linux.create(sys, signal, tid, slot, timer);
}

static int set(struct vpmu_time_system *sys, timer_t timer, uint64_t nanoseconds)
{
	source_calls(1);
	return host_set(sys, timer, nanoseconds);
}

static void destroy(struct vpmu_time_system *sys, timer_t timer)
{
	creates(1);
	vpmu_time_linux.destroy(sys, timer);
}

/* ---- Perf events ---- */

static int open_event(struct vpmu_perf_system *sys, struct perf_event_attr *attr, pid_t tid)
{
	creates(1);
	return vpmu_perf_linux.open(sys, attr, tid);
}

static int close_event(struct vpmu_perf_system *sys, int fd)
{
	creates(1);
	return vpmu_perf_linux.close(sys, fd);
}

/* ioctl() counts itself. */
static int control(struct vpmu_perf_system *sys, int fd, unsigned long request, void *argument)
{
	tally.source++;
	return vpmu_perf_linux.ioctl(sys, fd, request, argument);
}

static int notify(struct vpmu_perf_system *sys, int fd, int signal, pid_t tid)
{
	source_calls(VPMU_PERF_NOTIFY_CALLS);
	return vpmu_perf_linux.notify(sys, fd, signal, tid);
}

static ssize_t read_event(struct vpmu_perf_system *sys, int fd, void *buffer, size_t size)
{
	source_calls(1);
	return vpmu_perf_linux.read(sys, fd, buffer, size);
}

static void *map(struct vpmu_perf_system *sys, int fd)
{
	creates(1);
	return vpmu_perf_linux.map(sys, fd);
}

static void unmap(struct vpmu_perf_system *sys, void *page)
{
	creates(1);
	vpmu_perf_linux.unmap(sys, page);
}

void calls_count(struct vpmu_perf_system *perf, struct vpmu_time_system *time)
{
	perf->open = open_event;
	perf->close = close_event;
	perf->ioctl = control;
	perf->notify = notify;
	perf->read = read_event;
	perf->map = map;
	perf->unmap = unmap;
	host_set = time->set;
	time->create = timer_new;
	time->set = set;
	time->destroy = destroy;
}
