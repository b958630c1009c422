/* SPDX-License-Identifier: BSD-2-Clause */
#include "numa/visits.h"

#include <string.h>

#include "numa/check.h"
#include "numa/visits_impl.h"

void visit_copy_name(char to[VISIT_NAME_BYTES], const char *name)
{
	uint32_t n = 0;

	for (; n + 1 < VISIT_NAME_BYTES && name[n]; n++)
		to[n] = name[n];
	for (; n < VISIT_NAME_BYTES; n++)
		to[n] = '\0';
}

/* --- home --- */

void visits_init(struct visits *v)
{
	memset(v, 0, sizeof(*v));
	v->next_id = 1;
}

static struct visit *by_id(struct visits *v, uint64_t id)
{
	for (uint32_t i = 0; i < v->end; i++)
		if (v->rows[i].state != VISIT_FREE && v->rows[i].id == id)
			return &v->rows[i];
	return NULL;
}

static bool is_current(const struct visit *row)
{
	return row->state == VISIT_ASKING || row->state == VISIT_THERE ||
	       row->state == VISIT_LEAVING;
}

static bool is_there(const struct visit *row)
{
	return row->state == VISIT_THERE || row->state == VISIT_LEAVING;
}

struct visit *visits_find(struct visits *v, const char *name, uint32_t vcpu)
{
	for (uint32_t i = 0; i < v->end; i++) {
		struct visit *row = &v->rows[i];

		if (is_current(row) && row->vcpu == vcpu && !strcmp(row->name, name))
			return row;
	}
	return NULL;
}

static struct visit *add(struct visits *v, enum visit_state state, uint32_t host, const char *name,
	uint32_t vcpu, uint32_t cpu)
{
	struct visit *row = NULL;

	CHECK(host < VISITS_CELLS_MAX);
	if (visits_find(v, name, vcpu))
		return NULL;
	for (uint32_t i = 0; i < v->end && !row; i++)
		if (v->rows[i].state == VISIT_FREE)
			row = &v->rows[i];
	if (!row && v->end == VISITS_MAX)
		return NULL;
	if (!row)
		row = &v->rows[v->end++];
	*row = (struct visit){
		.state = state, .id = v->next_id++, .host = host, .vcpu = vcpu, .cpu = cpu
	};
	visit_copy_name(row->name, name);
	return row;
}

struct visit *visits_ask(
	struct visits *v, uint32_t host, const char *name, uint32_t vcpu, uint32_t cpu)
{
	return add(v, VISIT_ASKING, host, name, vcpu, cpu);
}

enum visit_found visits_judge(const struct visit_finding *f)
{
	/* Wherever it is now: it may have come home only when that host was gone already. */
	if (f->noted && f->gone)
		return VISIT_FOUND_LOST;
	if (f->on == f->home)
		return VISIT_FOUND_HOME;
	if (!f->noted)
		return VISIT_FOUND_STRAY;
	return f->on == f->host ? VISIT_FOUND_THERE : VISIT_FOUND_UNCLEAR;
}

struct visit *visits_adopt(
	struct visits *v, uint32_t host, const char *name, uint32_t vcpu, uint32_t cpu)
{
	return add(v, VISIT_THERE, host, name, vcpu, cpu);
}

static void to_end(struct visit *row)
{
	row->state = VISIT_ENDING;
	row->sent_ns = 0;
	row->open = false;
}

bool visits_answered(struct visits *v, uint64_t id, bool heard, enum visit_answer answer)
{
	struct visit *row = by_id(v, id);

	/* Its guest has ended meanwhile, or the cell. */
	if (!row || row->state != VISIT_ASKING)
		return false;
	/* Stale: it was heard twice, and what it said the first time is not known. */
	if (!heard || answer == VISIT_STALE)
		to_end(row);
	else if (answer == VISIT_GRANTED)
		row->state = VISIT_THERE;
	else
		row->state = VISIT_FREE;
	return row->state == VISIT_THERE;
}

bool visits_leave(struct visits *v, const char *name, uint32_t vcpu)
{
	struct visit *row = visits_find(v, name, vcpu);

	if (!row || !is_there(row))
		return false;
	if (row->state == VISIT_THERE) {
		to_end(row);
		row->state = VISIT_LEAVING;
	}
	return true;
}

void visits_cancel(struct visits *v, const char *name, uint32_t vcpu)
{
	struct visit *row = visits_find(v, name, vcpu);

	if (row)
		to_end(row);
}

void visits_forget(struct visits *v, const char *name)
{
	for (uint32_t i = 0; i < v->end; i++) {
		struct visit *row = &v->rows[i];

		if (is_current(row) && !strcmp(row->name, name))
			to_end(row);
	}
}

