"""Whole captures through devices of every kind: each poor one is told apart, and a good one hears no false word."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.exchange import (
    CALL_ID,
    NAT,
    PHONE,
    REGISTER,
    Packet,
    conversation,
    heard,
    message,
    rtcp,
    through,
    write,
)

from sipalg.analysis.compare import as_json, as_text, load
from sipalg.analysis.judgement import Judgement, Side, judge


def judged(directory: Path, packets: Iterable[Packet]) -> Judgement:
    before, after = write(directory, packets)
    return judge(load(before)[0], load(after)[0])


def poor_rules(judgement: Judgement) -> list[str]:
    return [finding.rule for finding in judgement.findings if finding.level == "poor"]


def notes(judgement: Judgement) -> list[str]:
    return [finding.rule for finding in judgement.findings if finding.level == "note"]


def outward(pattern: bytes, text: bytes) -> Callable[[bytes, bool], bytes]:
    """A device that puts `text` for `pattern` into what goes out, once a message."""
    return lambda data, out: re.sub(pattern, text, data, count=1) if out else data


def inward(pattern: bytes, text: bytes) -> Callable[[bytes, bool], bytes]:
    return lambda data, out: data if out else re.sub(pattern, text, data, count=1)


def private_but_in_via(data: bytes, out: bool) -> bytes:
    """A device that changes nothing but Via."""
    if not out:
        return data
    head, via, rest = data.partition(b"\r\nFrom:")
    rest = rest.replace(b"75.142.151.49:1024", b"192.168.20.100:5060").replace(b"75.142.151.49", b"192.168.20.100")
    rest = rest.replace(b"m=audio 19032", b"m=audio 14254")
    return right_length(head + via + rest)


def right_length(data: bytes) -> bytes:
    body = data.partition(b"\r\n\r\n")[2]
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), data)


def reordered(data: bytes, _: bool) -> bytes:
    lines = data.split(b"\r\n")
    return b"\r\n".join([lines[0], lines[1], lines[3], lines[2], *lines[4:]])


#: What each device does wrong, and all the poor rules that it breaks by that.
POOR: dict[str, tuple[Callable[[bytes, bool], bytes], list[str]]] = {
    "Call-ID rewritten": (
        lambda data, out: data.replace(PHONE.encode(), NAT.encode()) if out else data,
        ["call-id-changed"],
    ),
    "a stray character in Contact": (outward(rb"(Contact: [^\r]*>)", rb"\1>"), ["syntax-broken"]),
    "a stray character in Via": (outward(rb":1024;branch", rb":1024.;branch"), ["syntax-broken"]),
    "a stray semicolon in the URI": (outward(rb"(Contact: [^\r]*:1024)>", rb"\1;>"), ["syntax-broken"]),
    "a stray character in the SDP": (
        lambda data, _: right_length(data.replace(b"c=IN IP4 75.142.151.49", b"c=IN IP4 75.142.151.49;")),
        ["syntax-broken"],
    ),
    "a stray line": (outward(rb"\r\nCSeq", rb"\r\nstray\r\nCSeq"), ["syntax-broken"]),
    "only Via changed": (
        private_but_in_via,
        ["contact-private", "sdp-connection-private", "sdp-origin-private"],
    ),
    "SDP without o=": (
        lambda data, _: right_length(data.replace(b"4 75.142.151.49\r\ns=-", b"4 192.168.20.100\r\ns=-")),
        ["sdp-origin-private"],
    ),
    "SDP without c=": (
        lambda data, _: right_length(data.replace(b"c=IN IP4 75.142.151.49", b"c=IN IP4 192.168.20.100")),
        ["sdp-connection-private"],
    ),
    "another media port": (outward(rb"m=audio 19032", rb"m=audio 19034"), ["media-port-wrong", "rtcp-port-wrong"]),
    "Via left private": (outward(rb"UDP 75.142.151.49:1024", rb"UDP 192.168.20.100:5060"), ["via-private"]),
    "Contact with another port": (outward(rb"(Contact: [^\r]*:)1024", rb"\g<1>5060"), ["contact-wrong"]),
    "Via with another port": (outward(rb"(UDP 75.142.151.49:)1024", rb"\g<1>5060"), ["via-wrong"]),
    "length wrong": (outward(rb"Content-Length: 1\d+", rb"Content-Length: 150"), ["content-length-wrong"]),
    "length kept from before": (
        outward(rb"RTP/AVP 0 101", rb"RTP/AVP 0 101 "), ["content-length-wrong"],
    ),
    "From tag": (outward(rb"tag=f95367fa52060ce5o0", rb"tag=x"), ["from-tag-changed", "to-tag-changed"]),
    "To tag": (inward(rb";tag=as1", rb";tag=as2"), ["to-tag-changed"]),
    "a port in From": (outward(rb"(From: [^\r]*252.1.148)>", rb"\1:5060>"), ["from-changed"]),
    "branch": (outward(rb"branch=z9hG4bK-8", rb"branch=z9hG4bK-9"), ["branch-changed"]),
    "CSeq": (outward(rb"CSeq: 1373", rb"CSeq: 1374"), ["cseq-changed"]),
    "another field": (outward(rb"User-Agent: [^\r]*", rb"User-Agent: router"), ["field-changed"]),
    "a field taken out": (outward(rb"Supported: replaces\r\n", rb""), ["field-removed"]),
    "codecs changed": (outward(rb"PCMU/8000", rb"PCMA/8000"), ["body-changed"]),
    "Via not put back": (
        inward(rb"192.168.20.100:5060;branch", rb"75.142.151.49:1024;branch"), ["via-not-restored"],
    ),
    "Contact not put back": (
        inward(rb"(Contact: <sip:525@)192.168.20.100:5060", rb"\g<1>75.142.151.49:1024"), ["contact-not-restored"],
    ),
    "Request-URI not put back": (
        inward(rb"BYE sip:525@192.168.20.100:5060", rb"BYE sip:525@75.142.151.49:1024"), ["request-uri-not-restored"],
    ),
    "o= becomes zero": (
        lambda data, _: right_length(data.replace(b"4 75.142.151.49\r\ns=-", b"4 0.0.0.0\r\ns=-")),
        ["sdp-origin-zero"],
    ),
}

#: What is no fault but shows that messages are printed anew, or that more than addresses is touched.
NOTED: dict[str, tuple[Callable[[bytes, bool], bytes], list[str]]] = {
    "order": (reordered, ["header-order"]),
    "case": (lambda data, _: data.replace(b"\r\nCSeq:", b"\r\nCseq:"), ["header-case"]),
    "compact": (lambda data, _: data.replace(b"\r\nFrom:", b"\r\nf:"), ["header-case"]),
    "Max-Forwards": (lambda data, _: data.replace(b"ards: 70", b"ards: 69"), ["max-forwards-changed"]),
    "blanks": (lambda data, _: data.replace(b"CSeq: ", b"CSeq:  "), ["spaces-changed"]),
    "a field put in": (lambda data, _: data.replace(b"\r\nCSeq:", b"\r\nX-ALG: yes\r\nCSeq:"), ["field-added"]),
}


def test_a_good_alg_hears_no_word(tmp_path: Path) -> None:
    judgement = judged(tmp_path, conversation())
    assert (judgement.result, judgement.findings) == ("good", ())
    assert judgement.changed == ("Request-URI", "Via", "Contact", "o=", "c=", "m=", "Content-Length")
    assert len(judgement.pairing.pairs) == 8
    assert [pair.outward for pair in judgement.pairing.pairs] == [True, False, True, False, False, True, False, True]


@pytest.mark.parametrize("what", POOR)
def test_a_poor_alg_is_told_by_what_it_does(what: str, tmp_path: Path) -> None:
    alg, rules = POOR[what]
    judgement = judged(tmp_path, through(conversation(), alg))
    assert (judgement.result, poor_rules(judgement)) == ("poor", rules)


@pytest.mark.parametrize("what", NOTED)
def test_what_breaks_nothing_is_only_noted(what: str, tmp_path: Path) -> None:
    alg, rules = NOTED[what]
    judgement = judged(tmp_path, through(conversation(), alg))
    assert (judgement.result, [finding.rule for finding in judgement.findings]) == ("good", rules)


def test_a_rewritten_call_id_is_paired_by_other_things_and_said(tmp_path: Path) -> None:
    judgement = judged(tmp_path, through(conversation(), POOR["Call-ID rewritten"][0]))
    assert not judgement.pairing.only_before
    assert not judgement.pairing.only_after
    assert "call-id-paired" in notes(judgement)
    found = next(finding for finding in judgement.findings if finding.rule == "call-id-changed")
    assert (found.before, found.after) == (found.after, found.before)
    assert found.detail == "Call-ID: 6894e30c-b1c8d357@192.168.20.100 → 6894e30c-b1c8d357@75.142.151.49"


def test_a_call_id_without_branches_is_paired_by_cseq_and_from_tag(tmp_path: Path) -> None:
    def without_branch(data: bytes, _: bool) -> bytes:
        return re.sub(rb";branch=[^\r;]*", b"", data)

    packets = [
        replace(p, near=p.near and without_branch(p.near, True), far=p.far and without_branch(p.far, True))
        for p in conversation()
    ]
    packets = [replace(p, far=p.far and re.sub(rb"(Call-ID: [^@\r]*)@[^\r]*", rb"\1@x", p.far)) for p in packets]
    judgement = judged(tmp_path, packets)
    assert poor_rules(judgement) == ["call-id-changed"]
    assert [f.detail for f in judgement.findings if f.rule == "call-id-paired"] == [
        "by CSeq, From tag, method and order"
    ]


def test_plain_nat_is_no_alg(tmp_path: Path) -> None:
    packets = [replace(packet, far=packet.near) for packet in conversation()]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, judgement.findings, judgement.changed) == ("none", (), ())
    assert judgement.why == "No message was changed, and private addresses go out as they are."


def test_a_nat_aware_phone_leaves_nothing_to_do(tmp_path: Path) -> None:
    packets = [replace(packet, near=packet.far) for packet in conversation()]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, judgement.findings) == ("none", ())
    assert judgement.why.endswith("no private address was in them that an ALG would change.")


def never_out(packet: Packet) -> Packet:
    """What the device was given and never let go."""
    return replace(packet, far=None) if packet.outward else replace(packet, near=None)


@pytest.mark.parametrize("out", [True, False])
def test_lost_rtcp(out: bool, tmp_path: Path) -> None:
    packets = [
        never_out(packet) if (packet.ports[0], packet.outward) == (14255, out) else packet
        for packet in conversation()
    ]
    judgement = judged(tmp_path, packets)
    assert poor_rules(judgement) == ["rtcp-lost"]


def test_rtcp_that_leaves_from_another_port(tmp_path: Path) -> None:
    packets = [
        replace(packet, ports=(14255, 40001)) if packet.ports[0] == 14255 and packet.outward else packet
        for packet in conversation()
    ]
    assert poor_rules(judged(tmp_path, packets)) == ["rtcp-port-wrong"]


def test_lost_voice(tmp_path: Path) -> None:
    packets = [
        replace(packet, near=None) if packet.ports[0] == 14254 and not packet.outward else packet
        for packet in conversation()
    ]
    assert poor_rules(judged(tmp_path, packets)) == ["media-lost"]


def test_captures_of_sip_alone_say_nothing_of_media(tmp_path: Path) -> None:
    packets = [
        replace(packet, far=None) if packet.ports[0] != 5060 else packet for packet in conversation()
    ]
    assert judged(tmp_path, packets).result == "good"


@pytest.mark.parametrize("number", [2, 4])
def test_a_message_that_never_came_out(number: int, tmp_path: Path) -> None:
    packets = conversation()
    packets[number] = never_out(packets[number])
    judgement = judged(tmp_path, packets)
    assert poor_rules(judgement) == ["lost"]
    found = judgement.findings[0]
    assert (found.before, found.after) == (((3,), ()) if number == 2 else ((), (5,)))


def test_a_nat_that_lets_nothing_new_in_is_no_poor_alg(tmp_path: Path) -> None:
    packets = [replace(packet, far=packet.near) for packet in conversation()]
    packets[-2] = replace(packets[-2], near=None, far=conversation()[-2].far)
    judgement = judged(tmp_path, [*packets[:-1], packets[-2], *packets[:1]])
    assert (judgement.result, notes(judgement)) == ("none", ["not-let-in"])


def test_what_the_other_capture_was_too_short_for_is_not_lost(tmp_path: Path) -> None:
    packets = conversation()
    packets[0] = replace(packets[0], far=None)
    packets[-1] = replace(packets[-1], far=None)
    judgement = judged(tmp_path, packets)
    assert (judgement.result, notes(judgement)) == ("good", ["lost-unsure"])


@pytest.mark.parametrize("first", [True, False])
def test_a_capture_that_began_late_or_ended_early_proves_nothing_of_the_rest(first: bool, tmp_path: Path) -> None:
    """The registration, or the call's end, is on the inside alone, with its answer: nobody knows what made that."""
    packets = conversation()
    missed = slice(0, 2) if first else slice(-2, None)
    packets[missed] = [replace(packet, far=None) for packet in packets[missed]]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, notes(judgement)) == ("good", ["lost-unsure"])


