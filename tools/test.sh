#!/usr/bin/env bash
# All checks and tests, from quick to slow; stops at the first that fails. The last line is pytest's own summary.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# Both need one processor, and less time side by side.
log=$(mktemp)
SIPALG_BUILD=pure COVERAGE_FILE=.coverage.core .venv/bin/python -m pytest -q tests/codec tests/engine \
    --cov=sipalg.codec --cov=sipalg.engine --cov-branch --cov-fail-under=100 >"$log" 2>&1 &
core=$!
trap 'if [ -n "$core" ]; then kill "$core" 2>/dev/null || true; fi; rm -f "$log"' EXIT
tools/lint.sh
echo "== codec and engine, interpreted: every branch from their own tests"
failed=0
wait "$core" || failed=1
core=
cat "$log"
[ "$failed" = 0 ]
echo "== everything, with $(.venv/bin/sipalg --version), in four processes: those of the lab mostly wait"
.venv/bin/python -m pytest -n 4 --dist loadgroup
