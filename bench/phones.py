"""A thousand phones that differ as real ones do, drawn by a seed: names, order and form of headers, lengths, codecs.

A phone here is a set of habits, from which the corpus builds its messages. Nothing in it knows how sipalg works. It
comes before everything on a packet's way.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

SERVER: Final = "203.0.113.50"
MEDIA_SERVER: Final = "203.0.113.60"
PUBLIC: Final = "203.0.113.1"
FIRST_PHONE: Final = (192 << 24) + (168 << 16) + (32 << 8) + 10

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_AGENTS: Final = (
    "Yealink SIP-T46S 66.86.0.15", "Grandstream GXP2170 1.0.11.64", "snomD785/10.1.64.14",
    "baresip v1.0.0 (x86_64/linux)",
    "Cisco-CP8841-3PCC/11.3.7", "PolycomVVX-VVX_411-UA/6.4.3.5216", "Linphone/4.4.10 (belle-sip/5.0.55)",
    "Fanvil X4U 2.12.1.3 0c383e3a1b2c", "Gigaset N510 IP PRO/42.258.00.000.000", "MicroSIP/3.21.3",
    "Zoiper rv2.10.19.9",
    "AVM FRITZ!Box 7590 154.07.57", "Mitel-6867i-SIP-Phone 5.1.0.2077", "Htek UC926 V2.42.6.5.41", "x",
)  # fmt: skip
_NAMES: Final = {
    "Via": ("Via", "v", "VIA", "via"), "From": ("From", "f", "FROM", "from"), "To": ("To", "t", "TO", "to"),
    "Call-ID": ("Call-ID", "i", "CALL-ID", "Call-id"), "Contact": ("Contact", "m", "CONTACT", "contact"),
    "Content-Length": ("Content-Length", "l", "CONTENT-LENGTH", "Content-length"),
    "Content-Type": ("Content-Type", "c", "CONTENT-TYPE", "content-type"),
    "Supported": ("Supported", "k", "SUPPORTED", "supported"),
    "CSeq": ("CSeq", "CSeq", "CSEQ", "Cseq"),
}  # fmt: skip
_CODECS: Final = (
    ("0", "PCMU/8000"), ("8", "PCMA/8000"), ("9", "G722/8000"), ("18", "G729/8000"), ("3", "GSM/8000"),
    ("96", "opus/48000/2"), ("97", "iLBC/8000"), ("98", "speex/16000"), ("99", "G726-32/8000"),
)  # fmt: skip


#: Ports of phones that are on none of the usual ones.
_PORTS: Final = (1024, 5070, 6060, 15_060, 42_001, 60_001)


class Address(NamedTuple):
    """A host (IPv4 text) and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone's habits. `sort_keys` orders headers; `spelling` picks how a header's name is written (0–3)."""

    index: int
    private: Address
    user: str
    display: str
    domain: str
    agent: str
    spelling: int
    colon: str
    length_colon: str
    via_gap: str
    rport: str
    contact_form: str
    contact_extra: str
    call_suffix: str
    branch_tail: str
    tag: str
    shuffled: bool
    sort_keys: tuple[float, ...]
    allow: str
    supported: str
    expires: int
    codecs: tuple[tuple[str, str], ...]
    streams: int
    session_connection: bool
    rtcp_line: str
    media: tuple[int, ...]
    instance: str

    def name(self, header: str) -> str:
        """Return the header's name, as this phone writes it, with the colon and what it puts around it."""
        colon = self.length_colon if header == "Content-Length" else self.colon
        return _NAMES.get(header, (header,) * 4)[self.spelling] + colon


def word(random: Random, low: int, high: int) -> str:
    """Draw a word of `low` to `high` letters and digits."""
    return "".join(random.choices(_LETTERS, k=random.randint(low, high)))


def make_phone(index: int, seed: int) -> Phone:
    """Phone number `index` (from 0) of the set that `seed` draws; any two have different addresses."""
    random = Random(f"{seed}/{index}")
    number = FIRST_PHONE + index
    host = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    rtp = random.randrange(10_000, 16_000, 4)
    streams = random.choice((1, 1, 1, 2))
    codecs = tuple(random.sample(_CODECS, random.randint(1, len(_CODECS))))
    user = random.choice((str(1000 + index), word(random, 3, 16), f"+49{random.randrange(10**6, 10**11)}"))
    return Phone(
        index=index,
        private=Address(host, random.choice((5060, 5060, 5060, 5062, 5160, random.choice(_PORTS)))),
        user=user,
        display=random.choice(("", "", "Reception ", '"Meier, Anna" ', f'"{word(random, 1, 30)}" ', '"sip:a@b" ')),
        domain=random.choice((SERVER, f"{SERVER}:5060", "pbx.example.com", f"{word(random, 3, 20)}.example.org")),
        agent=random.choice(_AGENTS) + random.choice(("", "", " " + word(random, 12, 12))),
        spelling=random.choice((0, 0, 0, 0, 1, 2, 3)),
        colon=random.choice((": ", ": ", ": ", ":", " : ", ":  ")),
        length_colon=random.choice((": ", ": ", ":", " : ", "   : ")),
        via_gap=random.choice((" ", " ", " ", "  ")),
        rport=random.choice(("", "first", "last")),
        contact_form=random.choice(("<{}>", "<{}>", "<{}>", "display", "{}")),
        contact_extra=random.choice(("", "", ";transport=udp", f";line={word(random, 6, 12)}", ";ob")),
        call_suffix=random.choice(("", f"@{host}", "@phone.lan")),
        branch_tail=word(random, 0, 40),
        tag=word(random, 6, 14),
        shuffled=random.random() < 0.3,
        sort_keys=tuple(random.random() for _ in range(24)),
        allow=", ".join(random.sample(("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "NOTIFY", "REFER", "INFO"),
                                      random.randint(4, 8))),
        supported=random.choice(("", "replaces", "path, outbound", "timer,replaces,100rel,norefersub")),
        expires=random.choice((60, 120, 300, 600, 1800, 3600, 7200)),
        codecs=codecs,
        streams=streams,
        session_connection=random.random() < 0.7,
        rtcp_line=random.choice(("", "", "port", "address")),
        media=tuple(rtp + 2 * stream for stream in range(streams)),
        instance=f'+sip.instance="<urn:uuid:{word(random, 8, 8)}-0000-1000-8000-{word(random, 12, 12)}>"'
        if random.random() < 0.3 else "",
    )  # fmt: skip
