"""Is an ALG needed? For each phone what it knows of its NAT, what its servers do about it, and what follows.

The lecture's question, answered from the facts: a phone that names private addresses needs an ALG, unless its server
answers to the source whatever the phone says. From inside, an ALG that is at work already can't be told from such a
server by what arrives; only `received` tells (RFC 3261 §18.2.1), so what isn't proven isn't taken for granted. From
outside, an ALG can't be told from a phone that knows its NAT; only a capture of both sides tells that. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.analysis.diagnose.awareness import (
    AWARE,
    HALF,
    NO_NAT,
    UNAWARE,
    UNTOLD,
    Leaving,
    awareness,
    does,
    leaving,
    listed,
    says,
    server_answers,
    wrong_port,
)
from sipalg.analysis.diagnose.facts import INSIDE, OUTSIDE, Call, Facts, Phone, Proof
from sipalg.analysis.diagnose.findings import BROKEN, NOTE, WARNING, Finding, Wanted, finding
from sipalg.analysis.diagnose.media_checks import BOTH, ONE_WAY, outcome
from sipalg.analysis.diagnose.passing import side_of, stuck_calls
from sipalg.analysis.diagnose.signalling import CALL_ID_CHANGED, VIA_CHANGED
from sipalg.codec.datagram import TCP

#: What follows for the ALG, what counts most first: what can't be told of one phone isn't settled by another.
HARMFUL: Final = "harmful"
NEEDED: Final = "needed"
NOT_NEEDED: Final = "not needed"
_ORDER: Final[tuple[str, ...]] = (HARMFUL, NEEDED, UNTOLD, NOT_NEEDED)

_SPOILT: Final = {
    VIA_CHANGED: "answers don't bring back the Via that the phone wrote",
    CALL_ID_CHANGED: "answers have another Call-ID than the request",
}


#: What is done wrongly, and the packets.
_Harm = tuple[str, tuple[Proof, ...]]


class PhoneVerdict(NamedTuple):
    """One phone: what it knows, how its server answers ("source", "named address" or "can't be told"), the ALG.

    `seen_as` are its public ends, where the capture has both sides. `at_work`: it needs an ALG, and one is seen doing
    what it needs. `why` holds a sentence for each with its packets.
    """

    phone: str
    seen_as: tuple[str, ...]
    agent: str
    view: str
    aware: str
    server_answers: str
    alg: str
    at_work: bool
    why: tuple[Finding, ...]


class _Case(NamedTuple):
    """A phone with all that its verdict follows from; `harm` is what is done wrongly on its way, with the packets."""

    phone: Phone
    aware: str
    answers: str
    heard: Proof
    unheard: Proof
    left: Leaving | None
    harm: tuple[_Harm, ...]


def judge(facts: Facts, wanted: Wanted) -> list[PhoneVerdict]:
    """Return a verdict on each phone that said anything; one that is seen on both sides is one phone."""
    calls: dict[str, list[Call]] = {}
    for call in facts.calls:
        for host in {call.caller.host, call.called.host}:
            calls.setdefault(host, []).append(call)
    phones = [phone for phone in facts.phones.values() if phone.sent and not phone.twin]
    stuck = _stuck(facts)
    return [_judge(facts, phone, calls, stuck, wanted) for phone in phones if not _is_caller(facts, phone)]


def _is_caller(facts: Facts, phone: Phone) -> bool:
    """Whether it is outside, and speaks only to phones or servers inside: this NAT isn't its own."""
    ends = (facts.phones.get(str(server)) for server in phone.servers)
    return phone.view == OUTSIDE and bool(phone.servers) and all(end is not None and end.twin for end in ends)


def worst_first(verdicts: list[PhoneVerdict]) -> list[PhoneVerdict]:
    """Return the verdicts in the order in which they count; those that are alike stay in theirs."""
    return sorted(verdicts, key=lambda verdict: _ORDER.index(verdict.alg))


def overall(verdicts: list[PhoneVerdict]) -> str:
    """Return what follows for the ALG by all phones together."""
    found = {verdict.alg for verdict in verdicts}
    return next((alg for alg in _ORDER if alg in found), UNTOLD)


def headline(verdicts: list[PhoneVerdict]) -> str:
    """Return what follows for the ALG by all phones together, as people read it first."""
    alg = overall(verdicts)
    if alg == UNTOLD:
        return "whether an ALG is needed can't be told"
    if alg == NEEDED and all(verdict.at_work for verdict in verdicts if verdict.alg == NEEDED):
        return "ALG needed, and one is at work"
    return f"ALG {alg}"


