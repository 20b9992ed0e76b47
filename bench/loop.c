/* The closed loop: phones behind a router register with a server, as fast as the window lets them.
 *
 * Two processes, one in the phones' namespace and one in the server's. The server compares every request as it
 * arrives with what this phone's text must be, and answers; the phones compare every reply. The first wrong message
 * ends the run with exit code 1 and both texts. A lost packet is sent again after a timeout and counted. The
 * result is one JSON object on stdout. Both ends of a packet's way in bench/loop.py.
 */
#define _GNU_SOURCE
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

enum { BATCH = 64, MAX_SOCKETS = 32, MAX_PORTS = 65536, SIP_PORT = 5060, MAX_RESENDS = 20 };

struct shared {
    atomic_int ready, stop, failed;
    atomic_ulong checked, differing;
    _Atomic uint16_t public_port[MAX_PORTS]; /* of each phone, as the server saw it */
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

struct pending {
    uint64_t first_sent, last_sent; /* nanoseconds; 0: nothing is under way */
    uint32_t sequence, resends;
};

static struct shared *shared;
static struct entry *entries;
static int32_t *by_id;
static uint32_t entry_count, phone_count;
static struct in_addr server_address, public_address;
static int translated; /* 1: an ALG is on the way; 0: plain NAT */
static int counted;    /* 1: count messages that differ; 0: the first one ends the run */
static double duration = 2, timeout = 1;
static int window = 64;
static const char *phone_namespace, *server_namespace, *path;

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
    struct fill *seen = &outside[entry->phone];
    if (known != port) {
        uint32_t address = translated ? from->sin_addr.s_addr : entry->address;
        fill_sides(seen, address, translated ? port : entry->port, from->sin_addr.s_addr, port);
    }
    set_sequence(seen, sequence);
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

/* The phones' side. */
static int sockets[MAX_SOCKETS], socket_count;
static unsigned socket_port[MAX_SOCKETS];
static struct batch outgoing[MAX_SOCKETS];
static struct pending *pending;
static uint32_t sequence_next = 10000000;
static struct latency latency;
static uint64_t resent, late;

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

static void post(int number, uint64_t time)
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
    set_sequence(&entry->private_side, pending[number].sequence);
    out->vectors[at].iov_len = render(&entry->request, &entry->private_side, out->data[at]);
    pending[number].last_sent = time;
}

/* One reply: judge it. True when it is the answer that was waited for. */
static int accept_reply(const struct batch *in, int i, uint64_t time)
{
    size_t length = in->headers[i].msg_len;
    uint32_t sequence;
    int number = identify(in->data[i], length, by_id, phone_count, &sequence);
    if (number < 0) {
        wrong("phones", "not one of ours", NULL, NULL, in->data[i], length);
        return 0;
    }
    struct entry *entry = &entries[number];
    struct fill expected = entry->private_side;
    if (!translated)
        fill_sides(&expected, entry->address, entry->port, public_address.s_addr, shared->public_port[entry->phone]);
    set_sequence(&expected, sequence);
    if (!matches(&entry->reply, &expected, in->data[i], length))
        wrong("phones", "the reply differs", &entry->reply, &expected, in->data[i], length);
    atomic_fetch_add(&shared->checked, 1);
    struct in_pktinfo info = {0};
    struct cmsghdr *control = CMSG_FIRSTHDR(&in->headers[i].msg_hdr);
    if (control != NULL)
        memcpy(&info, CMSG_DATA(control), sizeof info);
    if (info.ipi_addr.s_addr != entry->address)
        wrong("phones", "another phone's reply", NULL, NULL, in->data[i], length);
    if (pending[number].first_sent == 0 || pending[number].sequence != sequence) {
        late++;
        return 0;
    }
    record(&latency, time - pending[number].first_sent);
    pending[number].first_sent = 0;
    return 1;
}

static int resend_lost(uint64_t time)
{
    for (uint32_t i = 0; i < entry_count; i++) {
        if (pending[i].first_sent == 0 || time - pending[i].last_sent < (uint64_t)(timeout * 1e9))
            continue;
        if (++pending[i].resends > MAX_RESENDS)
            return -1;
        resent++;
        post((int)i, time);
    }
    return 0;
}

