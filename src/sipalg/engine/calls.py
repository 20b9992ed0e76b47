"""Calls by Call-ID and tags: which media belongs to whom, and for how long it stays.

A dialog knows the inside's and the outside's current description, an offer that is not yet answered, and the flows
that came of them. State goes by dialog, never by flow, so one call's BYE can't close another's media. On a packet's
way this comes last: the message is rewritten already, and here the kernel's flows follow from it.
Sources: RFC 3261 §12–§15, RFC 3264, RFC 3262 §5 (PRACK), RFC 3311 (UPDATE), RFC 4028 §10 (session timer).
"""

from __future__ import annotations

from sipalg.codec.machine import new
from sipalg.codec.message import Identity
from sipalg.engine import forks, policy
from sipalg.engine.dialogs import (
    SESSION_METHODS,
    CallKey,
    Dialog,
    DialogKey,
    Offer,
    Step,
    answers,
    call_end,
    keys_wanted,
    media_hosts,
    more_sources,
    offer_of,
    permitted_hosts,
)
from sipalg.engine.mappings import Mappings
from sipalg.engine.media import Ends, flows_between, without_muxed_rtcp
from sipalg.engine.policy import EARLY_S, LINGER_S, MEDIA_ADDRESS_REFUSED
from sipalg.engine.settings import Settings
from sipalg.engine.transaction import Transaction
from sipalg.engine.verdict import CheckFlow, EndFlow, EstablishFlow, Flow


