# Two commands from a fresh clone: `make run` and `make test`.

.DEFAULT_GOAL := help
.PHONY: help setup setup-sb3 run test lint benchmark benchmark-full clean

PYTHON_IN_VENV := .venv/bin/python
QUICKSTART_DIR ?= runs/quickstart

help:  ## Print what can be made.
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 18

setup:  ## Make .venv from the pinned versions (quick when nothing changed).
	@bash bin/setup_venv.sh

run: setup  ## Run the whole pipeline at a small size into runs/quickstart.
	$(PYTHON_IN_VENV) bin/reproduce.py \
	  --gin_file=experiments/quickstart.gin --root_dir=$(QUICKSTART_DIR)

test: setup  ## Run all tests on two cores.
	$(PYTHON_IN_VENV) -m pytest -n 2 --dist loadfile

lint: setup  ## Check style and types.
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m mypy

setup-sb3: setup  # The baseline that cannot share .venv.
	@bash bin/setup_sb3.sh

benchmark: setup-sb3  ## Measure against the baselines (12 minutes).
	$(PYTHON_IN_VENV) bin/benchmark.py

benchmark-full: setup-sb3  ## Measure whole cells and compare their learning.
	$(PYTHON_IN_VENV) bin/benchmark.py --full

clean:  ## Remove .venv, .venv-sb3 and build products; runs/ stays.
	rm -rf .venv .venv-sb3 build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
