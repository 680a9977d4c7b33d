# Run and test Tocsin on a machine with python3, make and git. `make` alone lists what there is.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help run test unit pythons suite lint format lock docs picture dist bench report clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: $(VENV)/run ## Tocsin in this terminal: with your app (API_BASE_URL in .env), else with the bundled demo
	@exec $(BIN)/python scripts/run.py

test: lint ## every check and test, with coverage
	@scripts/need prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager chromium=chromium tini=tini zsh=zsh fish=fish curl=curl openssl=openssl \
	  systemd-analyze=systemd /usr/bin/supervisord=supervisor /usr/sbin/nginx=nginx-light pg_ctlcluster=postgresql /usr/sbin/pgbouncer=pgbouncer
	-@scripts/need node=nodejs npm=npm # without them neither examples/nextjs-ticketing nor Grafana's libraries are tried
	@exec $(BIN)/pytest -n 4 --dist loadfile --cov --cov-report=term-missing:skip-covered

pythons: ## the unit tests and the call's suite on every Python from 3.11 to 3.15 that is here
	@for version in 3.11 3.12 3.13 3.14 3.15; do \
	  if python$$version -c '' 2>/dev/null; then $(MAKE) --no-print-directory suite VENV=.venv-$$version PYTHON=python$$version || exit 1; \
	  else echo "python$$version is not here"; fi; \
	done

unit: $(VENV)/dev ## the fast loop: the unit tests that are quick and need no system packages; ARGS="-k word": some
	@exec $(BIN)/pytest -q -n auto --dist loadfile -m "not slow and not system" tests/unit $(ARGS)

suite: $(VENV)/dev
	$(BIN)/pytest -q tests/unit tests/integration/test_call.py tests/integration/test_hostile_server.py tests/integration/test_clock.py

lint: $(VENV)/dev ## format, lint, types, imports, dependencies, Dockerfiles
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy daemon tests scripts bench
	$(BIN)/lint-imports
	$(BIN)/deptry daemon
	$(BIN)/deptry daemon tests tests/unit tests/integration tests/e2e scripts bench --ignore DEP002,DEP004
	$(BIN)/hadolint Dockerfile examples/nextjs-ticketing/Dockerfile

format: $(VENV)/dev ## put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(VENV)/dev ## write the lock files anew, with the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra postgres -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra postgres --group dev -c requirements.lock -o requirements-dev.lock
	echo hatchling | $(BIN)/uv pip compile $(LOCK) - -c requirements-dev.lock -o requirements-build.lock
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate

docs: $(VENV)/dev ## write the generated parts of the docs, and the job file's schema
	@$(BIN)/python scripts/reference.py

picture: $(VENV)/dev ## draw the README's picture of the status page
	@scripts/need chromium=chromium
	@$(BIN)/python scripts/picture.py

dist: $(VENV)/dev ## build wheel and sdist, and the list of what a wheel is installed with
	@$(BIN)/python scripts/dist.py

bench: $(VENV)/run ## who calls on time? About 45 minutes; QUICK=1: 15; ARGS="--help": more; see docs/performance.md
	@scripts/need 'gcc=gcc libc6-dev' openssl=openssl
	@test -e /usr/include/openssl/ssl.h || scripts/need openssl/ssl.h=libssl-dev
	@PYTHONPATH=bench $(BIN)/python -m punctuality $(if $(QUICK),--quick) $(ARGS)

report: $(VENV)/run ## write the figures of RESULTS=bench/results/….json into docs/performance.md
	@PYTHONPATH=bench $(BIN)/python -m punctuality.report $(RESULTS)

clean: ## remove what the other targets made (not var/: it holds the ledger)
	rm -rf .venv .venv-* .cache bench/.cache dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*

# ---- the virtual environment: only what the lock files have a hash for, and nothing is resolved at installation

# Made anew when its pip does not work, or works for another folder: it was never finished, its Python is gone or
# another, or it was moved or copied.
$(VENV)/bin/pip: FORCE
	@place=$$($(BIN)/pip --version 2>/dev/null | sed -n 's,.* from \(.*\)/lib/.*,\1,p'); \
	if [ ! -e $(VENV)/unfinished ] && [ "$$place" -ef $(VENV) ]; then exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tocsin needs Python 3.11 or later, and $(PYTHON) is older or missing; name another: make PYTHON=python3.13 …" >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  scripts/need ensurepip=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])') || exit 1; \
	echo "Making $(VENV)"; \
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/run: $(VENV)/bin/pip requirements.lock requirements-build.lock pyproject.toml
	@echo "Installing what Tocsin needs into $(VENV) (about a minute)"
	@touch $(VENV)/unfinished
	@$(PIP) install --require-hashes --no-deps -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(PIP) check
	@rm $(VENV)/unfinished
	@touch $@

$(VENV)/dev: $(VENV)/run requirements-dev.lock
	@echo "Installing what the tests need into $(VENV)"
	@touch $(VENV)/unfinished
	@$(PIP) install --require-hashes --no-deps -r requirements-dev.lock
	@$(PIP) check
	@rm $(VENV)/unfinished
	@touch $@

.PHONY: FORCE
