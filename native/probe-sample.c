/*
 * What a path measured: the smoothed round trip that the schedule rests on, and the figures of a report.
 */
#include <stdlib.h>
#include <string.h>

#include "probe.h"

void ls_sample_rtt(struct ls_probe_path *path, int64_t rtt)
{
	struct ls_probe_sample *sample = &path->sample;
	int64_t change = rtt - path->last_rtt;

	if (path->last_rtt) {
		/* RFC 3550 section 6.4.1, of round trips. */
		path->jitter += ((double)(change < 0 ? -change : change) - path->jitter) / 16;
		path->smoothed += (rtt - path->smoothed) / 8;
	} else {
		path->smoothed = rtt;
	}
	path->last_rtt = rtt ? rtt : 1;
	sample->rtt[sample->count++ % LS_SAMPLES] = rtt;
	sample->sum += rtt;
}

static int ascending(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

static double milliseconds(int64_t nanoseconds)
{
	return (double)nanoseconds / LS_MILLISECOND;
}

void ls_sample_row(const struct ls_probe_path *path, double *row)
{
	const struct ls_probe_sample *sample = &path->sample;
	size_t count = sample->count < LS_SAMPLES ? sample->count : LS_SAMPLES;
	int64_t sorted[LS_SAMPLES];

	memcpy(sorted, sample->rtt, count * sizeof *sorted);
	qsort(sorted, count, sizeof *sorted, ascending);
	row[LS_ROW_ID] = path->wish.id;
	row[LS_ROW_EPOCH] = path->wish.epoch;
	row[LS_ROW_STATE] = path->state;
	row[LS_ROW_CAUSE] = path->cause;
	row[LS_ROW_SINCE_MS] = milliseconds(path->since);
	row[LS_ROW_CHANGES] = path->changes;
	row[LS_ROW_WORD_KNOWN] = path->word_known;
	row[LS_ROW_WORD_FLAGS] = path->word.flags;
	row[LS_ROW_WORD_WEIGHT] = path->word.weight;
	/* A serial is an integer that JavaScript holds; what is not is nobody's serial, and the largest of all. */
	row[LS_ROW_WORD_SERIAL] = path->word.serial >> 53 ? 9007199254740991.0 : (double)path->word.serial;
	row[LS_ROW_LAST_SEEN_MS] = milliseconds(path->last_seen);
	row[LS_ROW_SENT] = sample->sent;
	row[LS_ROW_ANSWERED] = sample->answered;
	row[LS_ROW_UNANSWERED] = sample->unanswered;
	row[LS_ROW_LATE] = sample->late;
	/* The nearest rank, of the last 64. */
	row[LS_ROW_RTT_MIN_MS] = count ? milliseconds(sorted[0]) : 0;
	row[LS_ROW_RTT_MEAN_MS] = count ? milliseconds(sample->sum) / sample->count : 0;
	row[LS_ROW_RTT_P95_MS] = count ? milliseconds(sorted[(count * 95 + 99) / 100 - 1]) : 0;
	row[LS_ROW_JITTER_MS] = path->jitter / LS_MILLISECOND;
	row[LS_ROW_SMOOTHED_MS] = milliseconds(path->smoothed);
	row[LS_ROW_TRIAL] = path->trial.decided;
	row[LS_ROW_VERDICT] = path->trial.verdict;
}
