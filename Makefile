# `make help` lists the targets. Go is all that `build`, `run` and `test` need; `lint` and `generate` fetch their tools at
# the versions below into .ci/tools, and the code generator comes by npm.

GOLANGCI_LINT_VERSION      := v2.12.2
BUF_VERSION                := 1.75.0
PROTOC_GEN_GO_VERSION      := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

tools := $(CURDIR)/.ci/tools
# The tests find the nats command line here, and buf its plugins.
export PATH := $(tools)/bin:$(PATH)

# The race detector needs a C compiler; where there is none, the tests run without it.
RACE      ?= $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
TESTFLAGS ?= -timeout 20m
# `make lint` vets, the tests too. Some tests wait more than they work: more packages go at once than there are processors.
gotest    := go test $(RACE) -vet=off -p $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )))

FUZZTIME  ?= 60s
MODEL_CHECKS ?= 5000
CLUSTER_GRANTS ?= 5000
BENCH ?= full

# Modules of their own, which are tested with the long tests.
modules   := $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod workflow/*/go.mod))
binaries := ./cmd/... ./plugins/*/esignd-plugin-*
proto    := plugins/internal/wire/pluginv1
# What esignd does most, by which the compiler decides what to make fast.
pgo      := cmd/profile.pgo

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build esignd, plugin-host and the plugins into bin/
	umask 022
	mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -pgo=$(pgo) -o bin/ $(binaries)
	chmod go-w bin bin/* # esignd refuses a plugin that others can write to

.PHONY: run
run: build ## Run the whole system on this machine, with demo accounts at sandbox vendors
	bin/esignd dev --demo

.PHONY: test
test: build ## Run the tests under the race detector
	$(gotest) $(TESTFLAGS) ./...

.PHONY: test-all
test-all: test test-heavy ## Run the long tests too

.PHONY: test-heavy
test-heavy: build collector promtool systemd temporal-server
	files=$$(grep -rlE --include='*_test.go' --exclude-dir=examples '^//go:build .*\bheavy\b' .)
	# Where there is a file for !heavy, tests do more with the tag. Elsewhere those with the tag will do: make test has run the others.
	both=$$(grep -rlE --include='*_test.go' --exclude-dir=examples '^//go:build !heavy' . | xargs -n 1 dirname | sort -u)
	packages=$$(xargs -n 1 dirname <<< "$$files" | sort -u | grep -vxF "$$both")
	tests=$$(xargs sed -nE 's/^func ((Test|Example)[A-Z][A-Za-z0-9_]*)\(.*/\1/p' <<< "$$files" | sort -u | paste -sd '|')
	go test $(RACE) -vet=all $(TESTFLAGS) -tags heavy -run "^($$tests)\$$" $$packages
	go test $(RACE) -vet=all $(TESTFLAGS) -tags heavy $$both
	for module in $(modules); do
		go -C $$module test $(RACE) -vet=all $(TESTFLAGS) ./...
	done

.PHONY: temporal
temporal: temporal-server ## Run the tests of the Temporal plugin, and its example, against a Temporal server
	go -C workflow/temporal test $(RACE) -vet=all $(TESTFLAGS) ./...

.PHONY: fuzz
fuzz: ## Fuzz each decoder of foreign input for FUZZTIME, 60 seconds
	for package in $$(grep -rl --include='*_test.go' --exclude-dir=examples '^func Fuzz' . | xargs -n 1 dirname | sort -u); do
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | cut -d' ' -f2 | sort -u); do
			echo "=== $$package $$target"
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package
		done
	done

# What `make chaos` ends: the daemon and plugins by SIGKILL, plugins by SIGSTOP, the NATS server for a while.
CHAOS_KILLS  ?= 200
CHAOS_STOPS  ?= 20
CHAOS_OUTAGE ?= 60s

.PHONY: chaos
chaos: ## Try the protocol on MODEL_CHECKS random schedules; kill daemon, plugins and NATS under load, and print a table
	ESIGND_MODEL_CHECKS=$(MODEL_CHECKS) go test -count=1 -run TestProtocolModel $(TESTFLAGS) ./core
	ESIGND_CHAOS_KILLS=$(CHAOS_KILLS) ESIGND_CHAOS_STOPS=$(CHAOS_STOPS) ESIGND_CHAOS_OUTAGE=$(CHAOS_OUTAGE) \
		go test -count=1 -tags heavy -run TestChaos -v -timeout 60m ./tests/chaos

.PHONY: cluster
cluster: ## Kill, stop and restart three replicas on a NATS cluster, with CLUSTER_GRANTS grants that expire together
	ESIGND_CLUSTER_GRANTS=$(CLUSTER_GRANTS) go test -tags heavy -count 1 -v -timeout 30m ./tests/cluster

