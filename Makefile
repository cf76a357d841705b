# Everything runs in .venv, which the first command makes. Python 3.11 or newer and make are all it takes.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUN    ?= runs/demo

# One thread a process: small matrices gain nothing from more, and two busy processes lose.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1

.PHONY: demo dashboard test test-fast lint bench clean

demo: $(VENV)/.installed
	$(BIN)/workbench demo --out $(RUN)

dashboard: $(VENV)/.installed
	@if [ -f $(RUN)/audit.json ]; then $(BIN)/workbench dashboard $(RUN); else $(BIN)/workbench dashboard; fi

# A file goes to one process, so that what its tests share is made once; by name, so that the long ones begin early.
TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test
	$(TESTS)

test-fast: $(VENV)/.installed-test
	$(TESTS) -m "not slow and not browser"

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.bench_capture
	$(BIN)/python -m benchmarks.bench_probes
	$(BIN)/python -m benchmarks.bench_stream
	$(BIN)/python -m benchmarks.bench_plan

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# requirements.lock pins every version; only what a target needs is installed.
$(VENV)/.installed: pyproject.toml requirements.lock | $(BIN)/python
	@echo "installing into $(VENV) (about a minute)"
	$(PIP) install --constraint requirements.lock --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --constraint requirements.lock --editable '.[test]'
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(PIP) install --constraint requirements.lock --editable '.[test,lint]'
	@touch $@

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
