/*
 * STAMP packets in unauthenticated mode: RFC 8762 sections 4.2.1 and 4.3.1, with the session identifier and the TLVs of
 * RFC 8972 sections 3 and 4.
 *
 *            sender                                reflector
 *    0       sequence number                       the same (stateless reflector)
 *    4       timestamp                             timestamp of sending back
 *   12       error estimate                        error estimate
 *   14       SSID                                  the same
 *   16       zero, 28 octets                       receive timestamp
 *   24                                             sender's sequence number
 *   28                                             sender's timestamp
 *   36                                             sender's error estimate, two zero octets
 *   40                                             TTL or hop limit the packet came with, three zero octets
 *   44       TLVs                                  TLVs
 *
 * One TLV of the private range (252-254) carries a gateway's word, its own in either direction: enterprise code (32 bits),
 * flags (16), weight (16), fabric serial (64). The code is what RFC 8972 section 4 wants first in that range, so that no
 * two vendors mistake each other's; we have none, and IANA keeps 0 from everybody.
 *
 * The flags of a TLV, RFC 8972 section 4, from the highest bit: U (unrecognised), M (malformed), I (integrity), five that
 * are zero. A sender sets U and clears the others. A reflector sets U where it does not understand the TLV, M where its
 * length cannot be or it is cut off, and stops there, the rest as it came; I where an HMAC does not fit, and else clears
 * them. What comes back with U is skipped, M ends the reading, and with I on one TLV none of them counts. So a reflector
 * without TLVs, which returns them as they came, is not taken for a gateway that repeats our word. The HMAC TLV is not
 * understood here: WireGuard has proved who speaks.
 */
#include <string.h>

#include "probe.h"

#define TLV_HEAD 4
#define TLV_UNRECOGNISED 0x80
#define TLV_MALFORMED 0x40
#define TLV_INTEGRITY 0x20
#define TLV_PADDING 1
#define TLV_WORD 252
#define WORD_LENGTH 16
#define ENTERPRISE 0
#define ENTERPRISE_LENGTH 4

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, (uint16_t)(value >> 16));
	put16(to + 2, (uint16_t)value);
}

static void put64(uint8_t *to, uint64_t value)
{
	put32(to, (uint32_t)(value >> 32));
	put32(to + 4, (uint32_t)value);
}

static uint16_t get16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)get16(from) << 16 | get16(from + 2);
}

static uint64_t get64(const uint8_t *from)
{
	return (uint64_t)get32(from) << 32 | get32(from + 4);
}

static void put_word(uint8_t *value, const struct ls_word *word)
{
	put32(value, ENTERPRISE);
	put16(value + 4, word->flags);
	put16(value + 6, word->weight);
	put64(value + 8, word->serial);
}

static void get_word(const uint8_t *value, struct ls_word *word)
{
	word->flags = get16(value + 4);
	word->weight = get16(value + 6);
	word->serial = get64(value + 8);
}

void ls_stamp_write(uint8_t *packet, uint32_t seq, uint64_t stamp, uint16_t error_estimate, uint16_t ssid,
		    const struct ls_word *word)
{
	uint8_t *tlv = packet + LS_STAMP_BASE;

	memset(packet, 0, LS_STAMP_PACKET);
	put32(packet, seq);
	put64(packet + 4, stamp);
	put16(packet + 12, error_estimate);
	put16(packet + 14, ssid);
	tlv[0] = TLV_UNRECOGNISED;
	tlv[1] = TLV_WORD;
	put16(tlv + 2, WORD_LENGTH);
	put_word(tlv + TLV_HEAD, word);
}

void ls_stamp_pad(uint8_t *packet, size_t length)
{
	uint8_t *tlv = packet + LS_STAMP_PACKET;
	size_t value = length - LS_STAMP_PACKET - TLV_HEAD;

	tlv[0] = TLV_UNRECOGNISED;
	tlv[1] = TLV_PADDING;
	put16(tlv + 2, (uint16_t)value);
	memset(tlv + TLV_HEAD, 0, value);
}

void ls_stamp_set_time(uint8_t *packet, uint64_t stamp)
{
	put64(packet + 4, stamp);
}

/* Of a vendor that is not us. */
static bool is_foreign(const uint8_t *tlv, size_t length)
{
	return tlv[1] == TLV_WORD && length >= ENTERPRISE_LENGTH && get32(tlv + TLV_HEAD) != ENTERPRISE;
}

bool ls_stamp_read_answer(const uint8_t *packet, size_t length, struct ls_stamp_answer *answer)
{
	answer->word_known = false;
	if (length < LS_STAMP_BASE)
		return false;
	answer->seq = get32(packet + 24);
	answer->stamp = get64(packet + 28);
	for (size_t at = LS_STAMP_BASE; length - at >= TLV_HEAD;) {
		const uint8_t *tlv = packet + at;
		size_t value = get16(tlv + 2);

		if (tlv[0] & TLV_INTEGRITY) {
			answer->word_known = false;
			break;
		}
		if (value > length - at - TLV_HEAD || tlv[0] & TLV_MALFORMED)
			break;
		if (tlv[1] == TLV_WORD && value == WORD_LENGTH && !is_foreign(tlv, value) && !(tlv[0] & TLV_UNRECOGNISED)) {
			get_word(tlv + TLV_HEAD, &answer->word);
			answer->word_known = true;
		}
		at += TLV_HEAD + value;
	}
	return true;
}

/* The TLV at the head of `left` octets can be read, and what it says of its length is true of its type. */
static bool is_sound(const uint8_t *tlv, size_t left)
{
	size_t value;

	if (left < TLV_HEAD)
		return false;
	value = get16(tlv + 2);
	if (value > left - TLV_HEAD)
		return false;
	return tlv[1] != TLV_WORD || value == WORD_LENGTH || is_foreign(tlv, value);
}

static void reflect_tlvs(uint8_t *packet, size_t length, struct ls_stamp_reflection *how)
{
	for (size_t at = LS_STAMP_BASE; at < length;) {
		uint8_t *tlv = packet + at;
		size_t left = length - at;

		tlv[0] = left > 1 && (tlv[1] == TLV_WORD || tlv[1] == TLV_PADDING) ? 0 : TLV_UNRECOGNISED;
		if (!is_sound(tlv, left)) {
			tlv[0] |= TLV_MALFORMED;
			return;
		}
		if (is_foreign(tlv, get16(tlv + 2))) {
			tlv[0] = TLV_UNRECOGNISED;
		} else if (tlv[1] == TLV_WORD) {
			get_word(tlv + TLV_HEAD, &how->sender_word);
			how->word_known = true;
			put_word(tlv + TLV_HEAD, how->word);
		}
		at += TLV_HEAD + get16(tlv + 2);
	}
}

void ls_stamp_reflect(uint8_t *packet, size_t length, struct ls_stamp_reflection *how)
{
	how->word_known = false;
	reflect_tlvs(packet, length, how);
	/* Sequence number and SSID stay where they are; the sender's own go behind our stamps. */
	memcpy(packet + 24, packet, 4);
	memcpy(packet + 28, packet + 4, 8);
	memcpy(packet + 36, packet + 12, 2);
	put16(packet + 38, 0);
	packet[40] = how->ttl;
	memset(packet + 41, 0, 3);
	put16(packet + 12, how->error_estimate);
	put64(packet + 16, how->received);
}
