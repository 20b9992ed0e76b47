from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sniffer.test_filters import filter_texts

from sipalg.sniffer.filters import Entry
from sipalg.sniffer.settings import DEFAULTS, FILTERS, PROPERTIES, checked, plain_name, seconds, settings_of


def test_defaults_are_routeros_s() -> None:
    settings = settings_of({})
    assert (settings.only_headers, settings.memory_scroll, settings.filter_stream) == (False, True, True)
    assert (settings.memory_limit_bytes, settings.file_limit_bytes) == (100 * 1024, 1000 * 1024)
    assert (settings.max_packet_bytes, settings.server, settings.file_name) == (2048, None, "")
    assert (settings.direction, settings.operator) == ("any", "or")
    assert settings.filters == dict.fromkeys(FILTERS, ())


def test_the_lecture_s_settings() -> None:
    settings = settings_of({
        "only-headers": "no", "file-name": "before-ALG.pcap", "file-limit": "4096", "filter-interface": "vlan20",
        "filter-ip-address": "192.168.20.100/32", "filter-direction": "any",
    })  # fmt: skip
    assert (settings.file_name, settings.file_limit_bytes) == ("before-ALG.pcap", 4 << 20)
    assert settings.filters["filter-interface"] == (Entry(False, "vlan20"),)


@given(filter_texts())
def test_what_is_kept_reads_the_same_again(texts: dict[str, str]) -> None:
    kept = checked(texts)
    assert checked(kept) == kept
    assert settings_of(kept) == settings_of(texts)


@pytest.mark.parametrize(
    ("key", "text", "kept"),
    [
        ("file-limit", "4096", "4096KiB"),
        ("memory-limit", "4MiB", "4096KiB"),
        ("memory-limit", "1G", "1048576KiB"),
        ("only-headers", "TRUE", "yes"),
        ("streaming-server", "10.0.0.1", "10.0.0.1:37008"),
        ("filter-port", " sip , !5061", "sip,!5061"),
        ("max-packet-size", "064", "64"),
    ],
)
def test_texts_are_kept_in_one_form(key: str, text: str, kept: str) -> None:
    assert checked({key: text})[key] == kept


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("only-headers", "maybe"),
        ("file-limit", "0"),
        ("file-limit", "4 096"),
        ("memory-limit", "4294967296"),
        ("max-packet-size", "63"),
        ("streaming-server", "10.0.0.1:0"),
        ("streaming-server", "host"),
        ("filter-direction", "both"),
        ("filter-operator-between-entries", "xor"),
        ("file-name", "../etc/passwd"),
        ("filter-vlan", "5000"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: [^\n]+$"):
        checked({key: text})


def test_a_setting_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="no setting 'filename'"):
        checked({"filename": "x"})


def test_streaming_needs_a_server() -> None:
    with pytest.raises(ValueError, match=r"streaming-server: is 0\.0\.0\.0"):
        settings_of({"streaming-enabled": "yes"})
    assert settings_of({"streaming-enabled": "yes", "streaming-server": "10.0.0.1:5"}).server == ("10.0.0.1", 5)


@given(st.text(max_size=300))
def test_a_plain_name_stays_in_its_directory(text: str) -> None:
    try:
        name = plain_name(text)
    except ValueError:
        return
    assert name == text
    assert "/" not in name
    assert not name.startswith(".")
    assert 0 < len(name.encode()) <= 200


def test_durations() -> None:
    assert [seconds(text) for text in ("5", "5s", "2m", "1h")] == [5, 5, 120, 3600]
    for text in ("0", "-1", "1d", "25h", "s"):
        with pytest.raises(ValueError, match="no duration"):
            seconds(text)


def test_every_property_says_what_it_may_be() -> None:
    assert all(one.values and one.help for one in PROPERTIES.values())
    assert checked(DEFAULTS) == DEFAULTS
    for one in PROPERTIES.values():
        for choice in one.choices:
            one.check(choice)
