/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/lost_pages.h"

#include "numa/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define END_SIGNAL SIGUSR2
#define LSB_MAX 30u /* the largest huge page */

/* Kernel: admin-guide/mm/pagemap. Of a poisoned page the offset is the frame. */
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_TYPE_BITS 5
#define PAGEMAP_OFFSET_MASK ((1ull << 50) - 1)

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

int lost_pages_init(struct lost_pages *l, const struct views *views, bool heal,
	const struct lost_pages_env *env, struct err *e)
{
	memset(l, 0, sizeof(*l));
	l->env = *env;
	l->views = views;
	l->uffd = heal ? open_uffd() : -1;
	if (heal && l->uffd < 0)
		return err_set(e, EXIT_ENVIRONMENT,
			"healing memory errors needs userfaultfd, with shared memory: %s",
			strerrordesc_np(-l->uffd));
	l->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	CHECK(!pthread_mutex_init(&l->lock, NULL));
	return 0;
}

void lost_pages_fini(struct lost_pages *l)
{
	CHECK(!l->thread_runs);
	pthread_mutex_destroy(&l->lock);
	if (l->pagemap_fd >= 0)
		close(l->pagemap_fd);
	if (l->uffd >= 0)
		close(l->uffd);
}

void lost_pages_source(struct lost_pages *l, const struct good_copy_source *source)
{
	CHECK(l->source_count < GOOD_COPY_SOURCES_MAX);
	l->sources[l->source_count++] = *source;
}

/* --- one page; under the lock --- */

static void note_frame(const struct lost_pages *l, const void *hva, struct memory_error *m)
{
	uint64_t entry;

	if (l->pagemap_fd < 0 ||
		pread(l->pagemap_fd, &entry, sizeof(entry),
			(off_t)((uintptr_t)hva / RAM_PAGE_BYTES * sizeof(entry))) !=
			(ssize_t)sizeof(entry) ||
		!(entry & PAGEMAP_SWAPPED))
		return;
	m->frame = entry >> PAGEMAP_TYPE_BITS & PAGEMAP_OFFSET_MASK;
	m->frame_known = m->frame != 0;
}

static bool good_copy(struct lost_pages *l, struct memory_error *m, void *page)
{
	/* Of a larger page all parts would have to be known; sources know single ones. */
	if (l->uffd < 0 || m->bytes != RAM_PAGE_BYTES)
		return false;
	for (uint32_t i = 0; i < l->source_count; i++) {
		const struct good_copy_source *s = &l->sources[i];

		if (s->good_copy(s->ctx, m->off, page))
			continue;
		snprintf(m->source, sizeof(m->source), "%s", s->name);
		return true;
	}
	return false;
}

static int watch_page(const struct lost_pages *l, uint64_t off, bool on)
{
	for (uint32_t i = 0; i < l->views->count; i++) {
		struct uffdio_register watch = {
			.range = { (uintptr_t)l->views->items[i]->hva + off, RAM_PAGE_BYTES },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};

		if (ioctl(l->uffd, on ? UFFDIO_REGISTER : UFFDIO_UNREGISTER, &watch) < 0)
			return -errno;
	}
	return 0;
}

/* Takes the bad page out of the memfd and, as its mark outlives that, out of every view. */
static int drop_page(const struct lost_pages *l, uint64_t off, uint64_t bytes)
{
	if (fallocate(l->views->memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
		    (off_t)bytes) < 0)
		return -errno;
	for (uint32_t i = 0; i < l->views->count; i++)
		if (madvise(l->views->items[i]->hva + off, bytes, MADV_DONTNEED) < 0)
			return -errno;
	return 0;
}

/*
 * Between the hole and the good copy nobody may see a page of zeroes: whoever wants
 * the page then waits in userfaultfd until it is whole. If the copy fails, the page stays watched
 * and they wait on; the guest has to end.
 */
