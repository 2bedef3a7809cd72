/* SPDX-License-Identifier: MIT */
/*
 * sources/perf: what it makes of a host's sysfs, and what it does with perf events, over a kernel
 * in software that refuses any call on demand (hybrid hosts, starvation, forced migration, user-
 * mode reads); then over this kernel's own software events.
 */
#include "perf_page.h"
#include "perf_source.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- A tree of files in place of sysfs and procfs ---- */

static char root[64];

static void put(const char *path, const char *content)
{
	char whole[512];
	FILE *f;

	(void)snprintf(whole, sizeof(whole), "%s/%s", root, path);
	for (char *s = whole + strlen(root) + 1; (s = strchr(s, '/')) != NULL; s++) {
		*s = '\0';
		(void)mkdir(whole, 0755);
		*s = '/';
	}
	f = fopen(whole, "w");
	assert_non_null(f);
	assert_true(fputs(content, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

#define DEVICES "sys/bus/event_source/devices/"

static void put_pmu(const char *name, const char *file, const char *content)
{
	char path[256];

	(void)snprintf(path, sizeof(path), DEVICES "%s/%s", name, file);
	put(path, content);
}

static int new_root(void **state)
{
	(void)state;
	(void)snprintf(root, sizeof(root), "%s", "perf-source-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *s, int flag, struct FTW *walk)
{
	(void)s;
	(void)flag;
	(void)walk;
	return remove(path);
}

static int remove_root(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put_cpuinfo(const char *vendor)
{
	char line[128];

	(void)snprintf(line, sizeof(line), "processor\t: 0\nvendor_id\t: %s\n", vendor);
	put("proc/cpuinfo", line);
}

static void put_formats(const char *pmu)
{
	put_pmu(pmu, "format/event", "config:0-7\n");
	put_pmu(pmu, "format/umask", "config:8-15\n");
	put_pmu(pmu, "format/edge", "config:18\n");
	put_pmu(pmu, "format/ldlat", "config1:0-15\n");
}

static void put_intel(void)
{
	put_cpuinfo("GenuineIntel");
	put("proc/sys/kernel/perf_event_paranoid", "2\n");
	put_pmu("cpu", "type", "4\n");
	put_formats("cpu");
	put_pmu("cpu", "events/cpu-cycles", "event=0x3c\n");
	put_pmu("cpu", "events/instructions", "event=0xc0\n");
}

/* Two kinds of cores: the big ones' type is less. */
static void put_hybrid(void)
{
	put_cpuinfo("GenuineIntel");
	put_pmu("cpu_atom", "type", "10\n");
	put_pmu("cpu_atom", "cpus", "4-7\n");
	put_formats("cpu_atom");
	put_pmu("cpu_atom", "events/cpu-cycles", "event=0x3c\n");
	put_pmu("cpu_atom", "events/instructions", "event=0xc0\n");
	put_pmu("cpu_atom", "events/stalls", "event=0x34,umask=0x1\n");
	put_pmu("cpu_atom", "events/only-small", "event=0x77\n");
	put_pmu("cpu_core", "type", "4\n");
	put_pmu("cpu_core", "cpus", "0,2-3\n");
	put_formats("cpu_core");
	put_pmu("cpu_core", "events/cpu-cycles", "event=0x3c\n");
	put_pmu("cpu_core", "events/instructions", "event=0xc0\n");
	put_pmu("cpu_core", "events/stalls", "event=0xa3,umask=0x4,edge\n");
	put_pmu("cpu_core", "events/only-big", "event=0x78\n");
}

static struct vpmu_perf_host host;

static enum vpmu_perf_error find(void)
{
	return vpmu_perf_host_find(&host, root);
}

static void test_no_pmu(void **state)
{
	(void)state;
	assert_int_equal(find(), VPMU_PERF_NO_PMU);
	assert_int_equal(host.paranoid, INT_MAX);
	assert_int_equal(host.encoding, VPMU_PERF_ENCODING_NONE);
	/* PMUs that are not a core's. */
	put_pmu("software", "type", "1\n");
	put_pmu("uncore_imc", "type", "12\n");
	put_pmu("uncore_imc", "cpumask", "0\n");
	assert_int_equal(find(), VPMU_PERF_NO_PMU);
	assert_int_equal(host.pmus, 0);
}

static void test_one_pmu(void **state)
{
	unsigned int i;

	(void)state;
	put_intel();
	put_pmu("cpu", "format/high", "config:32-35,40\n");
	put_pmu("cpu", "format/rdpmc", "config1:1\n");
	put_pmu("cpu", "events/spread", "event=1,high=0x1f\n");
	put_pmu("cpu", "events/whole", "config=0xabcd\n");
	put_pmu("cpu", "events/instructions.unit", "event=0x1\n");
	put_pmu("cpu", "events/mem-loads", "event=0xcd,ldlat=3\n");
	put_pmu("cpu", "events/too-big", "event=0x100\n");
	put_pmu("cpu", "events/nonsense", "event=,=,x\n");
	put_pmu("cpu", "events/escape", "../events/whole=1\n");
	put_pmu("cpu", "events/empty", "");
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_int_equal(host.pmus, 1);
	assert_int_equal(host.paranoid, 2);
	assert_int_equal(host.encoding, VPMU_PERF_ENCODING_INTEL);
	assert_int_equal(host.pmu[0].type, 4);
	assert_true(vpmu_perf_pmu_has(&host.pmu[0], 4711));
	assert_true(host.pmu[0].config_bits == 0x10F0004FFFFull);
	/* Nobody may read: asking would show pages of events that are never in them. */
	assert_true(host.pmu[0].user_read == 0);
	assert_int_equal(host.names, 4);
	assert_true(vpmu_perf_find_name(&host, "spread", &i));
	assert_true(host.name[i].config[0] == 0x10F00000001ull);
	assert_true(vpmu_perf_find_name(&host, "whole", &i));
	assert_true(host.name[i].config[0] == 0xABCD);
	put("proc/sys/kernel/perf_user_access", "0\n");
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_true(host.pmu[0].user_read == 0);
	put("proc/sys/kernel/perf_user_access", "1\n");
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_true(host.pmu[0].user_read == 2);
}

static void test_hybrid_names(void **state)
{
	unsigned int i;

	(void)state;
	put_hybrid();
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_int_equal(host.pmus, 2);
	assert_string_equal(host.pmu[0].name, "cpu_core");
	assert_string_equal(host.pmu[1].name, "cpu_atom");
	assert_true(vpmu_perf_pmu_has(&host.pmu[0], 2) && !vpmu_perf_pmu_has(&host.pmu[0], 1));
	assert_true(!vpmu_perf_pmu_has(&host.pmu[0], 4) && vpmu_perf_pmu_has(&host.pmu[1], 4));
	assert_false(vpmu_perf_pmu_has(&host.pmu[1], -1));
	assert_false(vpmu_perf_pmu_has(&host.pmu[1], 1 << 20));
	assert_int_equal(host.names, 3);
	assert_true(vpmu_perf_find_name(&host, "stalls", &i));
	assert_true(host.name[i].config[0] == 0x404A3 && host.name[i].config[1] == 0x134);
}

static void test_too_many_kinds(void **state)
{
	(void)state;
	for (unsigned int i = 0; i <= VPMU_PERF_PMUS; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "core%u", i);
		put_pmu(name, "type", "1\n");
		put_pmu(name, "cpus", "0\n");
	}
	assert_int_equal(find(), VPMU_PERF_TOO_MANY);
	assert_int_equal(host.pmus, 0);
}

static void test_rubbish_files(void **state)
{
	char huge[5000];

	(void)state;
	memset(huge, '9', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	put_intel();
	put("proc/sys/kernel/perf_event_paranoid", "many\n");
	put_pmu("cpu", "format/event", huge);
	put_pmu("cpu", "format/backwards", "config:7-0\n");
	put_pmu("cpu", "format/beyond", "config:0-64\n");
	put_pmu("cpu", "events/instructions", huge);
	put_pmu("cpu_x", "type", huge);
	put_pmu("cpu_x", "cpus", "0-99999999999999999999\n");
	put_pmu("cpu_y", "type", "-4\n");
	put_pmu("cpu_y", "cpus", "\xff,,-\n");
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_int_equal(host.pmus, 1);
	assert_int_equal(host.names, 0);
	assert_int_equal(host.paranoid, INT_MAX);
	assert_true(host.pmu[0].config_bits == 0x4FF00);
}

static void test_more_names_than_fit(void **state)
{
	(void)state;
	put_intel();
	for (unsigned int i = 0; i < VPMU_PERF_NAMES + 5; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "events/e%u", i);
		put_pmu("cpu", name, "event=1\n");
	}
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_int_equal(host.names, VPMU_PERF_NAMES);
}

/* ---- Encodings ---- */

static struct vpmu_event meaning(enum vpmu_event_meaning m)
{
	return (struct vpmu_event){ .meaning = m, .user = true, .kernel = true };
}

static struct vpmu_event raw(uint64_t selector)
{
	return (struct vpmu_event){ .selector = selector, .user = true, .kernel = true };
}

static struct perf_event_attr attr;

static enum vpmu_perf_error encode(unsigned int pmu, struct vpmu_event e)
{
	return vpmu_perf_host_attr(&host, pmu, VPMU_PERF_ENCODING_INTEL, &e, &attr);
}

static void test_encodings(void **state)
{
	(void)state;
	put_intel();
	assert_int_equal(find(), VPMU_PERF_OK);
	/* By name; by the kernel's own number; raw. */
	assert_int_equal(encode(0, meaning(VPMU_MEANS_INSTRUCTIONS)), VPMU_PERF_OK);
	assert_true(attr.type == 4 && attr.config == 0xC0);
	assert_int_equal(encode(0, meaning(VPMU_MEANS_BRANCHES)), VPMU_PERF_OK);
	assert_int_equal(attr.type, PERF_TYPE_HARDWARE);
	assert_true(attr.config == PERF_COUNT_HW_BRANCH_INSTRUCTIONS);
	assert_int_equal(encode(0, meaning(VPMU_MEANS_LLC_MISSES)), VPMU_PERF_OK);
	assert_int_equal(encode(0, raw(0x41234)), VPMU_PERF_OK);
	assert_true(attr.type == 4 && attr.config == 0x41234);
	assert_int_equal(encode(0, raw(0x100000000)), VPMU_PERF_NO_EVENT);
	assert_int_equal(encode(1, raw(0x3C)), VPMU_PERF_NO_PMU);
	/* Raw events of another vendor's guest. */
	host.encoding = VPMU_PERF_ENCODING_AMD;
	assert_int_equal(encode(0, raw(0x3C)), VPMU_PERF_OTHER_ENCODING);
	assert_int_equal(encode(0, meaning(VPMU_MEANS_CYCLES)), VPMU_PERF_OK);
	/* What the kernel calls cache misses there are not the last level's. */
	assert_int_equal(encode(0, meaning(VPMU_MEANS_LLC_MISSES)), VPMU_PERF_NO_EVENT);
	assert_int_equal(encode(0, meaning(VPMU_MEANS_LLC_REFERENCES)), VPMU_PERF_NO_EVENT);
}

static void test_attributes(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	(void)state;
	put_intel();
	assert_int_equal(find(), VPMU_PERF_OK);
	e.kernel = false;
	e.period = 4711;
	assert_int_equal(encode(0, e), VPMU_PERF_OK);
	assert_true(attr.pinned && attr.exclude_host && attr.exclude_kernel && !attr.exclude_user);
	assert_true(attr.sample_period == 4711 && !attr.disabled && !attr.freq && !attr.inherit);
	e.kernel = true;
	e.user = false;
	e.period = UINT64_MAX;
	assert_int_equal(encode(0, e), VPMU_PERF_OK);
	assert_true(!attr.exclude_kernel && attr.exclude_user);
	/* The kernel refuses longer ones, and to change a period that never was. */
	assert_true(attr.sample_period == BIT(62));
	e.period = 0;
	assert_int_equal(encode(0, e), VPMU_PERF_OK);
	assert_true(attr.sample_period == BIT(62));
	e.checkpointed = true;
	assert_int_equal(encode(0, e), VPMU_PERF_OK);
	assert_true(attr.sample_period == 0);
}

static void test_hybrid_encodings(void **state)
{
	(void)state;
	put_hybrid();
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_int_equal(encode(1, meaning(VPMU_MEANS_CYCLES)), VPMU_PERF_OK);
	assert_true(attr.type == 10 && attr.config == 0x3C);
	/* Each with its own encoding of what the first one's selector is called. */
	assert_int_equal(encode(1, raw(0x404A3)), VPMU_PERF_OK);
	assert_true(attr.type == 10 && attr.config == 0x134);
	assert_int_equal(encode(0, raw(0x404A3)), VPMU_PERF_OK);
	assert_true(attr.type == 4 && attr.config == 0x404A3);
	assert_int_equal(encode(0, raw(0x78)), VPMU_PERF_NOT_COMMON);
	assert_int_equal(encode(0, raw(0x134)), VPMU_PERF_NOT_COMMON);
	assert_int_equal(encode(0, meaning(VPMU_MEANS_BRANCHES)), VPMU_PERF_NOT_COMMON);
}

static void test_sentences(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VPMU_PERF_ERRORS; i++)
		assert_non_null(vpmu_perf_strerror((enum vpmu_perf_error)i));
	assert_non_null(vpmu_perf_strerror((enum vpmu_perf_error)4711));
	assert_int_equal(vpmu_perf_error_of(-EACCES), VPMU_PERF_PARANOID);
	assert_int_equal(vpmu_perf_error_of(-EPERM), VPMU_PERF_FORBIDDEN);
	assert_int_equal(vpmu_perf_error_of(-ENOSYS), VPMU_PERF_NO_SYSTEM_CALL);
	assert_int_equal(vpmu_perf_error_of(-EMFILE), VPMU_PERF_NO_FILES);
	assert_int_equal(vpmu_perf_error_of(-EXDEV), VPMU_PERF_OTHER);
	assert_int_equal(vpmu_perf_error_of(0), VPMU_PERF_OK);
}

/* ---- A kernel in software ---- */

#define FILES 64u
#define FIRST_FILE 100

struct file {
	struct perf_event_attr attr;
	bool open;
	bool on;
	bool error;                  /* pinned, and no place was found */
	bool notifies;
	int signal;
	uint64_t value;
	uint64_t left;
	uint64_t enabled;
	uint64_t running;
	struct perf_event_mmap_page page;
};

static struct kernel {
	struct vpmu_perf_system system;
	struct file file[FILES];
	uint64_t calls;
	uint64_t fail_at;            /* the so-manieth call fails; 0: none */
	int with;                    /* -errno */
	uint64_t opens, closes, maps, unmaps, ioctls;
	unsigned int places;         /* counters for pinned events of one PMU */
	int cpu;
	bool shown;                  /* to user mode */
	int refuse_sampling;         /* -errno, or 0 */
	int refuse_kernel;           /* likewise, what counts rings below user mode */
	int refuse_all;
	uint64_t refuse_config;      /* as EINVAL */
	uint64_t hardware;           /* added to a page's offset by what reads counters */
} kernel;

/* In place of the processor's. */
bool vpmu_perf_reads_counters(void)
{
	return true;
}

uint64_t vpmu_perf_counter(uint32_t i)
{
	return kernel.hardware + i;
}

uint64_t vpmu_perf_cycles(void)
{
	return 1000;
}

static bool fails(void)
{
	return ++kernel.calls == kernel.fail_at;
}

static struct file *file_of(int fd)
{
	assert_in_range(fd, FIRST_FILE, FIRST_FILE + FILES - 1);
	assert_true(kernel.file[fd - FIRST_FILE].open);
	return &kernel.file[fd - FIRST_FILE];
}

static int find_file(void)
{
	for (unsigned int i = 0; i < FILES; i++) {
		if (!kernel.file[i].open)
			return (int)i;
	}
	return -EMFILE;
}

static int refusal(const struct perf_event_attr *a)
{
	if (kernel.refuse_all)
		return kernel.refuse_all;
	if (kernel.refuse_kernel && !a->exclude_kernel)
		return kernel.refuse_kernel;
	if (kernel.refuse_sampling && a->sample_period)
		return kernel.refuse_sampling;
	return kernel.refuse_config && a->config == kernel.refuse_config ? -EINVAL : 0;
}

static void show(struct file *f)
{
	f->page = (struct perf_event_mmap_page){
		.time_enabled = f->enabled, .time_running = f->running,
		.offset = (int64_t)f->value,
	};
	f->page.cap_user_rdpmc = kernel.shown;
}

static void place(struct file *f)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < FILES; i++) {
		const struct file *other = &kernel.file[i];

		n += other != f && other->open && other->on && other->attr.type == f->attr.type;
	}
	f->on = n < kernel.places;
	f->error = !f->on;
}

static int fake_open(struct vpmu_perf_system *sys, struct perf_event_attr *a, pid_t tid)
{
	int i = find_file();

	(void)sys;
	(void)tid;
	if (fails())
		return kernel.with;
	if (refusal(a))
		return refusal(a);
	assert_true(i >= 0);
	assert_true(a->sample_period < BIT(63));
	kernel.opens++;
	kernel.file[i] = (struct file){ .attr = *a, .open = true, .left = a->sample_period };
	if (!a->disabled)
		place(&kernel.file[i]);
	show(&kernel.file[i]);
	return i + FIRST_FILE;
}

static int fake_close(struct vpmu_perf_system *sys, int fd)
{
	(void)sys;
	kernel.closes++;
	file_of(fd)->open = false;
	return 0;
}

static int fake_ioctl(struct vpmu_perf_system *sys, int fd, unsigned long request, void *argument)
{
	struct file *f = file_of(fd);

	(void)sys;
	kernel.ioctls++;
	if (fails())
		return kernel.with;
	if (request == PERF_EVENT_IOC_ENABLE) {
		place(f);
	} else if (request == PERF_EVENT_IOC_DISABLE) {
		f->on = false;
	} else {
		assert_int_equal(request, PERF_EVENT_IOC_PERIOD);
		assert_true(f->attr.sample_period);
		memcpy(&f->left, argument, sizeof(f->left));
		assert_true(f->left && f->left < BIT(63));
		f->attr.sample_period = f->left;
	}
	return 0;
}

static int fake_notify(struct vpmu_perf_system *sys, int fd, int signal, pid_t tid)
{
	struct file *f = file_of(fd);

	(void)sys;
	assert_int_equal(tid, gettid());
	if (fails())
		return kernel.with;
	f->notifies = true;
	f->signal = signal;
	return 0;
}

static ssize_t fake_read(struct vpmu_perf_system *sys, int fd, void *buffer, size_t size)
{
	const struct file *f = file_of(fd);
	const uint64_t words[] = { f->value, f->enabled, f->running };

	(void)sys;
	if (fails())
		return kernel.with;
	if (f->error)
		return 0;
	assert_int_equal(size, sizeof(words));
	memcpy(buffer, words, sizeof(words));
	return sizeof(words);
}

static void *fake_map(struct vpmu_perf_system *sys, int fd)
{
	(void)sys;
	if (fails())
		return NULL;
	kernel.maps++;
	return &file_of(fd)->page;
}

static void fake_unmap(struct vpmu_perf_system *sys, void *page)
{
	(void)sys;
	(void)page;
	kernel.unmaps++;
}

static int fake_cpu(struct vpmu_perf_system *sys)
{
	(void)sys;
	return kernel.cpu;
}

static void kernel_reset(void)
{
	kernel = (struct kernel){
		.system = {
			.open = fake_open, .close = fake_close, .ioctl = fake_ioctl,
			.notify = fake_notify, .read = fake_read, .map = fake_map,
			.unmap = fake_unmap, .cpu = fake_cpu,
		},
		.places = FILES,
		.with = -EMFILE,
	};
}

static void nothing_is_open(void)
{
	assert_int_equal(kernel.opens, kernel.closes);
	assert_int_equal(kernel.maps, kernel.unmaps);
}

/* ---- The source over it ---- */

static struct vpmu_emulated emulated;
static struct vpmu_vcpu vcpu;
static struct vpmu_perf_source source;
static const struct vpmu_source_ops *ops;

static unsigned int kicks;

static void kick(void *context)
{
	assert_ptr_equal(context, &kicks);
	kicks++;
}

static struct vpmu_perf_config config_of(struct vpmu_perf_system *sys)
{
	return (struct vpmu_perf_config){
		.host = &host, .system = sys, .encoding = VPMU_PERF_ENCODING_INTEL,
		.signal = SIGRTMIN + 3, .kick = kick, .context = &kicks, .only = -1,
	};
}

static enum vpmu_perf_error start_source(const struct vpmu_perf_config *config)
{
	enum vpmu_perf_error error;

	vcpu.emulated = &emulated;
	atomic_store(&emulated.hints, 0);
	atomic_store(&vcpu.in_guest, false);
	kicks = 0;
	error = vpmu_perf_source_init(&source, &vcpu, config);
	ops = source.source.ops;
	assert_int_equal(ops->size, sizeof(*ops));
	return error;
}

/* With everything as the files of (put_host) say, and what the test has changed in the kernel. */
static void fake_source(void (*put_host)(void))
{
	struct vpmu_perf_config config = config_of(&kernel.system);

	put_host();
	assert_int_equal(find(), VPMU_PERF_OK);
	assert_int_equal(vpmu_perf_host_probe(&host, &kernel.system), VPMU_PERF_OK);
	nothing_is_open();
	assert_int_equal(start_source(&config), VPMU_PERF_OK);
}

static int fresh(void **state)
{
	kernel_reset();
	return new_root(state);
}

static struct vpmu_source *src(void)
{
	return &source.source;
}

static uint64_t value_of(unsigned int slot)
{
	return ops->read(src(), slot).value;
}

static uint64_t hints(void)
{
	return atomic_exchange(&emulated.hints, 0);
}

/* The thread executes (n) events on cores of PMU (type) in (n) nanoseconds. */
static void execute(uint32_t type, uint64_t n)
{
	for (unsigned int i = 0; i < FILES; i++) {
		struct file *f = &kernel.file[i];

		if (!f->open || !f->on)
			continue;
		f->enabled += n;
		if (f->attr.type == type) {
			f->running += n;
			f->value += n;
			if (f->left <= n) {
				f->left += f->attr.sample_period;
				if (f->notifies)
					vpmu_perf_source_overflow(&source, (int)i + FIRST_FILE);
			}
			f->left -= n;
		}
		show(f);
	}
}

static void test_life_of_an_event(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	struct vpmu_count c;

	(void)state;
	fake_source(put_intel);
	assert_false(src()->cheap_reads);
	assert_true(ops->supports(src(), &e));
	assert_int_equal(ops->create(src(), 5, &e), 0);
	execute(4, 1000);
	c = ops->read(src(), 5);
	assert_true(c.value == 1000 && c.enabled == 1000 && c.running == 1000);
	ops->stop(src(), 5);
	execute(4, 1000);
	assert_true(value_of(5) == 1000);
	assert_int_equal(ops->start(src(), 5), 0);
	execute(4, 1);
	assert_true(value_of(5) == 1001);
	ops->release(src(), 5);
	nothing_is_open();
	/* A new one begins at 0. */
	assert_int_equal(ops->create(src(), 5, &e), 0);
	assert_true(value_of(5) == 0);
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

static void test_reads_cost_a_call(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	uint64_t calls, system_calls;

	(void)state;
	fake_source(put_intel);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_true(src()->calls == 1 && source.system_calls == 2);
	calls = src()->calls;
	system_calls = source.system_calls;
	(void)value_of(0);
	assert_true(src()->calls == calls + 1 && source.system_calls == system_calls + 1);
	/* Interrupted ones are repeated. */
	kernel.fail_at = kernel.calls + 1;
	kernel.with = -EINTR;
	execute(4, 7);
	assert_true(value_of(0) == 7);
	vpmu_perf_source_fini(&source);
}

/* Refused for good, where the kernel's answer says so; only raw ones, the others are known. */
static void test_supports(void **state)
{
	struct vpmu_event bad = raw(0x1234), good = raw(0x1235);
	struct vpmu_event llc = meaning(VPMU_MEANS_LLC_MISSES);

	(void)state;
	kernel.refuse_config = 0x1234;
	fake_source(put_intel);
	assert_true(ops->supports(src(), &bad) && ops->supports(src(), &good));
	assert_true(ops->supports(src(), &llc));
	assert_int_equal(ops->create(src(), 0, &bad), -1);
	assert_int_equal(source.error, VPMU_PERF_NO_EVENT);
	assert_false(ops->supports(src(), &bad));
	assert_int_equal(ops->create(src(), 0, &good), 0);
	assert_true(ops->supports(src(), &good));
	/* Want of files is no such answer. */
	kernel.refuse_all = -EMFILE;
	assert_int_equal(ops->create(src(), 1, &good), -1);
	assert_int_equal(source.error, VPMU_PERF_NO_FILES);
	assert_true(ops->supports(src(), &good));
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

static void probe_is(int refuse, enum vpmu_perf_error error)
{
	struct vpmu_perf_config config = config_of(&kernel.system);
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	kernel.refuse_all = refuse;
	assert_int_equal(vpmu_perf_host_probe(&host, &kernel.system), error);
	assert_int_equal(start_source(&config), error);
	assert_false(ops->supports(src(), &e));
}

static void test_probe(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	(void)state;
	put_intel();
	assert_int_equal(find(), VPMU_PERF_OK);
	probe_is(-EACCES, VPMU_PERF_PARANOID);
	probe_is(-EPERM, VPMU_PERF_FORBIDDEN);
	probe_is(-ENOSYS, VPMU_PERF_NO_SYSTEM_CALL);
	probe_is(-EMFILE, VPMU_PERF_NO_FILES);
	probe_is(-ENOENT, VPMU_PERF_NO_EVENT);
	/* An ordinary user: guests' user mode only. */
	kernel.refuse_all = 0;
	kernel.refuse_kernel = -EACCES;
	fake_source(put_intel);
	assert_true(host.user_only && host.interrupts);
	assert_false(ops->supports(src(), &e));
	e.kernel = false;
	assert_true(ops->supports(src(), &e));
	assert_int_equal(ops->create(src(), 0, &e), 0);
	vpmu_perf_source_fini(&source);
	/* One event that the PMU lacks. */
	kernel.refuse_kernel = 0;
	kernel.refuse_config = 0xC0;
	fake_source(put_intel);
	assert_int_equal(host.error[VPMU_MEANS_INSTRUCTIONS], VPMU_PERF_NO_EVENT);
	e = meaning(VPMU_MEANS_INSTRUCTIONS);
	assert_false(ops->supports(src(), &e));
	e = meaning(VPMU_MEANS_CYCLES);
	assert_true(ops->supports(src(), &e));
}

static void test_no_interrupts(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	(void)state;
	kernel.refuse_sampling = -EOPNOTSUPP;
	fake_source(put_intel);
	assert_false(host.interrupts);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	execute(4, 10);
	assert_true(value_of(0) == 10);
	assert_int_equal(ops->period(src(), 0, 0), 0);
	assert_int_equal(ops->period(src(), 0, 100), -1);
	assert_int_equal(source.error, VPMU_PERF_NO_INTERRUPT);
	e.period = 100;
	assert_int_equal(ops->create(src(), 1, &e), -1);
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

static void test_overflows(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	(void)state;
	fake_source(put_intel);
	e.period = 100;
	assert_int_equal(ops->create(src(), 3, &e), 0);
	assert_true(kernel.file[0].notifies && kernel.file[0].signal == SIGRTMIN + 3);
	execute(4, 99);
	assert_true(hints() == 0);
	execute(4, 1);
	assert_true(hints() == BIT(3) && kicks == 0);
	/* In the guest it kicks. */
	assert_int_equal(ops->period(src(), 3, 1000), 0);
	atomic_store(&vcpu.in_guest, true);
	execute(4, 999);
	assert_true(hints() == 0 && kicks == 0);
	execute(4, 1);
	assert_true(hints() == BIT(3) && kicks == 1);
	/* No hint. */
	assert_int_equal(ops->period(src(), 3, 0), 0);
	execute(4, BIT(40));
	assert_true(hints() == 0);
	/* Not from this source; and from nobody knows whom. */
	e.period = 0;
	assert_int_equal(ops->create(src(), 9, &e), 0);
	vpmu_perf_source_overflow(&source, 7);
	assert_true(hints() == 0);
	vpmu_perf_source_overflow(&source, -1);
	assert_true(hints() == (BIT(3) | BIT(9)));
	vpmu_perf_source_fini(&source);
}

/* Only what overflows is set up for that, and once. */
static void test_setup_of_signals(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	uint64_t calls;

	(void)state;
	fake_source(put_intel);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_false(kernel.file[0].notifies);
	assert_int_equal(ops->period(src(), 0, 50), 0);
	assert_true(kernel.file[0].notifies);
	calls = source.system_calls;
	assert_int_equal(ops->period(src(), 0, 51), 0);
	assert_true(source.system_calls == calls + 1);
	ops->release(src(), 0);
	/* A source that was given no signal cannot. */
	source.config.signal = 0;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_int_equal(ops->period(src(), 0, 50), -1);
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

static void test_contention(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	struct vpmu_count before, after;

	(void)state;
	fake_source(put_intel);
	kernel.places = 1;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_int_equal(ops->create(src(), 1, &e), -1);
	assert_int_equal(source.error, VPMU_PERF_BUSY);
	ops->stop(src(), 0);
	assert_int_equal(ops->create(src(), 1, &e), 0);
	assert_int_equal(ops->start(src(), 0), -1);
	ops->release(src(), 1);
	assert_int_equal(ops->start(src(), 0), 0);
	/*
	 * Somebody else takes the place while it counts: reported, and taken back when that is
	 * possible.
	 */
	execute(4, 100);
	before = ops->read(src(), 0);
	kernel.file[0].on = false;
	kernel.file[0].error = true;
	kernel.places = 0;
	after = ops->read(src(), 0);
	assert_true(after.enabled - before.enabled > after.running - before.running);
	assert_true(after.value == before.value);
	before = after;
	kernel.places = 1;
	after = ops->read(src(), 0);
	assert_true(after.enabled - before.enabled > after.running - before.running);
	execute(4, 100);
	before = after;
	after = ops->read(src(), 0);
	assert_true(after.value == before.value + 100);
	assert_true(after.enabled - before.enabled <= after.running - before.running);
	vpmu_perf_source_fini(&source);
}

/* What finding a place took the kernel is no loss, what comes after it is. */
static void test_starvation(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	struct vpmu_count c;

	(void)state;
	fake_source(put_intel);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	kernel.file[0].enabled = 500;
	ops->stop(src(), 0);
	assert_int_equal(ops->start(src(), 0), 0);
	execute(4, 10);
	c = ops->read(src(), 0);
	assert_true(c.enabled == c.running);
	kernel.file[0].enabled += 3;
	c = ops->read(src(), 0);
	assert_true(c.enabled == c.running + 3);
	vpmu_perf_source_fini(&source);
}

/*
 * Each system call of a life fails once: nothing stays open, nothing changes, the next try works.
 */
static void fail_everywhere(void (*put_host)(void), bool shown)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	uint64_t failures = 0;

	kernel.shown = shown;
	fake_source(put_host);
	e.period = 100000;
	for (uint64_t n = 1; n < 100; n++) {
		int error;

		kernel.fail_at = kernel.calls + n;
		kernel.with = n % 2 ? -EMFILE : -ENOMEM;
		error = ops->create(src(), 2, &e);
		if (error) {
			failures++;
			nothing_is_open();
			continue;
		}
		execute(4, 10);
		error = ops->period(src(), 2, 5000);
		failures += error != 0;
		assert_true(value_of(2) == 10 || value_of(2) == 10);
		ops->stop(src(), 2);
		if (ops->start(src(), 2)) {
			failures++;
			assert_int_equal(ops->start(src(), 2), 0);
		}
		ops->release(src(), 2);
		nothing_is_open();
	}
	kernel.fail_at = 0;
	assert_true(failures >= 4);
}

static void test_failing_calls(void **state)
{
	(void)state;
	fail_everywhere(put_intel, false);
}

static void test_failing_calls_shown(void **state)
{
	(void)state;
	fail_everywhere(put_intel, true);
}

static void test_failing_calls_hybrid(void **state)
{
	(void)state;
	fail_everywhere(put_hybrid, false);
}

static void test_move(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	uint64_t calls, system_calls;

	(void)state;
	kernel.shown = true;
	fake_source(put_intel);
	e.period = 100;
	assert_int_equal(ops->create(src(), 1, &e), 0);
	execute(4, 40);
	ops->stop(src(), 1);
	(void)value_of(1);
	calls = kernel.calls;
	system_calls = source.system_calls;
	ops->move(src(), 1, 40);
	assert_true(kernel.calls == calls && source.system_calls == system_calls);
	assert_true(value_of(40) == 40);
	assert_int_equal(ops->start(src(), 40), 0);
	execute(4, 60);
	assert_true(hints() == BIT(40));
	assert_true(value_of(40) == 100);
	/* The slot it left is empty. */
	assert_int_equal(ops->create(src(), 1, &e), 0);
	assert_true(value_of(1) == 0);
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

/* ---- User-mode reads ---- */

static void test_cheap_reads(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	uint64_t system_calls, calls;
	struct file *f = &kernel.file[0];
	struct vpmu_count c;

	(void)state;
	kernel.shown = true;
	fake_source(put_intel);
	assert_true(src()->cheap_reads);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	system_calls = source.system_calls;
	calls = src()->calls;
	/*
	 * In counter 1 of 40 bits, which has gone past its middle: negative, as the kernel set
	 * it.
	 */
	kernel.hardware = BIT(40) - 6;
	f->page.index = 2;
	f->page.offset = 1000;
	f->page.pmc_width = 40;
	f->page.time_enabled = 70;
	f->page.time_running = 70;
	f->page.cap_user_time = 1;
	f->page.time_mult = 3;
	f->page.time_shift = 1;
	f->page.time_offset = 5;
	c = ops->read(src(), 0);
	assert_true(c.value == 1000 - 6 + 1);
	/* 1000 cycles are 1500 nanoseconds, and 5. */
	assert_true(c.enabled == 70 + 1505 && c.running == c.enabled);
	assert_true(source.system_calls == system_calls && src()->calls == calls);
	/* Never back. */
	f->page.offset = 0;
	assert_true(value_of(0) == 995);
	/* While the kernel writes for ever, it is asked. */
	f->page.lock = 1;
	f->value = 2000;
	assert_true(value_of(0) == 2000);
	assert_true(source.system_calls == system_calls + 1);
	/* In no counter, although it should count: asked why. */
	f->page.lock = 2;
	f->page.index = 0;
	f->value = 3000;
	assert_true(value_of(0) == 3000);
	/* Stopped, that is what it should be. */
	ops->stop(src(), 0);
	f->page.offset = 3001;
	system_calls = source.system_calls;
	assert_true(value_of(0) == 3001);
	assert_true(source.system_calls == system_calls);
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

static void test_page_width(void **state)
{
	struct perf_event_mmap_page page = { .index = 1, .pmc_width = 0 };
	struct vpmu_perf_reading r;

	(void)state;
	page.cap_user_rdpmc = 1;
	kernel.hardware = BIT(63) + 1;
	assert_int_equal(vpmu_perf_page_read(&page, &r), VPMU_PERF_COUNTS);
	assert_true(r.value == BIT(63) + 1);
	page.pmc_width = 64;
	assert_int_equal(vpmu_perf_page_read(&page, &r), VPMU_PERF_COUNTS);
	assert_true(r.value == BIT(63) + 1);
	page.pmc_width = 4711;
	assert_int_equal(vpmu_perf_page_read(&page, &r), VPMU_PERF_COUNTS);
	page.cap_user_rdpmc = 0;
	assert_int_equal(vpmu_perf_page_read(&page, &r), VPMU_PERF_UNREADABLE);
}

/* ---- Hybrid hosts ---- */

static void test_hybrid_sum(void **state)
{
	struct vpmu_event e = raw(0x404A3), other = raw(0x78);
	struct vpmu_count c;

	(void)state;
	fake_source(put_hybrid);
	assert_true(ops->supports(src(), &e));
	assert_false(ops->supports(src(), &other));
	assert_int_equal(ops->create(src(), 0, &e), 0);
	execute(4, 1000000);
	execute(10, 2000000);
	execute(4, 500000);
	c = ops->read(src(), 0);
	assert_true(c.value == 3500000 && c.enabled == 3500000 && c.running == 3500000);
	/* Cores of no PMU: not counted, and it says so. */
	execute(77, 1000000);
	c = ops->read(src(), 0);
	assert_true(c.value == 3500000 && c.enabled == 4500000 && c.running == 3500000);
	vpmu_perf_source_fini(&source);
	nothing_is_open();
}

/* Two readings one after the other: what passed in between is not lost time. */
static void test_hybrid_skew(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	struct vpmu_count c;

	(void)state;
	fake_source(put_hybrid);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	execute(10, 1000000);
	kernel.file[0].enabled += 20000;
	kernel.file[1].enabled += 10000;
	c = ops->read(src(), 0);
	assert_true(c.enabled == c.running);
	vpmu_perf_source_fini(&source);
}

static void test_pinned_to_one_kind(void **state)
{
	struct vpmu_perf_config config = config_of(&kernel.system);
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	(void)state;
	fake_source(put_hybrid);
	config.only = 1;
	assert_int_equal(start_source(&config), VPMU_PERF_OK);
	e.period = 1000000;
	kernel.opens = 0;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_true(kernel.opens == 1 && kernel.file[0].attr.type == 10);
	assert_true(kernel.file[0].left == 1000000);
	vpmu_perf_source_fini(&source);
}

/* Runs up to the hint at or after (due); returns how late it came, and how many came before. */
static uint64_t run_to_hint(struct rng *rng, uint64_t due, uint64_t *early)
{
	uint64_t value = value_of(0);
	bool small = kernel.cpu >= 4;

	for (;;) {
		uint64_t step = 1 + rng_below(rng, kernel.file[small].left);

		execute(small ? 10 : 4, step);
		value += step;
		if (hints()) {
			if (value >= due)
				return value - due;
			++*early;
			assert_int_equal(ops->period(src(), 0, due - value), 0);
		}
		if (rng_one_in(rng, 3))
			small = rng_next(rng) % 2;
		kernel.cpu = small ? 5 : 2;
	}
}

/*
 * The thread moves whenever it likes, and the source is not told: no overflow is later than the
 * bound, and hints that come early are few.
 */
static void test_forced_migration(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);
	struct rng rng = { 4711 };
	uint64_t latest = 0, early = 0;

	(void)state;
	fake_source(put_hybrid);
	e.period = 1;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	for (unsigned int round = 0; round < 20000; round++) {
		uint64_t period = 1 + rng_below(&rng, BIT(rng_below(&rng, 24)));
		uint64_t due = value_of(0) + period, late;

		assert_int_equal(ops->period(src(), 0, period), 0);
		late = run_to_hint(&rng, due, &early);
		latest = late > latest ? late : latest;
	}
	assert_in_range(latest, 1, VPMU_PERF_LATE - 1);
	assert_true(early < 20000 * 6);
	print_message("at most %llu of %u events late, %.2f early hints a period\n",
		      (unsigned long long)latest, VPMU_PERF_LATE, (double)early / 20000);
	vpmu_perf_source_fini(&source);
}

/* Where the thread is when the period is set, it gets most of it. */
static void test_hybrid_shares(void **state)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	(void)state;
	kernel.cpu = 6;
	fake_source(put_hybrid);
	e.period = 1600000;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	assert_true(kernel.file[0].left == 100000 && kernel.file[1].left == 1500000);
	kernel.cpu = 0;
	assert_int_equal(ops->period(src(), 0, 3200000), 0);
	assert_true(kernel.file[0].left == 3000000 && kernel.file[1].left == 200000);
	assert_int_equal(ops->period(src(), 0, VPMU_PERF_LATE), 0);
	assert_true(kernel.file[0].left == VPMU_PERF_LATE && kernel.file[1].left == VPMU_PERF_LATE);
	vpmu_perf_source_fini(&source);
}

/* ---- Below a guest ---- */

/* An Arm guest whose cycle counter is an event; its overflow is the guest's. */
static void run_guest(struct vpmu_perf_config config, void (*work)(struct lone_guest *g))
{
	static struct lone_guest g;
	const struct vpmu_vm_config vm = { .size = sizeof(vm), .mode = VPMU_MODE_EMULATED };

	lone_guest_init(&g, VPMU_ARM_V3P5, 4, NULL);
	assert_int_equal(vpmu_arm_vm_init(&g.vm, &g.machine, &g.model, &vm), 0);
	vpmu_vcpu_init(&g.v, &g.vm);
	assert_int_equal(vpmu_perf_source_init(&source, &g.v, &config), VPMU_PERF_OK);
	assert_int_equal(vpmu_vcpu_attach(&g.v, &emulated, &source.source), 0);
	assert_int_equal(vpmu_vcpu_load(&g.v, NULL), 0);
	guest_write(&g.v, MODEL_PMCCNTR, (uint64_t)0 - 2000000);
	guest_write(&g.v, MODEL_PMINTENSET, CYCLE_BIT);
	guest_write(&g.v, MODEL_PMCNTENSET, CYCLE_BIT);
	guest_write(&g.v, MODEL_PMCR, MODEL_PMCR_E | MODEL_PMCR_LC);
	assert_int_equal(vpmu_vcpu_enter(&g.v, 0), 0);
	work(&g);
	assert_int_equal(vpmu_vcpu_exit(&g.v, 0), 0);
	assert_int_equal(vpmu_vcpu_interrupt(&g.v), 1);
	assert_true(guest_read(&g.v, MODEL_PMCCNTR) < BIT(40));
	assert_int_equal(vpmu_vcpu_put(&g.v), 0);
	vpmu_perf_source_fini(&source);
}

static void fake_work(struct lone_guest *g)
{
	(void)g;
	execute(4, 1999999);
	assert_int_equal(kicks, 0);
	execute(4, 10);
	assert_int_equal(kicks, 1);
}

static void test_guest(void **state)
{
	(void)state;
	fake_source(put_intel);
	emulated = (struct vpmu_emulated){ 0 };
	kicks = 0;
	run_guest(config_of(&kernel.system), fake_work);
	nothing_is_open();
}

/* ---- This kernel's own events: software ones, whose type is 1 ---- */

#define TASK_CLOCK "config=0x1\n"

static struct vpmu_perf_system linux_system;

static void put_software(const char *name)
{
	put_pmu(name, "type", "1\n");
	put_pmu(name, "cpus", "0-1023\n");
	put_pmu(name, "format/event", "config:0-63\n");
	put_pmu(name, "events/cpu-cycles", TASK_CLOCK);
}

static void put_one_software(void)
{
	put_software("core_a");
}

static void put_two_software(void)
{
	put_software("core_a");
	put_software("core_b");
}

static struct vpmu_perf_config real_source(void (*put_host)(void))
{
	struct vpmu_perf_config config = config_of(&linux_system);
	enum vpmu_perf_error error;

	linux_system = vpmu_perf_linux;
	put_host();
	assert_int_equal(find(), VPMU_PERF_OK);
	error = vpmu_perf_host_probe(&host, &linux_system);
	if (error) {
		print_message("skipped: this kernel gives no software events: %s\n",
			      vpmu_perf_strerror(error));
		skip();
	}
	/* An ordinary user may count user mode only; a clock does not mind. */
	host.user_only = false;
	config.count_host = true;
	assert_int_equal(start_source(&config), VPMU_PERF_OK);
	return config;
}

static struct vpmu_event clock_event(void)
{
	struct vpmu_event e = meaning(VPMU_MEANS_CYCLES);

	e.kernel = !geteuid();
	return e;
}

static uint64_t thread_time(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* In user mode, but for looking at the clock: elsewhere an ordinary user's events do not overflow. */
static void burn(uint64_t nanoseconds)
{
	uint64_t end = thread_time() + nanoseconds;

	while (thread_time() < end) {
		for (volatile unsigned int i = 0; i < 20000; i++)
			;
	}
}

static void near(uint64_t n, uint64_t expected, uint64_t tolerance)
{
	assert_in_range(n, expected - tolerance, expected + tolerance);
}

static void test_real_counting(void **state)
{
	struct vpmu_event e = clock_event();
	struct vpmu_count c;
	uint64_t value, before, after;

	(void)state;
	(void)real_source(put_one_software);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	before = thread_time();
	burn(20000000);
	c = ops->read(src(), 0);
	after = thread_time();
	near(c.value, after - before, 3000000);
	assert_true(c.enabled == c.running);
	near(c.enabled, c.value, 3000000);
	ops->stop(src(), 0);
	value = value_of(0);
	burn(5000000);
	assert_true(value_of(0) == value);
	ops->move(src(), 0, 33);
	assert_int_equal(ops->start(src(), 33), 0);
	burn(5000000);
	c = ops->read(src(), 33);
	near(c.value, value + 5000000, 3000000);
	assert_true(c.enabled == c.running);
	vpmu_perf_source_fini(&source);
}

static void test_real_sum(void **state)
{
	struct vpmu_event e = clock_event();
	struct vpmu_perf_config config;
	struct vpmu_perf_reading r[2];

	(void)state;
	config = real_source(put_two_software);
	assert_int_equal(source.pmus, 2);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	burn(20000000);
	ops->stop(src(), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(config.system->read(config.system, source.slot[0].fd[i], &r[i],
						     sizeof(r[i])), sizeof(r[i]));
	near(r[0].value, 20000000, 5000000);
	assert_true(value_of(0) == r[0].value + r[1].value);
	vpmu_perf_source_fini(&source);
}

static unsigned int handled;

static void count_kick(void *context)
{
	kick(context);
	handled++;
}

static void test_real_overflow(void **state)
{
	struct vpmu_event e = clock_event();
	struct vpmu_perf_config config;
	uint64_t count;

	(void)state;
	config = real_source(put_one_software);
	config.kick = count_kick;
	handled = 0;
	assert_int_equal(start_source(&config), VPMU_PERF_OK);
	assert_int_equal(vpmu_perf_signal_init(config.signal), 0);
	vpmu_perf_signal_target(&source);
	atomic_store(&vcpu.in_guest, true);
	e.period = 1000000;
	assert_int_equal(ops->create(src(), 6, &e), 0);
	burn(50000000);
	/* The clock's ticks may be late and few on a busy machine, never early or many. */
	count = ops->read(src(), 6).value;
	assert_in_range(handled, 1, count / e.period + 1);
	assert_true(hints() == BIT(6));
	/* Another period from now on; then none. */
	assert_int_equal(ops->period(src(), 6, 10000000), 0);
	handled = 0;
	burn(50000000);
	assert_in_range(handled, 1, (ops->read(src(), 6).value - count) / 10000000 + 1);
	assert_int_equal(ops->period(src(), 6, 0), 0);
	handled = 0;
	burn(20000000);
	assert_int_equal(handled, 0);
	/* After a move it is the other slot's. */
	ops->stop(src(), 6);
	(void)hints();
	ops->move(src(), 6, 7);
	assert_int_equal(ops->start(src(), 7), 0);
	assert_int_equal(ops->period(src(), 7, 1000000), 0);
	burn(10000000);
	assert_true(hints() == BIT(7));
	vpmu_perf_source_fini(&source);
	vpmu_perf_signal_target(NULL);
}

/* The signal goes to the vCPU's thread, whoever else could take it. */
static pthread_t main_thread;
static unsigned int elsewhere;

static void kick_of_thread(void *context)
{
	kick(context);
	elsewhere += !pthread_equal(pthread_self(), main_thread);
}

static void *vcpu_thread(void *argument)
{
	struct vpmu_perf_config *config = argument;
	struct vpmu_event e = clock_event();

	config->kick = kick_of_thread;
	assert_int_equal(start_source(config), VPMU_PERF_OK);
	vpmu_perf_signal_target(&source);
	atomic_store(&vcpu.in_guest, true);
	e.period = 1000000;
	assert_int_equal(ops->create(src(), 0, &e), 0);
	burn(20000000);
	vpmu_perf_source_fini(&source);
	vpmu_perf_signal_target(NULL);
	return NULL;
}

static void test_real_thread(void **state)
{
	struct vpmu_perf_config config;
	pthread_t thread;

	(void)state;
	config = real_source(put_one_software);
	assert_int_equal(vpmu_perf_signal_init(config.signal), 0);
	main_thread = pthread_self();
	elsewhere = 0;
	assert_int_equal(pthread_create(&thread, NULL, vcpu_thread, &config), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(elsewhere >= 5 && elsewhere == kicks);
}

/* With no room to queue signals the kernel sends SIGIO, which would end the process. */
static void test_real_queue_full(void **state)
{
	struct vpmu_event e = clock_event();
	struct rlimit old, none;
	struct vpmu_perf_config config;

	(void)state;
	config = real_source(put_one_software);
	assert_int_equal(vpmu_perf_signal_init(config.signal), 0);
	vpmu_perf_signal_target(&source);
	assert_int_equal(getrlimit(RLIMIT_SIGPENDING, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &none), 0);
	e.period = 1000000;
	assert_int_equal(ops->create(src(), 8, &e), 0);
	burn(10000000);
	assert_true(hints() == BIT(8));
	assert_int_equal(setrlimit(RLIMIT_SIGPENDING, &old), 0);
	vpmu_perf_source_fini(&source);
	vpmu_perf_signal_target(NULL);
}

static void test_real_no_files(void **state)
{
	struct vpmu_event e = clock_event();
	struct rlimit old, few;
	int lowest;

	(void)state;
	(void)real_source(put_one_software);
	lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(lowest >= 0);
	assert_int_equal(close(lowest), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ (rlim_t)lowest, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(ops->create(src(), 0, &e), -1);
	assert_int_equal(source.error, VPMU_PERF_NO_FILES);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(ops->create(src(), 0, &e), 0);
	vpmu_perf_source_fini(&source);
	/* Closed: the lowest is free again. */
	assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), lowest);
	assert_int_equal(close(lowest), 0);
}

static void real_work(struct lone_guest *g)
{
	(void)g;
	for (unsigned int i = 0; i < 1000 && !kicks; i++)
		burn(100000);
	assert_true(kicks);
}

static void test_real_guest(void **state)
{
	struct vpmu_perf_config config;

	(void)state;
	config = real_source(put_one_software);
	if (geteuid() != 0) {
		print_message("skipped: an ordinary user's guest has no kernel mode to count in\n");
		skip();
	}
	assert_int_equal(vpmu_perf_signal_init(config.signal), 0);
	vpmu_perf_signal_target(&source);
	emulated = (struct vpmu_emulated){ 0 };
	kicks = 0;
	run_guest(config, real_work);
	vpmu_perf_signal_target(NULL);
}

#define WITH_ROOT(f) cmocka_unit_test_setup_teardown(f, fresh, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROOT(test_no_pmu),
		WITH_ROOT(test_one_pmu),
		WITH_ROOT(test_hybrid_names),
		WITH_ROOT(test_too_many_kinds),
		WITH_ROOT(test_rubbish_files),
		WITH_ROOT(test_more_names_than_fit),
		WITH_ROOT(test_encodings),
		WITH_ROOT(test_attributes),
		WITH_ROOT(test_hybrid_encodings),
		WITH_ROOT(test_sentences),
		WITH_ROOT(test_probe),
		WITH_ROOT(test_life_of_an_event),
		WITH_ROOT(test_reads_cost_a_call),
		WITH_ROOT(test_supports),
		WITH_ROOT(test_no_interrupts),
		WITH_ROOT(test_overflows),
		WITH_ROOT(test_setup_of_signals),
		WITH_ROOT(test_contention),
		WITH_ROOT(test_starvation),
		WITH_ROOT(test_failing_calls),
		WITH_ROOT(test_failing_calls_shown),
		WITH_ROOT(test_failing_calls_hybrid),
		WITH_ROOT(test_move),
		WITH_ROOT(test_cheap_reads),
		WITH_ROOT(test_page_width),
		WITH_ROOT(test_hybrid_sum),
		WITH_ROOT(test_hybrid_skew),
		WITH_ROOT(test_hybrid_shares),
		WITH_ROOT(test_pinned_to_one_kind),
		WITH_ROOT(test_forced_migration),
		WITH_ROOT(test_guest),
		WITH_ROOT(test_real_counting),
		WITH_ROOT(test_real_sum),
		WITH_ROOT(test_real_overflow),
		WITH_ROOT(test_real_thread),
		WITH_ROOT(test_real_queue_full),
		WITH_ROOT(test_real_no_files),
		WITH_ROOT(test_real_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
