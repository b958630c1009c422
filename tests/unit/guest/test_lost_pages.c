/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/lost_pages.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define PAGES 1024u /* 4 MiB */

/* A guest's RAM with one view of it, without a VM. */
struct lab {
	struct guest_memory memory;
	struct guest_home home;
	struct view view;
	struct views views;
	struct lost_pages lost;
	unsigned news;
	uint64_t known; /* the one page that the source knows */
	int answer;	/* instead, if not 0 */
};

static void news(void *ctx)
{
	((struct lab *)ctx)->news++;
}

static void tell(void *ctx, const struct memory_error *m)
{
	(void)ctx;
	(void)m;
}

static int good_copy(void *ctx, uint64_t off, void *page)
{
	const struct lab *l = ctx;

	if (l->answer)
		return l->answer;
	if (off != l->known)
		return -ENODATA;
	memset(page, 0x5a, PAGE);
	return 0;
}

static void lab_init(struct lab *l, bool heal)
{
	const struct lost_pages_env env = { news, tell, l };
	const struct good_copy_source source = { "the test", good_copy, l };
	struct err e;

	memset(l, 0, sizeof(*l));
	cr_assert_eq(guest_memory_init(&l->memory, PAGES * PAGE, &e), 0, "%s", e.text);
	l->home.nodes[0] = 3;
	l->home.node_count = 1;
	l->view.hva = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, l->memory.fd, 0);
	cr_assert_neq(l->view.hva, MAP_FAILED);
	l->views = (struct views){
		.items = { &l->view }, .count = 1, .memory = &l->memory, .home = &l->home
	};
	memset(l->view.hva, 0x11, PAGES * PAGE);
	if (lost_pages_init(&l->lost, &l->views, heal, &env, &e)) {
		cr_assert(heal, "%s", e.text);
		cr_skip_test("no userfaultfd here: %s", e.text);
	}
	lost_pages_source(&l->lost, &source);
}

static void lab_fini(struct lab *l)
{
	lost_pages_fini(&l->lost);
	munmap(l->view.hva, PAGES * PAGE);
	guest_memory_fini(&l->memory);
}

static struct memory_error meet(struct lab *l, uint64_t off, unsigned lsb, uint32_t vcpu)
{
	const struct page_loss loss = { l->view.hva + off, lsb, vcpu };
	struct memory_error m;

	cr_assert(lost_pages_met(&l->lost, &loss, &m));
	return m;
}

static bool all(const uint8_t *at, size_t bytes, uint8_t value)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i] != value)
			return false;
	return true;
}

Test(lost_pages, one_that_is_known_is_replaced_and_nothing_else)
{
	struct memory_error m;
	struct lab l;

	lab_init(&l, true);
	l.known = 7 * PAGE;
	m = meet(&l, 7 * PAGE + 0x123, 12, 2);
	cr_assert_eq(m.end, MEMORY_ERROR_HEALED);
	cr_assert_eq(m.gpa, 7 * PAGE);
	cr_assert_eq(m.bytes, PAGE);
	cr_assert_eq(m.vcpu, 2);
	cr_assert(m.node_known && m.node == 3);
	cr_assert_str_eq(m.source, "the test");
	cr_assert(all(l.view.hva + 7 * PAGE, PAGE, 0x5a));
	cr_assert(all(l.view.hva, 7 * PAGE, 0x11));
	cr_assert(all(l.view.hva + 8 * PAGE, (PAGES - 8) * PAGE, 0x11));
	l.view.hva[7 * PAGE] = 1; /* the page works, and is not watched any more */
	cr_assert_eq(lost_pages_renew(&l.lost), 0);
	cr_assert_eq(l.view.hva[7 * PAGE], 1, "a healed page is the guest's own");
	lab_fini(&l);
}

Test(lost_pages, late_news_of_a_page_that_is_whole_again_change_nothing)
{
	struct lab l;

	lab_init(&l, true);
	l.known = 7 * PAGE;
	meet(&l, 7 * PAGE, 12, 2);
	l.view.hva[7 * PAGE] = 1;
	cr_assert_eq(meet(&l, 7 * PAGE, 12, 3).end, MEMORY_ERROR_HEALED);
	cr_assert_eq(l.view.hva[7 * PAGE], 1, "what the guest wrote since is lost");
	meet(&l, 9 * PAGE, 12, 0);
	cr_assert_eq(lost_pages_renew(&l.lost), 0);
	cr_assert_eq(meet(&l, 9 * PAGE, 12, 0).end, MEMORY_ERROR_HEALED, "no error of this life");
	cr_assert_eq(lost_pages_total(&l.lost), 2);
	lab_fini(&l);
}

