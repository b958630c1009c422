/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists of CPUs and plans of cells: what is accepted is sound, and survives being written again. */
#include <string.h>

#include "numa/cells.h"
#include "numa/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_cpus(const char *text)
{
	char again[8192];
	struct cpu_set s, t;

	if (cpu_set_parse(text, &s) != 0) {
		CHECK(cpu_set_empty(&s));
		return;
	}
	CHECK(!cpu_set_empty(&s));
	CHECK(cpu_set_format(&s, again, sizeof(again)) > 0);
	CHECK(cpu_set_parse(again, &t) == 0 && cpu_set_equal(&s, &t));
}

/* Nodes 0..size-1 with holes; some have only CPUs, some only memory. */
static struct machine machine_of(uint8_t kind)
{
	struct machine m = { .node_count = 1 + kind % MACHINE_NODES_MAX };

	for (uint32_t n = 0; n < m.node_count; n++) {
		m.nodes[n].os_node = n + n / 3;
		if (n % 5 != 1)
			cpu_set_add(&m.nodes[n].cpus, n);
		if (n % 7 != 2 || n % 5 == 1)
			m.nodes[n].memory_bytes = 1 + n;
		for (uint32_t k = 0; k < m.node_count; k++)
			m.distance[n][k] = n == k ? 10 : 20;
	}
	CHECK(machine_check(&m) == MACHINE_OK);
	return m;
}

static void try_cells(const char *text, uint8_t kind)
{
	static struct cells c, again;
	struct machine m = machine_of(kind);
	char written[1024];
	uint32_t at;

	if (cells_parse(&m, text, &c, &at) != CELLS_OK)
		return;
	CHECK(cells_check(&m, &c, &at) == CELLS_OK);
	for (uint32_t n = 0; n < m.node_count; n++)
		CHECK(cells_of_node(&c, n) < c.cell_count);
	CHECK(cells_format(&m, &c, written, sizeof(written)) > 0);
	CHECK(cells_parse(&m, written, &again, NULL) == CELLS_OK);
	CHECK(memcmp(&c, &again, sizeof(c)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[600];

	if (size == 0 || size > sizeof(text))
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	try_cpus(text);
	try_cells(text, data[0]);
	return 0;
}
