"""Calls by Call-ID and tags: which media belongs to whom, and for how long it stays.

A dialog knows the inside's and the outside's current description, an offer that is not yet answered, and the flows
that came of them. State goes by dialog, never by flow, so one call's BYE can't close another's media. On a packet's
way this comes last: the message is rewritten already, and here the kernel's flows follow from it.
Sources: RFC 3261 §12–§15, RFC 3264, RFC 3262 §5 (PRACK), RFC 3311 (UPDATE), RFC 4028 §10 (session timer).
"""

from __future__ import annotations

from typing import Final

from sipalg.codec.message import Identity
from sipalg.engine import policy
from sipalg.engine.dialogs import (
    SESSION_METHODS,
    CallKey,
    Dialog,
    DialogKey,
    Offer,
    Step,
    answers,
    keys_wanted,
    media_hosts,
    more_sources,
    offer_of,
    permitted_hosts,
    with_acknowledgement,
    with_confirmation,
    with_end,
    with_keys,
    with_media,
    with_offer,
    with_settled,
    with_sources,
)
from sipalg.engine.mappings import Mappings
from sipalg.engine.media import Ends, flows_between, keys_of, without_muxed_rtcp
from sipalg.engine.policy import EARLY_S, LINGER_S, MEDIA_ADDRESS_REFUSED
from sipalg.engine.rows import MappingKey
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import CheckFlow, EndFlow, EstablishFlow, Flow

#: A NamedTuple's own constructor costs twice as much, and these are made for every call.
new: Final = tuple.__new__


