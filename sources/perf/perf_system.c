/* SPDX-License-Identifier: MIT */
#include "perf_system.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int result(long n)
{
	return n < 0 ? -errno : (int)n;
}

static int linux_open(struct vpmu_perf_system *sys, struct perf_event_attr *attr, pid_t tid)
{
	(void)sys;
	return result(syscall(SYS_perf_event_open, attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

static int linux_close(struct vpmu_perf_system *sys, int fd)
{
	(void)sys;
	return result(close(fd));
}

static int linux_ioctl(struct vpmu_perf_system *sys, int fd, unsigned long request, void *argument)
{
	(void)sys;
	return result(ioctl(fd, request, argument));
}

/* The owner first: nobody else gets the signal, and no signal number is the default one. */
static int linux_notify(struct vpmu_perf_system *sys, int fd, int signal, pid_t tid)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = tid };

	(void)sys;
	if (fcntl(fd, F_SETOWN_EX, &owner) || fcntl(fd, F_SETSIG, signal))
		return -errno;
	return result(fcntl(fd, F_SETFL, O_ASYNC));
}

static ssize_t linux_read(struct vpmu_perf_system *sys, int fd, void *buffer, size_t size)
{
	ssize_t n = read(fd, buffer, size);

	(void)sys;
	return n < 0 ? -errno : n;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static void *linux_map(struct vpmu_perf_system *sys, int fd)
{
	void *page = mmap(NULL, page_size(), PROT_READ, MAP_SHARED, fd, 0);

	(void)sys;
	return page == MAP_FAILED ? NULL : page;
}

static void linux_unmap(struct vpmu_perf_system *sys, void *page)
{
	(void)sys;
	(void)munmap(page, page_size());
}

static int linux_cpu(struct vpmu_perf_system *sys)
{
	(void)sys;
	return sched_getcpu();
}

const struct vpmu_perf_system vpmu_perf_linux = {
	.open = linux_open,
	.close = linux_close,
	.ioctl = linux_ioctl,
	.notify = linux_notify,
	.read = linux_read,
	.map = linux_map,
	.unmap = linux_unmap,
	.cpu = linux_cpu,
};
