from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.analysis.ends import FAR_END, Ends, UnknownEndError, assumed_public, find_ends
from sipalg.engine.verdict import Endpoint

INSIDE = (IPv4Network("192.168.33.0/24"), IPv4Network("10.0.0.0/8"))
P, N, S = Endpoint("192.168.33.10", 5060), "203.0.113.1", Endpoint("203.0.113.50", 5060)


def request(via: str, uri: str = "sip:203.0.113.50", *lines: str) -> bytes:
    return "\r\n".join((f"INVITE {uri} SIP/2.0", f"Via: SIP/2.0/UDP {via};branch=z9hG4bK1", *lines, "", "")).encode()


def response(via: str, *lines: str) -> bytes:
    return "\r\n".join(("SIP/2.0 200 OK", f"Via: SIP/2.0/UDP {via}", *lines, "", "")).encode()


def ends_of(message: bytes, source: Endpoint | None = None, destination: Endpoint | None = None) -> Ends:
    return find_ends(message, INSIDE, N, source, destination)


def test_request_of_a_phone_goes_from_its_via_to_its_target() -> None:
    ends = ends_of(request("192.168.33.10"))
    assert ends[:3] == (P, S, True)
    assert ends.notes == ("source 192.168.33.10:5060: the topmost Via's sent-by",)
    assert ends_of(request("10.1.2.3:5070", "sip:b@203.0.113.50:5080"))[:3] == (
        Endpoint("10.1.2.3", 5070),
        Endpoint("203.0.113.50", 5080),
        True,
    )


def test_route_comes_before_the_request_uri() -> None:
    route = "Route: <sip:203.0.113.77;lr>, <sip:203.0.113.78;lr>"
    ends = ends_of(request("192.168.33.10", "sip:b@example.com", route))
    assert ends.destination == Endpoint("203.0.113.77", 5060)


def test_target_by_name_is_not_known() -> None:
    ends = ends_of(request("192.168.33.10", "sip:b@example.com"))
    assert (ends.destination, ends.far_known) == (FAR_END, False)
    assert ends.notes == ("source 192.168.33.10:5060: the topmost Via's sent-by",)


def test_what_is_given_is_taken() -> None:
    given_source, given_destination = Endpoint("192.168.33.99", 1), Endpoint("198.51.100.1", 2)
    ends = ends_of(request("192.168.33.10"), given_source, given_destination)
    assert ends == Ends(given_source, given_destination, outbound=True, notes=())


def test_request_from_outside_goes_to_the_phone_of_its_request_uri() -> None:
    ends = ends_of(request("203.0.113.50:5080", "sip:a@192.168.33.10"))
    assert ends[:3] == (Endpoint("203.0.113.50", 5080), P, False)


@pytest.mark.parametrize("uri", ["sip:a@203.0.113.1:1024", "sip:a@phone.lan"])
def test_request_for_the_public_address_needs_the_phone(uri: str) -> None:
    message = request("203.0.113.50", uri)
    with pytest.raises(UnknownEndError, match="--destination"):
        ends_of(message)
    assert ends_of(message, destination=P)[:3] == (S, P, False)


def test_phones_public_address_is_no_destination() -> None:
    with pytest.raises(UnknownEndError, match="private address"):
        ends_of(request("203.0.113.50"), source=S, destination=Endpoint(N, 1024))


def test_response_goes_to_its_via() -> None:
    ends = ends_of(response("192.168.33.10;received=203.0.113.1"))
    assert ends[:3] == (FAR_END, P, False)
    assert ends.notes == ("destination 192.168.33.10:5060: the topmost Via",)
    assert not ends.far_known


def test_response_to_the_public_via_needs_the_phone() -> None:
    with pytest.raises(UnknownEndError, match="--destination"):
        ends_of(response("203.0.113.1:1024"))
    assert ends_of(response("203.0.113.1:1024"), destination=P)[:3] == (FAR_END, P, False)


@pytest.mark.parametrize(
    ("via", "destination"),
    [
        ("203.0.113.50:5080", "203.0.113.50:5080"),
        ("203.0.113.50;received=198.51.100.1;rport=9", "198.51.100.1:9"),
        ("203.0.113.50:7;rport", "203.0.113.50:7"),
    ],
)
def test_response_of_a_phone_comes_from_its_contact(via: str, destination: str) -> None:
    ends = ends_of(response(via, "Contact: <sip:a@192.168.33.10:5070>"))
    assert (ends.source, str(ends.destination), ends.outbound) == (Endpoint(P.host, 5070), destination, True)


