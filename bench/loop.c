/* The closed loop: phones behind a router register with a server, as fast as the window lets them.
 *
 * Two processes, one in the phones' namespace and one in the server's (ends.h); the phones compare every
 * reply. A lost packet is sent again after a timeout and counted. The result is one JSON object on stdout. Both ends
 * of a packet's way in bench/loop.py.
 */
#define _GNU_SOURCE
#include "ends.h"

enum { MAX_RESENDS = 20 };

struct pending {
    uint64_t first_sent, last_sent; /* nanoseconds; 0: nothing is under way */
    uint32_t sequence, resends;
};

static double duration = 2, timeout = 1;
static int window = 64;
static struct pending *pending;
static uint32_t sequence_next = 10000000;
static struct latency latency;
static uint64_t resent, late;

/* One reply: judge it. True when it is the answer that was waited for. */
static int accept_reply(const struct batch *in, int i, uint64_t time)
{
    uint32_t sequence;
    int as_plain, number = judge_reply(in, i, &sequence, &as_plain);
    if (number < 0)
        return 0;
    if (pending[number].first_sent == 0 || pending[number].sequence != sequence) {
        late++;
        return 0;
    }
    record(&latency, time - pending[number].first_sent);
    pending[number].first_sent = 0;
    return 1;
}

static void post_again(int number, uint64_t time)
{
    pending[number].last_sent = time;
    post(number, pending[number].sequence);
}

static int resend_lost(uint64_t time)
{
    for (uint32_t i = 0; i < entry_count; i++) {
        if (pending[i].first_sent == 0 || time - pending[i].last_sent < (uint64_t)(timeout * 1e9))
            continue;
        if (++pending[i].resends > MAX_RESENDS)
            return -1;
        resent++;
        post_again((int)i, time);
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
            post_again((int)next, time);
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
    int poll = open_phones();
    double first = (double)run(window < 16 ? window : 16, 0, poll) / 1e9;
    uint64_t warm_up = latency.count, warm_up_resent = resent;
    latency = (struct latency){0};
    resent = 0;
    printf("{\"warm\": %lu}\n", warm_up); /* the harness reads CPU times between this line and the next */
    fflush(stdout);
    getchar(); /* until the harness says so */
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
    take_words(words);
    window = atoi(words[7]);
    duration = atof(words[8]);
    timeout = atof(words[9]);
    pending = calloc(entry_count, sizeof *pending);
    if (pending == NULL)
        die("loop: memory");
    if (window < 1 || (uint32_t)window > entry_count || duration <= 0 || duration > 600 || timeout <= 0) {
        fprintf(stderr, "loop: window 1 to %u, seconds up to 600\n", entry_count);
        return 2;
    }
    alarm((unsigned)duration + 150); /* whatever happens, it ends */
    pid_t child = fork();
    if (child == 0)
        server_side();
    int result = phone_side(), status;
    waitpid(child, &status, 0);
    return result != 0 || shared->failed ? 1 : status == 0 ? 0 : 2;
}
