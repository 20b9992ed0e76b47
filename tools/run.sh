#!/usr/bin/env bash
# What `make run` shows once everything is installed: the lab, and where to go from there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

explain() { .venv/bin/sipalg explain "$@" --inside 192.168.20.0/24 --public 75.142.151.49:1024; }
echo "== What an ALG does to one message: a phone's REGISTER, before and after"
explain examples/register.sip --diff
echo
echo "== The same for an INVITE, with the addresses in its SDP"
explain examples/invite.sip --media-port 19032 --diff
echo
echo "== Calls through a NAT router, in network namespaces: without an ALG, with Linux's own helper, with sipalg (about 5 minutes)"
.venv/bin/sipalg lab
cat <<'TEXT'

What to look at next
  .venv/bin/sipalg explain FILE.sip --inside 192.168.20.0/24 --public 75.142.151.49:1024
                               what would happen to one message of your own, and why (needs no root)
  .venv/bin/sipalg rewrite IN.pcap OUT.pcap --inside CIDR --public ADDR
                               a capture of the inside, with what leaves as the outside sees it: addresses, ports,
                               SIP and SDP translated; what came in already shows private addresses, and stays
  .venv/bin/sipalg run --inside lan0 --outside wan0
                               on a router that NATs: the real thing; then `sipalg status`, `mappings`, `calls`
  man -l docs/man/sipalg.8     every command and option
  README.md, docs/             how it works and what it promises
TEXT
