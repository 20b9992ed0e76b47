/* Calls in a closed loop: INVITE, 180, 200, ACK, BYE, 200, as many calls at once as the window lets.
 *
 * One process in the phones' namespace and one in the server's, as in loop.c. Every message is written anew from what
 * each end knows and compared whole; only the public media port is the router's choice: it has to be even, and is read
 * from the INVITE. The first wrong message ends the run with both texts, or is counted. A lost message is sent again
 * after a second. The result is one JSON object on stdout. Both ends of a packet's way in bench/calls.py.
 */
#define _GNU_SOURCE
#include "latency.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_MESSAGE = 2048, SIP_PORT = 5060, MAX_RESENDS = 20, MAX_PHONES = 1000 };
enum kind { INVITE, ACK, BYE, RINGING, OK_INVITE, OK_BYE };

struct shared {
    atomic_int ready, stop, failed;
    atomic_ulong checked, differing;
};

/* How one side sees the phone: where its Via and Contact say it is, and where its media are. */
struct view {
    char place[32], host[16];
    unsigned media;
};

struct call {
    unsigned number, state, resends; /* state 0: none; 1: INVITE sent; 2: BYE sent */
    uint64_t first_sent, last_sent;
};

static struct shared *shared;
static struct in_addr server_address, public_address;
static const char *media_address;
static uint32_t first_phone;
static unsigned phone_count;
static int translated, counted;
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
        die("calls: socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    return fd;
}

static struct view private_view(unsigned phone, unsigned number)
{
    struct view view;
    struct in_addr address = {htonl(first_phone + phone)};
    snprintf(view.host, sizeof view.host, "%s", inet_ntoa(address));
    snprintf(view.place, sizeof view.place, "%s:%d", view.host, SIP_PORT);
    view.media = 20000 + number % 400 * 2;
    return view;
}

static int describe(char *out, const char *host, unsigned media)
{
    return sprintf(out, "v=0\r\no=- 8 8 IN IP4 %s\r\ns=call\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %u RTP/AVP 0 8 101\r\n"
                        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n",
                   host, host, media);
}

/* Write a message as it is where `view` is what is seen of the phone; half of the phones have another order. */
static size_t compose(char *out, enum kind kind, unsigned phone, unsigned number, const struct view *view)
{
    char body[512] = "", contact[128] = "", type[64] = "", via[160];
    int request = kind <= BYE, bytes = 0;
    const char *method = methods[kind == OK_BYE ? BYE : request ? kind : INVITE];
    if (kind == INVITE)
        bytes = describe(body, view->host, view->media);
    else if (kind == OK_INVITE)
        bytes = describe(body, media_address, 30000 + number % 1000 * 2);
    if (bytes > 0)
        strcpy(type, "Content-Type: application/sdp\r\n");
    if (request)
        sprintf(contact, "Contact: <sip:u%u@%s>\r\n", phone, view->place);
    else
        sprintf(contact, "Contact: <sip:bob@%s:%d>\r\n", inet_ntoa(server_address), SIP_PORT);
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
        die("calls: sendmsg");
}

static void judge(const char *where, const char *got, size_t length, const char *expected, size_t size)
{
    atomic_fetch_add(&shared->checked, 1);
    if (length == size && memcmp(got, expected, size) == 0)
        return;
    atomic_fetch_add(&shared->differing, 1);
    if (!counted && atomic_exchange(&shared->failed, 1) == 0) {
        fprintf(stderr, "calls: wrong message at the %s\n--- got\n%.*s\n--- expected\n%.*s\n", where, (int)length, got,
                (int)size, expected);
        shared->stop = 1;
    }
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

static void server_side(const char *name)
{
    static char data[MAX_MESSAGE + 1], text[MAX_MESSAGE];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open_in(name, server_address.s_addr);
    shared->ready = 1;
    while (!shared->stop) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        struct pollfd waiting = {fd, POLLIN, 0};
        ssize_t length = recvfrom(fd, data, MAX_MESSAGE, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
        if (length < 0) {
            poll(&waiting, 1, 20);
            continue;
        }
        data[length] = 0;
        unsigned number, phone;
        int kind = identify(data, &number, &phone);
        if (kind < 0 || kind > BYE) {
            judge("server", data, (size_t)length, "one of ours", 11);
            continue;
        }
        struct view view = private_view(phone, number);
        if (translated) {
            const char *media = strstr(data, "m=audio ");
            strcpy(view.host, inet_ntoa(public_address));
            snprintf(view.place, sizeof view.place, "%s:%d", view.host, ntohs(from.sin_port));
            view.media = media == NULL ? 0 : (unsigned)atoi(media + 8) & ~1u;
        }
        judge("server", data, (size_t)length, text, compose(text, (enum kind)kind, phone, number, &view));
        if (kind == INVITE) {
            post(fd, text, compose(text, RINGING, phone, number, &view), from, server_address.s_addr);
            post(fd, text, compose(text, OK_INVITE, phone, number, &view), from, server_address.s_addr);
        } else if (kind == BYE)
            post(fd, text, compose(text, OK_BYE, phone, number, &view), from, server_address.s_addr);
    }
    exit(0);
}

static struct call calls[MAX_PHONES];
static struct latency latency;
static uint64_t resent;
static int out;

static void say(enum kind kind, unsigned phone, uint64_t time)
{
    char text[MAX_MESSAGE];
    struct call *call = &calls[phone];
    struct view view = private_view(phone, call->number);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(SIP_PORT), .sin_addr = server_address};
    call->last_sent = time;
    post(out, text, compose(text, kind, phone, call->number, &view), to, htonl(first_phone + phone));
}

