/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_BOX_RUN_H
#define CELLVISOR_SIM_BOX_RUN_H

/*
 * The box's first process: keeps an empty VM open for the box's whole life (see
 * docs/box.md for why), runs the command, streams what it writes to the run
 * port, reaps orphans. Never returns; the outside ends the box after the last
 * frame.
 *
 * `spec` is the path of a file of NUL-terminated strings: the working folder,
 * then the environment up to an empty string, then the command's words.
 */
_Noreturn void box_run(const char *spec);

/* A file of that form, cut into its strings, which point into `bytes`. */
struct box_spec {
	char *folder;
	char **env;  /* ends with NULL; owned */
	char **argv; /* ends with NULL; not empty; owned */
};

/* 0, -EINVAL if data is not of that form, -ENOMEM. data must outlive *s. */
int box_spec_parse(char *data, unsigned long bytes, struct box_spec *s);
void box_spec_fini(struct box_spec *s);

#endif
