"""Scenarios of media: held calls, ports that two calls want, servers at other addresses, early media.

The inside ends here are scripted and silent until they hear something: a phone that sends first opens its own way
through any NAT, and would hide what these are about.
"""

from __future__ import annotations

from typing import Final

from sipalg.engine.verdict import Endpoint
from sipalg.lab.packets import messages, rtp
from sipalg.lab.programs import PATIENCE_S, pause, wait_until
from sipalg.lab.scenario import WITHOUT_ALG, WITHOUT_SIPALG, Scenario
from sipalg.lab.scenarios.calls import SHORT_TIMEOUTS
from sipalg.lab.stage import Needs, Stage
from sipalg.lab.topology import ADDRESS

MEDIA_PORT: Final = 30000
PHONE_PORT: Final = 10000
#: For calls that stand until all was judged: their scripts end with the stage, and nobody waits for their BYE.
STANDS: Final = ("-d", "60000")
#: So many of early media's packets show that they were let in early, however long they took to be judged.
EARLY_PACKETS: Final = 10


def hold(stage: Stage) -> None:
    """Hold with silence longer than the UDP stream timeout; after the resume the far end is the first to talk."""
    stage.sipp("server", "uas_hold", 5080, media_host=ADDRESS["media"], rtp_port=MEDIA_PORT)
    far = stage.talker("media", MEDIA_PORT, 1000)
    phone = stage.talker("phone1", PHONE_PORT, 440)
    stage.sipp("phone1", "uac_hold", options=("-d", "6000"), called="700", rtp_port=PHONE_PORT)
    _wait_for_invites(stage, 1)
    first = stage.offered_media()
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT))
    far.talk_to(first)
    stage.expect_heard(far, 440, "the far end, before the hold,")
    stage.expect_heard(phone, 1000, "the phone, before the hold,")
    _wait_for_invites(stage, 2)
    phone.talk_to(None)
    far.talk_to(None)
    _wait_for_invites(stage, 3)
    resumed = stage.offered_media()
    stage.expect(resumed == first, f"resumed at {resumed} instead of {first}")
    stage.wait_for_message("outside", "ACK")
    far.talk_to(first)
    stage.expect_heard(phone, 1000, "the phone, after the resume,")
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT))
    stage.expect_heard(far, 440, "the far end, after the resume,")


def same_port_at_once(stage: Stage) -> None:
    """Two phones offer the same RTP port to one server at once; each has its own audio, from the port it was given."""
    names = ("phone1", "phone2")
    far, phones = [], []
    for index, (name, number, port) in enumerate(zip(names, ("700", "800"), (5080, 5090), strict=True)):
        rtp_port = MEDIA_PORT + 10 * index
        stage.sipp("server", "uas_answer", port, media_host=ADDRESS["server"], rtp_port=rtp_port)
        far.append(stage.talker("server", rtp_port, 1000 + 200 * index))
        phones.append(stage.talker(name, PHONE_PORT, 440 + 100 * index))
        stage.sipp(name, "uac_call", options=STANDS, called=number, rtp_port=PHONE_PORT)
    for index, name in enumerate(names):
        number = ("700", "800")[index]
        stage.wait_for_message("outside", f"INVITE sip:{number}@")
        given = stage.offered_media(f"INVITE sip:{number}@")
        stage.wait_for_message("outside", "ACK")
        far[index].talk_to(given)
        stage.expect_heard(phones[index], far[index].tone_hz, name)
        phones[index].talk_to(Endpoint(ADDRESS["server"], MEDIA_PORT + 10 * index))
        stage.expect_heard(far[index], phones[index].tone_hz, f"{name}'s far end")
        came_from = far[index].received[-1][0]
        stage.expect(came_from == given, f"{name}'s RTP comes from {came_from} instead of {given}")


