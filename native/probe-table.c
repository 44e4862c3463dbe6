/*
 * All paths. Orders are rare and whole: the list is compared with the paths there are, and the indexes are built anew.
 */
#include <stdlib.h>
#include <string.h>

#include "probe.h"

/* Paths that are probed together, at most, while there are no more than FEW. */
#define GROUP 16
#define FEW 100

static uint64_t mix(uint64_t value)
{
	value ^= value >> 33;
	value *= 0xff51afd7ed558ccdULL;
	return value ^ value >> 33;
}

static uint64_t peer_hash(const struct ls_probe *probe, const struct ls_probe_device *device, const uint8_t *address)
{
	uint64_t high, low;

	memcpy(&high, address, 8);
	memcpy(&low, address + 8, 8);
	/* Addresses are chosen by peers, the secret is not. */
	return mix(mix(high ^ probe->secret) ^ low ^ (uintptr_t)device);
}

struct ls_probe_path *ls_table_id(const struct ls_probe_table *table, uint32_t id)
{
	if (table->slots == 0)
		return NULL;
	for (size_t at = mix(id) & (table->slots - 1);; at = (at + 1) & (table->slots - 1)) {
		struct ls_probe_path *path = table->by_id[at];

		if (!path || path->wish.id == id)
			return path;
	}
}

struct ls_probe_path *ls_table_peer(const struct ls_probe *probe, const struct ls_probe_device *device,
				    const uint8_t *address)
{
	const struct ls_probe_table *table = &probe->table;

	if (table->slots == 0)
		return NULL;
	for (size_t at = peer_hash(probe, device, address) & (table->slots - 1);; at = (at + 1) & (table->slots - 1)) {
		struct ls_probe_path *path = table->by_peer[at];

		if (!path || (path->device == device && memcmp(path->wish.address, address, 16) == 0))
			return path;
	}
}

static void insert(struct ls_probe_path **index, size_t slots, uint64_t hash, struct ls_probe_path *path)
{
	size_t at = hash & (slots - 1);

	while (index[at])
		at = (at + 1) & (slots - 1);
	index[at] = path;
}

static void place(struct ls_probe_heap *heap, size_t at, struct ls_probe_due entry)
{
	heap->list[at] = entry;
	entry.path->place = at;
}

/* After path->due was changed. */
void ls_heap_move(struct ls_probe_heap *heap, struct ls_probe_path *path)
{
	struct ls_probe_due entry = { .at = path->due, .path = path };
	size_t at = path->place;

	for (; at > 0 && heap->list[(at - 1) / 2].at > entry.at; at = (at - 1) / 2)
		place(heap, at, heap->list[(at - 1) / 2]);
	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < heap->count && heap->list[child + 1].at < heap->list[child].at)
			child++;
		if (child >= heap->count || heap->list[child].at >= entry.at)
			break;
		place(heap, at, heap->list[child]);
		at = child;
	}
	place(heap, at, entry);
}

static void *anew(void *old, size_t count, size_t size)
{
	void *made = calloc(count ? count : 1, size);

	if (!made)
		abort(); /* paths would go unwatched without a word */
	free(old);
	return made;
}

/* Of 1,000 paths some are due in every tick: groups of them would save nothing, and be bursts. */
static size_t group_of(size_t count)
{
	return count <= FEW ? GROUP : count >= FEW * GROUP ? 1 : FEW * GROUP / count;
}

static void rebuild(struct ls_probe *probe)
{
	struct ls_probe_table *table = &probe->table;
	struct ls_probe_heap *heap = &probe->heap;

	table->slots = 16;
	while (table->slots < 2 * table->count)
		table->slots *= 2;
	table->by_id = anew(table->by_id, table->slots, sizeof *table->by_id);
	table->by_peer = anew(table->by_peer, table->slots, sizeof *table->by_peer);
	heap->list = anew(heap->list, table->count, sizeof *heap->list);
	heap->count = 0;
	probe->group = group_of(table->count);
	for (size_t i = 0; i < table->count; i++) {
		struct ls_probe_path *path = table->paths[i];

		insert(table->by_id, table->slots, mix(path->wish.id), path);
		insert(table->by_peer, table->slots, peer_hash(probe, path->device, path->wish.address), path);
		path->place = heap->count++;
		ls_heap_move(heap, path);
	}
}

static void drop(struct ls_probe *probe, struct ls_probe_path *path)
{
	ls_device_leave(probe, path->device);
	free(path);
}

void ls_table_order(struct ls_probe *probe, const struct ls_probe_wish *wishes, size_t count, int64_t now)
{
	struct ls_probe_table *table = &probe->table;
	struct ls_probe_path **paths = anew(NULL, count, sizeof *paths);

	for (size_t i = 0; i < count; i++) {
		struct ls_probe_path *path = ls_table_id(table, wishes[i].id);

		if (path && path->wish.epoch == wishes[i].epoch) {
			path->wish = wishes[i];
			path->kept = true;
			ls_path_retime(probe, path, now);
		} else {
			path = anew(NULL, 1, sizeof *path);
			path->wish = wishes[i];
			path->wish.device[IFNAMSIZ - 1] = '\0';
			path->device = ls_device_take(probe, path->wish.device, path->wish.family);
			ls_path_begin(probe, path, now);
		}
		paths[i] = path;
	}
	for (size_t i = 0; i < table->count; i++)
		if (!table->paths[i]->kept)
			drop(probe, table->paths[i]);
	free(table->paths);
	table->paths = paths;
	table->count = count;
	for (size_t i = 0; i < count; i++)
		paths[i]->kept = false;
	rebuild(probe);
}

void ls_table_clear(struct ls_probe *probe)
{
	for (size_t i = 0; i < probe->table.count; i++)
		drop(probe, probe->table.paths[i]);
	free(probe->table.paths);
	free(probe->table.by_id);
	free(probe->table.by_peer);
	free(probe->heap.list);
	free(probe->devices);
}
