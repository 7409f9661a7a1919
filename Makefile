# kexa: one Makefile, non-recursive; writes only below $(BUILD).
#   make            build/kexa, build/libkexa.a, build/libkexa.so
#   make test       unit, checkkern, golden vectors, fuzz corpora, tree checks
#   make docs       writes docs/cli.md from the option tables
#   make install    program, header, libraries, man page, completions below PREFIX
#   make SAN=address,undefined BUILD=build/asan ...   the same under sanitizers
BUILD   ?= build
CC      ?= cc
SAN     ?=
WERROR  ?=
PREFIX  ?= /usr/local
DESTDIR ?=
PKGS     = jansson libutf8proc libpcre2-8 libzstd
CPPFLAGS = -Isrc -Iinclude -I$(BUILD)/gen -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS))
OPT     ?= -O2 -g
CFLAGS   = -std=c11 $(OPT) -fPIC -ffp-contract=off -fvisibility=default -pthread \
           -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
           $(if $(WERROR),-Werror) \
           $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS  = -pthread $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   = $(shell pkg-config --libs $(PKGS)) -lm
CMD_LIBS = $(shell pkg-config --libs libedit libcurl libcrypto)

# A file's suffix says which CPU it is for; nothing else may use those flags.
CFLAGS_avx2   = -mavx2 -mfma -mf16c
CFLAGS_avx512 = $(CFLAGS_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni
CFLAGS_amx    = $(CFLAGS_avx512) -mavx512bf16 -mamx-tile -mamx-bf16
isa           = $(lastword $(subst _, ,$(basename $(notdir $1))))

SRCS      := $(sort $(wildcard src/*/*.c src/*/*/*.c))
LIB_SRCS  := $(filter-out src/cmd/%,$(SRCS))
CMD_SRCS  := $(filter src/cmd/%,$(SRCS))
LIB_OBJS  := $(LIB_SRCS:%.c=$(BUILD)/%.o)
CMD_OBJS  := $(CMD_SRCS:%.c=$(BUILD)/%.o)
TEST_SRCS := $(sort $(wildcard tests/unit/test_*.c tests/unit/*/test_*.c tests/gold/test_*.c))
TESTS     := $(TEST_SRCS:%.c=$(BUILD)/%)
VERSION   := $(shell sed -n 's/^.define KEXA_VERSION "\(.*\)"/\1/p' include/kexa.h)
SONAME     = libkexa.so.0

all: $(BUILD)/kexa $(BUILD)/libkexa.so

$(BUILD)/kexa: $(CMD_OBJS) $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(CMD_LIBS)

$(BUILD)/libkexa.a: $(LIB_OBJS)
	@rm -f $@
	ar rcs $@ $^

# The shared library shows only kexa_ names.
$(BUILD)/libkexa.so: $(LIB_OBJS)
	@printf '{ global: kexa_*; local: *; };\n' > $(BUILD)/libkexa.map
	$(CC) -shared $(LDFLAGS) -Wl,-soname,$(SONAME) -Wl,--version-script=$(BUILD)/libkexa.map \
	    -o $@ $^ $(LDLIBS)
	@ln -sf libkexa.so $(BUILD)/$(SONAME)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(call isa,$<)) -MMD -MP -c $< -o $@

# A test is one program on top of libkexa.a; its last line is "N passed, N failed, N skipped".
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/tests/harness.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDLIBS)

