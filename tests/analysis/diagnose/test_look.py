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


def test_each_of_many_phones_is_given_what_was_sent_to_its_own_private_address(tmp_path: Path) -> None:
    story = Story()
    for number in range(5):
        story.register(f"75.142.151.{number}:5060", names=f"10.0.0.{number % 3}:5060")
        story.request("OPTIONS", SERVER, f"10.0.0.{number % 3}:5060", call_id=f"ping{number}")
    facts = story.diagnosis(tmp_path).facts
    assert {name: phone.missed.packets for name, phone in facts.phones.items()} == {
        "75.142.151.0:5060": [12], "75.142.151.1:5060": [15], "75.142.151.2:5060": [9],
        "75.142.151.3:5060": [12], "75.142.151.4:5060": [15],
    }  # fmt: skip
    assert not any(key[0].host.startswith("10.") for key in facts.flows)


def test_tables_dont_grow_with_the_packets(tmp_path: Path) -> None:
    sizes = []
    for packets in (50, 1000):
        story, media = Story(), Streams()
        story.register()
        story.call(MEDIA, FAR_MEDIA)
        story.talk(MEDIA, FAR_MEDIA, packets)
        for number in range(packets):
            story.udp(PHONE, SERVER, b"jaK\0")
            story.udp(PHONE, "198.51.100.53:53", bytes([number % 100]) * 40)
            story.rtcp(MEDIA, FAR_MEDIA)
        story.hang_up()
        with open_capture(story.write(tmp_path / "story.pcap")) as source:
            looking = look(source, Wanted((5060,), 3600.0, Networks()), media)
            facts = looking.finish(source.packets, source.last_ns)
        assert facts.media_packets == 2 * packets
        sizes.append([_size(one) for one in (facts, media, looking)])
    assert sizes[0] == sizes[1]


def _size(thing: object, seen: set[int] | None = None) -> int:
    """How many objects it holds, itself and those that they hold among them."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (int, str, bytes, float, type(None), type)) or callable(thing):
        return 0
    seen.add(id(thing))
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held: list[object] = [getattr(thing, name) for name in names if hasattr(thing, name)]
    held += getattr(thing, "__dict__", {}).values()
    if isinstance(thing, dict):
        held += [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        held += thing
    return 1 + len(held) + sum(_size(one, seen) for one in held)
