/* SPDX-License-Identifier: MIT */
/*
 * What perf events of this kernel count: cycles against the process's own time, samples against the count, and what
 * is said of an event that is not there. One line each, for tests/e2e/kvm.sh.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PERIOD 5000000u
#define SECOND 1000000000u
#define PAGES 64u
#define PAGE 4096u

static int open_event(struct perf_event_attr *attr)
{
	return (int)syscall(SYS_perf_event_open, attr, 0, -1, -1, 0);
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void work(uint64_t nanoseconds)
{
	uint64_t end = now(CLOCK_MONOTONIC) + nanoseconds;

	while (now(CLOCK_MONOTONIC) < end)
		for (volatile int i = 0; i < 10000; i++)
			;
}

static uint64_t count_of(int fd)
{
	uint64_t value = 0;

	return read(fd, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

static struct perf_event_attr attr_of(uint64_t event)
{
	return (struct perf_event_attr){
		.size = sizeof(struct perf_event_attr), .type = PERF_TYPE_HARDWARE, .config = event,
		.disabled = 1,
	};
}

static void offered(const char *name, uint64_t event)
{
	struct perf_event_attr attr = attr_of(event);
	int fd = open_event(&attr);

	printf("guest: event %s %s\n", name, fd < 0 ? strerror(errno) : "offered");
	if (fd >= 0)
		close(fd);
}

static void counting(void)
{
	struct perf_event_attr attr = attr_of(PERF_COUNT_HW_CPU_CYCLES);
	int fd = open_event(&attr);
	uint64_t time;

	if (fd < 0)
		return;
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	time = now(CLOCK_THREAD_CPUTIME_ID);
	work(2ull * SECOND);
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	time = now(CLOCK_THREAD_CPUTIME_ID) - time;
	printf("guest: cycles %" PRIu64 " ns %" PRIu64 "\n", count_of(fd), time);
	close(fd);
}

static unsigned int samples_in(const struct perf_event_mmap_page *page)
{
	const char *data = (const char *)page + PAGE;
	unsigned int samples = 0;

	for (uint64_t at = 0; at < page->data_head;) {
		struct perf_event_header head;

		memcpy(&head, data + at % (PAGES * PAGE), sizeof(head));
		if (!head.size)
			break;
		samples += head.type == PERF_RECORD_SAMPLE;
		at += head.size;
	}
	return samples;
}

static void sampling(void)
{
	struct perf_event_attr attr = attr_of(PERF_COUNT_HW_CPU_CYCLES);
	struct perf_event_mmap_page *page;
	int fd;

	attr.sample_period = PERIOD;
	attr.sample_type = PERF_SAMPLE_IP;
	attr.wakeup_events = 1000000;
	fd = open_event(&attr);
	if (fd < 0)
		return;
	page = mmap(NULL, (1 + PAGES) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return;
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	work(2ull * SECOND);
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	printf("guest: samples %u period %u of %" PRIu64 "\n", samples_in(page), PERIOD, count_of(fd));
	close(fd);
}

int main(void)
{
	setbuf(stdout, NULL);
	offered("cycles", PERF_COUNT_HW_CPU_CYCLES);
	offered("instructions", PERF_COUNT_HW_INSTRUCTIONS);
	counting();
	sampling();
	return 0;
}
