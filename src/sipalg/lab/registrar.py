"""Kamailio as the SIP server outside: registrar with digest authentication, and proxy between who is registered.

By default it does no NAT help at all, as a server that trusts what phones write: no forced rport, no received
handling, replies go where Via says, calls go to the Contact as it was registered. With NAT help (`nat=yes`, as other
servers call it) it answers to where packets come from. On a packet's way it is the far end of signalling.
"""

from __future__ import annotations

from typing import Final

from sipalg.lab.programs import Program
from sipalg.lab.topology import SERVER_ADDRESS, SERVER_ADDRESS6, Topology

#: Numbers that the proxy sends to a service on its own host: number → port.
SERVICES: Final = {"700": 5080, "800": 5090}

#: A user's password is this and the user's name; any name of three digits is a user.
KEY_PREFIX: Final = "lab-"

_CONFIG: Final = """\
#!KAMAILIO
debug=2
log_stderror=yes
children=1
%(tcp)s
auto_aliases=no
dns=no
rev_dns=no
listen=udp:%(listen)s:5060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "auth.so"
loadmodule "xlog.so"
%(nat_modules)s
modparam("rr", "enable_full_lr", 1)
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "timer_interval", 5)
modparam("registrar", "max_expires", %(max_expires)d)
modparam("registrar", "min_expires", 5)
modparam("tm", "fr_timer", 5000)
modparam("tm", "fr_inv_timer", 30000)

request_route {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    %(nat_request)s
    if (has_totag()) {
        if (!loose_route()) {
            if (is_method("ACK") && t_check_trans()) {
                t_relay();
                exit;
            }
            if (uri == myself) {
                if (!is_method("ACK")) {
                    sl_send_reply("404", "Not here");
                }
                exit;
            }
        }
        %(nat_target)s
        t_relay();
        exit;
    }
    if (is_method("CANCEL")) {
        if (t_check_trans()) {
            t_relay();
        }
        exit;
    }
    if (is_method("ACK")) {
        if (t_check_trans()) {
            t_relay();
        }
        exit;
    }
    t_check_trans();
    if (is_method("REGISTER")) {
        if (!pv_www_authenticate("%(address)s", "%(secret)s$au", "0")) {
            www_challenge("%(address)s", "0");
            exit;
        }
        %(nat_register)s
        if (!save("location")) {
            sl_reply_error();
        }
        exit;
    }
    if (is_method("OPTIONS") && uri == myself && $rU == $null) {
        sl_send_reply("200", "OK");
        exit;
    }
    if (is_method("INVITE") && from_uri =~ "^sip:[0-9][0-9][0-9]@.?%(address)s") {
        if (!pv_proxy_authenticate("%(address)s", "%(secret)s$au", "0")) {
            proxy_challenge("%(address)s", "0");
            exit;
        }
        consume_credentials();
    }
    %(record_route)s
    %(services)s
    if (uri == myself) {
        if (!lookup("location")) {
            sl_send_reply("404", "Not registered");
            exit;
        }
    }
    t_relay();
}
%(nat_reply)s
"""

#: A message without a Contact would end the route here, and a response with it.
_ALIAS: Final = 'if (is_present_hf("Contact")) { set_contact_alias(); }'
#: What NAT help adds, by its place in the configuration: responses go to where requests came from (RFC 3581, asked
#: for or not), contacts are called where they registered from, later requests go to where a Contact was seen.
_NAT_HELP: Final = {
    "nat_modules": (
        'loadmodule "nathelper.so"\n'
        'modparam("nathelper|registrar", "received_avp", "$avp(received)")'
    ),
    "nat_request": f'force_rport(); if (!is_method("REGISTER")) {{ {_ALIAS} }}',
    "nat_target": "handle_ruri_alias();",
    "nat_register": "fix_nated_register();",
    "nat_reply": f"onreply_route {{ {_ALIAS} }}",
}


def start_registrar(
    net: Topology,
    record_route: bool = True,
    nat_help: bool = False,
    max_expires_s: int = 3600,
    *,
    tcp: bool = False,
    ipv6: bool = False,
) -> Program:
    """Start Kamailio on the server and wait until it listens.

    `record_route` keeps the proxy on the path of the dialogs' later requests; `nat_help` is `nat=yes` for everybody;
    `max_expires_s` is the longest lifetime that it grants; with `tcp` it listens there too, with `ipv6` there only.
    Raises LabError if it doesn't come up.
    """
    settings = {
        "address": SERVER_ADDRESS6 if ipv6 else SERVER_ADDRESS,
        "listen": f"[{SERVER_ADDRESS6}]" if ipv6 else SERVER_ADDRESS,
        "tcp": f"tcp_children=1\nlisten=tcp:{SERVER_ADDRESS}:5060" if tcp else "disable_tcp=yes",
        "secret": KEY_PREFIX,
        "max_expires": max_expires_s,
        "services": " ".join(f'if ($rU == "{user}") {{ $rp = {port}; }}' for user, port in SERVICES.items()),
        "record_route": "record_route();" if record_route else "",
        **{place: text if nat_help else "" for place, text in _NAT_HELP.items()},
    }
    path = net.directory / "kamailio.cfg"
    path.write_text(_CONFIG % settings)
    argv = ("kamailio", "-f", path, "-DD", "-E", "-m", "16", "-M", "4", "-Y", net.directory)
    program = Program(net, "server", "kamailio", *argv)
    try:
        program.wait_for("SO_RCVBUF is finally")
    except BaseException:
        program.stop()
        raise
    return program