def bye_of_one(stage: Stage) -> None:
    """Two calls on one socket; one ends, and then the other's far end is the first to talk."""
    stage.sipp("server", "uas_bye", 5080, STANDS, media_host=ADDRESS["server"], rtp_port=MEDIA_PORT)
    stage.sipp("server", "uas_bye", 5090, ("-d", "1500"), media_host=ADDRESS["server"], rtp_port=MEDIA_PORT + 10)
    far = stage.talker("server", MEDIA_PORT, 1000)
    phone = stage.talker("phone1", PHONE_PORT, 440)
    calls = stage.net.directory / "calls.csv"
    calls.write_text(f"SEQUENTIAL\n700;{PHONE_PORT}\n800;{PHONE_PORT + 10}\n")
    options = ("-m", "2", "-r", "2", "-inf", str(calls))
    stage.sipp("phone1", "uac_wait_bye", options=options)
    given = stage.offered_media("INVITE sip:700@")
    stage.wait_for_message("outside", "INVITE sip:800@")
    stage.wait_for_message("inside", "BYE")
    pause(0.3)
    far.talk_to(given)
    stage.expect_heard(phone, 1000, "the first call's phone, after the second's BYE,")
    phone.talk_to(Endpoint(ADDRESS["server"], MEDIA_PORT))
    stage.expect_heard(far, 440, "the first call's far end, after the second's BYE,")


def same_port_again(stage: Stage) -> None:
    """A phone uses one RTP port in three calls, one right after the other, to two far ends."""
    first = stage.phone("201", "far1", 1000, rtp_port=20000)
    second = stage.phone("202", "far2", 1200, rtp_port=20000)
    phone = stage.phone("101", "phone1", 440)
    for far in (first, second, first):
        stage.call(phone, far)
        stage.expect_audio((phone, far))
        stage.hang_up(phone, far)
    stage.call(second, phone)
    stage.expect_audio((phone, second))
    stage.hang_up(second, phone)


def media_server(stage: Stage) -> None:
    """The answer names a media server at another address, which is the first to send."""
    stage.sipp("server", "uas_answer", 5080, media_host=ADDRESS["media"], rtp_port=MEDIA_PORT)
    far = stage.talker("media", MEDIA_PORT, 1000)
    phone = stage.talker("phone1", PHONE_PORT, 440)
    stage.sipp("phone1", "uac_call", options=STANDS, called="700", rtp_port=PHONE_PORT)
    stage.wait_for_message("outside", "ACK")
    given = stage.offered_media()
    far.talk_to(given)
    stage.expect_heard(phone, 1000, "the phone")
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT))
    stage.expect_heard(far, 440, "the media server")
    came_from = far.received[-1][0]
    stage.expect(came_from == given, f"the phone's RTP comes from {came_from} instead of {given}")


def early_media(stage: Stage) -> None:
    """A media server sends from the INVITE on: before the 183 that names it, in the early dialog, after the 200."""
    stage.sipp("server", "uas_early", 5080, ("-d", "3000"), media_host=ADDRESS["media"], rtp_port=MEDIA_PORT)
    far = stage.talker("media", MEDIA_PORT, 1000)
    phone = stage.talker("phone1", PHONE_PORT, 440)
    stage.sipp("phone1", "uac_call", options=STANDS, called="700", rtp_port=PHONE_PORT)
    given = stage.offered_media()
    far.talk_to(given)
    stage.wait_for_message("inside", "SIP/2.0 183")
    stage.expect_heard(phone, 1000, "the phone, early,", 2.0)
    answered = stage.wait_for_message("inside", "SIP/2.0 200").wire.time_s
    early = rtp(stage.inside(), lambda packet: packet.time_s < answered and packet.source.host == ADDRESS["media"])
    stage.expect(len(early) >= EARLY_PACKETS, f"{len(early)} RTP packets came in before the answer")
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT))
    stage.expect_heard(phone, 1000, "the phone, after the answer,")
    stage.expect_heard(far, 440, "the media server")
    came_from = far.received[-1][0]
    stage.expect(came_from == given, f"the phone's RTP comes from {came_from} instead of {given}")


