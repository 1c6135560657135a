# `make` alone says what there is.
.DEFAULT_GOAL := help
.PHONY: help run test faults soak fuzz sanitize coverage mutants cross check bench doc experiments limit scale compare fair draw atlas \
	million

help: ## list these
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: ## serve on 127.0.0.1:20003 until Ctrl-C
	cargo run --release -- serve

test: ## every test; the simulated world runs 12,000 seeds
	cargo test

faults: ## failing system calls, limits, abuse, clocks and full outputs against the release binary: all of it
	CLOSECALL_LONG=1 cargo test --release --test service -- --nocapture \
		$(addsuffix ::,faults plateau abuse clock sinks stop)

soak: ## ten minutes of mixed load and faults on 10,000 connections; SOAK_SECONDS=60 for one
	CLOSECALL_LONG=1 cargo test --release --test service soak:: -- --nocapture

fuzz: ## look for inputs that break a promise, on nightly: each target for a minute; SECONDS=600 for ten
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	for target in $$(cargo fuzz list); do \
		mkdir -p fuzz/target/corpus/$$target fuzz/found/$$target; \
		cargo +nightly fuzz run -s none $$target fuzz/target/corpus/$$target fuzz/corpus/$$target \
			fuzz/found/$$target -- -max_total_time=$(or $(SECONDS),60) || exit 1; \
	done

# The bare library: what is measured and mutated below needs no command line.
BARE = --locked --no-default-features --features simulation
DECIDES = $(addprefix --test ,alone closing server simulation)

coverage: ## which lines of machine/ and reactor/ no test reaches (cargo-llvm-cov, and llvm's own tools)
	cargo llvm-cov $(BARE) --lib $(DECIDES) --ignore-filename-regex 'src/(client|config|kernel|server|simulation)' \
		--fail-under-lines 95 --show-missing-lines

mutants: ## machine/ and reactor/ with one small error at a time, which a test has to notice; MUTANTS="--shard 1/8"
	CLOSECALL_SEEDS=2000 cargo mutants $(MUTANTS)

sanitize: ## memory errors and undefined behaviour: sockets under AddressSanitizer and MemorySanitizer, the rest under Miri
	tests/sanitize/run; code=$$?; [ $$code -eq 77 ] || exit $$code # 77: something was skipped, with its reason

check: ## what CI checks: formatting, lints, both feature sets, tests, docs, examples
	.ci/run

cross: ## other systems: compile for Windows, macOS, FreeBSD, NetBSD, illumos and aarch64, run the tests under wine
	tests/cross.sh; code=$$?; [ $$code -eq 77 ] || exit $$code # 77: something was skipped, and said so

bench: ## how near the server is to the limit: CPU per echo and per cycle beside a minimal C program
	cargo build --release
	python3 benches/limit/run.py $(LIMIT)

scale: ## what a connection costs among 1,000 and among a million: the loop's own part, in half a minute
	cargo bench --bench scale -- $(SCALE)

doc: ## the documentation, in target/doc/closecall/index.html
	cargo doc --no-deps

experiments: ## docs/EXPERIMENTS.md anew: the whole lab before a capture (Linux, CAP_NET_RAW)
	cargo run --example experiments

limit: bench ## the same as bench; LIMIT="--only echo --rounds 3" chooses

compare: ## closecall beside libuv, tokio, Go and threads; COMPARE="--only echo --rounds 3 --peers go,tokio" chooses
	cargo build --release
	python3 benches/peers/compare.py --json target/compare.json --markdown target/compare.md $(COMPARE)

fair: ## how long polite clients wait beside a flood: closecall, tokio, Go, libuv; FAIR="--rounds 3" chooses
	cargo build --release
	python3 benches/fair/fair.py --json target/fair.json --markdown target/fair.md $(FAIR)

draw: ## docs/compare.svg and docs/fair.svg, from what `make compare` and `make fair` have measured last
	for chart in compare fair; do \
		[ ! -e target/$$chart.json ] || cargo run --example draw -- docs/$$chart.svg target/$$chart.json || exit 1; \
	done

atlas: ## docs/PROXIES.md anew: which endings real proxies hide, by captures on both sides (Linux, root); ATLAS="--only HAProxy"
	cargo build --release
	python3 atlas/test_atlas.py
	python3 atlas/atlas.py --json target/atlas.json \
		--markdown $(if $(ATLAS),target/atlas.md,docs/PROXIES.md) $(ATLAS)

million: ## two million connections, each of them used and closed in order (Linux, root, 15 GB); CONNECTIONS=200000
	cargo build --release
	python3 benches/million/million.py --connections $(or $(CONNECTIONS),2000000)
