"""The load's far end, SIPp with `uas_load`, and a BYE that left as it came in the moment of a death (ADR 0023)."""

from __future__ import annotations

import socket

import pytest

from sipalg.lab.scenarios.load import MEDIA_PORT, SERVICE_PORT
from sipalg.lab.sipp import start_sipp
from sipalg.lab.topology import ADDRESS, PUBLIC_ADDRESS, Topology

FAR = ADDRESS["server"]
PATIENCE_S = 20.0

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces", "programs")]


def request(method: str, host: str, cseq: int) -> bytes:
    return (
        f"{method} sip:700@{FAR} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bK{method}\r\n"
        f"From: <sip:script@{FAR}>;tag=1\r\nTo: <sip:700@{FAR}>\r\nCall-ID: 1@x\r\nCSeq: {cseq} {method}\r\n"
        f"Contact: <sip:script@{host}:5060>\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.usefixtures("router")
def test_a_bye_that_comes_again_with_other_addresses_is_answered_again(net: Topology, phone: socket.socket) -> None:
    options = ("-default_behaviors", "all,-abortunexp")
    far = start_sipp(net, "server", "uas_load", SERVICE_PORT, options, media_host=FAR, rtp_port=MEDIA_PORT)
    phone.settimeout(PATIENCE_S)

    def answer(message: bytes, cseq: bytes) -> bytes:
        """Send, and return the Via of what comes with this CSeq: a 200 to the INVITE may come again meanwhile."""
        phone.sendto(message, (FAR, SERVICE_PORT))
        while True:
            lines = phone.recv(4096).split(b"\r\n")
            if b"CSeq: " + cseq in lines:
                assert lines[0] == b"SIP/2.0 200 OK"
                return lines[1]

    try:
        assert ADDRESS["phone1"].encode() in answer(request("INVITE", ADDRESS["phone1"], 1), b"1 INVITE")
        phone.sendto(request("ACK", ADDRESS["phone1"], 1), (FAR, SERVICE_PORT))
        for host in (ADDRESS["phone1"], ADDRESS["phone1"], PUBLIC_ADDRESS, PUBLIC_ADDRESS):
            assert f" {host}:5060".encode() in answer(request("BYE", host, 2), b"2 BYE")
    finally:
        far.stop()
