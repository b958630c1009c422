/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Bugs that can be switched in, to see that the checks find them. Most are in
 * what the simulated monitor does; two are in the state machine itself, whose
 * functions the linker diverts here (--wrap in CMakeLists.txt), so that the
 * machine's own object files are the same in the monitors and here.
 */

#include <string.h>

#include "faultcontain/member_impl.h"
#include "sim/cells/machine.h"

static const struct {
	const char *name, *text;
} plants[PLANT_COUNT] = {
	[PLANT_NONE] = { "none", "" },
	[PLANT_NO_FENCING] = { "no-fencing", "a fence is reported done, and nobody is killed" },
	[PLANT_STALE_ACCEPTED] = { "stale-incarnation-accepted",
		"messages of earlier lives count as of the present one" },
	[PLANT_LOAN_ONE_BOOK] = { "loan-dropped-in-one-book",
		"a lender keeps in its book what it lent to the dead" },
	[PLANT_SUSPICION_KILLS] = { "kill-by-suspicion", "silence counts as evidence of death" },
	[PLANT_ROUND_NOT_RESTARTED] = { "round-not-restarted",
		"what is learnt during a round does not repeat it" },
	[PLANT_BARRIER_SKIPPED] = { "barrier-skipped",
		"cells say that they are ready before they have ended guests" },
	[PLANT_NEEDS_NOT_UPDATED] = { "needs-not-updated",
		"the needs of a guest that borrows don't get the lender" },
	[PLANT_CRC_IGNORED] = { "crc-ignored", "damaged messages are taken" },
	[PLANT_TIMEOUT_IGNORED] = { "timeout-ignored", "silence is never noticed" },
	[PLANT_CRASH_IS_NODE_DEATH] = { "crash-is-node-death",
		"a monitor whose process is gone counts as a dead node" },
	[PLANT_LIFE_NOT_CLAIMED] = { "life-not-claimed",
		"two cells may start the same life of a monitor" },
	[PLANT_ADOPTION_FORGETS] = { "adoption-forgets", "a new monitor overlooks a guest" },
	[PLANT_ADOPTION_UNCHECKED] = { "adoption-unchecked",
		"a new monitor adopts guests that lost memory meanwhile" },
	[PLANT_GUESTS_NOT_ENDED] = { "guests-not-ended", "guests that need the dead run on" },
	[PLANT_OLD_MONITOR_SURVIVES] = { "old-monitor-survives",
		"a restart does not kill the monitor that hangs" },
	[PLANT_REJOIN_KEEPS_BOOT] = { "rejoin-keeps-boot",
		"a repaired cell says that it is the one that died" },
	[PLANT_RETRY_MISSING] = { "retry-missing", "unanswered messages are not repeated" },
	[PLANT_CLAIMS_FORGOTTEN] = { "claims-forgotten",
		"a new monitor does not hear what its guests have borrowed" },
	[PLANT_CLAIM_NOT_COMPARED] = { "claim-not-compared",
		"a new monitor believes that its cell has lent nothing" },
	[PLANT_GRANT_BEYOND_FREE] = { "grant-beyond-free",
		"a lender lends what its own guests use" },
	[PLANT_RETURN_BEFORE_MOVE] = { "return-before-move",
		"a loan is returned before the guest has left it" },
	[PLANT_RETURN_NOT_BOOKED] = { "return-not-booked",
		"a lender confirms a return and keeps the loan in its book" },
	[PLANT_LOANS_BEFORE_FENCE] = { "loans-dropped-before-fence",
		"loans to the dead are dropped before they are fenced" },
	[PLANT_NEED_STRUCK_EARLY] = { "need-struck-early",
		"a need ends with the first of several uses of a cell" },
	[PLANT_LIMIT_IGNORED] = { "limit-of-needs-ignored",
		"a guest comes to need more cells than it may" },
	[PLANT_VISIT_WITHOUT_NEED] = { "visit-without-need",
		"a vCPU goes to another cell and the need is not recorded" },
	[PLANT_VISIT_KEPT] = { "visit-on-dead-cell-kept",
		"guests whose vCPU ran on a dead cell are not ended" },
	[PLANT_AFFINITY_NOT_READ] = { "affinity-not-read",
		"a new monitor takes all vCPUs of its guests to be at home" },
	[PLANT_CPU_OFF_IGNORED] = { "cpu-off-ignored", "vCPUs stay on CPUs that execute nothing" },
	[PLANT_GANG_IGNORED] = { "gang-ignored", "two vCPUs of a gang share a CPU" },
	[PLANT_USE_BEFORE_TOLD] = { "use-before-told",
		"a guest uses a cell before the peers were told that it needs it" },
};

const char *plant_name(enum plant plant)
{
	return (unsigned)plant < PLANT_COUNT ? plants[plant].name : "?";
}

const char *plant_text(enum plant plant)
{
	return (unsigned)plant < PLANT_COUNT ? plants[plant].text : "?";
}

enum plant plant_find(const char *name)
{
	int i = 0;

	while (i < PLANT_COUNT && strcmp(plants[i].name, name) != 0)
		i++;
	return (enum plant)i;
}

const char *sim_scenario_name(enum sim_scenario scenario)
{
	static const char *const names[SIM_SCENARIO_COUNT] = { "faults", "quiet", "node-death",
		"two-deaths", "monitor-crash" };

	return (unsigned)scenario < SIM_SCENARIO_COUNT ? names[scenario] : "?";
}

static bool planted(const struct membership *m, enum plant plant)
{
	const struct slot *slot =
		(const void *)((const uint8_t *)m - offsetof(struct slot, membership));

	return slot->machine->cfg.plant == plant;
}

bool __real_table_equal(const uint64_t *a, const uint64_t *b, uint16_t cells);
bool __wrap_table_equal(const uint64_t *a, const uint64_t *b, uint16_t cells);
void __real_member_retry(struct membership *m);
void __wrap_member_retry(struct membership *m);

/* `a` is always what a cell knows, the first table behind its state. */
bool __wrap_table_equal(const uint64_t *a, const uint64_t *b, uint16_t cells)
{
	const struct membership *m = (const struct membership *)(const void *)a - 1;

	/* A coordinator believes that its proposal says all. */
	if (m->lead != LEAD_NONE && b == m->offer && planted(m, PLANT_ROUND_NOT_RESTARTED))
		return true;
	return __real_table_equal(a, b, cells);
}

void __wrap_member_retry(struct membership *m)
{
	if (!planted(m, PLANT_RETRY_MISSING))
		__real_member_retry(m);
}
