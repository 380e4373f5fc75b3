# make send   builds bulkmail in .venv and sends campaigns/spring.yaml in the sandbox
# make test   the whole test suite          make lint   ruff and mypy
# make bench  the micro-benchmarks          make dist   wheel and sdist in dist/
# make lock   pin what CI installs          make audit  what is known against the pinned packages
# make test-peers   tests against Postfix, Exim, OpenSMTPD and Dovecot, which it installs (as root, Debian)
# make fuzz [FUZZ=inputs] [SEED=n]   random and mutated input, natives with sanitizers (docs/fuzzing.md)
# make test-nodes   the scenes of the engine once more, sent by two processes
# make bench-compare   bulkmail beside its rivals (make bench-peers installs those, as root)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(wildcard ext/*.pyx ext/*.pxd ext/*.h bulkmail/native/*.pxd)

LOCK := .ci/requirements.txt

FUZZ ?= 200000

.PHONY: send test test-sts fuzz test-listeners peers test-peers test-campaigns lint bench bench-peers bench-compare dist clean toolchain

send: $(VENV)/.run
	$(BIN)/bulkmail send campaigns/spring.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest tests

.PHONY: test-nodes
test-nodes: $(VENV)/.dev
	BULKMAIL_TEST_NODES=2 $(BIN)/python -m pytest $(addprefix tests/engine/test_,$(addsuffix .py,$(SCENES)))
SCENES := binding canary client_certificates delivery disk extensions nodes pace suppressing transport ways window

# A campaign of 5,000 to domains with MTA-STS enforced, every message verified.
test-sts: $(VENV)/.dev
	BULKMAIL_STS_RECIPIENTS=5000 $(BIN)/python -m pytest tests/campaigns/test_sts_campaign.py

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz.build
	$(BIN)/python -m tests.fuzz --count $(FUZZ) $(if $(SEED),--seed $(SEED))

peers:
	tests/peers/install.sh

test-peers: $(VENV)/.dev peers
	BULKMAIL_PEER_MESSAGES=5000 $(BIN)/python -m pytest tests/peers tests/smtp/test_sasl_dovecot.py tests/serve

# torture: 200 kills over a million recipients, a thousand simulated seeds, power failures, every operation of the disk
# failing once, 100,000 domains: half an hour of CPU and more; or only ROWS="kills seeds" of docs/reliability.md. Ends with
# a line for each. torture-seeds: SEEDS of them from FIRST on, on WORKERS cores.
# soak: SOAK_SECONDS of run after run in one process; fails where anything that it holds grows.
.PHONY: torture torture-seeds soak
FIRST ?= 1
SEEDS ?= 1000
WORKERS ?= 1
SOAK_SECONDS ?= 3600
torture: $(VENV)/.dev
	BULKMAIL_WORKERS=$(WORKERS) $(BIN)/python -m tests.torture $(ROWS)

torture-seeds: $(VENV)/.dev
	BULKMAIL_WORKERS=$(WORKERS) $(BIN)/python -m tests.simulation.seeds $(FIRST) $$(( $(FIRST) + $(SEEDS) - 1 ))

soak: $(VENV)/.dev
	BULKMAIL_TORTURE_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m tests.torture soak

# A million forged tokens, fifty kills of the listener, ten thousand idle connections, latencies beside a send.
test-listeners: $(VENV)/.dev
	BULKMAIL_FORGERIES=1000000 BULKMAIL_KILLS=50 $(BIN)/python -m pytest tests/content/test_identity.py tests/serve tests/mailbox
	$(BIN)/python -m benchmarks.listeners

# The campaigns to copy, 10,000 generated rows each, compiled and by Jinja2.
test-campaigns: $(VENV)/.dev
	BULKMAIL_ROWS=10000 $(BIN)/python -m pytest tests/campaigns/test_both_paths.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only --benchmark-columns=median,iqr,rounds

bench-peers:
	apt-get install -y --no-install-recommends postfix opendkim nodejs npm
	mkdir -p build/bench-peers && cd build/bench-peers && npm install --silent nodemailer

bench-compare: $(VENV)/.dev
	$(BIN)/python -m benchmarks.compare

# lock: pin anew what pyproject.toml asks for, by hash. audit: is anything known against what is pinned?
.PHONY: lock audit
lock: $(VENV)/.dev
	$(BIN)/python -m venv build/lock && build/lock/bin/pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --quiet \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file $(LOCK)

audit: | toolchain $(BIN)/python
	.ci/audit $(BIN)/python

dist: $(VENV)/.dev
	$(BIN)/python -m build

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache bulkmail/native/*.so

# Each stamp is made anew when a native source or the project file changes.
$(VENV)/.run: $(SOURCES) | toolchain $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(SOURCES) $(LOCK) | toolchain $(BIN)/python
	.ci/install $(BIN)/python
	@touch $@ $(VENV)/.run

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  echo "bulkmail: $(PYTHON) cannot make a virtual environment; install it: \`apt-get install python3-venv\` (Debian, Ubuntu)." >&2; exit 1; }

toolchain:
	@command -v $(firstword $(PYTHON)) >/dev/null || { \
	  echo "bulkmail: $(PYTHON) is missing; install it: \`apt-get install python3\` (Debian, Ubuntu) or \`dnf install python3\` (Fedora)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "bulkmail: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); name another one: \`make PYTHON=python3.12 send\`." >&2; exit 1; }
	@command -v $(firstword $(or $(filter-out default,$(CC)),cc)) >/dev/null || { \
	  echo "bulkmail: no C compiler found; install one: \`apt-get install gcc\` (Debian, Ubuntu) or \`dnf install gcc\` (Fedora)." >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { \
	  echo "bulkmail: the headers of $(PYTHON) (Python.h) are missing; install them: \`apt-get install python3-dev\` (Debian, Ubuntu) or \`dnf install python3-devel\` (Fedora)." >&2; exit 1; }