static int replace_page(const struct lost_pages *l, uint64_t off, const void *page)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)views_main(l->views)->hva + off,
		.src = (uintptr_t)page,
		.len = RAM_PAGE_BYTES,
	};
	int rc = watch_page(l, off, true);

	if (!rc)
		rc = drop_page(l, off, RAM_PAGE_BYTES);
	if (!rc && ioctl(l->uffd, UFFDIO_COPY, &copy) < 0)
		rc = -errno;
	return rc ? rc : watch_page(l, off, false);
}

static void heal(struct lost_pages *l, struct memory_error *m)
{
	uint8_t page[RAM_PAGE_BYTES];
	const struct memory_error_case c = { .good_copy = good_copy(l, m, page) };

	if (memory_error_decide(&c) != MEMORY_ERROR_HEAL)
		return;
	if (replace_page(l, m->off, page)) {
		m->end = MEMORY_ERROR_ENDED;
		return;
	}
	m->end = MEMORY_ERROR_HEALED;
	m->replaced = true;
}

static void enter(struct lost_pages *l, const struct page_loss *loss,
	const struct view_place *place, struct memory_error *m)
{
	unsigned lsb = loss->lsb > LSB_MAX ? LSB_MAX : loss->lsb;

	m->bytes = 1ull << lsb > RAM_PAGE_BYTES ? 1ull << lsb : RAM_PAGE_BYTES;
	m->off = place->off & ~(m->bytes - 1);
	m->gpa = place->gpa.addr & ~(m->bytes - 1);
	m->node_known = place->node_known;
	m->node = place->node;
	note_frame(l, loss->hva, m);
}

/*
 * Is it news of a page that was replaced meanwhile? Two vCPUs may meet the same error, and the
 * guest may have written the fresh page already. A poisoned page can't be read by its memfd.
 */
static struct memory_error *stale(struct lost_pages *l, uint64_t off)
{
	uint8_t byte;

	if (memory_errors_find(&l->book, off) ||
		pread(l->views->memory->fd, &byte, 1, (off_t)off) != 1)
		return NULL;
	return memory_errors_replaced(&l->book, off);
}

bool lost_pages_met(struct lost_pages *l, const struct page_loss *loss, struct memory_error *m)
{
	struct memory_error beyond_the_book = { 0 };
	struct memory_error *in_book;
	struct view_place place;
	bool fresh;

	if (!views_place_of(l->views, loss->hva, &place))
		return false;
	place.off -= place.off % RAM_PAGE_BYTES;
	place.gpa.addr -= place.gpa.addr % RAM_PAGE_BYTES;
	pthread_mutex_lock(&l->lock);
	in_book = stale(l, place.off);
	if (in_book) {
		*m = *in_book;
		m->end = MEMORY_ERROR_HEALED;
		pthread_mutex_unlock(&l->lock);
		return true;
	}
	in_book = memory_errors_take(&l->book, place.off, &fresh);
	if (!in_book)
		in_book = &beyond_the_book;
	if (fresh) {
		enter(l, loss, &place, in_book);
		in_book->vcpu = loss->vcpu;
		heal(l, in_book);
	} else if (loss->vcpu != MEMORY_ERROR_NOBODY && in_book->vcpu == MEMORY_ERROR_NOBODY) {
		in_book->vcpu = loss->vcpu;
		in_book->reported = false;
	}
	*m = *in_book;
	pthread_mutex_unlock(&l->lock);
	l->env.news(l->env.ctx);
	return true;
}

void lost_pages_settle(struct lost_pages *l, uint64_t off, enum memory_error_end end)
{
	struct memory_error *m;

	pthread_mutex_lock(&l->lock);
	m = memory_errors_find(&l->book, off);
	if (m && m->end != end) {
		m->end = end;
		m->reported = false;
	}
	pthread_mutex_unlock(&l->lock);
	l->env.news(l->env.ctx);
}

