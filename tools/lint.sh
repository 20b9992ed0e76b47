#!/usr/bin/env bash
# The checks that run nothing: style (ruff), types (mypy, strict), layers (import-linter).
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== ruff"
.venv/bin/ruff check .
echo "== mypy"
.venv/bin/mypy
echo "== import-linter"
.venv/bin/lint-imports --no-cache