def _host_of(phone: Phone) -> str:
    return phone.name.partition(":")[0]


def _judge(
    facts: Facts, phone: Phone, calls: dict[str, list[Call]], stuck: dict[str, Proof], wanted: Wanted
) -> PhoneVerdict:
    aware, left = awareness(phone), leaving(phone)
    answers, proofs = server_answers(phone)
    heard, unheard = _heard(facts, phone, calls.get(_host_of(phone), []), wanted)
    harm = _harm(facts, phone, left)
    if left is not None and "SDP" in left.changed and phone.name in stuck:
        harm.append(
            ("audio comes to the address that it writes into the SDP, and not on to the phone", (stuck[phone.name],))
        )
    case = _Case(phone, aware, answers, _started(heard), _started(unheard), left, tuple(harm))
    why = [says(phone, aware)]
    if aware in (UNAWARE, HALF):
        why.append(does(phone))
        if answers == "source":
            text = "its server answers to the source (nat=yes), whatever the phone names"
            why.append(finding(NOTE, "server-nat", text, "", *proofs))
        elif answers != UNTOLD:
            text = "its server sends to the private address that the phone names (nat=no)"
            why.append(finding(NOTE, "server-nat", text, "", *proofs))
    alg = _alg(case)
    why.append(_follows(case, alg))
    agent = phone.agent or next((one.agent for one in phone.outside.values()), "")
    at_work = alg == NEEDED and _is_at_work(case)
    return PhoneVerdict(phone.name, tuple(phone.outside), agent, phone.view, aware, answers, alg, at_work, tuple(why))


def _harm(facts: Facts, phone: Phone, left: Leaving | None) -> list[_Harm]:
    """Return what something on the way does wrongly to a phone's messages, each with its packets."""
    found: list[_Harm] = [(_SPOILT[what], (proof,)) for what, proof in phone.spoilt.items()]
    if left is not None and left.changed and left.left:
        text = f"it changes {listed(left.changed)}, and leaves the private address in {listed(left.left)}"
        found.append((text, left.left_proofs))
    outside = list(phone.outside.values())
    if phone.view == OUTSIDE:
        outside.append(phone)
        if phone.via_public and not phone.via_private and phone.contact_private and not phone.proxied:
            text = "its Via leaves with a public address, but its Contact with a private one"
            found.append((text, (phone.contact_private,)))
    for one in outside:
        if one.call_id_changed:
            found.append(("its requests leave with another Call-ID", (one.call_id_changed,)))
        # What the phone wrote itself isn't an ALG's.
        if wrong_port(facts, one) and not one.proxied and (left is None or phone.contact_private):
            text = f"its Contact says {one.port_named}, but its packets come from {one.name}: calls to it go nowhere"
            found.append((text, (one.port_wrong,)))
    return found


def _alg(case: _Case) -> str:
    if case.harm:
        return HARMFUL
    if case.aware in (AWARE, NO_NAT):
        return NOT_NEEDED
    if case.aware == UNTOLD:
        return UNTOLD
    return NOT_NEEDED if case.answers == "source" and not case.unheard else NEEDED


def _follows(case: _Case, alg: str) -> Finding:
    """The sentence with the ALG in it."""
    phone = case.phone
    if alg == HARMFUL:
        done = "; ".join(text for text, _ in case.harm)
        text = f"ALG harmful: what changes its messages now does it wrongly: {done}"
        proofs = [proof for _, some in case.harm for proof in some]
        advice = "switch that ALG off, and put a right one in its place"
        if case.aware == UNTOLD and phone.view == OUTSIDE:
            advice += "; if there is none, the phone itself names that: capture inside too"
        return finding(BROKEN, "alg-harmful", text, advice, *proofs)
    if alg == NEEDED:
        return _needed(case)
    if alg == UNTOLD:
        return _untold(phone)
    if case.aware == AWARE:
        text = "ALG not needed: a good one leaves its messages alone, a poor one would harm"
    elif case.aware == NO_NAT:
        text = "ALG not needed"
    else:
        text = "ALG not needed as long as its server does that"
    return finding(NOTE, "alg-not-needed", text, "", Proof())


