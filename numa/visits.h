/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_NUMA_VISITS_H
#define CELLVISOR_NUMA_VISITS_H

/*
 * vCPUs that run on CPUs of another cell: what a guest's home and the host of the
 * vCPU agree upon. Pure. A visit is decided by the home, granted by the host, and
 * ended by the home; docs/numa-policies.md has the rules.
 *
 *   home: ask (id) ------------------------> host: judges, notes the visitor
 *   home: notes the need, binds the vCPU <-- granted
 *   home: end (id), again until answered --> host: strikes the visitor
 *   home: binds the vCPU, strikes the need <-- ended
 *   either monitor replaced: the home announces all its visits there; that replaces
 *   what the host knew of it
 *
 * A vCPU comes back only when the host has answered: of a host that is silent nobody
 * knows what became of what ran there, so the guest goes on needing it.
 *
 * The home's book is the one that counts: it says which cells a guest needs. The
 * host's tells it what its CPUs carry. Ids rise within a life of the home, and the
 * host takes none that is not above the last one that it saw of it, so that a
 * message that comes late or twice changes nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VISIT_NAME_BYTES 33u /* with the terminating 0 */
#define VISITS_CELLS_MAX 64u
#define VISITS_MAX 512u	  /* vCPUs of one home that are away, or on their way */
#define VISITORS_MAX 512u /* that one host takes */
#define VISITS_LIST_MAX 512u
#define VISITS_CPUS_MAX 2048u

/* --- messages --- */

enum visit_op {
	VISIT_ASK = 1,
	VISIT_END,
};

struct visit_msg {
	enum visit_op op;
	bool force; /* ASK: an operator wants it; the load is no reason to refuse */
	uint64_t id;
	uint32_t vcpu, cpu; /* cpu: the operating system's number */
	char name[VISIT_NAME_BYTES];
};
#define VISIT_MSG_BYTES 56u

void visit_encode(const struct visit_msg *m, uint8_t body[VISIT_MSG_BYTES]);
/* false: not a message of ours; *m is then undefined. Names are printable, without '/'. */
bool visit_decode(const uint8_t *body, size_t bytes, struct visit_msg *m);

enum visit_answer {
	VISIT_GRANTED = 1,
	VISIT_ENDED,
	VISIT_STALE,   /* an id that was seen already */
	VISIT_FULL,    /* it takes no more */
	VISIT_BUSY,    /* that CPU has something to run */
	VISIT_NO_CPU,  /* no such CPU in that cell, or it is offline */
	VISIT_NOT_NOW, /* it goes down, or is in a recovery */
	VISIT_ANSWER_COUNT,
};
#define VISIT_ANSWER_BYTES 4u
void visit_answer_encode(enum visit_answer answer, uint8_t body[VISIT_ANSWER_BYTES]);
bool visit_answer_decode(const uint8_t *body, size_t bytes, enum visit_answer *answer);
/* In words; never NULL. */
const char *visit_answer_text(enum visit_answer answer);

/* Loads: vCPUs that can run, by CPU of the sender's cell in ascending order. */
#define LOADS_BYTES_MAX (4u + 2u * VISITS_CPUS_MAX)
struct loads_cpu {
	uint16_t runnable; /* up to LOADS_MAX */
	bool usable;
};
#define LOADS_MAX 0x7fffu
/* Returns the bytes written. `count` is at most VISITS_CPUS_MAX. */
size_t loads_encode(const struct loads_cpu *cpus, uint32_t count, uint8_t body[LOADS_BYTES_MAX]);
/* `count` is how many CPUs that cell has: any other number is refused. */
bool loads_decode(const uint8_t *body, size_t bytes, struct loads_cpu *cpus, uint32_t count);

/* --- home --- */

enum visit_state {
	VISIT_FREE,
	VISIT_ASKING,
	VISIT_THERE,
	VISIT_LEAVING, /* the same, but it is to come back: the END is to be answered first */
	VISIT_ENDING,  /* the vCPU is not there, but the host may think so */
};

struct visit {
	enum visit_state state;
	uint64_t id;
	uint32_t host, vcpu, cpu;
	uint64_t sent_ns; /* END, 0: not yet */
	bool open;	  /* an END is being answered */
	char name[VISIT_NAME_BYTES];
};

struct visits {
	uint64_t next_id;
	uint32_t end; /* all rows from here on are free, and always were */
	struct visit rows[VISITS_MAX];
};

void visits_init(struct visits *v);

/* NULL: this vCPU is neither there nor about to be. */
struct visit *visits_find(struct visits *v, const char *name, uint32_t vcpu);

