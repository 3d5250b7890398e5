# The first Python that runs and is new enough; a name alone proves nothing where versions are switched by shims.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
PORT ?= 8000
BIN := .venv/bin
# pyenv's shims run only the version that is switched on; tox is to find them all.
PYENV := $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[123]*/bin/python)
DISCOVER := $(if $(PYENV),--discover $(PYENV))

.DELETE_ON_ERROR:
.PHONY: help demo serve test check docs wheel tox bench bench-docs bench-against bench-alternatives clean

help: ## Show this list
	@sed -n 's/^\([a-z%-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/demo ## Load a real report into a fresh example host and ask it, from Python and over HTTP
	$(BIN)/python example/demo.py

serve: .venv/demo ## Leave the example host running: admin and API page (PORT=8000)
	@test -e example/db.sqlite3 || $(BIN)/python example/demo.py
	@echo
	@echo "  API     http://127.0.0.1:$(PORT)/api/docs/"
	@echo "  admin   http://127.0.0.1:$(PORT)/admin/"
	@echo "  login   admin, password admin"
	@echo
	cd example && ../$(BIN)/python manage.py migrate --verbosity 0 && ../$(BIN)/python manage.py runserver $(PORT)

# mysqlclient has no wheels for Linux, so a machine without a compiler and libmariadb-dev tests the other engines.
test: .venv/test ## Run the suite on each database that answers; ENGINES="sqlite postgresql mariadb mysql" demands them
	@$(BIN)/python -c 'import MySQLdb' 2>/dev/null || $(BIN)/pip install --quiet --editable '.[mysql]' >.venv/mysqlclient.log 2>&1 \
		|| echo "mysqlclient could not be built (needs gcc, pkg-config and libmariadb-dev): .venv/mysqlclient.log"
	$(BIN)/python -m tests.run_engines

check: .venv/check ## Lint, types, layers, docs, migrations on the oldest and the newest Django
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) docs
	$(BIN)/tox run $(DISCOVER) -m migrations

docs: .venv/check ## Build the documentation into docs/_build/html, warnings are errors
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

wheel: .venv/bin/python ## Build the wheel into dist/
	rm -rf build dist
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

tox: .venv/check ## Run the whole matrix that this machine's interpreters allow, or a part: LABEL=corners
	$(BIN)/tox run-parallel --parallel-no-spinner $(DISCOVER) $(if $(LABEL),-m $(LABEL))

# SQLite has one writer at a time by design: there is nothing to measure about its locks.
bench: .venv/bench ## Measure everything against its targets, in about 90 minutes; ENGINES="postgresql" for fewer
	@set -e; for engine in $(or $(ENGINES),$(ENGINE),sqlite postgresql mariadb); do \
		for name in load growth spellings judge read cohorts write sync runs erasure $$([ $$engine = sqlite ] || echo locks); do \
			$(BIN)/python -m benchmarks $$name --engine $$engine $(if $(ROWS),--rows $(ROWS)); \
		done; \
	done

# Each has the same name as its benchmark: load growth spellings judge read cohorts write locks sync runs erasure.
bench-%: .venv/bench ## Measure one thing: bench-load, -spellings, -judge, -read and so on; ENGINE=postgresql ROWS=2000000
	$(BIN)/python -m benchmarks $* $(if $(ENGINE),--engine $(ENGINE)) $(if $(ROWS),--rows $(ROWS))

bench-events: .venv/bench-events ## Measure the reader of the event bus beside the stock one; ENGINE=postgresql
	.venv/bench-events/bin/python -m benchmarks events --engine $(or $(ENGINE),postgresql) $(if $(ROWS),--rows $(ROWS))

bench-against: .venv/bench ## Measure beside the package of a commit: REF=b2f15bb NAMES="read cohorts write load locks" ENGINE=postgresql
	$(if $(REF),,$(error Which commit? Name it with REF=))
	$(BIN)/python -m benchmarks against $(REF) $(NAMES) $(if $(ENGINE),--engine $(ENGINE)) $(if $(ROWS),--rows $(ROWS))

bench-alternatives: .venv/bench ## Load a real report by what people would install instead, on PostgreSQL, in about 5 minutes
	$(BIN)/python -m benchmarks.alternatives

bench-docs: .venv/bench ## Write docs/performance.rst and its charts from what was measured
	$(BIN)/python -m benchmarks.document

clean: ## Remove everything that was built, the environments included
	rm -rf .venv .tox build dist docs/_build *.egg-info .coverage* .*_cache .import_linter_cache
	rm -f example/db.sqlite3 example/warehouse.sqlite3 example/report.json

.venv/bin/python:
	$(if $(PYTHON),,$(error No Python 3.11 or newer found: name one with PYTHON=/path/to/python))
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python setup.py example/requirements.txt
	$(BIN)/pip install --quiet --editable '.[rest,warehouse]' --requirement example/requirements.txt
	@touch $@

.venv/test: .venv/bin/python setup.py requirements/test.txt
	$(BIN)/pip install --quiet --editable '.[rest,postgresql,warehouse]' --requirement requirements/test.txt
	@touch $@

.venv/bench: .venv/test requirements/bench.txt
	$(BIN)/pip install --quiet --editable '.[mysql,warehouse]' --requirement requirements/bench.txt
	@touch $@

# Of its own, or the suite would find the packages of Open edX.
.venv/bench-events: .venv/bin/python setup.py requirements/test.txt requirements/events.txt
	$(BIN)/python -m venv $@
	$@/bin/pip install --quiet --editable '.[rest,postgresql,warehouse,events]' --requirement requirements/test.txt --requirement requirements/events.txt
	@touch $@

.venv/check: .venv/bin/python setup.py requirements/test.txt requirements/check.txt
	$(BIN)/pip install --quiet --editable '.[rest,postgresql,warehouse]' --requirement requirements/check.txt
	@touch $@