.PHONY: bench
bench: ## Measure at full size, for half an hour (BENCH=quick: a few minutes), and write docs/performance.md with its plots
	# The stores are in TMPDIR, which is to be on a disk: /tmp often is in memory.
	TMPDIR=$${TMPDIR:-/var/tmp} ESIGND_BENCH=$(BENCH) ESIGND_BENCH_DOCS="$(CURDIR)/docs" \
		go test -tags heavy -count=1 -v -timeout 1h -run '^TestPerformance$$' ./tests/bench

.PHONY: profile
profile: ## Measure anew what esignd does most, and write cmd/profile.pgo, by which `make build` compiles
	TMPDIR=$${TMPDIR:-/var/tmp} ESIGND_PROFILE="$(CURDIR)/$(pgo)" go test -trimpath -tags heavy -count=1 -v -run '^TestProfile$$' ./tests/bench

.PHONY: lint
lint: $(tools)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Run golangci-lint
	golangci-lint run ./...
	for module in $(modules); do (cd $$module && golangci-lint run ./...); done

.PHONY: fmt
fmt: $(tools)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Format all Go files
	golangci-lint fmt ./...

.PHONY: generate
generate: $(tools)/buf-$(BUF_VERSION) $(tools)/protoc-gen reference ## Generate the Go code of the plugin protocol, and the reference
	buf lint
	buf generate

# The tests without the variable check that what they generate is up to date.
.PHONY: reference
reference: ## Generate the parts of docs that come from the code: states, subjects, messages, settings, command lines, metrics
	ESIGND_GENERATE=1 go test -count=1 -run '^TestReference' . ./core ./cmd/... ./tests ./tests/site

.PHONY: check-generated
check-generated: $(tools)/buf-$(BUF_VERSION) $(tools)/protoc-gen ## Check that the generated code is that of the protocol
	buf lint
	fresh=$$(mktemp -d)
	trap 'rm -rf "$$fresh"' EXIT
	buf generate -o "$$fresh"
	diff -r "$$fresh/$(proto)" $(proto) || { echo "$(proto) is out of date: run make generate" >&2; exit 1; }

.PHONY: nats-cli
nats-cli: ## Build the nats command line into .ci/tools/bin
	cd tests/natscli
	GOBIN=$(tools)/bin go install -tags tools github.com/nats-io/natscli/nats

.PHONY: collector
collector: ## Build the OpenTelemetry Collector of the long tests into .ci/tools/bin, which takes minutes the first time
	mkdir -p $(tools)/bin
	CGO_ENABLED=0 go build -C tests/otelcol -trimpath -buildvcs=false -ldflags='-s -w' -o $(tools)/bin/otelcol .

.PHONY: temporal-server
temporal-server: ## Build the Temporal server of the tests into .ci/tools/bin, which takes minutes the first time
	mkdir -p $(tools)/bin
	CGO_ENABLED=0 go build -C tests/temporalserver -trimpath -buildvcs=false -ldflags='-s -w' -o $(tools)/bin/temporalserver .

.PHONY: promtool
promtool: $(tools)/bin/promtool ## Fetch Prometheus's promtool, of Debian's package, into .ci/tools/bin, unless there is one

$(tools)/bin/promtool:
	mkdir -p $(tools)/bin
	if path=$$(type -P promtool); then ln -sf "$$path" $@; exit; fi
	work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	cd "$$work"
	apt-get download prometheus || { apt-get update && apt-get download prometheus; }
	dpkg-deb -x prometheus_*.deb .
	install usr/bin/promtool $@

.PHONY: systemd
systemd: ## Install Debian's package systemd, whose systemd-analyze verifies units, unless it is there
	type -P systemd-analyze || apt-get install -y --no-install-recommends systemd || { apt-get update && apt-get install -y --no-install-recommends systemd; }

.PHONY: clean
clean: ## Remove what was built, and the tools
	rm -rf bin .ci/tools
	find . -name node_modules -prune -exec rm -rf {} +

# Each tool leaves a stamp with its version, so that a new version above is fetched.

$(tools)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	rm -f $(tools)/golangci-lint-*
	GOBIN=$(tools)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	touch $@

$(tools)/buf-$(BUF_VERSION):
	rm -f $(tools)/buf-*
	mkdir -p $(tools)/bin
	npm install --ignore-scripts --no-audit --no-fund --no-save --prefix $(tools)/npm @bufbuild/buf@$(BUF_VERSION)
	ln -sf ../npm/node_modules/.bin/buf $(tools)/bin/buf
	touch $@

$(tools)/protoc-gen: Makefile
	GOBIN=$(tools)/bin go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION)
	GOBIN=$(tools)/bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC_VERSION)
	touch $@
