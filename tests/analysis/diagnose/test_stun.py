from __future__ import annotations

from sipalg.analysis.diagnose.stun import is_stun_request


def stun(attributes: bytes = b"") -> bytes:
    return b"\0\1" + len(attributes).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + attributes


def test_question_to_a_stun_server_is_told_from_ices_checks() -> None:
    assert is_stun_request(stun())
    assert is_stun_request(stun(b"\x80\x22\0\3abc\0"))
    assert not is_stun_request(stun(b"\x80\x22\0\3abc\0\0\6\0\3a:b\0"))
    assert not is_stun_request(b"\1\1" + stun()[2:])
    assert not is_stun_request(b"\0\1\0\0")
