# CriShim: what can be done here. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps build run test test-node bench proof install uninstall deb kind-bundle clean

ARCH := $(shell uname -m)
RID := $(if $(filter aarch64 arm64,$(ARCH)),linux-arm64,linux-x64)
OUT := $(CURDIR)/out
LAB := $(OUT)/lab
PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
VERSION := $(shell sed -n 's|.*<Version>\(.*\)</Version>.*|\1|p' Directory.Build.props)
# Of the package: a build of one's own gets a higher one by, say, DEB_VERSION=$(VERSION)+1.
DEB_VERSION ?= $(VERSION)
DOTNET := dotnet
# Of the demonstration; the executable is always optimised.
CONFIGURATION ?= Release
export DOTNET_NOLOGO := 1
export DOTNET_CLI_TELEMETRY_OPTOUT := 1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install missing Debian packages; get containerd 1.6, 1.7 and 2.1 and the lab's images and node into out/lab
	@tests/lab/packages.sh build lab bench monitoring deb node shells
	@tests/lab/containerd.sh $(LAB) 1.6 1.7 2.1
	@tests/lab/images.sh $(LAB)/images
	@tests/lab/node.sh $(LAB)

build: ## one native executable: out/crishim
	@tests/lab/packages.sh build
	@tests/lab/publish.sh $(RID) $(OUT)

run: build ## see it work: a small pod driven through crishim, with the running containerd or a private one
	@tests/lab/packages.sh lab
	@log=$$(mktemp); $(DOTNET) build tests/CriShim.Demo -c $(CONFIGURATION) -v quiet --nologo >$$log 2>&1 || { cat $$log; rm $$log; exit 1; }; rm $$log
	@CRISHIM_BIN=$(OUT)/crishim exec $(DOTNET) tests/CriShim.Demo/bin/$(CONFIGURATION)/net10.0/CriShim.Demo.dll

test: deps build ## all tests, those on a real containerd included; ends with: N passed, N failed, N skipped
	@CRISHIM_BIN=$(OUT)/crishim tests/run.sh $(OUT)/test-results

$(OUT)/crishim:
	@$(MAKE) --no-print-directory build

install: $(OUT)/crishim ## put out/crishim, units, configuration and man page below DESTDIR and PREFIX (/usr/local); starts nothing
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) systemd/install.sh install $(OUT)/crishim

uninstall: ## take away what make install has put there; a changed configuration stays
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) systemd/install.sh uninstall

deb: build ## a Debian package of out/crishim, in out; checked by lintian
	@tests/lab/packages.sh deb
	@deb=$$(systemd/deb/build.sh $(OUT)/crishim $(DEB_VERSION) $(OUT)) && lintian --allow-root --fail-on error,warning --tag-display-limit 0 $$deb && echo $$deb

kind-bundle: build ## out/crishim-kind.tar.gz: the package, a node image's Dockerfile, a cluster configuration, and a script
	@tests/lab/packages.sh deb
	@systemd/kind/bundle.sh $(OUT)/crishim $(DEB_VERSION) $(OUT)

test-node: build ## a Debian node with systemd: install, restart, upgrade, hang, shutdown, removal; make test runs it, too
	@tests/lab/packages.sh lab deb node
	@CRISHIM_BIN=$(OUT)/crishim $(DOTNET) test tests/CriShim.SystemdNode.Tests -c Release --nologo --logger "console;verbosity=normal"

bench: deps build ## latency, throughput, memory, restarts: crishim beside nginx and the bare socket
	@CRISHIM_BIN=$(OUT)/crishim $(DOTNET) run -c Release --project tests/CriShim.Benchmarks

proof: deps build ## the long form of the proofs, an hour and more; renews the table in tests/README.md
	@CRISHIM_BIN=$(OUT)/crishim tests/proof.sh

clean: ## remove what was built; out/lab stays, for it only holds downloads (rm -r out removes it too)
	@rm -rf $(OUT)/crishim $(OUT)/publish $(OUT)/test-results $(OUT)/*.deb $(OUT)/crishim-kind.tar.gz
	@find src tests -maxdepth 2 -type d \( -name bin -o -name obj \) -exec rm -rf {} +
