"""The comparison's words: what became of a message, by the lines that are others."""

from __future__ import annotations

from bench.compared import corpus, said

SENT = b"OPTIONS sip:a SIP/2.0\r\nVia: x\r\nContact: y\r\n\r\nv=0\r\nc=IN IP4 192.168.33.10\r\n"


def test_what_became_of_a_message() -> None:
    assert said(SENT, None) == "dropped"
    assert said(SENT, SENT) == "unchanged"
    assert said(SENT, SENT.replace(b"Via: x", b"Via: z").replace(b".10", b".9")) == "edits Via, c="
    assert said(SENT, SENT.replace(b"OPTIONS", b"INFO")) == "edits a line"


def test_the_corpus_is_what_the_tables_judge() -> None:
    messages = list(corpus())
    assert len(messages) >= 50
    assert len({message.name for message in messages}) == len(messages)
