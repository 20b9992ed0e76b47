"""How IPv6 leaves the router, found at start and followed when addresses, rules or settings change.

Between two packets. Another way ends what was told of the one before, as another outside address does; IPv4 goes on.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sipalg.control.settings.model import Settings
from sipalg.datapath import nat_address
from sipalg.datapath.admin_rules import AdminRules
from sipalg.datapath.netlink import NetlinkError
from sipalg.datapath.nft_rules import Ipv6Table
from sipalg.engine.settings import Ipv6

if TYPE_CHECKING:
    from sipalg.control.service.running import Service

_LOG = logging.getLogger("sipalg")


def find(settings: Settings, rules: AdminRules) -> Ipv6 | None:
    """Return how IPv6 leaves the router; None where it isn't served. Raises NetlinkError."""
    if settings.ipv6 == "no":
        return None
    return nat_address.find_ipv6(settings.outside, settings.public_ipv6, rules)


def follow(service: Service) -> bool:
    """Have the engine and the table go by how IPv6 leaves now; True where it changed."""
    before, ipv6 = service.alg.settings.ipv6, find(service.settings, service.rules)
    if ipv6 == before:
        return False
    _LOG.warning("ipv6-changed before=%r now=%r", in_words(before), in_words(ipv6))
    settings = replace(service.alg.settings, ipv6=ipv6)
    service.driver.run_commands(service.alg.change_settings(settings, time.monotonic()))
    try:
        service.table.change(replace(service.table.settings, ipv6=table_of(ipv6)))
    except NetlinkError as error:
        _LOG.error("ipv6-not-in-the-table why=%r", str(error))
    service.configure_ports()
    service.driver.report_events()
    return True


def address_of(ipv6: Ipv6 | None) -> str:
    """Return the address that IPv6 is translated to; "" for none."""
    return "" if ipv6 is None else ipv6.nat_address


def table_of(ipv6: Ipv6 | None) -> Ipv6Table:
    """Return what IPv6's table is for."""
    if ipv6 is None:
        return "no"
    return "translated" if ipv6.nat_address or ipv6.prefixes else "as-it-is"


def in_words(ipv6: Ipv6 | None) -> str:
    """Say how IPv6 leaves the router, for people."""
    if ipv6 is None:
        return "not served"
    said = [f"{inside} as {outside}" for inside, outside in ipv6.prefixes]
    if ipv6.nat_address:
        said.append(f"{','.join(map(str, ipv6.sources)) or 'all'} as {ipv6.nat_address}")
    return "; ".join(said) or "as it is"
