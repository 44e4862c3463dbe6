/*
 * What crosses between JavaScript and the probe engine: orders one way, rows and counters the other. agent/probe/wire.ts
 * writes and reads the same.
 */
#ifndef LINKSPAN_PROBE_ORDER_H
#define LINKSPAN_PROBE_ORDER_H

#include <net/if.h>
#include <stdint.h>

/* Set here and not by JavaScript: for who says it, this path is down, or was until a moment ago. */
#define LS_WORD_RETURNING 4

/* What a gateway says of itself in every packet. */
struct ls_word {
	uint16_t flags;
	uint16_t weight;
	uint64_t serial;
};

/* A path as JavaScript orders it: agent/probe/wire.ts writes these bytes. */
struct ls_probe_wish {
	uint32_t id;
	/* Another epoch is another path, whatever its id. */
	uint32_t epoch;
	uint32_t family; /* 4 or 6 */
	uint8_t address[16];
	char device[IFNAMSIZ];
	uint32_t interval_ms;
	uint32_t retry_ms;
	uint32_t down_after;
	uint32_t echo_after;
	uint32_t return_after;
	uint32_t hold_ms;
	uint32_t hold_limit_ms;
};

/* Of a path: ask whether packets of `size` bytes, inner IP header and all, pass there and back. */
struct ls_probe_trial_order {
	uint32_t id;
	uint32_t epoch;
	uint32_t number; /* names the verdict */
	uint32_t size;
	uint32_t tries;
};

/* LS_VERDICT_VOID: nothing follows, ask again. */
enum ls_probe_verdict { LS_VERDICT_NONE, LS_VERDICT_ANSWERED, LS_VERDICT_LOST, LS_VERDICT_TOO_BIG, LS_VERDICT_VOID };

enum ls_probe_state { LS_UNKNOWN, LS_UP, LS_SILENT, LS_DOWN };
enum ls_probe_cause { LS_CAUSE_NONE, LS_CAUSE_ANSWERED, LS_CAUSE_UNANSWERED, LS_CAUSE_ECHO_ONLY, LS_CAUSE_UNSENT };

enum ls_probe_counter {
	LS_COUNT_REFLECTED,
	LS_COUNT_MALFORMED, /* too short, too long */
	LS_COUNT_REFUSED, /* by source or destination */
	LS_COUNT_LIMITED,
	LS_COUNT_UNMATCHED, /* answers to nothing we asked */
	LS_COUNT_SENT,
	LS_COUNT_UNSENT,
	LS_COUNT_ECHO_SENT,
	LS_COUNT_ECHO_UNSENT,
	LS_COUNT_SOCKET_ERRORS,
	LS_COUNT_LAST_ERRNO,
	LS_COUNT_WAKEUPS,
	LS_COUNT_CPU_NS,
	LS_COUNT_TRIES,
	LS_COUNTERS
};

/* What a row of news and of reports holds, as doubles: agent/probe/wire.ts reads these. */
enum ls_probe_column {
	LS_ROW_ID,
	LS_ROW_EPOCH,
	LS_ROW_STATE,
	LS_ROW_CAUSE,
	LS_ROW_SINCE_MS,
	LS_ROW_CHANGES,
	LS_ROW_WORD_KNOWN,
	LS_ROW_WORD_FLAGS,
	LS_ROW_WORD_WEIGHT,
	LS_ROW_WORD_SERIAL,
	LS_ROW_LAST_SEEN_MS,
	LS_ROW_SENT,
	LS_ROW_ANSWERED,
	LS_ROW_UNANSWERED,
	LS_ROW_LATE,
	LS_ROW_RTT_MIN_MS,
	LS_ROW_RTT_MEAN_MS,
	LS_ROW_RTT_P95_MS,
	LS_ROW_JITTER_MS,
	LS_ROW_SMOOTHED_MS,
	LS_ROW_TRIAL,
	LS_ROW_VERDICT,
	LS_ROW
};

#endif
