"""Whole calls and registrations in a few words, for scenarios whose point isn't the single message's text."""

from __future__ import annotations

from dataclasses import dataclass

from tests.engine.ladder import Phone, Server
from tests.engine.wire import audio, request, response, sdp

from sipalg.engine.verdict import Endpoint

#: The media server of most calls.
M = Endpoint("203.0.113.60", 30000)


@dataclass
class Outgoing:
    """A call that an inside phone makes. A method sends one message and returns what comes out at the other side."""

    phone: Phone
    server: Server
    call: str = "c1"
    port: int = 10000
    number: int = 1
    invited: int = 1
    tag: str = "b"
    own_tag: str = "a"

    @property
    def own(self) -> str:
        """The phone's address as it writes it."""
        return str(self.phone.endpoint)

    @property
    def public(self) -> Endpoint:
        """The phone's public address."""
        return self.phone.ladder.public_of(self.phone)

    def asks(self, method: str, *, body: str = "", to_tag: str = "", number: int = 0, contact: bool = True) -> bytes:
        """Send a request from the phone."""
        if method == "INVITE":
            self.invited = number or self.number
        message = request(
            method,
            via=self.own,
            call=self.call,
            number=number or self.number,
            tags=(self.own_tag, to_tag),
            contact=f"<sip:a@{self.own}>" if contact else None,
            body=body,
        )
        return self.phone.sends(message, self.server)

    def is_answered(
        self, status: int, method: str = "INVITE", *, body: str = "", tag: str | None = None
    ) -> bytes | None:
        """Send a response from the server."""
        message = response(
            status,
            method,
            via=str(self.public),
            call=self.call,
            number=self.invited if method == "INVITE" else self.number,
            tags=(self.own_tag, self.tag if tag is None else tag),
            contact="<sip:b@203.0.113.50>",
            body=body,
        )
        return self.server.sends(message, self.public)

    def invite(self, *lines: str, to_tag: str = "") -> bytes:
        """INVITE with an audio line."""
        body = sdp(self.phone.endpoint.host, audio(self.port, *lines))
        return self.asks("INVITE", body=body, to_tag=to_tag)

    def ok(self, media: Endpoint = M, *, status: int = 200, tag: str | None = None) -> bytes | None:
        """200 with an audio line at `media`."""
        return self.is_answered(status, body=sdp(media.host, audio(media.port)), tag=tag)

    def ack(self) -> bytes:
        """ACK to the 200."""
        return self.asks("ACK", to_tag=self.tag, contact=False)

    def stands(self, media: Endpoint = M) -> None:
        """INVITE, 200, ACK."""
        self.invite()
        self.ok(media)
        self.ack()

    def bye(self) -> bytes:
        """BYE from the phone."""
        self.number += 1
        return self.asks("BYE", to_tag=self.tag, contact=False)

    def hangs_up(self) -> None:
        """BYE from the phone, and its 200."""
        self.bye()
        self.is_answered(200, "BYE")

    def is_asked(self, method: str, number: int = 1, *, body: str = "") -> bytes | None:
        """Send a request within the call from the server."""
        message = request(
            method,
            uri=f"sip:a@{self.public}",
            via="203.0.113.50:5060",
            call=self.call,
            number=number,
            tags=(self.tag, self.own_tag),
            contact="<sip:b@203.0.113.50>",
            body=body,
        )
        return self.server.sends(message, self.public)

    def answers(self, status: int, method: str, number: int = 1, *, body: str = "") -> bytes:
        """Send a response from the phone."""
        message = response(
            status,
            method,
            via="203.0.113.50:5060",
            call=self.call,
            number=number,
            tags=(self.tag, self.own_tag),
            contact=f"<sip:a@{self.own}>",
            body=body,
        )
        return self.phone.sends(message, self.server)

    def is_hung_up(self) -> None:
        """BYE from the server, and its 200."""
        self.is_asked("BYE", 7)
        self.answers(200, "BYE", 7)


def registers(
    phone: Phone,
    server: Server,
    *,
    number: int = 1,
    contact: str = "",
    expires: str = "",
    granted: str | None = "",
    user: str = "a",
    status: int = 200,
) -> bytes | None:
    """REGISTER and its answer, which lists `granted` (the phone's own contact if "", nothing if None)."""
    own = str(phone.endpoint)
    sent = phone.sends(
        request(
            "REGISTER",
            uri="sip:203.0.113.50",
            via=own,
            call=f"r-{user}",
            number=number,
            tags=(user, ""),
            contact=contact or f"<sip:{user}@{own}>",
            more=expires and f"Expires: {expires}\n",
        ).replace(b"To: <sip:b@", f"To: <sip:{user}@".encode()),
        server,
    )
    assert sent
    public = phone.ladder.public_of(phone)
    return server.sends(
        response(
            status,
            "REGISTER",
            via=str(public),
            call=f"r-{user}",
            number=number,
            tags=(user, "r"),
            contact=f"<sip:{user}@{public}>;expires=60" if granted == "" else granted,
        ).replace(b"To: <sip:b@", f"To: <sip:{user}@".encode()),
        public,
    )
