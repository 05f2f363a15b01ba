# SPDX-License-Identifier: Apache-2.0
# Everything that is done with this repository, by name. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

JOBS ?= $(shell nproc)
# `make run`: the node's name, its data and what else it is told.
NAME ?= rakv
DATA_DIR ?= data
RUN_ARGS ?=
# `make install`: where to; with DESTDIR in the environment, below that folder.
PREFIX ?= /usr/local
# `make fuzz`: how long each target runs.
FUZZ_SECONDS ?= 600
# `make bench`: arguments of the benchmark programs, e.g. --benchmark_filter=append
BENCH_ARGS ?=
# `make asan-suites SUITE=mixed_SUITE`: only that one.
SUITE ?=
# `make lint LINT=raft/core`, `make lint-deep LINT=raft/core`: only below that folder.
LINT ?=

# `make harness`: how many operations, which nodes are rakv (all, odd, one, none), and the seed of a run to be replayed.
OPS ?= 100
RAKV ?= all
SEED ?=
# `make sim`: how many seeds, or the one SEED; and more arguments of rakv_sim, e.g. --trace
SEEDS ?= 100
SIM_ARGS ?=
# `make nemesis`: seconds of faults for each cluster, which cluster (rrr, rbr, bbr, rrrrr; all of them without), and which
# faults, with commas between (docs/reliability.md; all of them without); SEED
SECONDS ?= 300
CLUSTER ?=
FAULTS ?=

# `make sensitivity`: bugs or modules, all without; how many seeds rakv_sim tries; and more arguments of the script, e.g. --sim
BUGS ?=
SENSITIVITY_SEEDS ?= 300
SENSITIVITY_ARGS ?=

.PHONY: help setup otp29 beam-scripts build install run test asan tsan asan-suites tsan-suites bench bench-kv bench-instructions \
	bench-mixed bench-large bench-memory bench-start bench-keys fuzz harness sim nemesis sensitivity format pictures lint \
	lint-deep clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install the Debian packages that are missing
	@scripts/setup.sh

otp29: setup ## OTP 29 with ra 3.1.10 and rebar3 into .deps/otp29
	@scripts/otp29.sh .deps/otp29

build: ## the release binary, build/release/rakv
	@scripts/setup.sh --build-only
	@scripts/build.sh release rakv

install: build ## the program below PREFIX (default /usr/local), without debug information, which lies beside it
	@scripts/install.sh $(PREFIX)

run: build ## one node in the foreground, with a single-member cluster kv (NAME, DATA_DIR, RUN_ARGS)
	@epmd -daemon
	@exec build/release/rakv start --sname $(NAME) --bootstrap kv --data-dir $(DATA_DIR) $(RUN_ARGS)

beam-scripts: otp29 ## tests/simulation/beam_scripts anew: what real ra members do in the scripts of the twin tests
	@mkdir -p build/beam-scripts && rm -rf build/beam-scripts/data
	@.deps/otp29/bin/erlc -o build/beam-scripts erlang_tests/support/twin_*.erl
	@.deps/otp29/bin/epmd -daemon
	@.deps/otp29/bin/erl -noshell -pa build/beam-scripts \
	  -run twin_recorder main tests/simulation/beam_scripts build/beam-scripts/data

test: otp29 ## everything set up, built and tested: units, the rebar3 package, suites with real ra members
	@scripts/test.sh

asan: setup ## the unit tests under the address and undefined-behaviour sanitizers
	@scripts/build.sh asan
	@ctest --preset asan -j $(JOBS) --no-tests=error

tsan: setup ## the unit tests under the thread sanitizer
	@scripts/build.sh tsan
	@ctest --preset tsan -j $(JOBS) --no-tests=error

asan-suites: otp29 ## the suites with real ra members, every rakv node under the sanitizers of asan (SUITE)
	@scripts/build.sh asan rakv
	@scripts/sanitized_suites.sh asan $(if $(SUITE),--suite=test/$(SUITE))