def not_inside(packet: Packet) -> Packet:
    return replace(packet, near=None)


def not_outside(packet: Packet) -> Packet:
    return replace(packet, far=None)


@pytest.mark.parametrize("unseen", [not_inside, not_outside])
def test_a_capture_that_ran_for_any_part_of_the_call_blames_nobody(
    unseen: Callable[[Packet], Packet], tmp_path: Path
) -> None:
    whole = conversation()
    count = len(whole)
    for kept in (*(range(end) for end in range(1, count)), *(range(begin, count) for begin in range(1, count))):
        packets = [packet if number in kept else unseen(packet) for number, packet in enumerate(whole)]
        assert poor_rules(judged(tmp_path, packets)) == [], kept


def test_what_a_phone_counted_wrong_is_told_and_no_fault_of_the_device(tmp_path: Path) -> None:
    packets = [
        replace(packet, near=packet.near and re.sub(rb"Content-Length: 1\d+", b"Content-Length: 99", packet.near))
        for packet in conversation()
    ]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, notes(judgement)) == ("good", ["content-length-off"])


def test_everything_that_was_changed_is_named(tmp_path: Path) -> None:
    def alg(data: bytes, out: bool) -> bytes:
        if out:
            data = data.replace(b"PCMU", b"PCMA").replace(b"User-Agent: Cisco", b"User-Agent: router")
            data = data.replace(CALL_ID.encode(), b"x@y").replace(b"\r\nCSeq", b"\r\nX-ALG: 1\r\nCSeq")
        return data

    assert judged(tmp_path, through(conversation(), alg)).changed[6:] == (
        "Content-Length", "User-Agent", "X-Alg", "Call-ID", "the body"
    )


