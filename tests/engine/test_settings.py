from __future__ import annotations

import dataclasses

import pytest

from sipalg.engine.settings import Ipv6, Settings


def test_what_nobody_says_is_as_routeros_has_it() -> None:
    settings = Settings(frozenset(("lan0",)), "203.0.113.1", "203.0.113.1")
    assert settings.ports == (5060, 5061)
    assert settings.sip_timeout_s == 3600.0
    assert not settings.direct_signalling
    assert settings.mode == "enforce"
    assert settings.flow_check_s < 60.0, "less than half of the kernel's UDP stream timeout"


def test_settings_are_frozen() -> None:
    settings = Settings(frozenset(("lan0",)), "203.0.113.1", "203.0.113.1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.nat_address = "203.0.113.2"  # type: ignore[misc]


def test_an_address_that_messages_cannot_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^advertised_address: is empty while nat_address is 203.0.113.1; give the"):
        Settings(frozenset(("lan0",)), "203.0.113.1", "")
    with pytest.raises(ValueError, match=r"^ipv6.advertised_address: is empty while ipv6.nat_address is 2001:db8::1;"):
        Settings(frozenset(("lan0",)), "", "", ipv6=Ipv6("2001:db8::1"))
