/* A queue's consumer that looks at nothing: it accepts each packet. The bound of what any NFQUEUE program can do.
 *
 * nfnetlink_queue over a raw netlink socket: it receives until the queue is empty, at most 32 packets, and then sends
 * their verdicts in one message. Between the two ends of a packet's way in bench/loop.py's mode `noop`.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 32, PACKET_BYTES = 66000 };

struct request {
    struct nlmsghdr header;
    struct nfgenmsg family;
    struct nlattr attribute;
    union {
        struct nfqnl_msg_config_cmd command;
        struct nfqnl_msg_config_params parameters;
        struct nfqnl_msg_verdict_hdr verdict;
    } value;
} __attribute__((packed, aligned(4)));

static struct request make(int type, int attribute, size_t value_bytes, uint16_t queue)
{
    struct request request = {0};
    request.header.nlmsg_len = (uint32_t)(offsetof(struct request, value) + NLMSG_ALIGN(value_bytes));
    request.header.nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.family.nfgen_family = AF_UNSPEC;
    request.family.res_id = htons(queue);
    request.attribute.nla_type = (uint16_t)attribute;
    request.attribute.nla_len = (uint16_t)(sizeof request.attribute + value_bytes);
    return request;
}

static void tell(int fd, const void *data, size_t length)
{
    if (send(fd, data, length, 0) < 0) {
        perror("noop: send");
        exit(2);
    }
}

/* The packet's id, which the kernel sends as the first attribute that matters. */
static uint32_t packet_id(const struct nlmsghdr *header)
{
    const char *at = (const char *)NLMSG_DATA(header) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
    const char *end = (const char *)header + header->nlmsg_len;
    while (at + sizeof(struct nlattr) <= end) {
        const struct nlattr *attribute = (const void *)at;
        if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
            struct nfqnl_msg_packet_hdr packet;
            memcpy(&packet, attribute + 1, sizeof packet);
            return packet.packet_id;
        }
        at += NLA_ALIGN(attribute->nla_len);
    }
    fprintf(stderr, "noop: a packet without an id\n");
    exit(2);
}

int main(int count, char **words)
{
    static char buffer[PACKET_BYTES];
    static struct request verdicts[BATCH];
    uint16_t queue = (uint16_t)(count == 2 ? atoi(words[1]) : 0);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER), bytes = 8 << 20;
    if (fd < 0) {
        perror("noop: socket");
        return 2;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    struct request bind = make(NFQNL_MSG_CONFIG, NFQA_CFG_CMD, sizeof bind.value.command, queue);
    bind.value.command.command = NFQNL_CFG_CMD_BIND;
    tell(fd, &bind, bind.header.nlmsg_len);
    struct request copy = make(NFQNL_MSG_CONFIG, NFQA_CFG_PARAMS, sizeof copy.value.parameters, queue);
    copy.value.parameters.copy_range = htonl(0xffff);
    copy.value.parameters.copy_mode = NFQNL_COPY_PACKET;
    tell(fd, &copy, copy.header.nlmsg_len);
    puts("ready");
    fflush(stdout);
    size_t verdict_bytes = offsetof(struct request, value) + sizeof(struct nfqnl_msg_verdict_hdr);
    char message[BATCH * sizeof(struct request)];
    for (;;) {
        int held = 0;
        ssize_t length;
        while (held < BATCH && (length = recv(fd, buffer, sizeof buffer, held > 0 ? MSG_DONTWAIT : 0)) > 0)
            for (struct nlmsghdr *header = (void *)buffer; NLMSG_OK(header, length); header = NLMSG_NEXT(header, length)) {
                if (header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) || held == BATCH)
                    continue;
                struct request verdict = make(NFQNL_MSG_VERDICT, NFQA_VERDICT_HDR, sizeof verdict.value.verdict, queue);
                verdict.value.verdict.verdict = htonl(NF_ACCEPT);
                verdict.value.verdict.id = packet_id(header);
                verdicts[held++] = verdict;
            }
        for (int i = 0; i < held; i++)
            memcpy(message + (size_t)i * verdict_bytes, &verdicts[i], verdict_bytes);
        if (held > 0)
            tell(fd, message, (size_t)held * verdict_bytes);
    }
}
