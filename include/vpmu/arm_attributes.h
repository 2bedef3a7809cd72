/* SPDX-License-Identifier: MIT */
/*
 * vpmu/arm_attributes.h - how a VMM describes the PMU of an Arm guest: the vCPU device attributes of group
 * KVM_ARM_VCPU_PMU_V3_CTRL (Linux uapi, arm64) with the same numbers, structures, order of checks and
 * errnos, and what heterogeneous machines need beyond them.
 *
 * Where Linux's documentation and code differ, this is the code: SET_NR_COUNTERS needs no SET_PMU and is
 * refused only on a vCPU that is initialised; FILTER never says ENXIO; padding is not looked at. That INIT finds
 * the interrupt owned by somebody else (EEXIST) is for the interrupt controller's owner to check.
 *
 * A VM is described here before it runs: vpmu_arm_attributes_model() and _policy() go into
 * vpmu_arm_vm_init(). With the first vpmu_arm_attributes_run() that succeeds the description is final. (The code
 * lets SET_NR_COUNTERS through after it, on a vCPU that is not initialised; so does this, but what the guest was
 * shown stays.)
 *
 * Errors of vpmu_arm_attribute_*() are negated Linux errnos, VPMU_LINUX_..., not VPMU_ERR_ codes.
 */
#ifndef VPMU_ARM_ATTRIBUTES_H
#define VPMU_ARM_ATTRIBUTES_H

#include <vpmu/arm.h>

enum vpmu_linux_errno {
	VPMU_LINUX_ENXIO = 6,
	VPMU_LINUX_EFAULT = 14,
	VPMU_LINUX_EBUSY = 16,
	VPMU_LINUX_ENODEV = 19,
	VPMU_LINUX_EINVAL = 22,
};

/* Attributes, KVM_ARM_VCPU_PMU_V3_... */
enum vpmu_arm_attribute {
	VPMU_ARM_ATTR_IRQ = 0,             /* int32_t: INTID of a PPI or SPI */
	VPMU_ARM_ATTR_INIT = 1,            /* nothing */
	VPMU_ARM_ATTR_FILTER = 2,          /* struct vpmu_arm_filter_range */
	VPMU_ARM_ATTR_SET_PMU = 3,         /* int32_t: perf type of a physical PMU */
	VPMU_ARM_ATTR_SET_NR_COUNTERS = 4, /* uint32_t */
};

/* struct kvm_pmu_event_filter of arm64. */
struct vpmu_arm_filter_range {
	uint16_t base_event;
	uint16_t nevents;
	uint8_t action;              /* 0 allow, 1 deny */
	uint8_t pad[3];
};

#define VPMU_ARM_CPUS_MAX 256u

struct vpmu_arm_cpus {
	uint64_t mask[VPMU_ARM_CPUS_MAX / 64];
};

/* A kind of physical PMU and the CPUs that have it. Does not change once it is registered. */
struct vpmu_arm_pmu {
	int32_t type;                /* perf's dynamic type, > 0 */
	struct vpmu_arm_cpus cpus;
	struct vpmu_arm_model model; /* what a guest could be shown of it */
};

#define VPMU_ARM_PMUS_MAX 8u

/* The machine's PMUs, as their drivers are found: in any order, late or never. */
struct vpmu_arm_pmus {
	_Atomic uint32_t count;
	const struct vpmu_arm_pmu *pmu[VPMU_ARM_PMUS_MAX];
};

/* How a VM relates to machines with more than one kind of PMU. */
enum vpmu_arm_placement {
	VPMU_ARM_ONE_PMU,            /* the chosen PMU; once chosen explicitly, no other CPU may run it */
	/*
	 * What all PMUs have that are known when the VM first runs: any CPU with one of them, or one that came
	 * later and has all of it. Common events and counters; the cycle counter alone.
	 */
	VPMU_ARM_COMMON,
	VPMU_ARM_FIXED_ONLY,
};

#define VPMU_ARM_EVENT_WORDS (VPMU_POLICY_EVENTS / 64u)

/* Of one VM. */
struct vpmu_arm_attributes {
	const struct vpmu_arm_pmus *pmus;
	enum vpmu_arm_placement placement;
	bool irqchip;                /* the interrupt controller is emulated by the hypervisor */
	bool irqchip_ready;          /* and initialised: set it when it is */
	bool ran;
	bool restricted;             /* SET_PMU: with VPMU_ARM_ONE_PMU only its CPUs */
	bool filtered;
	bool shown;                  /* to a guest: (shape) */
	struct vpmu_arm_model shape;
	const struct vpmu_arm_pmu *chosen;
	uint32_t counters;           /* PMCR.N */
	bool lowered;                /* the guest's PMUVer is (pmuver), not that of the PMU */
	uint8_t pmuver;
	int32_t ppi;                 /* what all vCPUs use; 0: none yet, or an SPI each */
	uint8_t spi[1020 / 8 + 1];   /* INTIDs in use */
	uint64_t allowed[VPMU_ARM_EVENT_WORDS];
	struct vpmu_policy policy;   /* over (allowed) */
};

