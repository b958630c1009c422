/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The agreement and the barrier of docs/recovery.md, for the model checker spin.
 * run-model says how it is run and within which bounds.
 *
 *   N  cells (3 or 4)   F  nodes that die   R  monitors that are restarted
 *   S  times that a cell leads although the right one speaks (false suspicion)
 *   BUG  1 .. 4: a bug switched in, which spin must find
 *
 * In it: knowledge that only grows, ballots, coordinators that die or forget at
 * any step, proposals answered with more, steps, READY, RESUME, messages of
 * earlier lives. Not in it: time (whoever is silent is found out at any later
 * moment), evidence, loss and repetition of messages (links are FIFO; a death
 * loses what was under way to the dead), the founding of the first view, cells
 * that come back afresh: those are the simulator's (docs/cellsim.md).
 *
 * Checked: one epoch, one table, at every cell; a view never takes back what an
 * earlier one of the same cell said; nobody goes on before every live cell of the
 * view is ready; nothing goes on for ever; and when nothing more can happen, all
 * living cells go on in one view which is the truth.
 */

#ifndef N
#define N 3
#endif
#ifndef F
#define F 1
#endif
#ifndef R
#define R 1
#endif
#ifndef S
#define S 0
#endif
#ifndef BUG
#define BUG 0
#endif
#define ROOM 9	   /* messages under way on one link; more is an error of the model */
#define BALLOTS 96 /* ballot numbers that can be told apart; likewise */

/* A table: two bits per cell; 0 first life, 1 second life, 2 dead. */
#define WORD(t, c) (((t) >> (2 * (c))) & 3)
#define DEAD 2
#define UNSET 255

/* A ballot: count, cell, life. */
#define BALLOT(count, c) ((count) * 2 * N + 2 * (c) + life[c])
#define COUNT(b) ((b) / (2 * N))
#define CELL(b) (((b) % (2 * N)) / 2)
#define LIFE(b) ((b) % 2)
#define FIRST (2 * N) /* of the first view: count 1, cell 0, first life */

mtype = { report, propose, same, more, later, commit, ready, resume };

chan link[N * N] = [ROOM] of { mtype, byte, byte, bit }; /* kind, ballot, table, life */

bool dead[N];
bit life[N]; /* 0: first */
byte known[N], view[N], offer[N], promised[N], epoch[N], resumed[N], waiting[N];
bool offered[N];
byte told[N]; /* what was last reported */
byte lead[N]; /* 0 no, 1 proposes, 2 has committed */
byte step[N]; /* 0 fences and ends, 1 ready, 2 goes on */
byte done[N]; /* epoch whose steps it has finished */
byte agreed[BALLOTS];
byte deaths, restarts, suspicions;
byte k; /* scratch of atomic steps */

#define ALIVE(c) (!dead[c])
#define BELIEVED(i, c) (WORD(known[i], c) != DEAD)
#define VIEWED(c) (epoch[c] != 0)
#define UNFINISHED(i) (promised[i] != resumed[i])
#define NEEDS(i) (VIEWED(i) && (known[i] != view[i] || UNFINISHED(i)))
/* It lives, and does not know that its life is over. */
#define MINE(i) (ALIVE(i) && WORD(known[i], i) == life[i])

/* The coordinator of what i has seen last works on it, or has just finished it. */
#define COORD(i) CELL(promised[i])
#define LED(i) \
	(UNFINISHED(i) && COORD(i) != i && BELIEVED(i, COORD(i)) && ALIVE(COORD(i)) && \
		life[COORD(i)] == LIFE(promised[i]) && \
		((lead[COORD(i)] && promised[COORD(i)] == promised[i]) || \
			resumed[COORD(i)] == promised[i]))

#define LOWER(i, c) (c < i && ALIVE(c) && BELIEVED(i, c) && VIEWED(c))
#if N == 3
#define LEADER(i) (!LOWER(i, 0) && !LOWER(i, 1))
#else
#define LEADER(i) (!LOWER(i, 0) && !LOWER(i, 1) && !LOWER(i, 2))
#endif

