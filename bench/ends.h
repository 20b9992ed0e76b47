/* Both ends of the generators of registrations, loop.c and paced.c: sockets, batches, and the whole server.
 *
 * The server compares every request as it arrives with what this phone's text must be, and answers. The first wrong
 * message ends the run with exit code 1 and both texts, or is counted. Where messages may pass untranslated, in an
 * overload, each must be one or the other, and never half of it.
 */
#ifndef BENCH_ENDS_H
#define BENCH_ENDS_H

#include "latency.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, MAX_SOCKETS = 32, MAX_PORTS = 65536, SIP_PORT = 5060, SEQUENCES = 1 << 20 };

struct shared {
    atomic_int ready, stop, failed;
    atomic_ulong checked, differing, plain; /* plain: requests that came untranslated, in an overload */
    _Atomic uint16_t public_port[MAX_PORTS]; /* of each phone, as the server saw it */
    atomic_uchar passed[SEQUENCES];          /* by sequence: 1 where the request came untranslated */
};

/* One receive and one send batch of a socket. */
struct batch {
    struct mmsghdr headers[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in names[BATCH];
    char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
    char data[BATCH][MAX_MESSAGE];
    int count;
};

static struct shared *shared;
static struct entry *entries;
static int32_t *by_id;
static uint32_t entry_count, phone_count;
static struct in_addr server_address, public_address;
static int translated; /* 1: an ALG is on the way; 0: plain NAT */
static int counted;    /* 1: count messages that differ; 0: the first one ends the run */
static int either;     /* 1: an ALG is on the way that may let messages pass untranslated */
static const char *phone_namespace, *server_namespace;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void enter(const char *name)
{
    char file[256];
    snprintf(file, sizeof file, "/run/netns/%s", name);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
        die(file);
    close(fd);
}

static int open_socket(uint32_t address, unsigned port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = address};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, bytes = 8 << 20;
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0)
        die("loop: socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return fd;
}

static void prepare(struct batch *batch)
{
    for (int i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){batch->data[i], MAX_MESSAGE};
        batch->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &batch->names[i], .msg_namelen = sizeof batch->names[i], .msg_iov = &batch->vectors[i],
            .msg_iovlen = 1, .msg_control = batch->control[i], .msg_controllen = sizeof batch->control[i]};
    }
}

static int receive(int fd, struct batch *batch)
{
    prepare(batch);
    int count = recvmmsg(fd, batch->headers, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        die("loop: recvmmsg");
    return count < 0 ? 0 : count;
}

static void flush(int fd, struct batch *batch)
{
    for (int done = 0; done < batch->count && !shared->stop;) {
        int sent = sendmmsg(fd, batch->headers + done, (unsigned)(batch->count - done), 0);
        if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != EPERM)
            die("loop: sendmmsg");
        done += sent > 0 ? sent : errno == EPERM; /* EPERM: a filter dropped it, which the timeout counts */
    }
    batch->count = 0;
}

static void wrong(const char *where, const char *why, const struct text *text, const struct fill *fill,
                  const char *data, size_t length)
{
    char expected[MAX_MESSAGE * 2];
    size_t size = text == NULL ? 0 : render(text, fill, expected);
    atomic_fetch_add(&shared->differing, 1);
    if (counted && text != NULL)
        return;
    if (atomic_exchange(&shared->failed, 1) == 0)
        fprintf(stderr, "loop: wrong message at the %s: %s\n--- got\n%.*s\n--- expected\n%.*s\n", where, why,
                (int)length, data, (int)size, expected);
    shared->stop = 1;
}

static struct fill *outside; /* of each phone, as its last request showed it */

/* The server's side of one request: judge it, and put the reply at the same place of the batch. */
static void serve(struct batch *in, struct batch *out, int i)
{
    struct sockaddr_in *from = &in->names[i];
    size_t length = in->headers[i].msg_len;
    unsigned port = ntohs(from->sin_port);
    uint32_t sequence;
    int number = identify(in->data[i], length, by_id, phone_count, &sequence);
    if (number < 0) {
        wrong("server", "not one of ours", NULL, NULL, in->data[i], length);
        return;
    }
    const struct entry *entry = &entries[number];
    uint16_t known = atomic_exchange(&shared->public_port[entry->phone], (uint16_t)port);
    struct fill *seen = &outside[entry->phone], plain;
    if (known != port) {
        uint32_t address = translated ? from->sin_addr.s_addr : entry->address;
        fill_sides(seen, address, translated ? port : entry->port, from->sin_addr.s_addr, port);
    }
    set_sequence(seen, sequence);
    shared->passed[sequence % SEQUENCES] = either && !matches(&entry->request, seen, in->data[i], length);
    if (shared->passed[sequence % SEQUENCES]) {
        memset(&plain, 0, sizeof plain);
        fill_sides(&plain, entry->address, entry->port, from->sin_addr.s_addr, port);
        set_sequence(&plain, sequence);
        seen = &plain;
        atomic_fetch_add(&shared->plain, 1);
    }
    if (!matches(&entry->request, seen, in->data[i], length))
        wrong("server", "the request differs", &entry->request, seen, in->data[i], length);
    if (from->sin_addr.s_addr != public_address.s_addr)
        wrong("server", "it comes from another address than the router's", NULL, NULL, in->data[i], length);
    static uint32_t owner[MAX_PORTS];
    if ((known != 0 && known != port) || (owner[port] != 0 && owner[port] != entry->phone + 1))
        wrong("server", "its public port is another phone's, or has changed", NULL, NULL, in->data[i], length);
    owner[port] = entry->phone + 1;
    int at = out->count++;
    out->names[at] = *from;
    out->vectors[at].iov_len = render(&entry->reply, seen, out->data[at]);
    out->headers[at].msg_hdr.msg_controllen = 0;
    out->headers[at].msg_hdr.msg_control = NULL;
    atomic_fetch_add(&shared->checked, 1);
}

