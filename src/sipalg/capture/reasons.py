"""Why something passes as it came, in a sentence for each reason's name: for `explain`, `status` and the man page.

The engine, the codec and the offline router give reasons as short names that can be counted; here stands what each one
means to a person. It is at the lowest layer that has commands, so that all of them share it. On a packet's way this is
what is said afterwards.
"""

from __future__ import annotations

from typing import Final

from sipalg.capture import nat, offline, router
from sipalg.codec import datagram, message, sdp
from sipalg.engine import policy

#: Reason → what it means, of messages that the ALG saw (`passes` in `status`, explain's reason).
OF_MESSAGES: Final[dict[str, str]] = {
    policy.NOTHING_TO_EDIT: "it names no address that this router translates",
    policy.EXEMPT: "its remote end is in a network that isn't translated (--except, or the NAT rules)",
    policy.NO_PUBLIC_ADDRESS: "the outside interface has no address, or IPv6 isn't served",
    policy.NO_MAPPING: "it came for an inside address that has no signalling mapping",
    policy.NO_FREE_PORT: "no public port is free",
    policy.TOO_MANY_MAPPINGS: "its phone, or all phones together, have as many mappings as they may",
    policy.TOO_MANY_LINES: f"its header has more than {policy.MAX_HEADER_LINES} lines",
    policy.TOO_MANY_ADDRESSES: f"its header names more than {policy.MAX_ADDRESSES} addresses of its phone's",
    policy.NAME_TOO_LONG: f"its Call-ID and tags are longer than {policy.MAX_NAME_BYTES} bytes",
    policy.ADDRESS_WITH_ZONE: "its Via or Contact gives the phone's IPv6 address with a zone, which none may have",
    policy.NAT_AWARE: "its phone knows about the NAT: its Contact was the public address as it came",
    policy.NOT_NATTED: "the router's rules don't translate this sender's packets",
    policy.PRIVILEGED_PORT: "its phone sends from a port below 1024, and no mapping is made for those",
    policy.STREAM: "it is a segment of a TCP stream, and no whole message",
    policy.FIELD_TWICE: "its Call-ID, CSeq, From or To is there twice, so that it isn't certain whose call it is",
    policy.EMPTY_PARAMETER: "a field to be edited has an empty parameter, which not everybody reads alike",
    policy.DISABLED: "the ALG is disabled, and it belongs to nothing that stands (disabled=yes)",
    policy.SDP_ADDRESS_FOREIGN: "its SDP gives a host name, or an address of the other IP version",
    policy.SDP_NO_CONNECTION: "its SDP has media but no c= line that applies to it",
    policy.SDP_PORT_PRIVILEGED: "its SDP asks for media on a port below 1024, and none is opened there",
    policy.SDP_OF_ANOTHER: "its SDP names another inside host's address for media, where that isn't allowed",
    policy.DIRECT_MEDIA_REFUSED: "it offers another inside host's address for media, and sip-direct-media is no",
    policy.REFUSAL_ACKNOWLEDGED: "it is the ACK to a refusal of direct media",
    policy.MEDIA_ADDRESS_REFUSED: "it names a new address for media in a call that stands, and sip-direct-media is no",
    policy.SDP_TOO_MANY_SECTIONS: f"its SDP has more than {policy.MAX_MEDIA_SECTIONS} m= lines",
    message.NOT_SIP: "it doesn't begin with a SIP start line",
    message.KEEP_ALIVE: "it is a keep-alive: line ends only",
    message.NO_END_OF_HEADERS: "no empty line ends its header",
    message.LENGTH_MALFORMED: "its Content-Length is no number",
    message.LENGTH_TWICE: "it has more than one Content-Length",
    message.TOO_LONG: f"it is longer than {message.MAX_MESSAGE_BYTES} bytes",
    message.LENGTH_BEYOND: "its Content-Length says more than the datagram holds",
    sdp.NO_DESCRIPTION: "its body doesn't begin like an SDP description",
    sdp.LINE_MALFORMED: "a line of its SDP can't be read",
    sdp.PORT_MALFORMED: "a port in its SDP is no port",
    # The live router's own words, as `datapath.executor` has them.
    "port-taken": "other inside hosts' connections hold the public ports that it needs",
    "reply-failed": "it was to be refused, and the refusal couldn't be sent; the log says why",
    "kernel-error": "the kernel refused what it needs; the log says what",
    router.LOCAL: "both ends are inside: it never goes through the NAT",
}

#: Reason → what it means, of packets in a capture, or in the queue, that hold no datagram for the ALG.
OF_PACKETS: Final[dict[str, str]] = {
    offline.NOT_IPV4: "it isn't IPv4",
    datagram.NOT_IP: "it isn't IP",
    datagram.TRUNCATED: "it ends before its headers say",
    datagram.FRAGMENT: "it is a fragment",
    datagram.NOT_UDP: "it isn't UDP",
    datagram.BAD_LENGTH: "its UDP length doesn't fit the packet",
    router.FOREIGN: "neither end is inside or the public address",
    router.EXEMPT: "its remote end is in a network given with --except",
    router.NOT_UNICAST: "it is for no single host: multicast or broadcast",
    router.OTHER_PROTOCOL: "it is neither UDP nor TCP nor ICMP",
    router.TO_ROUTER: "it is for the router itself",
    router.CUT_HEADERS: "the capture has less than its headers",
    router.NO_PORT: "no public port was free",
    router.FRAGMENT: "a fragment whose other parts aren't there",
    router.REFUSED_HERE: "the router refused it: it goes no further",
    router.UNCHANGED: "it already shows what its receiver sees",
    router.CUT: "the capture cut the message off, so that the ALG couldn't read it",
    router.TOO_LONG: "edited, it would be longer than a packet can be",
    nat.NOT_MAPPED: "it is for a public port that no mapping has",
    nat.NOT_ADMITTED: "its sender isn't a server that the phone spoke to",
    "edited-too-short-for-its-fragments": "edited, it would be too short for as many fragments",
}


def sentence(reason: str) -> str:
    """Return what a reason means, "" for a name that isn't known here."""
    return OF_MESSAGES.get(reason) or OF_PACKETS.get(reason, "")
