# kexa: one Makefile, non-recursive; writes only below $(BUILD).
#   make            build/kexa, build/libkexa.a, build/libkexa.so
#   make test       unit, checkkern, golden vectors, fuzz corpora, tree checks
#   make SAN=address,undefined BUILD=build/asan ...   the same under sanitizers
BUILD   ?= build
CC      ?= cc
SAN     ?=
PKGS     = jansson libutf8proc
CPPFLAGS = -Isrc -Iinclude -I$(BUILD)/gen -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS))
OPT     ?= -O2 -g
CFLAGS   = -std=c11 $(OPT) -fPIC -ffp-contract=off -fvisibility=default -pthread \
           -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
           $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS  = -pthread $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   = $(shell pkg-config --libs $(PKGS)) -lm

# A file's suffix says which CPU it is for; nothing else may use those flags.
CFLAGS_avx2   = -mavx2 -mfma -mf16c
CFLAGS_avx512 = $(CFLAGS_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
isa           = $(lastword $(subst _, ,$(basename $(notdir $1))))

SRCS      := $(sort $(wildcard src/*/*.c src/*/*/*.c))
LIB_SRCS  := $(filter-out src/cmd/%,$(SRCS))
CMD_SRCS  := $(filter src/cmd/%,$(SRCS))
LIB_OBJS  := $(LIB_SRCS:%.c=$(BUILD)/%.o)
CMD_OBJS  := $(CMD_SRCS:%.c=$(BUILD)/%.o)
TEST_SRCS := $(sort $(wildcard tests/unit/test_*.c tests/unit/*/test_*.c tests/gold/test_*.c))
TESTS     := $(TEST_SRCS:%.c=$(BUILD)/%)

all: $(BUILD)/kexa $(BUILD)/libkexa.so

$(BUILD)/kexa: $(CMD_OBJS) $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(if $(wildcard src/cmd/chat*.c),-ledit)

$(BUILD)/libkexa.a: $(LIB_OBJS)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/libkexa.so: $(LIB_OBJS)
	$(CC) -shared $(LDFLAGS) -Wl,-soname,libkexa.so.0 -o $@ $^ $(LDLIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(call isa,$<)) -MMD -MP -c $< -o $@

# A test is one program on top of libkexa.a; its last line is "N passed, N failed, N skipped".
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/tests/harness.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# checkkern: every kernel at every CPU level, one program from all of tests/kern.
KERN_TESTS := $(sort $(wildcard tests/kern/*.c))
$(BUILD)/tests/kern/checkkern: $(KERN_TESTS:%.c=$(BUILD)/%.o) $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

checkkern: $(BUILD)/tests/kern/checkkern

# Benchmarks: one program each; `make bench` builds and runs them.
BENCHES := $(patsubst bench/kern/%.c,$(BUILD)/bench/%,$(sort $(wildcard bench/kern/bench_*.c)))
$(BENCHES): $(BUILD)/bench/%: $(BUILD)/bench/kern/%.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

bench: $(BENCHES)
	@for b in $(BENCHES); do echo "== $$b"; $$b || exit 1; done

tests: $(TESTS)

clean:
	rm -rf $(BUILD)

.PHONY: all tests checkkern bench clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
