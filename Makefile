# SPDX-License-Identifier: Apache-2.0
# Keyrest. `make help` lists the goals. Objects of each variant live side by side under build/<variant>/.

VARIANT ?= release
BUILD = build/$(VARIANT)
CC = gcc
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
CFLAGS_release = -O2 -g
CFLAGS_test = -O1 -g -DKEYREST_TEST
CFLAGS_asan = -O1 -g -DKEYREST_TEST -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan = -O1 -g -DKEYREST_TEST -fsanitize=thread
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DKEYREST_VERSION='"$(VERSION)"' -fno-common -pthread $(WARNINGS) $(CFLAGS_$(VARIANT)) $(CFLAGS)
LIBS = -lmicrohttpd -ljansson -lck -lxxhash -lpthread

SOURCES = $(wildcard engine/*.c engine/local/*.c engine/memory/*.c api/*.c service/*.c)
OBJECTS = $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY_OBJECTS = $(filter-out $(BUILD)/service/main.o,$(OBJECTS))
TEST_LIB_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/lib/*.c))
TEST_SOURCES = $(wildcard tests/unit/*/test_*.c tests/conformance/test_*.c tests/crash/test_*.c tests/stress/test_*.c tests/http/test_*.c)
TEST_PROGRAMS = $(TEST_SOURCES:%.c=$(BUILD)/%)

.DEFAULT_GOAL = all
.SECONDARY:
.PHONY: all binary tests test clean help

all: build/keyrest ## build the service: build/keyrest

build/keyrest: $(SOURCES) $(wildcard engine/*.h engine/*.def engine/*/*.h api/*.h api/*.def service/*.h service/*.def)
	@$(MAKE) --no-print-directory VARIANT=release build/release/keyrest
	@cp build/release/keyrest $@

$(BUILD)/keyrest: $(OBJECTS)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libkeyrest.a: $(LIBRARY_OBJECTS) $(TEST_LIB_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libkeyrest.a
	$(CC) $(ALL_CFLAGS) -o $@ $< $(BUILD)/libkeyrest.a -lcmocka $(LIBS)

tests: $(TEST_PROGRAMS) # every test program of the variant

test: build/keyrest ## build and run every test; T=suite or T=suite/words runs some
	@$(MAKE) --no-print-directory VARIANT=test build/test/keyrest tests
	@tests/run build/test '$(T)'

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

-include $(OBJECTS:.o=.d) $(TEST_LIB_OBJECTS:.o=.d) $(TEST_PROGRAMS:=.d)
