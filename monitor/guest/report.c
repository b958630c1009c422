/* SPDX-License-Identifier: BSD-2-Clause */
#include "monitor/guest/report.h"

#include "monitor/guest/fields.h"

#include <string.h>

#define PID_MAX_LIMIT (1u << 22) /* of Linux */

static const char *const order_names[ORDER_OP_COUNT] = {
	[ORDER_START] = "start",
	[ORDER_STOP] = "stop",
	[ORDER_KILL] = "kill",
	[ORDER_SHOW] = "show",
	[ORDER_KEEP] = "keep",
	[ORDER_PING] = "ping",
	[ORDER_REHOME] = "rehome",
};

static const char *const report_names[REPORT_OP_COUNT] = {
	[REPORT_STARTED] = "started",
	[REPORT_ERROR] = "error",
	[REPORT_STATE] = "state",
	[REPORT_REGISTER] = "register",
	[REPORT_SHOWN] = "shown",
	[REPORT_MEMORY_ERROR] = "memory-error",
	[REPORT_PONG] = "pong",
};

static const char *const state_names[REPORT_STATE_COUNT] = {
	[REPORT_STARTING] = "starting",
	[REPORT_RUNNING] = "running",
	[REPORT_STOPPED] = "stopped",
	[REPORT_CRASHED] = "crashed",
};

const char *report_state_name(enum report_state state)
{
	return state_names[state];
}

/* Reads a text that has to be one of `names`; `count` when it is not, or is missing. */
static uint32_t one_of(
	struct fields *f, const char *field, const char *const *names, uint32_t count)
{
	char text[16] = "";

	fields_text(f, field, text, sizeof(text), true);
	for (uint32_t i = 0; i < count && !f->rc; i++)
		if (!strcmp(text, names[i]))
			return i;
	fields_wrong(f, field, "is not one that is known");
	return count;
}

json_t *guest_order_encode(const struct guest_order *o)
{
	if (o->op == ORDER_START)
		return json_pack("{s:s,s:o,s:o}", "op", order_names[o->op], "spec",
			guest_spec_encode(&o->spec), "home", guest_home_encode(&o->home));
	if (o->op == ORDER_KEEP)
		return json_pack("{s:s,s:O}", "op", order_names[o->op], "ledger", o->ledger);
	if (o->op == ORDER_REHOME)
		return json_pack("{s:s,s:o,s:O}", "op", order_names[o->op], "home",
			guest_home_encode(&o->home), "ledger", o->ledger);
	return json_pack("{s:s}", "op", order_names[o->op]);
}

/* A new reference, NULL with f->rc if it is no object, or too much to keep. */
static json_t *decode_ledger(struct fields *f)
{
	json_t *value = (json_t *)fields_value(f, "ledger");

	if (f->rc)
		return NULL;
	if (!json_is_object(value))
		fields_wrong(f, "ledger", "has to be an object");
	else if (json_dumpb(value, NULL, 0, JSON_COMPACT) > REPORT_LEDGER_BYTES_MAX)
		fields_wrong(f, "ledger", "is too long");
	return f->rc ? NULL : json_incref(value);
}

static void decode_spec_and_home(struct fields *f, struct guest_spec *spec, struct guest_home *home)
{
	const json_t *spec_value = fields_value(f, "spec");
	const json_t *home_value = fields_value(f, "home");

	if (!f->rc)
		f->rc = guest_spec_decode(spec_value, spec, f->e);
	if (!f->rc)
		f->rc = guest_home_decode(home_value, home, f->e);
	if (!f->rc)
		f->rc = guest_home_covers(home, spec->memory_bytes, f->e);
}

int guest_order_decode(const json_t *value, struct guest_order *o, struct err *e)
{
	static const char *const known[] = { "op", "spec", "home", "ledger", NULL };
	struct fields f;

	memset(o, 0, sizeof(*o));
	fields_begin(&f, value, "order", known, e);
	o->op = one_of(&f, "op", order_names, ORDER_OP_COUNT);
	if (!f.rc && o->op == ORDER_START)
		decode_spec_and_home(&f, &o->spec, &o->home);
	if (!f.rc && o->op == ORDER_REHOME) {
		const json_t *home = fields_value(&f, "home");

		if (!f.rc)
			f.rc = guest_home_decode(home, &o->home, e);
	}
	if (!f.rc && (o->op == ORDER_KEEP || o->op == ORDER_REHOME))
		o->ledger = decode_ledger(&f);
	return f.rc;
}