inline merge(i, t)
{
	k = 0;
	do
	:: k < N && WORD(t, k) > WORD(known[i], k) ->
		known[i] = known[i] + ((WORD(t, k) - WORD(known[i], k)) << (2 * k));
		k++
	:: k < N && WORD(t, k) <= WORD(known[i], k) -> k++
	:: k == N -> break
	od;
	k = 0
}

inline send(i, c, what, b, t)
{
	if
	:: ALIVE(c) ->
		assert(nfull(link[i * N + c]));
		link[i * N + c]!what(b, t, life[i])
	:: else
	fi
}

inline send_waiting(i, what)
{
	byte c = 0;

	do
	:: c < N && (waiting[i] & (1 << c)) -> send(i, c, what, promised[i], offer[i]); c++
	:: c < N && !(waiting[i] & (1 << c)) -> c++
	:: c == N -> break
	od;
	c = 0
}

inline wait_for_offer(i)
{
	k = 0;
	waiting[i] = 0;
	do
	:: k < N && k != i && WORD(offer[i], k) != DEAD -> waiting[i] = waiting[i] | (1 << k); k++
	:: k < N && (k == i || WORD(offer[i], k) == DEAD) -> k++
	:: k == N -> break
	od;
	k = 0
}

inline install(i, b)
{
	assert(agreed[b] == UNSET || agreed[b] == offer[i]); /* one epoch, one table */
	agreed[b] = offer[i];
	k = 0;
	do
	:: k < N -> assert(!VIEWED(i) || WORD(offer[i], k) >= WORD(view[i], k)); k++
	:: k == N -> break
	od;
	k = 0;
	view[i] = offer[i];
	epoch[i] = b;
	step[i] = 0
}

inline start_round(i)
{
	promised[i] = BALLOT(COUNT(promised[i]) + 1, i);
	assert(promised[i] < BALLOTS);
	offer[i] = known[i];
	offered[i] = true;
	lead[i] = 1;
	wait_for_offer(i);
	send_waiting(i, propose)
}

inline promise(i, b)
{
	if
	:: b > promised[i] -> promised[i] = b; offered[i] = false; lead[i] = 0; waiting[i] = 0
	:: else
	fi
}

/* All have said SAME, or nobody else is there. */
inline try_commit(i)
{
	if
	:: lead[i] == 1 && (waiting[i] == 0 || BUG == 1) && known[i] == offer[i] ->
		lead[i] = 2;
		wait_for_offer(i);
		send_waiting(i, commit);
		install(i, promised[i])
	:: else
	fi
}

inline go_on(i)
{
	/* The barrier: every cell of the view that still lives as in the view is ready. */
	k = 0;
	do
	:: k < N -> assert(dead[k] || WORD(view[i], k) != life[k] || done[k] >= epoch[i]); k++
	:: k == N -> break
	od;
	k = 0;
	resumed[i] = epoch[i];
	step[i] = 2
}

inline try_resume(i)
{
	if
	:: lead[i] == 2 && (waiting[i] == 0 || BUG == 2) && step[i] == 1 ->
		lead[i] = 0;
		go_on(i);
		wait_for_offer(i);
		send_waiting(i, resume);
		waiting[i] = 0
	:: else
	fi
}