/* Run the loop: every entry once (`seconds` 0), or for that long. Nanoseconds from the first message to the last. */
static uint64_t run(int size, double seconds, int poll)
{
    static struct batch in;
    static uint32_t next;
    uint64_t begin = now(), end = begin + (uint64_t)(seconds * 1e9), time = begin, scanned = begin;
    uint32_t left = seconds > 0 ? UINT32_MAX : entry_count;
    int under_way = 0;
    while (!shared->stop) {
        while (under_way < size && left > 0 && (seconds <= 0 || time < end)) {
            next = (next + 1) % entry_count;
            if (pending[next].first_sent != 0)
                continue;
            pending[next] = (struct pending){time, time, sequence_next++, 0};
            post((int)next, time);
            under_way++;
            left--;
        }
        for (int i = 0; i < socket_count; i++)
            if (outgoing[i].count > 0)
                flush(sockets[i], &outgoing[i]);
        if (under_way == 0)
            break;
        struct epoll_event events[MAX_SOCKETS];
        int ready = epoll_wait(poll, events, MAX_SOCKETS, 20);
        for (int e = 0; e < ready; e++) {
            int count = receive(sockets[events[e].data.u32], &in);
            time = now();
            for (int i = 0; i < count; i++)
                under_way -= accept_reply(&in, i, time);
        }
        time = now();
        if (time - scanned > 50000000) {
            scanned = time;
            if (resend_lost(time) != 0) {
                fprintf(stderr, "loop: a message was lost %d times; nothing comes through\n", MAX_RESENDS);
                shared->failed = shared->stop = 1;
            }
        }
    }
    return time - begin;
}

static int phone_side(void)
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
    double first = (double)run(window < 16 ? window : 16, 0, poll) / 1e9;
    uint64_t warm_up = latency.count, warm_up_resent = resent;
    latency = (struct latency){0};
    resent = 0;
    printf("{\"warm\": %lu}\n", warm_up); /* the harness reads CPU times between this line and the next */
    fflush(stdout);
    double seconds = (double)run(window, duration, poll) / 1e9;
    shared->stop = 1;
    if (shared->failed)
        return 1;
    printf("{\"round_trips\": %lu, \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f, \"resent\": %lu, \"late\": %lu, \"first_rate\": %.1f, \"first_resent\": %lu, "
           "\"checked\": %lu, \"wrong\": %lu}\n",
           latency.count, seconds, (double)latency.count / seconds, percentile(&latency, 0.5), percentile(&latency, 0.99),
           percentile(&latency, 0.999), resent, late, (double)warm_up / first, warm_up_resent, shared->checked,
           shared->differing);
    return 0;
}

int main(int count, char **words)
{
    if (count != 10) {
        fprintf(stderr, "usage: loop FILE PHONE-NETNS SERVER-NETNS SERVER PUBLIC plain|alg|alg-counted WINDOW SECONDS TIMEOUT\n");
        return 2;
    }
    path = words[1];
    phone_namespace = words[2];
    server_namespace = words[3];
    inet_pton(AF_INET, words[4], &server_address);
    inet_pton(AF_INET, words[5], &public_address);
    translated = strcmp(words[6], "plain") != 0;
    counted = strcmp(words[6], "alg-counted") == 0;
    window = atoi(words[7]);
    duration = atof(words[8]);
    timeout = atof(words[9]);
    entries = load(path, &entry_count, &phone_count, &by_id);
    pending = calloc(entry_count, sizeof *pending);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || pending == NULL)
        die("loop: memory");
    if (window < 1 || (uint32_t)window > entry_count || duration <= 0 || duration > 600 || timeout <= 0) {
        fprintf(stderr, "loop: window 1 to %u, seconds up to 600\n", entry_count);
        return 2;
    }
    alarm((unsigned)duration + 120); /* whatever happens, it ends */
    pid_t child = fork();
    if (child == 0)
        server_side();
    int result = phone_side(), status;
    waitpid(child, &status, 0);
    return result != 0 || shared->failed ? 1 : status == 0 ? 0 : 2;
}
