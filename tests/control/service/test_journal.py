"""The journal keeps up with what changes, is written anew when it has grown, and never gets in the way."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.engine.ladder import Ladder
from tests.engine.scenario import registers

from sipalg.control.service import journal as module
from sipalg.control.service import journal_lines
from sipalg.control.service.journal import Journal, journal_of
from sipalg.engine.records import Plain, RecordKey


def key(number: int) -> RecordKey:
    return ("removal", ("192.168.33.10", b"call", number))


def keep_up(journal: Journal) -> None:
    """Let it keep up, to its end."""
    for _ in journal.keep_up():
        pass


class World:
    """Records as an engine would have them, a clock, and the journal of them."""

    def __init__(self, path: Path) -> None:
        self.path = path / "sipalg.journal"
        self.now = 0.0
        self.values: dict[RecordKey, Plain] = {}
        self.changed: dict[RecordKey, None] = {}
        self.watched = False
        self.journal = Journal(self.path, self, lambda: self.now)

    def keep_up(self) -> int:
        """Let the journal keep up, to its end; the steps that it took."""
        return sum(1 for _ in self.journal.keep_up())

    def watch(self) -> None:
        self.watched = True

    def take_changed(self) -> list[RecordKey]:
        changed, self.changed = list(self.changed), {}
        return changed

    def all(self) -> list[RecordKey]:
        return list(self.values)

    def value(self, record: RecordKey) -> Plain | None:
        return self.values.get(record)

    def put(self, number: int, value: float) -> None:
        self.values[key(number)] = {"until": value}
        self.changed[key(number)] = None

    def remove(self, number: int) -> None:
        del self.values[key(number)]
        self.changed[key(number)] = None

    def kept(self) -> dict[int, float]:
        """What the file says, by number."""
        found = journal_lines.read(self.path, journal_lines.boot_id())
        return {record.key[2]: record.value["until"] for record in found}

    def files(self) -> list[str]:
        return [path.name for path in self.path.parent.iterdir()]

    @property
    def wanted(self) -> dict[int, float]:
        return {record[1][2]: value["until"] for record, value in self.values.items()}

    @property
    def lines(self) -> int:
        return self.path.read_bytes().count(b"\n") - 1


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_changes_is_in_the_file_after_the_next_look(world: World) -> None:
    world.put(1, 1.0)
    world.journal.begin()
    assert world.watched
    assert world.kept() == {1: 1.0}
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    world.put(1, 2.0)
    world.put(2, 3.0)
    world.keep_up()
    assert world.kept() == {1: 2.0, 2: 3.0}
    world.remove(1)
    world.keep_up()
    assert world.kept() == {2: 3.0}
    before = world.lines
    world.keep_up()
    assert world.lines == before


def test_what_has_changed_is_written_a_few_records_at_a_time(world: World) -> None:
    world.journal.begin()
    for number in range(100):
        world.put(number, 1.0)
    steps = world.journal.keep_up()
    next(steps)
    few = world.lines
    assert 0 < few <= 10
    next(steps)
    assert few < world.lines <= 20
    # What happens between two steps, to what is written already and to what isn't.
    for number in (0, 99):
        world.put(number, 2.0)
    for number in (1, 98):
        world.remove(number)
    for _ in steps:
        pass
    world.keep_up()
    assert world.kept() == world.wanted
    assert world.keep_up() == 0


def test_an_end_between_two_steps_writes_the_rest_and_is_one(world: World) -> None:
    world.journal.begin()
    for number in range(100):
        world.put(number, 1.0)
    steps = world.journal.keep_up()
    next(steps)
    world.put(0, 2.0)
    world.journal.close()
    assert world.kept() == world.wanted
    before = world.path.read_bytes()
    assert list(steps) == []
    assert world.path.read_bytes() == before
    assert world.files() == ["sipalg.journal"]


def test_what_came_and_went_in_between_has_no_line(world: World) -> None:
    world.journal.begin()
    world.put(1, 1.0)
    world.remove(1)
    world.keep_up()
    assert world.lines == 0


def test_a_phone_that_left_again_and_again_is_not_in_the_file(tmp_path: Path) -> None:
    ladder = Ladder()
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    journal = Journal(tmp_path / "sipalg.journal", ladder.alg.records)
    journal.begin()

    def lines() -> list[str]:
        found = journal_lines.read(tmp_path / "sipalg.journal", journal_lines.boot_id())
        return [record.kind for record in found if record.kind == "contact"]

    registers(phone, server)
    keep_up(journal)
    assert lines() == ["contact"]
    leave = "<sip:a@192.168.33.10>;expires=0"
    for number in (2, 4):
        registers(phone, server, number=number, contact=leave, granted=None)
        registers(phone, server, number=number + 1)
    registers(phone, server, number=6, contact=leave, granted=None)
    assert list(ladder.alg.contacts.all()) == []
    journal.close()
    assert lines() == []


def test_an_end_writes_the_rest_and_the_next_process_reads_it(world: World) -> None:
    world.journal.begin()
    world.put(1, 1.0)
    world.journal.close()
    assert world.kept() == {1: 1.0}
    world.journal.close()
    (record,) = Journal(world.path, world).read()
    assert (record.kind, record.value) == ("removal", {"until": 1.0})


def test_after_an_end_it_may_begin_anew(world: World) -> None:
    world.journal.begin()
    world.journal.close()
    world.put(1, 1.0)
    world.journal.close()
    assert world.kept() == {}
    world.keep_up()
    world.keep_up()
    assert world.kept() == {1: 1.0}


@pytest.mark.parametrize(
    ("socket", "journal"),
    [("/run/sipalg.sock", "/run/sipalg.journal"), ("x", "x.journal"), ("a.journal", "a.journal.journal")],
)
def test_it_lies_beside_the_socket_under_another_name(socket: str, journal: str) -> None:
    assert journal_of(Path(socket)) == Path(journal)


def test_one_that_never_began_leaves_the_file_of_the_earlier_process(world: World) -> None:
    world.put(1, 1.0)
    world.journal.begin()
    world.journal.close()
    other = Journal(world.path, world)
    world.put(2, 1.0)
    other.close()
    assert world.kept() == {1: 1.0}


def test_a_file_that_has_grown_is_written_anew_piece_by_piece(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 3)
    monkeypatch.setattr(module, "_SPARE_LINES", 5)
    for number in range(10):
        world.put(number, 0.0)
    world.journal.begin()
    inode = world.path.stat().st_ino
    looks = 0
    while world.path.stat().st_ino == inode:
        looks += 1
        assert looks < 100
        # What goes, comes and changes meanwhile, written already in the new file or not.
        for number in (looks % 10, 20 + looks % 3):
            if key(number) in world.values and looks % 2:
                world.remove(number)
            else:
                world.put(number, float(looks))
        world.keep_up()
        assert world.kept() == world.wanted
    assert world.lines < 25
    world.put(7, 7.0)
    world.keep_up()
    assert world.kept() == world.wanted
    assert world.files() == ["sipalg.journal"]


def test_an_end_amid_writing_anew_leaves_the_whole_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        world.put(number, 0.0)
    world.journal.begin()
    monkeypatch.setattr(module, "_PIECE", 3)
    monkeypatch.setattr(module, "_SPARE_LINES", -100)
    world.keep_up()
    world.keep_up()
    assert len(world.files()) == 2
    world.put(1, 5.0)
    world.journal.close()
    assert world.kept() == world.wanted
    assert world.files() == ["sipalg.journal"]


def full(_descriptor: int, _text: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_line_and_no_stale_journal(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.put(1, 1.0)
    world.journal.begin()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for number in range(5):
            world.put(number, 2.0)
            world.keep_up()
            world.now += 100
    assert [record.getMessage() for record in caplog.records] == [
        f"journal-not-written path={world.path} why='No space left on device' "
        "consequence=a-restart-forgets-contacts-and-calls"
    ]
    assert world.files() == []
    world.keep_up()
    world.keep_up()
    assert not world.journal.failed
    assert world.kept() == world.wanted


def test_it_is_tried_again_after_a_minute_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        world.journal.begin()
    assert world.journal.failed
    world.put(1, 1.0)
    world.now = 59.0
    world.keep_up()
    assert not world.path.exists()
    world.now = 60.0
    world.keep_up()
    world.keep_up()
    assert world.kept() == {1: 1.0}


def test_half_a_line_that_got_to_the_disk_is_continued(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, text: write(descriptor, text[:7]))
    world.put(1, 1.0)
    world.journal.begin()
    assert world.kept() == {1: 1.0}


def test_a_directory_that_is_gone_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(world.path.parent / "none" / "sipalg.journal", world)
    assert journal.read() == []
    journal.begin()
    keep_up(journal)
    journal.close()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_damaged_file_is_set_aside(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.path.write_text("something else\n")
    world.path.chmod(0o600)
    assert world.journal.read() == []
    assert (world.path.parent / "sipalg.journal.bad").read_text() == "something else\n"
    (record,) = caplog.records
    assert record.getMessage() == (
        f"journal-set-aside path={world.path} why=\"it doesn't begin as a journal does\" "
        f"kept_as={world.path}.bad"
    )
    world.journal.begin()
    assert world.kept() == {}


def test_a_file_that_can_not_be_read_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.path.symlink_to("/etc/hostname")
    assert world.journal.read() == []
    assert caplog.records[0].getMessage().startswith(f"journal-not-read path={world.path}")
    world.journal.begin()
    assert not world.path.is_symlink()


def test_of_very_much_the_earlier_file_goes_on_until_all_is_in_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_START", 500)
    for number in range(1000):
        world.put(number, 1.0)
    world.journal.begin()
    world.journal.close()
    with world.path.open("ab") as file:
        file.write(b"00000000 unfinished")
    later = Journal(world.path, world, lambda: world.now)
    assert len(later.read()) == 1000
    later.begin()
    assert world.files().count("sipalg.journal.new") == 1
    world.put(1, 2.0)
    world.put(1000, 3.0)
    world.remove(2)
    keep_up(later)
    assert world.kept() == world.wanted, "the old one has what changed"
    keep_up(later)
    keep_up(later)
    assert world.files() == ["sipalg.journal"]
    assert world.kept() == world.wanted
    later.close()
    world.values.clear()
    other = Journal(world.path, world, lambda: world.now)
    other.begin()
    assert world.kept() == {}, "what wasn't read doesn't go on"
