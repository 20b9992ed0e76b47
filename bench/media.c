/* Media of calls at rising packet rates: RTP both ways at once through what the calls have opened.
 *
 * One process in the phones' namespace and one in the server's, as in calls.c. Every phone calls first, INVITE, 200 and
 * ACK, all compared whole; then each end sends RTP packets to where the SDP that it got says, at half of the rate, and
 * behind plain NAT to where the phone's first packet came from. Each packet says when it was sent, which flow's it is
 * and whose turn; its receiver compares all of it, with the address and port that it comes from. One wrong packet ends
 * the run. It reads a rate from each line on stdin, and answers with a JSON line on stdout: packets a second that were
 * sent, and that arrived within 50 ms.
 */
#define _GNU_SOURCE
#include "dialog.h"
#include "latency.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PORTS = 8, BATCH = 32, RTP_BYTES = 172, IN_TIME_NS = 50000000, BEHIND_NS = 20000000 };

/* What an RTP packet of G.711 carries here in place of sound. */
struct packet {
    uint8_t version, payload_type;
    uint16_t sequence;
    uint32_t timestamp, source, flow;
    uint64_t number, sent_ns;
    uint8_t filling[RTP_BYTES - 32];
} __attribute__((packed));

struct counts {
    uint64_t sent, in_time, late, skipped;
    struct latency latency;
};

/* Of both processes: the calls, and the current rate. */
struct media {
    atomic_uint step; /* 0: calls; 1: first packets; then a number for each rate */
    atomic_ullong begin_ns, end_ns;
    double rate; /* packets a second, both ways together */
    atomic_uint latched;     /* phones whose first packet the server has */
    atomic_uint idle[2];     /* the last step that each end has ended */
    struct counts counts[2]; /* of what phones and server sent and received */
};

static struct media *media;
static int sockets[PORTS], side; /* side 0: phones; 1: server */
static struct sockaddr_in target[MAX_PHONES];
static uint64_t numbers[MAX_PHONES], received[MAX_PHONES];
static struct mmsghdr headers[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in names[BATCH];
static char controls[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
static struct packet packets[BATCH];

static void open_media(uint32_t address, unsigned first)
{
    for (int i = 0; i < PORTS; i++) {
        struct sockaddr_in self = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)(first + 2 * i)), .sin_addr.s_addr = address};
        int on = 1, bytes = 4 << 20;
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&self, sizeof self) != 0 ||
            setsockopt(sockets[i], IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0)
            die("media: socket");
        setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    }
}

static void prepare(int i)
{
    vectors[i] = (struct iovec){&packets[i], sizeof packets[i]};
    headers[i].msg_hdr = (struct msghdr){.msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &vectors[i],
                                         .msg_iovlen = 1, .msg_control = controls[i],
                                         .msg_controllen = sizeof controls[i]};
}

static void fail(const char *what, unsigned flow, const struct sockaddr_in *from)
{
    if (atomic_exchange(&shared->failed, 1) == 0)
        fprintf(stderr, "media: at the %s: %s (flow %u, from %s:%u)\n", side ? "server" : "phones", what, flow,
                inet_ntoa(from->sin_addr), ntohs(from->sin_port));
    shared->stop = 1;
}

/* Send up to `count` packets of the flows of one port, beginning with flow `*next`; how many went. */
static unsigned send_some(int port, unsigned *next, unsigned count)
{
    uint64_t time = now();
    unsigned made = 0;
    for (; made < count; made++) {
        if (*next >= phone_count)
            *next = (unsigned)port;
        unsigned flow = *next;
        prepare((int)made);
        packets[made] = (struct packet){.version = 0x80, .sequence = htons((uint16_t)numbers[flow]), .timestamp = media->step,
                                        .source = htonl(flow), .flow = flow, .number = ++numbers[flow], .sent_ns = time};
        memset(packets[made].filling, (int)(flow + numbers[flow]), sizeof packets[made].filling);
        names[made] = target[flow];
        struct msghdr *header = &headers[made].msg_hdr;
        if (side == 0) {
            struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(first_phone + flow)};
            struct cmsghdr *part = CMSG_FIRSTHDR(header);
            *part = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
            memcpy(CMSG_DATA(part), &info, sizeof info);
        } else {
            header->msg_control = NULL;
            header->msg_controllen = 0;
        }
        *next += PORTS;
    }
    int sent = sendmmsg(sockets[port], headers, made, 0);
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EPERM)
        die("media: sendmmsg");
    return sent > 0 ? (unsigned)sent : 0;
}

