# Two commands are enough on a machine with Python 3.11 or newer, its venv module and make: `make serve`, `make test`.
#
# Every target that runs something first makes .venv, or brings it up to date: a stamp file in .venv carries the checksum of
# the lock files, of pyproject.toml and of this folder's name, so a changed lock or a moved checkout is noticed.

PYTHON ?= python3
LISTEN ?= 127.0.0.1:8200
DATA ?= ./strongroom-data
CORPUS ?=
WORKERS ?= 2

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
LOCKS := requirements/build.txt requirements/runtime.txt pyproject.toml
SERVE_STAMP := $(VENV)/serve-$(shell (echo "$(CURDIR)"; cat $(LOCKS)) | cksum | tr ' ' '-')
WORK_STAMP := $(VENV)/work-$(shell (echo "$(CURDIR)"; cat $(LOCKS) requirements/dev.txt) | cksum | tr ' ' '-')

.DEFAULT_GOAL := help
.PHONY: always help serve test test-faults test-clients test-cluster lint format bench conformance clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 18

serve: $(VENV)/serving ## a development server on LISTEN, its data in DATA

# A signal that only make gets must end the server too. make hands SIGTERM on, but at SIGINT it removes the file being made
# and waits; so the file is watched.
$(VENV)/serving: $(SERVE_STAMP) always
	@touch $@; \
	$(RUN) -m strongroom.server --development $(DATA) --listen $(LISTEN) & server=$$!; \
	trap 'kill -TERM $$server 2>/dev/null' HUP INT TERM; \
	while kill -0 $$server 2>/dev/null; do \
		if [ ! -e $@ ] || ! kill -0 $$PPID 2>/dev/null; then kill -TERM $$server 2>/dev/null; fi; \
		sleep 1; \
	done; \
	rm -f $@; wait $$server

test: $(WORK_STAMP) ## the tests, with a short smoke of the fault suites
	$(RUN) -m pytest -n $(WORKERS) -m "not faults"

test-faults: $(WORK_STAMP) ## the long fault and fuzz suites
	$(RUN) -m pytest -n $(WORKERS) -m faults

test-clients: $(WORK_STAMP) ## real clients against a real server; downloads OpenBao's command line (75 MB)
	$(PIP) install --quiet --require-hashes -r requirements/clients.txt
	$(RUN) -m pytest tests/compat

# The API server is compiled from the sources that tests/cluster/go.sum pins: minutes the first time, kept in build/ then.
CLUSTER := build/kubernetes
KUBERNETES = $(shell sed -n 's/^[^=]*k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' tests/cluster/go.mod)
VERSION = -X k8s.io/component-base/version.gitVersion=$(KUBERNETES) -X k8s.io/client-go/pkg/version.gitVersion=$(KUBERNETES)
CLUSTER_STAMP := $(CLUSTER)/stamp-$(shell cat tests/cluster/go.mod tests/cluster/go.sum tests/cluster/tools.go | cksum | tr ' ' '-')

test-cluster: $(WORK_STAMP) $(CLUSTER_STAMP) ## kubevault and the kubernetes auth method against a real API server; needs Go
	KUBE_ASSETS=$(CURDIR)/$(CLUSTER) $(RUN) -m pytest tests/cluster

$(CLUSTER_STAMP):
	@command -v go > /dev/null || { echo "make test-cluster compiles Kubernetes' API server and needs Go (go.dev)"; exit 1; }
	@mkdir -p $(CLUSTER)
	cd tests/cluster && for program in go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver \
			k8s.io/kubernetes/cmd/kube-controller-manager; do \
		case $$program in *etcd*) name=etcd;; *) name=$${program##*/};; esac; \
		GOFLAGS="-mod=readonly -p=$(WORKERS)" CGO_ENABLED=0 go build -trimpath -buildvcs=false \
			-ldflags="-s -w $(VERSION)" -o ../../$(CLUSTER)/$$name $$program || exit 1; \
	done
	@rm -f $(CLUSTER)/stamp-*
	@touch $@

lint: $(WORK_STAMP) ## ruff, mypy and the floors of the house
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(WORK_STAMP) ## let ruff put the code in shape
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(WORK_STAMP) ## the figures of docs/performance.md
	$(RUN) -m benchmarks

conformance: $(WORK_STAMP) ## compare with CORPUS, a folder of recorded answers, or with the project's own list of routes
	PYTHONPATH=tests $(RUN) -m conformance $(if $(CORPUS),--corpus $(CORPUS)) $(CONFORMANCE)

clean: ## remove what was made, but never the data
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

always:

# The environment. What serves needs neither test tools nor a compiler; hatchling comes from a lock file too, so that
# nothing is downloaded that is not pinned by a hash.

$(SERVE_STAMP):
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11) and "Strongroom needs Python 3.11 or newer")'
	@$(RUN) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements/build.txt
	$(PIP) install --quiet --require-hashes -r requirements/runtime.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/serve-*
	@touch $@

$(WORK_STAMP): $(SERVE_STAMP)
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@rm -f $(VENV)/work-*
	@touch $@
