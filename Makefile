# Everything that one does with this project. `make` alone lists it.
#
# PYTHON=…  the interpreter for .venv (default: the first of python3.13, python3.12, python3.11, python3 that will do)
# ARGS=…    further arguments of `demo`, `run`, `test`, `clients`, `soak` and `bench`, such as ARGS="--port 9000"

BIN = .venv/bin
PYTHON =
ARGS =

# As many tests at once as there are processors. A file stays together, since its tests share what is costly to start;
# files come in their order and not by their number of tests, which is no measure of how long they take.
AT_ONCE = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

VENV = .venv/.made
LOCKED = .venv/.locked
READY = .venv/.ready
DEV = .venv/.dev

# Other people's clients have an environment of their own: what they need must not decide what the gateway gets.
CLIENTS = .venv-clients/.made
NODE_CLIENTS = tests/clients/node_modules/.made

.PHONY: help demo run test clients check soak bench reliability docs

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -e 's/:.*## /	/' | expand -t 10

demo: $(READY) ## try the gateway without an account, on the bundled simulator
	$(BIN)/qwen-gateway demo $(ARGS)

run: $(READY) ## serve your own account (settings: .env, docs/settings.md)
	$(BIN)/qwen-gateway serve $(ARGS)

test: $(DEV) ## run all tests; says at the end what was skipped
	$(BIN)/python tools/packages.py
	@if [ "$$CI" = true ]; then QWEN_GATEWAY_REQUIRE_PACKAGES=1; export QWEN_GATEWAY_REQUIRE_PACKAGES; fi; \
	echo "$(BIN)/pytest $(AT_ONCE) -rs $(ARGS)"; $(BIN)/pytest $(AT_ONCE) -rs $(ARGS)

clients: $(DEV) $(CLIENTS) ## run other people's clients with tools, over the simulator
	$(BIN)/python tools/packages.py clients
	$(BIN)/mypy --python-executable .venv-clients/bin/python --cache-dir .venv-clients/.mypy_cache \
	  --follow-imports silent tests/clients
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(NODE_CLIENTS); fi
	@if [ "$$CI" = true ]; then QWEN_GATEWAY_REQUIRE_PACKAGES=1; export QWEN_GATEWAY_REQUIRE_PACKAGES; fi; \
	echo ".venv-clients/bin/pytest -rs tests/clients $(ARGS)"; .venv-clients/bin/pytest -rs tests/clients $(ARGS)

check: $(DEV) ## check form, types, import contracts and generated pages
	$(BIN)/ruff format --check src tests bench tools
	$(BIN)/ruff check src tests bench tools
	$(BIN)/mypy --exclude '^tests/clients/' src tests bench tools
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/docs.py --check
	@echo 'check: passed, nothing skipped. Not looked at here: the C programs in bench/, the Dockerfile, and types in tests/clients.'

soak: $(DEV) ## run the tests of conversations in parallel and of crashes for minutes
	QWEN_GATEWAY_SOAK_SECONDS=120 QWEN_GATEWAY_SOAK_KILLS=50 $(BIN)/pytest -n 0 -s $(ARGS) \
	  tests/e2e/test_crosstalk.py tests/e2e/test_conversation_crashes.py

bench: $(READY) ## measure the gateway; needs Linux, a C compiler and nginx (bench/README.md)
	$(BIN)/python bench/run.py $(ARGS)

reliability: $(READY) ## count how reliably tool calls are read
	$(BIN)/python bench/reliability.py $(ARGS)

docs: $(READY) ## write the generated pages again
	$(BIN)/python tools/docs.py

# ---- The virtual environment. Each step leaves a stamp, so that it is done again only when its input has changed.

$(VENV):
	@for python in $(PYTHON) $(if $(PYTHON),,python3.13 python3.12 python3.11 python3); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv .venv"; \
	    "$$python" -m venv .venv && touch $@ && exit 0; \
	    echo 'make: the virtual environment could not be made. On Debian and Ubuntu: apt install python3-venv' >&2; \
	    exit 1; \
	  fi; \
	done; \
	echo 'make: no Python of version 3.11 or later was found. Install one, or name it: make PYTHON=/path/to/python3' >&2; \
	exit 1

# The locks hold a hash for each package, so nothing else can be installed in its place.
$(LOCKED): $(VENV) requirements/install.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/install.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(READY) requirements/dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(CLIENTS): $(VENV) requirements/clients.txt
	$(BIN)/python -m venv .venv-clients
	.venv-clients/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/clients.txt
	@touch $@

$(NODE_CLIENTS): tests/clients/package-lock.json
	npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error
	@touch $@
