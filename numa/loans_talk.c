/* SPDX-License-Identifier: BSD-2-Clause */
/* The loan book: what books say to each other, and what comes out of them. */
#include <string.h>

#include "numa/loans_impl.h"
#include "numa/machine.h"

uint64_t loans_lent(const struct loans *l, uint32_t os_node)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		const struct loan *loan = &l->lines[i].loan;

		if (loan->state == LOAN_LENT && (os_node == NODE_NONE || loan->os_node == os_node))
			sum += loan->units;
	}
	return sum;
}

uint64_t loans_room(const struct loans *l, uint32_t os_node)
{
	for (uint32_t i = 0; i < l->offer_count; i++) {
		uint64_t taken = loans_lent(l, os_node) + l->cfg.lend_above_units;

		if (l->offers[i].os_node == os_node)
			return l->offers[i].units > taken ? l->offers[i].units - taken : 0;
	}
	return 0;
}

/* The node that this request is lent from: the one with the most room, the first on ties. */
static uint32_t pick_node(const struct loans *l, uint32_t wanted)
{
	uint32_t best = NODE_NONE;

	if (wanted != NODE_NONE)
		return wanted;
	for (uint32_t i = 0; i < l->offer_count; i++) {
		if (best == NODE_NONE || loans_room(l, l->offers[i].os_node) > loans_room(l, best))
			best = l->offers[i].os_node;
	}
	return best;
}

static enum loans_recv answer(
	struct loan_msg *reply, uint16_t op, const struct loan *about, uint64_t units)
{
	*reply = (struct loan_msg){ .op = op, .line = *about };
	reply->line.units = units;
	reply->line.state = 0;
	return LOANS_RECV_REPLY;
}

static enum loans_recv on_request(
	struct loans *l, struct peer *p, const struct loan *asked, struct loan_msg *reply)
{
	struct line *line = loans_find(l, asked->borrower, asked->id);
	struct loan loan = *asked;
	uint64_t room;

	if (line)
		return answer(reply, LOAN_OP_GRANT, &line->loan, line->loan.units);
	if (asked->id >> 32 != p->incarnation)
		return LOANS_RECV_LATE;
	if (asked->id <= p->highest)
		return answer(reply, LOAN_OP_REFUSE, asked, 0);
	/* It asks again, and by then this may know what it has. */
	if (!loans_settled(l))
		return LOANS_RECV_LATE;
	p->highest = asked->id;
	loan.os_node = pick_node(l, asked->os_node);
	room = loans_room(l, loan.os_node);
	loan.units = asked->units < room ? asked->units : room;
	loan.state = LOAN_LENT;
	if (loan.units == 0 || !loans_enter(l, &loan))
		return answer(reply, LOAN_OP_REFUSE, asked, 0);
	return answer(reply, LOAN_OP_GRANT, &loan, loan.units);
}

static enum loans_recv on_grant(struct loans *l, const struct loan *granted)
{
	struct line *line = loans_find(l, l->cfg.self, granted->id);

	if (!line || line->loan.state != LOAN_ASKED)
		return LOANS_RECV_LATE;
	if (granted->units > line->loan.units ||
		(line->loan.os_node != NODE_NONE && line->loan.os_node != granted->os_node))
		return LOANS_RECV_BAD;
	line->loan.units = granted->units;
	line->loan.os_node = granted->os_node;
	line->loan.state = LOAN_HELD;
	line->todo = TODO_GRANTED;
	return LOANS_RECV_OK;
}

static enum loans_recv on_refuse(struct loans *l, const struct loan *refused)
{
	struct line *line = loans_find(l, l->cfg.self, refused->id);

	if (!line || line->loan.state != LOAN_ASKED)
		return LOANS_RECV_LATE;
	line->loan.state = LOAN_OVER;
	line->todo = TODO_REFUSED;
	return LOANS_RECV_OK;
}

static enum loans_recv on_return(
	struct loans *l, struct peer *p, const struct loan *kept, struct loan_msg *reply)
{
	struct line *line = loans_find(l, kept->borrower, kept->id);

