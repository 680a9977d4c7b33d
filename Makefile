# Run and test Tocsin on a machine with python3, make and git. `make` alone lists the targets.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help run test unit pythons suite lint format lock docs picture dist bench report clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: $(VENV)/run ## run Tocsin in this terminal, with your app (API_BASE_URL in .env) or the bundled demo
	@exec $(BIN)/python scripts/run.py

test: lint ## run every check and test, with coverage
	@scripts/need prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager chromium=chromium tini=tini zsh=zsh fish=fish curl=curl openssl=openssl \
	  systemd-analyze=systemd /usr/bin/supervisord=supervisor /usr/sbin/nginx=nginx-light pg_ctlcluster=postgresql /usr/sbin/pgbouncer=pgbouncer
	-@scripts/need node=nodejs npm=npm # without them examples/nextjs-ticketing, Grafana's libraries and axe-core are not tested
	@exec $(BIN)/pytest -n 4 --dist loadfile --cov --cov-report=term-missing:skip-covered

pythons: ## run the unit tests and the call's suite on every installed Python from 3.11 to 3.15
	@for version in 3.11 3.12 3.13 3.14 3.15; do \
	  if python$$version -c '' 2>/dev/null; then $(MAKE) --no-print-directory suite VENV=.venv-$$version PYTHON=python$$version || exit 1; \
	  else echo "python$$version is not installed"; fi; \
	done

unit: $(VENV)/dev ## run the quick unit tests, which need no system packages; some of them: ARGS="-k word"
	@exec $(BIN)/pytest -q -n auto --dist loadfile -m "not slow and not system" tests/unit $(ARGS)

suite: $(VENV)/dev
	$(BIN)/pytest -q tests/unit tests/integration/test_call.py tests/integration/test_hostile_server.py tests/integration/test_clock.py

lint: $(VENV)/dev ## check format, lint, types, imports, dependencies, Dockerfiles
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy daemon tests scripts bench
	$(BIN)/lint-imports
	$(BIN)/deptry daemon
	$(BIN)/deptry daemon tests tests/unit tests/integration tests/e2e scripts bench --ignore DEP002,DEP004
	$(BIN)/hadolint Dockerfile examples/nextjs-ticketing/Dockerfile

format: $(VENV)/dev ## format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(VENV)/dev ## update the lock files to the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra postgres --extra notify -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra postgres --extra notify --group dev -c requirements.lock -o requirements-dev.lock
	echo hatchling | $(BIN)/uv pip compile $(LOCK) - -c requirements-dev.lock -o requirements-build.lock
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate

docs: $(VENV)/dev ## write the generated parts of the docs, and the job file's schema
	@$(BIN)/python scripts/reference.py

picture: $(VENV)/dev ## draw the README's picture of the status page
	@scripts/need chromium=chromium
	@$(BIN)/python scripts/picture.py

dist: $(VENV)/dev ## build wheel, sdist and the list of a wheel's dependencies
	@$(BIN)/python scripts/dist.py

bench: $(VENV)/run ## compare schedulers: 45 minutes, QUICK=1: 15; options: ARGS="--help"; see docs/performance.md
	@scripts/need 'gcc=gcc libc6-dev' openssl=openssl
	@test -e /usr/include/openssl/ssl.h || scripts/need openssl/ssl.h=libssl-dev
	@PYTHONPATH=bench $(BIN)/python -m punctuality $(if $(QUICK),--quick) $(ARGS)

report: $(VENV)/run ## write the figures of RESULTS=bench/results/….json to docs/performance.md
	@PYTHONPATH=bench $(BIN)/python -m punctuality.report $(RESULTS)

clean: ## remove the files of the other targets (not var/, which holds the ledger)
	rm -rf .venv .venv-* .cache bench/.cache dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*

# ---- the virtual environment: only packages whose hashes are in the lock files, without resolving at installation

# Created again if its pip does not work or belongs to another folder: it was not finished, its Python was removed or
# replaced, or it was moved or copied.
$(VENV)/bin/pip: FORCE
	@place=$$($(BIN)/pip --version 2>/dev/null | sed -n 's,.* from \(.*\)/lib/.*,\1,p'); \
	if [ ! -e $(VENV)/unfinished ] && [ "$$place" -ef $(VENV) ]; then exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tocsin needs Python 3.11 or later, and $(PYTHON) is older or missing; name another: make PYTHON=python3.13 …" >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  scripts/need ensurepip=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])') || exit 1; \
	echo "Creating $(VENV)"; \
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
