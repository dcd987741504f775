# make demo · make test · make lint · make bench. Each makes the environment in .venv first, if it is missing or stale.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run on this many workers; torch gets one thread in each (the fixtures see to it).
WORKERS ?= auto

.PHONY: demo test lint bench docs dist env servers clean

env: $(STAMP)

$(STAMP): requirements-dev.txt constraints.txt $(wildcard packages/*/pyproject.toml)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	touch $@

# Servers that tests start and that must not share our environment: OpenStack Swift. Without it those tests skip.
SERVERS := .venv-servers
servers: $(SERVERS)/.installed

$(SERVERS)/.installed: requirements-servers.txt constraints.txt
	$(PYTHON) -m venv --clear $(SERVERS)
	$(SERVERS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-servers.txt
	touch $@

demo: $(STAMP)
	$(BIN)/wmtp eval examples/demo-config.yaml examples/demo-reference.yaml
	$(BIN)/wmtp eval examples/demo-config.yaml examples/demo-model.yaml
	$(BIN)/wmtp eval examples/demo-config.yaml examples/demo-model.yaml --set model.mtp.speculative=off --set run.name=demo-plain

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy packages/*/src
	$(BIN)/lint-imports

bench: $(STAMP)
	status=0; for b in benchmarks/*.py; do echo "== $$b"; $(BIN)/python $$b || status=1; done; exit $$status

# The site, into site/. Warnings are errors (mkdocs.yml).
docs: $(STAMP)
	$(BIN)/mkdocs build --quiet

# Every package's wheel and source archive, into dist/, checked as an index would check them.
dist: $(STAMP)
	rm -rf dist
	$(BIN)/python scripts/set_version.py --check
	for p in packages/*; do $(BIN)/python -m build --quiet --outdir dist $$p || exit 1; done
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) $(SERVERS) runs dist site