def test_each_kind_of_what_was_seen_has_an_example(tmp_path: Path) -> None:
    def alg(data: bytes, out: bool) -> bytes:
        return re.sub(rb"(User-Agent|Supported): [^\r]*", rb"\1: x", data) if out else data

    (found,) = judged(tmp_path, through(conversation(), alg)).findings
    assert (found.rule, found.times) == ("field-changed", 2)
    assert (found.detail, found.also) == (
        "User-Agent: Cisco/SPA504G-7.6.2b → x", ("Supported: replaces → x",)
    )


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("only Via changed", "leaves private addresses where it changes others"),
        ("Via not put back", "doesn't put back what it changed"),
        ("another media port", "writes addresses or ports that aren't the NAT's"),
        ("branch", "changes what it must not"),
    ],
)
def test_the_result_says_what_kind_of_fault_it_is(what: str, why: str, tmp_path: Path) -> None:
    assert judged(tmp_path, through(conversation(), POOR[what][0])).why == f"The device {why}."
    packets = through(conversation(), POOR[what][0])
    packets[5] = never_out(packets[5])
    assert judged(tmp_path, packets).why == f"The device {why} and loses what it was given."


def test_a_change_that_is_no_address_makes_no_alg(tmp_path: Path) -> None:
    packets = [replace(packet, far=packet.near) for packet in conversation()]
    judgement = judged(tmp_path, through(packets, NOTED["Max-Forwards"][0]))
    assert (judgement.result, judgement.changed) == ("none", ("Max-Forwards",))
    assert judgement.why == "No address was changed, and private addresses go out as they are."


