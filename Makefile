# SPDX-License-Identifier: Apache-2.0
# Keyrest, for Debian 12 on amd64. `make help` lists the goals. Objects of each variant live side by
# side under build/<variant>/: release, test (with the injectors of -DKEYREST_TEST), asan, tsan,
# coverage, fuzz, lint.

VARIANT ?= release
BUILD = build/$(VARIANT)
CC = $(if $(filter fuzz,$(VARIANT)),clang,gcc)
PREFIX ?= /usr/local
VERSION = 0.1.0

# Each flag with its reason.
WARNINGS = -Wall -Wextra \
  -Wshadow \
  -Wconversion \
  -Wswitch-enum \
  -Wmissing-prototypes \
  -Wstrict-prototypes \
  -Wpointer-arith \
  -Wundef \
  -Wvla
# -Wshadow: one name, one thing in a scope. -Wconversion: no silent narrowing of sizes and offsets.
# -Wswitch-enum: a new status or kind must be handled everywhere. -Wvla: no unbounded stack.
# No variant sets NDEBUG: a broken invariant must stop the process, not reach the disk.
CFLAGS_release = -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
LDFLAGS_release = -Wl,-z,relro,-z,now
CFLAGS_test = -O1 -g -DKEYREST_TEST
CFLAGS_asan = -O1 -g -DKEYREST_TEST -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan = -O1 -g -DKEYREST_TEST -fsanitize=thread
CFLAGS_fuzz = $(CFLAGS_asan) -DKEYREST_FUZZER -fsanitize=fuzzer-no-link
CFLAGS_coverage = -O0 -g -DKEYREST_TEST --coverage -fprofile-update=atomic
CFLAGS_lint = -O2 -DKEYREST_TEST -Werror
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DKEYREST_VERSION='"$(VERSION)"' -fno-common -pthread $(WARNINGS) $(CFLAGS_$(VARIANT)) $(CFLAGS)
ALL_LDFLAGS = $(LDFLAGS_$(VARIANT)) $(LDFLAGS)
LIBS = -lmicrohttpd -ljansson -lck -lxxhash -lpthread

