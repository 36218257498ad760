# perigee - a Lua host for AI compute services.   `make help` lists the targets.
#
#   MODE=debug|release|asan|tsan   one folder each: the program is build/<MODE>/perigee
#   V=1                            print the commands
#   WERROR=1                       warnings are errors
#   CC=, CFLAGS=, LDFLAGS=         added to, or instead of, ours; a change of flags rebuilds
#   SPECS="tests/unit …"           only these specs, for `make specs`
#   SECONDS=60                     time for all fuzz targets together, for `make fuzz`
#   LINE_EDITOR=readline|libedit   the library that edits lines; with GNU readline the program is under the GPL (LICENSE)
#   PREFIX=/usr/local DESTDIR=     where `make install` puts things

MODE    ?= debug
PREFIX  ?= /usr/local
SECONDS ?= 60
LINE_EDITOR ?= readline
V       ?= 0
BUILD   := build/$(MODE)
Q       := $(if $(filter 1,$(V)),,@)
SAY     := $(if $(filter 1,$(V))$(findstring s,$(firstword -$(MAKEFLAGS))),@:,@echo)
VERSION := 0.1.0

.DELETE_ON_ERROR:
.SECONDARY:
# `make clean all` means first the one, then the other, however many jobs there are.
ifneq ($(filter clean,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

# ---- What is linked: Debian packages, found with pkg-config ----------------------------------------------
LINE_EDITOR_DEB := $(if $(filter libedit,$(LINE_EDITOR)),libedit-dev,libreadline-dev)
PKGS     := lua5.4 libuv libcurl libmicrohttpd nettle sqlite3 $(filter libedit,$(LINE_EDITOR))
DEBS     := gcc libc6-dev make pkg-config liblua5.4-dev libuv1-dev libcurl4-openssl-dev libmicrohttpd-dev nettle-dev libsqlite3-dev $(LINE_EDITOR_DEB) lua-cjson lua-busted tmux curl ca-certificates
DEV_DEBS := lua-check libedit-dev clang clang-format libclang-rt-14-dev valgrind nginx-light systemd

# ---- Floors: a file includes only from floors below it, or from earlier in its own list ------------------
FLOOR0 := mem list buf err redact log amount random embedded text jsonscan jwt record sdnotify tally history
FLOOR1 := loop signals clock
FLOOR2 := timers bucket child files hmac curlmux transport upload download http server term bar editor journal spend
FLOOR3 := luax amountx task vm json plain channel vms ops
FLOOR5 := cli run main

OTHER_EDITOR := host/editor_$(if $(filter libedit,$(LINE_EDITOR)),readline,libedit).c
present     = $(filter-out $(OTHER_EDITOR),$(sort $(foreach n,$(1),$(wildcard host/$(n).c host/$(n)_*.c))))
ENGINE_SRC  := $(call present,$(FLOOR0) $(FLOOR1) $(FLOOR2))
LUA_SRC     := $(call present,$(FLOOR3)) $(wildcard bindings/*.c)
PROGRAM_SRC := $(call present,$(FLOOR5))
ALL_SRC     := $(ENGINE_SRC) $(LUA_SRC) $(PROGRAM_SRC)
# What `?x` at the prompt reads; pages for those who change perigee stay outside.
EMBED_TEXT  := $(sort $(filter-out $(addprefix docs/,benchmarks.md design.md status.md),$(wildcard docs/*.md)) $(wildcard scripts/stubs/perigee/*.lua))
EMBED_LUA   := $(sort $(wildcard scripts/lib/*.lua scripts/emulator/*.lua scripts/policies/*.lua))

# ---- Flags ------------------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wundef -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes \
        -Wold-style-definition -Wpointer-arith -Wformat=2 -Wvla -Wimplicit-fallthrough \
        $(if $(filter 1,$(WERROR)),-Werror)
FLAGS_debug   := -O1 -g
FLAGS_release := -O2 -g -DNDEBUG -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -g -fsanitize=thread
# Not for people: `make fuzz` builds with it.
FLAGS_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
ifeq ($(filter readline libedit,$(LINE_EDITOR)),)
$(error LINE_EDITOR is readline or libedit; not "$(LINE_EDITOR)")
endif
ifeq ($(FLAGS_$(MODE)),)
$(error MODE is one of debug, release, asan, tsan; not "$(MODE)")
endif
ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(MODE)),clang,gcc)
endif

# readline is compiled with and not linked: host/editor_readline.c loads it when a line is edited.
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) $(LINE_EDITOR) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE -I. -I$(BUILD) -fvisibility=hidden -pthread $(WARN) $(FLAGS_$(MODE)) \
              -DPERIGEE_VERSION='"$(VERSION)"' -DPERIGEE_MODE='"$(MODE)"' $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pthread $(filter -fsanitize%,$(FLAGS_$(MODE))) $(LDFLAGS)

# ---- Missing packages: everything that compiles says at once what is missing, and how to get it ----------
SETS_UP_ITSELF := deps deps-dev test demo bench lint fuzz help clean
ifneq ($(filter-out $(SETS_UP_ITSELF),$(or $(MAKECMDGOALS),all)),)
MISSING := $(shell command -v pkg-config >/dev/null || echo pkg-config; command -v $(firstword $(CC)) >/dev/null || echo $(firstword $(CC)); \
    for p in lua5.4=liblua5.4-dev libuv=libuv1-dev libcurl=libcurl4-openssl-dev libmicrohttpd=libmicrohttpd-dev nettle=nettle-dev sqlite3=libsqlite3-dev $(LINE_EDITOR)=$(LINE_EDITOR_DEB); do \
    pkg-config --exists $${p%=*} 2>/dev/null || echo $$p | cut -d= -f2; done)
ifneq ($(strip $(MISSING)),)
$(error missing: $(strip $(MISSING)). `make deps` installs what is needed on Debian)
endif

# A stamp is touched only when what it records changes: compiler and flags; the list of embedded files; the
# list of objects (a file that is taken away changes neither of the others).
RECORD_flags    = $(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)
RECORD_embedded = $(EMBED_LUA) $(EMBED_TEXT)
RECORD_objects  = $(ALL_SRC)
print_record = printf '%s\n' '$(subst ','\'',$(RECORD_$(1)))'
record = $(shell mkdir -p $(BUILD); $(print_record) | cmp -s - $(BUILD)/$(1).stamp || $(print_record) > $(BUILD)/$(1).stamp)
$(call record,flags)$(call record,embedded)$(call record,objects)
endif

OBJ = $(patsubst %.c,$(BUILD)/%.o,$(1))
PROGRAM := $(BUILD)/perigee

.PHONY: all
all: $(PROGRAM) ## build build/<MODE>/perigee

# Only after a `clean` in the same call.
$(BUILD)/%.stamp:
	@mkdir -p $(@D); $(call print_record,$*) > $@

$(BUILD)/%.o: %.c $(BUILD)/flags.stamp
	@mkdir -p $(@D)
	$(SAY) "  CC      $@"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# ---- Lua and manual that travel inside the program ----------------------------------------------------------
$(BUILD)/embedded.c: $(EMBED_LUA)
$(BUILD)/embedded_text.c: $(EMBED_TEXT)
$(BUILD)/embedded.c $(BUILD)/embedded_text.c: scripts/embed.awk $(BUILD)/embedded.stamp
	$(SAY) "  EMBED   $@"
	$(Q)LC_ALL=C awk -v table=$(if $(findstring _text,$@),embedded_texts,embedded_files) -f scripts/embed.awk $(filter-out %.awk %.stamp,$^) > $@
EMBEDDED := $(BUILD)/embedded.o $(BUILD)/embedded_text.o
$(EMBEDDED): %.o: %.c $(BUILD)/flags.stamp
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

PROGRAM_OBJ := $(call OBJ,$(ALL_SRC)) $(EMBEDDED)
$(PROGRAM): $(PROGRAM_OBJ) $(BUILD)/objects.stamp
	$(SAY) "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(PROGRAM_OBJ) $(PKG_LIBS) -lm

# ---- Set-up -----------------------------------------------------------------------------------------------
.PHONY: deps deps-dev
deps: ## install the Debian packages that are missing to build and test
	@tests/install-deps $(DEBS)
deps-dev: ## the same, with what lint, fuzzing and benchmarks need
	@tests/install-deps $(DEBS) $(DEV_DEBS)

# ---- Tests: each C test links floors 0 to 2 only; test_lua_*.c the Lua floors as well -----------------------
C_TESTS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/test_*.c))
$(BUILD)/tests/test_lua_%: $(BUILD)/tests/c/test_lua_%.o $(call OBJ,$(ENGINE_SRC) $(LUA_SRC)) $(EMBEDDED)
	@mkdir -p $(@D)
	$(SAY) "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
$(BUILD)/tests/test_%: $(BUILD)/tests/c/test_%.o $(call OBJ,$(ENGINE_SRC))
	@mkdir -p $(@D)
	$(SAY) "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

.PHONY: test c-tests specs check
test: deps ## install what is missing, build, run the C tests and all specs
	$(Q)$(MAKE) --no-print-directory check
check: $(PROGRAM) $(C_TESTS) ## the same without installing anything
	$(Q)tests/run-all $(BUILD) $(C_TESTS)
c-tests: $(C_TESTS) ## the C tests alone (RUNNER=valgrind… runs each under it)
	$(Q)RUNNER="$(RUNNER)" tests/run-c-tests $(BUILD) $(C_TESTS)
specs: $(PROGRAM) ## the Lua specs alone, inside the host (SPECS="tests/unit …")
	$(Q)tests/run-specs $(PROGRAM) $(SPECS)

# Minutes, not seconds: a daemon that is killed again and again, and days on virtual time.
SLOW := PERIGEE_SPEC_LIMIT=150 SPEC_SECONDS=600
.PHONY: check-slow
check-slow: $(PROGRAM) ## 10 random kills under every fault, and an hour of soak in virtual time: at most 8 minutes
	$(Q)$(SLOW) tests/run-specs $(PROGRAM) tests/soak

.PHONY: soak soak-all
soak: ## 30 kills, a virtual day, and the daemon's figures of docs/benchmarks.md: about 15 minutes
	$(Q)$(MAKE) --no-print-directory MODE=debug all
	$(Q)$(MAKE) --no-print-directory MODE=release soak-all
soak-all: $(PROGRAM) $(BUILD)/bench/callback_load
	$(Q)tests/soak/run $(PROGRAM) build/debug/perigee $(BUILD)/bench

.PHONY: demo
demo: deps ## install what is missing, build, run the guided tour against the emulator
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(PROGRAM) run --emulator scripts/demo.lua
	$(Q)$(PROGRAM) run scripts/demo_daemon.lua

# ---- Fuzzing: libFuzzer targets over floors 0 to 2; fuzz_lua_*.c over the Lua floors as well -----------------
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LINK = $(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS) -lm
$(BUILD)/fuzz/fuzz_lua_%: $(BUILD)/tests/fuzz/fuzz_lua_%.o $(call OBJ,$(ENGINE_SRC) $(LUA_SRC)) $(EMBEDDED)
	@mkdir -p $(@D)
	$(SAY) "  LINK    $@"
	$(Q)$(FUZZ_LINK)
$(BUILD)/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(call OBJ,$(ENGINE_SRC))
	@mkdir -p $(@D)
	$(SAY) "  LINK    $@"
	$(Q)$(FUZZ_LINK)

.PHONY: fuzz fuzz-all
fuzz: deps-dev ## fuzz every target of tests/fuzz, SECONDS=60 shared among them
	$(Q)$(MAKE) --no-print-directory MODE=fuzz fuzz-all
fuzz-all: $(FUZZERS)
	$(Q)tests/run-fuzz $(SECONDS) $(BUILD) $(FUZZERS)

# ---- Benchmarks --------------------------------------------------------------------------------------------
-include tests/bench/bench.mk

# ---- Style -------------------------------------------------------------------------------------------------
C_FILES := $(wildcard host/*.[ch] bindings/*.[ch] tests/c/*.[ch] tests/fuzz/*.[ch] tests/bench/*.[ch])
.PHONY: docs
docs: $(PROGRAM) ## rewrite what docs and stubs say of the tables of operations
	$(Q)$(PROGRAM) run --quiet tests/meta/service_tables.lua

.PHONY: lint lint-objects format compdb
lint: deps-dev ## every check of tests/lint, over sources, headers, symbols and docs
	$(Q)$(MAKE) --no-print-directory MODE=debug all
	$(Q)LINT_CFLAGS='-std=c11 -D_GNU_SOURCE -I. $(PKG_CFLAGS)' LINT_PROGRAM=build/debug/perigee tests/lint/run .
# All objects, tests and fuzz targets included: what `lint` compiles with each compiler to see its warnings.
lint-objects: $(call OBJ,$(filter %.c,$(ALL_SRC) $(C_FILES))) $(EMBEDDED)
format: ## apply .clang-format to all C files
	clang-format -i $(C_FILES)
compdb: ## write build/compile_commands.json for clangd and other tools
	@mkdir -p build
	@{ echo '['; n=; for f in $(filter %.c,$(ALL_SRC) $(C_FILES)); do \
	    [ -z "$$n" ] || echo ','; n=1; \
	    printf '{"directory": "%s", "file": "%s", "command": "%s"}' '$(CURDIR)' $$f \
	        "$$(printf '%s' '$(CC) $(CFLAGS_ALL) -c '"$$f" | sed 's/["\\]/\\&/g')"; \
	  done; echo; echo ']'; } > build/compile_commands.json
	@echo "build/compile_commands.json"

# ---- Install -----------------------------------------------------------------------------------------------
# A ~ that the shell left alone is the home directory.
INSTALL_PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
ROOT := $(DESTDIR)$(INSTALL_PREFIX)
.PHONY: install install-files
install: ## build MODE=release and install under PREFIX (DESTDIR= in front)
	$(Q)$(MAKE) --no-print-directory MODE=$(if $(filter command line environment,$(origin MODE)),$(MODE),release) install-files
install-files: $(PROGRAM)
	install -d '$(ROOT)/bin' '$(ROOT)/share/doc/perigee/docs' '$(ROOT)/share/perigee'
	install -m 755 $(PROGRAM) '$(ROOT)/bin/perigee'
	install -m 644 README.md CONTRIBUTING.md LICENSE CHANGELOG.md '$(ROOT)/share/doc/perigee'
	install -m 644 $(wildcard docs/*.md) '$(ROOT)/share/doc/perigee/docs'
	install -d '$(ROOT)/lib/systemd/system'
	sed 's|/usr/local/|$(INSTALL_PREFIX)/|' scripts/dist/perigee.service > '$(ROOT)/lib/systemd/system/perigee.service'
	chmod 644 '$(ROOT)/lib/systemd/system/perigee.service'
	for d in stubs examples policies; do [ ! -d scripts/$$d ] || cp -R --no-preserve=ownership scripts/$$d '$(ROOT)/share/perigee/'; done

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

-include $(wildcard $(BUILD)/*.d $(BUILD)/host/*.d $(BUILD)/bindings/*.d $(BUILD)/tests/*/*.d)