def test_retransmissions_and_losses_of_copies_are_nothing(tmp_path: Path) -> None:
    packets = conversation()
    again = [packets[0], replace(packets[0], far=None), packets[2], replace(packets[4], near=None), packets[2]]
    judgement = judged(tmp_path, [*packets[:3], *again, *packets[3:]])
    assert (judgement.result, judgement.findings) == ("good", ())
    assert len(judgement.pairing.pairs) == 8


@pytest.mark.parametrize("seed", range(8))
def test_packets_in_any_order_give_the_same_verdict(seed: int, tmp_path: Path) -> None:
    packets = conversation()
    random.Random(seed).shuffle(packets)
    judgement = judged(tmp_path, packets)
    assert (judgement.result, poor_rules(judgement)) == ("good", [])


def test_what_the_device_answered_itself_is_not_lost(tmp_path: Path) -> None:
    near, _ = message(REGISTER.replace("1373", "1374").replace("8fb0e171", "2"))
    refusal = near.replace(b"REGISTER sip:207.252.1.148 SIP/2.0", b"SIP/2.0 488 Not Acceptable Here")
    packets = conversation()
    packets[3:3] = [Packet(True, near, None), Packet(False, refusal, None)]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, notes(judgement)) == ("good", ["answered-here", "made-here"])


