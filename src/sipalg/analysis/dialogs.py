"""What the SIP messages of a capture add up to: one conversation a Call-ID, with its ends and how far it came.

A call, a registration, a subscription, or a request that stands alone: which one its first message says. Only the
sum is kept and no message, so that a large capture doesn't fill the memory; who wants the messages of one conversation
reads the file again. Behind the messages of a capture. Pure.
Sources: RFC 3261 §10, §12, §13 and §15; RFC 6665.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sipalg.analysis.messages import SipMessage
from sipalg.codec.message import expires_s, has_star
from sipalg.engine.verdict import Endpoint

CALL: Final = "call"
REGISTRATION: Final = "registration"
SUBSCRIPTION: Final = "subscription"
#: An answer that doesn't say to what: it is cut, or damaged.
UNKNOWN: Final = "unknown"

#: The kinds by the method of the first message; any other method is a kind of its own.
_KINDS: Final = {
    "REGISTER": REGISTRATION,
    "SUBSCRIBE": SUBSCRIPTION,
    "NOTIFY": SUBSCRIPTION,
    **dict.fromkeys(("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER"), CALL),
}

#: How far a conversation came; calls first.
CALLING: Final = "calling"
RINGING: Final = "ringing"
ANSWERED: Final = "answered"
IN_CALL: Final = "in call"
ENDED: Final = "ended"
CANCELLED: Final = "cancelled"
BUSY: Final = "busy"
DIVERTED: Final = "diverted"
REJECTED: Final = "rejected"
CHALLENGED: Final = "challenged"
SENT: Final = "sent"
REGISTERED: Final = "registered"
UNREGISTERED: Final = "unregistered"
SUBSCRIBED: Final = "subscribed"

#: What a failure is called if nobody ever answered.
NO_ANSWER: Final = "no answer"

_CHALLENGES: Final = (401, 407)
_BUSY: Final = (486, 600)
_CANCELLED: Final = 487
#: More private addresses than these of one conversation tell nobody anything.
_MOST_PRIVATE: Final = 256
#: SIP has fourteen methods.
_MOST_METHODS: Final = 32
#: A call that came this far isn't undone by the failure of a later INVITE in it.
_STANDING: Final = (ANSWERED, IN_CALL, ENDED)

_PRIVATE: Final = re.compile(
    rb"(?<![0-9.])(?:10(?:\.[0-9]{1,3}){3}|192\.168(?:\.[0-9]{1,3}){2}|172\.(?:1[6-9]|2[0-9]|3[01])(?:\.[0-9]{1,3}){2})"
    rb"(?![0-9.])"
)
_CALL_ID: Final = re.compile(rb"\n(?:call-id|i)[ \t]*:[^\n]*", re.IGNORECASE)
_QUOTED: Final = r"\s*\"[^\"\\]*+(?:\\.[^\"\\]*+)*\""
_URI: Final = re.compile(r"(?:" + _QUOTED + r")?(?:[^<]*<)?\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?([^<>;\s?]*)")


@dataclass(slots=True)
class Conversation:
    """All messages with one Call-ID, summed up; `call_id` is :func:`name_of` where they have none.

    `caller` and `callee` are the URIs of From and To without scheme and parameters, `source` and `destination` the
    ends of the first packet. `failure` is the first answer that says no, a challenge only while nothing better came.
    `messages` counts messages and `packets` the frames they came in; `private` are the private addresses (RFC 1918)
    written anywhere but in the Call-ID. `broken` counts messages with a problem, `methods`
    are those of requests and of what was answered.
    """

    call_id: str
    kind: str
    caller: str
    callee: str
    source: Endpoint
    destination: Endpoint
    first_number: int
    first_ns: int
    last_ns: int = 0
    state: str = SENT
    messages: int = 0
    packets: int = 0
    responses: int = 0
    broken: int = 0
    refused: str = ""
    challenge: str = ""
    private: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)

    @property
    def failure(self) -> str:
        """The first failure: an answer's status, :data:`NO_ANSWER`, or "" where all went well."""
        if self.refused or self.state == CHALLENGED:
            return self.refused or self.challenge
        return "" if self.responses or self.messages == 0 or self.state == ENDED else NO_ANSWER

    def add(self, message: SipMessage) -> None:
        """Take one more message."""
        self.messages += 1
        self.packets += len(message.frames)
        self.last_ns = message.time_ns
        self.broken += bool(message.problem)
        if len(self.methods) < _MOST_METHODS:
            self.methods.add(message.method or message.cseq_method)
        if len(self.private) < _MOST_PRIVATE:
            self.private.update(private_addresses(message.data))
        if message.status:
            self.responses += 1
            self._answered(message)
        else:
            self._asked(message)

    def _asked(self, message: SipMessage) -> None:
        method = message.method
        if method == "INVITE":
            self.kind = CALL
        if method == "INVITE" and self.state not in _STANDING:
            self.state = CALLING
        elif method == "ACK" and self.state == ANSWERED:
            self.state = IN_CALL
        elif method == "BYE" and self.kind == CALL:
            self.state = ENDED
        elif method == "CANCEL" and self.state not in _STANDING:
            self.state = CANCELLED

    def _answered(self, message: SipMessage) -> None:
        status, method = message.status, message.cseq_method
        if status in _CHALLENGES:
            self.challenge = self.challenge or message.name
            if self.state not in (*_STANDING, REGISTERED, SUBSCRIBED):
                self.state = CHALLENGED
        elif status >= 300:
            self.refused = self.refused or message.name
            if self._decides(method) and self.state not in _STANDING:
                self.state = _state_of_failure(status)
        elif status >= 200:
            self._agreed(message)
        elif status > 100 and method == "INVITE" and self.state in (SENT, CALLING):
            self.state = RINGING

    def _agreed(self, message: SipMessage) -> None:
        method = message.cseq_method
        if method == "INVITE" and self.state not in (IN_CALL, ENDED):
            self.state = ANSWERED
        elif method == "REGISTER":
            self.state = UNREGISTERED if _takes_back(message) else REGISTERED
        elif method in ("SUBSCRIBE", "NOTIFY") and self.kind == SUBSCRIPTION:
            self.state = SUBSCRIBED
        elif self.kind not in (CALL, REGISTRATION, SUBSCRIPTION):
            self.state = ANSWERED

    def _decides(self, method: str) -> bool:
        """Whether the answer to this method says how the conversation as a whole ends."""
        return method == "INVITE" or (self.kind != CALL and method != "NOTIFY")


