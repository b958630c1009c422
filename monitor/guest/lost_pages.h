/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_MONITOR_GUEST_LOST_PAGES_H
#define CELLVISOR_MONITOR_GUEST_LOST_PAGES_H

/*
 * Pages of guest RAM that were lost to uncorrected memory errors. A thread "mce" is told of
 * errors that nobody has met yet (PR_MCE_KILL_EARLY); vCPUs bring those that they met. Each page
 * is healed if a source has a good copy of it (faultcontain/memory_error.h decides); one that
 * can't be healed stays poisoned, so that nobody ever reads wrong bytes, until the guest is reset.
 */

#include "faultcontain/memory_error.h"
#include "monitor/err.h"
#include "monitor/guest/view.h"

#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/* Something that knows what pages contain. */
struct good_copy_source {
	const char *name; /* as in "healed from ..." */
	/*
	 * Writes the RAM_PAGE_BYTES bytes that the guest has to find at offset `off` of its RAM.
	 * 0; -ENODATA if it does not know, or another negative errno. Called with the page lost,
	 * one thread at a time, any thread.
	 */
	int (*good_copy)(void *ctx, uint64_t off, void *page);
	void *ctx; /* borrowed */
};

#define GOOD_COPY_SOURCES_MAX 4u

struct lost_pages_env {
	/* There is news for lost_pages_next(). Any thread; must not wait. */
	void (*news)(void *ctx);
	/* Nobody has used the page yet, and it can't be healed: tell the guest. Thread "mce". */
	void (*tell)(void *ctx, const struct memory_error *m);
	void *ctx; /* borrowed */
};

struct lost_pages {
	struct lost_pages_env env;
	const struct views *views; /* borrowed */
	struct good_copy_source sources[GOOD_COPY_SOURCES_MAX];
	uint32_t source_count;
	int pagemap_fd; /* owned; -1: frames are not known */
	int uffd;	/* owned; -1: nothing is healed */
	pthread_mutex_t lock;
	struct memory_errors book;
	pthread_t thread;
	bool thread_runs;
};

/*
 * `heal`: pages are replaced under a running guest, for which userfaultfd is needed. With the
 * privileges of the start, as it opens what is refused later. 0, or a negative errno with *e.
 */
int lost_pages_init(struct lost_pages *l, const struct views *views, bool heal,
	const struct lost_pages_env *env, struct err *e);
void lost_pages_fini(struct lost_pages *l);

/* Before lost_pages_start(). */
void lost_pages_source(struct lost_pages *l, const struct good_copy_source *source);

/* Starts the thread. 0, or a negative errno with *e. */
int lost_pages_start(struct lost_pages *l, struct err *e);

/* Ends it; false if it hangs for `ms` milliseconds: then only the end of the process is left. */
bool lost_pages_end(struct lost_pages *l, int ms);

/* A SIGBUS: the page of 2^lsb bytes at `hva` is lost. */
struct page_loss {
	const void *hva;
	unsigned lsb;
	uint32_t vcpu; /* that wants it; MEMORY_ERROR_NOBODY */
};

/*
 * Enters the loss, heals the page if it can, and fills *m with how it stands: MEMORY_ERROR_HEALED
 * also for late news of a page that has been replaced already. False if the address
 * is not guest RAM. Any thread.
 */
bool lost_pages_met(struct lost_pages *l, const struct page_loss *loss, struct memory_error *m);

/* How it ended with the page lost at `off`. Any thread. */
void lost_pages_settle(struct lost_pages *l, uint64_t off, enum memory_error_end end);

/*
 * For a reset: a fresh page of zeroes instead of each that is still lost. No vCPU runs, no device
 * works. 0 or -errno.
 */
int lost_pages_renew(struct lost_pages *l);

/* The next record that is new or has changed, with the number of all; false if there is none. */
bool lost_pages_next(struct lost_pages *l, struct memory_error *m, uint64_t *total);
/* It has been passed on, as it is in *m. */
void lost_pages_passed(struct lost_pages *l, const struct memory_error *m);

uint64_t lost_pages_total(struct lost_pages *l);
/* All records, oldest first. A new reference or NULL. */
json_t *lost_pages_show(struct lost_pages *l);

#endif
