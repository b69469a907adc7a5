# make demo    sets everything up and runs the main job
# make test    sets everything up and passes the tests
# make bench   all cases of all tests and the benchmarks (hours on two cores); REFERENCE=FILE.csv adds others' runs
# make lint    ruff and mypy
# make docs    the site of docs/ in build/site
#
# PYTHON chooses the interpreter of the virtual environment: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Only tests on a machine without a GPU need it, to interpret the kernels: 1 GB on disk, half a minute.
TRITON ?= triton==3.9.0
# One thread a process: ranks are processes and would take each other's cores.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS
# Commands and tests start hundreds of processes: each would compile the package anew where a setting keeps Python from writing it.
unexport PYTHONDONTWRITEBYTECODE
# Of make test; two of them run the tests that start ranks.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench lint docs

help:
	@sed -n 's/^# \(make .*\)/\1/p' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)

# pip would compile all that it installs; a first import compiles what is used, a sixth of it.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found; Pinisi needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Pinisi needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "the virtual environment could not be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -e .
	@$(BIN)/python -c 'import pinisi.curate.run, pinisi.launch.ranks, pinisi.train.trainer'
	@touch $@

$(VENV)/.triton: $(STAMP)
	@$(BIN)/python -c 'import triton' 2>/dev/null || test "$$(uname -s)" != Linux || \
	  $(BIN)/python -m pip install --quiet --no-compile "$(TRITON)"
	@touch $@

demo: setup
	$(BIN)/pinisi demo

test: setup $(VENV)/.triton
	$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

bench: setup $(VENV)/.triton
	$(BIN)/python -m pip install --quiet --no-compile -e '.[bench,lora,harness,evaluate,select]' trl
	PINISI_EXACTNESS=full $(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder
	mkdir -p runs/bench
	$(BIN)/pinisi bench pipeline --json runs/bench/pipeline.json
	$(BIN)/pinisi bench emulated --json runs/bench/emulated.json
	$(BIN)/pinisi bench heads --json runs/bench/heads.json
	$(BIN)/pinisi bench vocabulary --json runs/bench/vocabulary.json
	$(BIN)/pinisi bench packed --json runs/bench/packed.json
	$(BIN)/pinisi bench sft --work runs/bench/sft --json runs/bench/sft.json
	$(BIN)/pinisi bench preference --work runs/bench/preference --json runs/bench/preference.json
	$(BIN)/pinisi bench prompt-heavy --json runs/bench/prompt_heavy.json
	$(BIN)/pinisi bench sharded --json runs/bench/sharded.json
	$(BIN)/pinisi bench free-vocabulary --json runs/bench/free_vocabulary.json
	$(BIN)/pinisi bench vocabulary-size --folder runs/bench/vocabulary-size --json runs/bench/vocabulary_size.json
	$(BIN)/pinisi bench expansion --folder runs/bench/expansion --json runs/bench/expansion.json
	$(BIN)/pinisi corpus fetch runs/bench/corpus
	$(BIN)/pinisi bench phases --corpus runs/bench/corpus --work runs/bench/phases --json runs/bench/phases.json
	$(BIN)/pinisi bench vocabulary-advice --folder runs/bench/vocabulary-advice --json runs/bench/vocabulary_advice.json
	$(BIN)/python benchmarks/faults.py --json runs/bench/faults.json
	$(if $(REFERENCE),$(BIN)/pinisi bench reference $(REFERENCE) --json runs/bench/reference.json)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	@$(BIN)/python -c 'import mkdocs, mkdocstrings' 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
