"""Every kind of media line, by name: what leaves, and which flows stand when it is answered."""

from __future__ import annotations

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import Outgoing
from tests.engine.wire import sdp

P, N, M = "192.168.33.10", "203.0.113.1", "203.0.113.60"
KEYS = (
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTkyLjE2OC4zMy4xMDoxOTIuMTY4LjMzLjEw|2^20|1:32",
    "a=key-mgmt:mikey AQAFgM0X192.168.33.10",
    "a=fingerprint:SHA-256 19:21:68:33:10",
    "a=setup:actpass",
    "a=identity:192.168.33.10",
    "a=ssrc:192168 cname:a@192.168.33.10",
    "a=msid:192.168.33.10",
    "a=label:192.168.33.10",
    "a=X-nat:192.168.33.10",
    "i=192.168.33.10",
    "k=clear:192.168.33.10",
    "b=AS:64",
)
#: Lines inside, what is answered, and the far ends' ports by the phone's.
LINES: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[int, int]]] = {
    "audio": (("m=audio 10000 RTP/AVP 0 8 101",), ("m=audio 30000 RTP/AVP 0",), {10000: 30000, 10001: 30001}),
    "SRTP with all its keys": (
        ("m=audio 10000 RTP/SAVP 0", *KEYS),
        ("m=audio 30000 RTP/SAVP 0", *KEYS),
        {10000: 30000, 10001: 30001},
    ),
    "DTLS-SRTP": (
        ("m=audio 10000 UDP/TLS/RTP/SAVPF 111", *KEYS, "a=rtcp-mux"),
        ("m=audio 30000 UDP/TLS/RTP/SAVPF 111", "a=rtcp-mux"),
        {10000: 30000},
    ),
    "audio and video": (
        ("m=audio 10000 RTP/AVP 0", "m=video 10002 RTP/AVPF 96", "a=rtcp-fb:96 nack pli"),
        ("m=audio 30000 RTP/AVP 0", "m=video 30002 RTP/AVPF 96"),
        {10000: 30000, 10001: 30001, 10002: 30002, 10003: 30003},
    ),
    "T.38 over UDPTL": (("m=image 10000 udptl t38",), ("m=image 30000 UDPTL t38",), {10000: 30000}),
    "T.38 over RTP": (("m=image 10000 RTP/AVP 98",), ("m=image 30000 RTP/AVP 98",), {10000: 30000, 10001: 30001}),
    "T.38 over TCP": (("m=image 10000 TCP t38", "a=setup:active"), ("m=image 30000 tcp t38",), {}),
    "audio refused for T.38": (
        ("m=audio 10000 RTP/AVP 0", "m=image 10010 udptl t38"),
        ("m=audio 0 RTP/AVP 0", "m=image 30000 udptl t38"),
        {10010: 30000},
    ),
    "real-time text": (("m=text 10000 RTP/AVP 98",), ("m=text 30000 RTP/AVP 98",), {10000: 30000, 10001: 30001}),
    "BFCP over UDP": (("m=application 10001 UDP/BFCP *",), ("m=application 30001 UDP/BFCP *",), {10001: 30001}),
    "BFCP over DTLS": (("m=application 10001 UDP/TLS/BFCP *",), ("m=application 7 UDP/TLS/BFCP *",), {10001: 7}),
    "BFCP over TCP, from inside": (
        ("m=application 9 TCP/BFCP *", "a=setup:active", "a=floorctrl:c-only"),
        ("m=application 30000 TCP/TLS/BFCP *", "a=setup:passive"),
        {},
    ),
    "MSRP": (("m=message 2855 TCP/MSRP *", f"a=path:msrp://{P}:2855/x;tcp"), ("m=message 2855 TCP/MSRP *",), {}),
    "data channel": (
        ("m=application 10000 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000"),
        ("m=application 30000 UDP/DTLS/SCTP webrtc-datachannel",),
        {10000: 30000},
    ),
    "RTCP elsewhere": (
        ("m=audio 10000 RTP/AVP 0", "a=rtcp:10009"),
        ("m=audio 30000 RTP/AVP 0", "a=rtcp:30777 IN IP4 203.0.113.60"),
        {10000: 30000, 10009: 30777},
    ),
    "mux agreed": (
        ("m=audio 10000 RTP/AVP 0", "a=rtcp-mux"),
        ("m=audio 30000 RTP/AVP 0", "a=rtcp-mux"),
        {10000: 30000},
    ),
    "mux alone": (
        ("m=audio 10000 RTP/AVP 0", "a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp:10000"),
        ("m=audio 30000 RTP/AVP 0", "a=rtcp-mux"),
        {10000: 30000},
    ),
    "BUNDLE offered": (
        ("a=group:BUNDLE a v", "m=audio 10000 RTP/AVP 0", "a=mid:a", "a=rtcp-mux", "m=video 10002 RTP/AVP 31",
         "a=mid:v", "a=rtcp-mux"),
        ("a=group:BUNDLE a v", "m=audio 30000 RTP/AVP 0", "a=rtcp-mux", "m=video 30000 RTP/AVP 31", "a=rtcp-mux"),
        {10000: 30000, 10002: 30000},
    ),
    "BUNDLE refused": (
        ("a=group:BUNDLE a v", "m=audio 10000 RTP/AVP 0", "a=mid:a", "a=rtcp-mux", "m=video 10002 RTP/AVP 31",
         "a=mid:v", "a=rtcp-mux"),
        ("m=audio 30000 RTP/AVP 0", "m=video 30002 RTP/AVP 31"),
        {10000: 30000, 10001: 30001, 10002: 30002, 10003: 30003},
    ),
    "BUNDLE on one port": (
        ("a=group:BUNDLE a v d", "m=audio 10000 RTP/AVP 0", "a=mid:a", "a=rtcp-mux", "m=video 10000 RTP/AVP 31",
         "a=mid:v", "a=rtcp-mux", "m=application 10000 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:d"),
        ("m=audio 30000 RTP/AVP 0", "a=rtcp-mux", "m=video 30000 RTP/AVP 31", "a=rtcp-mux",
         "m=application 30000 UDP/DTLS/SCTP webrtc-datachannel"),
        {10000: 30000},
    ),
    "BUNDLE with bundle-only lines": (
        ("a=group:BUNDLE a v", "m=audio 10000 RTP/AVP 0", "a=mid:a", "a=rtcp-mux", "m=video 0 RTP/AVP 31",
         "a=bundle-only", "a=mid:v"),
        ("a=group:BUNDLE a v", "m=audio 30000 RTP/AVP 0", "a=rtcp-mux", "m=video 30000 RTP/AVP 31", "a=rtcp-mux"),
        {10000: 30000},
    ),
    "several ports in one line": (
        ("m=video 10000/2 RTP/AVP 31",),
        ("m=video 30000/2 RTP/AVP 31",),
        {10000: 30000, 10001: 30001},
    ),
    "lines of unknown kinds": (("m=x-frob 10000 x-proto *",), ("m=x-frob 30000 x-proto *",), {10000: 30000}),
}  # fmt: skip


@pytest.mark.parametrize(("offer", "answer", "flows"), LINES.values(), ids=LINES)
@pytest.mark.parametrize("from_inside", [True, False], ids=["offered", "answered"])
def test_lines(offer: tuple[str, ...], answer: tuple[str, ...], flows: dict[int, int], from_inside: bool) -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone(P), ladder.server("203.0.113.50"))
    inside, public, outside = sdp(P, *offer), sdp(N, *offer), sdp(M, *answer)
    if from_inside:
        sent = call.asks("INVITE", body=inside)
        call.is_answered(200, body=outside)
    else:
        call.own_tag = ""
        call.asks("OPTIONS")
        arrived = call.is_asked("INVITE", body=outside)
        assert arrived is not None
        assert arrived.endswith(outside.replace("\n", "\r\n").encode())
        call.own_tag = "a"
        sent = call.answers(200, "INVITE", body=inside)
    assert sent.partition(b"\r\n\r\n")[2].decode() == public.replace("\n", "\r\n")
    assert ladder.flows == {(f"{P}:{private}", f"{N}:{private}", f"{M}:{remote}") for private, remote in flows.items()}
    call.hangs_up()
    ladder.finish()
