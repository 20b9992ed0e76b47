"""Every reason has its sentence, here and in the man page."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from sipalg import builds
from sipalg.capture import nat, offline, reasons, router
from sipalg.codec import body, datagram, message, sdp
from sipalg.datapath import executor
from sipalg.engine import policy

MODULES = (policy, message, sdp, body, datagram, nat, offline, router, executor)
#: `NAME: Final = "a-reason"`: reasons are the modules' only public constants that are texts.
CONSTANT = re.compile(r"(?m)^[A-Z][A-Z_0-9]*(?:: Final(?:\[str\])?)? = \"([a-z][a-z0-9-]*)\"")
#: Texts that aren't reasons: the router's two sides.
OTHERS = {"inside", "outside"}
MAN_PAGE = Path(__file__).parents[2] / "docs/man/sipalg.8"


def reasons_of(module: ModuleType) -> set[str]:
    return set(CONSTANT.findall(builds.source_of(module.__name__).read_text())) - OTHERS


def test_reasons_are_found_where_they_are() -> None:
    assert {"nat-aware", "except", "nothing-to-edit"} <= reasons_of(policy)
    assert {"not-sip", "keep-alive"} <= reasons_of(message)
    assert "sdp-line-malformed" in reasons_of(sdp)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_reason_has_a_sentence(module: ModuleType) -> None:
    assert [reason for reason in reasons_of(module) if not reasons.sentence(reason)] == []


def test_every_sentence_has_a_reason() -> None:
    known = set().union(*map(reasons_of, MODULES))
    assert known == {*reasons.OF_MESSAGES, *reasons.OF_PACKETS}


def test_an_unknown_reason_has_none() -> None:
    assert reasons.sentence("of-tomorrow") == ""


def test_man_page_lists_the_reasons_of_messages_in_the_same_words() -> None:
    section = MAN_PAGE.read_text().partition(".Sh REASONS\n")[2].partition("\n.Sh ")[0]
    listed = dict(re.findall(r"(?m)^\.It (?:Li )?(\S+)\n((?:(?!\.).+\n?)+)", section))
    plain = {name: " ".join(text.replace("\\&", "").split()).rstrip(".").lower() for name, text in listed.items()}
    assert plain == {name: text.rstrip(".").lower() for name, text in reasons.OF_MESSAGES.items()}