class Calls:
    """Dialogs by key and by call, how many an inside host has, and which dialogs hold a flow."""

    def __init__(self, settings: Settings, mappings: Mappings) -> None:
        self.settings = settings
        self._mappings = mappings
        self.dialogs: dict[DialogKey, Dialog] = {}
        self.by_call: dict[CallKey, tuple[Dialog, ...]] = {}
        self.by_host: dict[str, int] = {}
        self.holders: dict[Flow, tuple[Dialog, ...]] = {}
        #: Flows that the kernel wouldn't make: asked for once, then left alone until their dialogs end.
        self.refused_flows: dict[Flow, bool] = {}

    def follow(self, transaction: Transaction, identity: Identity, step: Step) -> DialogKey:
        """Take note of a message that passes: begin, change, confirm or end its dialog, whose key is returned."""
        host, call_id = step.sip_key[1].host, identity.call_id
        sender, recipient = identity.from_tag, identity.to_tag
        inside, outside = (sender, recipient) if step.asked_inside else (recipient, sender)
        key = (host, call_id, inside, outside)
        dialog = self.dialogs.get(key)
        if dialog is not None:
            transaction.keep(dialog)
        if step.status == 0:
            self._follow_request(transaction, step, key, dialog, recipient)
        elif step.status >= 300:
            self._follow_failure(transaction, step, key, dialog)
        else:
            self._follow_success(transaction, step, key, dialog)
        return key

    def look_after(self, transaction: Transaction, dialog: Dialog) -> None:
        """Handle a dialog's timer: end it when its time is over, else have its flows looked at."""
        if self.dialogs.get(dialog.key) is not dialog:
            return
        if dialog.expires_at <= transaction.now:
            if dialog.hanging_up and not dialog.confirmed:
                # Nobody answered the BYE to one that rang: others may still answer the INVITE.
                self._hang_up(transaction, dialog)
            else:
                self.end(transaction, dialog)
            return
        transaction.commands.extend(
            CheckFlow(flow, self._flow_timeout_s) for flow in dialog.flows if flow not in self.refused_flows
        )
        self._wake(transaction, dialog)

    def resume(self, transaction: Transaction, dialog: Dialog, wake_at: float) -> None:
        """Go on with an earlier process's dialog, whose flows are looked at when the clock passes `wake_at`."""
        for flow in dict.fromkeys((*dialog.flows, *dialog.retiring)):
            transaction.put(self.holders, flow, (*self.holders.get(flow, ()), dialog))
        self._enter(transaction, dialog)
        transaction.wake(wake_at, dialog)

    def end(self, transaction: Transaction, dialog: Dialog) -> None:
        """End a dialog: its flows go with it, its mappings 32 s later, if nobody else holds them."""
        key = dialog.key
        host, call = key[0], key[:2]
        transaction.remove(self.dialogs, key)
        beside = self.by_call[call]
        if len(beside) > 1:
            transaction.put(self.by_call, call, tuple([other for other in beside if other is not dialog]))
        else:
            transaction.remove(self.by_call, call)
        transaction.put(self.by_host, host, self.by_host[host] - 1)
        self._end_flows(transaction, dialog, dialog.flows)
        if dialog.retiring:
            self._end_flows(transaction, dialog, dialog.retiring)
        for held in dialog.keys:
            self._mappings.release(transaction, held)
        if dialog.confirmed:
            transaction.tell("call-ended", call=key[1].decode("utf-8", "replace"), private=dialog.keys[0][1])

    def media_seen(self, transaction: Transaction, flow: Flow) -> None:
        """Media still runs on a flow: its calls without session timer go on for another call-timeout."""
        for dialog in self.holders.get(flow, ()):
            if dialog.confirmed and not dialog.session_s:
                transaction.keep(dialog)
                self._extend(transaction, dialog)

    def forget_refused(self) -> None:
        """Forget the refused flows that no dialog holds: the message that wanted them has passed without."""
        for flow in [flow for flow in self.refused_flows if flow not in self.holders]:
            del self.refused_flows[flow]

    def _follow_request(
        self, transaction: Transaction, step: Step, key: DialogKey, dialog: Dialog | None, recipient: bytes
    ) -> None:
        """A request: INVITE begins a dialog, BYE begins its end, ACK confirms it, all may carry a description."""
        if dialog is None:
            if step.method == b"INVITE" and not recipient:
                other = forks.forked(self.by_call.get(key[:2], ()), step, key)
                if other is not None:
                    # It comes again, though somebody has answered: others have as long again to do so.
                    if not other.confirmed:
                        transaction.keep(other)
                        other.forks_until = transaction.now + EARLY_S
                elif not self._too_many(transaction, key, inside=step.from_inside):
                    until = transaction.now + EARLY_S
                    self._enter(transaction, forks.begun(key, step, until, self._mappings.entries))
            return
        if step.method == b"INVITE" and not dialog.confirmed and dialog.invite != step.number:
            dialog.invite = step.number
        if step.method == b"BYE":
            dialog.hanging_up = True
            self._end_at(transaction, dialog, transaction.now + LINGER_S)
            return
        self._negotiate(transaction, step, dialog)
        if step.method == b"ACK":
            self._settle(transaction, dialog)
            dialog.acknowledged = dialog.confirmed
        self._extend(transaction, dialog)

    def _follow_success(self, transaction: Transaction, step: Step, key: DialogKey, dialog: Dialog | None) -> None:
        """A provisional answer or a 2xx: it may fork the INVITE, answer an offer, or end the call as asked."""
        if step.method == b"BYE":
            if dialog is not None and step.status >= 200:
                self._hang_up(transaction, dialog)
            return
        if dialog is None:
            dialog = self._answered(transaction, step, key) if step.method == b"INVITE" else None
            if dialog is None:
                return
        self._negotiate(transaction, step, dialog)
        if step.status >= 200:
            if step.method != b"INVITE":
                self._settle(transaction, dialog)
            elif not dialog.confirmed:
                self._confirm(transaction, step, dialog)
            if step.method in SESSION_METHODS and step.session_s != dialog.session_s:
                # Only the 2xx sets the session timer, and one without it ends it (RFC 4028 §7.2).
                dialog.session_s = step.session_s
        self._extend(transaction, dialog)

    def _follow_failure(self, transaction: Transaction, step: Step, key: DialogKey, dialog: Dialog | None) -> None:
        """A refusal: of the INVITE, which ends the call; of a change, which leaves it; of a BYE, which mostly ends."""
        if step.method == b"BYE":
            if dialog is None:
                return
            if step.status in (401, 407):
                dialog.hanging_up = False
                self._end_at(transaction, dialog, call_end(dialog, transaction.now, self.settings.call_timeout_s))
            else:
                self._hang_up(transaction, dialog)
        elif dialog is not None and dialog.confirmed:
            offer = dialog.offer
            if offer is not None and (offer.asked_inside, offer.number) == (step.asked_inside, step.number):
                local, remote = dialog.settled
                if offer.answered:
                    self._set_flows(transaction, dialog, None, local, remote)
                else:
                    dialog.offer = None
                self._settle(transaction, dialog)
                self._hold_wanted(transaction, dialog)
        elif step.method == b"INVITE":
            for other in forks.asked_by(self.by_call.get(key[:2], ()), step, key):
                # An answer to an earlier INVITE that comes again, a 401 whose ACK was lost, ends nothing.
                if not other.confirmed and other.invite == step.number:
                    self.end(transaction, other)

    def _hang_up(self, transaction: Transaction, dialog: Dialog) -> None:
        """End a dialog as asked, and with it what waits for other answers: a 2xx that is repeated revives nothing."""
        self.end(transaction, dialog)
        beside = forks.alike(self.by_call.get(dialog.key[:2], ()), dialog)
        if dialog.confirmed:
            for other in beside:
                if other.confirmed:
                    transaction.keep(other)
                    other.forks_until = 0.0
                else:
                    self.end(transaction, other)
        elif again := forks.waiting_again(dialog, beside, transaction.now, self._mappings.entries):
            self._enter(transaction, again)

    def _negotiate(self, transaction: Transaction, step: Step, dialog: Dialog) -> None:
        """Take a message's description for an offer or an answer, and make the flows that follow (RFC 3264 §4)."""
        ends = step.ends
        if ends is None:
            return
        if not step.from_inside:
            self._hear(transaction, ends, dialog)
        offer = dialog.offer
        if offer is not None and step.asked_inside == offer.asked_inside and step.number < offer.number:
            # An answer to an earlier request of the same side that comes again says nothing about this one.
            return
        if offer is None or not answers(offer, step):
            asked = offer_of(step)
            if offer is None or asked[:-1] != offer[:-1]:
                dialog.offer = asked
                self._hold_wanted(transaction, dialog)
            return
        answered = new(Offer, (*offer[:-1], True))
        if not step.from_inside:
            offered = offer.ends
            local = without_muxed_rtcp(offered, ends)
            is_first = not dialog.local and local is offered
            self._set_flows(transaction, dialog, answered, local, ends)
            if is_first:
                # The mappings that the dialog needs are those that its offer needed.
                return
        else:
            self._set_flows(transaction, dialog, answered, without_muxed_rtcp(ends, offer.ends), offer.ends)
        self._hold_wanted(transaction, dialog)

    def _hear(self, transaction: Transaction, ends: Ends, dialog: Dialog) -> None:
        """Note what the outside names for media, as long as that counts (`sip-direct-media=no`)."""
        if not dialog.confirmed or not dialog.sources:
            dialog.sources = more_sources(dialog.sources, ends)
        elif not self.settings.direct_media:
            late = " ".join(host for host in media_hosts(ends) if host not in permitted_hosts(dialog))
            if late:
                call, private = dialog.key[1].decode("utf-8", "replace"), dialog.keys[0][1]
                transaction.tell(MEDIA_ADDRESS_REFUSED, call=call, private=private, remote=late)

    def _set_flows(
        self, transaction: Transaction, dialog: Dialog, offer: Offer | None, local: Ends, remote: Ends
    ) -> None:
        """Put an offer and two descriptions in force: new flows begin, those no longer named retire."""
        standing = before = dialog.flows
        flows = flows_between(self._mappings, local, remote, standing)
        if not self.settings.direct_media:
            permitted = permitted_hosts(dialog)
            flows = tuple(flow for flow in flows if flow.remote.host in permitted)
        if dialog.retiring:
            before += tuple([flow for flow in dialog.retiring if flow not in before])
        for flow in flows:
            if flow not in before:
                self._begin_flow(transaction, dialog, flow)
        dialog.retiring = tuple([flow for flow in before if flow not in flows]) if before else ()
        dialog.local, dialog.remote, dialog.offer, dialog.flows = local, remote, offer, flows
        if flows and not standing:
            self._wake(transaction, dialog)

    def _settle(self, transaction: Transaction, dialog: Dialog) -> None:
        """Make final what was negotiated: the flows that only waited for it end."""
        local, remote, before = dialog.local, dialog.remote, dialog.settled
        if not dialog.retiring and before == (local, remote):
            return
        self._end_flows(transaction, dialog, dialog.retiring)
        dialog.retiring = ()
        dialog.settled = (local, remote)
        if before[0]:
            self._hold_wanted(transaction, dialog)

    def _answered(self, transaction: Transaction, step: Step, key: DialogKey) -> Dialog | None:
        """The dialog that one of the answers to an INVITE makes: it begins with what the INVITE offered.

        The first answer's is the one that waited for it, a later one's is made. None if nobody asked.
        """
        host, call_id, inside, outside = key
        unanswered = (host, call_id, inside, b"") if step.asked_inside else (host, call_id, b"", outside)
        first = self.dialogs.get(unanswered)
        if first is not None:
            transaction.keep(first)
            transaction.put(self.dialogs, key, first)
            transaction.remove(self.dialogs, unanswered)
            forks.take_over(first, key, asked_inside=step.asked_inside)
            return first
        other = forks.forked(self.by_call.get((host, call_id), ()), step, key)
        if other is None or other.forks_until <= transaction.now or self._too_many(transaction, key):
            return None
        dialog = forks.beside_it(other, transaction.now + EARLY_S, key, self._mappings.entries)
        self._enter(transaction, dialog)
        return dialog

    def _enter(self, transaction: Transaction, dialog: Dialog) -> None:
        """Put a new dialog into the tables, have it hold its mappings, and set its timer."""
        for held in dialog.keys:
            self._mappings.hold(transaction, held)
        host, call = dialog.key[0], dialog.key[:2]
        transaction.put(self.dialogs, dialog.key, dialog)
        transaction.put(self.by_call, call, (*self.by_call.get(call, ()), dialog))
        transaction.put(self.by_host, host, self.by_host.get(host, 0) + 1)
        self._wake(transaction, dialog)

    def _hold_wanted(self, transaction: Transaction, dialog: Dialog) -> None:
        """Have a dialog hold the mappings that its descriptions need now, and let go of the others."""
        before, wanted = dialog.keys, keys_wanted(dialog, self._mappings.entries)
        if wanted == before:
            return
        for added in wanted:
            if added not in before:
                self._mappings.hold(transaction, added)
        for dropped in before:
            if dropped not in wanted:
                self._mappings.release(transaction, dropped)
        dialog.keys = wanted

    def _extend(self, transaction: Transaction, dialog: Dialog) -> None:
        """Set a dialog's end anew by a message that shows that it lives; not for less than a tenth."""
        if dialog.hanging_up:
            return
        expires_at = call_end(dialog, transaction.now, self.settings.call_timeout_s)
        if not 0 <= expires_at - dialog.expires_at < 0.1 * (expires_at - transaction.now):
            self._end_at(transaction, dialog, expires_at)

    def _end_at(self, transaction: Transaction, dialog: Dialog, at: float) -> None:
        """Set a dialog's end."""
        before, dialog.expires_at = dialog.expires_at, at
        if at < before:
            self._wake(transaction, dialog)

    def _confirm(self, transaction: Transaction, step: Step, dialog: Dialog) -> None:
        """Confirm a dialog; other forks may still answer, for as long as RFC 3261 §13.2.2.4 has it."""
        until = transaction.now + LINGER_S
        for other in forks.asked_by(self.by_call[dialog.key[:2]], step, dialog.key):
            if other is not dialog:
                transaction.keep(other)
                if not other.confirmed:
                    self._end_at(transaction, other, until)
            if other.forks_until > transaction.now:
                other.forks_until = until
        dialog.confirmed = True
        asked = dialog.asked
        if asked is not None and asked.inside and asked.ends is not dialog.local:
            self._hold_wanted(transaction, dialog)
        transaction.tell("call-established", call=dialog.key[1].decode("utf-8", "replace"), private=dialog.keys[0][1])

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

    def _begin_flow(self, transaction: Transaction, dialog: Dialog, flow: Flow) -> None:
        """Have a dialog hold a flow, which is made if it is the first."""
        held_by = self.holders.get(flow, ())
        transaction.put(self.holders, flow, (*held_by, dialog))
        if not held_by and flow not in self.refused_flows:
            transaction.commands.append(new(EstablishFlow, (flow, self._flow_timeout_s, False)))

    def _end_flows(self, transaction: Transaction, dialog: Dialog, flows: tuple[Flow, ...]) -> None:
        """Have a dialog let go of flows; those that it was the last holder of end."""
        for flow in flows:
            held_by = self.holders[flow]
            if len(held_by) > 1:
                transaction.put(self.holders, flow, tuple([other for other in held_by if other is not dialog]))
                continue
            transaction.remove(self.holders, flow)
            transaction.remove(self.refused_flows, flow)
            transaction.commands.append(new(EndFlow, (flow,)))

    @property
    def _flow_timeout_s(self) -> float:
        """How long a flow may be silent: more than two looks."""
        return 3.0 * self.settings.flow_check_s

    def _wake(self, transaction: Transaction, dialog: Dialog) -> None:
        """Set the dialog's timer: the next look at its flows, or its end if that is sooner or it has none."""
        at = dialog.expires_at
        if dialog.flows:
            at = min(at, transaction.now + self.settings.flow_check_s)
        transaction.wake(at, dialog)
