# `make` without a target lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run test faults soak fuzz sanitize coverage mutants cross check bench doc experiments limit scale compare fair draw atlas \
	million picture book

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: ## run the server on 127.0.0.1:20003 until Ctrl-C
	cargo run --release -- serve

test: ## run all tests; the simulated world runs 12,000 seeds
	cargo test

faults: ## run the long tests of the release binary: failing system calls, limits, abuse, clocks, full outputs
	CLOSECALL_LONG=1 cargo test --release --test service -- --nocapture \
		$(addsuffix ::,faults plateau abuse clock sinks stop)

soak: ## run ten minutes of mixed load and faults on 10,000 connections; SOAK_SECONDS=60 runs one minute
	CLOSECALL_LONG=1 cargo test --release --test service soak:: -- --nocapture

fuzz: ## run each fuzz target for a minute (Rust nightly); SECONDS=600 runs ten minutes
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	for target in $$(cargo fuzz list); do \
		mkdir -p fuzz/target/corpus/$$target fuzz/found/$$target; \
		cargo +nightly fuzz run -s none $$target fuzz/target/corpus/$$target fuzz/corpus/$$target \
			fuzz/found/$$target -- -max_total_time=$(or $(SECONDS),60) || exit 1; \
	done

# The library without the command line: coverage and mutants need no more.
BARE = --locked --no-default-features --features simulation
DECIDES = $(addprefix --test ,alone closing server simulation)

coverage: ## show the lines of machine/ and reactor/ that no test reaches (cargo-llvm-cov, llvm tools)
	cargo llvm-cov $(BARE) --lib $(DECIDES) --ignore-filename-regex 'src/(client|config|kernel|server|simulation)' \
		--fail-under-lines 95 --show-missing-lines

mutants: ## insert small errors into machine/ and reactor/, one at a time; a test must fail; MUTANTS="--shard 1/8"
	CLOSECALL_SEEDS=2000 cargo mutants $(MUTANTS)

sanitize: ## run the socket module under AddressSanitizer and MemorySanitizer, the pure parts under Miri
	tests/sanitize/run; code=$$?; [ $$code -eq 77 ] || exit $$code # 77: a part was skipped and reported

check: ## run the checks of CI: formatting, lints, both feature sets, tests, docs, examples
	.ci/run

cross: ## compile for Windows, macOS, FreeBSD, NetBSD, illumos and aarch64, and run the tests under wine
	tests/cross.sh; code=$$?; [ $$code -eq 77 ] || exit $$code # 77: a part was skipped and reported

bench: ## measure CPU time per echo and per cycle beside a minimal C program
	cargo build --release
	python3 benches/limit/run.py $(LIMIT)

scale: ## measure the loop's cost of a connection among 1,000 and among a million; half a minute
	cargo bench --bench scale -- $(SCALE)

doc: ## build the documentation, target/doc/closecall/index.html
	cargo doc --no-deps

book: ## build the documents as a book with search, target/book/index.html (python3; installs mdBook)
	command -v mdbook >/dev/null || cargo install mdbook --locked --version '^0.5' --no-default-features --features search
	command -v mdbook-mermaid >/dev/null || cargo install mdbook-mermaid --locked --version '^0.17'
	python3 book/make.py

picture: ## draw docs/endings.svg from a run of the release binary
	cargo build --release
	python3 docs/picture/endings.py

experiments: ## write docs/EXPERIMENTS.md: run the whole lab with a packet capture (Linux, CAP_NET_RAW)
	cargo run --example experiments

limit: bench ## the same as bench; LIMIT="--only echo --rounds 3" passes options

compare: ## compare with libuv, tokio, Go and threads; COMPARE="--only echo --rounds 3 --peers go,tokio" passes options
	cargo build --release
	python3 benches/peers/compare.py --json target/compare.json --markdown target/compare.md $(COMPARE)

fair: ## measure the waiting time of polite clients beside a flood; FAIR="--rounds 3" passes options
	cargo build --release
	python3 benches/fair/fair.py --json target/fair.json --markdown target/fair.md $(FAIR)

draw: ## draw docs/compare.svg and docs/fair.svg from the last `make compare` and `make fair`
	for chart in compare fair; do \
		[ ! -e target/$$chart.json ] || cargo run --example draw -- docs/$$chart.svg target/$$chart.json || exit 1; \
	done

atlas: ## write docs/PROXIES.md: run the lab through real proxies (Linux, root); ATLAS="--only HAProxy" passes options
	cargo build --release
	python3 atlas/test_atlas.py
	python3 atlas/atlas.py --json target/atlas.json \
		--markdown $(if $(ATLAS),target/atlas.md,docs/PROXIES.md) $(ATLAS)

million: ## hold, use and close two million connections (Linux, root, 15 GB); CONNECTIONS=200000 for fewer
	cargo build --release
	python3 benches/million/million.py --connections $(or $(CONNECTIONS),2000000)