def unnamed_port(stage: Stage) -> None:
    """A media server sends from a port that its SDP doesn't name; the administrator accepts what DNAT lets in."""
    stage.sipp("server", "uas_answer", 5080, media_host=ADDRESS["media"], rtp_port=MEDIA_PORT)
    far = stage.talker("media", MEDIA_PORT + 7, 1000)
    phone = stage.talker("phone1", PHONE_PORT, 440)
    stage.sipp("phone1", "uac_call", options=STANDS, called="700", rtp_port=PHONE_PORT)
    stage.wait_for_message("outside", "ACK")
    far.talk_to(stage.offered_media())
    stage.expect_heard(phone, 1000, "the phone")


def fax(stage: Stage) -> None:
    """A call's audio turns to fax (T.38 over UDPTL) at other ports, and the far end is the first to send."""
    fax_port = PHONE_PORT + 10
    stage.sipp("server", "uas_fax", 5080, media_host=ADDRESS["media"], rtp_port=MEDIA_PORT, fax_port=MEDIA_PORT + 10)
    audio, far = stage.talker("media", MEDIA_PORT, 1000), stage.talker("media", MEDIA_PORT + 10, 1200)
    talking, phone = stage.talker("phone1", PHONE_PORT, 440), stage.talker("phone1", fax_port, 700)
    stage.sipp("phone1", "uac_fax", options=STANDS, called="700", rtp_port=PHONE_PORT, fax_port=fax_port)
    _wait_for_invites(stage, 1)
    audio.talk_to(stage.offered_media())
    stage.expect_heard(talking, 1000, "the phone, before the fax,")
    _wait_for_invites(stage, 2)
    far.talk_to(stage.offered_media())
    stage.expect_heard(phone, 1200, "the fax machine")
    phone.talk_to(Endpoint(ADDRESS["media"], MEDIA_PORT + 10))
    stage.expect_heard(far, 700, "the far fax machine")


def _wait_for_invites(stage: Stage, number: int) -> None:
    """Wait until the phone's `number`th INVITE (by CSeq) has its 200."""

    def answered() -> bool:
        names = [(m.name, m.header("CSeq")) for m in messages(stage.inside())]
        return ("200 OK (INVITE)", f"{number} INVITE") in names

    stage.expect(wait_until(answered, PATIENCE_S), f"INVITE {number} got no 200")


SCENARIOS: Final = (
    Scenario(
        "hold-and-resume",
        "hold for longer than the UDP stream timeout, and resume",
        hold,
        Needs(hosts=("phone1", "server", "media"), timeouts=SHORT_TIMEOUTS),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "fax",
        "audio turns to fax (T.38 over UDP), and the far fax machine is the first to send",
        fax,
        Needs(hosts=("phone1", "server", "media")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "same-port-at-once",
        "two phones offer the same RTP port to one server at once",
        same_port_at_once,
        Needs(hosts=("phone1", "phone2", "server")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "bye-of-one",
        "two calls on one socket, and a BYE of one",
        bye_of_one,
        Needs(hosts=("phone1", "server")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "same-port-again",
        "the same RTP port in calls one after the other",
        same_port_again,
        Needs(hosts=("phone1", "server", "far1", "far2")),
        fails_in=WITHOUT_ALG,
    ),
    Scenario(
        "media-server",
        "media from another address than the server's",
        media_server,
        Needs(hosts=("phone1", "server", "media")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "early-media",
        "early media from another address, sent from the INVITE on",
        early_media,
        Needs(hosts=("phone1", "server", "media")),
        fails_in=WITHOUT_SIPALG,
    ),
    Scenario(
        "unnamed-media-port",
        "media from a port that the SDP doesn't name, firewall accepts DNAT",
        unnamed_port,
        Needs(hosts=("phone1", "server", "media"), firewall="loose"),
        fails_in=WITHOUT_SIPALG,
    ),
)
