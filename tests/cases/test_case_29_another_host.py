"""Case 29: a description with another inside host's address: no pinhole, nothing edited, a security event."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from tests.engine.ladder import Ladder
from tests.engine.wire import audio, request, sdp

P, P2, S = "192.168.33.10", "192.168.33.11", "203.0.113.50"
ELSEWHERE = f"m=video 20000 RTP/AVP 31\nc=IN IP4 {P2}"


@pytest.mark.parametrize("direct_media", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(sdp(P2, audio(3306)), id="for all media"),
        pytest.param(sdp(P, audio(10000), ELSEWHERE), id="for one of them"),
        pytest.param(sdp(P2, audio(22)), id="port 22"),
    ],
)
def test_case_29_another_hosts_port_is_not_opened(body: str, direct_media: bool) -> None:
    ladder = Ladder(inside_networks=(IPv4Network("192.168.33.0/24"),), direct_media=direct_media)
    invite = request("INVITE", via=f"{P}:5060", contact=f"<sip:a@{P}>", body=body)
    assert ladder.phone(P).sends(invite, ladder.server(S)) == invite
    assert ladder.mapped == {}
    assert ladder.flows == set()
    (event,) = ladder.alg.take_events()
    assert (event.name, dict(event.facts)["private"]) == ("sdp-of-another-host", f"{P}:5060")
    assert ladder.alg.snapshot(ladder.now)["passes"] == {"sdp-of-another-host": 1}
    ladder.finish()