static void server_side(void)
{
    static struct batch in, out;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter(server_namespace);
    outside = calloc(phone_count, sizeof *outside);
    int fd = open_socket(server_address.s_addr, SIP_PORT), poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (outside == NULL || poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("loop: epoll");
    shared->ready = 1;
    while (!shared->stop) {
        epoll_wait(poll, &event, 1, 20);
        int count = receive(fd, &in);
        prepare(&out);
        for (int i = 0; i < count && !shared->stop; i++)
            serve(&in, &out, i);
        flush(fd, &out);
    }
    exit(0);
}

/* The phones' sockets: one for each port that phones have. */
static int sockets[MAX_SOCKETS], socket_count;
static unsigned socket_port[MAX_SOCKETS];
static struct batch outgoing[MAX_SOCKETS];

static int socket_of(unsigned port)
{
    int i = 0;
    while (i < socket_count && socket_port[i] != port)
        i++;
    if (i < socket_count)
        return i;
    if (i == MAX_SOCKETS) {
        fprintf(stderr, "loop: phones with more than %d different ports\n", MAX_SOCKETS);
        exit(2);
    }
    sockets[i] = open_socket(INADDR_ANY, port);
    socket_port[i] = port;
    prepare(&outgoing[i]);
    return socket_count++;
}

/* Put a phone's request with this sequence into its socket's batch. */
static void post(int number, uint32_t sequence)
{
    struct entry *entry = &entries[number];
    int which = socket_of(entry->port);
    struct batch *out = &outgoing[which];
    if (out->count == BATCH)
        flush(sockets[which], out);
    int at = out->count++;
    struct msghdr *header = &out->headers[at].msg_hdr;
    header->msg_controllen = sizeof out->control[at];
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    *control = (struct cmsghdr){CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = entry->address};
    memcpy(CMSG_DATA(control), &info, sizeof info);
    out->names[at] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(SIP_PORT), .sin_addr = server_address};
    set_sequence(&entry->private_side, sequence);
    out->vectors[at].iov_len = render(&entry->request, &entry->private_side, out->data[at]);
}

/* Judge a reply: which entry's it is and of which sequence, -1 if of none; `as_plain`: it or its request came untranslated. */
static int judge_reply(const struct batch *in, int i, uint32_t *sequence, int *as_plain)
{
    size_t length = in->headers[i].msg_len;
    int number = identify(in->data[i], length, by_id, phone_count, sequence);
    *as_plain = 0;
    if (number < 0) {
        wrong("phones", "not one of ours", NULL, NULL, in->data[i], length);
        return -1;
    }
    struct entry *entry = &entries[number];
    struct fill expected = entry->private_side;
    unsigned port = shared->public_port[entry->phone];
    if (!translated)
        fill_sides(&expected, entry->address, entry->port, public_address.s_addr, port);
    set_sequence(&expected, *sequence);
    if (!matches(&entry->reply, &expected, in->data[i], length)) {
        /* Of what passes untranslated, the server answers to what it saw: either address in Via and Contact. */
        struct fill both[2] = {expected, expected};
        fill_sides(&both[0], entry->address, entry->port, public_address.s_addr, port);
        fill_sides(&both[1], public_address.s_addr, port, public_address.s_addr, port);
        *as_plain = either && (matches(&entry->reply, &both[0], in->data[i], length) ||
                               matches(&entry->reply, &both[1], in->data[i], length));
        if (!*as_plain)
            wrong("phones", "the reply differs", &entry->reply, &expected, in->data[i], length);
    }
    *as_plain |= shared->passed[*sequence % SEQUENCES];
    atomic_fetch_add(&shared->checked, 1);
    struct in_pktinfo info = {0};
    struct cmsghdr *control = CMSG_FIRSTHDR(&in->headers[i].msg_hdr);
    if (control != NULL)
        memcpy(&info, CMSG_DATA(control), sizeof info);
    if (info.ipi_addr.s_addr != entry->address)
        wrong("phones", "another phone's reply", NULL, NULL, in->data[i], length);
    return number;
}

/* Enter the phones' namespace and open their sockets; an epoll of them. */
static int open_phones(void)
{
    enter(phone_namespace);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < entry_count; i++)
        socket_of(entries[i].port);
    for (int i = 0; i < socket_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, sockets[i], &event) != 0)
            die("loop: epoll");
    }
    while (!shared->ready && !shared->stop)
        usleep(1000);
    return poll;
}

/* Take the words that both generators begin with: FILE PHONE-NETNS SERVER-NETNS SERVER PUBLIC EXPECTED. */
static void take_words(char **words)
{
    phone_namespace = words[2];
    server_namespace = words[3];
    inet_pton(AF_INET, words[4], &server_address);
    inet_pton(AF_INET, words[5], &public_address);
    translated = strcmp(words[6], "plain") != 0;
    counted = strcmp(words[6], "alg-counted") == 0;
    either = strcmp(words[6], "either") == 0;
    entries = load(words[1], &entry_count, &phone_count, &by_id);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("loop: memory");
}

#endif
