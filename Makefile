# Every verb works on a fresh clone. Needed beforehand: Python >= 3.11 with venv, Rust >= 1.89, make.
#   make demo PYTHON=python3.13          another interpreter (after `make clean`)
#   make test PYTEST_ARGS="-k estimate"  some of the Python tests

PYTHON ?= python3
CARGO ?= cargo
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMPS := $(VENV)/.stamps

# Folders are listed too: their times change when a file is added or removed.
TREE := $(wildcard rust python)
SOURCES := $(if $(TREE),$(shell find $(TREE) \( -name __pycache__ -o -name .mypy_cache -o -name '*.so' \) -prune \
	-o \( -type d -o -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name '*.html' -o -name py.typed \) -print)) \
	Cargo.toml Cargo.lock pyproject.toml $(wildcard README.md LICENSE build.rs .cargo/config.toml)
PY_CODE := $(wildcard python tests benches examples fuzz)
PY_BENCHES := $(wildcard benches/python/bench_*.py)

# An active environment is not ours: maturin refuses two of them, PYTHONPATH would hide the installed wheel.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

# ---- setting up ----------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMPS)/wheel $(STAMPS)/test $(STAMPS)/lint ## .venv with the wheel and everything that tests and lint need

.PHONY: build
build: $(STAMPS)/wheel ## release wheel in dist/, installed in .venv

.PHONY: need-python need-cargo need-rust-lint
need-python:
	@command -v $(PYTHON) >/dev/null || { echo "make: '$(PYTHON)' is not on PATH; name a Python >= 3.11 with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is $$($(PYTHON) -V 2>&1); name a Python >= 3.11 with PYTHON=..." >&2; exit 1; }

need-cargo:
	@command -v $(CARGO) >/dev/null || { echo "make: '$(CARGO)' is not on PATH; install Rust >= 1.89 (rustup.rs)" >&2; exit 1; }
	@$(CARGO) --version | awk '{split($$2, v, "."); exit !(v[1] > 1 || v[2] >= 89)}' || \
		{ echo "make: $$($(CARGO) --version) is too old; install Rust >= 1.89 (rustup.rs)" >&2; exit 1; }

need-rust-lint: need-cargo
	@{ $(CARGO) fmt --version && $(CARGO) clippy --version; } >/dev/null 2>&1 || \
		{ echo "make: rustfmt or clippy is missing; run 'rustup component add rustfmt clippy'" >&2; exit 1; }

