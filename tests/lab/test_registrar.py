"""The SIP server's configuration as it is written, and its start, with a shell in Kamailio's place."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sipalg.lab.programs import Program
from sipalg.lab.registrar import KEY_PREFIX, SERVICES, start_registrar
from sipalg.lab.topology import SERVER_ADDRESS, LabError, Topology

UP = "echo 'INFO: probe_max_sock_buff: SO_RCVBUF is finally 212992'; exec sleep 60"


class Here(Topology):
    """A topology without namespaces, in which every program is a shell that runs `script`."""

    def __init__(self, directory: Path, script: str = UP) -> None:
        super().__init__()
        self.directory = directory
        self.script = script
        self.started: list[tuple[str, tuple[str | Path, ...]]] = []

    def command(self, host: str, *argv: str | Path) -> list[str]:
        self.started.append((host, argv))
        return ["sh", "-c", self.script]


def written(directory: Path, record_route: bool = True, nat_help: bool = False, max_expires_s: int = 3600) -> str:
    with start_registrar(Here(directory), record_route, nat_help, max_expires_s):
        return (directory / "kamailio.cfg").read_text()


def block(config: str, condition: str) -> str:
    """What is done under a condition in the main route, between its braces."""
    found = re.search(rf"^    if \({re.escape(condition)}.*?\) \{{\n(.*?)^    \}}", config, re.DOTALL | re.MULTILINE)
    assert found, f"no such condition: {condition}"
    return found[1]


def test_it_runs_on_the_server_in_the_foreground(tmp_path: Path) -> None:
    net = Here(tmp_path)
    with start_registrar(net) as program:
        assert program.running
    (host, argv), *others = net.started
    assert (host, argv[0], others) == ("server", "kamailio", [])
    assert argv[argv.index("-f") + 1] == tmp_path / "kamailio.cfg"
    # Only the foreground's process can be ended by its pid; its runtime files go away with the lab's.
    assert "-DD" in argv
    assert argv[argv.index("-Y") + 1] == tmp_path
    assert not program.running


@pytest.mark.parametrize("nat_help", [False, True], ids=["nat-no", "nat-yes"])
@pytest.mark.parametrize("record_route", [True, False], ids=["on-the-path", "off-the-path"])
def test_kamailio_reads_its_config(record_route: bool, nat_help: bool, tmp_path: Path) -> None:
    kamailio = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
    if kamailio is None:
        pytest.skip("kamailio isn't installed")
    written(tmp_path, record_route, nat_help)
    check = [kamailio, "-c", "-f", str(tmp_path / "kamailio.cfg")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"udp: {SERVER_ADDRESS} [{SERVER_ADDRESS}]:5060" in done.stdout + done.stderr


def test_it_listens_on_the_server_alone_and_asks_no_name_server(tmp_path: Path) -> None:
    lines = written(tmp_path).splitlines()
    assert [line for line in lines if line.startswith("listen=")] == [f"listen=udp:{SERVER_ADDRESS}:5060"]
    assert {"dns=no", "rev_dns=no", "disable_tcp=yes"} <= set(lines)
    with start_registrar(Here(tmp_path), tcp=True):
        lines = (tmp_path / "kamailio.cfg").read_text().splitlines()
    assert f"listen=tcp:{SERVER_ADDRESS}:5060" in lines
    assert "disable_tcp=yes" not in lines


def test_its_config_is_filled_in(tmp_path: Path) -> None:
    assert re.findall(r"%\(\w+\)|%%", written(tmp_path)) == []


def test_it_helps_no_nat_unless_asked_to(tmp_path: Path) -> None:
    # With any of these a scenario would go well without an ALG and show nothing.
    helps = r"nathelper|force_rport|add_rport|fix_nated|contact_alias|ruri_alias|received_avp|rtpproxy|rtpengine"
    assert re.findall(helps, written(tmp_path)) == []


def test_with_nat_help_it_answers_to_where_packets_come_from(tmp_path: Path) -> None:
    config = written(tmp_path, nat_help=True)
    assert config.index("force_rport();") < config.index("has_totag()")
    register = block(config, 'is_method("REGISTER")')
    assert register.index("www_challenge") < register.index("fix_nated_register();") < register.index("save(")
    assert config.index("loose_route()") < config.index("handle_ruri_alias();") < config.index('is_method("CANCEL")')
    # A response without a Contact would be dropped by the function's failure.
    assert 'onreply_route { if (is_present_hf("Contact")) { set_contact_alias(); } }' in config


@pytest.mark.parametrize("record_route", [True, False], ids=["on-the-path", "off-the-path"])
def test_it_stays_on_the_path_if_asked(record_route: bool, tmp_path: Path) -> None:
    before, _, after = written(tmp_path, record_route).partition('lookup("location")')
    assert before.count("record_route();") == record_route
    assert "record_route" not in after


def test_it_grants_no_longer_lifetime_than_asked_for(tmp_path: Path) -> None:
    config = written(tmp_path, max_expires_s=7)
    assert 'modparam("registrar", "max_expires", 7)' in config
    least = re.search(r'"min_expires", (\d+)\)', config)
    assert least is not None
    # What phones in scenarios ask for at least is granted.
    assert int(least[1]) <= 6


def test_a_register_is_challenged_before_it_is_saved(tmp_path: Path) -> None:
    register = block(written(tmp_path), 'is_method("REGISTER")')
    assert register.index("pv_www_authenticate") < register.index("www_challenge") < register.index("save(")
    challenge = register[register.index("www_challenge") : register.index("save(")]
    assert "exit;" in challenge
    assert register.rstrip().endswith("exit;")


def test_both_challenges_ask_for_the_password_that_users_have(tmp_path: Path) -> None:
    config = written(tmp_path)
    asked = re.findall(r'pv_(www|proxy)_authenticate\("([^"]*)", "([^"]*)", "0"\)', config)
    assert asked == [(kind, SERVER_ADDRESS, f"{KEY_PREFIX}$au") for kind in ("www", "proxy")]
    assert re.findall(r'(?:www|proxy)_challenge\("([^"]*)"', config) == [SERVER_ADDRESS] * 2


def test_credentials_for_the_proxy_go_no_further(tmp_path: Path) -> None:
    invite = block(written(tmp_path), 'is_method("INVITE")')
    assert invite.index("proxy_challenge") < invite.index("exit;") < invite.index("consume_credentials();")


def test_every_user_of_three_digits_is_challenged_and_no_script(tmp_path: Path) -> None:
    found = re.search(r'from_uri =~ "([^"]+)"', written(tmp_path))
    assert found is not None
    users = re.compile(found[1])
    assert users.search(f"sip:101@{SERVER_ADDRESS}")
    assert not users.search(f"sip:script@{SERVER_ADDRESS}")
    assert not users.search("sip:101@192.168.33.10")


def test_services_are_sent_to_their_ports_before_users_are_looked_up(tmp_path: Path) -> None:
    before, _, _ = written(tmp_path).partition("if (uri == myself) {\n        if (!lookup")
    sent = re.findall(r'if \(\$rU == "(\d+)"\) \{ \$rp = (\d+); \}', before)
    assert {number: int(port) for number, port in sent} == SERVICES
    assert len(SERVICES) == len(set(SERVICES.values())) == 2
    # A port that the server itself listens on would make the call come back to it until its hops are used up.
    assert 5060 not in SERVICES.values()


def test_one_that_doesnt_come_up_is_told_with_its_last_line(tmp_path: Path) -> None:
    net = Here(tmp_path, "echo loading; echo 'bad config file'; exit 255")
    with pytest.raises(LabError, match=r"^kamailio ended with 255: bad config file$"):
        start_registrar(net)


def test_one_that_is_interrupted_while_it_comes_up_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Program] = []

    def interrupt(program: Program, *_: object) -> None:
        started.append(program)
        raise KeyboardInterrupt

    monkeypatch.setattr(Program, "wait_for", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_registrar(Here(tmp_path))
    assert [program.running for program in started] == [False]


def test_over_ipv6_it_listens_there(tmp_path: Path) -> None:
    with start_registrar(Here(tmp_path), ipv6=True):
        config = (tmp_path / "kamailio.cfg").read_text()
    assert "listen=udp:[2001:db8:113::50]:5060" in config
    assert "203.0.113.50" not in config