	if (line && kept->units > line->loan.units)
		return LOANS_RECV_LATE;
	/* The line may have been told before and still be on its way: ask anew, it is not heard
	 * then. */
	if (!p->agreed) {
		p->serial++;
		p->due_ns = l->now_ns;
	}
	if (line)
		line->loan.units = kept->units;
	if (line && kept->units == 0)
		line->loan.state = LOAN_FREE;
	/* A request that is overtaken by its own return is not granted any more. */
	if (kept->id >> 32 == p->incarnation && kept->id > p->highest)
		p->highest = kept->id;
	return answer(reply, LOAN_OP_RETURNED, kept, kept->units);
}

static enum loans_recv on_returned(struct loans *l, const struct loan *kept)
{
	struct line *line = loans_find(l, l->cfg.self, kept->id);

	if (!line || !(line->todo & TODO_SEND))
		return LOANS_RECV_LATE;
	if (line->loan.state == LOAN_HELD && kept->units == line->loan.units) {
		line->todo &= ~(uint32_t)TODO_SEND;
		return LOANS_RECV_OK;
	}
	if (line->loan.state != LOAN_RETURNING || kept->units != 0)
		return LOANS_RECV_LATE;
	line->todo &= TODO_REFUSED;
	line->loan.state = line->todo ? LOAN_OVER : LOAN_FREE;
	return LOANS_RECV_OK;
}

static enum loans_recv on_recall(struct loans *l, const struct loan *wanted)
{
	struct line *line = loans_find(l, l->cfg.self, wanted->id);

	if (!line || line->loan.state != LOAN_HELD)
		return LOANS_RECV_LATE;
	line->wanted = wanted->units < line->loan.units ? wanted->units : line->loan.units;
	line->todo |= TODO_RECALLED;
	return LOANS_RECV_OK;
}

/* Does this answer our latest TELL, and is that still of interest? */
static bool heard(const struct loans *l, const struct peer *p, const struct loan_msg *msg)
{
	return l->claimed && !p->agreed && msg->serial == p->serial;
}

static enum loans_recv on_line(struct loans *l, const struct peer *p, const struct loan_msg *msg)
{
	const struct loan *told = &msg->line;
	struct line *line = loans_find(l, told->borrower, told->id);
	bool lender = told->lender == l->cfg.self;
	struct loan loan = *told;

	if (!heard(l, p, msg))
		return LOANS_RECV_LATE;
	if (!lender && told->id >> 32 >= l->cfg.incarnation)
		return LOANS_RECV_BAD; /* this life has asked for nothing yet */
	if (!line) {
		/* As lender: its guests hold it. As borrower: none of ours does. */
		loan.state = lender ? LOAN_LENT : LOAN_RETURNING;
		line = loans_enter(l, &loan);
		if (!line)
			return LOANS_RECV_LATE;
		if (!lender)
			loans_say(l, line);
	}
	if (!lender && line->loan.state == LOAN_HELD && line->loan.units < told->units)
		loans_say(l, line);
	line->confirmed = msg->answer;
	return LOANS_RECV_OK;
}

static enum loans_recv on_told(struct loans *l, uint16_t from, const struct loan_msg *msg)
{
	struct peer *p = &l->peers[from];
	uint64_t confirmed = 0;

	if (!heard(l, p, msg))
		return LOANS_RECV_LATE;
	for (uint32_t i = 0; i < l->cfg.line_max; i++)
		confirmed += line_counts(&l->lines[i]) && l->lines[i].confirmed == msg->answer &&
			     other_side(l, &l->lines[i].loan) == from;
	/*
	 * Else something was lost on the way, and it is asked again. Lines that only an
	 * earlier answer had are being returned: the RETURN strikes them.
	 */
	p->agreed = confirmed == msg->line.units;
	return LOANS_RECV_OK;
}

static enum loans_recv on_tell(struct loans *l, struct peer *p, uint32_t serial)
{
	/* Before all claims are in, the answer would be wrong; it asks again. */
	if (!l->claimed)
		return LOANS_RECV_LATE;
	if (p->telling && p->tell_serial == serial)
		return LOANS_RECV_OK;
	p->telling = true;
	p->tell_at = p->told = 0;
	p->tell_serial = serial;
	p->answers++;
	return LOANS_RECV_OK;
}

