# `make help` lists everything. Nothing here needs more than Python 3.11+ and, for tests, what
# tools/system-parts installs by itself where it may.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
ARGS   ?=
# Processes that `make test` uses; 0: one, without a helper, for a debugger.
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo test check accept bench docs pictures serve lock format clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Vedette needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 …")'
	@test -x $(PY) || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the locked dependencies into $(VENV) (once; a few minutes)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## central and a site with three cameras, for real; ARGS=--check waits, checks and exits
	@$(VENV)/bin/vedette demo $(ARGS)

test: $(READY)  ## the whole test suite: unit, integration with real servers, browser
	@$(PY) tools/system_parts.py
	@# The suite starts hundreds of processes: their bytecode is kept, also where the environment says
	@# otherwise. A test that fails beside others is run once more alone, and named (tools/run_tests.py).
	@PYTHONDONTWRITEBYTECODE= $(PY) tools/run_tests.py $(WORKERS) $(ARGS)

check: $(READY)  ## ruff, pyright, import contracts, size limits, docs
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/basedpyright
	@PYTHONPATH=src $(VENV)/bin/lint-imports
	@$(PY) -m pytest -q tests/docs

accept: $(READY)  ## acceptance: kill, cut, fill and skew real processes, then check that nothing is lost
	@$(PY) -m pytest -q tests/acceptance $(ARGS)

bench: $(READY)  ## run the benchmarks; results in benchmarks/results
	@$(PY) benchmarks/run.py $(ARGS)

docs: $(READY)  ## write the reference pages (configuration, streams) from the code
	@$(PY) tools/reference.py

pictures: $(READY)  ## take reference pictures of every console page (needs Chromium)
	@$(PY) tools/console_pictures.py $(ARGS)

serve: $(READY)  ## central alone, on this machine
	@$(VENV)/bin/vedette central run $(ARGS)

format: $(READY)  ## format and fix what can be fixed
	@$(VENV)/bin/ruff check --fix-only -q . ; $(VENV)/bin/ruff format -q .

lock:  ## resolve the dependencies anew (needs uv)
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --all-extras --group dev pyproject.toml -o requirements.lock --upgrade -q

clean:  ## remove what was made here
	@rm -rf $(VENV) .demo build dist .pytest_cache .ruff_cache .hypothesis
