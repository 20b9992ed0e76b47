"""What a device between two captures can do wrong: each rule's name, how bad it is, and what breaks in practice.

The judgement finds, this table says what it means. `poor` makes the device a poor ALG; a `note` is worth knowing and
breaks nothing by itself. On a packet's way this is behind its end. Sources: the RFC sections named in the texts.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["poor", "note"]


#: What kind of fault it is: an address left private, not put back, or wrong; a text changed; something lost.
Fault = Literal["left", "undone", "wrong", "changed", "lost"]


class Rule(NamedTuple):
    """How bad it is, what breaks in practice, and what kind of fault it is."""

    level: Level
    breaks: str
    fault: Fault = "changed"


RULES: Final[dict[str, Rule]] = {
    "call-id-changed": Rule(
        "poor",
        "A Call-ID is a name, not an address (RFC 3261 §8.1.1.4). The far end and the phone know the call by "
        "different names: transfers and pickups (Replaces) fail, and where it isn't put back exactly, answers are "
        "thrown away.",
    ),
    "syntax-broken": Rule(
        "poor",
        "Far ends that read strictly, as most servers do, answer 400, or nothing at all, and the phone tries again.",
    ),
    "content-length-wrong": Rule(
        "poor",
        "The far end takes too much or too little for the body (RFC 3261 §18.3): the SDP is cut off or refused "
        "with 400, and over TCP every later message is lost too.",
    ),
    "content-length-off": Rule(
        "note",
        "The sender's own Content-Length didn't fit its body, so no device can know where the body ends "
        "(RFC 3261 §18.3). Look at the sender first.",
    ),
    "via-private": Rule(
        "poor",
        "The server answers to the address in the topmost Via (RFC 3261 §18.2.2), which it can't reach: "
        "registrations and calls time out, except at servers that answer to the source anyhow.",
        "left",
    ),
    "via-wrong": Rule(
        "poor",
        "The server answers to an address or port that isn't the one the NAT uses: the answers are lost.",
        "wrong",
    ),
    "via-not-restored": Rule(
        "poor",
        "A phone throws away a response whose topmost Via isn't its own (RFC 3261 §18.1.2): no answer counts.",
        "undone",
    ),
    "contact-private": Rule(
        "poor",
        "The server sends calls, ACK and BYE to the Contact (RFC 3261 §12.1.1), a private address: the phone "
        "can't be called, and calls drop after 32 seconds or never end.",
        "left",
    ),
    "contact-wrong": Rule(
        "poor",
        "The server sends calls to an address or port that isn't the NAT's: the phone can't be called.",
        "wrong",
    ),
    "contact-not-restored": Rule(
        "poor",
        "The phone looks for its own Contact in the registrar's answer, doesn't find it, and registers anew.",
        "undone",
    ),
    "request-uri-not-restored": Rule(
        "poor",
        "The phone is asked for an address that it doesn't know as its own: many answer 404 and don't ring.",
        "undone",
    ),
    "route-private": Rule(
        "poor",
        "Later requests of the dialog are sent to a private address on the route: the call can't be ended.",
        "left",
    ),
    "sdp-connection-private": Rule(
        "poor",
        "The far end sends its voice to a private address: one-way audio (c=, RFC 8866 §5.7).",
        "left",
    ),
    "sdp-origin-private": Rule(
        "poor",
        "o= has the private address: servers that compare it with c= refuse the call, or take no media from there.",
        "left",
    ),
    "sdp-rtcp-private": Rule(
        "poor",
        "RTCP is sent to a private address (a=rtcp, RFC 3605): no quality reports.",
        "left",
    ),
    "sdp-zero-changed": Rule(
        "poor",
        "0.0.0.0 or port 0 means hold or refused (RFC 3264 §6, §8.4); changed, the other end hears that wrongly.",
    ),
    "sdp-origin-zero": Rule(
        "poor",
        "o= names a session, not where media goes; 0.0.0.0 makes it another session.",
    ),
    "sdp-host-wrong": Rule(
        "poor",
        "The far end is told to send its voice to a host that isn't the NAT's, and from which nothing comes: one-way "
        "or no audio. Only where a media relay stands there is it meant so; then this isn't an ALG's own doing.",
        "wrong",
    ),
    "media-port-wrong": Rule(
        "poor",
        "The SDP names another address or port than the media really comes from: one-way or no audio.",
        "wrong",
    ),
    "media-lost": Rule(
        "poor",
        "Voice went in on one side and never came out on the other: one-way or no audio.",
        "lost",
    ),
    "media-unseen": Rule(
        "note",
        "Not judged: whether voice goes through, and whether the ports in the SDP are the NAT's. Capture both sides "
        "during a call to the outside (between two phones inside voice may stay there), without a filter by port.",
    ),
    "rtcp-lost": Rule(
        "poor",
        "RTCP went in and never came out: no quality reports, and ends that watch RTCP hang up after a while.",
        "lost",
    ),
    "rtcp-port-wrong": Rule(
        "poor",
        "RTCP leaves from another port than the SDP says, RTP's + 1 if nothing else: what is sent back is lost.",
        "wrong",
    ),
    "body-changed": Rule(
        "poor",
        "More of the body was changed than addresses: codecs, keys or texts arrive damaged.",
    ),
    "from-changed": Rule(
        "poor",
        "From is who calls, no address to reach: callers are shown or checked wrongly, and old ends lose the "
        "dialog.",
    ),
    "to-changed": Rule(
        "poor",
        "To is who is called, no address to reach: the far end knows nobody of that name.",
    ),
    "from-tag-changed": Rule(
        "poor",
        "From's tag names the dialog (RFC 3261 §12): answers and BYE belong to no call.",
    ),
    "to-tag-changed": Rule(
        "poor",
        "To's tag names the dialog (RFC 3261 §12): ACK and BYE belong to no call.",
    ),
    "cseq-changed": Rule(
        "poor",
        "CSeq orders a dialog's requests: the far end answers 500 or takes them for old ones.",
    ),
    "branch-changed": Rule(
        "poor",
        "The branch names the transaction (RFC 3261 §17): answers, CANCEL and ACK find no request to belong to.",
    ),
    "authorization-changed": Rule(
        "poor",
        "The digest was computed over the text as it was: the server refuses it.",
    ),
    "field-changed": Rule(
        "poor",
        "A field that is none of an ALG's business was changed: the far end acts on what the phone never said.",
    ),
    "field-removed": Rule(
        "poor",
        "A header field was taken out: what it asked for doesn't happen.",
    ),
    "field-added": Rule(
        "note",
        "A header field was put in. Harmless if the far end ignores what it doesn't know.",
    ),
    "max-forwards-changed": Rule(
        "note",
        "Max-Forwards is for proxies, which also add a Via. Harmless, but the device does more than addresses.",
    ),
    "header-order": Rule(
        "note",
        "The device prints headers anew instead of editing them. Allowed, but simple servers look at the order.",
    ),
    "header-case": Rule(
        "note",
        "The device prints header names anew. Allowed (RFC 3261 §7.3.1), but simple phones look for one form.",
    ),
    "spaces-changed": Rule(
        "note",
        "Blanks or line ends were changed. Allowed, and a sign that messages are printed anew.",
    ),
    "lost": Rule(
        "poor",
        "What went in never came out: requests time out, and a lost ACK or BYE ends or keeps calls wrongly.",
        "lost",
    ),
    "not-let-in": Rule(
        "note",
        "It came to the outside and wasn't let in: no mapping or no permission, as NAT does.",
    ),
    "lost-unsure": Rule(
        "note",
        "The other capture has nothing before it or nothing later: perhaps it didn't run then.",
    ),
    "answered-here": Rule(
        "note",
        "The device answered by itself; nothing of it came out on the other side.",
    ),
    "made-here": Rule(
        "note",
        "It came out of the device and never went in: the device made it.",
    ),
    "call-id-paired": Rule(
        "note",
        "Which messages are the same was found by other things than Call-ID and CSeq.",
    ),
}
