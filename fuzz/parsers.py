"""The parsers' rules under any bytes: they never raise, every span lies inside and is of what it says it is.

Each target is a function of one input which raises AssertionError where a rule is broken, so that the fuzzer, the
corpus' replay and a person with a crash file all call the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable

from sipalg.codec import address, body, headers, message, sdp, uri

#: The kinds of field that hold a list of addresses.
ADDRESS_FIELDS = frozenset(
    (
        message.CONTACT,
        message.ROUTE,
        message.RECORD_ROUTE,
        message.PATH,
        message.SERVICE_ROUTE,
        message.REFER_TO,
        message.REFERRED_BY,
    )
)


def check_message(data: bytes) -> None:
    """Frame the message, then read everything that the engine may read in it."""
    parsed = message.parse(data)
    if isinstance(parsed, str):
        assert parsed, "a refusal without a reason"
        return
    assert parsed.data == data
    assert 0 < parsed.head_end <= parsed.body <= parsed.body_end <= len(data)
    assert bool(parsed.method) != bool(parsed.status), "neither or both of request and response"
    start, end = parsed.length
    if end:
        assert int(data[start:end]) == parsed.body_end - parsed.body
    named = message.identify(parsed)
    assert message.cseq_method(parsed) == named.method
    assert named.number >= 0
    for read in (message.address_of_record, message.session_expires_s, message.expires_s):
        read(parsed)
    if parsed.method:
        target = data[slice(*parsed.uri)]
        _check_uris([uri.parse_one(target)], target)
    for kind in (message.VIA, *ADDRESS_FIELDS):
        after = 0
        while (span := message.find_field(parsed, kind, after)) is not None:
            start, end = span
            assert after < start <= end <= parsed.head_end
            _check_field(kind, data, start, end)
            after = start
    start, end = body.sdp_span(parsed)
    assert (start, end) == (0, 0) or parsed.body <= start <= end <= parsed.body_end
    _check_description(data, start, end)


def check_sdp(data: bytes) -> None:
    """Read the description with bytes before and behind it, which it must not touch."""
    before, behind = b"c=IN IP4 192.0.2.9\r\n", b"\r\nc=IN IP4 192.0.2.9\r\n"
    _check_description(before + data + behind, len(before), len(before) + len(data))


def _check_field(kind: int, data: bytes, start: int, end: int) -> None:
    """Read a field's value and look at the spans."""
    if kind != message.VIA:
        value = data[start:end]
        _check_uris(uri.parse_list(value) or (), value)
        return
    text = headers.via_text(data, start, end)
    via = headers.parse_via(text)
    if via is None:
        return
    assert 0 <= via.start < via.end <= len(text)
    _check_host(text[via.start : via.end], via.host)
    for low, high in headers.received_and_rport(data, start + via.end, end):
        assert (low, high) == (0, 0) or start + via.end <= low < high <= end


def _check_uris(uris: Iterable[uri.UriSpan | None], value: bytes) -> None:
    """Check that URIs stand in order, apart from each other, and begin with their host."""
    position = 0
    for found in uris:
        if found is None:
            continue
        assert position <= found.start < found.end <= len(value)
        _check_host(value[found.start : found.end], found.host)
        assert found.expires_s is None or found.expires_s >= 0
        assert found.default_port in (5060, 5061)
        assert isinstance(found.over_stream, bool)
        position = found.end


def _check_host(text: bytes, host: bytes) -> None:
    """Check that a text begins with its host; an IPv6 reference is handed on in its canonical form."""
    assert text.startswith(host) or address.HOSTS[text[: text.find(b"]") + 1]] == host


def _check_description(data: bytes, start: int, end: int) -> None:
    """Every address and port of a description is what its span says, and inside it."""
    parsed = sdp.parse(data, start, end)
    if isinstance(parsed, str):
        assert parsed, "a refusal without a reason"
        return
    addresses = list(parsed.origins)
    if parsed.connection is not None:
        addresses.append(parsed.connection)
    for media in parsed.media:
        addresses += media.connections
        assert 0 <= media.port <= 65535
        assert int(_inside(data, media.port_span, start, end)) == media.port
        if media.rtcp_port_span != sdp.NO_SPAN:
            assert int(_inside(data, media.rtcp_port_span, start, end)) == media.rtcp_port
        if media.rtcp_host_span != sdp.NO_SPAN:
            assert address.SDP_HOSTS[_inside(data, media.rtcp_host_span, start, end)] == media.rtcp_host
        assert isinstance(media.is_udp, bool)
        assert isinstance(media.is_rtp, bool)
        assert len(parsed.connections_of(media)) >= len(media.connections)
    for named in addresses:
        assert address.SDP_HOSTS[_inside(data, named.span, start, end)] == named.host


def _inside(data: bytes, span: tuple[int, int], start: int, end: int) -> bytes:
    """Return the span's bytes, once it is certain that it lies in `data[start:end]`."""
    assert start <= span[0] < span[1] <= end
    return data[span[0] : span[1]]