/* Of one vCPU. */
struct vpmu_arm_vcpu_attributes {
	struct vpmu_arm_attributes *vm;
	bool has_pmu;                /* created with the feature KVM_ARM_VCPU_PMU_V3 */
	bool created;
	int32_t irq;                 /* 0: not set */
	uint32_t refused_cpu;        /* of the last vpmu_arm_attributes_run() that refused */
};

/*
 * vpmu_arm_pmus_init(), vpmu_arm_pmus_add() - an empty list; one more kind of PMU, which must outlive it.
 * returns: 0; VPMU_ERR_LIMIT: the list is full; VPMU_ERR_PARAM: its type is there, it is not positive, or a CPU
 * of it has one already. Context: [init]; add also [machine], one caller at a time.
 */
VPMU_API void vpmu_arm_pmus_init(struct vpmu_arm_pmus *pmus);
VPMU_API int vpmu_arm_pmus_add(struct vpmu_arm_pmus *pmus, const struct vpmu_arm_pmu *pmu);

/*
 * vpmu_arm_attributes_init() - nothing chosen yet. Context: [init].
 * returns: 0; VPMU_ERR_PARAM: unknown placement.
 */
VPMU_API int vpmu_arm_attributes_init(struct vpmu_arm_attributes *a,
				      const struct vpmu_arm_pmus *pmus,
				      enum vpmu_arm_placement placement, bool irqchip);

/*
 * vpmu_arm_vcpu_attributes_init() - KVM_ARM_VCPU_INIT of a vCPU, with the PMU feature (has_pmu), by a thread
 * on CPU (cpu). The first one makes that CPU's PMU the VM's default.
 * returns: 0; -VPMU_LINUX_EINVAL: the feature, and that CPU has no PMU that is known yet (ENODEV for KVM's
 * capability: vpmu_arm_pmus.count is 0). Context: [vm], one caller per VM.
 */
VPMU_API int vpmu_arm_vcpu_attributes_init(struct vpmu_arm_vcpu_attributes *v,
					   struct vpmu_arm_attributes *a, bool has_pmu,
					   uint32_t cpu);

/*
 * vpmu_arm_attribute_set(), _get(), _has() - KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR.
 * (data) is what the attribute's address points to, copied from user space by the caller; NULL: it could
 * not be read (EFAULT).
 * returns: 0, or a negated errno. Nothing is changed by an error.
 * Context: [vm], one caller per VM.
 */
VPMU_API int vpmu_arm_attribute_set(struct vpmu_arm_vcpu_attributes *v, uint64_t attribute,
				    const void *data);
VPMU_API int vpmu_arm_attribute_get(const struct vpmu_arm_vcpu_attributes *v, uint64_t attribute,
				    int32_t *irq);
VPMU_API int vpmu_arm_attribute_has(const struct vpmu_arm_vcpu_attributes *v, uint64_t attribute);

/* KVM_EXIT_FAIL_ENTRY, KVM_EXIT_FAIL_ENTRY_CPU_UNSUPPORTED: v->refused_cpu may not run the vCPU. */
#define VPMU_ARM_FAIL_ENTRY 1

/*
 * vpmu_arm_attributes_run() - the vCPU is about to run on CPU (cpu).
 * returns: 0: it may; VPMU_ARM_FAIL_ENTRY: not on this CPU, move it and try again; -VPMU_LINUX_EINVAL: its
 * PMU is not initialised, or its interrupt does not fit the interrupt controller.
 * Context: [vm], one caller per VM for the first call; later ones [vcpu].
 */
VPMU_API int vpmu_arm_attributes_run(struct vpmu_arm_vcpu_attributes *v, uint32_t cpu);

/*
 * vpmu_arm_attributes_set_pmcr() - KVM_SET_ONE_REG of PMCR_EL0 before the first run: a smaller N becomes the
 * VM's. Other values, and late ones, are ignored, as Linux does. Context: [vm].
 */
VPMU_API void vpmu_arm_attributes_set_pmcr(struct vpmu_arm_attributes *a, uint64_t pmcr);

/*
 * vpmu_arm_attributes_set_pmuver() - KVM_SET_ONE_REG of ID_AA64DFR0_EL1, as far as its PMUVer (pmuver) goes: the
 * guest's version is that, or what a PMU chosen later has, if that is less. 0xF (IMPDEF) becomes 0: the guest is
 * shown no PMU.
 * returns: 0; -VPMU_LINUX_EBUSY: a vCPU has run, and it is another; -VPMU_LINUX_EINVAL: above what there is.
 * Context: [vm], one caller per VM.
 */
VPMU_API int vpmu_arm_attributes_set_pmuver(struct vpmu_arm_attributes *a, uint32_t pmuver);

/*
 * vpmu_arm_attributes_model() - the guest's PMU. returns: 0; VPMU_ERR_UNSUPPORTED: no PMU is known, the guest is
 * shown none, or with VPMU_ARM_ONE_PMU none is chosen. Context: [vm].
 */
VPMU_API int vpmu_arm_attributes_model(const struct vpmu_arm_attributes *a,
				       struct vpmu_arm_model *model);

/* vpmu_arm_attributes_policy() - its filter, NULL if there is none; lives in (a). Context: [vm]. */
VPMU_API const struct vpmu_policy *vpmu_arm_attributes_policy(const struct vpmu_arm_attributes *a);

#endif