def test_response_of_a_phone_to_a_named_proxy_has_an_example_unless_received_says() -> None:
    assert ends_of(response("proxy.example.com"), source=P).destination == FAR_END
    assert ends_of(response("proxy.example.com;received=198.51.100.1"), source=P).destination.host == "198.51.100.1"


@pytest.mark.parametrize("contact", ["X: y", "Contact: <sip:a@203.0.113.9>", "Contact: <sip:a@phone.lan>"])
def test_response_of_an_unknown_phone_needs_its_source(contact: str) -> None:
    with pytest.raises(UnknownEndError, match="--source"):
        ends_of(response("203.0.113.50", contact))


@pytest.mark.parametrize("via", ["phone.lan", "[2001:db8::1]:5060"])
def test_via_without_an_address_needs_the_source(via: str) -> None:
    with pytest.raises(UnknownEndError, match="--source"):
        ends_of(request(via))


def test_request_of_a_phone_that_gives_its_name_comes_from_its_contact() -> None:
    ends = ends_of(request("phone.lan", "sip:203.0.113.50", "Contact: <sip:a@192.168.33.10>"))
    assert ends[:3] == (P, S, True)
    assert ends.notes == ("source 192.168.33.10:5060: the Contact, as the topmost Via has no IPv4 address",)
    with pytest.raises(UnknownEndError, match="--source"):
        ends_of(request("phone.lan", "sip:203.0.113.50", "Contact: <sip:a@198.51.100.1>"))


def test_message_without_via_needs_the_source() -> None:
    with pytest.raises(UnknownEndError, match="--source"):
        ends_of(b"OPTIONS sip:203.0.113.50 SIP/2.0\r\n\r\n")
    with pytest.raises(UnknownEndError, match="--source"):
        ends_of(b"SIP/2.0 200 OK\r\n\r\n")
    assert ends_of(b"SIP/2.0 200 OK\r\n\r\n", source=P).destination == FAR_END


def test_request_from_a_named_proxy_for_a_phone_has_an_example_source() -> None:
    assert ends_of(request("proxy.example.com"), destination=P)[:3] == (FAR_END, P, False)


def test_sender_that_isnt_inside_is_named_with_where_it_stands() -> None:
    with pytest.raises(UnknownEndError) as error:
        ends_of(request("192.168.1.10", "sip:203.0.113.50"))
    assert str(error.value) == (
        "its sender 192.168.1.10 (topmost Via) isn't in --inside 192.168.33.0/24, 10.0.0.0/8; if a phone sent it, "
        "give --source IP:PORT, else say with --destination IP:PORT which phone it is for"
    )


def test_what_is_no_message_names_nobody() -> None:
    with pytest.raises(UnknownEndError, match="keep-alive"):
        ends_of(b"\r\n\r\n", source=S, destination=P)


@pytest.mark.parametrize(
    ("message", "port"),
    [
        (request("203.0.113.50", "sip:a@203.0.113.1:1024"), 1024),
        (request("203.0.113.50", "sip:a@203.0.113.1"), 5060),
        (response("203.0.113.1:1024"), 1024),
        (response("phone.lan;received=203.0.113.1;rport=1025"), 1025),
    ],
)
def test_public_port_is_named_by_what_came_for_it(message: bytes, port: int) -> None:
    assert assumed_public(message, ends_of(message, S, P), N) == Endpoint(N, port)


@pytest.mark.parametrize(
    "message", [request("203.0.113.50", "sip:a@phone.lan"), response("203.0.113.50"), response("phone.lan")]
)
def test_public_port_that_isnt_named_has_to_be_given(message: bytes) -> None:
    with pytest.raises(UnknownEndError, match="give --public ADDRESS:PORT, the public port of 192"):
        assumed_public(message, ends_of(message, S, P), N)
    with pytest.raises(UnknownEndError, match="ADDRESS:PORT"):
        assumed_public(b"x", Ends(S, P, outbound=False, notes=()), N)


STARTS = [b"INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP ", b"SIP/2.0 200 OK\r\n", b""]


@given(st.sampled_from(STARTS), st.binary(max_size=100))
def test_any_bytes_have_ends_or_a_reason(start: bytes, rest: bytes) -> None:
    try:
        ends = ends_of(start + rest + b"\r\n\r\n")
    except UnknownEndError:
        return
    assert ends.outbound == ends.source.host.startswith(("192.168.33.", "10."))
