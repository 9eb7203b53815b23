# telecart. `make help` lists what there is. demo, test, lab, bench and fuzz do their own setup on Debian 12 (apt, through
# sudo when not root); Go, Node and gcc come from the machine.

SHELL   := /bin/bash
# What seals is erased from registers, stack and heap (uplink/seal/erase); without it everything builds and works too.
export GOEXPERIMENT := runtimesecret
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
BINS    := telecartd telecart-hub telecart
FUZZTIME ?= 60s
CAMERA  ?= twin

.NOTPARALLEL:
.PHONY: help setup ui build notices demo drill kills test check unit e2e lab bench bench-outbox fuzz clean torture-planted

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: ## install what is missing on Debian 12
	@.ci/setup

ui: cmd/node_modules/.installed ## build both screens
	@cd cmd && npm run --silent build

cmd/node_modules/.installed: cmd/package.json cmd/package-lock.json
	# Not npm ci: it insists on the native parts of every other platform, which not every registry has. The lock file decides.
	cd cmd && npm install --no-save --no-audit --no-fund
	@touch $@

build: ui notices ## build the three programs into bin/
	@mkdir -p bin
	go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ $(BINS:%=./cmd/%)

notices: ## bin/THIRD_PARTY_NOTICES: the licences of all that is in the programs
	@.ci/notices

demo: setup build ## a hub and one cart on this machine (CAMERA=/dev/video0 for a webcam)
	@bin/telecart demo --camera $(CAMERA)

drill: setup build ## cut the link, kill the agent, count what arrived
	@bin/telecart drill --json

kills: setup build ## kill the real agent and the real hub 1,000 times under load, and count what arrived
	@bin/telecart kills --kills 1000 --json

test: setup build check unit e2e ## everything that fits in 15 minutes: lint, race detector, browser, drill
	@bin/telecart kills --kills 10 --json
	@bin/telecart drill --json

check: cmd/node_modules/.installed ## lint
	@.ci/lint
	@cd cmd && npm run --silent check

unit: ## the Go tests, race detector on
	go test -race -timeout 10m ./...

e2e: ## both screens in Chromium against the real programs
	@cd cmd && npm run --silent pages && node e2e/run.mjs

lab: setup ## the spine on real kernel devices, in a throw-away virtual machine; writes lab.json
	@device/lab/run.sh

bench: setup build ## figures; writes bench.json
	@mkdir -p out
	@go test -run '^$$' -bench . -benchtime 1x ./uplink/live ./uplink/outbox ./uplink/seal ./device/all >out/bench.txt || { cat out/bench.txt; exit 1; }
	@bin/telecart bench --go-output out/bench.txt

torture-planted: ## the test of the torture: each planted bug must be found, and nothing without one
	@.ci/torture-planted

bench-outbox: build ## the outbox's and the drain's figures alone, against bbolt, the bare disk and the link
	@mkdir -p out
	@go test -run '^$$' -bench . -benchtime 1x ./uplink/outbox ./uplink/seal >out/bench-outbox.txt || { cat out/bench-outbox.txt; exit 1; }
	@bin/telecart drain | grep ^Benchmark >>out/bench-outbox.txt
	@grep '^Benchmark' out/bench-outbox.txt | tr '\t' '\n' | awk 'NF == 2 && $$2 ~ /_/ { printf "%-26s %s\n", $$2, $$1 }' | sort

fuzz: ## every fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

clean: ## remove what make made
	rm -rf bin out bench.json lab.json cmd/node_modules .tools
	find cmd/telecartd/bedside/dist cmd/telecart-hub/console/dist -mindepth 1 ! -name .keep -delete
