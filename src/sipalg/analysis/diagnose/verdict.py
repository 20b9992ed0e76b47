"""Is an ALG needed? For each phone what it knows of its NAT, what its servers do about it, and what follows.

The lecture's question, answered from the facts: a phone that names private addresses needs an ALG, unless its server
answers to the source whatever the phone says. From inside, an ALG that is at work already can't be told from such a
server by what arrives; only `received` tells (RFC 3261 §18.2.1), so what isn't proven isn't taken for granted. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.analysis.diagnose.facts import INSIDE, LOCAL, OUTSIDE, Call, Facts, Phone, Proof
from sipalg.analysis.diagnose.findings import BROKEN, NOTE, WARNING, Finding, Wanted, finding
from sipalg.analysis.diagnose.media_checks import BOTH, ONE_WAY, outcome
from sipalg.analysis.diagnose.signalling import CALL_ID_CHANGED, VIA_CHANGED

#: What a phone knows of its NAT.
AWARE: Final = "NAT aware"
UNAWARE: Final = "not NAT aware"
HALF: Final = "half NAT aware"
NO_NAT: Final = "no NAT"
UNTOLD: Final = "can't be told"

#: What follows for the ALG, what counts most first.
HARMFUL: Final = "harmful"
NEEDED: Final = "needed"
NOT_NEEDED: Final = "not needed"
_ORDER: Final = (HARMFUL, NEEDED, NOT_NEEDED, UNTOLD)

_SPOILT: Final = {
    VIA_CHANGED: "answers don't bring back the Via that the phone wrote",
    CALL_ID_CHANGED: "answers have another Call-ID than the request",
}


class PhoneVerdict(NamedTuple):
    """One phone: what it knows, how its server answers ("source", "named address" or "can't be told"), the ALG.

    `why` holds a sentence for each with its packets.
    """

    phone: str
    agent: str
    view: str
    aware: str
    server_answers: str
    alg: str
    why: tuple[Finding, ...]


def judge(facts: Facts, wanted: Wanted) -> list[PhoneVerdict]:
    """Return a verdict on each phone that said anything."""
    calls: dict[str, list[Call]] = {}
    for call in facts.calls:
        for host in {call.caller.host, call.called.host}:
            calls.setdefault(host, []).append(call)
    phones = [phone for phone in facts.phones.values() if phone.sent]
    return [_judge(facts, phone, calls.get(_host_of(phone), []), wanted) for phone in phones]


def overall(verdicts: list[PhoneVerdict]) -> str:
    """Return what follows for the ALG by all phones together."""
    found = {verdict.alg for verdict in verdicts}
    return next((alg for alg in _ORDER if alg in found), UNTOLD)


def awareness(phone: Phone) -> str:
    """Return what a phone knows of its NAT, by the addresses that it names in Contact and SDP.

    A phone that named private ones first and only public ones since has learned it.
    """
    if phone.view == LOCAL:
        return NO_NAT
    named = ((phone.contact_private, phone.contact_public), (phone.media_private, phone.media_public))
    private = [bool(hidden) and not _learned(hidden, shown) for hidden, shown in named]
    if phone.ice:
        # Candidates from a STUN server let the far end choose another address than c= (RFC 8839 §4.2.1).
        private[1] = False
    public = [bool(shown) and not hidden for (_, shown), hidden in zip(named, private, strict=True)]
    if not any(private) and not any(public):
        return UNTOLD
    if not any(private):
        return AWARE
    return HALF if any(public) else UNAWARE


def _learned(private: Proof, public: Proof) -> bool:
    return bool(public) and public.packets[0] > private.last


def is_untouched(phone: Phone) -> bool:
    """Whether it is proven that nothing changed a phone's messages between it and where its server sees them."""
    return phone.view == OUTSIDE or (bool(phone.seen_elsewhere) and not phone.put_back)


def server_answers(phone: Phone) -> tuple[str, tuple[Proof, ...]]:
    """Return where servers send what is for a phone that names a private address, and the proof."""
    if phone.missed:
        return "named address", (phone.missed,)
    if phone.reached and is_untouched(phone):
        return "source", (phone.reached, phone.seen_elsewhere)
    return UNTOLD, ()


def _host_of(phone: Phone) -> str:
    return phone.name.partition(":")[0]


def _judge(facts: Facts, phone: Phone, calls: list[Call], wanted: Wanted) -> PhoneVerdict:
    aware = awareness(phone)
    answers, proofs = server_answers(phone)
    heard, unheard = _heard(facts, phone, calls, wanted)
    why = [_says(phone, aware)]
    if aware in (UNAWARE, HALF):
        why.append(_knows(phone))
        if answers == "source":
            text = "its server answers to the source (nat=yes), whatever the phone names"
            why.append(finding(NOTE, "server-nat", text, "", *proofs))
        elif answers != UNTOLD:
            text = "its server sends to the private address that the phone names (nat=no)"
            why.append(finding(NOTE, "server-nat", text, "", *proofs))
    half_done = phone.view == OUTSIDE and aware in (UNAWARE, HALF) and bool(phone.via_public) and not phone.via_private
    alg = _alg(phone, aware, answers, bool(unheard), half_done)
    why.append(_follows(phone, alg, aware, answers, heard, unheard, half_done))
    return PhoneVerdict(phone.name, phone.agent, phone.view, aware, answers, alg, tuple(why))


