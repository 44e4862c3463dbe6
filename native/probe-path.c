/*
 * One path: when it is probed, what counts as unanswered, and what follows.
 *
 * A probe goes every interval. It is unanswered after max(retry, 1.5 times the smoothed round trip); from then on one goes
 * every retry. After `down_after` unanswered ones in a row the path is down. From the one after `echo_after` on an echo
 * request goes along, which the far kernel answers without its agent: answered, the path is "silent" instead, and down
 * only when echo requests go unanswered too. An answer that comes late still proves the path, and lengthens the wait for
 * the next ones by what it says of the round trip.
 *
 * Back from down it takes `return_after` answers in a row, and `hold` since the first answer without so many misses that
 * the path would have been given up again. `hold` doubles each time a path goes down soon after it came back. A path that
 * never was up has nothing to prove: one answer will do.
 *
 * A path that has been down for some time costs little: one probe an interval, an echo request with every fifth, and what
 * went unanswered is counted when the next one goes. It is not looked for answers in between, since all that follows from a
 * first one is counted from when the kernel received it.
 */
#include <string.h>

#include "probe.h"

/* Up for so long, a path starts with a clean sheet. */
#define STEADY (60 * LS_SECOND)
/* Back for so long, what the kernel was told of it has been carried out. */
#define SETTLED (500 * LS_MILLISECOND)
/* Down for so long, with nothing heard of it, it is asked for as cheaply as may be... */
#define GONE (10 * LS_SECOND)
/* ...and an echo request goes with one probe of so many. */
#define ECHO_EVERY 5

static int64_t milliseconds(uint32_t ms)
{
	return ms * LS_MILLISECOND;
}

