/* SPDX-License-Identifier: MIT */
/*
 * vpmu run: QEMU with the monitor as its kernel, and the guest beside it. (x86: see x86.c.)
 *
 * The guest's files are handed over by QEMU's guest-loader device: it puts each at an
 * address and adds a node /chosen/module@ADDRESS to the device tree (the multiboot
 * convention of the Xen project, compatible "multiboot,module"), which the monitor reads.
 */
#include "commands.h"
#include "common.h"
#include "console.h"
#include "image.h"
#include "options.h"
#include "places.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct guest {
	const char *kernel;
	const char *initrd; /* NULL: none */
	const char *bootargs;
	bool ours; /* the default guest, which always gives a verdict */
};

/* Of (given), NULL is the default. */
static void choose_guest(struct guest *guest, struct guest given, const struct run_options *o)
{
	const char *append = given.bootargs ? given.bootargs : "";

	guest->ours = !given.kernel && !given.initrd;
	if (given.kernel) {
		guest->kernel = given.kernel;
		guest->initrd = given.initrd;
		guest->bootargs = text("console=ttyAMA0 %s", append);
		return;
	}
	struct default_guest made = place_guest(!o->dry_run);

	guest->kernel = made.kernel;
	guest->initrd = given.initrd ? given.initrd : made.initrd;
	/* A panic ends the guest, and without a verdict: see exit_status(). */
	guest->bootargs = text("console=ttyAMA0 quiet panic=-1 %s", append);
}

/* What the machine emulates faithfully but slowly, and the monitor does not need. */
static const char *cpu_model(const char *cpu)
{
	return strcmp(cpu, "max") != 0 ? cpu : "max,sve=off,sme=off,pauth-impdef=on";
}

/*
 * Under icount everything that could differ between two runs is fixed, so that a result is
 * a number and not a distribution: seeds, the clock of the day, time itself. Instructions
 * can be counted only then.
 */
static void add_machine(struct args *q, const struct run_options *o)
{
	const char *el2 = o->mode == MODE_BARE ? "off" : "on";

	args_add_pair(q, "-M", text("virt,gic-version=3,virtualization=%s,dtb-randomness=%s", el2,
				    o->icount ? "off" : "on"));
	args_add_pair(q, "-cpu", cpu_model(o->cpu));
	args_add_pair(q, "-smp", text("%llu", (unsigned long long)o->cpu_count));
	args_add_pair(q, "-m", text("%lluM", (unsigned long long)(o->memory >> 20)));
	if (!o->icount)
		return;
	args_add_pair(q, "-icount", "shift=1,sleep=off");
	args_add_pair(q, "-seed", "1");
	args_add_pair(q, "-rtc", "base=2024-01-01,clock=vm");
}

/*
 * The console is the PL011 on standard input and output. QEMU's own monitor shares it only
 * when a person asked for that: otherwise a byte of a script's input could reach it.
 */
static void add_devices(struct args *q, const struct run_options *o)
{
	args_add(q, "-nodefaults");
	args_add(q, "-no-user-config");
	args_add(q, "-no-reboot");
	args_add_pair(q, "-display", "none");
	args_add_pair(q, "-chardev", o->interactive ? "stdio,id=console,mux=on,signal=off"
						    : "stdio,id=console");
	args_add_pair(q, "-serial", "chardev:console");
	if (o->interactive)
		args_add_pair(q, "-mon", "chardev=console,mode=readline");
	if (o->semihosting)
		args_add_pair(q, "-semihosting-config", "enable=on,target=native");
	if (o->testdev) {
		args_add_pair(q, "-device", "virtio-serial-device");
		args_add_pair(q, "-device", "virtconsole,chardev=testdev");
		args_add_pair(q, "-chardev", "testdev,id=testdev");
	}
}

static void add_guest_alone(struct args *q, const struct guest *guest)
{
	args_add_pair(q, "-kernel", guest->kernel);
	if (guest->initrd)
		args_add_pair(q, "-initrd", guest->initrd);
	args_add_pair(q, "-append", guest->bootargs);
}

static const char *join(const struct args *words)
{
	const char *all = "";

	for (size_t i = 0; i < words->count; i++)
		all = text("%s%s%s", all, i > 0 ? " " : "", words->list[i]);
	return all;
}

static void add_modules(struct args *q, const struct guest *guest, struct image_layout at)
{
	args_add_pair(q, "-device", text("guest-loader,addr=0x%llx,kernel=%s,bootargs=%s",
					 (unsigned long long)at.kernel,
					 double_commas(guest->kernel),
					 double_commas(guest->bootargs)));
	if (guest->initrd)
		args_add_pair(q, "-device", text("guest-loader,addr=0x%llx,initrd=%s",
						 (unsigned long long)at.initrd,
						 double_commas(guest->initrd)));
}

static void add_monitor(struct args *q, const struct run_options *o, const struct args *words)
{
	args_add_pair(q, "-kernel", o->monitor ? o->monitor : place_monitor());
	if (words->count > 0)
		args_add_pair(q, "-append", join(words));
}

static void add_guest_and_monitor(struct args *q, const struct run_options *o,
				  const struct guest *guest)
{
	struct image_layout at;

	image_place(&at, guest->kernel, guest->initrd, o->memory);
	add_monitor(q, o, &o->words);
	add_modules(q, guest, at);
}

