from __future__ import annotations

from pathlib import Path

from tests.analysis.diagnose.story import PHONE, PUBLIC, SERVER, Story

from sipalg.analysis.diagnose.findings import Wanted
from sipalg.analysis.diagnose.look import look
from sipalg.analysis.diagnose.networks import Networks
from sipalg.analysis.rtp import Streams
from sipalg.capture.reading import open_capture

MEDIA, FAR_MEDIA = "192.168.20.100:4000", "207.252.1.148:9000"


def told() -> Story:
    story = Story()
    story.register()
    story.call(MEDIA, FAR_MEDIA)
    story.talk(MEDIA, FAR_MEDIA, 50)
    story.udp(MEDIA, FAR_MEDIA, b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12))
    story.hang_up()
    return story


def test_reader_counts_what_is_known_and_the_facts_are_the_same(tmp_path: Path) -> None:
    path = told().write(tmp_path / "story.pcap")
    found = []
    for counted in (True, False):
        media = Streams()
        with open_capture(path) as source:
            if counted:
                source.tallies = media.tallies
            looking = look(source, Wanted((5060,), 3600.0, Networks()), media)
            found.append(looking.finish(source.packets, source.last_ns))
    assert found[0] == found[1]
    assert (found[0].frames, found[0].media_packets, found[0].messages) == (108, 100, 7)


def test_stun_between_known_media_is_still_seen(tmp_path: Path) -> None:
    phone = told().diagnosis(tmp_path).facts.phones["192.168.20.100"]
    assert phone.stun.packets == [106]


def test_packets_to_a_private_address_that_a_phone_named_outside_are_its_own(tmp_path: Path) -> None:
    story = Story()
    story.register(PUBLIC, names=PHONE)
    story.request("INVITE", SERVER, PHONE, call_id="lost")
    story.request("INVITE", SERVER, "192.168.20.7:5060", call_id="strange")
    phones = story.diagnosis(tmp_path).facts.phones
    assert phones[PUBLIC].missed.packets == [3]
    assert set(phones) == {PUBLIC, "192.168.20.7"}