class Conversations:
    """The conversations of a capture, in the order in which they began; messages are added one at a time."""

    def __init__(self) -> None:
        self.by_call_id: dict[str, Conversation] = {}

    def add(self, message: SipMessage) -> Conversation:
        """Take one message; return the conversation that it belongs to."""
        name = name_of(message)
        conversation = self.by_call_id.get(name)
        if conversation is None:
            conversation = self.by_call_id[name] = begin(message)
        conversation.add(message)
        return conversation


def name_of(message: SipMessage) -> str:
    """Return what the conversation of a message goes by: its Call-ID.

    Without one, as where the capture has cut it off, it is the branch where that is whole, else the packet: with
    spaces, which no Call-ID has. So messages that have nothing in common aren't one conversation.
    """
    if message.call_id:
        return message.call_id
    if message.branch and not message.data.endswith(message.branch.encode()):
        return f"(none: branch {message.branch})"
    return f"(none: packet {message.number}{f' of {message.origin}' if message.origin else ''})"


def kind_of(message: SipMessage) -> str:
    """Return what a conversation that begins with this message is."""
    method = message.method or message.cseq_method
    return _KINDS.get(method, method.lower() or UNKNOWN)


def begin(message: SipMessage) -> Conversation:
    """Return an empty conversation that is named as its first message has it."""
    return Conversation(
        name_of(message),
        kind_of(message),
        address_of(message.header("From")),
        address_of(message.header("To")),
        message.source,
        message.destination,
        message.number,
        message.time_ns,
    )


def address_of(value: str) -> str:
    """Return the URI of a From, To or Contact value without scheme, parameters and brackets: `alice@example.com`."""
    match = _URI.match(value)
    return match[1] if match else ""


def private_addresses(data: bytes) -> set[str]:
    """Return the private IPv4 addresses (RFC 1918) written in a message, except those that only its Call-ID holds."""
    found = _PRIVATE.findall(data)
    if not found:
        return set()
    call_id = _CALL_ID.search(data)
    if call_id is not None and _PRIVATE.search(call_id[0]):
        found = _PRIVATE.findall(data[: call_id.start()] + data[call_id.end() :])
    return {address.decode("ascii") for address in found}


def _state_of_failure(status: int) -> str:
    if status == _CANCELLED:
        return CANCELLED
    if status in _BUSY:
        return BUSY
    return DIVERTED if status < 400 else REJECTED


def _takes_back(message: SipMessage) -> bool:
    """Whether a REGISTER's 2xx leaves no contact: none listed, or a lifetime of 0 (RFC 3261 §10.3)."""
    contacts = [value for name, value in message.headers() if name == "Contact"]
    if not contacts:
        return True
    return expires_s(message.frame) == 0 and not has_star(message.frame) and "expires=" not in "".join(contacts)
