# Everything a checkout can do; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help run test lint fuzz bench compile lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

run: ## install what is missing, then call through a NAT in the lab, without and with sipalg (5 minutes)
	@tools/setup.sh run
	@.venv/bin/python tools/compile.py
	@tools/run.sh

test: ## install what is missing, then run all checks and tests
	@tools/setup.sh test
	@.venv/bin/python tools/compile.py
	@tools/test.sh

lint: ## style, types and layers only
	@tools/setup.sh test
	@tools/lint.sh

fuzz: ## fuzz the parsers and the engine, FUZZ_SECONDS (60) each
	@tools/setup.sh test
	@tools/fuzz.sh

bench: ## measure what messages, calls and media cost into bench/RESULTS.md (BENCH_ARGS="--only media,calls" for less)
	@tools/setup.sh bench
	@.venv/bin/python tools/compile.py
	@.venv/bin/python -m bench.run --write $(BENCH_ARGS)

compile: ## compile the packet path to machine code (SIPALG_BUILD=pure runs it interpreted)
	@tools/setup.sh run
	@.venv/bin/python tools/compile.py --must

lock: ## write requirements.lock and those of fuzz/ and bench/ anew (-U in LOCK_ARGS takes newer versions)
	@tools/lock.sh $(LOCK_ARGS)

clean: ## remove what was made here: environment, caches, build
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache src/sipalg/compiled src/sipalg/compiled.new
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
