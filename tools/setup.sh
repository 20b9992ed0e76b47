#!/usr/bin/env bash
# Installs what sipalg's checkout needs: Debian packages where programs are missing, a virtual environment in .venv
# with the locked Python packages, and sipalg itself in it. Says what it does in plain lines, does nothing twice.
#
#   tools/setup.sh run    everything that `sipalg lab` needs; a missing program is an error
#   tools/setup.sh bench  the same, and what `make bench` compares with where there is a package of it
#   tools/setup.sh test   as for run and, where there is a wheel for it, the fuzzing engine; without root a missing
#                         program is a remark, since the tests that need it skip and say so
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export LC_ALL=C.UTF-8

purpose=${1:-run}
log=build/setup.log

# What has to be there, and the Debian package that brings it.
programs=(
    nft:nftables ip:iproute2 iptables:iptables conntrack:conntrack tcpdump:tcpdump tshark:tshark
    sipp:sip-tester baresip:baresip-core kamailio:kamailio gcc:gcc
)

say() { printf '%s\n' "$*"; }
step() { printf '[%s/4] %s\n' "$1" "$2"; }
fail() {
    printf 'sipalg: %s\n' "$*" >&2
    exit 1
}

# The first Python that is new enough; with "venv", only one that can make environments, with "headers", only if the
# first one has its C headers.
find_python() {
    local candidate wants='import sys; assert sys.version_info >= (3, 11)'
    [ "${1:-}" != venv ] || wants+='; import ensurepip, venv'
    if [ "${1:-}" = headers ]; then
        candidate=$(find_python) || return 1
        "$candidate" -c 'import sys, sysconfig, os; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
        return
    fi
    for candidate in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c "$wants" 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

missing_packages() {
    local entry
    for entry in "${programs[@]}"; do
        command -v "${entry%%:*}" >/dev/null || printf '%s ' "${entry#*:}"
    done
    [ -e /usr/include/stdio.h ] || printf 'libc6-dev '
    find_python venv >/dev/null || printf 'python3-venv '
    # Without it everything works, but interpreted.
    find_python headers >/dev/null || printf 'python3-dev '
}

# Debian starts a service as soon as its package is there. Kamailio is here for the lab alone, so the policy below
# keeps it off while we install, and no other service. It is void as soon as this process is gone, even when killed.
policy=/usr/sbin/policy-rc.d
saved=$policy.before-sipalg

take_policy_back() {
    if grep -qs 'Made by sipalg' "$policy"; then rm -f "$policy"; fi
    if [ -e "$saved" ] && [ ! -e "$policy" ]; then mv "$saved" "$policy"; fi
}

switch_kamailio_off() {
    command -v kamailio >/dev/null && command -v update-rc.d >/dev/null || return 0
    update-rc.d kamailio disable >>"$log" 2>&1 || say "      (kamailio's service could not be switched off)"
    say "      kamailio's own service is switched off: the lab starts its own"
}

# What is left behind if an earlier installation was killed.
tidy_up() {
    [ "$(id -u)" = 0 ] && grep -qs 'Made by sipalg' "$policy" || return 0
    take_policy_back
    switch_kamailio_off
}

keep_services_off() {
    trap take_policy_back EXIT
    trap 'exit 130' INT TERM HUP
    if [ -e "$policy" ]; then mv "$policy" "$saved"; fi
    cat >"$policy" <<EOF
#!/bin/sh
# Made by sipalg's tools/setup.sh, process $$: keeps kamailio and rtpengine off while their packages are installed.
if kill -0 $$ 2>/dev/null; then
    for word; do
        case "\$word" in kamailio|kamailio.service|rtpengine-daemon|rtpengine-daemon.service) exit 101 ;; esac
    done
fi
if [ -x $saved ]; then exec $saved "\$@"; fi
exit 0
EOF
    chmod 755 "$policy"
}

install_packages() {
    local had_kamailio=yes
    command -v kamailio >/dev/null || had_kamailio=no
    export DEBIAN_FRONTEND=noninteractive
    : >"$log"
    keep_services_off
    say "      fetching the package lists"
    apt-get update >>"$log" 2>&1 || say "      (apt-get update had an error, see $log; going on)"
    apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" </dev/null 2>&1 |
        tee -a "$log" |
        awk '/newly installed/ { print "      " $0 } /^Need to get/ { print "      " $0 }
             /^Setting up/ { n++; if (n % 25 == 0) print "      " n " packages set up" } { fflush() }' ||
        fail "apt-get could not install: $* ($(grep '^E:' "$log" | tail -n 1); all of it in $log)"
    if [ "$had_kamailio" = no ]; then switch_kamailio_off; fi
    take_policy_back
}