class Calls:
    """Dialogs by key, the dialogs of a call, the number of an inside host's, and which dialogs hold a flow."""

    def __init__(self, settings: Settings, mappings: Mappings) -> None:
        self.settings = settings
        self._mappings = mappings
        self.dialogs: dict[DialogKey, Dialog] = {}
        self.by_call: dict[CallKey, tuple[DialogKey, ...]] = {}
        self.by_host: dict[str, int] = {}
        self.holders: dict[Flow, tuple[DialogKey, ...]] = {}
        #: Flows that the kernel wouldn't make: asked for once, then left alone until their dialogs end.
        self.refused_flows: dict[Flow, bool] = {}

    def follow(self, transaction: Transaction, identity: Identity, step: Step) -> DialogKey:
        """Take note of a message that passes: begin, change, confirm or end its dialog, whose key is returned."""
        call = (step.sip_key[1].host, identity.call_id)
        sender, recipient = identity.from_tag, identity.to_tag
        inside, outside = (sender, recipient) if step.asked_inside else (recipient, sender)
        key = (*call, inside, outside)
        if step.status == 0:
            self._follow_request(transaction, step, key, recipient)
        elif step.status >= 300:
            self._follow_failure(transaction, step, key, call, sender)
        else:
            self._follow_success(transaction, step, key)
        return key

    def look_after(self, transaction: Transaction, key: DialogKey) -> None:
        """Handle a dialog's timer: end it when its time is over, else have its flows looked at."""
        dialog = self.dialogs.get(key)
        if dialog is None:
            return
        if dialog.expires_at <= transaction.now:
            self.end(transaction, key)
            return
        transaction.commands.extend(
            CheckFlow(flow, self._flow_timeout_s) for flow in dialog.flows if flow not in self.refused_flows
        )
        self._wake(transaction, key, dialog)

    def resume(self, transaction: Transaction, key: DialogKey, dialog: Dialog, wake_at: float) -> None:
        """Go on with an earlier process's dialog, whose flows are looked at when the clock passes `wake_at`."""
        for held in dialog.keys:
            self._mappings.hold(transaction, held)
        for flow in dict.fromkeys((*dialog.flows, *dialog.retiring)):
            transaction.put(self.holders, flow, (*self.holders.get(flow, ()), key))
        self._enter(transaction, key, dialog)
        transaction.wake(wake_at, ("dialog", key))

    def end(self, transaction: Transaction, key: DialogKey) -> None:
        """End a dialog: its flows go with it, its mappings 32 s later, if nobody else holds them."""
        dialog = self.dialogs[key]
        transaction.remove(self.dialogs, key)
        call = key[:2]
        left = [other for other in self.by_call[call] if other != key]
        if left:
            transaction.put(self.by_call, call, tuple(left))
        else:
            transaction.remove(self.by_call, call)
        transaction.put(self.by_host, key[0], self.by_host[key[0]] - 1)
        self._end_flows(transaction, key, (*dialog.flows, *dialog.retiring))
        for held in dialog.keys:
            self._mappings.release(transaction, held)
        if dialog.confirmed:
            transaction.tell("call-ended", call=key[1].decode("utf-8", "replace"), private=dialog.keys[0][1])

    def media_seen(self, transaction: Transaction, flow: Flow) -> None:
        """Media still runs on a flow: its calls without session timer go on for another call-timeout."""
        for key in self.holders.get(flow, ()):
            dialog = self.dialogs[key]
            if dialog.confirmed and not dialog.session_s:
                self._keep(transaction, key, self._extended(transaction, dialog), dialog)

    def forget_refused(self) -> None:
        """Forget the refused flows that no dialog holds: the message that wanted them has passed without."""
        for flow in [flow for flow in self.refused_flows if flow not in self.holders]:
            del self.refused_flows[flow]

    def _follow_request(self, transaction: Transaction, step: Step, key: DialogKey, recipient: bytes) -> None:
        """A request: INVITE begins a dialog, BYE begins its end, ACK confirms it, all may carry a description."""
        dialog = self.dialogs.get(key)
        if dialog is None:
            if step.method != b"INVITE" or recipient or self._too_many(transaction, key, inside=step.from_inside):
                return
            self._begin(transaction, key, step)
            return
        if step.method == b"INVITE" and not dialog.confirmed and dialog.invite != step.number:
            dialog = dialog._replace(invite=step.number)
            transaction.put(self.dialogs, key, dialog)
        if step.method == b"BYE":
            self._keep(transaction, key, with_end(dialog, transaction.now + LINGER_S, hanging_up=True), dialog)
            return
        changed = self._negotiate(transaction, key, step, dialog)
        if step.method == b"ACK":
            changed = self._settle(transaction, key, changed)
            if changed.confirmed and not changed.acknowledged:
                changed = with_acknowledgement(changed)
        self._keep(transaction, key, self._extended(transaction, changed), dialog)

    def _follow_success(self, transaction: Transaction, step: Step, key: DialogKey) -> None:
        """A provisional answer or a 2xx: it may fork the INVITE, answer an offer, or end the call as asked."""
        dialog = self.dialogs.get(key)
        if step.method == b"BYE":
            if dialog is not None and step.status >= 200:
                self._hang_up(transaction, key)
            return
        if dialog is None:
            first = self.dialogs.get((*key[:3], b"") if step.asked_inside else (*key[:2], b"", key[3]))
            if first is None or step.method != b"INVITE" or self._too_many(transaction, key):
                return
            dialog = self._fork(transaction, key, first)
        changed = self._negotiate(transaction, key, step, dialog)
        if step.status >= 200:
            if step.method != b"INVITE":
                changed = self._settle(transaction, key, changed)
            elif not changed.confirmed:
                changed = self._confirm(transaction, key, step, changed)
            if step.method in SESSION_METHODS and step.session_s != changed.session_s:
                # Only the 2xx sets the session timer, and one without it ends it (RFC 4028 §7.2).
                changed = changed._replace(session_s=step.session_s)
        self._keep(transaction, key, self._extended(transaction, changed), dialog)

    def _follow_failure(
        self, transaction: Transaction, step: Step, key: DialogKey, call: CallKey, caller: bytes
    ) -> None:
        """A refusal: of the INVITE, which ends the call; of a change, which leaves it; of a BYE, which mostly ends."""
        dialog = self.dialogs.get(key)
        if step.method == b"BYE":
            if dialog is None:
                return
            if step.status in (401, 407):
                self._keep(transaction, key, with_end(dialog, self._call_end(transaction, dialog)), dialog)
            else:
                self._hang_up(transaction, key)
        elif dialog is not None and dialog.confirmed:
            offer = dialog.offer
            if offer is not None and (offer.asked_inside, offer.number) == (step.asked_inside, step.number):
                local, remote = dialog.settled
                if offer.answered:
                    back = self._with_flows(transaction, key, dialog, None, local, remote)
                else:
                    back = with_offer(dialog, None)
                self._keep(transaction, key, self._settle(transaction, key, back), dialog)
        elif step.method == b"INVITE":
            side = 2 if step.asked_inside else 3
            for other in self.by_call.get(call, ()):
                dialog = self.dialogs[other]
                # An answer to an earlier INVITE that comes again, a 401 whose ACK was lost, ends nothing.
                if other[side] == caller and not dialog.confirmed and dialog.invite == step.number:
                    self.end(transaction, other)

    def _hang_up(self, transaction: Transaction, key: DialogKey) -> None:
        """End a dialog as asked, and with it what waits for other answers: a 2xx that is repeated revives nothing."""
        answered = self.dialogs[key].confirmed
        self.end(transaction, key)
        for other in self.by_call.get(key[:2], ()) if answered else ():
            if (other[2] == key[2] or other[3] == key[3]) and not self.dialogs[other].confirmed:
                self.end(transaction, other)

    def _negotiate(self, transaction: Transaction, key: DialogKey, step: Step, dialog: Dialog) -> Dialog:
        """Take a message's description for an offer or an answer, and make the flows that follow (RFC 3264 §4)."""
        if step.ends is None:
            return dialog
        if not step.from_inside:
            dialog = self._heard(transaction, key, step.ends, dialog)
        offer = dialog.offer
        if offer is not None and step.asked_inside == offer.asked_inside and step.number < offer.number:
            # An answer to an earlier request of the same side that comes again says nothing about this one.
            return dialog
        if offer is None or not answers(offer, step):
            asked = offer_of(step)
            if offer is not None and asked[:-1] == offer[:-1]:
                return dialog
            return with_offer(dialog, asked)
        local, remote = (step.ends, offer.ends) if step.from_inside else (offer.ends, step.ends)
        answered = new(Offer, (*offer[:-1], True))
        return self._with_flows(transaction, key, dialog, answered, without_muxed_rtcp(local, remote), remote)

    def _heard(self, transaction: Transaction, key: DialogKey, ends: Ends, dialog: Dialog) -> Dialog:
        """The dialog with what the outside names for media noted, as long as that counts (`sip-direct-media=no`)."""
        if not dialog.confirmed or not dialog.sources:
            sources = more_sources(dialog.sources, ends)
            return dialog if sources == dialog.sources else with_sources(dialog, sources)
        if not self.settings.direct_media:
            late = " ".join(host for host in media_hosts(ends) if host not in permitted_hosts(dialog))
            if late:
                call, private = key[1].decode("utf-8", "replace"), dialog.keys[0][1]
                transaction.tell(MEDIA_ADDRESS_REFUSED, call=call, private=private, remote=late)
        return dialog

    def _with_flows(
        self,
        transaction: Transaction,
        key: DialogKey,
        dialog: Dialog,
        offer: Offer | None,
        local: Ends,
        remote: Ends,
    ) -> Dialog:
        """The dialog with an offer and two descriptions in force: new flows begin, those no longer named retire."""
        flows = flows_between(self._mappings, local, remote, dialog.flows)
        if not self.settings.direct_media:
            permitted = permitted_hosts(dialog)
            flows = tuple(flow for flow in flows if flow.remote.host in permitted)
        before = dialog.flows
        before += tuple([flow for flow in dialog.retiring if flow not in before])
        for flow in flows:
            if flow not in before:
                self._begin_flow(transaction, key, flow)
        retiring = tuple([flow for flow in before if flow not in flows]) if before else ()
        return with_media(dialog, local, remote, offer, flows, retiring)

    def _settle(self, transaction: Transaction, key: DialogKey, dialog: Dialog) -> Dialog:
        """The dialog with what was negotiated made final: the flows that only waited for it end."""
        if not dialog.retiring and dialog.settled == (dialog.local, dialog.remote):
            return dialog
        self._end_flows(transaction, key, dialog.retiring)
        return with_settled(dialog)

    def _begin(self, transaction: Transaction, key: DialogKey, step: Step) -> None:
        """A dialog for an INVITE that nobody has answered yet, with what it offers."""
        keys: tuple[MappingKey, ...] = (step.sip_key,)
        offer = None
        sources: tuple[str, ...] = ()
        if step.ends is not None:
            offer = offer_of(step)
            if step.from_inside:
                keys = tuple(dict.fromkeys((step.sip_key, *keys_of(step.ends))))
            else:
                sources = more_sources((), step.ends)
        for held in keys:
            self._mappings.hold(transaction, held)
        expires_at = transaction.now + EARLY_S
        state = (False, expires_at, 0.0, step.number, False, False, step.peer, sources)
        self._enter(transaction, key, new(Dialog, ((), (), ((), ()), offer, (), (), keys, *state)))

    def _fork(self, transaction: Transaction, key: DialogKey, first: Dialog) -> Dialog:
        """A dialog that one of the answers to an INVITE makes: it begins with what the INVITE offered."""
        dialog = with_end(first, transaction.now + EARLY_S, hanging_up=first.hanging_up)
        for held in dialog.keys:
            self._mappings.hold(transaction, held)
        for flow in (*dialog.flows, *dialog.retiring):
            transaction.put(self.holders, flow, (*self.holders[flow], key))
        self._enter(transaction, key, dialog)
        return dialog

    def _enter(self, transaction: Transaction, key: DialogKey, dialog: Dialog) -> None:
        """Put a new dialog into the tables and set its timer."""
        transaction.put(self.dialogs, key, dialog)
        transaction.put(self.by_call, key[:2], (*self.by_call.get(key[:2], ()), key))
        transaction.put(self.by_host, key[0], self.by_host.get(key[0], 0) + 1)
        self._wake(transaction, key, dialog)

    def _keep(self, transaction: Transaction, key: DialogKey, dialog: Dialog, before: Dialog) -> None:
        """Store a dialog if it has changed, with its timer."""
        if dialog is before:
            return
        if (
            dialog.offer is not before.offer
            or dialog.local is not before.local
            or dialog.settled is not before.settled
            or dialog.flows is not before.flows
        ):
            dialog = self._with_keys(transaction, dialog, before)
        transaction.put(self.dialogs, key, dialog)
        if dialog.expires_at < before.expires_at or (dialog.flows and not before.flows):
            self._wake(transaction, key, dialog)

    def _with_keys(self, transaction: Transaction, dialog: Dialog, before: Dialog) -> Dialog:
        """The dialog with the mappings that its descriptions need now held, and the others let go."""
        wanted = keys_wanted(dialog, self._mappings.entries)
        if wanted == before.keys:
            return dialog
        for added in wanted:
            if added not in before.keys:
                self._mappings.hold(transaction, added)
        for dropped in before.keys:
            if dropped not in wanted:
                self._mappings.release(transaction, dropped)
        return with_keys(dialog, wanted)

    def _extended(self, transaction: Transaction, dialog: Dialog) -> Dialog:
        """The dialog with its end set anew by a message that shows that it lives; not for less than a tenth."""
        if dialog.hanging_up:
            return dialog
        expires_at = self._call_end(transaction, dialog)
        if 0 <= expires_at - dialog.expires_at < 0.1 * (expires_at - transaction.now):
            return dialog
        return with_end(dialog, expires_at)

    def _call_end(self, transaction: Transaction, dialog: Dialog) -> float:
        """When a dialog ends if nothing more is heard: its session timer's end and a little, else call-timeout."""
        if not dialog.confirmed:
            return transaction.now + EARLY_S
        return transaction.now + (dialog.session_s + LINGER_S if dialog.session_s else self.settings.call_timeout_s)

    def _confirm(self, transaction: Transaction, key: DialogKey, step: Step, dialog: Dialog) -> Dialog:
        """The dialog confirmed by a 2xx; other forks may still answer, for as long as RFC 3261 §13.2.2.4 has it."""
        side = 2 if step.asked_inside else 3
        for other in self.by_call[key[:2]]:
            fork = self.dialogs[other]
            if other != key and other[side] == key[side] and not fork.confirmed:
                end = with_end(fork, transaction.now + LINGER_S, hanging_up=fork.hanging_up)
                self._keep(transaction, other, end, fork)
        transaction.tell("call-established", call=key[1].decode("utf-8", "replace"), private=dialog.keys[0][1])
        return with_confirmation(dialog)

    def _too_many(self, transaction: Transaction, key: DialogKey, *, inside: bool = True) -> bool:
        """Whether a limit stands against one more dialog: then the message passes translated, without media flows.

        What the outside begins has half of the room, so that no flood from there keeps a phone from calling.
        """
        share = 1 if inside else 2
        of_host, of_all = self.by_host.get(key[0], 0) * share, len(self.dialogs) * share
        within = of_host < policy.MAX_DIALOGS_PER_HOST and of_all < policy.MAX_DIALOGS
        if within and len(self.by_call.get(key[:2], ())) < policy.MAX_DIALOGS_PER_CALL:
            return False
        transaction.tell("too-many-calls", private=key[0])
        return True

    def _begin_flow(self, transaction: Transaction, key: DialogKey, flow: Flow) -> None:
        """Have a dialog hold a flow, which is made if it is the first."""
        held_by = self.holders.get(flow, ())
        transaction.put(self.holders, flow, (*held_by, key))
        if not held_by and flow not in self.refused_flows:
            transaction.commands.append(new(EstablishFlow, (flow, self._flow_timeout_s, False)))

    def _end_flows(self, transaction: Transaction, key: DialogKey, flows: tuple[Flow, ...]) -> None:
        """Have a dialog let go of flows; those that it was the last holder of end."""
        for flow in flows:
            left = [other for other in self.holders[flow] if other != key]
            if left:
                transaction.put(self.holders, flow, tuple(left))
                continue
            transaction.remove(self.holders, flow)
            transaction.remove(self.refused_flows, flow)
            transaction.commands.append(new(EndFlow, (flow,)))

    @property
    def _flow_timeout_s(self) -> float:
        """How long a flow may be silent: more than two looks."""
        return 3.0 * self.settings.flow_check_s

    def _wake(self, transaction: Transaction, key: DialogKey, dialog: Dialog) -> None:
        """Set the dialog's timer: the next look at its flows, or its end if that is sooner or it has none."""
        at = dialog.expires_at
        if dialog.flows:
            at = min(at, transaction.now + self.settings.flow_check_s)
        transaction.wake(at, ("dialog", key))
