"""The settings file: read strictly, written back with its comments, and never half."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import time
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.control.settings.test_properties import ANY

from sipalg.control.settings import file as settings_file
from sipalg.control.settings.file import (
    SettingsError,
    SettingsMissingError,
    default_file,
    is_missing,
    load,
    merged,
    read,
    save,
    settings_path,
)
from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import PROPERTIES, texts, with_texts

ROUTER = """\
# Our router.
inside = ["lan0"]   # the office
outside = "wan0"

ports = [5060]      # the provider has one
sip-timeout = 1800
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "sipalg.toml"
    found.write_text(ROUTER)
    return found


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIPALG_CONFIG", raising=False)
    assert settings_path(None) == Path("/etc/sipalg/sipalg.toml")
    monkeypatch.setenv("SIPALG_CONFIG", "/srv/a.toml")
    assert settings_path(None) == Path("/srv/a.toml")
    assert settings_path("b.toml") == Path("b.toml")


def test_what_a_file_says(path: Path) -> None:
    expected = Settings(inside=("lan0",), outside="wan0", ports=(5060,), sip_timeout_s=1800.0)
    assert load(path) == expected
    assert read(path) == (expected, frozenset({"inside", "outside", "ports", "sip-timeout"}))


def test_every_form_of_a_value(path: Path) -> None:
    path.write_text(
        'inside = "lan0,lan1"\nports = "5060,5070"\nexcept = ["10.0.0.0/8", "192.0.2.1"]\ndisabled = true\n'
        'sip-direct-media = "no"\nqueue = 7\nsip-timeout = "01:30:00"\npublic = ""\n'
    )
    found = load(path)
    assert (found.inside, found.ports, found.disabled) == (("lan0", "lan1"), (5060, 5070), True)
    assert (found.direct_media, found.queue_number, found.sip_timeout_s) == (False, 7, 5400.0)
    assert found.exempt == (IPv4Network("10.0.0.0/8"), IPv4Network("192.0.2.1/32"))
    assert found.public is None