$(STAMPS)/venv: | need-cargo need-python
	@$(PYTHON) -m venv --clear $(VENV) || \
		{ rm -rf $(VENV); echo "make: $(PYTHON) cannot make a virtual environment (on Debian: install python3-venv)" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

# One stamp for each lock file: build, test, torch, aer, qiskit, ray, lint, bench, lock.
$(STAMPS)/%: requirements/%.txt $(STAMPS)/venv
	$(PIP) install --requirement $<
	@touch $@

# Messages of panics name source files: as seen from here, not where this machine keeps them.
$(STAMPS)/wheel: export RUSTFLAGS += --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=registry \
	--remap-path-prefix=$(CURDIR)=efl-core
$(STAMPS)/wheel: $(SOURCES) $(STAMPS)/build | need-cargo
	@rm -f dist/efl_core-*.whl
	$(BIN)/maturin build --release --locked --interpreter $(BIN)/python --out dist
	$(PIP) install --force-reinstall --no-deps dist/efl_core-*.whl
	$(PIP) install --constraint requirements/test.txt dist/efl_core-*.whl
	@touch $@

# What the demonstration takes beside the wheel: PennyLane's interfaces and a figure.
$(STAMPS)/demo: $(STAMPS)/wheel requirements/test.txt
	$(PIP) install --constraint requirements/test.txt "$$(ls dist/efl_core-*.whl)[pennylane,plot]"
	@touch $@

# ---- using ---------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(STAMPS)/demo ## build, install, and run `python -m efl_core demo`
	$(BIN)/python -m efl_core demo

.PHONY: test test-rust test-python test-aer test-qiskit test-ray test-torch
test: test-rust test-python ## all tests

test-rust: need-cargo ## unit tests, laws and doc examples of the crates
	$(CARGO) test --locked --package efl-core --package efl-fleet

test-python: $(STAMPS)/wheel $(STAMPS)/test ## Python tests, against the installed wheel
	$(BIN)/python -P -m pytest $(PYTEST_ARGS)

test-aer: $(STAMPS)/wheel $(STAMPS)/test $(STAMPS)/aer ## the tests that need Qiskit's simulator: 100 MB
	$(BIN)/python -P -m pytest tests/pennylane/test_aer.py tests/pennylane/test_aer_noise.py $(PYTEST_ARGS)

test-qiskit: $(STAMPS)/wheel $(STAMPS)/test $(STAMPS)/qiskit ## the tests that need Qiskit itself: 200 MB
	$(BIN)/python -P -m pytest tests/qiskit tests/examples -k qiskit $(PYTEST_ARGS)

test-ray: $(STAMPS)/wheel $(STAMPS)/test $(STAMPS)/ray ## the tests that need Ray: 400 MB
	$(BIN)/python -P -m pytest tests/ray tests/examples/test_readme.py tests/examples/test_docstrings.py \
		-k "cluster or fleet.ray" $(PYTEST_ARGS)

test-torch: $(STAMPS)/wheel $(STAMPS)/test $(STAMPS)/qiskit $(STAMPS)/torch ## the tests that need torch: on Linux 5 GB of CUDA
	$(BIN)/python -P -m pytest tests/pennylane/test_interfaces.py tests/pennylane/test_device_interfaces.py \
		tests/pennylane/test_orders.py tests/qiskit/test_gradients.py \
		tests/fleet/test_frameworks.py tests/fleet/test_learning.py tests/examples/test_examples.py $(PYTEST_ARGS)

NEXT_PYTHON ?= python3.12
NEXT := .venv-next

.PHONY: test-next
test-next: $(STAMPS)/next ## the tests of QNodes with PennyLane's pre-release, in an environment of its own (NEXT_PYTHON=python3.12)
	$(NEXT)/bin/python -P -m pytest tests/pennylane/test_calling.py tests/pennylane/test_execution.py tests/pennylane/test_midway.py \
		tests/pennylane/test_outputs.py tests/pennylane/test_shapes.py $(PYTEST_ARGS)

$(STAMPS)/next: requirements/next.txt $(STAMPS)/wheel
	@$(NEXT_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "make: '$(NEXT_PYTHON)' does not run, or is too old; name a Python >= 3.12 with NEXT_PYTHON=..." >&2; exit 1; }
	$(NEXT_PYTHON) -m venv --clear $(NEXT)
	$(NEXT)/bin/python -m pip --disable-pip-version-check --quiet install --requirement requirements/next.txt
	$(NEXT)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps dist/efl_core-*.whl
	@touch $@

.PHONY: lint fmt
lint: need-rust-lint $(STAMPS)/wheel $(STAMPS)/test $(STAMPS)/lint ## formatting, clippy, rustdoc, ruff, mypy, stubs, import rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	$(BIN)/ruff check $(PY_CODE)
	$(BIN)/ruff format --check $(PY_CODE)
	$(BIN)/python -m mypy --strict python/efl_core
	$(BIN)/python -P -m mypy.stubtest efl_core._native --mypy-config-file pyproject.toml
	PYTHONPATH=python $(BIN)/lint-imports

fmt: need-rust-lint $(STAMPS)/lint ## format Rust and Python, repair what ruff can
	$(CARGO) fmt --all
	$(BIN)/ruff check --fix-only $(PY_CODE)
	$(BIN)/ruff format $(PY_CODE)

.PHONY: bench bench-smoke
bench: need-cargo $(if $(PY_BENCHES),$(STAMPS)/wheel $(STAMPS)/bench) ## criterion benches, then each benches/python/bench_*.py
	$(CARGO) bench --locked --package efl-benches
	@set -e; for bench in $(PY_BENCHES); do echo "$(BIN)/python $$bench"; $(BIN)/python $$bench; done

bench-smoke: need-cargo $(if $(PY_BENCHES),$(STAMPS)/wheel $(STAMPS)/bench) ## each bench once, to see that it runs
	$(CARGO) bench --locked --package efl-benches -- --test
	@set -e; for bench in $(PY_BENCHES); do echo "$(BIN)/python $$bench --smoke"; $(BIN)/python $$bench --smoke; done

KILLS ?= 200

.PHONY: soak
soak: $(STAMPS)/wheel $(STAMPS)/test ## a learner with a journal, killed KILLS times while clients hand in
	EFL_KILLS=$(KILLS) $(BIN)/python -P -m pytest tests/fleet/test_kill.py $(PYTEST_ARGS)

FUZZ_SECONDS ?= 60
FUZZ_SEED ?=

.PHONY: fuzz
fuzz: need-cargo $(STAMPS)/wheel $(STAMPS)/test ## bytes and text from outside, mutated: FUZZ_SECONDS for each target (FUZZ_SEED=7: the same inputs every time)
	$(CARGO) build --release --locked --manifest-path fuzz/Cargo.toml
	@set -e; for target in tally labels packets sums; do fuzz/target/release/efl-fuzz $$target $(FUZZ_SECONDS) $(FUZZ_SEED); done
	$(BIN)/python -P fuzz/metadata.py $(FUZZ_SECONDS) $(FUZZ_SEED)

# ---- keeping house -------------------------------------------------------------------------------------------

.PHONY: ci lock clean
ci: ## what CI runs
	.ci/run

lock: $(STAMPS)/lock ## resolve requirements/*.in again (LOCK_ARGS=--upgrade for newer versions)
	@set -e; cd requirements; for name in build test torch aer qiskit ray lint bench; do \
		UV_CUSTOM_COMPILE_COMMAND="make lock" ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
			--no-annotate --no-emit-index-url --no-emit-find-links $(LOCK_ARGS) $$name.in --output-file $$name.txt; done; \
		UV_CUSTOM_COMPILE_COMMAND="make lock" ../$(BIN)/uv pip compile --quiet --universal --python-version 3.12 \
			--no-annotate --no-emit-index-url --no-emit-find-links $(LOCK_ARGS) next.in --output-file next.txt

clean: ## remove everything that is built
	rm -rf $(VENV) $(NEXT) dist target fuzz/target .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
