/* SPDX-License-Identifier: MIT */
/* The guest of the embedding: 64-bit code that owns its machine, and the tables it starts with. */
#ifndef VPMU_EXAMPLES_GUEST_H
#define VPMU_EXAMPLES_GUEST_H

#include <stdint.h>

struct kvm_regs;
struct kvm_sregs;

#define GUEST_MEMORY 0x20000u
#define APIC_AT 0xfee00000u
/* Ports it reports to, 32 bits each: its loop by its PMU and by its TSC; samples it took. */
#define PORT_CYCLES 0x10u
#define PORT_TSC 0x11u
#define PORT_SAMPLES 0x12u
#define GUEST_PORTS 3u

/* Puts it into (memory), and its registers into what KVM has at reset. */
void guest_load(uint8_t *memory, struct kvm_regs *regs, struct kvm_sregs *sregs);

#endif
