from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.sniffer.directory import Captures, CapturesError


@pytest.fixture
def captures(tmp_path: Path) -> Captures:
    return Captures(tmp_path / "deep" / "captures")


def write(captures: Captures, name: str, content: bytes) -> None:
    with captures.create(name) as file:
        file.write(content)


def test_a_directory_is_made_when_something_is_written(captures: Captures) -> None:
    assert captures.list() == []
    assert captures.hidden("state.json") is None
    assert not captures.locked()
    assert not captures.path.exists()
    write(captures, "a.pcap", b"abc")
    assert captures.path.stat().st_mode & 0o777 == 0o750 & ~_umask()
    assert (captures.path / "a.pcap").stat().st_mode & 0o777 == 0o600
    assert [(one.name, one.size_bytes) for one in captures.list()] == [("a.pcap", 3)]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_files_come_and_go(captures: Captures) -> None:
    write(captures, "b", b"longer")
    write(captures, "b", b"new")
    write(captures, "a", b"")
    assert [one.name for one in captures.list()] == ["a", "b"]
    with captures.open("b") as file:
        assert file.read() == b"new"
    captures.cut("b", 1)
    assert captures.list()[1].size_bytes == 1
    captures.remove("b")
    assert [one.name for one in captures.list()] == ["a"]


def test_a_file_is_replaced_whole_or_not_at_all(captures: Captures) -> None:
    captures.replace("a.pcap", b"good")
    assert (captures.path / "a.pcap").stat().st_mode & 0o777 == 0o600
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        # The disk takes a part.
        for name in ("a.pcap", "b.pcap"):
            with pytest.raises(CapturesError, match=f"captures/{name}: File too large"):
                captures.replace(name, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(one.name, one.size_bytes) for one in captures.list()] == [("a.pcap", 4)]
    assert list((captures.path / ".sniffer").iterdir()) == []
    captures.replace("a.pcap", b"better")
    assert (captures.path / "a.pcap").read_bytes() == b"better"


def test_no_link_and_no_folder_is_replaced(captures: Captures, tmp_path: Path) -> None:
    captures.replace("a", b"")
    (captures.path / "link").symlink_to(tmp_path / "target")
    (captures.path / "folder").mkdir()
    for name in ("link", "folder", "../a"):
        with pytest.raises(CapturesError, match=r"link|directory|no plain file name"):
            captures.replace(name, b"x")
    assert (captures.path / "link").is_symlink()


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/b", "..", ".", "", ".sniffer", "a\0b", "a\n"])
def test_names_lead_nowhere_else(captures: Captures, name: str) -> None:
    write(captures, "a", b"")
    for act in (captures.open, captures.create, captures.remove):
        with pytest.raises(CapturesError, match="no plain file name"):
            act(name)


@given(st.text(max_size=30))
def test_no_name_makes_anything_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.mktemp("root")
    captures = Captures(root / "captures")
    try:
        write(captures, name, b"x")
    except CapturesError:
        assert list(root.iterdir()) in ([], [captures.path])
    else:
        assert list(root.iterdir()) == [captures.path]
        assert [one.name for one in captures.list()] == [name]


def test_links_and_pipes_are_no_captures(captures: Captures, tmp_path: Path) -> None:
    write(captures, "a", b"")
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (captures.path / "link").symlink_to(target)
    os.mkfifo(captures.path / "pipe")
    (captures.path / "folder").mkdir()
    assert [one.name for one in captures.list()] == ["a"]
    for name in ("link", "pipe", "folder"):
        for act in (captures.open, captures.create, captures.remove):
            with pytest.raises(CapturesError, match=name):
                act(name)
    with pytest.raises(CapturesError, match=r"link: is a link, and none is followed here$"):
        captures.open("link")
    assert target.read_bytes() == b"precious"


def test_a_hidden_place_that_is_a_link_is_not_followed(captures: Captures, tmp_path: Path) -> None:
    captures.path.mkdir(parents=True)
    (captures.path / ".sniffer").symlink_to(tmp_path)
    with pytest.raises(CapturesError, match=r"\.sniffer"):
        captures.put_hidden("state.json", b"{}")
    assert not (tmp_path / "state.json").exists()


def test_what_is_not_there(captures: Captures) -> None:
    for _ in range(2):
        with pytest.raises(CapturesError, match=r"no such file a: `/file print` lists"):
            captures.open("a")
        write(captures, "other", b"")


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "captures").write_text("")
    captures = Captures(tmp_path / "captures")
    with pytest.raises(CapturesError, match="captures"):
        captures.list()
    with pytest.raises(CapturesError, match="captures"):
        captures.create("a")


def test_hidden_files_are_replaced_and_not_listed(captures: Captures) -> None:
    captures.put_hidden("state.json", b"1")
    captures.put_hidden("state.json", b"22")
    assert captures.hidden("state.json") == b"22"
    assert captures.list() == []
    assert [one.name for one in (captures.path / ".sniffer").iterdir()] == ["state.json"]


def test_the_lock_is_one_s_alone(captures: Captures) -> None:
    first = captures.lock()
    assert first is not None
    assert captures.locked()
    assert captures.lock() is None
    os.close(first)
    assert not captures.locked()
