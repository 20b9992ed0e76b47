"""The settings by the names that people use: the one table of which there are, how each is written, and what it means.

File, command line, control socket and RouterOS's grammar all go by it, so that a name and a format are the same
everywhere. On a packet's way this is before the beginning.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

from sipalg.control.asking import columns
from sipalg.control.settings import values
from sipalg.control.settings.model import Settings, contradiction

#: What a value is in a TOML file: true or false, an integer, a string, a string or seconds, an array of integers, or
#: one of strings.
Kind = Literal["flag", "number", "text", "time", "numbers", "texts"]


class Property(NamedTuple):
    """One setting as people see it."""

    key: str
    #: The field of `Settings`.
    field: str
    #: Reads a text; ValueError with one line that says what would be right.
    parse: Callable[[str], Any]
    #: Writes a value as `parse` reads it.
    format: Callable[[Any], str]
    #: What is allowed, for people: "yes or no".
    values: str
    help: str
    #: May it be changed while packets are handled? Else a restart is needed.
    live: bool = True
    #: Is it one of RouterOS's /ip firewall service-port?
    service_port: bool = False
    kind: Kind = "text"


_YES_NO: Final = (values.flag, values.flag_text, "yes or no")
_TIME: Final = (values.duration, columns.duration, "10s to 30d, as 01:00:00, 1h, 90m, 1d2h or seconds")
_NETWORKS: Final = (values.networks, values.networks_text, "networks with commas between them, or nothing")

_ALL: Final = (
    Property(
        "inside",
        "inside",
        values.interfaces,
        values.interfaces_text,
        "interfaces with commas between them",
        "the interfaces with phones",
        live=False,
        kind="texts",
    ),
    Property(
        "outside",
        "outside",
        values.interface,
        str,
        "an interface",
        "the interface towards the SIP servers",
        live=False,
    ),
    Property(
        "public",
        "public",
        values.address_or_none,
        values.address_or_none_text,
        "an IPv4 address, or nothing for the outside interface's own",
        "the address to write, behind a 1:1 NAT; one of the outside interface's is what SIP leaves by, too",
    ),
    Property(
        "ports",
        "ports",
        values.ports,
        values.ports_text,
        "1 to 8 ports with commas between them, each 1 to 65535",
        "the SIP servers' ports",
        service_port=True,
        kind="numbers",
    ),
    Property(
        "sip-direct-media",
        "direct_media",
        *_YES_NO,
        "may media go straight between two devices?",
        service_port=True,
        kind="flag",
    ),
    Property("sip-timeout", "sip_timeout_s", *_TIME, "how long SIP may be silent", service_port=True, kind="time"),
    Property(
        "disabled",
        "disabled",
        *_YES_NO,
        "no new mapping and no new call: plain NAT; what stands is served to its end",
        service_port=True,
        kind="flag",
    ),
    Property(
        "mode",
        "mode",
        values.one_of("enforce", "observe"),
        str,
        "enforce or observe",
        "observe decides, counts and shows, and changes nothing",
    ),
    Property(
        "media-ports",
        "media_ports",
        values.port_range,
        values.port_range_text,
        "LOW-HIGH, each 1024 to 65535",
        "public ports for media where the phone's own is taken",
    ),
    Property(
        "reserved-ports",
        "reserved_ports",
        values.port_ranges,
        values.port_ranges_text,
        "ports and ranges with commas between them, such as 5070,20000-20999, or nothing",
        "ports that never become public ones",
    ),
    Property("except", "exempt", *_NETWORKS, "remote networks that aren't NATed", kind="texts"),
    Property(
        "trusted-peers", "trusted_peers", *_NETWORKS, "remote networks that may signal to any phone", kind="texts"
    ),
    Property(
        "inside-servers",
        "inside_servers",
        *_NETWORKS,
        "networks of inside proxies that name a phone's media in a call's first offer",
        kind="texts",
    ),
    Property("sip-direct-signalling", "direct_signalling", *_YES_NO, "may anybody signal to a phone?", kind="flag"),
    Property(
        "media-filter",
        "media_filter",
        *_YES_NO,
        "once a call is answered, may media come in from its own addresses only?",
        kind="flag",
    ),
    Property(
        "call-timeout",
        "call_timeout_s",
        *_TIME,
        "how long a call without SIP and session timer keeps its media",
        kind="time",
    ),
    Property(
        "tcp",
        "tcp",
        values.one_of("relay", "plain"),
        str,
        "relay or plain",
        "what happens to SIP over TCP: translated in a relay, or plain NAT",
    ),
    Property("captures", "captures", values.directory, str, "an absolute path", "the directory of captures"),
    Property(
        "queue",
        "queue_number",
        values.queue_number,
        str,
        "0 to 65535",
        "the kernel's packet queue",
        live=False,
        kind="number",
    ),
    Property(
        "allow-offload",
        "allow_offload",
        *_YES_NO,
        "start although a flow table carries packets past the ALG?",
        kind="flag",
    ),
    Property("log-edits", "log_edits", *_YES_NO, "log a line for each edited message?", kind="flag"),
    Property(
        "ipv6",
        "ipv6",
        values.one_of("auto", "no"),
        str,
        "auto or no",
        "serve IPv6 where the router forwards it, or nowhere",
    ),
    Property(
        "public-ipv6",
        "public_ipv6",
        values.ipv6_address_or_none,
        values.address_or_none_text,
        "an IPv6 address, or nothing for what the rules say",
        "as public, for IPv6 where that is translated to one address",
    ),
)

#: All of them by name, in the order in which they are shown.
PROPERTIES: Final[Mapping[str, Property]] = {one.key: one for one in _ALL}


def find(key: str) -> Property:
    """Return the property of this name; ValueError where there is none, with the nearest that there is."""
    found = PROPERTIES.get(key)
    if found is None:
        near = difflib.get_close_matches(key, PROPERTIES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(PROPERTIES)}"
        raise ValueError(f"there is no setting {key!r}; {hint}")
    return found


def text_of(settings: Settings, key: str) -> str:
    """Return a setting's value as `set` takes it."""
    one = PROPERTIES[key]
    return one.format(getattr(settings, one.field))


def texts(settings: Settings) -> dict[str, str]:
    """Return all settings as texts, by name."""
    return {key: text_of(settings, key) for key in PROPERTIES}


def differing(settings: Settings) -> dict[str, str]:
    """Return as texts, by name, the settings that aren't the defaults."""
    defaults = texts(Settings())
    return {key: text for key, text in texts(settings).items() if text != defaults[key]}


def with_texts(settings: Settings, given: Mapping[str, str]) -> Settings:
    """Return the settings with these changes, all of them; ValueError with one line where one can't be."""
    changes = {}
    for key, text in given.items():
        one = find(key)
        try:
            changes[one.field] = one.parse(text)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    changed = replace(settings, **changes)
    wrong = contradiction(changed)
    if wrong:
        raise ValueError(f"{wrong[0]}: {wrong[1]}")
    return changed
