# What one types. Needs Python 3.11+ with venv, and make; everything else comes as wheels into .venv.
# The stamps .venv/.ready-* make a second `make run` or `make test` start at once.

PYTHON ?= python3
TESTS ?= tests
PIP = .venv/bin/python -m pip --require-virtualenv --disable-pip-version-check --no-input --quiet
LOCK = --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" setup.cfg

.DELETE_ON_ERROR:
.PHONY: help setup run test lint bench map-check lock clean

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: .venv/.ready-test ## Make the environment, the tools of the developers included

run: .venv/.ready-run ## Start everything and print the address (PORT=8000, DATA_DIR=.data)
	@.venv/bin/stagebloom run

test: .venv/.ready-test lint ## Run every check and every test (TESTS=tests/shared for some)
	@sh tests/install_browser.sh
	.venv/bin/python -m pytest -n 2 $(TESTS)

lint: .venv/.ready-test ## Style, types and who may import whom
	.venv/bin/ruff check .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.ready-test ## Measure what README claims
	.venv/bin/python -m benchmarks

map-check: .venv/.ready-test ## Break the code behind each line of docs/specification-map.md
	@.venv/bin/python -m tests.structure.map_check $(ROWS)

lock: ## Resolve the newest versions that setup.cfg allows and pin them
	@$(PYTHON) -m venv --clear .venv/lock
	@.venv/lock/bin/python -m pip --disable-pip-version-check --quiet install uv==0.13.9
	.venv/lock/bin/uv $(LOCK) --upgrade --extra all --extra build --output-file requirements.lock
	.venv/lock/bin/uv $(LOCK) --upgrade --extra dev --constraint requirements.lock \
		--output-file requirements-dev.lock
	@rm -rf .venv/lock

clean: ## Remove what was built; .data (the servers' files) stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/.ready-run: setup.cfg pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "StageBloom needs Python 3.11 or newer; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
		exit 1; }
	@echo "Setting up .venv (once, about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

.venv/.ready-test: .venv/.ready-run requirements-dev.lock
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@