static int64_t patience(const struct ls_probe_path *path)
{
	int64_t least = milliseconds(path->wish.retry_ms), usual = path->smoothed + path->smoothed / 2;

	return usual > least ? usual : least;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void clear_row(struct ls_probe_row *row)
{
	row->misses = 0;
	row->answers = 0;
}

void ls_path_mark(struct ls_probe *probe, struct ls_probe_path *path)
{
	path->changed = true;
	probe->any_changed = true;
}

static void become(struct ls_probe *probe, struct ls_probe_path *path, enum ls_probe_state state,
		   enum ls_probe_cause cause, int64_t now)
{
	if (state == LS_DOWN) {
		bool again = path->was_down && path->was_up &&
			     now - path->up_since < later(STEADY, 2 * path->hold);
		int64_t doubled = earlier(2 * path->hold, milliseconds(path->wish.hold_limit_ms));

		path->hold = later(again ? doubled : 0, milliseconds(path->wish.hold_ms));
		path->was_down = true;
		path->back_since = 0;
		clear_row(&path->echo);
	}
	if (path->state == LS_DOWN)
		path->returned = now;
	if (state == LS_UP) {
		path->up_since = now;
		path->was_up = true;
		path->echo_heard = false;
		clear_row(&path->echo);
	}
	path->state = state;
	path->cause = cause;
	path->since = now;
	path->changes++;
	ls_path_mark(probe, path);
}

static void judge_down(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	const struct ls_probe_wish *wish = &path->wish;

	if (path->probe.misses >= wish->down_after) {
		path->back_since = 0;
		if (path->echo.answers >= wish->return_after)
			become(probe, path, LS_SILENT, LS_CAUSE_ECHO_ONLY, now);
		return;
	}
	if (path->back_since == 0 || path->probe.answers == 0)
		return;
	if (!path->was_up || (path->probe.answers >= wish->return_after && now - path->back_since >= path->hold))
		become(probe, path, LS_UP, LS_CAUSE_ANSWERED, now);
}

static void judge(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	const struct ls_probe_wish *wish = &path->wish;
	bool given_up = path->probe.misses >= wish->down_after;

	switch (path->state) {
	case LS_UNKNOWN:
		if (path->probe.answers > 0) {
			become(probe, path, LS_UP, LS_CAUSE_ANSWERED, now);
			return;
		}
		__attribute__((fallthrough));
	case LS_UP:
		if (given_up && path->echo_heard && path->echo.misses < wish->down_after)
			become(probe, path, LS_SILENT, LS_CAUSE_ECHO_ONLY, now);
		else if (given_up)
			become(probe, path, LS_DOWN, path->unsent ? LS_CAUSE_UNSENT : LS_CAUSE_UNANSWERED, now);
		return;
	case LS_SILENT:
		if (path->probe.answers >= wish->return_after)
			become(probe, path, LS_UP, LS_CAUSE_ANSWERED, now);
		else if (given_up && path->echo.misses >= wish->down_after)
			become(probe, path, LS_DOWN, path->unsent ? LS_CAUSE_UNSENT : LS_CAUSE_UNANSWERED, now);
		return;
	case LS_DOWN:
		judge_down(probe, path, now);
		return;
	}
}

/* In trouble, and not given up: probes go every retry. */
static bool hurries(const struct ls_probe_path *path)
{
	switch (path->state) {
	case LS_UNKNOWN:
	case LS_UP:
		return path->probe.misses > 0;
	case LS_SILENT:
		return path->echo.misses > 0;
	case LS_DOWN:
		return false;
	}
	return false;
}

static bool is_gone(const struct ls_probe_path *path)
{
	return path->state == LS_DOWN && path->probe.answers == 0 && path->echo.answers == 0 &&
	       path->last_send - path->since > GONE;
}

bool ls_path_wants_echo(const struct ls_probe_path *path)
{
	if (is_gone(path))
		return path->probe.next % ECHO_EVERY == 0;
	return path->state == LS_SILENT || path->state == LS_DOWN || path->probe.misses >= path->wish.echo_after;
}

static void expire(struct ls_probe_row *row, int64_t limit, uint32_t *unanswered)
{
	for (; row->oldest != row->next; row->oldest++) {
		struct ls_probe_sent *sent = &row->ring[row->oldest % LS_RING];

		if (sent->answered)
			continue;
		if (sent->at > limit)
			return;
		sent->overdue = true;
		row->misses += row->misses < UINT32_MAX;
		row->answers = 0;
		++*unanswered;
	}
}

static int64_t deadline(const struct ls_probe_row *row, int64_t wait)
{
	return row->oldest == row->next ? INT64_MAX : row->ring[row->oldest % LS_RING].at + wait;
}

static bool is_full(const struct ls_probe_row *row)
{
	return row->next - row->oldest >= LS_RING;
}

/* When the first of those not decided counts as unanswered. */
static int64_t first_deadline(const struct ls_probe_path *path)
{
	int64_t wait = patience(path);

	return earlier(deadline(&path->probe, wait), deadline(&path->echo, wait));
}

void ls_path_set_due(struct ls_probe_path *path)
{
	int64_t due = is_gone(path) ? path->next_send : earlier(path->next_send, first_deadline(path));

	path->due = earlier(due, path->trial.next);
}

/* A tenth of an interval before its time, as far as a fifth less than an interval has passed. */
int64_t ls_path_earliest(const struct ls_probe_path *path)
{
	int64_t interval = milliseconds(path->wish.interval_ms);

	return earlier(path->next_send, later(path->next_send - interval / 10, path->last_send + interval - interval / 5));
}

bool ls_path_step(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	int64_t wait = patience(path);
	uint32_t probes = 0, echoes = 0;

	expire(&path->probe, now - wait, &probes);
	expire(&path->echo, now - wait, &echoes);
	path->sample.unanswered += probes;
	path->trial.missed += probes;
	if (probes || echoes) {
		judge(probe, path, now);
		if (hurries(path))
			path->next_send = earlier(path->next_send, path->last_send + milliseconds(path->wish.retry_ms));
	}
	ls_trial_step(probe, path, now);
	if (is_full(&path->probe) || is_full(&path->echo)) {
		path->next_send = later(path->next_send, first_deadline(path));
		path->due = path->next_send;
		return false;
	}
	ls_path_set_due(path);
	return ls_path_earliest(path) <= now;
}

uint32_t ls_path_sent(struct ls_probe_row *row, int64_t now, uint64_t stamp)
{
	uint32_t seq = row->next++;

	row->ring[seq % LS_RING] = (struct ls_probe_sent){ .at = now, .stamp = stamp, .seq = seq };
	return seq;
}

void ls_path_after_send(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	int64_t interval = milliseconds(path->wish.interval_ms);

	path->last_send = now;
	if (hurries(path)) {
		path->next_send = now + milliseconds(path->wish.retry_ms);
	} else {
		/*
		 * Up to a fifth earlier, so that the host does not march in step with anything, and never later: detection
		 * begins with the next probe. Who went together goes together again, a wakeup for all of them, and no group
		 * grows where several meet in a tick.
		 */
		if (probe->in_step++ % probe->group == 0)
			probe->varied = (uint32_t)(ls_random(probe) >> 48);
		path->next_send = now + interval - interval / 5 / 65536 * probe->varied;
	}
	ls_path_set_due(path);
}

/* The one that was asked, or NULL. */
static struct ls_probe_sent *take(struct ls_probe_row *row, uint32_t seq)
{
	struct ls_probe_sent *sent = &row->ring[seq % LS_RING];

	if (row->next - seq - 1 >= LS_RING || sent->seq != seq || sent->at == 0 || sent->answered)
		return NULL;
	sent->answered = true;
	while (row->oldest != row->next && row->ring[row->oldest % LS_RING].answered)
		row->oldest++;
	row->misses = 0;
	row->answers += row->answers < UINT32_MAX;
	return sent;
}

bool ls_path_answered(struct ls_probe *probe, struct ls_probe_path *path, uint32_t seq, uint64_t stamp, int64_t at)
{
	struct ls_probe_sent *sent;

	if (path->probe.ring[seq % LS_RING].stamp != stamp || !(sent = take(&path->probe, seq)))
		return false;
	path->sample.answered++;
	path->trial.heard++;
	path->sample.late += sent->overdue;
	ls_sample_rtt(path, later(at - sent->at, 0));
	path->last_seen = later(path->last_seen, at);
	if (path->state == LS_UP) {
		path->echo_heard = false;
		clear_row(&path->echo);
	}
	if (path->state == LS_DOWN && path->back_since == 0)
		path->back_since = at;
	judge(probe, path, at);
	ls_path_set_due(path);
	return true;
}

bool ls_path_echoed(struct ls_probe *probe, struct ls_probe_path *path, uint32_t seq, int64_t at)
{
	if (!take(&path->echo, seq))
		return false;
	path->echo_heard = true;
	judge(probe, path, at);
	ls_path_set_due(path);
	return true;
}

void ls_path_word(struct ls_probe *probe, struct ls_probe_path *path, const struct ls_word *word)
{
	if (path->word_known && path->word.flags == word->flags && path->word.weight == word->weight &&
	    path->word.serial == word->serial)
		return;
	path->word = *word;
	path->word_known = true;
	ls_path_mark(probe, path);
}

/*
 * What we say on this path. While it is down for us, what comes by it is dropped: its sources lie behind a blackhole, and
 * the kernel takes no packet from where it could send none. Each end decides by itself when the path is back, so who comes
 * to it first would send into nothing; told of it, it goes by other paths until both are there.
 */
struct ls_word ls_path_own_word(const struct ls_probe *probe, const struct ls_probe_path *path, int64_t now)
{
	struct ls_word word = probe->word;

	if (path->state == LS_DOWN || (path->returned && now - path->returned < SETTLED))
		word.flags |= LS_WORD_RETURNING;
	return word;
}

static void scatter(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	path->next_send = now + (int64_t)(ls_random(probe) % (uint64_t)milliseconds(path->wish.interval_ms));
}

void ls_path_begin(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	path->since = now;
	path->hold = milliseconds(path->wish.hold_ms);
	path->trial.next = INT64_MAX;
	path->ssid = (uint16_t)(ls_random(probe) >> 48 | 1);
	scatter(probe, path, now);
	ls_path_set_due(path);
}

void ls_path_retime(struct ls_probe *probe, struct ls_probe_path *path, int64_t now)
{
	if (path->next_send > now + milliseconds(path->wish.interval_ms))
		scatter(probe, path, now);
	ls_path_set_due(path);
}
