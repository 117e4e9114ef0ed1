# One virtual environment, made and kept up to date by whatever needs it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types check bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,fast,dev]'
	@touch $@

demo: $(STAMP)             ## write a full-size VMZ file, convert it, prove parity with real Caffe2
	$(BIN)/convert demo

test: $(STAMP)             ## all tests
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)             ## ruff
	$(BIN)/ruff check .

types: $(STAMP)            ## mypy, strict
	$(BIN)/mypy

check: lint types test     ## what CI runs

bench: $(STAMP)            ## the benchmark table against cp and pickle.load + torch.save
	$(BIN)/python scripts/bench.py

clean:
	rm -rf $(VENV) demo-files .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
