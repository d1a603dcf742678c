# Everything that a newcomer types. Needs make and Python 3.11 or newer with venv and pip; all else goes into .venv.

.ONESHELL:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV := .venv
ARCHITECTURE ?= arm64
BUILD ?= .aws-sam/build
# Bytecode for Lambda is compiled by the runtime's version, where this machine has it.
RUNTIME_PYTHON ?= $(firstword $(shell python3.13 -c 'import sys; print(sys.executable)' 2> /dev/null) $(wildcard $(addsuffix /versions/3.13*/bin/python3.13,$(PYENV_ROOT) $(HOME)/.pyenv)))
export ARCHITECTURE RUNTIME_PYTHON
export BUILD_CACHE := $(CURDIR)/.aws-sam/dependencies
export SAM_CLI_TELEMETRY := 0
# Tests start thousands of processes: compiling for each what it imports would be a good part of their time.
unexport PYTHONDONTWRITEBYTECODE

# The locks are complete, so nothing need be resolved: --no-deps. uv takes a sixth of pip's time;
# where it reaches no index, because only pip is told of one, pip installs.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
INSTALL := $(VENV)/bin/python -m uv pip install --quiet --no-deps --python $(VENV)/bin/python

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: $(VENV)/.local  ## a small company's month through the whole system, on this machine
	@$(VENV)/bin/nilometer demo

.PHONY: local
local: $(VENV)/.local  ## run the whole system on this machine until Ctrl-C
	@$(VENV)/bin/nilometer local

# Processes of the tests, 4 at most. Tests of a stack wait for a good part of their time: one more than there are processors
# keeps those busy.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
.PHONY: test
test: $(VENV)/.dev $(VENV)/sam/.installed $(VENV)/awscli/.installed $(VENV)/readers/.installed $(VENV)/dbt/.installed $(VENV)/notebooks/.installed $(VENV)/dynoxide/.installed $(VENV)/axe/.installed $(VENV)/chromium/.installed $(VENV)/engine/.installed  ## lint, types, architecture, template, build and all tests
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadgroup --durations 25

.PHONY: check
check: $(VENV)/.dev  ## lint, types, architecture and house rules: seconds, before every commit
	@$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports > /dev/null || $(VENV)/bin/lint-imports
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -q -p no:cacheprovider tests/house --deselect tests/house/test_lint.py::test_the_house_is_in_order

.PHONY: fix
fix: $(VENV)/.dev  ## what ruff can put right by itself: order of imports, format
	@$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: simulate
SEEDS ?= 10000
simulate: $(VENV)/.dev  ## play SEEDS=10000 days of the simulation (docs/proof.md), from seed FIRST=0
	@$(VENV)/bin/python -m tests.simulation days $(SEEDS) --first $(or $(FIRST),0) --jobs $(or $(JOBS),$(shell nproc))

.PHONY: prove
STACK ?=
prove: $(VENV)/.dev $(VENV)/sam/.installed $(VENV)/engine/.installed  ## what is built, deployed and at work: on engines, or with STACK=name on a stack of your account
	@if test -n "$(STACK)"; then
	  PATH="$(abspath $(VENV))/bin:$$PATH" $(VENV)/bin/python -m tests.support.stack.proof.prove "$(STACK)"
	else
	  $(VENV)/bin/python -m pytest -n 0 --durations 0 tests/template/functions/test_deployment.py tests/aws/test_archives.py
	  $(VENV)/bin/python -m tests.support.stack.proof.gaps
	fi

.PHONY: drills
drills: $(VENV)/.dev  ## every service away, slow and throttled for up to an hour of played time (docs/proof.md)
	@$(VENV)/bin/python -m tests.simulation drills --jobs $(or $(JOBS),$(shell nproc))

.PHONY: teeth
teeth: $(VENV)/.dev  ## judge the bugs that a tool plants: new ones and those that are not found any more (docs/proof.md)
	@$(VENV)/bin/python -m tests.simulation teeth

.PHONY: build
build: $(VENV)/sam/.installed  ## the Lambda functions into .aws-sam/build, for ARCHITECTURE=arm64 or x86_64
	@PYTHON=$(abspath $(VENV))/bin/python $(VENV)/sam/bin/sam build --parallel --build-dir $(BUILD) \
	  --parameter-overrides Architecture=$(ARCHITECTURE)

