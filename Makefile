# Two lines for a new user: `make demo` shows a protein move, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: demo test test-newer lint docs clean

demo: $(VENV)/.installed
	$(BIN)/cryojax-graph demo -o demo --overwrite

# One process per file: others would fit the same images again.
test: $(VENV)/.installed-dev lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile

# The newest JAX, on a newer Python: what depends on its interfaces most.
test-newer: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(WORKERS) -m smoke

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict --config-file .mkdocs.yml

clean:
	rm -rf $(VENV) .pytest_cache demo site

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@