/* Begins a visit; NULL: the book is full, or this vCPU is away or about to be. */
struct visit *visits_ask(
	struct visits *v, uint32_t host, const char *name, uint32_t vcpu, uint32_t cpu);

/*
 * The answer to an ask; `heard` is false when it was lost. True: the visit may
 * begin, and counts as there from now on. A lost answer is as bad as a grant that
 * nobody uses: the visit is ended.
 */
bool visits_answered(struct visits *v, uint64_t id, bool heard, enum visit_answer answer);

/* The vCPU is to come back: its END is to be sent. False: it is not there. */
bool visits_leave(struct visits *v, const char *name, uint32_t vcpu);
/* The vCPU does not run there, although it was granted. */
void visits_cancel(struct visits *v, const char *name, uint32_t vcpu);
/* The same for all vCPUs of a guest, which has ended. */
void visits_forget(struct visits *v, const char *name);

/* An END that is to be sent to `host` now (again after retry_ns): NULL if there is none. */
struct visit *visits_due(struct visits *v, uint32_t host, uint64_t now_ns, uint64_t retry_ns);
/*
 * The answer to an END, or that it was lost. True: the vCPU may come back now, the
 * visit is over.
 */
bool visits_ended(struct visits *v, uint64_t id, bool heard);

/*
 * What a new monitor of the home makes of a vCPU: of what was written down of it before a visit
 * began and until it had ended (its guest's ledger), and of what the kernel says.
 */
struct visit_finding {
	bool noted;	   /* a visit to `host` is written down */
	bool gone;	   /* that host has died since, or was born anew */
	uint32_t host;	   /* with `noted`: not the home */
	uint32_t home, on; /* on: the one cell whose CPUs it may use; VISITS_CELLS_MAX: not one */
};
enum visit_found {
	VISIT_FOUND_HOME,    /* there is no visit, or none any more */
	VISIT_FOUND_THERE,   /* visits_adopt() */
	VISIT_FOUND_UNCLEAR, /* the same, and visits_leave(): its host may have a part of it */
	VISIT_FOUND_STRAY,   /* no visit began, others have moved it: it is to be bound at home */
	VISIT_FOUND_LOST,    /* it may have been on what is gone: its guest has to end */
};
enum visit_found visits_judge(const struct visit_finding *f);

/* A vCPU that was found there by a new monitor of its home. NULL: the book is full. */
struct visit *visits_adopt(
	struct visits *v, uint32_t host, const char *name, uint32_t vcpu, uint32_t cpu);

/*
 * That cell is dead: nothing of it is asked for any more. The guests whose vCPUs were
 * there end with it: visits_forget() then.
 */
void visits_dead(struct visits *v, uint32_t host);

/* The cells that the guest needs for its vCPUs, ascending. Returns how many. */
uint32_t visits_needs(const struct visits *v, const char *name, uint32_t cells[VISITS_CELLS_MAX]);

/*
 * Is the host to answer something? An announcement waits for that, for it would
 * contradict what is under way.
 */
bool visits_open(const struct visits *v, uint32_t host);

/* All visits that the host has to know of; returns bytes, VISITS_LIST_BYTES_MAX at most. */
#define VISITS_LIST_BYTES_MAX (16u + VISITS_LIST_MAX * VISIT_MSG_BYTES)
size_t visits_announce(const struct visits *v, uint32_t host, uint8_t *body);

/* --- host --- */

struct visitor {
	uint32_t home, vcpu, cpu;
	uint64_t id;
	char name[VISIT_NAME_BYTES];
};

struct visitors {
	uint64_t life[VISITS_CELLS_MAX]; /* of each home that last_id is of */
	uint64_t last_id[VISITS_CELLS_MAX];
	struct visitor rows[VISITORS_MAX];
	uint32_t count;
};

/* What the host knows of the CPU that is asked for. */
struct visit_room {
	bool ours, usable; /* a CPU of this cell; online */
	uint32_t runnable; /* of its own guests there */
	bool not_now;
};

/* A message of that life of a home, judged and done. */
enum visit_answer visitors_take(struct visitors *v, uint32_t home, uint64_t life,
	const struct visit_msg *m, const struct visit_room *room);

/*
 * An announcement. false: not one, nothing is changed. Visitors on CPUs that are
 * not of this cell (`cpus`: ascending list) are a lie, too.
 */
bool visitors_announced(struct visitors *v, uint32_t home, uint64_t life, const uint8_t *body,
	size_t bytes, const uint32_t *cpus, uint32_t cpu_count);

/* That cell is dead, and its guests with it. */
void visitors_dead(struct visitors *v, uint32_t home);

uint32_t visitors_on(const struct visitors *v, uint32_t cpu);

#endif