/* Judge a packet: what it says, where it comes from, and whom it is for. */
static void take(int i, int port, uint64_t time)
{
    const struct packet *packet = &packets[i];
    unsigned flow = packet->flow;
    struct sockaddr_in *from = &names[i];
    if (headers[i].msg_len != RTP_BYTES || flow >= phone_count || flow % PORTS != (unsigned)port) {
        fail("not one of ours", flow, from);
        return;
    }
    uint8_t filling[sizeof packet->filling];
    memset(filling, (int)(flow + packet->number), sizeof filling);
    if (memcmp(filling, packet->filling, sizeof filling) != 0 || ntohl(packet->source) != flow)
        fail("its bytes have changed", flow, from);
    if (side == 1 && !translated && !proxied && target[flow].sin_port == 0 && from->sin_addr.s_addr == public_address.s_addr)
        target[flow] = *from;
    if (from->sin_addr.s_addr != target[flow].sin_addr.s_addr || from->sin_port != target[flow].sin_port)
        fail("it comes from another place than the SDP's", flow, from);
    struct in_pktinfo info = {0};
    struct cmsghdr *control = CMSG_FIRSTHDR(&headers[i].msg_hdr);
    if (control != NULL)
        memcpy(&info, CMSG_DATA(control), sizeof info);
    if (side == 0 && info.ipi_addr.s_addr != htonl(first_phone + flow))
        fail("it is for another phone", flow, from);
    if (side == 1 && received[flow]++ == 0)
        atomic_fetch_add(&media->latched, 1);
    atomic_fetch_add(&shared->checked, 1);
    if (packet->timestamp != media->step)
        return; /* of the rate before */
    struct counts *counts = &media->counts[side];
    uint64_t took = time > packet->sent_ns ? time - packet->sent_ns : 0;
    record(&counts->latency, took);
    *(took <= IN_TIME_NS ? &counts->in_time : &counts->late) += 1;
}

static void take_all(int poll, uint64_t wait_ns)
{
    struct epoll_event events[PORTS + 1];
    struct timespec timeout = {.tv_nsec = (long)wait_ns};
    int ready = epoll_pwait2(poll, events, PORTS, &timeout, NULL);
    for (int e = 0; e < ready; e++) {
        int port = (int)events[e].data.u32;
        for (int i = 0; i < BATCH; i++)
            prepare(i);
        int count = recvmmsg(sockets[port], headers, BATCH, MSG_DONTWAIT, NULL);
        uint64_t time = now();
        for (int i = 0; i < count && !shared->stop; i++)
            take(i, port, time);
    }
}

/* One rate: send in time, and receive all the while. Ends when the time is over and nothing comes any more. */
static void play(int poll, unsigned step)
{
    static unsigned next[PORTS], turn;
    struct counts *counts = &media->counts[side];
    double each_ns = 2e9 / media->rate;
    uint64_t begin = media->begin_ns, end = media->end_ns, due = 0;
    if (turn == 0)
        for (unsigned port = 0; port < PORTS; port++)
            next[port] = port;
    for (uint64_t time = now(); time < end + 2 * IN_TIME_NS && !shared->stop; time = now()) {
        if (time < begin) {
            take_all(poll, begin - time < 1000000 ? begin - time : 1000000);
            continue;
        }
        uint64_t wanted = time < end ? (uint64_t)((double)(time - begin) / each_ns) : due;
        if ((double)(wanted - due) * each_ns > BEHIND_NS) { /* a generator that can't keep up must not send in bursts */
            uint64_t over = wanted - due - (uint64_t)(BEHIND_NS / each_ns);
            counts->skipped += over;
            due += over;
        }
        for (int round = 0; round < 4 && due < wanted; round++) {
            unsigned count = wanted - due < BATCH ? (unsigned)(wanted - due) : BATCH, port = turn++ % PORTS;
            counts->sent += send_some((int)port, &next[port], count);
            due += count;
        }
        uint64_t spent = now(), at = begin + (uint64_t)((double)(due + 1) * each_ns);
        take_all(poll, time >= end ? 1000000 : at > spent ? (at - spent < 1000000 ? at - spent : 1000000) : 0);
    }
    media->idle[side] = step;
}