SOURCES = $(wildcard engine/*.c engine/local/*.c engine/memory/*.c api/*.c service/*.c)
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY_OBJECTS = $(filter-out $(BUILD)/service/main.o,$(OBJECTS))
TEST_LIB_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/lib/*.c))
TEST_SOURCES = $(wildcard tests/unit/*/test_*.c tests/conformance/test_*.c tests/crash/test_*.c tests/stress/test_*.c tests/fault/test_*.c tests/http/test_*.c tests/fuzz/test_*.c)
TEST_PROGRAMS = $(TEST_SOURCES:%.c=$(BUILD)/%)
FUZZERS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/test_*.c))
BENCH_PROGRAMS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*.c))
BENCH_LIB_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench/lib/*.c))
# Of the engines to compare with, those whose headers `make deps-bench` found.
PEERS = build/peers/usr
bench_engine = $(if $(wildcard $(PEERS)/include/$(2) /usr/include/$(2)),$(1))
BENCH_ENGINES = $(call bench_engine,rocksdb,rocksdb/c.h) $(call bench_engine,leveldb,leveldb/c.h) $(call bench_engine,lmdb,lmdb.h)
BENCH_ENGINE_OBJECTS = $(patsubst %,$(BUILD)/tests/bench/contenders/%.o,keyrest bare $(BENCH_ENGINES))

# What each goal needs beyond make, as Debian 12 packages.
PACKAGES = gcc libc6-dev libmicrohttpd-dev libjansson-dev libck-dev libxxhash-dev libcmocka-dev curl spin
PACKAGES_lint = clang clang-format clang-tidy
PACKAGES_node = nodejs npm
PACKAGES_bench = wrk gnuplot-nox
PACKAGES_soak = clang libclang-rt-14-dev
PACKAGES_coverage = gcovr
PACKAGES_clients = python3
# Installed, this one would start a server: it is only unpacked. Pinned to what Debian 12's node runs.
PACKAGES_unpacked = prometheus
NPM_PACKAGES = eventsource@2.0.2

# make V=1 shows the commands.
Q = $(if $(V),,@)
# Sub-makes use every processor, unless the caller said how many.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
VARIANT_MAKE = $(MAKE) --no-print-directory $(JOBS)

# Packages come before everything else, also under `make -j deps run`.
ifneq ($(filter deps%,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif
.DEFAULT_GOAL = all
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: FORCE all tests fuzzers soak benches objects run test asan tsan coverage mutations lint bench bench-full install clean help deps deps-lint deps-node deps-bench deps-soak deps-coverage deps-clients deps-optional

all: build/keyrest ## build the service: build/keyrest

run: build/keyrest ## serve ./data on 127.0.0.1:7070
	@exec build/keyrest serve --listen 127.0.0.1:7070 --data ./data

# T=suite, T=suite/words of a test's name, or T=kind (unit, model, conformance, crash, stress, fault, http, contract).
test: export PICK = $(T)
test: build/keyrest ## run every test; T=suite or T=suite/words runs some
	@$(VARIANT_MAKE) VARIANT=test build/test/keyrest tests
	@tests/run build/test "$$PICK"

SANITIZED = unit fuzz conformance stress http

# ASan takes a share of the crash states, and fewer power cuts. TSan takes what has threads that live on.
asan: export KEYREST_CRASH_SHARE ?= 16
asan tsan: export KEYREST_POWER_CUTS ?= 9
asan: export PICK = $(T)
asan: ## run all kinds but model and contract under ASan and UBSan; T as in test
	@$(VARIANT_MAKE) VARIANT=asan build/asan/keyrest tests
	@tests/run build/asan $(if $(T),"$$PICK",$(SANITIZED) crash fault)

tsan: export PICK = $(T)
tsan: ## run unit, fuzz, conformance, stress, http and most fault tests under TSan; T as in test
	@$(VARIANT_MAKE) VARIANT=tsan build/tsan/keyrest tests
	@tests/run build/tsan $(if $(T),"$$PICK",$(SANITIZED) failing_disk full_disk full_disk_http)

soak: build/keyrest ## look for new failures for as long as SOAK_MINUTES says (60) (make deps-soak)
	@$(VARIANT_MAKE) VARIANT=test build/test/keyrest tests
	@$(VARIANT_MAKE) VARIANT=fuzz fuzzers
	@tests/soak

coverage: export PICK = $(T)
coverage: ## tell in build/coverage/lines.txt what no test runs (make deps-coverage); T as in test
	@$(VARIANT_MAKE) VARIANT=coverage build/coverage/keyrest tests
	@find build/coverage -name '*.gcda' -delete
	@tests/run build/coverage "$$PICK"
	@gcovr --root . --filter engine/ --filter api/ --filter service/ --output build/coverage/lines.txt build/coverage
	@grep -E '^(File|TOTAL)' build/coverage/lines.txt

mutations: export PICK = $(T)
mutations: ## break one load-bearing line at a time: a test must fail; T=words of a mutation's name
	@tests/mutations/run "$$PICK"

lint: ## check layout, layers, warnings and openapi.yaml (make deps-lint)
	@tests/lint

bench: build/keyrest ## measure against the goals, 20 minutes; T=engines/read or such: a part (make deps-bench)
	@$(VARIANT_MAKE) VARIANT=release benches
	@tests/bench/run goals $(T)

bench-full: build/keyrest ## the whole matrix of measurements, for hours; T as in bench
	@$(VARIANT_MAKE) VARIANT=release benches
	@tests/bench/run full $(T)

install: build/keyrest ## install bin/keyrest under PREFIX (/usr/local); DESTDIR is put before it
	install -D -m 755 build/keyrest '$(DESTDIR)$(PREFIX)/bin/keyrest'

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

deps: ## install what building, running and testing need
	$(call install_packages,$(PACKAGES))

deps-lint: ## install what lint needs
	$(call install_packages,$(PACKAGES_lint))
	@if ! command -v npx >/dev/null; then $(MAKE) --no-print-directory deps-node; fi

deps-node:
	$(call install_packages,$(PACKAGES_node))

deps-bench: ## install what bench needs
	$(call install_packages,$(PACKAGES_bench))
	@tests/bench/peers

deps-soak: ## install what soak needs
	$(call install_packages,$(PACKAGES_soak))

deps-coverage: ## install what coverage needs
	$(call install_packages,$(PACKAGES_coverage))

# Where they are there already, nothing is fetched.
deps-clients: ## install the foreign clients that tests/http/test_clients.sh drives
	$(call install_packages,$(PACKAGES_clients))
	@if ! command -v npm >/dev/null; then $(MAKE) --no-print-directory deps-node; fi
	@mkdir -p build/clients/unpacked && cd build/clients && for package in $(PACKAGES_unpacked); do \
	    [ -x unpacked/usr/bin/$$package ] || { apt-get download $$package && dpkg-deb -x $${package}_*.deb unpacked; } || exit 1; \
	done
	@[ -d build/clients/node_modules/eventsource ] || npm install --silent --no-audit --no-fund --prefix build/clients $(NPM_PACKAGES)

deps-optional: deps-lint deps-bench deps-soak deps-coverage deps-clients ## all of the above

# Asks dpkg first: when nothing is missing, nothing is touched, and no network is needed.
APT_GET = DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300
define install_packages
@missing=; for package in $(1); do \
    dpkg-query -W -f '$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
done; \
[ -n "$$missing" ] || exit 0; \
commands="$(APT_GET) update && $(APT_GET) install -y --no-install-recommends$$missing"; \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then sh -c "$$commands" </dev/null; \
elif command -v apt-get >/dev/null && command -v sudo >/dev/null; then sudo sh -c "$$commands" </dev/null; \
else echo "Packages of Debian 12 are missing. As root, run:" >&2; echo "$$commands" >&2; exit 2; fi
endef

# The variant is built by a make of its own, so that one invocation can need several.
build/keyrest: FORCE
	@$(VARIANT_MAKE) VARIANT=release build/release/keyrest
	@ln -f build/release/keyrest $@

tests: $(TEST_PROGRAMS) # every test program of the variant

fuzzers: $(FUZZERS)

benches: $(BENCH_PROGRAMS)

objects: $(OBJECTS) $(TEST_LIB_OBJECTS) $(TEST_PROGRAMS:=.o) $(BENCH_PROGRAMS:=.o) $(BENCH_LIB_OBJECTS) $(BENCH_ENGINE_OBJECTS)

$(BUILD)/keyrest: $(OBJECTS)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libkeyrest.a: $(LIBRARY_OBJECTS) $(TEST_LIB_OBJECTS)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D); echo "  CC   $@"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The binary carries the file whole.
$(BUILD)/api/openapi_yaml.o: openapi.yaml

# This test fails allocations, the sanitizers' too: the linker leads them past it.
$(BUILD)/tests/unit/local/test_memory_failure: LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libkeyrest.a
	@echo "  LINK $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(BUILD)/libkeyrest.a -lcmocka $(LIBS)

# libFuzzer brings its main; else the target is a test.
$(FUZZERS): ALL_LDFLAGS += $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer)

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(BENCH_LIB_OBJECTS) $(BUILD)/libkeyrest.a
	@echo "  LINK $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(BUILD)/libkeyrest.a $(LIBS)

$(BUILD)/tests/bench/requests: LIBS += -lm

# Libraries of the peers lie where they were unpacked.
$(BUILD)/tests/bench/engines: $(BENCH_ENGINE_OBJECTS)
$(BUILD)/tests/bench/engines: LIBS += $(BENCH_ENGINES:%=-l%) -L$(PEERS)/lib/x86_64-linux-gnu \
  -Wl,--disable-new-dtags,-rpath,$(abspath $(PEERS)/lib/x86_64-linux-gnu)
$(BENCH_ENGINE_OBJECTS): private ALL_CFLAGS += -isystem $(PEERS)/include

# Changes when the compiler or its flags do, and everything is built anew.
$(BUILD)/flags: export FLAGS = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo "$$FLAGS" | cmp -s - $@ || echo "$$FLAGS" >$@

-include $(OBJECTS:.o=.d) $(TEST_LIB_OBJECTS:.o=.d) $(TEST_PROGRAMS:=.d) $(BENCH_PROGRAMS:=.d) $(BENCH_LIB_OBJECTS:.o=.d) $(BENCH_ENGINE_OBJECTS:.o=.d)
