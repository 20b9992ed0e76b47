/* A call's messages with SDP: writing, sending and telling them apart, for the generators in calls.c and media.c.
 *
 * Both ends write every message anew from what they know and compare what arrives with it, whole. `view` is how one
 * side sees the other. Where a proxy is on the way ("proxied"), it adds lines of its own and has other media ports, so
 * what is compared is the message without those (`without_proxy`).
 */
#ifndef BENCH_DIALOG_H
#define BENCH_DIALOG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MESSAGE = 4096, SIP_PORT = 5060, MAX_PHONES = 1000 };
enum kind { INVITE, ACK, BYE, RINGING, OK_INVITE, OK_BYE };

struct shared {
    atomic_int ready, stop, failed;
    atomic_ulong checked, differing;
};

/* How one side sees the phone: where its Via and Contact say it is, and where its media are; then where the server's
 * media are, and the Via and Record-Route lines that a reply has (NULL: the phone's own Via). */
struct view {
    char place[32], host[16];
    unsigned media;
    char answer_host[16];
    unsigned answer_media;
    const char *vias;
};

static struct in_addr server_address, public_address;
static const char *media_address;
static uint32_t first_phone;
static unsigned phone_count;
static int translated, counted, proxied; /* an ALG is on the way; its mistakes are counted; a proxy is on the way */
static const char *relay_address = "";   /* where a proxy's relay is for the phones */
static struct shared *shared;
static const char *const methods[] = {"INVITE", "ACK", "BYE"};
static const char agents[] = "bench-phone/1.0 (a device with a name that may be long or short, as devices have)";

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_in(const char *name, uint32_t address)
{
    char file[256];
    snprintf(file, sizeof file, "/run/netns/%s", name);
    int space = open(file, O_RDONLY | O_CLOEXEC), on = 1, bytes = 8 << 20;
    if (space < 0 || setns(space, CLONE_NEWNET) != 0)
        die(file);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(SIP_PORT), .sin_addr.s_addr = address};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    return fd;
}

static struct view private_view(unsigned phone, unsigned number)
{
    struct view view = {0};
    struct in_addr address = {htonl(first_phone + phone)};
    snprintf(view.host, sizeof view.host, "%s", inet_ntoa(address));
    snprintf(view.place, sizeof view.place, "%s:%d", view.host, SIP_PORT);
    view.media = 20000 + number % 400 * 2;
    snprintf(view.answer_host, sizeof view.answer_host, "%s", media_address);
    view.answer_media = 30000 + number % 1000 * 2;
    return view;
}

static int describe(char *out, const char *host, unsigned media)
{
    return sprintf(out, "v=0\r\no=- 8 8 IN IP4 %s\r\ns=call\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %u RTP/AVP 0 8 101\r\n"
                        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
                        "a=ptime:20\r\n",
                   host, host, media);
}

/* Write a message as it is where `view` is what is seen of the phone; half of the phones have another order. */
static size_t compose(char *out, enum kind kind, unsigned phone, unsigned number, const struct view *view)
{
    char body[512] = "", contact[128] = "", type[64] = "", via[1024];
    int request = kind <= BYE, bytes = 0;
    const char *method = methods[kind == OK_BYE ? BYE : request ? kind : INVITE];
    if (kind == INVITE)
        bytes = describe(body, view->host, view->media);
    else if (kind == OK_INVITE)
        bytes = describe(body, view->answer_host, view->answer_media);
    if (bytes > 0)
        strcpy(type, "Content-Type: application/sdp\r\n");
    if (request)
        sprintf(contact, "Contact: <sip:u%u@%s>\r\n", phone, view->place);
    else
        sprintf(contact, "Contact: <sip:bob@%s:%d>\r\n", inet_ntoa(server_address), SIP_PORT);
    if (view->vias != NULL)
        snprintf(via, sizeof via, "%s", view->vias);
    else
        sprintf(via, "Via: SIP/2.0/UDP %s;branch=z9hG4bK%s%u\r\n", view->place, method, number);
    char *at = out;
    if (request)
        at += sprintf(at, "%s sip:bob@%s SIP/2.0\r\n", method, inet_ntoa(server_address));
    else
        at += sprintf(at, "SIP/2.0 %s\r\n", kind == RINGING ? "180 Ringing" : "200 OK");
    at += sprintf(at, "%s%sFrom: <sip:u%u@example.com>;tag=f%u\r\nTo: <sip:bob@example.com>%s\r\n"
                      "Call-ID: %u-%u@bench\r\nCSeq: %d %s\r\n%sUser-Agent: %.*s\r\n%sContent-Length: %d\r\n\r\n%s",
                  phone & 1 ? contact : "", via, phone, number, kind == INVITE ? "" : ";tag=t", number, phone,
                  kind == BYE || kind == OK_BYE ? 2 : 1, method, phone & 1 ? "" : contact,
                  15 + (int)(phone * 7 % 60), agents, type, bytes, body);
    return (size_t)(at - out);
}

static void post(int fd, const char *data, size_t length, struct sockaddr_in to, uint32_t from)
{
    char control[CMSG_SPACE(sizeof(struct in_pktinfo))] = {0};
    struct iovec vector = {(void *)data, length};
    struct msghdr header = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &vector, .msg_iovlen = 1,
                            .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *part = CMSG_FIRSTHDR(&header);
    *part = (struct cmsghdr){CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = from};
    memcpy(CMSG_DATA(part), &info, sizeof info);
    if (sendmsg(fd, &header, 0) < 0 && errno != ENOBUFS && errno != EPERM && errno != EAGAIN)
        die("sendmsg");
}

