#!/usr/bin/env bash
# All checks and tests, from quick to slow; stops at the first that fails. The last line is pytest's own summary.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

tools/lint.sh
echo "== codec and engine: every branch from their own tests"
COVERAGE_FILE=.coverage.core .venv/bin/python -m pytest -q tests/codec tests/engine \
    --cov=sipalg.codec --cov=sipalg.engine --cov-branch --cov-fail-under=100
echo "== everything"
.venv/bin/python -m pytest --cov=sipalg --cov-branch
