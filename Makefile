# `make` alone says what there is.
.DEFAULT_GOAL := help
.PHONY: help run test faults soak check bench doc limit

help: ## list these
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## serve on 127.0.0.1:20003 until Ctrl-C
	cargo run --release -- serve

test: ## every test; the simulated world runs 12,000 seeds
	cargo test

faults: ## failing system calls, limits, abuse, clocks and full outputs against the release binary: all of it
	CLOSECALL_LONG=1 cargo test --release $(addprefix --test ,faults plateau abuse clock sinks stop) \
		-- --nocapture

soak: ## ten minutes of mixed load and faults on 10,000 connections; SOAK_SECONDS=60 for one
	CLOSECALL_LONG=1 cargo test --release --test soak -- --nocapture

check: ## what CI checks: formatting, lints, both feature sets, tests, docs, examples
	.ci/run

bench: ## how near the server is to the limit: CPU per echo and per cycle beside a minimal C program
	cargo build --release
	python3 benches/limit/run.py $(LIMIT)

doc: ## the documentation, in target/doc/closecall/index.html
	cargo doc --no-deps

limit: bench ## the same as bench; LIMIT="--only echo --rounds 3" chooses
