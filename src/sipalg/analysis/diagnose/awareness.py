"""What a phone knows of its NAT, and what became of its addresses on their way out, as far as packets prove it.

By the addresses that it names in Contact and SDP; where a capture has both sides of the NAT, by what left of them.
Facts in, words out: what follows for the ALG is the verdict's. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sipalg.analysis.diagnose.facts import INSIDE, LOCAL, OUTSIDE, Facts, Phone, Proof
from sipalg.analysis.diagnose.findings import NOTE, Finding, finding

AWARE: Final = "NAT aware"
UNAWARE: Final = "not NAT aware"
HALF: Final = "half NAT aware"
NO_NAT: Final = "no NAT"
UNTOLD: Final = "can't be told"


def awareness(phone: Phone) -> str:
    """Return what a phone knows of its NAT.

    A phone that named private addresses first and only public ones since has learned it. Seen from outside alone,
    public ones prove nothing: an ALG may have put them there.
    """
    if phone.view == LOCAL:
        return NO_NAT
    named = ((phone.contact_private, phone.contact_public), (phone.media_private, phone.media_public))
    private = [bool(hidden) and not _learned(hidden, shown) for hidden, shown in named]
    if phone.ice:
        # Candidates from a STUN server let the far end choose another address than c= (RFC 8839 §4.2.1).
        private[1] = False
    public = [bool(shown) and not hidden for (_, shown), hidden in zip(named, private, strict=True)]
    if phone.view == OUTSIDE and (phone.proxied or not any(private)):
        return UNAWARE if phone.another_nat and not phone.proxied else UNTOLD
    if not any(private) and not any(public):
        return UNTOLD
    if not any(private):
        return AWARE
    return HALF if any(public) else UNAWARE


def _learned(private: Proof, public: Proof) -> bool:
    return bool(public) and public.packets[0] > private.last


class Leaving(NamedTuple):
    """What became of a phone's private addresses on their way out: the places changed, those left, and the packets."""

    changed: tuple[str, ...]
    left: tuple[str, ...]
    left_proofs: tuple[Proof, ...]
    changed_proofs: tuple[Proof, ...]


def leaving(phone: Phone) -> Leaving | None:
    """Hold what a phone inside names against what is seen of it outside; None where only one side was captured."""
    if phone.view != INSIDE or not phone.outside:
        return None
    changed: dict[str, Proof] = {}
    left: dict[str, Proof] = {}
    for outside in phone.outside.values():
        places = (
            ("Via", phone.via_private, outside.via_private, outside.via_public),
            ("Contact", phone.contact_private, outside.contact_private, outside.contact_public),
            ("SDP", phone.media_private, outside.media_private, outside.media_public),
        )
        for name, inside, hidden, shown in places:
            if inside and shown and not hidden:
                changed.setdefault(name, shown)
            # A description with candidates may stay whole: the two ends find their way by themselves.
            if inside and hidden and not (name == "SDP" and phone.candidates):
                left.setdefault(name, hidden)
    return Leaving(tuple(changed), tuple(left), tuple(left.values()), tuple(changed.values()))


def is_untouched(phone: Phone) -> bool:
    """Whether it is proven that nothing changed a phone's messages between it and where its server sees them."""
    left = leaving(phone)
    if left is not None:
        return bool(left.left) and not left.changed
    return phone.view == OUTSIDE or (bool(phone.seen_elsewhere) and not phone.put_back)


def server_answers(phone: Phone) -> tuple[str, tuple[Proof, ...]]:
    """Return where servers send what is for a phone that names a private address, and the proof."""
    missed = next((one.missed for one in (phone, *phone.outside.values()) if one.missed), None)
    if missed is not None:
        return "named address", (missed,)
    if phone.reached and is_untouched(phone):
        return "source", (phone.reached, phone.seen_elsewhere)
    return UNTOLD, ()


def wrong_port(facts: Facts, phone: Phone) -> bool:
    """Whether its Contact names a port of its public address that isn't its mapping's, and that nothing answers at.

    A port that another phone registers from isn't its own either. Where only the outside was captured, and nothing
    private in it tells of a NAT, a phone without one may just as well send from another port than it listens at.
    """
    if not phone.port_wrong:
        return False
    if not phone.twin and not (phone.via_private or phone.contact_private or phone.media_private):
        return False
    other = facts.phones.get(phone.port_named)
    return other is None or not other.sent or bool(other.registrars)


def says(phone: Phone, aware: str) -> Finding:
    """Say what the phone names, and where."""
    places = (("Via", phone.via_private), ("Contact", phone.contact_private), ("SDP", phone.media_private))
    public = (("Contact", phone.contact_public), ("SDP", phone.media_public))
    shown = [(name, proof) for name, proof in public if proof]
    if phone.proxied:
        text = "speaks through a SIP proxy: its requests have more than one Via, so nothing is said of the phones"
        return finding(NOTE, "phone-names", text, "", phone.proxied)
    if aware == NO_NAT:
        text = "and its server are on the same side of the NAT; where one is between them, say so with --inside"
        return finding(NOTE, "phone-names", text, "", phone.sent)
    if phone.named and aware in (UNAWARE, HALF):
        found = [(name, proof) for name, proof in places if proof]
        text = f"names the private address {phone.named} in {listed([name for name, _ in found])}"
        if aware == HALF:
            text += f", and public ones in {listed([name for name, _ in shown])}"
        return finding(NOTE, "phone-names", text, "", *(proof for _, proof in found))
    if aware == UNAWARE:
        text = "names the address that it has here, and its server sees another: a NAT is between them"
        return finding(NOTE, "phone-names", text, "", phone.another_nat)
    if shown:
        text = f"names public addresses in {listed([name for name, _ in shown])}"
        return finding(NOTE, "phone-names", text, "", *(proof for _, proof in shown))
    return finding(NOTE, "phone-names", "names no address in a Contact or an SDP here", "", phone.sent)


def does(phone: Phone) -> Finding:
    """Say what the phone does about its NAT, or doesn't."""
    means = (("rport", phone.rport), ("STUN", phone.stun), ("ICE candidates from outside", phone.ice))
    used = [(name, proof) for name, proof in means if proof]
    unused = [name for name, proof in means if not proof]
    text = f"uses {listed([name for name, _ in used])}" if used else ""
    text += (", but " if used and unused else "") + (f"no {listed(unused, 'or')}" if unused else "")
    return finding(NOTE, "phone-means", text, "", *(proof for _, proof in used))


def listed(names: list[str] | tuple[str, ...], word: str = "and") -> str:
    """Return names as people list them: a, b and c."""
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "nothing"
