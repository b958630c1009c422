/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages about visits and loads: little-endian, versioned, judged whole. */

#include <string.h>

#include "numa/check.h"
#include "numa/visits_impl.h"

#define VERSION 1u
#define FORCE 1u
#define UNUSABLE 0x8000u

static void put(uint8_t *at, uint64_t value, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *at, uint32_t bytes)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

/* version 1, op 1, flags 1, 0; vcpu 2, cpu 2; id 8; name 33, 7 of 0 */
void visit_encode(const struct visit_msg *m, uint8_t body[VISIT_MSG_BYTES])
{
	memset(body, 0, VISIT_MSG_BYTES);
	body[0] = VERSION;
	body[1] = (uint8_t)m->op;
	body[2] = m->force ? FORCE : 0;
	put(body + 4, m->vcpu, 2);
	put(body + 6, m->cpu, 2);
	put(body + 8, m->id, 8);
	visit_copy_name((char *)body + 16, m->name);
}

static bool name_ok(const uint8_t *name)
{
	uint32_t n = 0;

	while (n < VISIT_NAME_BYTES && name[n] > ' ' && name[n] <= '~' && name[n] != '/')
		n++;
	if (n == 0 || n == VISIT_NAME_BYTES)
		return false;
	for (; n < VISIT_MSG_BYTES - 16; n++)
		if (name[n] != 0)
			return false;
	return true;
}

bool visit_decode(const uint8_t *body, size_t bytes, struct visit_msg *m)
{
	if (bytes != VISIT_MSG_BYTES || body[0] != VERSION || body[1] < VISIT_ASK ||
		body[1] > VISIT_END || body[2] > FORCE || body[3] != 0 || !name_ok(body + 16))
		return false;
	m->op = (enum visit_op)body[1];
	m->force = body[2] == FORCE;
	m->vcpu = (uint32_t)get(body + 4, 2);
	m->cpu = (uint32_t)get(body + 6, 2);
	m->id = get(body + 8, 8);
	memcpy(m->name, body + 16, VISIT_NAME_BYTES);
	return m->cpu < VISITS_CPUS_MAX && m->id > 0;
}

void visit_answer_encode(enum visit_answer answer, uint8_t body[VISIT_ANSWER_BYTES])
{
	memset(body, 0, VISIT_ANSWER_BYTES);
	body[0] = VERSION;
	body[1] = (uint8_t)answer;
}

bool visit_answer_decode(const uint8_t *body, size_t bytes, enum visit_answer *answer)
{
	if (bytes != VISIT_ANSWER_BYTES || body[0] != VERSION || body[1] < VISIT_GRANTED ||
		body[1] >= VISIT_ANSWER_COUNT || body[2] || body[3])
		return false;
	*answer = (enum visit_answer)body[1];
	return true;
}

const char *visit_answer_text(enum visit_answer answer)
{
	static const char *const texts[VISIT_ANSWER_COUNT] = {
		[VISIT_GRANTED] = "granted",
		[VISIT_ENDED] = "ended",
		[VISIT_STALE] = "the request is out of date",
		[VISIT_FULL] = "it takes no more visitors",
		[VISIT_BUSY] = "that CPU has something to run",
		[VISIT_NO_CPU] = "that CPU is offline",
		[VISIT_NOT_NOW] = "it is going down or in a recovery",
	};

	return answer > 0 && answer < VISIT_ANSWER_COUNT ? texts[answer] : "unknown";
}

/* version 1, 0; count 2; then 2 for each CPU */
size_t loads_encode(const struct loads_cpu *cpus, uint32_t count, uint8_t body[LOADS_BYTES_MAX])
{
	CHECK(count <= VISITS_CPUS_MAX);
	body[0] = VERSION;
	body[1] = 0;
	put(body + 2, count, 2);
	for (uint32_t i = 0; i < count; i++)
		put(body + 4 + 2 * (size_t)i,
			(cpus[i].runnable > LOADS_MAX ? LOADS_MAX : cpus[i].runnable) |
				(cpus[i].usable ? 0u : UNUSABLE),
			2);
	return 4 + 2 * (size_t)count;
}

bool loads_decode(const uint8_t *body, size_t bytes, struct loads_cpu *cpus, uint32_t count)
{
	if (bytes != 4 + 2 * (size_t)count || count > VISITS_CPUS_MAX || body[0] != VERSION ||
		body[1] || get(body + 2, 2) != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t word = (uint32_t)get(body + 4 + 2 * (size_t)i, 2);

		cpus[i].usable = !(word & UNUSABLE);
		cpus[i].runnable = (uint16_t)(word & LOADS_MAX);
	}
	return true;
}

/* version 1, 0; count 2; 0 4; highest id 8; then an ASK for each */
size_t visits_announce(const struct visits *v, uint32_t host, uint8_t *body)
{
	uint32_t count = 0;

	memset(body, 0, 16);
	for (uint32_t i = 0; i < v->end && count < VISITS_LIST_MAX; i++) {
		const struct visit *row = &v->rows[i];
		struct visit_msg m = {
			.op = VISIT_ASK, .id = row->id, .vcpu = row->vcpu, .cpu = row->cpu
		};

		if ((row->state != VISIT_THERE && row->state != VISIT_LEAVING) || row->host != host)
			continue;
		visit_copy_name(m.name, row->name);
		visit_encode(&m, body + 16 + (size_t)count++ * VISIT_MSG_BYTES);
	}
	body[0] = VERSION;
	put(body + 2, count, 2);
	put(body + 8, v->next_id - 1, 8);
	return 16 + (size_t)count * VISIT_MSG_BYTES;
}

static bool has_cpu(const uint32_t *cpus, uint32_t count, uint32_t cpu)
{
	for (uint32_t i = 0; i < count; i++)
		if (cpus[i] == cpu)
			return true;
	return false;
}

bool visitors_announced(struct visitors *v, uint32_t home, uint64_t life, const uint8_t *body,
	size_t bytes, const uint32_t *cpus, uint32_t cpu_count)
{
	uint32_t count = bytes < 16 ? 0 : (uint32_t)get(body + 2, 2);
	uint64_t last_id;

	if (bytes < 16 || body[0] != VERSION || body[1] || get(body + 4, 4) ||
		count > VISITS_LIST_MAX || bytes != 16 + (size_t)count * VISIT_MSG_BYTES)
		return false;
	last_id = get(body + 8, 8);
	for (uint32_t i = 0; i < count; i++) {
		struct visit_msg m;

		if (!visit_decode(body + 16 + (size_t)i * VISIT_MSG_BYTES, VISIT_MSG_BYTES, &m) ||
			m.op != VISIT_ASK || m.force || m.id > last_id ||
			!has_cpu(cpus, cpu_count, m.cpu))
			return false;
	}
	if (home >= VISITS_CELLS_MAX || life < v->life[home])
		return false;
	visitors_dead(v, home);
	v->life[home] = life;
	v->last_id[home] = last_id;
	for (uint32_t i = 0; i < count; i++) {
		struct visit_msg m;

		if (visit_decode(body + 16 + (size_t)i * VISIT_MSG_BYTES, VISIT_MSG_BYTES, &m))
			visitors_note(v, home, &m);
	}
	return true;
}