def test_what_was_wrong_before_is_not_the_devices_fault(tmp_path: Path) -> None:
    def spoil(data: bytes | None) -> bytes | None:
        if data is None or b"SIP/2.0" not in data:
            return data
        return data.replace(b"\r\nCSeq:", b"\r\nno colon\r\nCSeq:").replace(b"\r\n\r\n", b"\r\n\r\n", 1) + b"stray"

    packets = [replace(packet, near=spoil(packet.near), far=spoil(packet.far)) for packet in conversation()]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, judgement.findings) == ("good", ())


ROUTED = b"\r\nRecord-Route: <sip:75.142.151.49;lr>\r\nVia: SIP/2.0/UDP 75.142.151.49:1024;branch=z9hG4bK.k\r\nVia:"


def proxied(packet: Packet) -> Packet:
    """What a proxy makes of a message: its own Via and Record-Route, Max-Forwards one less, `received`."""
    if packet.near is None or b"SIP/2.0" not in packet.near:
        return packet
    longer = packet.near.replace(b"\r\nVia:", ROUTED, 1)
    if packet.near.startswith(b"SIP/2.0"):
        # A response loses the Via that its request had got.
        return replace(packet, near=longer, far=packet.near) if packet.outward else replace(packet, far=longer)
    longer = longer.replace(b"wards: 70", b"wards: 69").replace(b"INVITE sip:*98@207", b"INVITE sip:*98@10", 1)
    noted = re.sub(rb"(Via: SIP/2.0/UDP 192[^\r]*)", rb"\1;received=192.168.20.100;rport=5060", longer, count=1)
    return replace(packet, far=noted) if packet.outward else replace(packet, near=longer, far=packet.near)


