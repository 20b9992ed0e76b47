"""The table of settings: names, texts, and changes by text."""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import PROPERTIES, differing, find, text_of, texts, with_texts
from sipalg.datapath.admin_model import PortRange

ROUTER = Settings(inside=("lan0",), outside="wan0")

_NETWORK = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda two: IPv4Network(two, strict=False))
_NETWORKS = st.lists(_NETWORK, max_size=4, unique=True).map(tuple)
_TIMES = st.integers(10, 2592000).map(float)
_PORTS = st.integers(1, 65535)
_RANGE = st.tuples(_PORTS, _PORTS).map(lambda two: PortRange(*sorted(two)))
_NAMES = st.text("abcdefgh0123-.", min_size=1, max_size=15).filter(lambda name: name not in (".", ".."))

#: For each field, values that it may have.
POSSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "inside": st.lists(_NAMES, min_size=1, max_size=3, unique=True).map(tuple),
    "outside": _NAMES,
    "public": st.none() | st.ip_addresses(v=4).map(str),
    "ports": st.lists(_PORTS, min_size=1, max_size=8, unique=True).map(tuple),
    "direct_media": st.booleans(),
    "sip_timeout_s": _TIMES,
    "disabled": st.booleans(),
    "mode": st.sampled_from(("enforce", "observe")),
    "media_ports": st.tuples(st.integers(1024, 30000), st.integers(30002, 65535)),
    "reserved_ports": st.lists(_RANGE, max_size=3).map(tuple),
    "exempt": _NETWORKS,
    "trusted_peers": _NETWORKS,
    "inside_servers": _NETWORKS,
    "direct_signalling": st.booleans(),
    "media_filter": st.booleans(),
    "call_timeout_s": _TIMES,
    "tcp": st.sampled_from(("relay", "plain")),
    "captures": st.just(Path("/srv/captures")),
    "queue_number": st.integers(0, 65528),
    "allow_offload": st.booleans(),
    "log_edits": st.booleans(),
    "ipv6": st.sampled_from(("auto", "no")),
    "public_ipv6": st.none() | st.ip_addresses(v=6).map(lambda address: address.compressed),
}
ANY = st.fixed_dictionaries(POSSIBLE).map(lambda given: Settings(**given))


def test_every_field_has_one_property() -> None:
    assert [one.field for one in PROPERTIES.values()] == [field.name for field in fields(Settings)]
    assert set(POSSIBLE) == {field.name for field in fields(Settings)}
    assert all(one.key == key for key, one in PROPERTIES.items())


def test_routeros_four_and_what_needs_a_restart() -> None:
    service_port = [key for key, one in PROPERTIES.items() if one.service_port]
    assert service_port == ["ports", "sip-direct-media", "sip-timeout", "disabled"]
    assert [key for key, one in PROPERTIES.items() if not one.live] == ["inside", "outside", "queue"]


@given(ANY)
def test_every_text_reads_as_it_was_written(settings: Settings) -> None:
    for one in PROPERTIES.values():
        value = getattr(settings, one.field)
        assert one.parse(one.format(value)) == value


def test_the_defaults_as_texts() -> None:
    shown = texts(ROUTER)
    assert list(shown) == list(PROPERTIES)
    assert shown["ports"] == "5060,5061"
    assert shown["sip-direct-media"] == "yes"
    assert shown["sip-timeout"] == "1h"
    assert shown["disabled"] == "no"
    assert shown["public"] == shown["except"] == ""
    assert text_of(ROUTER, "call-timeout") == "4h"
    assert with_texts(Settings(), shown) == ROUTER


def test_what_differs_from_the_defaults() -> None:
    assert differing(Settings()) == {}
    changed = replace(ROUTER, sip_timeout_s=60.0)
    assert with_texts(Settings(), differing(changed)) == changed
    assert differing(replace(Settings(), disabled=True)) == {"disabled": "yes"}


def test_changes_by_text() -> None:
    changed = with_texts(ROUTER, {"ports": "5070", "sip-timeout": "01:30:00", "disabled": "true"})
    assert changed == replace(ROUTER, ports=(5070,), sip_timeout_s=5400.0, disabled=True)
    assert with_texts(ROUTER, {}) == ROUTER


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ports": "1,2,3,4,5,6,7,8,9"}, "ports: 9 ports are too many; up to 8 are allowed"),
        ({"ports": "5060-5070"}, "ports: '5060-5070': ranges aren't taken"),
        ({"ports": "0"}, "ports: '0' is no port; a port is a number from 1 to 65535"),
        ({"sip-timeout": "abc"}, "sip-timeout: 'abc' is no time; examples: 01:00:00"),
        ({"sip-timeuot": "1h"}, "there is no setting 'sip-timeuot'; did you mean sip-timeout?"),
        ({"xyzzy": "1h"}, "there is no setting 'xyzzy'; there are: inside, outside"),
        ({"outside": "lan0"}, "outside: lan0 is also in inside"),
        ({"media-ports": "9000-8000"}, "media-ports: '9000-8000' begins above its end"),
        ({"reserved-ports": "1-65535"}, "reserved-ports: leaves no two ports of media-ports 16384-32767"),
    ],
)
def test_what_cannot_be(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("?", r"\?")):
        with_texts(ROUTER, given)


def test_a_property_by_name() -> None:
    assert find("ports").field == "ports"
    with pytest.raises(ValueError, match="did you mean disabled"):
        find("disable")
