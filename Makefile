# make demo-names  a fresh clone to the name tables of 1.26 million made-up people: a small install
# make demo      the same, then all that the other jobs need, and a small run of each
# make test      every test but those on Flink
# make flink-test  the tests on a Flink cluster on this machine; fetches Flink first, 400 MB
# make test-all  every test
# make check     what to run before each commit: lint, types, layers, fast tests
# make check-all  the same on every Python that is here, each in an environment of its own
# make bench     the published figures, and the constants of molino plan
# make lock      pin the newest versions that setup.py allows
# the Pythons that setup.py allows, the newest first, in PATH or of pyenv; which of them are here, a path each
PYTHONS := 3.13 3.12 3.11
FIND = for version in $(1); do for each in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
  "$$each" -c '' 2>/dev/null && { command -v "$$each"; break; }; done; done; true
PYTHON ?= $(or $(firstword $(shell $(call FIND,$(PYTHONS)))),python3.11)
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := demo
# a file of tests stays on one core, with what its tests share; the longest first, as tests/conftest.py has them
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
# uv installs what pip would, in a tenth of the time. A lock is complete: --no-deps keeps it from asking for what
# requirements/overrides.txt leaves out. All is compiled once: where PYTHONDONTWRITEBYTECODE is set, every start would do it
UV ?= $(shell command -v uv || echo $(BIN)/uv)
INSTALL = $(UV) pip install -q --python $(BIN)/python --no-deps --compile-bytecode

.PHONY: demo demo-names test flink-pieces flink-test test-all check check-all faults bench docs lock clean

demo-names: $(VENV)/light $(DEMO)/sep.txt
	$(BIN)/molino names --input $(DEMO)/sep.txt --output $(DEMO)/names --repair-names

# one after the other: the first report is there before anything heavy comes
demo: demo-names
	$(MAKE) $(VENV)/installed $(DEMO)/titles.csv $(DEMO)/sea
	$(BIN)/molino titles --input $(DEMO)/titles.csv --output $(DEMO)/titles
	$(BIN)/molino train titles --input $(DEMO)/titles --architecture phrases --output $(DEMO)/classifier
	$(BIN)/molino predict --model $(DEMO)/classifier --input $(DEMO)/titles.csv --output $(DEMO)/predictions
	$(BIN)/molino model train --input $(DEMO)/titles --output $(DEMO)/model --dim 50 --epochs 2
	$(BIN)/molino titles --input $(DEMO)/titles.csv --model small=$(DEMO)/model --output $(DEMO)/vectors
	$(BIN)/molino pca --input $(DEMO)/vectors --column small --output $(DEMO)/pca --max-cosine-error 0.01 \
	  --label-column title
	$(BIN)/molino whales --input $(DEMO)/sea/images --output $(DEMO)/whales
	$(BIN)/molino shapes --output $(DEMO)/shapes --rows 20000 --sweep sweeps/demo.yaml

test: $(VENV)/installed
	@echo "Without the tests on Flink: make flink-test"
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not flink and not alone"
	$(BIN)/python -m pytest -m "alone and not flink" $$(grep -rlw --include='*.py' mark.alone tests)

flink-pieces: $(VENV)/installed
	deploy/flink/fetch

flink-test: flink-pieces
	$(BIN)/python -m pytest -m flink

test-all: flink-pieces
	$(BIN)/python -m pytest -m "flink or not flink"

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not flink" -x

check-all: $(VENV)/installed
	for version in $(PYTHONS); do \
	  found=$$($(call FIND,$$version)); \
	  if [ -z "$$found" ]; then echo "no Python $$version here"; continue; fi; \
	  $(MAKE) check PYTHON=$$found VENV=.venv-$$version || exit 1; \
	done
	$(BIN)/python -m pytest tests/setup/test_pythons.py

faults: $(VENV)/installed
	$(BIN)/python -m pytest tests/faults

bench: $(VENV)/bench-installed
	$(BIN)/python benchmarks/names.py
	$(BIN)/python benchmarks/titles.py
	$(BIN)/python benchmarks/reader.py
	$(BIN)/python benchmarks/whales.py
	$(BIN)/python benchmarks/pca.py
	$(BIN)/python benchmarks/shapes.py
	$(BIN)/python benchmarks/constants.py

docs: $(VENV)/installed
	$(BIN)/python docs/make_schemas.py
	$(BIN)/python deploy/dataflow/make_metadata.py
	$(BIN)/python docs/make_scale.py
	$(BIN)/python docs/make_pictures.py diagrams

$(DEMO)/sep.txt: | $(VENV)/light
	$(BIN)/molino sample names --output $@

$(DEMO)/titles.csv: | $(VENV)/installed
	$(BIN)/molino sample titles --output $@ --rows 20000

$(DEMO)/sea: | $(VENV)/installed
	$(BIN)/molino sample whales --output $@ --images 20

$(VENV)/light: requirements/run.txt requirements/uv.txt setup.py
	@echo "Installing into $(VENV) what names and pca need: 553 MB"
	$(PYTHON) -m venv --clear $(VENV)
	command -v uv >/dev/null || $(BIN)/pip --disable-pip-version-check -q install --require-hashes -r requirements/uv.txt
	$(INSTALL) --require-hashes -r requirements/run.txt
	$(INSTALL) -e .
	$(BIN)/python -m compileall -q molino jobs schemas training transforms
	touch $@

$(VENV)/installed: $(VENV)/light requirements/dev.txt
	@echo "Installing into $(VENV) what all else needs: 4.1 GB in all"
	$(INSTALL) --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/bench-installed: requirements/bench.txt $(VENV)/installed
	$(INSTALL) --require-hashes -r requirements/bench.txt
	touch $@

# One resolution of everything, then a file for each use that agrees with it.
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" --upgrade setup.py
PIN := $(COMPILE) --generate-hashes -c $(VENV)/all.txt
LEAN := --override requirements/overrides.txt --extra tensorflow
lock:
	$(COMPILE) --all-extras -o $(VENV)/all.txt
	$(PIN) -o requirements/run.txt
	$(PIN) $(LEAN) --extra images --extra dev -o requirements/dev.txt
	sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > requirements/uv.txt
	$(PIN) $(LEAN) --extra images --extra dev --extra bench -o requirements/bench.txt
	for extra in aws dataflow heic images shapes xlsx; do $(PIN) --extra $$extra -o requirements/$$extra.txt || exit 1; done
	$(PIN) $(LEAN) -o requirements/tensorflow.txt
	$(subst setup.py,tests/storage/requirements.in,$(PIN)) -o tests/storage/requirements.txt

clean:
	rm -rf $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