/* Which message it is, of which call and phone; -1 for none of ours. */
static int identify(const char *data, unsigned *number, unsigned *phone)
{
    const char *id = strstr(data, "\nCall-ID: "), *sequence = strstr(data, "\nCSeq: ");
    if (id == NULL || sequence == NULL || sscanf(id, "\nCall-ID: %u-%u@", number, phone) != 2 || *phone >= phone_count)
        return -1;
    int bye = strncmp(sequence + 9, "BYE", 3) == 0;
    if (strncmp(data, "SIP/2.0 180", 11) == 0)
        return RINGING;
    if (strncmp(data, "SIP/2.0 200", 11) == 0)
        return bye ? OK_BYE : OK_INVITE;
    return data[0] == 'I' ? INVITE : data[0] == 'A' ? ACK : data[0] == 'B' ? BYE : -1;
}


/* A message's media port with its lowest bit off, so that an odd one is seen to differ; 0: none. */
static unsigned even_port(const char *data)
{
    const char *media = strstr(data, "m=audio ");
    return media == NULL ? 0 : (unsigned)atoi(media + 8) & ~1u;
}

/* All Via and Record-Route lines of a request, as a reply has to repeat them. */
static void take_vias(const char *data, char *out, size_t room)
{
    size_t used = 0;
    for (const char *line = data, *end; (end = strstr(line, "\r\n")) != NULL && end != line; line = end + 2) {
        size_t length = (size_t)(end + 2 - line);
        if ((strncmp(line, "Via: ", 5) == 0 || strncmp(line, "Record-Route: ", 14) == 0) && used + length < room) {
            memcpy(out + used, line, length);
            used += length;
        }
    }
    out[used] = 0;
}

/* A message without what a proxy with a relay may add: `vias` Via lines at the top, Record-Route, a=rtcp, and the
 * value of Content-Length, which has to be right; 0 if it isn't. */
static size_t without_proxy(const char *data, size_t length, int vias, char *out)
{
    const char *body = strstr(data, "\r\n\r\n"), *size = strstr(data, "Content-Length: ");
    char *at = out;
    if (body == NULL || size == NULL || (size_t)(data + length - body - 4) != (size_t)atoi(size + 16))
        return 0;
    for (const char *line = data, *end; (end = strstr(line, "\r\n")) != NULL; line = end + 2) {
        size_t bytes = (size_t)(end + 2 - line);
        if ((vias > 0 && strncmp(line, "Via: ", 5) == 0 && vias--) || strncmp(line, "Record-Route: ", 14) == 0 ||
            strncmp(line, "a=rtcp:", 7) == 0)
            continue;
        bytes = strncmp(line, "Content-Length: ", 16) == 0 ? 16 : bytes;
        memcpy(at, line, bytes);
        at += bytes;
    }
    *at = 0;
    return (size_t)(at - out);
}

/* Compare a message with what it has to be; the first one that differs ends the run, or is counted. */
static void judge(const char *where, const char *got, size_t length, const char *expected, size_t size)
{
    static char own[MAX_MESSAGE], theirs[MAX_MESSAGE];
    atomic_fetch_add(&shared->checked, 1);
    if (proxied && length > 0 && strstr(expected, "\r\n\r\n") != NULL) {
        size = without_proxy(expected, size, 0, own);
        length = without_proxy(got, length, *where == 's', theirs);
        got = theirs;
        expected = own;
    }
    if (length == size && size > 0 && memcmp(got, expected, size) == 0)
        return;
    atomic_fetch_add(&shared->differing, 1);
    if (!counted && atomic_exchange(&shared->failed, 1) == 0) {
        fprintf(stderr, "wrong message at the %s\n--- got\n%.*s\n--- expected\n%.*s\n", where, (int)length, got,
                (int)size, expected);
        shared->stop = 1;
    }
}

/* What a request has to look like at the server, given what may differ: the public port and the media port. */
static struct view server_view(const char *data, unsigned phone, unsigned number, unsigned port)
{
    struct view view = private_view(phone, number);
    if (translated || proxied)
        view.media = even_port(data);
    if (translated || proxied)
        snprintf(view.host, sizeof view.host, "%s", inet_ntoa(public_address));
    if (translated)
        snprintf(view.place, sizeof view.place, "%s:%u", view.host, port);
    return view;
}

/* What a reply has to look like at the phone. */
static struct view phone_view(const char *data, unsigned phone, unsigned number)
{
    struct view view = private_view(phone, number);
    if (proxied) {
        view.answer_media = even_port(data);
        snprintf(view.answer_host, sizeof view.answer_host, "%s", relay_address);
    }
    return view;
}

/* What is on the way, by its word: plain, alg, alg-counted, or proxied:RELAY-ADDRESS. */
static void expect(const char *word)
{
    proxied = strncmp(word, "proxied:", 8) == 0;
    translated = strncmp(word, "alg", 3) == 0;
    counted = strcmp(word, "alg-counted") == 0;
    if (proxied)
        relay_address = word + 8;
}

#endif