tsan-suites: otp29 ## the same under the thread sanitizer
	@scripts/build.sh tsan rakv
	@scripts/sanitized_suites.sh tsan $(if $(SUITE),--suite=test/$(SUITE))

bench: setup ## the benchmarks (BENCH_ARGS)
	@scripts/build.sh bench
	@scripts/bench.sh $(BENCH_ARGS)

bench-kv: otp29 build ## one rakv member beside one BEAM member: latency and rates of puts and gets
	@scripts/build.sh bench kv_driver
	@scripts/bench_kv.sh

bench-instructions: otp29 build ## instructions of a member for a put and a get, counted by callgrind
	@scripts/build.sh bench kv_driver
	@scripts/bench_instructions.sh

bench-mixed: otp29 build ## put/s of clusters of three with BEAM and rakv leaders and followers
	@scripts/build.sh bench kv_driver
	@scripts/bench_mixed.sh

bench-large: otp29 build ## small calls while 100 MB values travel, to a rakv member and to a BEAM member
	@scripts/bench_large.sh

bench-memory: otp29 build ## peaks of memory with 8 GiB of values in 512MB (BENCH_ARGS: keys, bytes of a value, budget)
	@scripts/build.sh bench memory_driver
	@scripts/bench_memory.sh $(BENCH_ARGS)

bench-start: build ## the longest put of one cluster while another server with a million entries starts (BENCH_ARGS: entries)
	@scripts/bench_start.sh $(BENCH_ARGS)

bench-keys: otp29 build ## 5 million keys on rakv and on a BEAM: memory, start, snapshot (BENCH_ARGS: keys, bytes of a value)
	@scripts/build.sh bench memory_driver
	@scripts/bench_keys.sh $(BENCH_ARGS)

fuzz: setup ## every fuzz target for FUZZ_SECONDS
	@scripts/build.sh fuzz
	@scripts/fuzz.sh $(FUZZ_SECONDS)

harness: otp29 build ## ra's own ra_kv_harness with rakv nodes (OPS, RAKV=all|odd|one|none, SEED)
	@scripts/harness.sh $(OPS) $(RAKV) $(SEED)

sim: setup ## random runs of whole clusters under virtual time (SEEDS or SEED, SIM_ARGS)
	@scripts/build.sh bench rakv_sim
	@build/bench/tests/simulation/rakv_sim $(if $(SEED),--seed=$(SEED),--seeds=$(SEEDS)) $(SIM_ARGS)

nemesis: otp29 build ## rakv and BEAM members under faults, clients' histories checked (SECONDS, SEED, CLUSTER, FAULTS)
	@RAKV_NEMESIS_SECONDS=$(SECONDS) $(if $(SEED),RAKV_SEED=$(SEED)) $(if $(FAULTS),RAKV_NEMESIS_FAULTS=$(FAULTS)) \
		RAKV_CT_ARGS="--suite=test/nemesis_SUITE $(if $(CLUSTER),--case=$(CLUSTER))" scripts/test.sh suites

sensitivity: otp29 ## plants bugs, one at a time, and says which test finds each (BUGS, SENSITIVITY_SEEDS, SENSITIVITY_ARGS)
	@scripts/sensitivity.sh --seeds=$(SENSITIVITY_SEEDS) $(SENSITIVITY_ARGS) $(BUGS)

format: setup ## clang-format over all sources
	@git ls-files -co --exclude-standard '*.cc' '*.h' | xargs -r clang-format -i

pictures: ## docs/pictures: each SVG from its text
	@scripts/pictures.sh

lint: setup ## format, clang-tidy, headers that stand alone, shellcheck; all warnings are errors (LINT)
	@scripts/lint.sh $(LINT)

lint-deep: setup ## clang-tidy's path-sensitive checks, source by source: hours, or minutes for a small folder (LINT)
	@scripts/lint.sh --deep $(LINT)

clean: ## remove what was built; .deps and data stay
	rm -rf build
