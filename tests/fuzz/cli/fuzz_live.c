/* SPDX-License-Identifier: BSD-2-Clause */
/* What a monitor lists, drawn: refused or drawn within its columns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/cli/topo_live.h"
#include "numa/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct machine *machine(void)
{
	static struct machine m = {
		.node_count = 4,
		.nodes = {
			{ .os_node = 0, .memory_bytes = 1ull << 30 },
			{ .os_node = 1, .memory_bytes = 2ull << 30 },
			{ .os_node = 2, .memory_bytes = 3ull << 30 },
			{ .os_node = 5, .memory_bytes = 0 },
		},
		.distance = { { 10, 20, 30, 40 }, { 20, 10, 20, 30 }, { 30, 20, 10, 20 },
			{ 40, 30, 20, 10 } },
	};

	cpu_set_add(&m.nodes[1].cpus, 3);
	cpu_set_add(&m.nodes[3].cpus, 700);
	return &m;
}

static void draw(const struct picture *p, uint32_t columns)
{
	struct picture_style style = { .columns = columns };
	char *text = NULL, *line, *rest;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	CHECK(out != NULL);
	picture_draw(p, &style, out);
	CHECK(fclose(out) == 0);
	rest = text;
	while ((line = strsep(&rest, "\n")))
		CHECK(strlen(line) <= columns);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *reply = json_loadb((const char *)data, size, 0, NULL);
	struct live *live;
	struct err e;

	if (!reply)
		return 0;
	if (live_read(&live, machine(), reply, &e) == 0) {
		draw(&live->picture, 72);
		draw(&live->picture, 120);
		live_free(live);
	} else {
		CHECK(e.code == EXIT_FAILED && e.text[0] != '\0');
	}
	json_decref(reply);
	return 0;
}
