/* Registrations at a given rate, whether or not answers come: latency at half of the load, and what an overload does.
 *
 * As loop.c, but each request is sent when its time has come, the phones in turn; nothing is sent again. A latency is
 * from the sending of a request to its answer, and lateness from when it was due to its sending. Where messages may pass untranslated ("either"), what was translated is
 * counted for each phone, to show whether all are served alike. The result is one JSON object on stdout. Both ends of
 * a packet's way in bench/paced.py.
 */
#define _GNU_SOURCE
#include "ends.h"

enum { SLOTS = SEQUENCES, BEHIND_NS = 20000000, QUIET_NS = 300000000 };

/* A request under way: 0 where there is none. */
struct slot {
    uint64_t sent_ns;
    uint32_t sequence;
};

static struct slot *slots;
static uint32_t sequence_next = 10000000;
static struct latency latency, lateness;
static uint32_t next; /* the phone whose turn was last */
static uint64_t sent, answered, plain_replies, skipped;
static uint32_t *sent_of, *served_of; /* of each phone: requests, and answers that were translated both ways */

static void send_next(uint32_t number, uint64_t time)
{
    uint32_t sequence = sequence_next++;
    slots[sequence % SLOTS] = (struct slot){time, sequence};
    post((int)number, sequence);
    sent++;
    sent_of[entries[number].phone]++;
}

static int take_replies(int poll, uint64_t wait_ns)
{
    static struct batch in;
    struct epoll_event events[MAX_SOCKETS];
    struct timespec timeout = {.tv_nsec = (long)wait_ns};
    int ready = epoll_pwait2(poll, events, MAX_SOCKETS, &timeout, NULL), taken = 0;
    for (int e = 0; e < ready; e++) {
        int count = receive(sockets[events[e].data.u32], &in);
        uint64_t time = now();
        for (int i = 0; i < count && !shared->stop; i++) {
            uint32_t sequence;
            int as_plain, number = judge_reply(&in, i, &sequence, &as_plain);
            struct slot *slot = &slots[sequence % SLOTS];
            if (number < 0 || slot->sent_ns == 0 || slot->sequence != sequence)
                continue;
            record(&latency, time - slot->sent_ns);
            slot->sent_ns = 0;
            answered++;
            plain_replies += (uint64_t)as_plain;
            served_of[entries[number].phone] += !as_plain;
        }
        taken += count;
    }
    return taken;
}

static void flush_all(void)
{
    for (int i = 0; i < socket_count; i++)
        if (outgoing[i].count > 0)
            flush(sockets[i], &outgoing[i]);
}

/* Send `count` requests at `rate` a second, the phones in turn, and wait until no more answers come. */
static double run(double rate, uint64_t count, int poll)
{
    double each_ns = 1e9 / rate;
    uint64_t begin = now(), time = begin, heard = begin, due = 0;
    while (due < count && !shared->stop) {
        time = now();
        uint64_t wanted = (uint64_t)((double)(time - begin) / each_ns) + 1;
        wanted = wanted < count ? wanted : count;
        if (wanted > due && (double)(wanted - due) * each_ns > BEHIND_NS) { /* it can't keep up: no bursts for that */
            uint64_t over = wanted - due - (uint64_t)(BEHIND_NS / each_ns);
            skipped += over;
            due += over;
        }
        for (int batch = 0; due < wanted && batch < BATCH; batch++, due++) {
            next = (next + 1) % entry_count;
            time = now();
            record(&lateness, time - begin - (uint64_t)((double)due * each_ns));
            send_next(next, time);
        }
        flush_all();
        uint64_t at = begin + (uint64_t)((double)due * each_ns);
        time = now();
        take_replies(poll, due < wanted || at <= time ? 0 : at - time < 1000000 ? at - time : 1000000);
    }
    double seconds = (double)(now() - begin) / 1e9;
    for (heard = time = now(); answered < sent && time - heard < QUIET_NS && !shared->stop; time = now())
        if (take_replies(poll, 1000000) > 0)
            heard = now();
    return seconds;
}