/* One message to a phone: judge it and go on with the call; 1 if it is over. */
static int hear(const char *data, size_t length, uint64_t time)
{
    static char text[MAX_MESSAGE];
    unsigned number, phone;
    int kind = identify(data, &number, &phone);
    if (kind < RINGING) {
        judge("phones", data, length, "one of ours", 11);
        return 0;
    }
    struct view view = private_view(phone, number);
    judge("phones", data, length, text, compose(text, (enum kind)kind, phone, number, &view));
    struct call *call = &calls[phone];
    if (call->number != number || call->state == 0)
        return 0;
    if (kind == OK_INVITE) {
        say(ACK, phone, time);
        if (call->state == 1) {
            call->state = 2;
            say(BYE, phone, time);
        }
    } else if (kind == OK_BYE) {
        call->state = 0;
        record(&latency, time - call->first_sent);
        return 1;
    }
    return 0;
}

static double run(unsigned window, double seconds)
{
    static char data[MAX_MESSAGE + 1];
    static unsigned next, number;
    uint64_t begin = now(), end = begin + (uint64_t)(seconds * 1e9), time = begin, scanned = begin;
    unsigned under_way = 0, left = seconds > 0 ? UINT32_MAX : phone_count;
    while (!shared->stop) {
        while (under_way < window && left > 0 && (seconds <= 0 || time < end)) {
            next = (next + 1) % phone_count;
            if (calls[next].state != 0)
                continue;
            calls[next] = (struct call){++number, 1, 0, time, time};
            say(INVITE, next, time);
            under_way++;
            left--;
        }
        if (under_way == 0)
            break;
        ssize_t length = recv(out, data, MAX_MESSAGE, MSG_DONTWAIT);
        time = now();
        if (length >= 0) {
            data[length] = 0;
            under_way -= (unsigned)hear(data, (size_t)length, time);
        } else {
            struct pollfd waiting = {out, POLLIN, 0};
            poll(&waiting, 1, 20);
        }
        if (time - scanned < 50000000)
            continue;
        scanned = time;
        for (unsigned phone = 0; phone < phone_count; phone++) {
            struct call *call = &calls[phone];
            if (call->state == 0 || time - call->last_sent < 1000000000)
                continue;
            resent++;
            if (++call->resends > MAX_RESENDS) {
                fprintf(stderr, "calls: a message was lost %d times\n", MAX_RESENDS);
                shared->failed = shared->stop = 1;
            }
            say(call->state == 1 ? INVITE : BYE, phone, time);
        }
    }
    return (double)(time - begin) / 1e9;
}

int main(int count, char **words)
{
    if (count != 11) {
        fprintf(stderr, "usage: calls PHONE-NETNS SERVER-NETNS SERVER MEDIA PUBLIC FIRST-PHONE PHONES "
                        "plain|alg|alg-counted WINDOW SECONDS\n");
        return 2;
    }
    struct in_addr first;
    inet_pton(AF_INET, words[3], &server_address);
    media_address = words[4];
    inet_pton(AF_INET, words[5], &public_address);
    inet_pton(AF_INET, words[6], &first);
    first_phone = ntohl(first.s_addr);
    phone_count = (unsigned)atoi(words[7]);
    translated = strcmp(words[8], "plain") != 0;
    counted = strcmp(words[8], "alg-counted") == 0;
    unsigned window = (unsigned)atoi(words[9]);
    double seconds = atof(words[10]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || phone_count < 1 || phone_count > MAX_PHONES || window < 1 || window > phone_count ||
        seconds <= 0 || seconds > 600) {
        fprintf(stderr, "calls: 1 to %d phones, a window of at most as many, up to 600 seconds\n", MAX_PHONES);
        return 2;
    }
    alarm((unsigned)seconds + 120);
    pid_t child = fork();
    if (child == 0)
        server_side(words[2]);
    out = open_in(words[1], INADDR_ANY);
    while (!shared->ready && !shared->stop)
        usleep(1000);
    run(window < 16 ? window : 16, 0); /* every phone once */
    latency = (struct latency){0};
    resent = 0;
    puts("{}"); /* the harness reads CPU times between this line and the next */
    fflush(stdout);
    double took = run(window, seconds);
    shared->stop = 1;
    int status;
    waitpid(child, &status, 0);
    if (shared->failed || status != 0)
        return 1;
    printf("{\"calls\": %lu, \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"resent\": %lu, \"checked\": %lu, \"wrong\": %lu}\n",
           latency.count, took, (double)latency.count / took, percentile(&latency, 0.5), percentile(&latency, 0.99),
           percentile(&latency, 0.999), resent, shared->checked, shared->differing);
    return 0;
}
