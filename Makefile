# CriShim: what can be done here. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps build run test bench proof clean

ARCH := $(shell uname -m)
RID := $(if $(filter aarch64 arm64,$(ARCH)),linux-arm64,linux-x64)
OUT := $(CURDIR)/out
LAB := $(OUT)/lab
DOTNET := dotnet
export DOTNET_NOLOGO := 1
export DOTNET_CLI_TELEMETRY_OPTOUT := 1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install missing Debian packages; get containerd 1.6, 1.7 and 2.1 and the lab's images into out/lab
	@tests/lab/packages.sh build lab bench monitoring
	@tests/lab/containerd.sh $(LAB) 1.6 1.7 2.1
	@tests/lab/images.sh $(LAB)/images

build: ## one native executable: out/crishim
	@tests/lab/packages.sh build
	@tests/lab/publish.sh $(RID) $(OUT)

run: build ## see it work: a small pod driven through crishim, with the running containerd or a private one
	@tests/lab/packages.sh lab
	@log=$$(mktemp); $(DOTNET) build tests/CriShim.Demo -c Release -v quiet --nologo >$$log 2>&1 || { cat $$log; rm $$log; exit 1; }; rm $$log
	@CRISHIM_BIN=$(OUT)/crishim exec $(DOTNET) tests/CriShim.Demo/bin/Release/net10.0/CriShim.Demo.dll

test: deps build ## all tests, those on a real containerd included; ends with: N passed, N failed, N skipped
	@CRISHIM_BIN=$(OUT)/crishim tests/run.sh $(OUT)/test-results

bench: deps build ## latency, throughput, memory, restarts: crishim beside nginx and the bare socket
	@CRISHIM_BIN=$(OUT)/crishim $(DOTNET) run -c Release --project tests/CriShim.Benchmarks

proof: deps build ## the long form of the proofs, an hour and more; renews the table in tests/README.md
	@CRISHIM_BIN=$(OUT)/crishim tests/proof.sh

clean: ## remove what was built; out/lab stays, for it only holds downloads (rm -r out removes it too)
	@rm -rf $(OUT)/crishim $(OUT)/publish $(OUT)/test-results
	@find src tests -maxdepth 2 -type d \( -name bin -o -name obj \) -exec rm -rf {} +