/* Whether the sender of this operation is the lender of the line. */
static bool from_lender(uint16_t op)
{
	return op == LOAN_OP_GRANT || op == LOAN_OP_REFUSE || op == LOAN_OP_RETURNED ||
	       op == LOAN_OP_RECALL || op == LOAN_OP_TELL || op == LOAN_OP_TOLD;
}

enum loans_recv loans_recv(struct loans *l, uint64_t now_ns, uint16_t from,
	const struct loan_msg *msg, struct loan_msg *reply)
{
	const struct loan *line = &msg->line;
	uint16_t self = l->cfg.self;
	struct peer *p;
	bool lender;

	if (from >= l->cfg.cell_count || from == self)
		return LOANS_RECV_BAD;
	lender = line->lender == from;
	if (lender ? line->borrower != self : line->lender != self || line->borrower != from)
		return LOANS_RECV_BAD;
	if (msg->op != LOAN_OP_LINE && lender != from_lender(msg->op))
		return LOANS_RECV_BAD;
	p = &l->peers[from];
	if (!p->live || (lender ? line->lender_born : line->borrower_born) != p->born ||
		(lender ? line->borrower_born : line->lender_born) != l->cfg.born)
		return LOANS_RECV_LATE;
	l->now_ns = now_ns;
	switch (msg->op) {
	case LOAN_OP_REQUEST:
		return on_request(l, p, line, reply);
	case LOAN_OP_GRANT:
		return on_grant(l, line);
	case LOAN_OP_REFUSE:
		return on_refuse(l, line);
	case LOAN_OP_RETURN:
		return on_return(l, p, line, reply);
	case LOAN_OP_RETURNED:
		return on_returned(l, line);
	case LOAN_OP_RECALL:
		return on_recall(l, line);
	case LOAN_OP_LINE:
		return on_line(l, p, msg);
	case LOAN_OP_TELL:
		return on_tell(l, p, msg->serial);
	case LOAN_OP_TOLD:
		return on_told(l, from, msg);
	default:
		return LOANS_RECV_BAD;
	}
}

static void send(struct loans_action *out, uint16_t cell, uint16_t op, const struct loan *about,
	uint64_t units)
{
	*out = (struct loans_action){ .kind = LOANS_SEND, .cell = cell };
	(void)answer(&out->msg, op, about, units);
}

/* Takes one thing off the line's list; false if nothing is to be done now. */
static bool next_of_line(struct loans *l, struct line *line, struct loans_action *out)
{
	static const struct {
		enum line_todo todo;
		enum loans_action_kind kind;
	} reports[] = {
		{ TODO_GRANTED, LOANS_GRANTED },
		{ TODO_REFUSED, LOANS_REFUSED },
		{ TODO_RECALLED, LOANS_RECALLED },
		{ TODO_STRUCK, LOANS_STRUCK },
	};
	const struct loan *loan = &line->loan;
	uint16_t other = other_side(l, loan);

	for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++) {
		if (!(line->todo & reports[i].todo))
			continue;
		line->todo &= ~(uint32_t)reports[i].todo;
		*out = (struct loans_action){ .kind = reports[i].kind, .cell = other };
		out->line = *loan;
		out->units = reports[i].kind == LOANS_RECALLED ? line->wanted : loan->units;
		if (loan->state == LOAN_OVER && line->todo == 0)
			line->loan.state = LOAN_FREE;
		return true;
	}
	if (!line_counts(line) || !l->peers[other].live)
		return false;
	if (line->todo & TODO_RECALL) {
		line->todo &= ~(uint32_t)TODO_RECALL;
		send(out, other, LOAN_OP_RECALL, loan, line->wanted);
		return true;
	}
	if (!line_speaks(l, line) || line->due_ns > l->now_ns)
		return false;
	line->due_ns = l->now_ns + l->cfg.retry_ns;
	if (loan->state == LOAN_ASKED)
		send(out, other, LOAN_OP_REQUEST, loan, loan->units);
	else
		send(out, other, LOAN_OP_RETURN, loan, loan->state == LOAN_HELD ? loan->units : 0);
	return true;
}

