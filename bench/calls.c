/* Calls in a closed loop: INVITE, 180, 200, ACK, BYE, 200, as many calls at once as the window lets.
 *
 * One process in the phones' namespace and one in the server's, as in loop.c. Every message is written anew from what
 * each end knows and compared whole; only the public media port is the router's choice: it has to be even, and is read
 * from the INVITE. The first wrong message ends the run with both texts, or is counted. A lost message is sent again
 * after a second. The result is one JSON object on stdout. Both ends of a packet's way in bench/calls.py.
 */
#define _GNU_SOURCE
#include "dialog.h"
#include "latency.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { MAX_RESENDS = 20 };

struct call {
    unsigned number, state, resends; /* state 0: none; 1: INVITE sent; 2: BYE sent */
    uint64_t first_sent, last_sent;
};

static void server_side(const char *name)
{
    static char data[MAX_MESSAGE + 1], text[MAX_MESSAGE], vias[1024];
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
        struct view view = server_view(data, phone, number, ntohs(from.sin_port));
        judge("server", data, (size_t)length, text, compose(text, (enum kind)kind, phone, number, &view));
        if (proxied) {
            take_vias(data, vias, sizeof vias);
            view.vias = vias;
        }
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
    struct view view = phone_view(data, phone, number);
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
                        "plain|alg|alg-counted|proxied:RELAY WINDOW SECONDS\n");
        return 2;
    }
    struct in_addr first;
    inet_pton(AF_INET, words[3], &server_address);
    media_address = words[4];
    inet_pton(AF_INET, words[5], &public_address);
    inet_pton(AF_INET, words[6], &first);
    first_phone = ntohl(first.s_addr);
    phone_count = (unsigned)atoi(words[7]);
    expect(words[8]);
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
