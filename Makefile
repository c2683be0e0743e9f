# Every target sets up what it needs: a fresh clone, `make demo`, done.

VENV        ?= .venv
PYTHON      ?=
WORKERS     ?= auto
TORCH_INDEX ?=
PYTEST_ARGS ?=
LAWS        ?= tests/laws tests/e2e
BENCH       ?=
QUICK       ?= tests/unit/cli tests/unit/config tests/unit/data tests/unit/run tests/unit/stats \
	tests/unit/test_files.py tests/unit/test_tensor_stream.py tests/e2e/test_endings.py

BIN := $(VENV)/bin

# One thread a process: parallel tests would otherwise fight over the cores, and results would
# depend on how many there are. Tests start hundreds of processes, so what Python compiles is kept
# even where the environment says otherwise.
ONE_THREAD := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

RUNTIME := $(VENV)/.installed-runtime
DEV     := $(VENV)/.installed-dev
SETUP   := VENV='$(VENV)' PYTHON='$(PYTHON)' TORCH_INDEX='$(TORCH_INDEX)' sh scripts/setup.sh

.DEFAULT_GOAL := help
.PHONY: demo test test-lowest test-newest calibrate lint docs reference notebooks bench setup clean help

demo: $(RUNTIME) ## compress a small model on embedded data; its report is runs/demo/report.html
	$(BIN)/safecompress demo

test: $(DEV) ## run all tests in parallel, laws at small counts
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-lowest: ## run the quick tests with the lowest allowed versions of what the package needs
test-newest: ## run the quick tests with the newest versions of everything but torch
test-lowest test-newest:
	VENV='$(VENV)-$(@:test-%=%)' PYTHON='$(PYTHON)' TORCH_INDEX='$(TORCH_INDEX)' \
		VERSIONS='$(@:test-%=%)' sh scripts/setup.sh dev
	$(ONE_THREAD) '$(VENV)-$(@:test-%=%)/bin/python' -m pytest -n $(WORKERS) \
		-W ignore::DeprecationWarning $(PYTEST_ARGS) $(QUICK)

calibrate: $(DEV) ## run the laws at full counts (hours); cells in benchmarks/results/calibrate
	$(ONE_THREAD) SAFECOMPRESS_CALIBRATE=1 $(BIN)/python -m pytest -n $(WORKERS) --timeout 0 \
		$(PYTEST_ARGS) $(LAWS)

lint: $(DEV) ## check style, formatting, types and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

docs: $(DEV) ## build the documents as a site in build/site; a link to nowhere is an error
	$(ONE_THREAD) $(BIN)/python scripts/build_site.py build/site

notebooks: $(DEV) ## run docs/notebooks and store them with their outputs
	$(ONE_THREAD) $(BIN)/python scripts/run_notebooks.py

reference: $(DEV) ## write docs/options.md, docs/schemas and docs/verdict.schema.json anew
	$(BIN)/python scripts/write_reference.py
	$(BIN)/python -m safecompress.verdicts.schema docs/verdict.schema.json

bench: $(DEV) ## list the benchmarks, or run one: make bench BENCH=name
	@VENV='$(VENV)' sh scripts/bench.sh '$(BENCH)'

setup: $(DEV) ## only create the virtual environment, with everything for development

clean: ## remove caches, build outputs and the virtual environment; never runs/ or results
	rm -rf '$(VENV)' '$(VENV)-lowest' '$(VENV)-newest' build dist .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@printf '\nSettings, as in `make test WORKERS=1`:\n'
	@printf '  PYTHON=%-15s %s\n' path 'interpreter for $(VENV); default: the first Python >= 3.11 found'
	@printf '  TORCH_INDEX=%-10s %s\n' url 'install torch from this package index, for example PyTorch'\''s'
	@printf '  %22s %s\n' '' 'CPU-only one: on Linux the default build brings several GB of CUDA'
	@printf '  WORKERS=%-14s %s\n' n 'parallel test processes; default: one a core'
	@printf '  PYTEST_ARGS=%-10s %s\n' args 'more arguments for pytest'
	@printf '  QUICK=%-16s %s\n' paths 'which tests make test-lowest and make test-newest run'
	@printf '  LAWS=%-17s %s\n' paths 'which tests make calibrate runs; default: $(LAWS)'

# The stamps are newer than what they were installed from; scripts/setup.sh writes them last.
$(RUNTIME): pyproject.toml constraints.txt
	@$(SETUP) runtime

$(DEV): pyproject.toml constraints.txt
	@$(SETUP) dev
