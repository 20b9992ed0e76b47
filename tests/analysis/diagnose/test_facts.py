from __future__ import annotations

from sipalg.analysis.diagnose.facts import Call, Proof, Side
from sipalg.engine.verdict import Endpoint


def test_proof_keeps_the_first_packets_and_the_count() -> None:
    proof = Proof()
    assert not proof
    for number in (3, 3, 5, 8, 9, 20, 21):
        proof.add(number)
    assert proof
    assert (proof.count, proof.packets, proof.last) == (6, [3, 5, 8, 9], 21)


def test_call_talked_from_its_answer_to_its_end() -> None:
    call = Call("id", Side("a"), Side("b"), 1, Endpoint("b", 5060))
    assert call.talked_s == 0
    call.answered_ns, call.last_ns = 1_000_000_000, 9_000_000_000
    assert call.talked_s == 8
    call.bye_ns = 4_000_000_000
    assert call.talked_s == 3