static void first_packets(int poll)
{
    for (int tries = 0; tries < 100 && media->latched < phone_count && !shared->stop; tries++) {
        for (unsigned flow = 0; flow < phone_count && side == 0; flow++) {
            unsigned next = flow;
            send_some((int)(flow % PORTS), &next, 1);
        }
        for (uint64_t end = now() + 20000000; now() < end;)
            take_all(poll, 1000000);
    }
}

static int watch(void)
{
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < PORTS; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, sockets[i], &event) != 0)
            die("media: epoll");
    }
    return poll;
}

/* The media ports of phone and server in a phone's call: eight of each, so that packets go in batches. */
static void choose_ports(struct view *view, unsigned phone)
{
    view->media = 20000 + phone % PORTS * 2;
    if (!proxied || side == 1)
        view->answer_media = 30000 + phone % PORTS * 2;
}

/* Answer calls until the phones have enough of it. */
static void answer_calls(int fd)
{
    static char data[MAX_MESSAGE + 1], text[MAX_MESSAGE], vias[1024];
    while (media->step == 0 && !shared->stop) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        struct pollfd waiting = {fd, POLLIN, 0};
        unsigned number, phone;
        ssize_t length = poll(&waiting, 1, 20) == 1 ? recvfrom(fd, data, MAX_MESSAGE, 0, (void *)&from, &size) : -1;
        if (length < 0)
            continue;
        data[length] = 0;
        int kind = identify(data, &number, &phone);
        if (kind != INVITE && kind != ACK) {
            judge("server", data, (size_t)length, "one of ours", 11);
            continue;
        }
        struct view view = server_view(data, phone, number, ntohs(from.sin_port));
        unsigned public_media = view.media;
        choose_ports(&view, phone);
        if (translated || proxied)
            view.media = public_media;
        judge("server", data, (size_t)length, text, compose(text, (enum kind)kind, phone, number, &view));
        if (kind != INVITE)
            continue;
        if (translated || proxied)
            target[phone] = (struct sockaddr_in){
                .sin_family = AF_INET, .sin_port = htons((uint16_t)public_media), .sin_addr = public_address};
        if (proxied) {
            take_vias(data, vias, sizeof vias);
            view.vias = vias;
        }
        post(fd, text, compose(text, OK_INVITE, phone, number, &view), from, server_address.s_addr);
    }
}

static int call_all(int fd)
{
    static char data[MAX_MESSAGE + 1], text[MAX_MESSAGE];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(SIP_PORT), .sin_addr = server_address};
    for (unsigned phone = 0, tries = 0; phone < phone_count && !shared->stop;) {
        unsigned number, whose;
        struct view view = private_view(phone, phone + 1);
        choose_ports(&view, phone);
        struct pollfd waiting = {fd, POLLIN, 0};
        if (++tries > 20)
            return -1;
        post(fd, text, compose(text, INVITE, phone, phone + 1, &view), to, htonl(first_phone + phone));
        if (poll(&waiting, 1, 500) != 1)
            continue;
        ssize_t length = recv(fd, data, MAX_MESSAGE, 0);
        if (length < 0)
            continue;
        data[length] = 0;
        int kind = identify(data, &number, &whose);
        if (kind == OK_INVITE && whose < phone)
            continue; /* of one that was sent again */
        struct view seen = phone_view(data, phone, phone + 1);
        choose_ports(&seen, phone);
        judge("phones", data, (size_t)length, text, compose(text, OK_INVITE, phone, phone + 1, &seen));
        inet_pton(AF_INET, seen.answer_host, &target[phone].sin_addr);
        target[phone].sin_family = AF_INET;
        target[phone].sin_port = htons((uint16_t)seen.answer_media);
        post(fd, text, compose(text, ACK, phone, phone + 1, &view), to, htonl(first_phone + phone));
        phone++;
        tries = 0;
    }
    return 0;
}

