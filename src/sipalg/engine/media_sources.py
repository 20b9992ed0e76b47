"""From where a call's media may come in by its mappings, where a setting says that it isn't from anybody.

With `sip-direct-media=no`: the SIP peer and what the outside named until the call stood. With `media-filter=yes`:
anybody until the call is answered, since early media come from servers that nobody has named yet, and from then on the
SIP peer and the addresses that answers have named. The connection tracker's flows, by which most media run, are made
for exactly these ends in any case. On a packet's way this follows the call's state, and edits nothing.
Sources: RFC 3960 §3.1 (early media before any answer), RFC 4787 REQ-8 (filtering by address).
"""

from __future__ import annotations

from sipalg.engine.calls import Calls
from sipalg.engine.dialogs import Dialog, DialogKey, media_hosts
from sipalg.engine.mappings import Mappings
from sipalg.engine.peers import Peers
from sipalg.engine.rows import Entry
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import Endpoint, anybody


class MediaSources:
    """Admits and dismisses the peers of media mappings; `asked` says whether any setting wants that at all."""

    def __init__(self, settings: Settings, mappings: Mappings, calls: Calls, peers: Peers) -> None:
        self._mappings = mappings
        self._calls = calls
        self._peers = peers
        self.change(settings)

    def change(self, settings: Settings) -> None:
        """Go by other settings from the next message on."""
        self._settings = settings
        self.asked = settings.media_filter or not settings.direct_media

    def follow(self, transaction: Transaction, call: DialogKey) -> None:
        """Let media in to a call from where they may come now, whatever ports its descriptions name."""
        dialog = self._calls.dialogs.get(call)
        if dialog is None:
            return
        hosts = None if self._settings.direct_media else (dialog.peer, *dialog.sources)
        answered = self._answered(call)
        for key in dialog.keys:
            entry = self._mappings.entries[key]
            if entry.purpose != "media" or entry.adopted:
                continue
            if hosts is not None:
                self._admit(transaction, entry, hosts)
            elif answered is not None:
                everybody = anybody(key[1].host)
                if everybody in entry.peer_hosts():
                    self._peers.dismiss_one(transaction, entry, everybody)
                self._admit(transaction, entry, answered)
            elif not entry.peers:
                self._admit(transaction, entry, (anybody(key[1].host),))
            else:
                self._admit(transaction, entry, _offered(dialog))

    def follow_all(self, transaction: Transaction) -> None:
        """Do so for every call: the settings have changed."""
        for call in tuple(self._calls.dialogs):
            self.follow(transaction, call)

    def _answered(self, call: DialogKey) -> tuple[str, ...] | None:
        """The addresses of a call's answers: of all its forks that stand. None while it isn't answered."""
        hosts: list[str] = []
        for dialog in self._calls.by_call[call[:2]]:
            if dialog.confirmed and dialog.remote:
                hosts += (dialog.peer, *media_hosts(dialog.remote), *_offered(dialog))
                hosts += [flow.remote.host for flow in dialog.flows]
        return tuple(dict.fromkeys(hosts)) or None

    def _admit(self, transaction: Transaction, entry: Entry, hosts: tuple[str, ...]) -> None:
        for host in hosts:
            self._peers.admit(transaction, entry, Endpoint(host, 0))


def _offered(dialog: Dialog) -> tuple[str, ...]:
    """The addresses that the outside has offered, from which media come as soon as the phone answers."""
    offer = dialog.offer
    return () if offer is None or offer.inside or offer.answered else media_hosts(offer.ends)
