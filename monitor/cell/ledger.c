/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/cell/ledger.h"

#include "monitor/cell/balancing.h"
#include "monitor/cell/keeper.h"
#include "monitor/cell/lending.h"
#include "monitor/cell/moving.h"
#include "monitor/cell/state.h"
#include "numa/check.h"

#define VISIT_NUMBERS ((size_t)4)

void ledger_keep(struct monitor *m, const char *name)
{
	json_t *ledger = moving_mark(m, name, lending_ledger(m, name));
	struct ledger_visit visits[SPEC_CPUS_MAX];

	ledger_add_visits(ledger, visits, balancing_visits(m, name, visits));
	keeper_keep(m->keeper, name, ledger);
}

void ledger_add_visits(json_t *ledger, const struct ledger_visit *visits, uint32_t count)
{
	json_t *list;

	CHECK(count <= SPEC_CPUS_MAX);
	if (count == 0)
		return;
	list = json_array();
	for (uint32_t i = 0; i < count; i++) {
		json_array_append_new(list, json_integer(visits[i].vcpu));
		json_array_append_new(list, json_integer(visits[i].cell));
		json_array_append_new(list, json_integer(visits[i].born));
		json_array_append_new(list, json_integer(visits[i].held));
	}
	json_object_set_new(ledger, LEDGER_VISITS, list);
}

static bool number(const json_t *list, size_t i, uint32_t min, uint32_t max, uint32_t *out)
{
	const json_t *value = json_array_get(list, i);

	if (!json_is_integer(value) || json_integer_value(value) < min ||
		json_integer_value(value) > max)
		return false;
	*out = (uint32_t)json_integer_value(value);
	return true;
}

bool ledger_visits(const json_t *ledger, uint32_t cpus, uint32_t home, uint32_t cells,
	struct ledger_visit visits[SPEC_CPUS_MAX], uint32_t *count)
{
	const json_t *list = json_object_get(ledger, LEDGER_VISITS);
	const size_t numbers = json_array_size(list);

	*count = 0;
	if (!list)
		return true;
	CHECK(cpus <= SPEC_CPUS_MAX);
	if (!json_is_array(list) || numbers % VISIT_NUMBERS || numbers > VISIT_NUMBERS * cpus)
		return false;
	for (uint32_t i = 0; i < numbers / VISIT_NUMBERS; i++) {
		struct ledger_visit *v = &visits[i];
		const uint32_t least = i > 0 ? visits[i - 1].vcpu + 1 : 0;

		if (!number(list, VISIT_NUMBERS * i, least, cpus - 1, &v->vcpu) ||
			!number(list, VISIT_NUMBERS * i + 1, 0, cells - 1, &v->cell) ||
			!number(list, VISIT_NUMBERS * i + 2, 1, UINT32_MAX, &v->born) ||
			!number(list, VISIT_NUMBERS * i + 3, 0, 1, &v->held) || v->cell == home)
			return false;
	}
	*count = (uint32_t)(numbers / VISIT_NUMBERS);
	return true;
}