def test_the_default_file_is_the_defaults(path: Path) -> None:
    path.write_text(default_file())
    assert read(path) == (Settings(), frozenset())
    uncommented = re.sub(r"^#(?=[a-z-]+ = )", "", default_file(), flags=re.MULTILINE)
    path.write_text(uncommented)
    assert load(path) == replace(Settings(), inside=("lan0",), outside="wan0")
    for one in PROPERTIES.values():
        assert f"{one.key} = " in default_file()
        assert one.help[1:] in default_file()
    assert default_file().isascii()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ports = [5060", "isn't TOML, as its end shows: Unclosed array"),
        ("a = 1\n\nb = = 2", "line 3: isn't TOML: Invalid value"),
        ("ports = 5060-5061", "line 1: ports: isn't TOML: Expected newline or end of document after a statement; a"),
        ("ports = 5060,5061", "line 1: ports: isn't TOML: Expected newline or end of document after a statement; did"),
        ("x\nports = [5060]", "line 1: isn't TOML: Expected '=' after a key"),
        ("inside = [\nlan0]", "line 2: isn't TOML: Invalid value"),
        ("ports = [1]\n ports = [2]", "line 2: ports: is named before already; once is allowed"),
        ("ports = " + "[" * 5000, "isn't TOML that can be read"),
        ("queue = " + "9" * 5000, "isn't TOML that can be read"),
        ("# \xe4", "line 1: isn't UTF-8 text"),
        ("\nporst = [5060]", "line 2: there is no setting 'porst'; did you mean ports?"),
        ("[ports]\na = 1", "ports: must be an array of integers; allowed: 1 to 8 ports"),
        ("ports = true", "line 1: ports: must be an array of integers; allowed: 1 to 8 ports"),
        ("ports = [5060.5]", "line 1: ports: must be an array"),
        ("ports = [true]", "line 1: ports: must be an array of integers"),
        ("ports = [1,2,3,4,5,6,7,8,9]", "line 1: ports: 9 ports are too many; up to 8 are allowed; allowed: 1 to 8"),
        ("ports = [0]", "line 1: ports: '0' is no port"),
        ("# x\nsip-timeout = 'abc'", "line 2: sip-timeout: 'abc' is no time; examples: 01:00:00"),
        ("sip-timeout = 5", "line 1: sip-timeout: '5' is out of range"),
        ("sip-timeout = 01:00:00", "line 1: sip-timeout: must be a string or a number of seconds"),
        ("disabled = 1", "line 1: disabled: must be true or false; allowed: true or false"),
        ("disabled = 'maybe'", "line 1: disabled: 'maybe' is neither yes nor no; allowed: true or false"),
        ("queue = false", "line 1: queue: must be an integer; allowed: 0 to 65535"),
        ("outside = 5", "line 1: outside: must be a string; allowed: an interface"),
        ("except = [10]", "line 1: except: must be an array of strings; allowed: networks"),
        ("media-ports = '9000-8000'", "line 1: media-ports: '9000-8000' begins above its end"),
        ("inside = ['a']\noutside = 'a'", "line 2: outside: a is also in inside; it can only be one of them; allowed"),
        ("mode = 'watch'", "line 1: mode: 'watch' is neither enforce nor observe; allowed: enforce or observe"),
        ("\"mode\" = 'watch'", "line 1: mode: "),
        ("x = '''\nmode = 1\n'''\nmode = 1", "line 1: there is no setting 'x'"),
        ("mode = 1\npublic = '''\nmode = '''", "mode: must be a string"),
        ("#" * (1 << 20) + "#", "is longer than 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_one_line(path: Path, text: str, said: str) -> None:
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError) as caught:
        load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: {said}")
    assert "\n" not in line


def test_every_mistake_has_its_line(path: Path) -> None:
    path.write_text("ports = [0]\ninside = ['a']\nx = 1\noutside = 'a'\n")
    with pytest.raises(SettingsError, match=r"'0' is no port.* \(and 2 more: see `sipalg config check`\)$") as caught:
        load(path)
    numbers = [line.removeprefix(f"{path}: ").partition(":")[0] for line in caught.value.lines]
    assert numbers == ["line 1", "line 3", "line 4"]


def test_a_value_without_its_form_hides_nothing(path: Path) -> None:
    path.write_text(
        "inside = lan0  # phones\nsip-direct-media = yes\nsip-timeout = 3h\n'ports' = 5060,5061\nmode = off\n"
        "queue = 70000\nmedia-ports = 1-2 # [\noutside = \nx = [\n"
    )
    with pytest.raises(SettingsError) as caught:
        load(path)
    lines = [line.removeprefix(f"{path}: ") for line in caught.value.lines]
    value = "isn't TOML: Invalid value"
    more = "isn't TOML: Expected newline or end of document after a statement"
    assert lines == [
        f'line 1: inside: {value}; did you mean inside = ["lan0"]',
        f"line 2: sip-direct-media: {value}; did you mean sip-direct-media = true",
        f'line 3: sip-timeout: {more}; did you mean sip-timeout = "3h"',
        f"line 4: ports: {more}; did you mean ports = [5060, 5061]",
        f"line 5: mode: {value}; allowed: enforce or observe",
        f"line 7: media-ports: {more}; allowed: LOW-HIGH, each 1024 to 65535",
        f"line 8: outside: {value}; allowed: an interface",
        "isn't TOML, as its end shows: Invalid value",
    ]
    path.write_text(path.read_text().replace("x = [\n", ""))
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert caught.value.lines[-1].startswith(f"{path}: line 6: queue: ")


def test_a_byte_order_mark_is_no_mistake(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + ROUTER.encode())
    assert load(path).outside == "wan0"
    save(path, {"outside": "wan1"})
    assert path.read_text() == ROUTER.replace("wan0", "wan1")


@given(st.binary(max_size=60) | st.text("=[]{}'\"#.,0-9apors\n ", max_size=60).map(str.encode))
def test_no_content_is_more_than_refused(content: bytes) -> None:
    said = ""
    try:
        settings_file._settings(Path("x"), content)
    except SettingsError as error:
        said = str(error)
    assert "\n" not in said


def test_a_missing_file_and_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsMissingError, match="there is no such file; `sipalg config default` prints one"):
        load(tmp_path / "none")
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(SettingsError, match="can't be read: Is a directory"):
        merged(tmp_path, {})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "sipalg.toml"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match="is no regular file, and so no settings file"):
        merged(pipe, {"ports": "5070"})
    with pytest.raises(SettingsError, match="is no regular file, and so no settings file"):
        load(pipe)
    assert load(Path(os.devnull)) == Settings()


def test_a_change_keeps_comments_order_and_what_is_not_ours(path: Path) -> None:
    assert save(path, {"ports": "5060,5070", "disabled": "yes"}) == path
    expected = ROUTER.replace("ports = [5060]      #", "ports = [5060, 5070]      #") + "disabled = true\n"
    assert path.read_text() == expected
    assert load(path).ports == (5060, 5070)


COMMENTED = """\
ports = [
  5060,  # provider
  5080,  # pbx
  # old
  5090
]
"""


@pytest.mark.parametrize(
    ("ports", "stays"),
    [
        ("5060,5061", ("# provider",)),
        ("5080", ("# pbx",)),
        ("5070,5060,5080,5090", ("# provider", "# pbx", "# old")),
        ("5060,5080,5090,5091", ("# provider", "# pbx", "# old")),
        ("5090,5060", ()),
        ("1,2", ()),
    ],
)
def test_what_stays_of_an_array_keeps_its_comments(path: Path, ports: str, stays: tuple[str, ...]) -> None:
    path.write_text(COMMENTED)
    save(path, {"ports": ports})
    assert load(path).ports == tuple(map(int, ports.split(",")))
    for comment in stays:
        (line,) = (line for line in path.read_text().splitlines() if comment in line)
        assert line in COMMENTED


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["", " # x", "\n # y"])), unique_by=lambda one: one[0]),
    st.lists(st.integers(1, 9), min_size=1, max_size=8, unique=True),
    st.sampled_from(["", ","]),
)
def test_an_array_is_what_is_wanted(before: list[tuple[int, str]], wanted: list[int], comma: str) -> None:
    members = ",".join(f" {number}{comment}\n" for number, comment in before)
    content = f"ports = [{members}{comma if before else ''}] # z\n".encode()
    found = settings_file._with_values(Path("x"), content, {"ports": ",".join(map(str, wanted))})
    assert settings_file._settings(Path("x"), found)[0].ports == tuple(wanted)


