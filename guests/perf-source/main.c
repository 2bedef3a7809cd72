/* SPDX-License-Identifier: MIT */
/* The system, what all cases share, and their lines. */
#include "cases.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Cases ---- */

static char failure[256];
static unsigned int passed, failures, skipped;

void check(bool good, const char *message, ...)
{
	va_list arguments;

	if (good || failure[0])
		return;
	va_start(arguments, message);
	(void)vsnprintf(failure, sizeof(failure), message, arguments);
	va_end(arguments);
}

void run_case(const char *name, void (*body)(void))
{
	failure[0] = '\0';
	body();
	if (failure[0])
		printf("not ok %s: %s\n", name, failure);
	else
		printf("ok %s\n", name);
	failures += failure[0] != '\0';
	passed += failure[0] == '\0';
}

void skip_case(const char *name, const char *why)
{
	printf("skip %s: %s\n", name, why);
	skipped++;
}

/* ---- The source ---- */

struct vpmu_perf_host host;
struct vpmu_perf_source source;
unsigned int opened;
volatile unsigned int hints[VPMU_COUNTER_MAX];

static struct vpmu_perf_system sys;

static int counted_open(struct vpmu_perf_system *s, struct perf_event_attr *attr, pid_t tid)
{
	opened++;
	return vpmu_perf_linux.open(s, attr, tid);
}

/* What the source says, as often as it says it, on its way to core (the linker's --wrap). */
bool __real_vpmu_vcpu_overflow(struct vpmu_vcpu *v, unsigned int slot);
bool __wrap_vpmu_vcpu_overflow(struct vpmu_vcpu *v, unsigned int slot);

bool __wrap_vpmu_vcpu_overflow(struct vpmu_vcpu *v, unsigned int slot)
{
	hints[slot]++;
	return !v || __real_vpmu_vcpu_overflow(v, slot);
}

void start_source(bool count_host, void (*kick)(void *context))
{
	start_source_of(NULL, count_host, kick);
}

void start_source_of(struct vpmu_vcpu *v, bool count_host, void (*kick)(void *context))
{
	const struct vpmu_perf_config config = {
		.host = &host,
		.system = &sys,
		.encoding = VPMU_PERF_ENCODING_ARM,
		.signal = SIGRTMIN,
		.kick = kick,
		.only = -1,
		.count_host = count_host,
	};
	enum vpmu_perf_error error;

	sys = vpmu_perf_linux;
	sys.open = counted_open;
	error = vpmu_perf_host_find(&host, "");
	if (!error)
		error = vpmu_perf_host_probe(&host, &sys);
	check(!error, "no events: %s", vpmu_perf_strerror(error));
	error = vpmu_perf_source_init(&source, v, &config);
	check(!error, "no source: %s", vpmu_perf_strerror(error));
	check(!vpmu_perf_signal_init(SIGRTMIN), "no signal handler");
	vpmu_perf_signal_target(&source);
	for (unsigned int i = 0; i < VPMU_COUNTER_MAX; i++)
		hints[i] = 0;
	opened = 0;
}

void stop_source(void)
{
	vpmu_perf_source_fini(&source);
	vpmu_perf_signal_target(NULL);
}

bool create(unsigned int slot, const struct vpmu_event *e)
{
	int error = source.source.ops->create(&source.source, slot, e);

	check(!error, "no event in slot %u: %s", slot, vpmu_perf_strerror(source.error));
	return !error;
}

uint64_t value_of(unsigned int slot)
{
	return source.source.ops->read(&source.source, slot).value;
}

struct vpmu_event event_of(enum vpmu_event_meaning meaning)
{
	return (struct vpmu_event){ .meaning = meaning, .user = true, .kernel = true };
}

struct vpmu_event user_event_of(enum vpmu_event_meaning meaning)
{
	return (struct vpmu_event){ .meaning = meaning, .user = true };
}

/* One instruction more or less breaks the cases. */
void loop(uint64_t iterations)
{
	uint64_t a = 1, b = 2;

	__asm__ volatile("1:	add	%[a], %[a], %[b]\n"
			 "	eor	%[b], %[b], %[a]\n"
			 "	subs	%[n], %[n], #1\n"
			 "	b.ne	1b\n"
			 : [a] "+r"(a), [b] "+r"(b), [n] "+r"(iterations)
			 :
			 : "cc");
}

/* ---- The system ---- */

bool set_kernel(const char *name, int value)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/sys/kernel/%s", name);
	file = fopen(path, "we");
	if (!file)
		return false;
	(void)fprintf(file, "%d\n", value);
	return !fclose(file);
}

static void mount_at(const char *type, const char *where)
{
	(void)mkdir(where, 0755);
	if (mount(type, where, type, 0, NULL))
		printf("# no %s\n", where);
}

/* The kernel opens the console for us only if the archive has one. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	(void)dup2(fd, 0);
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
}

int main(void)
{
	mount_at("devtmpfs", "/dev");
	open_console();
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	cases_of_counters();
	cases_of_user_reads();
	cases_of_refusals();
	cases_of_guests();
	cases_of_emulated_guests();
	printf("%u passed, %u failed, %u skipped\n", passed, failures, skipped);
	printf("vpmu-verdict: %d\n", failures > 0);
	(void)fflush(stdout);
	(void)reboot(RB_POWER_OFF);
	return 0;
}