def _untold(phone: Phone) -> Finding:
    if phone.proxied or not (phone.contact_public or phone.media_public):
        text = "whether it needs an ALG can't be told: it names nothing of its own"
        return finding(NOTE, "alg-untold", text, "", phone.proxied or phone.sent)
    text = "seen from outside, all is right: it is NAT aware, or has no NAT, or an ALG is at work and does it well"
    if phone.port_wrong:
        text = (
            f"its Contact says {phone.port_named}, but its packets come from {phone.name}: it has no NAT and listens "
            "at another port than it sends from, or something on the way names the wrong port"
        )
    advice = "which of these can't be told from this side alone: capture inside too, and give both files"
    return finding(NOTE, "alg-untold", text, advice, phone.contact_public or phone.media_public)


def _needed(case: _Case) -> Finding:
    phone, left = case.phone, case.left
    enable = f"enable the ALG{_with_relay(phone)}"
    if case.unheard and left is not None and "SDP" in left.changed:
        text = "ALG needed, and the one at work doesn't bring its audio: none came to it in these calls"
        return finding(BROKEN, "alg-needed", text, "put a right one in its place, and capture again", case.unheard)
    if case.unheard:
        text = "ALG needed: no audio came to it in these calls"
        return finding(BROKEN, "alg-needed", text, f"{enable}, and capture again", case.unheard)
    missed = _missed(phone)
    if missed is not None:
        text = "ALG needed: nothing that its server sends by itself arrives"
        return finding(BROKEN, "alg-needed", text, f"{enable}, and capture again", missed)
    if left is not None and left.changed:
        ends = listed(tuple(phone.outside))
        text = f"ALG needed, and one is at work: outside, as {ends}, {listed(left.changed)} name public addresses"
        return finding(NOTE, "alg-needed", text, "", *left.changed_proofs)
    if phone.put_back:
        text = "ALG needed, and one is at work: it put the private address back into `received`"
        return finding(NOTE, "alg-needed", text, "", phone.put_back)
    text = "ALG needed: without one, whoever answers to these addresses never reaches it"
    if left is not None:
        text += "; they leave as they are, so none is at work"
    elif phone.view == OUTSIDE and case.aware == HALF:
        enable = "the phone knows half of it, or an ALG does half of it: capture inside too, and give both files"
    elif phone.view == OUTSIDE and phone.named:
        text += f"; they come from the public {_host_of(phone)}, so none is at work"
    elif phone.view == INSIDE and (phone.reached or case.heard):
        enable += ", or keep it: what reaches the phone here does by an ALG at work, or by nat=yes"
    return finding(WARNING, "alg-needed", text, enable, phone.contact_private or phone.media_private)


def _is_at_work(case: _Case) -> bool:
    """Whether an ALG is seen at work, and nothing that should have come didn't."""
    changed = case.left is not None and bool(case.left.changed)
    return (changed or bool(case.phone.put_back)) and not case.unheard and _missed(case.phone) is None


def _missed(phone: Phone) -> Proof | None:
    """What was sent to the private address that a phone named, seen on either side; None if nothing was."""
    return next((one.missed for one in (phone, *phone.outside.values()) if one.missed), None)


def _with_relay(phone: Phone) -> str:
    """What has to be set besides, as SIP over TCP is translated by the ALG's relay only."""
    return ", with tcp=relay (the default): it speaks TCP" if TCP in phone.protocols else ""


def _heard(facts: Facts, phone: Phone, calls: list[Call], wanted: Wanted) -> tuple[list[Call], list[Call]]:
    """The calls in which a phone that names a private address for its media heard something, and was only heard."""
    heard, unheard = [], []
    for call in calls:
        side = side_of(call, _host_of(phone))
        if not any(wanted.networks.is_private(end.host) for end in side.hears_at):
            continue
        came = outcome(facts, call)
        if came == BOTH:
            heard.append(call)
        elif came == ONE_WAY and not side.got:
            unheard.append(call)
    return heard, unheard


def _stuck(facts: Facts) -> dict[str, Proof]:
    """The calls, by their phones inside, whose audio came to the phone's public side, and not to it."""
    found: dict[str, Proof] = {}
    for one in stuck_calls(facts):
        # What stopped when the capture inside may have ended proves nothing.
        if not (one.ever and one.ended):
            found.setdefault(one.host, Proof()).add(one.outer.started)
    return found


def _started(calls: list[Call]) -> Proof:
    found = Proof()
    for call in calls:
        found.add(call.started)
    return found
