from __future__ import annotations

import pytest
from tests.sniffer.packets import ethernet, tcp, transport, udp

from sipalg.sniffer import tables as module
from sipalg.sniffer.frames import look
from sipalg.sniffer.tables import Tables

PHONE, SERVER = "192.168.20.100", "207.252.1.148"


def test_protocols_with_their_parts() -> None:
    tables = Tables()
    tables.add(look(ethernet(udp(PHONE, 40000, SERVER, 5060))), 300, 1.0)
    tables.add(look(ethernet(udp(SERVER, 5060, PHONE, 40000))), 500, 1.0)
    tables.add(look(ethernet(bytes(28), kind=0x0806)), 200, 1.0)
    rows = [tuple(row.values()) for row in tables.protocol_rows()]
    assert rows == [
        ("arp", "", "", "1", "200", "20.00%"),
        ("ip", "", "", "2", "800", "80.00%"),
        ("ip", "udp", "", "2", "800", "80.00%"),
        ("ip", "udp", "5060 (sip)", "2", "800", "80.00%"),
    ]
    assert (tables.packets, tables.bytes) == (3, 1000)


def test_a_port_without_a_name_is_the_lower_one() -> None:
    tables = Tables()
    tables.add(look(ethernet(udp(PHONE, 30000, SERVER, 20000))), 100, 0.0)
    assert tables.protocol_rows()[-1]["port"] == "20000"


def test_hosts_with_rates_sent_and_got() -> None:
    tables = Tables()
    call = look(ethernet(udp(PHONE, 5060, SERVER, 5060)))
    for now, size_bytes in ((10.1, 1000), (10.9, 1000), (11.5, 125)):
        tables.add(call, size_bytes, now)
    phone, server = tables.host_rows(12.2)
    assert phone == {"address": PHONE, "rate": "1kbps/0bps", "peak-rate": "16kbps/0bps", "total": "2125/0"}
    assert (server["address"], server["rate"], server["total"]) == (SERVER, "0bps/1kbps", "0/2125")
    assert tables.host_rows(99.0)[0]["rate"] == "0bps/0bps"


def test_a_second_that_is_not_over_may_be_the_best() -> None:
    tables = Tables()
    tables.add(look(ethernet(udp(PHONE, 5060, SERVER, 5060))), 125_000, 10.1)
    assert tables.host_rows(10.5)[0] == {
        "address": PHONE, "rate": "0bps/0bps", "peak-rate": "1Mbps/0bps", "total": "125000/0",
    }  # fmt: skip


def test_a_connection_has_two_directions() -> None:
    tables = Tables()
    tables.add(look(ethernet(udp(PHONE, 5060, SERVER, 5060))), 300, 0.0)
    tables.add(look(ethernet(udp(SERVER, 5060, PHONE, 5060))), 500, 0.0)
    tables.add(look(ethernet(udp(SERVER, 5060, PHONE, 5061))), 1, 0.0)
    first, second = tables.connection_rows()
    assert first == {
        "protocol": "udp", "src-address": f"{PHONE}:5060", "dst-address": f"{SERVER}:5060",
        "packets": "1/1", "bytes": "300/500", "resends": "0/0", "mss": "0/0",
    }  # fmt: skip
    assert second["src-address"] == f"{SERVER}:5060"


def test_tcp_data_sent_again_are_counted_also_where_numbers_begin_anew() -> None:
    tables = Tables()
    ends = (PHONE, 5060, SERVER, 5060)
    near_end = (1 << 32) - 3
    for sequence, payload in ((near_end, b"abc"), (0, b"de"), (near_end, b"abc"), (2, b"f"), (2, b"f")):
        tables.add(look(ethernet(tcp(ends, sequence, payload))), 60, 0.0)
    tables.add(look(ethernet(tcp((SERVER, 5060, PHONE, 5060), 5, b"", b"\x02\x04\x05\xb4"))), 60, 0.0)
    (row,) = tables.connection_rows()
    assert (row["resends"], row["mss"], row["packets"]) == ("2/0", "0/1460", "5/1")


def test_ipv6_ends_stand_in_brackets() -> None:
    tables = Tables()
    tables.add(look(ethernet(udp("2001:db8::1", 5060, "2001:db8::2", 5060))), 1, 0.0)
    assert tables.connection_rows()[0]["src-address"] == "[2001:db8::1]:5060"


def test_tables_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    tables = Tables()
    for port in range(1, 11):
        tables.add(look(ethernet(udp(PHONE, 40000, f"10.0.0.{port}", port))), 10, 0.0)
    tables.add(look(ethernet(transport(1, bytes(8), PHONE, SERVER))), 10, 0.0)
    assert (len(tables.protocol_rows()), len(tables.host_rows(0.0)), len(tables.connection_rows())) == (3, 3, 3)
    assert tables.left_out == {"protocols": 10, "hosts": 9, "connections": 7}
    assert tables.packets == 11
