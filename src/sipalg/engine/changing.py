"""Settings that change while calls stand: what is there already follows, and none of it is lost.

Beside a packet's way: the driver tells of a change between two packets. What only the next message has to know (ports,
networks, whether media may go straight) needs nothing here; times that were counted from a setting do.
"""

from __future__ import annotations

from collections.abc import Collection

from sipalg.engine import existing
from sipalg.engine.passage import Passage
from sipalg.engine.settings import Settings
from sipalg.engine.verdict import Mapping


def change(passage: Passage, settings: Settings) -> None:
    """Go by other settings from the next message on.

    Another `nat_address` ends every mapping and call of the old one, with an event for each phone; so do IPv6's
    addresses and prefixes. Another sip-timeout begins anew for every mapping and flow, now.
    """
    before = passage.settings
    if settings.nat_address != before.nat_address:
        existing.end_lost(passage, ipv6=False)
    if settings.ipv6 != before.ipv6:
        existing.end_lost(passage, ipv6=True)
    passage.change(settings)
    if settings.media_filter and not before.media_filter:
        passage.media_sources.follow_all(passage.transaction)
    if settings.sip_timeout_s != before.sip_timeout_s:
        transaction = passage.transaction
        passage.mappings.retime(transaction)
        passage.peers.retime(transaction)
        passage.contacts.retime(transaction)


def keep_only(passage: Passage, standing: Collection[Mapping]) -> None:
    """Forget every mapping that isn't among those that stand in the kernel, with its calls, and renew the others.

    What was decided while nothing was carried out isn't true: other ports are in use than those that were picked. So
    there is nothing to undo in the kernel either.
    """
    transaction = passage.transaction
    table = passage.mappings.entries
    for entry in list(table.values()):
        if entry.mapping not in standing and entry.key in table:
            existing.end(passage, entry)
    transaction.commands.clear()
    for entry in table.values():
        passage.mappings.renew(transaction, entry)
        passage.peers.renew(transaction, entry)
