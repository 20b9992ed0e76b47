/* Messages with holes, as bench/corpus.py writes them: loading, rendering and comparing byte for byte.
 *
 * The file is little-endian: "SIPLOOP1", entries, phones; then for each entry its phone, transaction, address (as on
 * the wire), port, lengths of request and reply, and the two texts. A hole is one control byte of bench/template.py.
 */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOLE_ADDRESS = 1, HOLE_RECEIVED = 3, HOLE_RPORT = 4, HOLE_SEQUENCE = 14, HOLES = 16 };
enum { MAX_PARTS = 24, MAX_MESSAGE = 2048, MAX_TRANSACTIONS = 8, SEQUENCE_DIGITS = 8 };

/* What a hole is filled with on one side of the router. */
struct fill {
    char text[HOLES][24];
    uint8_t length[HOLES];
};

struct part {
    const char *literal;
    uint16_t length;
    uint8_t hole; /* what follows the literal; 0: nothing */
};

struct text {
    struct part parts[MAX_PARTS];
    int count;
};

struct entry {
    uint32_t phone, transaction, address, port; /* the address in network order, the port in the host's */
    struct text request, reply;
    struct fill private_side;
};

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void set_hole(struct fill *fill, int hole, const char *text)
{
    fill->length[hole] = (uint8_t)snprintf(fill->text[hole], sizeof fill->text[hole], "%s", text);
}

/* Via's and Contact's address, and what a server writes into received and rport. */
static void fill_sides(struct fill *fill, uint32_t own, unsigned own_port, uint32_t seen, unsigned seen_port)
{
    char host[16], text[24];
    inet_ntop(AF_INET, &own, host, sizeof host);
    snprintf(text, sizeof text, "%s:%u", host, own_port);
    set_hole(fill, HOLE_ADDRESS, text);
    inet_ntop(AF_INET, &seen, host, sizeof host);
    set_hole(fill, HOLE_RECEIVED, host);
    snprintf(text, sizeof text, "%u", seen_port);
    set_hole(fill, HOLE_RPORT, text);
}

static void set_sequence(struct fill *fill, uint32_t sequence)
{
    for (int i = SEQUENCE_DIGITS - 1; i >= 0; i--, sequence /= 10)
        fill->text[HOLE_SEQUENCE][i] = (char)('0' + sequence % 10);
    fill->length[HOLE_SEQUENCE] = SEQUENCE_DIGITS;
}

static void split(struct text *text, const char *from, size_t length)
{
    const char *start = from, *end = from + length;
    text->count = 0;
    for (const char *at = from; at <= end; at++) {
        int hole = at == end ? 0 : (uint8_t)*at;
        if (at < end && (hole >= HOLES || hole == '\r' || hole == '\n' || hole == '\t'))
            continue;
        if (text->count == MAX_PARTS) {
            fprintf(stderr, "loop: a message with more than %d holes\n", MAX_PARTS);
            exit(2);
        }
        text->parts[text->count++] = (struct part){start, (uint16_t)(at - start), (uint8_t)hole};
        start = at + 1;
    }
}

static size_t render(const struct text *text, const struct fill *fill, char *out)
{
    char *at = out;
    for (int i = 0; i < text->count; i++) {
        const struct part *part = &text->parts[i];
        memcpy(at, part->literal, part->length);
        at += part->length;
        memcpy(at, fill->text[part->hole], fill->length[part->hole]);
        at += fill->length[part->hole];
    }
    return (size_t)(at - out);
}

/* Is this exactly the message that `render` would make? */
static int matches(const struct text *text, const struct fill *fill, const char *data, size_t length)
{
    const char *end = data + length;
    for (int i = 0; i < text->count; i++) {
        const struct part *part = &text->parts[i];
        size_t hole = fill->length[part->hole];
        if ((size_t)(end - data) < part->length + hole || memcmp(data, part->literal, part->length) != 0 ||
            memcmp(data + part->length, fill->text[part->hole], hole) != 0)
            return 0;
        data += part->length + hole;
    }
    return data == end;
}

/* The entry's number and the sequence out of the branch, or -1. `by_id` maps phone and transaction to the entry. */
static int identify(const char *data, size_t length, const int32_t *by_id, uint32_t phones, uint32_t *sequence)
{
    const char *at = memmem(data, length, "z9hG4bK", 7);
    uint32_t id = 0, number = 0;
    if (at == NULL || at + 7 + 7 + SEQUENCE_DIGITS > data + length)
        return -1;
    at += 7;
    for (int i = 0; i < 7; i++)
        id = id * 10 + (uint32_t)(*at++ - '0') % 10;
    for (int i = 0; i < SEQUENCE_DIGITS; i++)
        number = number * 10 + (uint32_t)(*at++ - '0') % 10;
    *sequence = number;
    if (id / 100 >= phones || id % 100 >= MAX_TRANSACTIONS)
        return -1;
    return by_id[id / 100 * MAX_TRANSACTIONS + id % 100];
}

static struct entry *load(const char *path, uint32_t *count, uint32_t *phones, int32_t **by_id)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        die(path);
    size_t size = (size_t)ftell(file);
    char *data = malloc(size);
    rewind(file);
    if (data == NULL || fread(data, 1, size, file) != size || size < 16 || memcmp(data, "SIPLOOP1", 8) != 0) {
        fprintf(stderr, "loop: %s is not a file of bench/corpus.py\n", path);
        exit(2);
    }
    fclose(file);
    memcpy(count, data + 8, 4);
    memcpy(phones, data + 12, 4);
    struct entry *entries = calloc(*count, sizeof *entries);
    *by_id = malloc(sizeof **by_id * *phones * MAX_TRANSACTIONS);
    if (entries == NULL || *by_id == NULL)
        die("loop: memory");
    memset(*by_id, -1, sizeof **by_id * *phones * MAX_TRANSACTIONS);
    const char *at = data + 16;
    for (uint32_t i = 0; i < *count; i++) {
        struct entry *entry = &entries[i];
        uint32_t lengths[2];
        memcpy(entry, at, 16);
        memcpy(lengths, at + 16, 8);
        at += 24;
        split(&entry->request, at, lengths[0]);
        split(&entry->reply, at + lengths[0], lengths[1]);
        at += lengths[0] + lengths[1];
        fill_sides(&entry->private_side, entry->address, entry->port, entry->address, entry->port);
        (*by_id)[entry->phone * MAX_TRANSACTIONS + entry->transaction] = (int32_t)i;
    }
    return entries;
}

#endif