# checkkern: every kernel at every CPU level, one program from all of tests/kern.
KERN_TESTS := $(sort $(wildcard tests/kern/*.c))
$(BUILD)/tests/kern/checkkern: $(KERN_TESTS:%.c=$(BUILD)/%.o) $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

checkkern: $(BUILD)/tests/kern/checkkern

# Benchmarks: one program each; `make bench` builds and runs them.
BENCHES := $(patsubst bench/kern/%.c,$(BUILD)/bench/%,$(sort $(wildcard bench/kern/bench_*.c)))
$(BENCHES): $(BUILD)/bench/%: $(BUILD)/bench/kern/%.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Whole training steps; wants a config.json (bench/train/README.md).
$(BUILD)/bench/bench_training: $(BUILD)/bench/train/bench_training.o $(BUILD)/libkexa.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Encoding: needs a tokenizer and text, so it is built here and run by hand.
$(BUILD)/bench/bench_encode: $(BUILD)/bench/text/bench_encode.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

bench: $(BENCHES)
	@for b in $(BENCHES); do echo "== $$b"; $$b || exit 1; done

# Code point classes, made from utf8proc's tables.
$(BUILD)/gen/unicode_table.h: tools/gen_unicode.c src/text/unicode.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $< -o $(BUILD)/gen/gen_unicode $(shell pkg-config --libs libutf8proc)
	$(BUILD)/gen/gen_unicode > $@.part
	@mv $@.part $@

$(BUILD)/src/text/unicode.o: $(BUILD)/gen/unicode_table.h

# What tests/e2e/test_tokenizers.py drives; it has its own main.
$(BUILD)/tests/unit/text/tokenize_lines: $(BUILD)/tests/unit/text/tokenize_lines.o \
                                         $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

tests: $(TESTS) $(BUILD)/tests/unit/text/tokenize_lines $(BUILD)/tests/unit/train/write_run \
    $(BUILD)/tests/unit/format/dump_tensors

# What kexa reads from a model file, as JSON (tests/e2e/test_formats.py compares it).
$(BUILD)/tests/unit/format/dump_tensors: $(BUILD)/tests/unit/format/dump_tensors.o \
    $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The format tests share the makers of files, and what touches all that was read.
FORMAT_TESTS := $(filter $(BUILD)/tests/unit/format/%,$(TESTS))
$(FORMAT_TESTS): $(BUILD)/tests/unit/format/gguf_build.o $(BUILD)/tests/unit/format/scratch.o \
    $(BUILD)/tests/fuzz/walk.o $(BUILD)/tests/fuzz/gguf_copy.o

# The tests of training and of folders make files too.
TRAIN_TESTS := $(filter $(BUILD)/tests/unit/train/%,$(TESTS))
$(TRAIN_TESTS) $(BUILD)/tests/unit/test_folder: $(BUILD)/tests/unit/format/scratch.o

# What tests/e2e/test_report.py drives; it has its own main.
$(BUILD)/tests/unit/train/write_run: $(BUILD)/tests/unit/train/write_run.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Fuzzing.  fuzz-corpus: every file of tests/fuzz/corpus and FUZZ_RUNS mutations per target,
# under sanitizers; its last line counts the targets.  soak-fuzz: libFuzzer by the clock.
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZERS      := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/fuzz_%)
SOAKERS      := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/soak_%)
FUZZ_WALKS   := $(BUILD)/tests/fuzz/walk.o $(BUILD)/tests/fuzz/walk_tokenizer.o \
                $(BUILD)/tests/fuzz/gguf_copy.o \
                $(BUILD)/tests/fuzz/session_rig.o
FUZZ_RUNS    ?= 20000
FUZZ_SECONDS ?= 600

$(FUZZERS): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/driver.o \
    $(BUILD)/tests/fuzz/mutate.o $(FUZZ_WALKS) $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(SOAKERS): $(BUILD)/tests/fuzz/soak_%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_WALKS) \
    $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

fuzz-corpus:
	@$(MAKE) --no-print-directory BUILD=build/asan SAN=address,undefined OPT='-O1 -g' fuzz-run

fuzz-run: $(FUZZERS)
	@good=0 bad=0; for t in $(FUZZ_TARGETS); do \
	    $(BUILD)/tests/fuzz/fuzz_$$t --runs $(FUZZ_RUNS) tests/fuzz/corpus/$$t && \
	    good=$$((good + 1)) || bad=$$((bad + 1)); done; \
	    echo "$$good passed, $$bad failed, 0 skipped"; [ $$bad = 0 ]

soak-fuzz:
	$(MAKE) BUILD=build/fuzz CC=clang SAN=fuzzer-no-link,address,undefined OPT='-O1 -g' soak-run

soak-run: $(SOAKERS)
	@for t in $(FUZZ_TARGETS); do mkdir -p $(BUILD)/found/$$t; \
	    $(BUILD)/tests/fuzz/soak_$$t -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=5 \
	    -print_final_stats=1 -artifact_prefix=$(BUILD)/found/$$t- $(BUILD)/found/$$t \
	    tests/fuzz/corpus/$$t || exit 1; done

# Makes tests/fuzz/corpus again, apart from what fuzzing found (found-*).
$(BUILD)/tests/fuzz/make_corpus: $(BUILD)/tests/fuzz/make_corpus.o \
    $(BUILD)/tests/fuzz/session_rig.o $(BUILD)/tests/unit/format/gguf_build.o $(BUILD)/libkexa.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

fuzz-corpora: $(BUILD)/tests/fuzz/make_corpus $(FORMAT_TESTS)
	mkdir -p $(FUZZ_TARGETS:%=tests/fuzz/corpus/%)
	rm -f tests/fuzz/corpus/*/ok-* tests/fuzz/corpus/*/lie-*
	$(BUILD)/tests/fuzz/make_corpus tests/fuzz/corpus
	KEXA_KEEP_LIES=tests/fuzz/corpus/gguf $(BUILD)/tests/unit/format/test_gguf_lies
	KEXA_KEEP_LIES=tests/fuzz/corpus/safetensors $(BUILD)/tests/unit/format/test_safetensors

# A test of a command's own code also links that file.
$(BUILD)/tests/unit/test_options: $(BUILD)/src/cmd/options.o $(BUILD)/src/cmd/option_text.o
$(BUILD)/tests/unit/cmd/test_chat_parts: $(patsubst %,$(BUILD)/src/cmd/chat_%.o,answer file turns)

$(BUILD)/tests/unit/text/test_tokenizer_train: $(BUILD)/tests/unit/format/scratch.o
$(BUILD)/tests/unit/run/test_session_file: $(BUILD)/tests/fuzz/session_rig.o
$(patsubst %,$(BUILD)/tests/unit/data/test_%,shard loader pack): $(BUILD)/tests/unit/data/shard_make.o

test: all tests
	tests/run tree build unit kern fuzz

# Hours: a million strings, fuzzing by the clock, valgrind.
soak:
	./go test soak

# Every file through another compiler's warnings, without code.
syntax: $(patsubst %.c,$(BUILD)/syntax/%,$(SRCS) $(TEST_SRCS) $(KERN_TESTS) tests/harness.c)

$(BUILD)/syntax/%: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(call isa,$<)) -fsyntax-only $< && touch $@

# The public header compiles alone, first and twice, as C and as C++.
header-check:
	printf '\043include "kexa.h"\n\043include "kexa.h"\n' | $(CC) $(CFLAGS) -Iinclude -xc \
	    -fsyntax-only -
header-check-cpp:
	printf '\043include "kexa.h"\n\043include "kexa.h"\n' | c++ -Wall -Wextra -Wpedantic \
	    $(if $(WERROR),-Werror) -Iinclude -xc++ -fsyntax-only -

docs: $(BUILD)/kexa
	$(BUILD)/kexa help --as markdown > docs/cli.md

# The installed static library is one object in which only kexa_ names are global.
$(BUILD)/public/libkexa.a: $(LIB_OBJS)
	@mkdir -p $(@D)
	@rm -f $@
	$(LD) -r -o $(BUILD)/public/kexa.o $^
	objcopy --wildcard --keep-global-symbol='kexa_*' $(BUILD)/public/kexa.o
	ar rcs $@ $(BUILD)/public/kexa.o

$(BUILD)/kexa.pc: include/kexa.h Makefile
	@mkdir -p $(@D)
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: kexa' 'Version: $(VERSION)' \
	    'Description: language models of the K-EXAONE kind' 'Cflags: -I$${prefix}/include' \
	    'Libs: -L$${prefix}/lib -lkexa' 'Requires.private: $(PKGS)' \
	    'Libs.private: -lm -pthread' > $@

AT = $(DESTDIR)$(PREFIX)
install: $(BUILD)/kexa $(BUILD)/libkexa.so $(BUILD)/public/libkexa.a
	@rm -f $(BUILD)/kexa.pc
	@$(MAKE) --no-print-directory $(BUILD)/kexa.pc
	install -d $(AT)/bin $(AT)/include $(AT)/lib/pkgconfig $(AT)/share/man/man1 \
	    $(AT)/share/bash-completion/completions $(AT)/share/zsh/site-functions \
	    $(AT)/share/fish/vendor_completions.d $(AT)/share/doc/kexa
	install -m 755 $(BUILD)/kexa $(AT)/bin/kexa
	install -m 644 include/kexa.h $(AT)/include/kexa.h
	install -m 644 $(BUILD)/public/libkexa.a $(AT)/lib/libkexa.a
	install -m 755 $(BUILD)/libkexa.so $(AT)/lib/libkexa.so.$(VERSION)
	ln -sf libkexa.so.$(VERSION) $(AT)/lib/$(SONAME)
	ln -sf $(SONAME) $(AT)/lib/libkexa.so
	install -m 644 $(BUILD)/kexa.pc $(AT)/lib/pkgconfig/kexa.pc
	install -m 644 LICENSE README.md $(AT)/share/doc/kexa
	$(BUILD)/kexa help --as man > $(AT)/share/man/man1/kexa.1
	$(BUILD)/kexa help --as bash > $(AT)/share/bash-completion/completions/kexa
	$(BUILD)/kexa help --as zsh > $(AT)/share/zsh/site-functions/_kexa
	$(BUILD)/kexa help --as fish > $(AT)/share/fish/vendor_completions.d/kexa.fish

uninstall:
	rm -f $(AT)/bin/kexa $(AT)/include/kexa.h $(AT)/lib/libkexa.a $(AT)/lib/libkexa.so* \
	    $(AT)/lib/pkgconfig/kexa.pc $(AT)/share/man/man1/kexa.1 \
	    $(AT)/share/bash-completion/completions/kexa $(AT)/share/zsh/site-functions/_kexa \
	    $(AT)/share/fish/vendor_completions.d/kexa.fish
	rm -rf $(AT)/share/doc/kexa

clean:
	rm -rf $(BUILD)

.PHONY: all tests test soak checkkern bench syntax header-check header-check-cpp docs install uninstall \
        clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