int lost_pages_renew(struct lost_pages *l)
{
	int rc = 0;

	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->book.count && !rc; i++) {
		struct memory_error *m = &l->book.items[i];

		if (m->replaced)
			continue;
		rc = drop_page(l, m->off, m->bytes);
		m->replaced = !rc;
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* --- the thread --- */

static void *mce_thread(void *arg)
{
	struct lost_pages *l = arg;
	siginfo_t info;
	sigset_t wanted;

	(void)pthread_setname_np(pthread_self(), "mce");
	/* A kernel without memory failure handling has no errors to tell of either. */
	(void)prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGBUS);
	sigaddset(&wanted, END_SIGNAL);
	for (;;) {
		int signum = sigwaitinfo(&wanted, &info);
		struct memory_error m;

		if (signum == END_SIGNAL)
			return NULL;
		if (signum == SIGBUS && info.si_code == BUS_MCEERR_AO) {
			const struct page_loss loss = { info.si_addr, (unsigned)info.si_addr_lsb,
				MEMORY_ERROR_NOBODY };

			if (!lost_pages_met(l, &loss, &m))
				fprintf(stderr,
					"guest: memory error at %p, in the guest process's own "
					"memory, which nobody has used yet\n",
					info.si_addr);
			else if (m.end == MEMORY_ERROR_WAITS || m.end == MEMORY_ERROR_ENDED)
				l->env.tell(l->env.ctx, &m);
		}
	}
}

int lost_pages_start(struct lost_pages *l, struct err *e)
{
	sigset_t blocked, old;
	int rc;

	/* Inherited: no other thread takes the early news, whatever the machine's default is. */
	(void)prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0);
	sigfillset(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	rc = pthread_create(&l->thread, NULL, mce_thread, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(e, EXIT_ENVIRONMENT, "no thread for memory errors: %s",
			strerrordesc_np(rc));
	l->thread_runs = true;
	return 0;
}

bool lost_pages_end(struct lost_pages *l, int ms)
{
	struct timespec until;

	if (!l->thread_runs)
		return true;
	CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_kill(l->thread, END_SIGNAL);
	l->thread_runs = pthread_clockjoin_np(l->thread, NULL, CLOCK_MONOTONIC, &until) != 0;
	return !l->thread_runs;
}

/* --- for the monitor --- */

bool lost_pages_next(struct lost_pages *l, struct memory_error *m, uint64_t *total)
{
	bool found = false;

	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->book.count && !found; i++)
		if (!l->book.items[i].reported) {
			*m = l->book.items[i];
			found = true;
		}
	*total = l->book.total;
	pthread_mutex_unlock(&l->lock);
	return found;
}

void lost_pages_passed(struct lost_pages *l, const struct memory_error *m)
{
	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->book.count; i++) {
		struct memory_error *in_book = &l->book.items[i];

		if (in_book->off == m->off && in_book->end == m->end && in_book->vcpu == m->vcpu &&
			!in_book->reported) {
			in_book->reported = true;
			break;
		}
	}
	pthread_mutex_unlock(&l->lock);
}

uint64_t lost_pages_total(struct lost_pages *l)
{
	uint64_t total;

	pthread_mutex_lock(&l->lock);
	total = l->book.total;
	pthread_mutex_unlock(&l->lock);
	return total;
}

static json_t *show_one(const struct memory_error *m)
{
	json_t *row = json_pack("{s:I,s:I,s:s}", "gpa", (json_int_t)m->gpa, "bytes",
		(json_int_t)m->bytes, "end", memory_error_end_name(m->end));

	if (m->node_known)
		json_object_set_new(row, "node", json_integer(m->node));
	if (m->frame_known)
		json_object_set_new(row, "frame", json_integer((json_int_t)m->frame));
	if (m->vcpu != MEMORY_ERROR_NOBODY)
		json_object_set_new(row, "vcpu", json_integer(m->vcpu));
	if (m->end == MEMORY_ERROR_HEALED)
		json_object_set_new(row, "source", json_string(m->source));
	return row;
}

json_t *lost_pages_show(struct lost_pages *l)
{
	json_t *list = json_array();

	pthread_mutex_lock(&l->lock);
	for (uint32_t i = 0; i < l->book.count; i++)
		json_array_append_new(list, show_one(&l->book.items[i]));
	pthread_mutex_unlock(&l->lock);
	return list;
}