.PHONY: validate
validate: $(VENV)/sam/.installed  ## template.yaml as SAM and cfn-lint see it
	@$(VENV)/sam/bin/sam validate --lint

.PHONY: durability
durability: $(VENV)/.dev  ## kill -9 of every local process 50 times in 2,000 events: nothing lost, nothing twice
	@NILOMETER_KILLS=50 NILOMETER_EVENTS=2000 $(VENV)/bin/python -m pytest -q -n 0 tests/local/stack/test_durability.py

.PHONY: site
site: $(VENV)/.dev $(if $(shell command -v npm),$(VENV)/site/.installed)  ## the documentation as pages that need no network, into .site; its diagrams need npm
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet
	echo "Open .site/index.html"

.PHONY: pictures
pictures: $(VENV)/.dev $(VENV)/axe/.installed $(VENV)/chromium/.installed  ## take the documentation's pictures of demo and console anew
	@$(VENV)/bin/python docs/demo_picture.py > /dev/null
	PICTURES=docs/pictures $(VENV)/bin/python -m pytest -q -n 0 tests/cli/console/browser/test_pages.py -k axe

.PHONY: checkov
checkov: $(VENV)/checkov/.installed  ## what checkov says of template.yaml; .checkov.yaml says what is left out and why
	@$(VENV)/checkov/bin/checkov --config-file .checkov.yaml

.PHONY: dbt-stripe
PACKAGE ?=
LAKE ?=
dbt-stripe: $(VENV)/.dev $(VENV)/dbt/.installed  ## build the dbt package in PACKAGE=folder on our tables, of LAKE=place or of a known company
	@$(VENV)/bin/python -m tests.support.lake.warehouse.dbt_stripe "$(PACKAGE)" $(LAKE)

.PHONY: clean
clean:  ## remove what was installed and built
	@rm -rf $(VENV) .aws-sam

# The newest versions that pyproject.toml allows: one set, of which every other lock is a part.
COMPILE := $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate
UPGRADE ?=
.PHONY: lock
lock: $(VENV)/.dev  ## write all locks again after a change of pyproject.toml; UPGRADE=--upgrade for newer versions
	@$(COMPILE) $(UPGRADE) --universal --python-version 3.11 --extra dev pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) $(UPGRADE) --universal --python-version 3.11 requirements/sam.in --output-file requirements/sam.txt
	$(COMPILE) $(UPGRADE) --universal --python-version 3.11 requirements/checkov.in --output-file requirements/checkov.txt
	$(COMPILE) $(UPGRADE) --universal --python-version 3.11 requirements/awscli.in --output-file requirements/awscli.txt
	$(COMPILE) $(UPGRADE) --universal --python-version 3.11 requirements/dbt.in --output-file requirements/dbt.txt
	$(COMPILE) $(UPGRADE) --universal --python-version 3.11 --extra readers pyproject.toml --output-file requirements/readers.txt
	$(COMPILE) $(UPGRADE) --universal --python-version 3.11 --extra notebooks pyproject.toml --output-file requirements/notebooks.txt
	$(COMPILE) --constraint requirements/dev.txt --universal --python-version 3.11 requirements/uv.in --output-file requirements/uv.txt
	part() {
	  $(COMPILE) --constraint requirements/dev.txt pyproject.toml --output-file "$$@"
	}
	part requirements/local.txt --universal --python-version 3.11 --extra local --extra build
	part requirements/engine.txt --universal --python-version 3.11 --extra proof
	# No function runs on another machine than Lambda's, so these carry no markers.
	part src/requirements/aws.txt --python-version 3.13 --python-platform aarch64-manylinux_2_34 --extra aws
	part src/requirements/lake.txt --python-version 3.13 --python-platform aarch64-manylinux_2_34 --extra aws --extra lake
	part src/requirements/console.txt --python-version 3.13 --python-platform aarch64-manylinux_2_34 --extra pages
	part src/requirements/stripe.txt --python-version 3.13 --python-platform aarch64-manylinux_2_34 --extra aws --extra stripe

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nilometer needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.uv: requirements/uv.txt | $(VENV)/bin/python
	@$(PIP) --requirement requirements/uv.txt
	touch $@

