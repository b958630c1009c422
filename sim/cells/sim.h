/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CELLVISOR_SIM_CELLS_SIM_H
#define CELLVISOR_SIM_CELLS_SIM_H

/*
 * The deterministic simulator of a machine of many cells: the object files that
 * decide in the cell monitors (membership, wire format, needs) run here under
 * simulated time, fabric, processes and hardware, with faults drawn from a seed.
 * One machine is one value, used by one thread. docs/cellsim.md explains.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_WHY_BYTES 200

/* A bug switched in on purpose, to see that the checks find it. */
enum plant {
	PLANT_NONE,
	PLANT_NO_FENCING,	    /* a fence is reported done, nobody is killed */
	PLANT_STALE_ACCEPTED,	    /* messages of earlier lives count as of the present one */
	PLANT_LOAN_ONE_BOOK,	    /* lenders keep what they lent to the dead in their book */
	PLANT_SUSPICION_KILLS,	    /* silence counts as evidence */
	PLANT_ROUND_NOT_RESTARTED,  /* what is learnt during a round does not repeat it */
	PLANT_BARRIER_SKIPPED,	    /* READY is said before guests are ended */
	PLANT_NEEDS_NOT_UPDATED,    /* a borrower's needs don't get the lender */
	PLANT_CRC_IGNORED,	    /* damaged messages are taken */
	PLANT_TIMEOUT_IGNORED,	    /* silence is never noticed */
	PLANT_CRASH_IS_NODE_DEATH,  /* a monitor whose process is gone counts as a dead node */
	PLANT_LIFE_NOT_CLAIMED,	    /* two may start the same life of a monitor */
	PLANT_ADOPTION_FORGETS,	    /* a new monitor overlooks a guest */
	PLANT_ADOPTION_UNCHECKED,   /* a new monitor adopts guests that lost memory meanwhile */
	PLANT_GUESTS_NOT_ENDED,	    /* guests that need the dead are not ended */
	PLANT_OLD_MONITOR_SURVIVES, /* a restart does not kill the monitor that hangs */
	PLANT_REJOIN_KEEPS_BOOT,    /* a repaired cell says that it is the old one */
	PLANT_RETRY_MISSING,	    /* unanswered messages are not repeated */
	/* Of loans, needs and balancing: */
	PLANT_CLAIMS_FORGOTTEN,	  /* a new monitor does not hear what its guests hold */
	PLANT_CLAIM_NOT_COMPARED, /* a new monitor does not ask peers what it lent */
	PLANT_GRANT_BEYOND_FREE,  /* lenders forget their own guests when they lend */
	PLANT_RETURN_BEFORE_MOVE, /* loans are returned before the guest has left them */
	PLANT_RETURN_NOT_BOOKED,  /* a lender confirms a return and keeps the line */
	PLANT_LOANS_BEFORE_FENCE, /* loans are struck before the dead are fenced */
	PLANT_NEED_STRUCK_EARLY,  /* with the first loan of a cell that ends */
	PLANT_LIMIT_IGNORED,	  /* guests come to need more cells than they may */
	PLANT_VISIT_WITHOUT_NEED, /* a vCPU goes to another cell and that is not recorded */
	PLANT_VISIT_KEPT,	  /* guests whose vCPU ran on a dead cell are not ended */
	PLANT_AFFINITY_NOT_READ,  /* a new monitor takes all vCPUs to be at home */
	PLANT_CPU_OFF_IGNORED,	  /* vCPUs stay on CPUs that execute nothing */
	PLANT_GANG_IGNORED,	  /* balancers treat gangs like other guests */
	PLANT_USE_BEFORE_TOLD,	  /* memory and CPUs are used before peers know of the need */
	PLANT_COUNT,
};

const char *plant_name(enum plant plant);
/* In words, what is wrong with it. */
const char *plant_text(enum plant plant);
/* PLANT_COUNT if there is none of that name. */
enum plant plant_find(const char *name);

/* What happens to the machine. */
enum sim_scenario {
	SIM_FAULTS, /* all kinds of faults, drawn from the seed */
	SIM_QUIET,  /* none */
	/* One event and no other fault, to measure its recovery: */
	SIM_NODE_DEATH,
	SIM_TWO_DEATHS, /* the second, of the coordinator, during the first one's round */
	SIM_MONITOR_CRASH,
	SIM_SCENARIO_COUNT,
};
const char *sim_scenario_name(enum sim_scenario scenario);

struct sim_cfg {
	uint16_t cells;	   /* 1 .. 1024 */
	uint16_t nodes;	   /* per cell, 1 .. 8 */
	uint32_t guests;   /* per cell, at most */
	uint32_t fault_ms; /* simulated time during which faults happen */
	enum sim_scenario scenario;
	enum plant plant;
	FILE *trace; /* a line per step that matters; NULL: none */
};

struct sim_result {
	uint64_t seed;
	uint64_t digest; /* over every step and the final state */
	bool violated;
	uint64_t when_ns;	 /* simulated time of the violation */
	char why[SIM_WHY_BYTES]; /* in words; empty if none */
	uint64_t events, messages;
	/* Faults that really happened, restarts, views agreed, guests that ran and were hurt. */
	uint32_t node_deaths, node_hangs, monitor_crashes, monitor_hangs, restarts, rejoins, views;
	uint32_t guests_started, guests_hurt, loans, vcpu_moves, vcpu_visits, cpus_off;
	/*
	 * Of the measured scenarios: from the evidence to the last cell's RESUMED;
	 * messages but heartbeats in that time, in all and of the busiest cell.
	 */
	uint64_t recovery_ns;
	uint32_t recovery_messages, recovery_messages_max;
	uint64_t settle_ns; /* from the last fault to a whole machine */
};

/* Runs one machine from its start to its end. False if there is no memory for it. */
bool sim_run(const struct sim_cfg *cfg, uint64_t seed, struct sim_result *result);

#endif