void guest_order_fini(struct guest_order *o)
{
	json_decref(o->ledger);
	o->ledger = NULL;
}

/* A text that was cut may end in half a character, which JSON can't carry. */
static json_t *words(const char *text)
{
	char plain[ERR_TEXT_BYTES];
	json_t *value = json_string(text);
	size_t n = 0;

	if (value)
		return value;
	for (; text[n] && n + 1 < sizeof(plain); n++)
		plain[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
	plain[n] = '\0';
	return json_string(plain);
}

static json_t *encode_error(const struct guest_report *r)
{
	const struct memory_error *m = &r->error;
	json_t *value = json_pack("{s:s,s:I,s:I,s:I,s:s,s:s}", "op", report_names[r->op],
		"memory_errors", (json_int_t)r->memory_errors, "gpa", (json_int_t)m->gpa, "bytes",
		(json_int_t)m->bytes, "end", memory_error_end_name(m->end), "source", m->source);

	if (value && m->node_known)
		json_object_set_new(value, "node", json_integer(m->node));
	if (value && m->frame_known)
		json_object_set_new(value, "frame", json_integer((json_int_t)m->frame));
	if (value && m->vcpu != MEMORY_ERROR_NOBODY)
		json_object_set_new(value, "vcpu", json_integer(m->vcpu));
	return value;
}

json_t *guest_report_encode(const struct guest_report *r)
{
	const char *op = report_names[r->op];
	json_t *value = NULL;

	switch (r->op) {
	case REPORT_STARTED:
		value = json_pack("{s:s,s:I,s:I}", "op", op, "pid", (json_int_t)r->pid,
			"start_time", (json_int_t)r->start_time);
		break;
	case REPORT_ERROR:
		value = json_pack(
			"{s:s,s:i,s:o}", "op", op, "code", (int)r->code, "text", words(r->text));
		break;
	case REPORT_STATE:
		value = json_pack("{s:s,s:s,s:o,s:I}", "op", op, "state", state_names[r->state],
			"cause", words(r->cause), "reboots", (json_int_t)r->reboots);
		break;
	case REPORT_REGISTER:
		value = json_pack("{s:s,s:s,s:I,s:I,s:s,s:o,s:I,s:o,s:o,s:I}", "op", op, "name",
			r->spec.name, "pid", (json_int_t)r->pid, "start_time",
			(json_int_t)r->start_time, "state", state_names[r->state], "cause",
			words(r->cause), "reboots", (json_int_t)r->reboots, "spec",
			guest_spec_encode(&r->spec), "home", guest_home_encode(&r->home),
			"memory_errors", (json_int_t)r->memory_errors);
		if (value && r->ledger)
			json_object_set(value, "ledger", r->ledger);
		break;
	case REPORT_MEMORY_ERROR:
		value = encode_error(r);
		break;
	case REPORT_SHOWN:
		value = json_pack("{s:s,s:O}", "op", op, "guest", r->shown);
		break;
	case REPORT_PONG:
		value = json_pack("{s:s}", "op", op);
		break;
	case REPORT_OP_COUNT:
		break;
	}
	return value;
}

/* Texts go to terminals: no control characters, cut to fit. */
static void decode_words(struct fields *f, const char *name, char *out, size_t bytes)
{
	const json_t *value = fields_value(f, name);
	const char *text = json_string_value(value);

	if (f->rc)
		return;
	if (!text) {
		fields_wrong(f, name, "has to be a text");
		return;
	}
	strncpy(out, text, bytes - 1);
	out[bytes - 1] = '\0';
	for (; *out; out++)
		if ((unsigned char)*out < ' ' || *out == 0x7f)
			*out = '?';
}

static void decode_process(struct fields *f, struct guest_report *r)
{
	uint64_t pid = 0;

	fields_number(f, "pid", 1, PID_MAX_LIMIT, &pid, true);
	fields_number(f, "start_time", 0, INT64_MAX, &r->start_time, true);
	r->pid = (pid_t)pid;
}

static void decode_state(struct fields *f, struct guest_report *r)
{
	r->state = one_of(f, "state", state_names, REPORT_STATE_COUNT);
	decode_words(f, "cause", r->cause, sizeof(r->cause));
	fields_number(f, "reboots", 0, INT64_MAX, &r->reboots, true);
}

static void decode_error(struct fields *f, struct guest_report *r)
{
	struct memory_error *m = &r->error;
	char end[16] = "";

	fields_number(f, "memory_errors", 1, INT64_MAX, &r->memory_errors, true);
	fields_number(f, "gpa", 0, INT64_MAX, &m->gpa, true);
	fields_number(f, "bytes", 1, SPEC_MEMORY_MAX, &m->bytes, true);
	fields_text(f, "end", end, sizeof(end), true);
	m->end = memory_error_end_of(end);
	if (!f->rc && m->end == MEMORY_ERROR_ENDS)
		fields_wrong(f, "end", "is not one that is known");
	decode_words(f, "source", m->source, sizeof(m->source));
	m->node_known = fields_has(f, "node");
	fields_u32(f, "node", 0, HOME_NODE_ID_MAX, &m->node, false);
	m->frame_known = fields_has(f, "frame");
	fields_number(f, "frame", 0, INT64_MAX, &m->frame, false);
	m->vcpu = MEMORY_ERROR_NOBODY;
	fields_u32(f, "vcpu", 0, SPEC_CPUS_MAX - 1, &m->vcpu, false);
}

static void decode_register(struct fields *f, struct guest_report *r)
{
	char name[SPEC_NAME_MAX + 1] = "";

	decode_process(f, r);
	decode_state(f, r);
	fields_text(f, "name", name, sizeof(name), true);
	fields_number(f, "memory_errors", 0, INT64_MAX, &r->memory_errors, false);
	decode_spec_and_home(f, &r->spec, &r->home);
	if (!f->rc && strcmp(name, r->spec.name) != 0)
		fields_wrong(f, "name", "is not the name in 'spec'");
	if (fields_has(f, "ledger"))
		r->ledger = decode_ledger(f);
}

static void decode_op(struct fields *f, struct guest_report *r)
{
	uint32_t code = 0;

	switch (r->op) {
	case REPORT_STARTED:
		decode_process(f, r);
		break;
	case REPORT_ERROR:
		fields_u32(f, "code", EXIT_FAILED, EXIT_NO_ANSWER, &code, true);
		r->code = (enum exit_code)code;
		decode_words(f, "text", r->text, sizeof(r->text));
		break;
	case REPORT_STATE:
		decode_state(f, r);
		break;
	case REPORT_REGISTER:
		decode_register(f, r);
		break;
	case REPORT_MEMORY_ERROR:
		decode_error(f, r);
		break;
	case REPORT_SHOWN:
		r->shown = (json_t *)fields_value(f, "guest");
		if (!f->rc && !json_is_object(r->shown))
			fields_wrong(f, "guest", "has to be an object");
		r->shown = f->rc ? NULL : json_incref(r->shown);
		break;
	case REPORT_PONG:
	case REPORT_OP_COUNT:
		break;
	}
}

int guest_report_decode(const json_t *value, struct guest_report *r, struct err *e)
{
	static const char *const known[] = { "op", "pid", "start_time", "code", "text", "state",
		"cause", "reboots", "name", "spec", "home", "guest", "ledger", "memory_errors",
		"gpa", "bytes", "end", "source", "node", "frame", "vcpu", NULL };
	struct fields f;

	memset(r, 0, sizeof(*r));
	fields_begin(&f, value, "report", known, e);
	r->op = one_of(&f, "op", report_names, REPORT_OP_COUNT);
	if (!f.rc)
		decode_op(&f, r);
	return f.rc;
}

void guest_report_fini(struct guest_report *r)
{
	json_decref(r->shown);
	json_decref(r->ledger);
	r->shown = r->ledger = NULL;
}