Test(lost_pages, one_that_is_not_known_stays_lost_until_the_reset)
{
	struct memory_error m;
	struct lab l;

	lab_init(&l, true);
	l.known = 8 * PAGE;
	m = meet(&l, 9 * PAGE, 12, MEMORY_ERROR_NOBODY);
	cr_assert_eq(m.end, MEMORY_ERROR_WAITS);
	cr_assert_eq(l.news, 1);
	cr_assert(all(l.view.hva, PAGES * PAGE, 0x11), "nothing was replaced");
	l.answer = -EIO;
	m = meet(&l, 8 * PAGE, 12, MEMORY_ERROR_NOBODY);
	cr_assert_eq(m.end, MEMORY_ERROR_WAITS, "a source that fails knows nothing");
	cr_assert_eq(lost_pages_renew(&l.lost), 0);
	cr_assert(all(l.view.hva + 8 * PAGE, 2 * PAGE, 0), "fresh pages");
	cr_assert(all(l.view.hva, 8 * PAGE, 0x11));
	cr_assert(all(l.view.hva + 10 * PAGE, (PAGES - 10) * PAGE, 0x11));
	lab_fini(&l);
}

Test(lost_pages, nothing_is_healed_unless_asked_for)
{
	struct lab l;

	lab_init(&l, false);
	l.known = 5 * PAGE;
	cr_assert_eq(meet(&l, 5 * PAGE, 12, 0).end, MEMORY_ERROR_WAITS);
	lab_fini(&l);
}

Test(lost_pages, a_larger_part_is_one_record)
{
	struct memory_error m;
	struct lab l;

	lab_init(&l, false);
	m = meet(&l, (2u << 20) + 5 * PAGE, 21, MEMORY_ERROR_NOBODY);
	cr_assert_eq(m.gpa, 2u << 20);
	cr_assert_eq(m.bytes, 2u << 20);
	cr_assert_eq(meet(&l, (2u << 20) + 300 * PAGE, 21, 4).vcpu, 4);
	cr_assert_eq(lost_pages_total(&l.lost), 1);
	cr_assert_eq(lost_pages_renew(&l.lost), 0);
	cr_assert(all(l.view.hva, 2u << 20, 0x11));
	cr_assert(all(l.view.hva + (2u << 20), 2u << 20, 0));
	lab_fini(&l);
}

Test(lost_pages, other_memory_is_not_the_guests)
{
	struct memory_error m;
	struct lab l;

	lab_init(&l, false);
	cr_assert_not(lost_pages_met(
		&l.lost, &(struct page_loss){ l.view.hva + PAGES * PAGE, 12, 0 }, &m));
	cr_assert_not(lost_pages_met(&l.lost, &(struct page_loss){ l.view.hva - 1, 12, 0 }, &m));
	cr_assert_eq(lost_pages_total(&l.lost), 0);
	lab_fini(&l);
}

Test(lost_pages, the_monitor_hears_of_each_change_once)
{
	struct memory_error m, again;
	uint64_t total;
	struct lab l;

	lab_init(&l, false);
	cr_assert_not(lost_pages_next(&l.lost, &m, &total));
	meet(&l, 3 * PAGE, 12, MEMORY_ERROR_NOBODY);
	meet(&l, 4 * PAGE, 12, MEMORY_ERROR_NOBODY);
	cr_assert(lost_pages_next(&l.lost, &m, &total));
	cr_assert_eq(m.gpa, 3 * PAGE);
	cr_assert_eq(total, 2);
	cr_assert(lost_pages_next(&l.lost, &again, &total));
	cr_assert_eq(again.gpa, 3 * PAGE, "it has not been passed on yet");
	/* It changes while it is on its way. */
	lost_pages_settle(&l.lost, 3 * PAGE, MEMORY_ERROR_TOLD);
	lost_pages_passed(&l.lost, &m);
	cr_assert(lost_pages_next(&l.lost, &m, &total));
	cr_assert_eq(m.end, MEMORY_ERROR_TOLD);
	lost_pages_passed(&l.lost, &m);
	cr_assert(lost_pages_next(&l.lost, &m, &total));
	cr_assert_eq(m.gpa, 4 * PAGE);
	lost_pages_passed(&l.lost, &m);
	cr_assert_not(lost_pages_next(&l.lost, &m, &total));
	lost_pages_settle(&l.lost, 3 * PAGE, MEMORY_ERROR_TOLD);
	cr_assert_not(lost_pages_next(&l.lost, &m, &total), "nothing has changed");
	meet(&l, 4 * PAGE, 12, 1);
	cr_assert(lost_pages_next(&l.lost, &m, &total));
	cr_assert_eq(m.vcpu, 1);
	lab_fini(&l);
}

Test(lost_pages, the_thread_comes_and_goes)
{
	struct lab l;
	struct err e;

	lab_init(&l, false);
	cr_assert_eq(lost_pages_start(&l.lost, &e), 0);
	cr_assert(lost_pages_end(&l.lost, 60000));
	lab_fini(&l);
}