def test_a_proxy_is_no_alg_and_not_at_fault(tmp_path: Path) -> None:
    packets = [proxied(packet) for packet in conversation()]
    trying = message("SIP/2.0 100 Giving a try\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-7badf56d\n"
                     "From: <sip:a@b>;tag=f95367fa52060ce5o0\nTo: <sip:c@b>\n"
                     "Call-ID: 9c8a315e-419d32d1@192.168.20.100\nCSeq: 101 INVITE\nContent-Length: {length}")[0]
    packets[3:3] = [Packet(False, trying, None)]
    judgement = judged(tmp_path, packets)
    assert (judgement.result, judgement.findings, judgement.proxy) == ("none", (), True)
    assert judgement.why == "A SIP proxy is between: it adds its own Via, and is no ALG."


def without_voice(packets: list[Packet]) -> list[Packet]:
    return [packet for packet in packets if packet.near and b"SIP/2.0" in packet.near]


def relayed(data: bytes, out: bool) -> bytes:
    """c= with a host of the same length that isn't the NAT's."""
    return data.replace(b"c=IN IP4 75.142.151.49", b"c=IN IP4 75.142.151.99") if out else data


def test_a_proxy_may_name_a_media_relay_elsewhere(tmp_path: Path) -> None:
    """The relay's host isn't where the proxy is, and no voice goes by the proxy."""
    relay = b"c=IN IP4 75.142.151.249"

    def alg(data: bytes, out: bool) -> bytes:
        return data.replace(b"c=IN IP4 192.168.20.100", relay) if out else data

    packets = through([proxied(packet) for packet in without_voice(conversation())], alg)
    assert packets[2].far is not None
    assert relay in packets[2].far
    judgement = judged(tmp_path, packets)
    assert (judgement.result, poor_rules(judgement), judgement.proxy) == ("none", [], True)


def test_without_voice_a_wrong_host_is_found_and_the_rest_isnt_called_judged(tmp_path: Path) -> None:
    packets = without_voice(conversation())
    judgement = judged(tmp_path, packets)
    assert (judgement.result, [finding.rule for finding in judgement.findings]) == ("good", ["media-unseen"])
    assert judgement.why.endswith("and nothing else. Voice wasn't judged.")
    judgement = judged(tmp_path, through(packets, relayed))
    assert (judgement.result, poor_rules(judgement)) == ("poor", ["sdp-host-wrong"])
    assert judgement.why == "The device writes addresses or ports that aren't the NAT's."


def test_a_proxy_that_rewrites_call_ids_is_at_fault(tmp_path: Path) -> None:
    packets = through([proxied(packet) for packet in conversation()], outward(CALL_ID.encode(), b"x@y"))
    judgement = judged(tmp_path, packets)
    assert (judgement.result, poor_rules(judgement)) == ("poor", ["call-id-changed"])


def test_rtcp_with_a_strange_sender_alone_is_nobodys_loss(tmp_path: Path) -> None:
    """A flow whose other end no description names isn't looked at."""
    stray = Packet(True, rtcp(0x9999), None, (40000, 40000), 53)
    assert judged(tmp_path, [*conversation(), stray]).result == "good"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_stands_in_the_messages_there_is_a_verdict(data: st.DataObject) -> None:
    """Both sides damaged at random: nothing raises, and each message is in a pair or left."""
    sides = []
    for far in (False, True):
        side = Side(span=(0, 100))
        for number, packet in enumerate(conversation(), 1):
            payload = (packet.far if far else packet.near) or b""
            at = data.draw(st.integers(0, len(payload)))
            cut = data.draw(st.integers(0, 3))
            put = data.draw(st.binary(max_size=3) | st.sampled_from([b'"', b"<", b">", b",", b"\r\n\r\n"]))
            if b"SIP/2.0" in payload:
                said = heard(payload[:at] + put + payload[at + cut :], number=number)
                side.messages.append(said)
        sides.append(side)
    judgement = judge(*sides)
    assert len(judgement.pairing.pairs) + len(judgement.pairing.only_before) >= 1
    assert as_json(judgement)["result"] == judgement.result
    assert list(as_text(judgement, "all", 80, coloured=True))[-1].startswith("Result: ")
