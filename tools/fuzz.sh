#!/usr/bin/env bash
# Fuzzes each target for FUZZ_SECONDS (60). What it finds stays in build/fuzz: crash-* is the input that broke a rule.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
.venv/bin/python -c 'import atheris' 2>/dev/null || {
    echo "sipalg: no fuzzing engine here (atheris has no wheel for this machine's Python or processor)" >&2
    exit 1
}
for target in message sdp stream engine builds netlink capture control; do
    mkdir -p "build/fuzz/$target"
    echo "== $target, $seconds s"
    .venv/bin/python -m fuzz.run "$target" "-max_total_time=$seconds" -max_len=4096 -timeout=10 -verbosity=0 -dict=fuzz/sip.dict \
        "-artifact_prefix=build/fuzz/$target/" "build/fuzz/$target" fuzz/corpus
done
