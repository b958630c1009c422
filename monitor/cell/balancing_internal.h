/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_CELL_BALANCING_INTERNAL_H
#define CELLVISOR_MONITOR_CELL_BALANCING_INTERNAL_H

/* Shared by the files of the balancing alone. */

#include "monitor/cell/balancing.h"
#include "monitor/cell/binder.h"
#include "monitor/cell/state.h"
#include "numa/balance_round.h"
#include "numa/visits.h"

#define BALANCING_MOVES_MAX 32u
#define BALANCING_ASKS_MAX 64u
/* So long after CPUs went or came the kernel is still at it. */
#define HOTPLUG_NS (5000ull * 1000000u)

/* One vCPU thread of a guest of this cell. */
struct bal_vcpu {
	pid_t tid;
	int stat_fd;	     /* owned; its schedstat; -1: not found yet */
	uint64_t sampled_ns; /* when, and what the kernel said then */
	uint64_t busy_ns;    /* of running and of waiting for a CPU */
	uint32_t share;	     /* permille of the time that it could run, smoothed */
	bool runnable;
	uint64_t idle_since_ns;
	struct cpu_set allowed; /* as the kernel said last; of them those that are online */
	bool known;		/* it has said so at all */
	struct cpu_set wanted;	/* what it was given, or found with; online or not */
	bool held;		/* placed by an operator */
	uint32_t home_cpu;	/* where it is to go when its host lets it go */
	uint32_t born;		/* of the cell that it visits: see member_born() */
	uint64_t moved_ns;
	uint64_t moves, visits;
	enum round_reason reason; /* of the last move; ROUND_REASON_COUNT: none, or by hand */
};

struct bal_guest {
	char name[SPEC_NAME_MAX + 1];
	struct proc_id proc;
	uint32_t cpus, found;
	uint32_t cells_max;
	bool gang;
	bool listed;		/* of the round that drops the others */
	bool striking;		/* its process is to strike a visit, then the need ends */
	bool adopted;		/* what a former life of this monitor knew has been taken up */
	struct bal_vcpu *vcpus; /* owned */
	struct bal_guest *next;
};

/* What the process of a guest has kept of its visits, until its threads are found. */
struct bal_record {
	char name[SPEC_NAME_MAX + 1];
	uint32_t count;
	struct ledger_visit visits[SPEC_CPUS_MAX];
	struct bal_record *next;
};

/* A call to a host that is open. */
struct bal_ask {
	struct monitor *m;
	bool used;
	bool end; /* manual: the vCPU is to come back; nothing is open for this slot itself */
	uint64_t id, began_ns;
	uint32_t vcpu, from, to;
	char name[SPEC_NAME_MAX + 1];
	enum round_reason reason;
	bool manual;
	struct asker who; /* manual: gets the answer */
};

/* What is known of another cell's CPUs. */
struct bal_peer {
	bool known;
	struct loads_cpu *cpus; /* owned; in ascending order of its CPUs */
	bool announce;		/* it is to be told our visits there */
};

struct balancing {
	uint64_t tick_ns; /* 0: nothing moves by itself */
	uint64_t next_ns;
	uint64_t quiet_ns; /* until then a new monitor does not know all its guests */
	uint64_t ticks;
	int online_fd;
	struct cpu_set online;
	uint64_t hotplug_ns; /* when that changed last; 0: never */
	struct binder *binder;
	/* Binding takes microseconds; a CPU that hangs would take for ever, and so would we. */
	uint64_t bind_ns;
	struct bal_guest *guests;   /* owned */
	struct bal_record *records; /* owned; none is empty */
	struct visits *visits;	    /* owned, as what follows */
	struct visitors *visitors;
	struct bal_peer peers[CELLS_MAX];
	struct loads_cpu *told; /* what peers know of this cell's CPUs */
	bool tell;		/* ... or not all of them */
	uint16_t foreign[CPU_SET_CPUS];
	uint16_t own[CPU_SET_CPUS]; /* runnable vCPUs of this cell's guests, as counted last */
	uint64_t cpu_busy_ns[CPU_SET_CPUS]; /* when it last had something to run */
	uint64_t cpu_idle_ns[CPU_SET_CPUS];
	void *round; /* owned; memory of a round */
	size_t round_bytes;
	struct bal_ask asks[BALANCING_ASKS_MAX];
	bool busy; /* there may be something to balance: look again soon */
};

/* --- balancing_watch.c: what there is --- */

/* Takes in new guests and threads, drops those that ended. */
void balancing_watch(struct monitor *m, uint64_t now_ns);
void balancing_free_guest(struct bal_guest *g);
/* Measures all vCPUs. `check`: also asks the kernel where they may run. */
void balancing_sample(struct monitor *m, uint64_t now_ns, bool check);
/* Reads which CPUs are online; true if that has changed. */
bool balancing_online(struct balancing *b, uint64_t now_ns);
struct bal_guest *balancing_find(struct balancing *b, const char *name);

/* What a round works on, of the present state; freed by balancing_input_free(). */
struct bal_input {
	struct round_input in;
	struct round_vcpu *vcpus;
	struct round_guest *guests;
	struct bal_vcpu **who; /* by vCPU of the round */
	struct bal_guest **whose;
	uint32_t *numbers;
	uint32_t foreign;
};
void balancing_input(struct monitor *m, uint64_t now_ns, struct bal_input *out);
void balancing_input_free(struct bal_input *i);

uint32_t balancing_cell_of(const struct monitor *m, uint32_t cpu);
/* CPUs that are online and of cells whose state is known to be good. */
void balancing_usable(const struct monitor *m, struct cpu_set *cpus);

/* --- balancing_visits.c: other cells --- */

/*
 * Binds the vCPU to what it gets for `cpu`, and has the kernel confirm it. 0 or -errno.
 */
int balancing_bind(struct monitor *m, struct bal_guest *g, struct bal_vcpu *v, uint32_t cpu,
	bool one, enum round_reason reason);
/* A slot for a call; NULL: too many are open. */
struct bal_ask *balancing_ask_slot(struct monitor *m);
/* Asks the host of to `ask->to` to take the vCPU. 0 or -errno, then the slot is free again. */
int balancing_ask(struct monitor *m, struct bal_ask *ask, bool force);
/* Its host is to let the vCPU go, which will run on `cpu` then. */
bool balancing_leave(struct monitor *m, struct bal_guest *g, uint32_t vcpu, uint32_t cpu);
/* Sends what is due to peers: ends of visits, announcements, loads. */
void balancing_talk(struct monitor *m, uint64_t now_ns);
void balancing_need(struct monitor *m, const struct bal_guest *g);

/* --- balancing_adopt.c: what a former life of this monitor knew --- */

/* Takes up a guest whose threads are all found. */
void balancing_adopt(struct monitor *m, struct bal_guest *g);
/* Drops what is known of guests that are not listed. */
void balancing_tidy_records(struct balancing *b);

#endif
