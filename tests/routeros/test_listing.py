from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from sipalg.control.settings.model import Settings
from sipalg.control.settings.properties import texts
from sipalg.routeros import grammar, listing
from sipalg.routeros.listing import Row, Section
from sipalg.routeros.menus import MENUS

SERVICE_PORT = MENUS["ip", "firewall", "service-port"]
CONNECTION = MENUS["ip", "firewall", "connection"]


def sip(**changes: str) -> list[Row]:
    values: Mapping[str, str] = {"name": "sip", "invalid": "no", **texts(Settings(("lan0",), "wan0")), **changes}
    return [Row(0, values)]


def flow(number: int, **values: str) -> Row:
    names = {key.replace("_", "-"): value for key, value in values.items()}
    return Row(number, {"protocol": "udp", "src-address": "192.168.20.10:5060", "timeout": "59m58s", **names})


def test_a_table_has_flags_columns_and_a_line_a_value_of_a_list() -> None:
    assert list(listing.table(SERVICE_PORT, sip())) == [
        "Flags: X - DISABLED; I - INVALID",
        "Columns: NAME, PORTS",
        "#  NAME  PORTS",
        "0  sip    5060",
        "          5061",
    ]
    assert list(listing.table(SERVICE_PORT, sip(disabled="yes", ports="5070")))[2:] == [
        "#    NAME  PORTS",
        "0 X  sip    5070",
    ]


def test_a_table_leaves_out_what_is_empty() -> None:
    rows = [flow(9, assured="yes", srcnat="yes"), flow(10, seen_reply="yes", srcnat="yes")]
    assert list(listing.table(CONNECTION, rows)) == [
        "Flags: S - SEEN-REPLY; A - ASSURED; C - CONFIRMED; D - DYING; s - SRCNAT; d - DSTNAT",
        "Columns: PROTOCOL, SRC-ADDRESS, TIMEOUT",
        "#       PROTOCOL  SRC-ADDRESS         TIMEOUT",
        "9   As  udp       192.168.20.10:5060  59m58s",
        "10 S s  udp       192.168.20.10:5060  59m58s",
    ]


def test_a_table_without_entries_has_its_heads() -> None:
    assert list(listing.table(SERVICE_PORT, [])) == [
        "Flags: X - DISABLED; I - INVALID",
        "Columns: NAME, PORTS",
        "#  NAME  PORTS",
    ]


@given(st.integers(40, 130), st.integers(0, 3), st.integers(1, 45))
def test_what_doesnt_fit_goes_on_below(width: int, count: int, longest: int) -> None:
    rows = [
        flow(number, dst_address="x" * longest, reply_dst_address="y" * longest, connection_type="sip", srcnat="yes")
        for number in range(count)
    ]
    whole = list(listing.table(CONNECTION, rows))
    fitted = list(listing.table(CONNECTION, rows, width))
    assert " ".join(fitted).split() == " ".join(whole).split()
    assert all(len(line) <= max(width, longest + 9) for line in fitted)
    if width >= max(map(len, whole)):
        assert fitted == whole


def test_flags_and_columns_are_broken_between_their_names() -> None:
    assert list(listing.table(CONNECTION, [], 80))[:4] == [
        "Flags: S - SEEN-REPLY; A - ASSURED; C - CONFIRMED; D - DYING; s - SRCNAT;",
        "    d - DSTNAT",
        "Columns: PROTOCOL, SRC-ADDRESS, DST-ADDRESS, REPLY-DST-ADDRESS, TIMEOUT,",
        "    CONNECTION-TYPE",
    ]


def test_a_list_goes_on_below_itself() -> None:
    row = Row(0, {"name": "a" * 30, "ports": "5060,5061"})
    assert list(listing.table(SERVICE_PORT, [row], 34))[2:] == [
        "#  NAME",
        "   PORTS",
        f"0  {'a' * 30}",
        "    5060",
        "    5061",
    ]


def test_detail_names_everything_and_breaks_its_lines() -> None:
    lines = list(listing.detail(SERVICE_PORT, sip(disabled="yes")))
    assert lines[0] == "Flags: X - disabled, I - invalid"
    assert lines[1].startswith(' 0 X  name="sip" inside=lan0 outside=wan0 public="" ports=5060,5061')
    assert all(len(line) <= listing.WIDTH for line in lines)
    assert all(line.startswith("      ") for line in lines[2:])
    assert "sip-timeout=1h" in "\n".join(lines)
    assert list(listing.detail(CONNECTION, [])) == []


def test_terse_and_values_are_one_line() -> None:
    (line,) = listing.terse(SERVICE_PORT, sip(disabled="yes"))
    assert line.startswith("0 X name=sip inside=lan0 outside=wan0 public= ports=5060,5061 ")
    (line,) = listing.as_value(CONNECTION, [flow(0, assured="yes"), flow(1)])
    begin = ".id=*1;protocol=udp;src-address=192.168.20.10:5060;timeout=59m58s;seen-reply=false;assured=true"
    assert line.startswith(begin)
    assert ";.id=*2;" in line


def test_json_has_restful_names() -> None:
    (item,) = listing.as_json(CONNECTION, [flow(0, assured="yes")])
    assert item == {
        ".id": "*1", "protocol": "udp", "src-address": "192.168.20.10:5060", "timeout": "59m58s", "assured": True,
        "seen-reply": False, "confirmed": False, "dying": False, "srcnat": False, "dstnat": False,
    }  # fmt: skip


def test_an_export_is_a_script_that_makes_the_settings() -> None:
    settings = texts(Settings(("lan0",), "wan0", captures=Settings().captures / "a b"))
    for one_line in (False, True):
        lines = list(listing.export("a date", [Section(SERVICE_PORT, "sip", settings)], one_line=one_line))
        assert lines[0] == "# a date"
        assert all(len(line) <= listing.WIDTH for line in lines) or one_line
        *_, last = grammar.read("\n".join(lines))
        assert isinstance(last, grammar.Call)
        assert last.values == settings
    assert len(lines) == 2
    assert list(listing.export("a date", [Section(SERVICE_PORT, "sip", {})], one_line=False)) == ["# a date"]


def test_what_strangers_sent_moves_no_cursor() -> None:
    (line,) = listing.terse(CONNECTION, [flow(0, connection_type="\x1b[2J")])
    assert "\x1b" not in line
