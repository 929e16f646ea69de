# Everything is behind these few names; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test test-cd fuzz bench images lint setup clean
PYTHON := .venv/bin/python
SOURCES := interlock flows tasks sandbox bench images
STAMP := .venv/.made-from-uv.lock
umask := umask 022
# Extra words for pytest: make test ARGS="-k git"
ARGS ?=
EXAMPLES ?= 20000

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

# Only when it is given to make itself: a developer's environment often has one that is not meant.
ifeq ($(origin KUBECONFIG),command line)
demo: linux setup ## Show the whole walk on real parts; ONCE=1 ends after it; KUBECONFIG=… shows CD on your cluster, without root
	@ONCE="$(ONCE)" IMAGE="$(IMAGE)" NODES="$(NODES)" NAMESPACE="$(NAMESPACE)" exec $(PYTHON) -m sandbox.demo.existing "$(KUBECONFIG)"
else
demo: root setup
	@test -z "$(NODES)" || { echo "make: NODES=$(NODES) is for a cluster of yours: give KUBECONFIG=… too" >&2; exit 2; }
	@ONCE="$(ONCE)" exec $(PYTHON) -m sandbox.demo
endif

test: root setup ## Run all tests on real parts; ARGS="-k git" selects
	@$(PYTHON) -m sandbox provide
	@$(PYTHON) -m pytest -n 4 $(ARGS)

test-cd: linux setup ## Run the tests of CD's half, without root: etcd, API server and controllers in namespaces of your own
	@$(PYTHON) -m sandbox provide --only kubernetes
	@sh sandbox/without_root.sh $(PYTHON) -m pytest -n 2 tests/unit tests/git tests/cluster $(ARGS)

fuzz: setup ## Give new hostile bytes to all that reads some; EXAMPLES=100000 of them to each reader
	@INTERLOCK_FUZZ_EXAMPLES=$(EXAMPLES) $(PYTHON) -m pytest tests/fuzz --timeout=0 -p no:cacheprovider $(ARGS)

bench: root setup ## Measure plan and apply beside kubectl; ARGS="plan-unchanged --objects 1000" selects
	@$(umask) && sh sandbox/bootstrap.sh --group bench --quiet
	@$(PYTHON) -m bench $(ARGS)

images: setup ## Lay out in build/images the context of Interlock's own images, every wheel included
	@$(PYTHON) -m images.collect build/images

lint: setup ## Check format, style, types and the rooms' import contracts
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

setup: $(STAMP) ## Make .venv from uv.lock
	@$(PYTHON) -m compileall -q $(SOURCES)

$(STAMP): uv.lock pyproject.toml sandbox/bootstrap.sh
	@$(umask) && sh sandbox/bootstrap.sh
	@touch $@

clean: ## Remove .venv and tools' caches; what the sandbox has built stays under ~/.cache/interlock
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: linux root
linux:
	@test "$$(uname -s)" = Linux || { echo "make: real parts need Linux (Debian 12 or newer, or Ubuntu); this is $$(uname -s)" >&2; exit 1; }

root: linux
	@test "$$(id -u)" = 0 || { echo "make: real parts need root; run it with sudo, or in a container with --privileged" >&2; exit 1; }
	@command -v apt-get >/dev/null || { echo "make: this is neither Debian nor Ubuntu (no apt-get); missing packages must be installed by hand" >&2; }
