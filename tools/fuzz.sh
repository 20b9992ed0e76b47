#!/usr/bin/env bash
# Fuzzes each target for FUZZ_SECONDS (60). What it finds stays in build/fuzz: crash-* is the input that broke a rule.
set -euo pipefail
cd "$(dirname "$0")/.."
for target in message sdp engine; do
    mkdir -p "build/fuzz/$target"
    echo "== $target, ${FUZZ_SECONDS:-60} s"
    .venv/bin/python -m fuzz.run "$target" -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$target/" "build/fuzz/$target" fuzz/corpus
done