def test_a_value_takes_the_place_of_the_default_that_is_shown(path: Path) -> None:
    path.write_text(default_file())
    save(path, {"ports": "5070", "outside": "wan7"})
    save(path, {"ports": "5071"})
    expected = default_file().replace("#ports = [5060, 5061]", "ports = [5071]")
    assert path.read_text() == expected.replace('#outside = "wan0"', 'outside = "wan7"')
    # What only looks like it isn't touched.
    content = 'captures = """\n#ports = [1]\n"""\n'
    found = settings_file._with_value(content, PROPERTIES["ports"], (2,))
    assert found == content + "ports = [2]\n"


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    made = tmp_path / "new.toml"
    assert merged(made, {"ports": "5070"}) == Settings(ports=(5070,))
    assert not made.exists()
    save(made, {"ports": "5070"})
    assert load(made) == Settings(ports=(5070,))


def test_a_file_that_was_lost_has_more(path: Path) -> None:
    path.unlink()
    besides = {"inside": "lan0", "outside": "wan0", "ports": "5070"}
    assert is_missing(path)
    assert merged(path, {"ports": "5071"}, besides).outside == "wan0"
    assert save(path, {"ports": "5071"}, besides) == path
    assert load(path) == Settings(inside=("lan0",), outside="wan0", ports=(5071,))
    assert not is_missing(path)
    save(path, {"ports": "5072"}, {"outside": "wan7"})
    assert load(path).outside == merged(path, {}, {"outside": "wan7"}).outside == "wan0"
    assert not is_missing(path / "below a file")


def test_the_defaults_directory_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_file, "DEFAULT_FILE", str(tmp_path / "etc" / "sipalg.toml"))
    save(tmp_path / "etc" / "sipalg.toml", {"disabled": "yes"})
    assert load(tmp_path / "etc" / "sipalg.toml").disabled
    with pytest.raises(SettingsError, match="can't be written: No such file or directory"):
        save(tmp_path / "srv" / "sipalg.toml", {"disabled": "yes"})


@given(ANY)
def test_every_settings_read_as_they_were_written(settings: Settings) -> None:
    content = settings_file._with_values(Path("x"), default_file().encode(), texts(settings))
    low, high = settings.media_ports
    possible = replace(settings, outside="wan9", reserved_ports=(), media_ports=(low, high))
    content = settings_file._with_values(Path("x"), content, {"outside": "wan9", "reserved-ports": ""})
    assert settings_file._settings(Path("x"), content)[0] == possible


def test_a_change_that_cannot_be_leaves_the_file(path: Path) -> None:
    for change in (merged, save):
        with pytest.raises(SettingsError, match="line 3: outside: lan0 is also in inside"):
            change(path, {"outside": "lan0"})
    assert path.read_text() == ROUTER
    path.write_text("ports = [")
    for change in (merged, save):
        with pytest.raises(SettingsError, match="isn't TOML"):
            change(path, {"ports": "5070"})
    assert path.read_text() == "ports = ["


def test_a_file_that_only_the_other_reader_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_content: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr("tomlkit.parse", refuse)
    with pytest.raises(SettingsError, match="can't be changed by a command; edit it by hand"):
        save(path, {"ports": "5070"})


def test_killed_in_the_middle_it_is_the_old_or_the_new(path: Path) -> None:
    """A child writes one settings after another without end and is killed after a random time, 200 times."""
    chance = random.Random(7)
    ports = ("5060", "5061", "1,2,3")
    possible = [with_texts(load(path), {"ports": text, "sip-timeout": "1h"}) for text in ports]
    save(path, {"ports": "5060", "sip-timeout": "1h"})
    started, ready = os.pipe()
    found = []
    for number in range(200):
        child = os.fork()
        if child == 0:
            for text in itertools.cycle(ports[number % 3 :] + ports[: number % 3]):
                save(path, {"ports": text})
                os.write(ready, b"!")
        # At least one is written whole, and the next one is under way.
        os.read(started, 1)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.set_blocking(started, False)
        with contextlib.suppress(BlockingIOError):
            os.read(started, 1000)
        os.set_blocking(started, True)
        found.append(load(path))
    os.close(started)
    os.close(ready)
    assert all(one in possible for one in found)
    assert len(set(found)) == 3
