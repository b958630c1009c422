/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/box/run.h"

int box_spec_parse(char *data, unsigned long bytes, struct box_spec *s)
{
	char *end = data + bytes;
	unsigned long strings = 0, env_count = 0, argv_count = 0;
	char *at;

	*s = (struct box_spec){ 0 };
	if (bytes == 0 || end[-1] != '\0' || data[0] == '\0')
		return -EINVAL;
	for (at = data; at < end; at += strlen(at) + 1)
		strings++;
	s->folder = data;
	s->env = calloc(strings + 1, sizeof(*s->env));
	s->argv = calloc(strings + 1, sizeof(*s->argv));
	if (!s->env || !s->argv) {
		box_spec_fini(s);
		return -ENOMEM;
	}
	at = data + strlen(data) + 1;
	for (; at < end && *at; at += strlen(at) + 1)
		s->env[env_count++] = at;
	for (at++; at < end; at += strlen(at) + 1)
		s->argv[argv_count++] = at;
	if (argv_count == 0 || s->argv[0][0] == '\0') {
		box_spec_fini(s);
		return -EINVAL;
	}
	return 0;
}

void box_spec_fini(struct box_spec *s)
{
	free(s->env);
	free(s->argv);
	*s = (struct box_spec){ 0 };
}
