#!/usr/bin/env bash
# Writes the three lock files anew from pyproject.toml, for every Python ≥ 3.11. Needs uv, on the PATH or in .venv/bin.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$PWD/.venv/bin"
command -v uv >/dev/null || {
    echo "sipalg: uv is missing (.venv/bin/pip install uv)" >&2
    exit 1
}
# An extra that one package asks of another is named too: else pip asks for that other's newest version, and refuses
# it for having no hash here, as soon as there is a newer one than the lock's.
compile=(uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock")
"${compile[@]}" "$@" --group dev --group build pyproject.toml -o requirements.lock
"${compile[@]}" "$@" --group pyproject.toml:fuzz -o fuzz/requirements.lock
"${compile[@]}" "$@" --group pyproject.toml:bench -o bench/requirements.lock
