/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest process shows as its ledger: anything, or a right one with fields replaced. */
#include <stdlib.h>
#include <string.h>

#include "monitor/cell/ledger.h"
#include "monitor/cell/lending_internal.h"
#include "monitor/guest/report.h"
#include "numa/check.h"
#include "tests/fuzz/guest/mutate.h"

static const char right[] =
	"{\"number\":7,\"memory\":[3,100,5,20,3,8],\"loans\":["
	"{\"id\":38654705668,\"units\":12,\"node\":5,\"lender\":1,\"lender_born\":2,"
	"\"borrower\":6,\"borrower_born\":8,\"asked_for\":true},"
	"{\"id\":38654705669,\"units\":8,\"node\":5,\"lender\":1,\"lender_born\":2,"
	"\"borrower\":6,\"borrower_born\":8}],\"visits\":[1,5,2,0,3,0,9,1]}";

#define CPUS 6u
#define CELL 6u
#define CELLS 7u

static void try_visits(const json_t *value)
{
	struct ledger_visit visits[SPEC_CPUS_MAX], again[SPEC_CPUS_MAX];
	uint32_t count, back;
	json_t *ledger = json_object();

	if (ledger_visits(value, CPUS, CELL, CELLS, visits, &count)) {
		CHECK(count <= CPUS);
		for (uint32_t i = 0; i < count; i++)
			CHECK(visits[i].vcpu < CPUS && visits[i].cell < CELLS &&
				visits[i].cell != CELL && visits[i].born > 0 &&
				visits[i].held <= 1 &&
				(i == 0 || visits[i].vcpu > visits[i - 1].vcpu));
		ledger_add_visits(ledger, visits, count);
		CHECK(ledger_visits(ledger, CPUS, CELL, CELLS, again, &back) && back == count);
		CHECK(!memcmp(visits, again, count * sizeof(visits[0])));
	} else {
		CHECK(count == 0);
	}
	json_decref(ledger);
}

static void try_ledger(const json_t *value)
{
	struct borrower *b = calloc(1, sizeof(*b)), *again = calloc(1, sizeof(*again));
	json_t *back;

	CHECK(b && again);
	try_visits(value);
	if (ledger_decode(value, b)) {
		CHECK(b->layout.count > 0 && b->layout.count <= RAM_RANGES_MAX);
		CHECK(b->hold_count <= HOLDS_MAX);
		/* One that has just come from another cell has none yet, and no loans. */
		CHECK(b->number > 0 || b->hold_count == 0);
		for (uint32_t i = 0; i < b->hold_count; i++)
			CHECK(b->holds[i].line.units > 0 && b->holds[i].line.lender < CELLS_MAX);
		back = ledger_encode(b);
		CHECK(json_dumpb(back, NULL, 0, JSON_COMPACT) <= REPORT_LEDGER_BYTES_MAX);
		CHECK(ledger_decode(back, again));
		CHECK(ram_units(&b->layout) == ram_units(&again->layout));
		json_decref(back);
	} else {
		CHECK(b->hold_count == 0 && b->layout.count == 0);
	}
	free(b);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes bytes = { data, size };
	json_t *value = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);

	if (value)
		try_ledger(value);
	json_decref(value);
	value = json_loads(right, 0, NULL);
	mutate(value, &bytes, 4);
	try_ledger(value);
	json_decref(value);
	return 0;
}
