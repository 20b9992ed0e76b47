"""One leg of a call at the PBX: a dialog with its own names, numbers and route, and the other end's media.

RFC 3261, section 12. On a packet's way this is what the PBX remembers of one end between two messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from sipalg.engine.verdict import Endpoint
from sipalg.lab.pbx_message import SipMessage, address_of, sdp, uri_of


@dataclass(slots=True)
class Leg:
    """One dialog. `local` and `remote` are From and To as its requests have them, `media` is the other end's.

    `target` is the other end's Contact, `route` the proxies on the way there.
    """

    call_id: str
    local: str
    remote: str
    target: str
    route: list[str] = field(default_factory=list)
    media: Endpoint | None = None
    requests: int = 0
    descriptions: int = 0

    @classmethod
    def of_caller(cls, invite: SipMessage, tag: str) -> Self:
        """Begin the dialog that an INVITE from outside of the PBX asks for; `tag` is the PBX's."""
        local, remote, target = f"{invite.one('To')};tag={tag}", invite.one("From"), uri_of(invite.one("Contact"))
        return cls(invite.one("Call-ID"), local, remote, target, invite.all("Record-Route"), invite.media)

    @property
    def peer(self) -> Endpoint:
        """Where requests are sent: the first proxy, or the other end itself."""
        return address_of(uri_of(self.route[0]) if self.route else self.target)

    def request(self, method: str, own: Endpoint, body: str = "") -> SipMessage:
        """Make the next request; `own` is where the PBX wants the other end's."""
        self.requests += 1
        return self._request(method, self.requests, own, body)

    def ack(self, number: int, own: Endpoint) -> SipMessage:
        """Make the ACK to the INVITE of that number."""
        return self._request("ACK", number, own)

    def describe(self, own: str, media: Endpoint) -> str:
        """Make the next description of what the other end is to send where; `own` is the PBX's address."""
        self.descriptions += 1
        return sdp(own, media, self.descriptions)

    def take(self, answer: SipMessage) -> None:
        """Take over what an INVITE's 2xx says: tag, target, media, and the route, which the first one settles."""
        if not self.route:
            self.route = answer.all("Record-Route")[::-1]
        self.remote = answer.one("To")
        self.target = uri_of(answer.one("Contact"))
        self.media = answer.media

    def _request(self, method: str, number: int, own: Endpoint, body: str = "") -> SipMessage:
        fields = (
            *(("Route", route) for route in self.route),
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
            ("Contact", f"<sip:pbx@{own}>"),
        )
        return SipMessage(f"{method} {self.target} SIP/2.0", fields, body)