static int compare_shares(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return a < b ? -1 : a > b;
}

/* The shares of the phones' requests that were served, in order: a twentieth of all phones are below the first. */
static void spread(double *low, double *middle, double *high)
{
    double *shares = calloc(phone_count, sizeof *shares);
    uint32_t count = 0;
    if (shares == NULL)
        die("paced: memory");
    for (uint32_t phone = 0; phone < phone_count; phone++)
        if (sent_of[phone] > 0)
            shares[count++] = (double)served_of[phone] / sent_of[phone];
    qsort(shares, count, sizeof *shares, compare_shares);
    *low = shares[count / 20];
    *middle = shares[count / 2];
    *high = shares[count - 1 - count / 20];
    free(shares);
}

/* Every phone once, a few at a time, and again where answers are missing. */
static void meet_all(int poll)
{
    for (uint32_t first = 0, tries = 0; first < entry_count && !shared->stop;) {
        uint32_t some = entry_count - first < 16 ? entry_count - first : 16;
        sent = answered = 0;
        next = first + entry_count - 1;
        run(10000, some, poll);
        if (answered == sent) {
            first += some;
            tries = 0;
        } else if (++tries == 20) {
            fprintf(stderr, "paced: %lu of %u phones aren't answered twenty times\n", sent - answered, some);
            shared->failed = shared->stop = 1;
        }
    }
}

static int phone_side(double rate, double duration)
{
    prctl(PR_SET_TIMERSLACK, 1);
    int poll = open_phones();
    meet_all(poll);
    sent = answered = plain_replies = skipped = 0;
    latency = lateness = (struct latency){0};
    memset(slots, 0, SLOTS * sizeof *slots);
    memset(sent_of, 0, phone_count * sizeof *sent_of);
    memset(served_of, 0, phone_count * sizeof *served_of);
    shared->plain = 0;
    puts("{}"); /* the harness reads CPU times between this line and the next */
    fflush(stdout);
    double seconds = run(rate, (uint64_t)(rate * duration), poll), low, middle, high;
    shared->stop = 1;
    if (shared->failed)
        return 1;
    spread(&low, &middle, &high);
    printf("{\"seconds\": %.4f, \"sent\": %lu, \"skipped\": %lu, \"answered\": %lu, "
           "\"plain_requests\": %lu, \"plain_replies\": %lu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"late_us\": %.1f, \"low\": %.4f, "
           "\"middle\": %.4f, \"high\": %.4f, \"checked\": %lu, \"wrong\": %lu}\n",
           seconds, sent, skipped, answered, shared->plain, plain_replies, percentile(&latency, 0.5),
           percentile(&latency, 0.99), percentile(&latency, 0.999), percentile(&lateness, 0.99), low, middle, high, shared->checked,
           shared->differing);
    return 0;
}

int main(int count, char **words)
{
    if (count != 9) {
        fprintf(stderr, "usage: paced FILE PHONE-NETNS SERVER-NETNS SERVER PUBLIC plain|alg|alg-counted|either RATE SECONDS\n");
        return 2;
    }
    take_words(words);
    double rate = atof(words[7]), duration = atof(words[8]);
    slots = calloc(SLOTS, sizeof *slots);
    sent_of = calloc(phone_count, sizeof *sent_of);
    served_of = calloc(phone_count, sizeof *served_of);
    if (slots == NULL || sent_of == NULL || served_of == NULL)
        die("paced: memory");
    if (rate < 1 || rate > 1e6 || duration <= 0 || duration > 600) {
        fprintf(stderr, "paced: 1 to 1,000,000 a second, seconds up to 600\n");
        return 2;
    }
    alarm((unsigned)duration + 120); /* whatever happens, it ends */
    pid_t child = fork();
    if (child == 0)
        server_side();
    int result = phone_side(rate, duration), status;
    shared->stop = 1;
    waitpid(child, &status, 0);
    return result != 0 || shared->failed ? 1 : status == 0 ? 0 : 2;
}
