# What a developer runs. On a fresh Debian machine with Rust and gcc: `make demo`, then `make test`.
# Programs that are missing are installed by apt-get; nothing else is changed on the machine.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Tests mostly wait for servers and mounts: more at once than there are processors.
export RUST_TEST_THREADS ?= 4

.PHONY: help build install demo test test-deps lint bench clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build:           ## the program, optimized: target/release/regfs
	$(CARGO) build --release --locked

install: build   ## the program and its unit file, below $(DESTDIR)/usr/local
	install -D target/release/regfs $(DESTDIR)/usr/local/bin/regfs
	install -D -m 644 packaging/regfs@.service $(DESTDIR)/usr/local/lib/systemd/system/regfs@.service

demo:            ## a sample registry on loopback, mounted, looked at, unmounted
	@packaging/deps.sh docker-registry skopeo umoci fusermount3=fuse3 curl gcc
	$(CARGO) build --release --locked
	@packaging/demo.sh target/release/regfs

test: test-deps lint  ## everything: servers, mounts, clients, faults
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; status=0; \
	$(CARGO) test --locked --no-fail-fast 2>&1 | tee "$$log" || status=$$?; \
	awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "\ntotal: %d passed, %d failed, %d ignored\n", passed, failed, ignored }' "$$log"; \
	exit $$status

test-deps:       ## the servers and clients that tests run
	@packaging/deps.sh docker-registry skopeo umoci nginx=nginx-light fusermount3=fuse3 htpasswd=apache2-utils \
	  openssl curl setfattr=attr strace gcc

lint:            ## formatting and warnings
	@$(CARGO) fmt --version >/dev/null && $(CARGO) clippy --version >/dev/null || rustup component add rustfmt clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench: test-deps ## the table of ratios that README.md quotes
	@packaging/deps.sh pigz
	$(CARGO) bench --locked --bench ratios

clean:           ## what was built
	$(CARGO) clean
