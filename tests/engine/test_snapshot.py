from __future__ import annotations

import json

from tests.engine.ladder import Ladder, port_forward
from tests.engine.scenario import Outgoing, registers

from sipalg.engine.verdict import Endpoint


def test_the_tables_as_plain_values() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    phone, server = ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")
    registers(phone, server, granted="<sip:a@203.0.113.1:5060>;expires=600")
    call = Outgoing(phone, server)
    call.stands()
    ladder.run(ladder.alg.adopt(port_forward(7000, Endpoint("192.168.33.20", 5060)), ladder.now))
    ladder.wait(10)
    shown = json.loads(json.dumps(ladder.alg.snapshot(ladder.now)))
    assert [
        (row["private"], row["public"], row["purpose"], row["holders"], row["ends_in_s"]) for row in shown["mappings"]
    ] == [
        ("192.168.33.10:5060", "203.0.113.1:5060", "sip", 2, None),
        ("192.168.33.10:10000", "203.0.113.1:10000", "media", 1, None),
        ("192.168.33.10:10001", "203.0.113.1:10001", "media", 1, None),
        ("192.168.33.20:5060", "203.0.113.1:7000", "sip", 1, None),
    ]
    assert [row["adopted"] for row in shown["mappings"]] == [False, False, False, True]
    assert shown["mappings"][0]["peers"] == ["203.0.113.50"]
    assert shown["mappings"][0]["interface"] == "lan0"
    assert shown["contacts"] == [
        {
            "aor": "sip:a@example.org",
            "registrar": "203.0.113.50",
            "private": "192.168.33.10:5060",
            "kept_for_s": 590.0,
        }
    ]
    confirmed = [row for row in shown["calls"] if row["state"] == "confirmed"]
    assert confirmed == [
        {
            "call_id": "c1",
            "phone": "192.168.33.10:5060",
            "state": "confirmed",
            "inside_tag": "a",
            "outside_tag": "b",
            "ends_in_s": 14390.0,
            "media": [
                {
                    "private": f"192.168.33.10:1000{n}",
                    "public": f"203.0.113.1:1000{n}",
                    "remote": f"203.0.113.60:3000{n}",
                }
                for n in (0, 1)
            ],
        }
    ]
    assert shown["counters"] == {"mappings": 4, "contacts": 1, "calls": 1, "flows": 2}
    counts = ladder.alg.counts()
    names = ("counters", "messages", "edits", "passes", "refusals", "seen_as")
    assert counts == {name: shown[name] for name in names}
    assert shown["messages"] == {"200": 2, "ACK": 1, "INVITE": 1, "REGISTER": 1}
    assert shown["edits"]["via"] == 5
    assert shown["passes"] == {}
    assert [(row["private"], row["registration_s"]) for row in shown["phones"]] == [("192.168.33.10:5060", 600.0)]


def test_an_unheld_mapping_shows_what_is_left_to_it_and_never_less_than_nothing() -> None:
    ladder = Ladder(sip_timeout_s=300.0)
    Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50")).asks("OPTIONS")
    ladder.wait(100)
    rows = ladder.alg.snapshot(ladder.now)["mappings"]
    assert isinstance(rows, list)
    assert rows[0]["ends_in_s"] == 200.0
    later = ladder.alg.snapshot(ladder.now + 1000)["mappings"]
    assert isinstance(later, list)
    assert later[0]["ends_in_s"] == 0.0


def test_what_may_answer_still_beside_an_answer_is_no_call_of_its_own() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))

    def answered_by() -> list[str]:
        shown = json.loads(json.dumps(ladder.alg.snapshot(ladder.now)))
        return [row["outside_tag"] for row in shown["calls"]]

    call.invite()
    call.ok(status=183, tag="x")
    call.ok(status=183, tag="y")
    assert answered_by() == ["x", "y"]
    call.ok(tag="y")
    assert answered_by() == ["y"]


def test_a_call_that_is_hung_up_has_ended_and_goes() -> None:
    ladder = Ladder()
    call = Outgoing(ladder.phone("192.168.33.10"), ladder.server("203.0.113.50"))

    def states() -> list[str]:
        shown = json.loads(json.dumps(ladder.alg.snapshot(ladder.now)))
        assert shown["counters"]["calls"] == len(shown["calls"])
        return [row["state"] for row in shown["calls"]]

    call.invite()
    assert states() == ["early"]
    call.ok()
    call.ack()
    assert states() == ["confirmed"]
    call.bye()
    assert states() == ["ended"]
    call.is_answered(200, "BYE")
    assert states() == []
