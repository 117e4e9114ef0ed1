# One virtual environment, made and kept up to date by whatever needs it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

FRAMEWORKS ?= .venv-frameworks
TENSORFLOW := $(FRAMEWORKS)/tensorflow
CHAINER := $(FRAMEWORKS)/chainer
JAX := $(FRAMEWORKS)/jax
PADDLE := $(FRAMEWORKS)/paddle
MXNET := $(FRAMEWORKS)/mxnet
PIP := python -m pip install --quiet --disable-pip-version-check
FOREIGN := -m pytest -c /dev/null --rootdir . --noconftest -p no:cacheprovider

TEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-full test-rest test-frameworks lint types tables reference docs check parity real real-files bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,fast,docs,dev]'
	@touch $@

demo: $(STAMP)             ## write a full-size VMZ file, convert it, prove parity with real Caffe2
	$(BIN)/convert demo

test: $(STAMP)             ## the fast suite: everything once
	$(TEST) -m "not full" --hypothesis-profile fast $(ARGS)

test-full: $(STAMP)        ## all tests: every network, golden and pair of layouts
	$(TEST) $(ARGS)

test-rest: $(STAMP)        ## what the fast suite leaves out or tries with few examples, save the longest
	$(TEST) -m "(full or hypothesis) and not long" $(ARGS)

# Each framework in an environment of its own: they do not go together, nor with what is built here.
$(TENSORFLOW)/.installed: Makefile
	$(PYTHON) -m venv $(TENSORFLOW)
	$(TENSORFLOW)/bin/$(PIP) "tensorflow-cpu==2.21.0" "numpy<2.5" pytest
	@touch $@

$(CHAINER)/.installed: Makefile
	$(PYTHON) -m venv $(CHAINER)
	$(CHAINER)/bin/$(PIP) "setuptools<80" wheel "numpy<2" h5py pytest "protobuf<4"
	$(CHAINER)/bin/$(PIP) --no-build-isolation "chainer==7.8.1"
	@touch $@

$(JAX)/.installed: Makefile
	$(PYTHON) -m venv $(JAX)
	$(JAX)/bin/$(PIP) "jax==0.10.2" "flax==0.12.8" "dm-haiku==0.0.17" "optax==0.2.8" "msgpack==1.2.4" pytest
	@touch $@

$(PADDLE)/.installed: Makefile
	$(PYTHON) -m venv $(PADDLE)
	$(PADDLE)/bin/$(PIP) "paddlepaddle==3.3.1" "numpy==2.4.6" setuptools pytest
	@touch $@

$(MXNET)/.installed: Makefile
	$(PYTHON) -m venv $(MXNET)
	$(MXNET)/bin/$(PIP) "mxnet==1.9.1" "numpy==1.23.5" pytest
	@touch $@

test-frameworks: $(TENSORFLOW)/.installed $(CHAINER)/.installed $(JAX)/.installed $(PADDLE)/.installed $(MXNET)/.installed  ## with real TensorFlow, Chainer, Flax, Paddle, MXNet
	PYTHONPATH=. $(TENSORFLOW)/bin/python $(FOREIGN) tests/frameworks/real_tensorflow.py
	PYTHONPATH=. $(CHAINER)/bin/python $(FOREIGN) tests/frameworks/real_chainer.py
	PYTHONPATH=. $(JAX)/bin/python $(FOREIGN) tests/frameworks/real_jax.py
	PYTHONPATH=. $(PADDLE)/bin/python $(FOREIGN) tests/frameworks/real_paddle.py
	PYTHONPATH=. $(MXNET)/bin/python $(FOREIGN) tests/frameworks/real_mxnet.py

lint: $(STAMP)             ## style, formatting, and the layers of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)            ## mypy, strict
	$(BIN)/mypy

tables: $(STAMP)           ## every name, pattern and setting in the tables
	$(BIN)/python -m converters.mapping.check

reference: $(STAMP)        ## the generated pages: docs/tables.md, tables.schema.json, layouts.md, formats.md
	$(BIN)/python -m converters.mapping.reference docs
	$(BIN)/python scripts/support.py
	$(BIN)/python scripts/formats_page.py

docs: $(STAMP)             ## the pages as a site, in build/site; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/site

check: lint types tables test   ## what to run before every commit

parity: $(STAMP)           ## convert verify over every network, source and layout: ARGS="--only '*-18'"
	$(BIN)/python scripts/check_parity.py $(ARGS)

real: $(STAMP)             ## genuine weights: DeepMind's I3D there and back, by hashes (47 MB download); CLIP=file.mp4
	$(BIN)/python scripts/real_i3d.py $(if $(CLIP),--clip '$(CLIP)') $(ARGS)

real-files: $(STAMP)       ## small real checkpoints, read by our readers and the real libraries: FOLDER=DIR of fetched files
	$(BIN)/python scripts/real_files.py $(if $(FOLDER),--folder '$(FOLDER)') \
		$(if $(wildcard $(TENSORFLOW)/.installed),--python tensorflow=$(TENSORFLOW)/bin/python) $(ARGS)

bench: $(STAMP)            ## the benchmark table against cp and pickle.load + torch.save
	$(BIN)/python scripts/bench.py

clean:
	rm -rf $(VENV) $(FRAMEWORKS) demo-files .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
