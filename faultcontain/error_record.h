/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_FAULTCONTAIN_ERROR_RECORD_H
#define CELLVISOR_FAULTCONTAIN_ERROR_RECORD_H

/*
 * What the kernel's trace says of memory errors, line by line as a trace_pipe has them
 * (Documentation/trace/ftrace.rst): the events mce:mce_record (include/trace/events/mce.h; Linux
 * 4.x to 6.x, whose additions at the end are passed over) and ras:mc_event
 * (include/ras/ras_event.h). Pure. Lines are judged, never trusted: a label of a DIMM comes from
 * firmware, the name of a task from anybody.
 *
 * From mce_record a memory error is (Intel SDM vol. 3B, 16.9.2.2, "memory controller errors"; AMD
 * APM vol. 2, 9.3, and the PPRs): Intel, Zhaoxin: error code 000F 0000 1MMM CCCC, with a physical
 * address of at least page precision in ADDR. AMD and Hygon before scalable MCA: bank 4, extended
 * code 8. With it: an UMC bank (IPID 0x96, type 0), extended code 0, whose address is the memory
 * controller's own and no physical one: only an EDAC driver can translate it, and then there is
 * mc_event.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "faultcontain/corrected.h"

enum error_record_kind {
	ERROR_RECORD_OTHER,	/* no event of memory: another error, a note of the tracer */
	ERROR_RECORD_BAD,	/* such an event, but not as the kernel writes it */
	ERROR_RECORD_SEVERE,	/* of memory, but not corrected: others deal with it */
	ERROR_RECORD_NOWHERE,	/* corrected, but in no page that can be told: dimm and count */
	ERROR_RECORD_CORRECTED, /* corrected: all but the node */
	ERROR_RECORD_LOST,	/* the tracer had no room for some; count is how many */
};

/* Longer lines are bad ones. */
#define ERROR_RECORD_LINE_BYTES 1024u

/* Reads one line, without its newline. *e is filled as the kind says, `node` with none. */
enum error_record_kind error_record_read(const char *line, size_t bytes, struct corrected_error *e);

#endif
