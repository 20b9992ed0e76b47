from __future__ import annotations

import re

from sipalg.engine import policy


def test_reasons_are_words_and_each_is_its_own() -> None:
    reasons = [
        value for value in vars(policy).values() if isinstance(value, str) and re.fullmatch(r"[a-z0-9-]+", value)
    ]
    assert policy.NAT_AWARE in reasons
    assert policy.SDP_TOO_MANY_SECTIONS in reasons
    assert len(reasons) == len(set(reasons))


def test_limits_are_within_what_there_is() -> None:
    assert policy.MAX_MAPPINGS_PER_HOST <= policy.MAX_MAPPINGS <= 2 * (65536 - 1024), "UDP and TCP"
    assert policy.MAX_DIALOGS_PER_HOST <= policy.MAX_DIALOGS
    assert policy.LINGER_S == 64 * 0.5, "64 times T1"
    assert policy.EARLY_S > 180.0, "a proxy's timer C"
