"""What an INVITE and its answers make: a dialog that waits, and one for each that answers, beginning with the offer.

An INVITE may be answered by several (forking): by each with a tag of its own. The first one's dialog is the row that
waited; what the INVITE asked stays with it, so that a later answer finds it there. Pure code without any table. On a
packet's way the calls ask here.
Source: RFC 3261 §12.1, §13.2.2.4, §16.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sipalg.codec.machine import new
from sipalg.engine.dialogs import Dialog, DialogKey, Offer, Step, more_sources, offer_of
from sipalg.engine.media import keys_of
from sipalg.engine.rows import MappingKey


def asked_by(beside: Sequence[Dialog], step: Step, key: DialogKey) -> list[Dialog]:
    """Of a call's dialogs those of the side that began a message's transaction, by that side's tag in `key`."""
    _, _, inside, outside = key
    if step.asked_inside:
        return [dialog for dialog in beside if dialog.key[2] == inside]
    return [dialog for dialog in beside if dialog.key[3] == outside]


def forked(beside: Sequence[Dialog], step: Step, key: DialogKey) -> Dialog | None:
    """Of a call's dialogs one that answered the INVITE of a message's transaction."""
    for dialog in asked_by(beside, step, key):
        if dialog.forks_until and dialog.invite == step.number:
            return dialog
    return None


def alike(beside: Sequence[Dialog], dialog: Dialog) -> list[Dialog]:
    """Of a call's dialogs those that share one of a dialog's tags."""
    _, _, inside, outside = dialog.key
    return [other for other in beside if other.key[2] == inside or other.key[3] == outside]


def begun(key: DialogKey, step: Step, expires_at: float, there: Mapping[MappingKey, Any]) -> Dialog:
    """A dialog that begins with an INVITE, and holds what its offer needs, as far as it is `there`."""
    offer = None if step.ends is None else offer_of(step)
    return _with_offer(key, offer, expires_at, step.number, step.sip_key, step.peer, there)


def take_over(dialog: Dialog, key: DialogKey, *, asked_inside: bool) -> None:
    """Make the dialog that waits for an INVITE's answers the one of the first answer, whose key is given."""
    dialog.key = key
    dialog.asked, dialog.asked_inside, dialog.forks_until = dialog.offer, asked_inside, dialog.expires_at


def beside_it(dialog: Dialog, expires_at: float, key: DialogKey, there: Mapping[MappingKey, Any]) -> Dialog:
    """A dialog for another answer to the INVITE that a dialog is of: it begins with what that asked."""
    again = _asked_again(dialog, expires_at, key, there)
    again.asked, again.asked_inside, again.forks_until = dialog.asked, dialog.asked_inside, dialog.forks_until
    return again


def waiting_again(
    dialog: Dialog, beside: Sequence[Dialog], now: float, there: Mapping[MappingKey, Any]
) -> Dialog | None:
    """A dialog that waits for other answers to an INVITE of which the only one so far is no more (RFC 3261 §15).

    None where nobody else may answer it any more, others did (`beside`, as `alike` has them), or a later INVITE waits.
    """
    host, call_id, inside, outside = dialog.key
    key = (host, call_id, inside, b"") if dialog.asked_inside else (host, call_id, b"", outside)
    if dialog.forks_until <= now or any(other.invite == dialog.invite or other.key == key for other in beside):
        return None
    return _asked_again(dialog, dialog.forks_until, key, there)


def _asked_again(dialog: Dialog, expires_at: float, key: DialogKey, there: Mapping[MappingKey, Any]) -> Dialog:
    offer = dialog.asked
    if offer is not None:
        offer = new(Offer, (*offer[:-1], False))
    return _with_offer(key, offer, expires_at, dialog.invite, dialog.keys[0], dialog.peer, there)


def _with_offer(
    key: DialogKey,
    offer: Offer | None,
    expires_at: float,
    number: int,
    sip_key: MappingKey,
    peer: str,
    there: Mapping[MappingKey, Any],
) -> Dialog:
    keys = [sip_key]
    if offer is not None and offer.inside:
        for held in keys_of(offer.ends):
            if held not in keys and held in there:
                keys.append(held)
    dialog = Dialog(key, tuple(keys), expires_at, number, peer)
    dialog.offer = offer
    if offer is not None and not offer.inside:
        dialog.sources = more_sources((), offer.ends)
    return dialog