/* The lines that are shared with this peer, one after the other, then their number. */
static bool next_told(struct loans *l, uint16_t cell, struct loans_action *out)
{
	struct peer *p = &l->peers[cell];
	struct loan whole = { .lender_born = l->cfg.born,
		.borrower_born = p->born,
		.lender = l->cfg.self,
		.borrower = cell };

	for (; p->tell_at < l->cfg.line_max; p->tell_at++) {
		const struct loan *loan = &l->lines[p->tell_at].loan;

		if ((loan->state != LOAN_HELD && loan->state != LOAN_LENT) ||
			other_side(l, loan) != cell)
			continue;
		p->tell_at++;
		p->told++;
		send(out, cell, LOAN_OP_LINE, loan, loan->units);
		out->msg.serial = p->tell_serial;
		out->msg.answer = p->answers;
		return true;
	}
	p->telling = false;
	send(out, cell, LOAN_OP_TOLD, &whole, p->told);
	out->msg.serial = p->tell_serial;
	out->msg.answer = p->answers;
	return true;
}

static bool next_of_peer(struct loans *l, uint16_t cell, struct loans_action *out)
{
	struct peer *p = &l->peers[cell];
	struct loan whole = { .lender_born = l->cfg.born,
		.borrower_born = p->born,
		.lender = l->cfg.self,
		.borrower = cell };

	if (!p->live)
		return false;
	if (p->telling)
		return next_told(l, cell, out);
	if (!l->claimed || p->agreed || p->due_ns > l->now_ns)
		return false;
	p->due_ns = l->now_ns + l->cfg.retry_ns;
	send(out, cell, LOAN_OP_TELL, &whole, 0);
	out->msg.serial = p->serial;
	return true;
}

bool loans_next(struct loans *l, struct loans_action *out)
{
	uint32_t end = l->cfg.line_max + l->cfg.cell_count;

	/* Once around from where the last one was found. */
	for (uint32_t i = 0; i < end; i++) {
		uint32_t at = (l->cursor + i) % end;
		bool found = at < l->cfg.line_max
				     ? next_of_line(l, &l->lines[at], out)
				     : next_of_peer(l, (uint16_t)(at - l->cfg.line_max), out);

		if (found) {
			l->cursor = at;
			return true;
		}
	}
	return false;
}

uint64_t loans_borrowed(const struct loans *l, uint16_t lender, uint32_t guest)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		const struct loan *loan = &l->lines[i].loan;

		if (loan->state == LOAN_HELD && (lender == UINT16_MAX || loan->lender == lender) &&
			(guest == UINT32_MAX || loan->guest == guest))
			sum += loan->units;
	}
	return sum;
}

const struct loan *loans_line(const struct loans *l, uint32_t *from)
{
	for (; *from < l->cfg.line_max; (*from)++) {
		if (line_counts(&l->lines[*from]))
			return &l->lines[(*from)++].loan;
	}
	return NULL;
}

bool loans_agreed(const struct loans *l, uint16_t cell)
{
	return cell < l->cfg.cell_count && l->claimed && l->peers[cell].live &&
	       l->peers[cell].agreed;
}

const char *loans_check(const struct loans *l)
{
	for (uint32_t i = 0; i < l->cfg.line_max; i++) {
		const struct line *line = &l->lines[i];
		const struct loan *loan = &line->loan;

		if (loan->state == LOAN_FREE)
			continue;
		if (loan->units == 0 || loan->units > LOANS_UNITS_MAX)
			return "a line without units, or with too many";
		if (loan->lender == loan->borrower ||
			(loan->lender == l->cfg.self) == (loan->borrower == l->cfg.self))
			return "a line that is not between this cell and another";
		if (loan->state == LOAN_OVER && line->todo == 0)
			return "a line that is over and has nothing to report";
		if ((loan->state == LOAN_LENT) != (loan->lender == l->cfg.self) &&
			loan->state != LOAN_OVER)
			return "a line on the wrong side";
		for (uint32_t k = 0; k < i; k++) {
			if (line_counts(line) && line_counts(&l->lines[k]) &&
				l->lines[k].loan.id == loan->id &&
				l->lines[k].loan.borrower == loan->borrower)
				return "two lines with one id";
		}
		if (line_counts(line) && l->peers[other_side(l, loan)].live &&
			l->peers[other_side(l, loan)].born != (loan->lender == l->cfg.self
									      ? loan->borrower_born
									      : loan->lender_born))
			return "a line with an earlier birth of a live cell";
	}
	return NULL;
}