def _alg(phone: Phone, aware: str, answers: str, is_unheard: bool, half_done: bool) -> str:
    if phone.spoilt or half_done:
        return HARMFUL
    if aware in (AWARE, NO_NAT):
        return NOT_NEEDED
    if aware == UNTOLD:
        return UNTOLD
    return NOT_NEEDED if answers == "source" and not is_unheard else NEEDED


def _says(phone: Phone, aware: str) -> Finding:
    """What the phone names, and where."""
    if aware in (UNAWARE, HALF):
        places = (("Via", phone.via_private), ("Contact", phone.contact_private), ("SDP", phone.media_private))
        found = [(name, proof) for name, proof in places if proof]
        text = f"names the private address {phone.named} in {_and([name for name, _ in found])}"
        if aware == HALF:
            rest = (("Contact", phone.contact_public), ("SDP", phone.media_public))
            text += f", and public ones in {_and([name for name, proof in rest if proof])}"
        return finding(NOTE, "phone-names", text, "", *(proof for _, proof in found))
    if aware == AWARE:
        shown = [name for name, proof in (("Contact", phone.contact_public), ("SDP", phone.media_public)) if proof]
        text = f"names public addresses in {_and(shown)}"
        return finding(NOTE, "phone-names", text, "", phone.contact_public, phone.media_public)
    if aware == NO_NAT:
        text = "and its server are on the same side of the NAT; where one is between them, say so with --inside"
        return finding(NOTE, "phone-names", text, "", phone.sent)
    return finding(NOTE, "phone-names", "names no address in a Contact or an SDP here", "", phone.sent)


def _knows(phone: Phone) -> Finding:
    """What the phone does about its NAT, or doesn't."""
    means = (("rport", phone.rport), ("STUN", phone.stun), ("ICE candidates from outside", phone.ice))
    does = [(name, proof) for name, proof in means if proof]
    doesnt = [name for name, proof in means if not proof]
    text = f"uses {_and([name for name, _ in does])}" if does else ""
    text += (", but " if does and doesnt else "") + (f"no {_or(doesnt)}" if doesnt else "")
    return finding(NOTE, "phone-means", text, "", *(proof for _, proof in does))


def _follows(
    phone: Phone, alg: str, aware: str, answers: str, heard: Proof, unheard: Proof, half_done: bool
) -> Finding:
    """The sentence with the ALG in it."""
    if alg == HARMFUL:
        texts = [_SPOILT[what] for what in phone.spoilt]
        if half_done:
            texts.append("its Via leaves with a public address, but its Contact or SDP with a private one")
        text = f"ALG harmful: what changes its messages now does it wrongly: {'; '.join(texts)}"
        proofs = (*phone.spoilt.values(), *((phone.contact_private, phone.media_private) if half_done else ()))
        return finding(BROKEN, "alg-harmful", text, "switch that ALG off, and put a right one in its place", *proofs)
    if alg == NEEDED:
        return _needed(phone, answers, heard, unheard)
    if alg == UNTOLD:
        return finding(NOTE, "alg-untold", "whether it needs an ALG can't be told: it names nothing", "", phone.sent)
    if aware == AWARE and phone.view == OUTSIDE:
        text = "ALG not needed: what comes out of the NAT is right already, by the phone or by an ALG at work"
    elif aware == AWARE:
        text = "ALG not needed: a good one leaves its messages alone, a poor one would harm"
    elif aware == NO_NAT:
        text = "ALG not needed"
    else:
        text = "ALG not needed as long as its server does that"
    return finding(NOTE, "alg-not-needed", text, "", Proof())


def _needed(phone: Phone, answers: str, heard: Proof, unheard: Proof) -> Finding:
    if unheard:
        text = "ALG needed: no audio came to it in these calls"
        return finding(BROKEN, "alg-needed", text, "enable the ALG, and capture again", unheard)
    if phone.missed or answers == "named address":
        text = "ALG needed: nothing that its server sends by itself arrives"
        return finding(BROKEN, "alg-needed", text, "enable the ALG, and capture again", phone.missed)
    if phone.put_back:
        text = "ALG needed, and one is at work: it put the private address back into `received`"
        return finding(NOTE, "alg-needed", text, "", phone.put_back)
    text = "ALG needed: whoever answers to these addresses never reaches it"
    advice = "enable the ALG"
    if phone.view == INSIDE and (phone.reached or heard):
        advice = "enable the ALG, or keep it: what reaches the phone here does by an ALG at work, or by nat=yes"
    return finding(WARNING, "alg-needed", text, advice, phone.contact_private or phone.media_private)


def _heard(facts: Facts, phone: Phone, calls: list[Call], wanted: Wanted) -> tuple[Proof, Proof]:
    """The calls in which a phone that names a private address for its media heard something, and nothing."""
    heard, unheard = Proof(), Proof()
    for call in calls:
        side = call.caller if call.caller.host == _host_of(phone) else call.called
        if not any(wanted.networks.is_private(end.host) for end in side.media):
            continue
        came = outcome(facts, call)
        if came == BOTH:
            heard.add(call.started)
        elif came == ONE_WAY and not side.got:
            unheard.add(call.started)
    return heard, unheard


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "nothing"


def _or(names: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