inline receive(i, c)
{
	mtype what;
	byte b, t;
	bit l;

	link[c * N + i]?what(b, t, l);
	if
	:: WORD(known[i], c) == DEAD || l < WORD(known[i], c) /* a life that is over */
	:: else ->
		merge(i, (l << (2 * c))); /* its heartbeat came before */
		if
		:: (what == report || what == propose || what == commit || what == more) && BUG != 3 ->
			merge(i, t)
		:: else
		fi;
		if
		:: WORD(known[i], i) > life[i] -> skip /* told that it is over */
		:: else ->
			if
			:: what == report -> promise(i, b)
			:: what == propose && b < promised[i] -> send(i, c, later, promised[i], 0)
			:: what == propose && b >= promised[i] && b != epoch[i] &&
				WORD(t, i) == life[i] ->
				promise(i, b);
				offer[i] = t;
				offered[i] = true;
				if
				:: known[i] == t -> send(i, c, same, b, 0)
				:: else -> send(i, c, more, b, known[i])
				fi
			:: what == commit && b >= promised[i] && b != epoch[i] &&
				WORD(t, i) == life[i] ->
				promise(i, b);
				offer[i] = t;
				offered[i] = true;
				install(i, b)
			:: what == same && lead[i] == 1 && b == promised[i] ->
				waiting[i] = waiting[i] & ~(1 << c)
			:: what == later -> promise(i, b)
			:: what == ready && lead[i] == 2 && b == epoch[i] ->
				waiting[i] = waiting[i] & ~(1 << c)
			:: what == resume && b == epoch[i] && promised[i] == epoch[i] &&
				step[i] == 1 ->
				go_on(i)
			:: else
			fi
		fi
	fi;
	what = report;
	b = 0;
	t = 0;
	l = 0
}

/* Finds out about another: it is dead, or in its second life. */
#define FINDS_DEAD(i, c) (MINE(i) && VIEWED(i) && dead[c] && WORD(known[i], c) < DEAD)
#define FINDS_NEW(i, c) (MINE(i) && VIEWED(i) && ALIVE(c) && life[c] > WORD(known[i], c))
#define HAS_MAIL(i, c) (MINE(i) && nempty(link[c * N + i]))

proctype cell(byte i)
{
	byte other;

end:
	do
	:: atomic { FINDS_DEAD(i, 0) -> merge(i, DEAD) }
	:: atomic { FINDS_DEAD(i, 1) -> merge(i, DEAD << 2) }
	:: atomic { FINDS_DEAD(i, 2) -> merge(i, DEAD << 4) }
	:: atomic { FINDS_NEW(i, 0) -> merge(i, 1) }
	:: atomic { FINDS_NEW(i, 1) -> merge(i, 1 << 2) }
	:: atomic { FINDS_NEW(i, 2) -> merge(i, 1 << 4) }
	:: atomic { HAS_MAIL(i, 0) -> receive(i, 0); try_commit(i); try_resume(i) }
	:: atomic { HAS_MAIL(i, 1) -> receive(i, 1); try_commit(i); try_resume(i) }
	:: atomic { HAS_MAIL(i, 2) -> receive(i, 2); try_commit(i); try_resume(i) }
#if N == 4
	:: atomic { FINDS_DEAD(i, 3) -> merge(i, DEAD << 6) }
	:: atomic { FINDS_NEW(i, 3) -> merge(i, 1 << 6) }
	:: atomic { HAS_MAIL(i, 3) -> receive(i, 3); try_commit(i); try_resume(i) }
#endif
	/* Leads, or leads anew. */
	:: atomic { MINE(i) && lead[i] && known[i] != offer[i] && BUG != 4 ->
		start_round(i); try_commit(i) }
	:: atomic { MINE(i) && !lead[i] && NEEDS(i) && !LED(i) && LEADER(i) ->
		start_round(i); try_commit(i) }
	:: atomic { MINE(i) && !lead[i] && NEEDS(i) && suspicions < S && (LED(i) || !LEADER(i)) ->
		suspicions++; start_round(i); try_commit(i) }
	/* Reports what the coordinator, or else the lowest, may not know. */
	:: atomic { MINE(i) && !lead[i] && NEEDS(i) && LED(i) && offered[i] &&
			known[i] != offer[i] && told[i] != known[i] ->
		told[i] = known[i];
		send(i, COORD(i), report, promised[i], known[i]) }
	:: atomic { MINE(i) && !lead[i] && NEEDS(i) && !LED(i) && !LEADER(i) &&
			told[i] != known[i] ->
		other = 0;
		do
		:: LOWER(i, other) -> break
		:: else -> other++
		od;
		told[i] = known[i];
		send(i, other, report, promised[i], known[i]);
		other = 0 }
	/* Its steps end. */
	:: atomic { MINE(i) && VIEWED(i) && step[i] == 0 ->
		step[i] = 1;
		done[i] = epoch[i];
		if
		:: CELL(epoch[i]) == i && LIFE(epoch[i]) == life[i] -> try_resume(i)
		:: else ->
			if
			:: promised[i] == epoch[i] -> send(i, CELL(epoch[i]), ready, epoch[i], 0)
			:: else
			fi
		fi }
	od
}