$(VENV)/.local: requirements/local.txt pyproject.toml | $(VENV)/.uv
	@echo "Installing nilometer and what it runs on into $(VENV) (once) ..."
	$(INSTALL) --require-hashes --requirement requirements/local.txt || $(PIP) --requirement requirements/local.txt
	$(INSTALL) --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.uv
	@echo "Installing the tools of development into $(VENV) (once) ..."
	$(INSTALL) --require-hashes --requirement requirements/dev.txt || $(PIP) --requirement requirements/dev.txt
	$(INSTALL) --no-build-isolation --editable .
	$(VENV)/bin/python -m pip check
	touch $@ $(VENV)/.local

# A venv of its own for what $(1) locks, by uv or else by pip.
define into_venv
	$(or $(2),$(VENV)/bin/python) -m venv --without-pip $(@D)
	$(VENV)/bin/python -m uv pip install --quiet --no-deps --python $(@D)/bin/python --require-hashes --requirement $(1) \
	  || $(VENV)/bin/python -m pip --python $(@D)/bin/python install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(1)
endef

# Their pins and the local engine's exclude each other, so these tools have a venv each.
$(VENV)/sam/.installed $(VENV)/checkov/.installed $(VENV)/readers/.installed $(VENV)/dbt/.installed $(VENV)/notebooks/.installed: $(VENV)/%/.installed: requirements/%.txt | $(VENV)/.uv
	@echo "Installing $* into $(VENV)/$* (once) ..."
	$(call into_venv,$<)
	touch $@

# The AWS CLI, by which the deploy guide is followed: the machine's own, or pip's.
$(VENV)/awscli/.installed: requirements/awscli.txt | $(VENV)/.uv
	@mkdir -p $(VENV)/awscli
	if ! command -v aws > /dev/null; then
	  $(call into_venv,$<)
	fi
	touch $@

# On the functions' own Python, because it runs what was built. Without one the proof of deployment is skipped; in CI it fails.
$(VENV)/engine/.installed: requirements/engine.txt | $(VENV)/.uv
	@if test -n "$(RUNTIME_PYTHON)"; then
	  echo "Installing the engine that runs what was built into $(VENV)/engine (once) ..."
	  $(call into_venv,$<,"$(RUNTIME_PYTHON)")
	  touch $@
	else
	  echo "Python 3.13 is missing: what was built will not be deployed" >&2
	fi

# Two scripts of the site, without what they were built with.
$(VENV)/site/.installed: docs/site/SHA256SUMS | $(VENV)/bin/python
	@mkdir -p $(VENV)/site/node_modules/mermaid $(VENV)/site/node_modules/iframe-worker
	cp $< $(VENV)/site/
	cd $(VENV)/site
	npm pack --silent mermaid@11.12.0 iframe-worker@1.0.4 > /dev/null
	sha256sum --check --quiet SHA256SUMS
	tar -xzf mermaid-*.tgz --strip-components 1 -C node_modules/mermaid package/dist/mermaid.min.js
	tar -xzf iframe-worker-*.tgz --strip-components 1 -C node_modules/iframe-worker package/shim
	touch .installed

# The second DynamoDB engine of the contract tests, and the judge of the console's pages. Without npm, or on another kind
# of machine, their tests are skipped; in CI they fail.
$(VENV)/dynoxide/.installed: tests/aws/contract/dynoxide/package-lock.json
$(VENV)/axe/.installed: tests/cli/console/axe/package-lock.json
$(VENV)/dynoxide/.installed $(VENV)/axe/.installed: $(VENV)/%/.installed: | $(VENV)/bin/python
	@mkdir -p $(VENV)/$*
	cp $(<D)/package.json $< $(VENV)/$*/
	if command -v npm > /dev/null; then
	  npm ci --silent --no-audit --no-fund --prefix $(VENV)/$*
	  touch $@
	else
	  echo "npm is missing: the tests that need $* will be skipped" >&2
	fi

# A browser for the tests of the console: the machine's own, or Debian's where apt may install it. Without one they are
# skipped; in CI they fail.
$(VENV)/chromium/.installed: | $(VENV)/bin/python
	@mkdir -p $(VENV)/chromium
	if ! command -v chromium chromium-browser google-chrome > /dev/null && command -v apt-get > /dev/null && test "$$(id -u)" = 0; then
	  echo "Installing Debian's chromium for the tests of the console (once) ..."
	  apt-get -qq update > /dev/null
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium fonts-dejavu-core > /dev/null
	fi
	if command -v chromium chromium-browser google-chrome > /dev/null; then
	  touch $@
	else
	  echo "chromium is missing: the console will not be tested in a browser" >&2
	fi