struct visit *visits_due(struct visits *v, uint32_t host, uint64_t now_ns, uint64_t retry_ns)
{
	for (uint32_t i = 0; i < v->end; i++) {
		struct visit *row = &v->rows[i];

		if ((row->state != VISIT_ENDING && row->state != VISIT_LEAVING) ||
			row->host != host || row->open ||
			(row->sent_ns && now_ns - row->sent_ns < retry_ns))
			continue;
		row->sent_ns = now_ns;
		row->open = true;
		return row;
	}
	return NULL;
}

bool visits_ended(struct visits *v, uint64_t id, bool heard)
{
	struct visit *row = by_id(v, id);
	bool back;

	if (!row || (row->state != VISIT_ENDING && row->state != VISIT_LEAVING))
		return false;
	row->open = false;
	if (!heard)
		return false;
	back = row->state == VISIT_LEAVING;
	row->state = VISIT_FREE;
	return back;
}

void visits_dead(struct visits *v, uint32_t host)
{
	for (uint32_t i = 0; i < v->end; i++)
		if (v->rows[i].host == host && !is_there(&v->rows[i]))
			v->rows[i].state = VISIT_FREE;
}

bool visits_open(const struct visits *v, uint32_t host)
{
	for (uint32_t i = 0; i < v->end; i++)
		if (v->rows[i].host == host &&
			(v->rows[i].state == VISIT_ASKING ||
				(v->rows[i].state != VISIT_FREE && v->rows[i].open)))
			return true;
	return false;
}

uint32_t visits_needs(const struct visits *v, const char *name, uint32_t cells[VISITS_CELLS_MAX])
{
	bool needed[VISITS_CELLS_MAX] = { false };
	uint32_t count = 0;

	for (uint32_t i = 0; i < v->end; i++)
		if (is_there(&v->rows[i]) && !strcmp(v->rows[i].name, name))
			needed[v->rows[i].host] = true;
	for (uint32_t cell = 0; cell < VISITS_CELLS_MAX; cell++)
		if (needed[cell])
			cells[count++] = cell;
	return count;
}

/* --- host --- */

static struct visitor *find_visitor(
	struct visitors *v, uint32_t home, const char *name, uint32_t vcpu)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (v->rows[i].home == home && v->rows[i].vcpu == vcpu &&
			!strcmp(v->rows[i].name, name))
			return &v->rows[i];
	return NULL;
}

static void remove_visitor(struct visitors *v, uint32_t i)
{
	v->rows[i] = v->rows[--v->count];
}

bool visitors_note(struct visitors *v, uint32_t home, const struct visit_msg *m)
{
	struct visitor *row = find_visitor(v, home, m->name, m->vcpu);

	if (!row && v->count == VISITORS_MAX)
		return false;
	if (!row)
		row = &v->rows[v->count++];
	*row = (struct visitor){ .home = home, .vcpu = m->vcpu, .cpu = m->cpu, .id = m->id };
	visit_copy_name(row->name, m->name);
	return true;
}

static void end_visit(struct visitors *v, uint32_t home, const struct visit_msg *m)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (v->rows[i].home == home && v->rows[i].id == m->id) {
			remove_visitor(v, i);
			return;
		}
}

static enum visit_answer judge(
	const struct visitors *v, const struct visit_msg *m, const struct visit_room *room)
{
	if (room->not_now)
		return VISIT_NOT_NOW;
	if (!room->ours || !room->usable)
		return VISIT_NO_CPU;
	if (v->count == VISITORS_MAX)
		return VISIT_FULL;
	if (!m->force && room->runnable + visitors_on(v, m->cpu) > 0)
		return VISIT_BUSY;
	return VISIT_GRANTED;
}

enum visit_answer visitors_take(struct visitors *v, uint32_t home, uint64_t life,
	const struct visit_msg *m, const struct visit_room *room)
{
	enum visit_answer answer;

	CHECK(home < VISITS_CELLS_MAX);
	if (life < v->life[home])
		return VISIT_STALE;
	/* A new life numbers anew; what the former one had is dropped by its announcement. */
	if (life > v->life[home]) {
		v->life[home] = life;
		v->last_id[home] = 0;
	}
	if (m->op == VISIT_END) {
		end_visit(v, home, m);
		/* An ASK that comes later than its own END must find nothing. */
		if (m->id > v->last_id[home])
			v->last_id[home] = m->id;
		return VISIT_ENDED;
	}
	if (m->id <= v->last_id[home])
		return VISIT_STALE;
	v->last_id[home] = m->id;
	answer = judge(v, m, room);
	if (answer == VISIT_GRANTED && !visitors_note(v, home, m))
		answer = VISIT_FULL;
	return answer;
}

void visitors_dead(struct visitors *v, uint32_t home)
{
	for (uint32_t i = v->count; i > 0; i--)
		if (v->rows[i - 1].home == home)
			remove_visitor(v, i - 1);
}

uint32_t visitors_on(const struct visitors *v, uint32_t cpu)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < v->count; i++)
		count += v->rows[i].cpu == cpu;
	return count;
}