inline empty_links_to(c)
{
	byte from = 0;
	mtype what;
	byte b, t;
	bit l;

	do
	:: from < N && nempty(link[from * N + c]) -> link[from * N + c]?what(b, t, l)
	:: from < N && empty(link[from * N + c]) -> from++
	:: from == N -> break
	od;
	from = 0;
	what = report;
	b = 0;
	t = 0;
	l = 0
}

#define OTHER_VIEWED(c) \
	((c != 0 && ALIVE(0) && VIEWED(0)) || (c != 1 && ALIVE(1) && VIEWED(1)) || \
		(c != 2 && ALIVE(2) && VIEWED(2)) || \
		(N == 4 && c != N - 1 && ALIVE(N - 1) && VIEWED(N - 1)))

/* Somebody with a view always survives: to found a machine anew is not modelled. */
proctype faults()
{
	byte c;

	do
	:: atomic { deaths < F ->
		deaths++;
		select(c : 0..(N - 1));
		if
		:: ALIVE(c) && OTHER_VIEWED(c) ->
			dead[c] = true;
			lead[c] = 0;
			waiting[c] = 0;
			empty_links_to(c)
		:: else
		fi;
		c = 0 }
	:: atomic { restarts < R ->
		restarts++;
		select(c : 0..(N - 1));
		if
		:: ALIVE(c) && life[c] == 0 && OTHER_VIEWED(c) ->
			life[c] = 1;
			known[c] = 1 << (2 * c);
			view[c] = 0;
			offer[c] = 0;
			promised[c] = 0;
			epoch[c] = 0;
			resumed[c] = 0;
			waiting[c] = 0;
			offered[c] = false;
			told[c] = 0;
			lead[c] = 0;
			step[c] = 2;
			done[c] = 0;
			empty_links_to(c)
		:: else
		fi;
		c = 0 }
	:: break
	od
}

#define TRUE_OF(v, c) (WORD(v, c) == (dead[c] -> DEAD : life[c]))
#define RIGHT(c) \
	(dead[c] || (VIEWED(c) && step[c] == 2 && resumed[c] == epoch[c] && \
		    promised[c] == epoch[c] && known[c] == view[c] && TRUE_OF(view[c], 0) && \
		    TRUE_OF(view[c], 1) && TRUE_OF(view[c], 2) && TRUE_OF(view[c], N - 1)))
#define SAME_EPOCH(a, c) (dead[a] || dead[c] || epoch[a] == epoch[c])

init
{
	atomic {
		k = 0;
		do
		:: k < BALLOTS -> agreed[k] = UNSET; k++
		:: else -> break
		od;
		k = 0;
		do
		:: k < N ->
			promised[k] = FIRST;
			epoch[k] = FIRST;
			resumed[k] = FIRST;
			done[k] = FIRST;
			step[k] = 2;
			run cell(k);
			k++
		:: else -> break
		od;
		k = 0;
		agreed[FIRST] = 0;
		run faults()
	}
	/* When nothing more can happen, everything is right. */
	timeout;
	assert(RIGHT(0) && RIGHT(1) && RIGHT(2) && SAME_EPOCH(0, 1) && SAME_EPOCH(1, 2) &&
		SAME_EPOCH(0, 2));
#if N == 4
	assert(RIGHT(3) && SAME_EPOCH(0, 3) && SAME_EPOCH(1, 3) &&
		SAME_EPOCH(2, 3))
#endif
}
