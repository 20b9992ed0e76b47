from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.exchange import heard

MESSAGE = (
    b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP a;branch=z9hG4bKx, SIP/2.0/UDP b;branch=z9hG4bKy\r\n"
    b'From: "a, <b>" <sip:a@b>;tag=1\r\nt: <sip:c@d>;TAG=2\r\nSubject: one\r\n two\r\ni:c1@h\r\nCSeq:  7   INVITE\r\n'
    b"no colon\r\nContent-Length: 4\r\n\r\nbody"
)


def test_all_that_names_a_message() -> None:
    said = heard(MESSAGE)
    assert (said.method, said.status, said.kind) == ("", 200, "200 INVITE")
    assert (said.call_id, said.cseq, said.from_tag, said.to_tag) == (b"c1@h", (7, "INVITE"), b"1", b"2")
    assert said.branches == (b"z9hG4bKx", b"z9hG4bKy")
    assert said.body == b"body"
    assert len(said.vias()) == 2


def test_fields_keep_their_names_and_folds() -> None:
    fields = heard(MESSAGE).fields
    assert [field.key for field in fields][:3] == ["via", "from", "to"]
    assert fields[2].name == b"t"
    assert heard(MESSAGE).values("subject") == [b" one\r\n two"]
    assert [field.name for field in fields if not field.key] == [b"no colon"]


def test_a_request_has_its_method_and_a_broken_one_what_there_is() -> None:
    said = heard(b"REGISTER sip:x SIP/2.0\r\nCall-ID: a\r\n")
    assert (said.kind, said.call_id, said.cseq, said.from_tag, said.branches) == ("REGISTER", b"a", (0, ""), b"", ())
    assert heard(MESSAGE.replace(b"Length: 4", b"Length: 400")).frame == "content-length-beyond-datagram"


@given(st.binary(max_size=300))
def test_nothing_makes_it_raise(rest: bytes) -> None:
    said = heard(b"INVITE sip:a SIP/2.0\r\n" + rest)
    assert said.data.endswith(rest)