static void server_side(const char *name)
{
    struct in_addr own;
    side = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1);
    int fd = open_in(name, server_address.s_addr);
    inet_pton(AF_INET, media_address, &own);
    open_media(own.s_addr, 30000);
    int poll = watch();
    shared->ready = 1;
    answer_calls(fd);
    first_packets(poll);
    for (unsigned done = 1; !shared->stop;)
        if (media->step > done)
            play(poll, done = media->step);
        else
            take_all(poll, 1000000);
    exit(0);
}

static void report(double rate, double seconds)
{
    const struct counts *phones = &media->counts[0], *server = &media->counts[1];
    struct latency both = phones->latency;
    for (int octave = 0; octave < OCTAVES; octave++)
        for (int step = 0; step < STEPS; step++)
            both.buckets[octave][step] += server->latency.buckets[octave][step];
    both.count += server->latency.count;
    printf("{\"rate\": %.0f, \"seconds\": %.3f, \"sent\": %lu, \"in_time\": %lu, \"late\": %lu, \"skipped\": %lu, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"checked\": %lu}\n",
           rate, seconds, phones->sent + server->sent, phones->in_time + server->in_time, phones->late + server->late,
           phones->skipped + server->skipped, percentile(&both, 0.5), percentile(&both, 0.99), shared->checked);
    fflush(stdout);
}

int main(int count, char **words)
{
    struct in_addr first;
    char line[32];
    if (count != 10) {
        fprintf(stderr, "usage: media PHONE-NETNS SERVER-NETNS SERVER MEDIA PUBLIC FIRST-PHONE PHONES "
                        "plain|alg|proxied:RELAY SECONDS, and a rate in each line of stdin\n");
        return 2;
    }
    inet_pton(AF_INET, words[3], &server_address);
    media_address = words[4];
    inet_pton(AF_INET, words[5], &public_address);
    inet_pton(AF_INET, words[6], &first);
    first_phone = ntohl(first.s_addr);
    phone_count = (unsigned)atoi(words[7]);
    expect(words[8]);
    double seconds = atof(words[9]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    media = mmap(NULL, sizeof *media, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || media == MAP_FAILED || phone_count < PORTS || phone_count > MAX_PHONES ||
        seconds <= 0 || seconds > 60) {
        fprintf(stderr, "media: %d to %d phones, up to 60 seconds a rate\n", PORTS, MAX_PHONES);
        return 2;
    }
    alarm(600);
    pid_t child = fork();
    if (child == 0)
        server_side(words[2]);
    prctl(PR_SET_TIMERSLACK, 1);
    int fd = open_in(words[1], INADDR_ANY);
    open_media(INADDR_ANY, 20000);
    int poll = watch();
    while (!shared->ready && !shared->stop)
        usleep(1000);
    if (call_all(fd) != 0) {
        fprintf(stderr, "media: a call wasn't answered twenty times\n");
        shared->failed = shared->stop = 1;
    }
    media->step = 1;
    first_packets(poll);
    if (media->latched < phone_count && !shared->stop)
        fail("no packet of some phones arrives", media->latched, &target[0]);
    puts("{}"); /* the harness reads CPU times between each two lines */
    fflush(stdout);
    unsigned step = 1;
    while (!shared->stop && fgets(line, sizeof line, stdin) != NULL && atof(line) > 0) {
        memset(media->counts, 0, sizeof media->counts);
        media->rate = atof(line);
        media->begin_ns = now() + 10000000;
        media->end_ns = media->begin_ns + (uint64_t)(seconds * 1e9);
        media->step = ++step;
        play(poll, step);
        while (media->idle[1] != step && !shared->stop)
            usleep(1000);
        report(media->rate, seconds);
    }
    shared->stop = 1;
    int status;
    waitpid(child, &status, 0);
    return shared->failed || status != 0 ? 1 : 0;
}