provide_programs() {
    local missing
    tidy_up
    missing=$(missing_packages)
    missing=${missing% }
    if [ -z "$missing" ]; then
        step 1 "Debian packages: all there"
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        step 1 "Debian packages: installing $missing"
        # shellcheck disable=SC2086 # one argument a package
        install_packages $missing
    elif [ "$purpose" = test ] && find_python venv >/dev/null; then
        step 1 "Debian packages missing, tests that need them skip: $missing (as root: apt-get install $missing)"
    else
        fail "missing Debian packages: $missing (as root: apt-get install $missing)"
    fi
}

fingerprint() {
    { cat requirements.lock pyproject.toml tools/setup.sh && pwd && "$1" --version; } | sha256sum | cut -d ' ' -f 1
}

provide_environment() {
    local python
    if .venv/bin/python -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2>/dev/null; then
        step 2 "Virtual environment: .venv with $(.venv/bin/python --version)"
        return
    fi
    python=$(find_python venv) || fail "no Python ≥ 3.11 that can make a virtual environment (Debian: python3-venv)"
    step 2 "Virtual environment: making .venv with $("$python" --version)"
    if [ -e .venv ] && [ ! -w .venv ]; then
        fail ".venv doesn't work for $(id -un) and belongs to $(stat -c %U .venv) (make clean as that user)"
    fi
    rm -rf .venv
    "$python" -m venv .venv
}

provide_python_packages() {
    local pip=(.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input)
    local stamp=.venv/.sipalg-stamp
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint .venv/bin/python)" ]; then
        step 3 "Python packages: as locked"
        step 4 "sipalg: $(.venv/bin/python -c 'import sipalg; print(sipalg.__version__)') in .venv/bin/sipalg"
        return
    fi
    rm -f "$stamp"
    step 3 "Python packages: installing $(grep -c '^[a-z].*==' requirements.lock) from requirements.lock"
    "${pip[@]}" --require-hashes --only-binary :all: -r requirements.lock ||
        fail "pip could not install requirements.lock (its own words are above)"
    step 4 "sipalg: installing this checkout into .venv"
    "${pip[@]}" --no-build-isolation --no-deps --editable . || fail "pip could not install this checkout"
    fingerprint .venv/bin/python >"$stamp"
}

# The fuzzing engine has wheels for some machines only; elsewhere the fuzz tests replay their corpus and skip the rest.
provide_fuzzer() {
    local stamp=.venv/.sipalg-fuzz-stamp key
    key=$(cat fuzz/requirements.lock tools/setup.sh | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$stamp" 2>/dev/null)" != "$key" ] || return 0
    if ! .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes \
        --only-binary :all: -r fuzz/requirements.lock >>"$log" 2>&1; then
        say "      no fuzzing engine (atheris) for this machine: its tests skip"
    fi
    printf '%s\n' "$key" >"$stamp"
}

# What the benchmarks compare with. Without it they leave its figures out and say so.
provide_compared() {
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes \
        --only-binary :all: -r bench/requirements.lock >>"$log" 2>&1 || say "      no sipmessage: its figures are left out"
    if ! command -v rtpengine >/dev/null && [ "$(id -u)" = 0 ] && apt-cache show rtpengine-daemon >/dev/null 2>&1; then
        say "      installing rtpengine, which calls and media are compared with"
        if (install_packages rtpengine-daemon); then
            update-rc.d rtpengine-daemon disable >>"$log" 2>&1 || say "      (rtpengine's service could not be switched off)"
            say "      rtpengine's own service is switched off: the benchmarks start their own"
        else
            say "      no rtpengine: its figures are left out"
        fi
    fi
}

[ -w . ] || fail "$PWD is not writable for $(id -un): clone it into a directory of your own"
mkdir -p build
case "$purpose" in run | test | bench) ;; *) fail "tools/setup.sh takes run, test or bench, not '$purpose'" ;; esac
provide_programs
provide_environment
provide_python_packages
if [ "$purpose" = test ]; then provide_fuzzer; fi
if [ "$purpose" = bench ]; then provide_compared; fi
