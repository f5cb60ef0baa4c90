# What people and CI run. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# As many as there are cores, yet no more than this: each has a database and some live servers.
WORKERS ?= 4
ARGS ?=

BIN := $(VENV)/bin
CLIENTS := $(wildcard tests/contract/requirements.txt)
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-login test check bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Variables: PYTHON=$(PYTHON) PORT=$(PORT) WORKERS=$(WORKERS) ARGS='...' (more arguments for pytest or the bench)"

setup: $(STAMP)  ## build .venv and install everything; quick when nothing has changed

# Only what is named here can change what has to be installed: the package itself is installed editable.
$(STAMP): pyproject.toml $(CLIENTS)
	@command -v $(PYTHON) >/dev/null || { \
		echo "make: there is no $(PYTHON). Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $$($(PYTHON) --version) is too old: Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make virtual environments: its venv or ensurepip module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "==> Building $(VENV) with $$($(PYTHON) --version)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "==> Installing django-langserve and what its tests need (a minute or so the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' $(addprefix -r ,$(CLIENTS))
	@touch $@

demo: setup  ## serve the examples on PORT, with their own database in .demo/
	@$(BIN)/python -m examples.demo --port $(PORT) $(ARGS)

demo-login: setup  ## give the demo user a new password and a new token
	@$(BIN)/python -m examples.demo --new-login

test: setup  ## run the tests: make test ARGS='-k stream -x'
	@echo "==> Running the tests"
	@mkdir -p build
	@$(BIN)/python -m pytest -n auto --maxprocesses $(WORKERS) $(ARGS)

# Settings of a production site that is called over HTTPS; the key is as good as a real one.
PRODUCTION = env -u DATABASE_URL -u REDIS_URL DEBUG=0 DEMO=0 HTTPS=1 ALLOWED_HOSTS=example.org \
	SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(60))')"

check: setup  ## format, lint, types, imports, migrations, deployment settings
	@echo "==> ruff format"
	@$(BIN)/ruff format --check --quiet . || { echo "make: run $(BIN)/ruff format" >&2; exit 1; }
	@echo "==> ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "==> mypy"
	@$(PRODUCTION) $(BIN)/mypy .
	@echo "==> lint-imports"
	@$(BIN)/lint-imports --no-cache --no-logo
	@echo "==> makemigrations --check"
	@$(PRODUCTION) $(BIN)/python manage.py makemigrations --check --dry-run
	@echo "==> check --deploy"
	@$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

bench: setup  ## measure against LangServe, side by side: make bench ARGS='--only stream'
	@$(BIN)/python -m benchmarks.peer $(ARGS)

clean:  ## remove .venv, the demo's state and all caches
	rm -rf $(VENV) .demo build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache benchmarks/.peer