/*
 * All files lie in what becomes the first guest's memory, from where the monitor takes them. Its words
 * say which file is whose, by address.
 */
static void add_guests_and_monitor(struct args *q, const struct run_options *o,
				   const struct guest *guests)
{
	struct image_layout at[VM_MAX];
	struct args words = { .count = 0 };

	for (size_t i = 0; i < o->words.count; i++)
		args_add(&words, o->words.list[i]);
	for (unsigned int i = 0; i < o->vm_count; i++) {
		const struct guest *g = &guests[i];
		uint64_t memory = vm_memory(o->vm, 0);

		if (i == 0)
			image_place(&at[i], g->kernel, g->initrd, memory);
		else
			image_place_after(&at[i], at[i - 1].end, g->kernel, g->initrd, memory);
		vm_words(&words, o->vm, i, &at[i]);
	}
	add_monitor(q, o, &words);
	for (unsigned int i = 0; i < o->vm_count; i++)
		add_modules(q, &guests[i], at[i]);
}

/* The test device ends QEMU with twice the guest's status plus one. */
static int testdev_status(int status)
{
	if (status % 2 == 0)
		die(EXIT_CANNOT, "the guest ended without a status on the test device");
	return status >> 1;
}

static int exit_status(const struct console_result *result, const struct run_options *o,
		       const struct guest *guest)
{
	if (result->timed_out) {
		warn("timeout: the guest did not end within %llu seconds",
		     (unsigned long long)o->timeout);
		return EXIT_TIMEOUT;
	}
	if (result->interrupted)
		return EXIT_INTERRUPTED;
	if (result->failed)
		return EXIT_CANNOT;
	if (result->verdict >= 0)
		return result->verdict;
	if (o->testdev)
		return testdev_status(result->status);
	/* At a terminal a person may have ended QEMU. */
	if (guest->ours && !o->interactive && result->status == 0)
		die(EXIT_CANNOT, "the guest ended without a verdict");
	return result->status;
}

/* The worst verdict of all guests. */
static int several_status(const struct console_result *result, const struct run_options *o,
			  const struct guest *guests)
{
	int worst = -1;

	if (result->timed_out || result->interrupted || result->failed)
		return exit_status(result, o, &guests[0]);
	for (unsigned int i = 0; i < o->vm_count; i++) {
		if (guests[i].ours && o->vm[i].awaited && result->verdicts[i] < 0)
			die(EXIT_CANNOT, "guest %u ended without a verdict", i);
		if (result->verdicts[i] > worst)
			worst = result->verdicts[i];
	}
	return worst >= 0 ? worst : result->status;
}

/* returns: the (status) that the guests gave, unless the profile that was asked for is missing. */
static int report(const struct console_result *result, const struct run_options *o, int status)
{
	const char *monitor = o->monitor ? o->monitor : o->profile.sides ? place_monitor() : NULL;

	if (!o->profile.sides || result->timed_out || result->interrupted || result->failed)
		return status;
	return profile_report(&result->kept, monitor, &o->profile) ? status : EXIT_CANNOT;
}

static struct console_result run_command(const struct args *command, const struct run_options *o)
{
	return console_run(command, o->timeout, o->profile.sides ? profile_marker(&o->profile) : NULL);
}

static int run_several(struct run_options *o)
{
	struct console_result result;
	struct args command = { .count = 0 };
	struct guest guests[VM_MAX];

	o->memory = 0;
	for (unsigned int i = 0; i < o->vm_count; i++) {
		struct guest given = { o->vm[i].kernel, o->vm[i].initrd, o->vm[i].append, false };

		choose_guest(&guests[i], given, o);
		o->memory += vm_memory(o->vm, i);
	}
	args_add(&command, o->qemu ? o->qemu : place_qemu());
	add_machine(&command, o);
	add_devices(&command, o);
	add_guests_and_monitor(&command, o, guests);
	for (size_t i = 0; i < o->qemu_args.count; i++)
		args_add(&command, o->qemu_args.list[i]);
	if (o->dry_run) {
		args_print(&command);
		return 0;
	}
	result = run_command(&command, o);
	return report(&result, o, several_status(&result, o, guests));
}

int vpmu_run(int argc, char **argv)
{
	struct run_options options;
	struct console_result result;
	struct args command = { .count = 0 };
	struct guest guest;

	parse_run_options(&options, argc, argv);
	if (options.arch == ARCH_X86)
		return x86_run(&options);
	if (options.vm_count > 0)
		return run_several(&options);
	choose_guest(&guest, (struct guest){ options.kernel, options.initrd, options.append, false },
		     &options);
	args_add(&command, options.qemu ? options.qemu : place_qemu());
	add_machine(&command, &options);
	add_devices(&command, &options);
	if (options.mode == MODE_MONITOR)
		add_guest_and_monitor(&command, &options, &guest);
	else
		add_guest_alone(&command, &guest);
	for (size_t i = 0; i < options.qemu_args.count; i++)
		args_add(&command, options.qemu_args.list[i]);
	if (options.dry_run) {
		args_print(&command);
		return 0;
	}
	result = run_command(&command, &options);
	return report(&result, &options, exit_status(&result, &options, &guest));
}
