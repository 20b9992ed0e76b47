"""Cases 25 and 28 through Linux's own SIP helper and through sipalg, in the lab: a call's repetitions, and MTU.

`python -m bench.compared_calls` prints a line a mode and case for docs/compared.md, beside bench/compared.py, which
sends each message by itself. Case 25 is an INVITE sent three times, refused with 401, sent with credentials, answered
by two forks and refused: its public media ports and what the connection tracker still expects at the end. Case 28 is
an INVITE that grows past 1500 bytes: with DF, and in fragments.
"""

from __future__ import annotations

import re
import socket
import sys
from typing import Final

from bench.compared import THERE
from sipalg.lab.stage import Mode, Needs, Stage
from sipalg.lab.topology import ADDRESS

PHONE: Final = ADDRESS["phone1"]
#: Shorter than the public address, so that messages of it grow.
SHORT: Final = "10.0.0.2"
WAIT_S: Final = 2.0
#: <linux/in.h>; Python names none of them.
IP_MTU_DISCOVER: Final = 10
IP_PMTUDISC_DONT: Final = 0
IP_PMTUDISC_DO: Final = 2


def invite(host: str, number: int = 1, contact: str = "", more: str = "") -> bytes:
    """An INVITE with audio at port 10000 of `host`; `more` are further header lines."""
    body = f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 10000 RTP/AVP 0\r\n"
    return (
        f"INVITE sip:b@{THERE} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{number};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: c25\r\n"
        f"CSeq: {number} INVITE\r\nContact: {contact or f'<sip:a@{host}>'}\r\n{more}"
        f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def answer(request: bytes, status: str, tag: str, port: int = 0) -> bytes:
    """The server's answer to what arrived; with audio at `port` if there is one."""
    body = f"v=0\r\no=- 2 2 IN IP4 {THERE}\r\ns=-\r\nc=IN IP4 {THERE}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    kept = re.findall(r"(?m)^(?:Via|From|Call-ID|CSeq): .*", request.decode())
    lines = [f"SIP/2.0 {status}", *(line.strip() for line in kept), f"To: <sip:b@example.com>;tag={tag}"]
    lines += [f"Contact: <sip:b@{THERE}>", *(["Content-Type: application/sdp"] if port else [])]
    text = "\r\n".join([*lines, f"Content-Length: {len(body) if port else 0}", "", body if port else ""])
    return text.encode()


def audio_port(message: bytes) -> str:
    """The port of a message's audio."""
    found = re.search(rb"(?m)^m=audio (\d+)", message)
    return found[1].decode() if found else "none"


def case_25(stage: Stage, phone: socket.socket, server: socket.socket) -> str:
    """Play the call and say which public ports it had, which forks reached the phone, what is expected still."""
    seen, heard = [], 0
    for number in (1, 1, 1, 2):
        more = 'Authorization: Digest username="a"\r\n' if number > 1 else ""
        phone.sendto(invite(PHONE, number, more=more), (THERE, 5060))
        message, source = server.recvfrom(65536)
        seen.append(audio_port(message))
        if len(seen) == 3:
            server.sendto(answer(message, "401 Unauthorized", "x"), source)
            heard += phone.recv(65536).startswith(b"SIP/2.0 401")
    for tag, port in (("f1", 30000), ("f2", 30002)):
        server.sendto(answer(message, "183 Session Progress", tag, port), source)
        heard += phone.recv(65536).startswith(b"SIP/2.0 183")
    server.sendto(answer(message, "603 Decline", "f1"), source)
    heard += phone.recv(65536).startswith(b"SIP/2.0 603")
    expected = stage.net.run("router", "conntrack", "-L", "expect", check=False).splitlines()
    return f"audio ports {' '.join(seen)}, {heard} of 4 answers heard, {len(expected)} expectations left"


def case_28(phone: socket.socket, server: socket.socket, size_bytes: int, discover: int) -> str:
    """Send an INVITE of this size and say how it arrives."""
    contacts = ",".join(f"<sip:{number}@{SHORT}>" for number in range(12))
    before = invite(SHORT, contact=contacts, more="X: #\r\n")
    before = before.replace(b"#", b"x" * (size_bytes - len(before) + 1))
    phone.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
    try:
        phone.sendto(before, (THERE, 5060))
        after = server.recv(65536)
    except TimeoutError:
        return f"{size_bytes} bytes: nothing arrives"
    return f"{size_bytes} bytes: {len(after)} arrive, {after.count(SHORT.encode())} times the private address"


def main() -> None:
    """Play both cases in both modes and print what came of them."""
    modes: tuple[Mode, ...] = ("kernel", "sipalg")
    for mode in modes:
        with Stage(mode, Needs(hosts=("phone1", "server"))) as stage:
            net = stage.net
            net.run("router", "ip", "route", "add", f"{SHORT}/32", "via", PHONE)
            net.run("phone1", "ip", "address", "add", f"{SHORT}/32", "dev", "eth0")
            net.run("router", "nft", "flush", "chain", "ip", "nat", "prerouting")
            net.run("server", "ip", "address", "add", f"{THERE}/24", "dev", "eth0")
            with net.socket("server") as server, net.socket("phone1") as phone, net.socket("phone1") as short:
                for one, address in ((server, THERE), (phone, PHONE), (short, SHORT)):
                    one.settimeout(WAIT_S)
                    one.bind((address, 5060))
                sys.stdout.write(f"25 {mode}: {case_25(stage, phone, server)}\n")
                for size_bytes, discover in ((1470, IP_PMTUDISC_DO), (3000, IP_PMTUDISC_DONT)):
                    sys.stdout.write(f"28 {mode}: {case_28(short, server, size_bytes, discover)}\n")


if __name__ == "__main__":
    main()
