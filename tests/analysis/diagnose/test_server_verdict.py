from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story, host

from sipalg.analysis.diagnose.server_verdict import NAMED_ADDRESS, SOURCE, UNTOLD, ServerVerdict


def the_server(story: Story, tmp_path: Path) -> ServerVerdict:
    (verdict,) = story.diagnosis(tmp_path).servers
    assert verdict.server == SERVER
    return verdict


def test_server_that_reaches_a_phone_by_its_source(tmp_path: Path) -> None:
    story = Story()
    story.register(received=host(PUBLIC))
    number = story.request("OPTIONS", SERVER, PHONE, call_id="ping")
    verdict = the_server(story, tmp_path)
    assert (verdict.answers, verdict.why.packets) == (SOURCE, (number,))
    assert "nat=yes" in verdict.why.text


def test_server_that_sends_to_the_contact(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    number = story.request("OPTIONS", SERVER, PHONE, call_id="ping")
    verdict = the_server(story, tmp_path)
    assert (verdict.answers, verdict.why.packets) == (NAMED_ADDRESS, (number,))


def test_what_an_alg_may_have_done_proves_nothing(tmp_path: Path) -> None:
    story = Story()
    story.register()
    story.request("OPTIONS", SERVER, PHONE, call_id="ping")
    verdict = the_server(story, tmp_path)
    assert (verdict.answers, verdict.why.text) == (
        UNTOLD, "reaches phones that name private addresses: by nat=yes, or by an ALG at work",
    )  # fmt: skip


def test_server_that_only_answers_or_says_nothing(tmp_path: Path) -> None:
    story = Story()
    story.request("REGISTER", PHONE, SERVER)
    assert the_server(story, tmp_path).why.text == "sends nothing here"
    story.response(401, "REGISTER", SERVER, PHONE)
    assert the_server(story, tmp_path).answers == UNTOLD


def test_server_without_a_nat_before_its_phones_isnt_judged(tmp_path: Path) -> None:
    story = Story()
    story.register(server="10.0.0.5:5060")
    assert story.diagnosis(tmp_path).servers == []
