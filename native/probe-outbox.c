/*
 * What lies between the thread and JavaScript. One unread row a path at most, the newest: however long the main thread
 * stands still, nothing grows and nothing that holds at the end is lost. A report waits to be taken; until then its
 * successor goes on collecting. So it does while nothing is heard: who waits for gateways that are down is not woken each
 * second to be told so.
 */
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static double *row_at(struct ls_probe_rows *rows, size_t index)
{
	while (index >= rows->room) {
		size_t room = rows->room ? 2 * rows->room : 64;
		double *values = realloc(rows->values, room * LS_ROW * sizeof *values);

		if (!values)
			abort(); /* news would be lost without a word */
		rows->values = values;
		rows->room = room;
	}
	if (index >= rows->count)
		rows->count = index + 1;
	return rows->values + index * LS_ROW;
}

/* With the lock held. True: JavaScript is to be told. */
static bool call(struct ls_probe_box *box)
{
	bool first = !box->called;

	box->called = true;
	return first;
}

void ls_box_publish(struct ls_probe *probe)
{
	struct ls_probe_box *box = &probe->box;
	bool tell;

	if (!probe->any_changed)
		return;
	probe->any_changed = false;
	pthread_mutex_lock(&box->lock);
	for (size_t i = 0; i < probe->table.count; i++) {
		struct ls_probe_path *path = probe->table.paths[i];

		if (!path->changed)
			continue;
		path->changed = false;
		if (path->box_turn != box->turn)
			path->box_row = box->news.count;
		path->box_turn = box->turn;
		ls_sample_row(path, row_at(&box->news, path->box_row));
	}
	tell = call(box);
	pthread_mutex_unlock(&box->lock);
	if (tell)
		probe->tell(probe->teller);
}

/* A path is up, or answered since the last report. */
static bool is_heard(const struct ls_probe *probe)
{
	for (size_t i = 0; i < probe->table.count; i++)
		if (probe->table.paths[i]->state == LS_UP || probe->table.paths[i]->sample.answered)
			return true;
	return false;
}

void ls_box_report(struct ls_probe *probe)
{
	struct ls_probe_box *box = &probe->box;
	bool tell = false, heard = is_heard(probe);

	/* The first of silence still says that there is nothing to be measured any more. */
	if (!heard && !probe->heard)
		return;
	pthread_mutex_lock(&box->lock);
	if (!box->report_unread && probe->table.count > 0) {
		probe->heard = heard;
		box->report.count = 0;
		for (size_t i = 0; i < probe->table.count; i++) {
			struct ls_probe_path *path = probe->table.paths[i];

			ls_sample_row(path, row_at(&box->report, i));
			memset(&path->sample, 0, offsetof(struct ls_probe_sample, rtt));
		}
		box->report_unread = true;
		tell = call(box);
	}
	pthread_mutex_unlock(&box->lock);
	if (tell)
		probe->tell(probe->teller);
}

bool ls_box_take(struct ls_probe *probe, struct ls_probe_orders *orders)
{
	struct ls_probe_box *box = &probe->box;
	bool stop;

	pthread_mutex_lock(&box->lock);
	probe->word = box->word;
	stop = box->stop;
	if (orders) {
		*orders = (struct ls_probe_orders){ .wishes = box->wishes,
						    .wish_count = box->wish_count,
						    .trials = box->trials,
						    .trial_count = box->trial_count };
		box->wishes = NULL;
		box->trials = NULL;
		box->trial_count = 0;
	}
	pthread_mutex_unlock(&box->lock);
	return !stop;
}
