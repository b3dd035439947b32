# make demo      a fresh clone to the name tables of 1.26 million made-up people
# make test      every test
# make check     what to run before each commit: lint, types, layers, fast tests
# make bench     the published figures
# make lock      pin the newest versions that setup.py allows
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
EXTRAS := aws dataflow hdfs tensorflow
PIP := $(BIN)/pip --disable-pip-version-check -q

.PHONY: demo test check faults bench docs lock clean

demo: $(VENV)/installed $(DEMO)/sep.txt
	$(BIN)/molino names --input $(DEMO)/sep.txt --output $(DEMO)/names --repair-names

test: $(VENV)/installed
	$(BIN)/python -m pytest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" -x

faults: $(VENV)/installed
	$(BIN)/python -m pytest tests/faults

bench: $(VENV)/bench-installed
	$(BIN)/python benchmarks/names.py

docs: $(VENV)/installed
	$(BIN)/python docs/make_schemas.py

$(DEMO)/sep.txt: | $(VENV)/installed
	$(BIN)/molino sample names --output $@

$(VENV)/installed: requirements/dev.txt setup.py
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/bench-installed: requirements/bench.txt $(VENV)/installed
	$(PIP) install --require-hashes -r requirements/bench.txt
	touch $@

# One resolution of everything, then a file for each use that agrees with it.
UV ?= $(BIN)/uv
COMPILE := $(UV) pip compile -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --custom-compile-command "make lock" setup.py
lock:
	$(COMPILE) --upgrade --all-extras -o $(VENV)/all.txt
	$(COMPILE) --upgrade --generate-hashes -c $(VENV)/all.txt -o requirements/run.txt
	$(COMPILE) --upgrade --generate-hashes -c $(VENV)/all.txt --extra dev -o requirements/dev.txt
	$(COMPILE) --upgrade --generate-hashes -c $(VENV)/all.txt --extra dev --extra bench -o requirements/bench.txt
	for extra in $(EXTRAS); do \
	  $(COMPILE) --upgrade --generate-hashes -c $(VENV)/all.txt --extra $$extra -o requirements/$$extra.txt || exit 1; done

clean:
	rm -rf $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
