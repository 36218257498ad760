# perigee - a Lua host for AI compute services.   `make help` lists the targets.

MODE   ?= debug
PREFIX ?= /usr/local
LINE_EDITOR ?= readline
BUILD  := build/$(MODE)
V      ?= 0
Q      := $(if $(filter 1,$(V)),,@)

# ---- What is linked, all Debian packages found with pkg-config -------------------------------------------
PKGS := lua5.4 libuv libcurl libmicrohttpd
DEBS := gcc make pkg-config liblua5.4-dev libuv1-dev libcurl4-openssl-dev libmicrohttpd-dev lua-cjson lua-busted
DEV_DEBS := lua-check clang clang-format libclang-rt-14-dev valgrind nginx-light

# ---- Floors: a file includes only from floors below it, or from earlier in its own list ------------------
FLOOR0 := mem list buf err redact log amount random
FLOOR1 := loop signals clock
FLOOR2 := timers curlmux transport http upload download server term spend
FLOOR3 := luax amountx task vm json ops
FLOOR5 := cli main

present = $(foreach n,$(1),$(wildcard host/$(n).c host/$(n)_*.c))
ENGINE_SRC := $(call present,$(FLOOR0) $(FLOOR1) $(FLOOR2))
LUA_SRC    := $(call present,$(FLOOR3)) $(wildcard bindings/*.c)
PROGRAM_SRC := $(call present,$(FLOOR5))

# ---- Flags ------------------------------------------------------------------------------------------------
CC ?= gcc
WARN := -Wall -Wextra -Wshadow -Wundef -Wwrite-strings -Wstrict-prototypes -Wmissing-prototypes \
        -Wold-style-definition -Wpointer-arith -Wformat=2 -Wvla -Wimplicit-fallthrough \
        $(if $(filter 1,$(WERROR)),-Werror)
FLAGS_debug   := -O1 -g
FLAGS_release := -O2 -g -DNDEBUG -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -g -fsanitize=thread
ifeq ($(FLAGS_$(MODE)),)
$(error MODE is one of debug, release, asan, tsan; not "$(MODE)")
endif

NEEDS_PKGS := $(filter-out deps help clean format lint-text,$(or $(MAKECMDGOALS),all))
ifneq ($(NEEDS_PKGS),)
MISSING := $(shell for p in $(PKGS); do pkg-config --exists $$p 2>/dev/null || echo $$p; done)
endif
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

VERSION := 0.1.0
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE -I. -I$(BUILD) -fvisibility=hidden -pthread $(WARN) $(FLAGS_$(MODE)) \
              -DPERIGEE_VERSION='"$(VERSION)"' -DPERIGEE_MODE='"$(MODE)"' $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pthread $(filter -fsanitize%,$(FLAGS_$(MODE))) $(LDFLAGS)

OBJ = $(patsubst %.c,$(BUILD)/%.o,$(1))
PROGRAM := $(BUILD)/perigee

.PHONY: all
all: $(PROGRAM) ## build build/<MODE>/perigee (MODE=debug|release|asan|tsan)

# A change of compiler or flags rebuilds: the stamp changes only when they do.
STAMP := $(BUILD)/flags.stamp
FLAGS_NOW := $(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL)
$(STAMP): FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@
.PHONY: FORCE
FORCE:

$(BUILD)/%.o: %.c $(STAMP)
	@mkdir -p $(@D)
	@$(if $(Q),echo "  CC      $@")
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# ---- Lua that travels inside the program ------------------------------------------------------------------
EMBED_LUA := $(sort $(wildcard scripts/lib/*.lua scripts/emulator/*.lua scripts/policies/*.lua))
$(BUILD)/embedded.c: $(EMBED_LUA) scripts/embed.awk $(STAMP)
	@mkdir -p $(@D)
	@$(if $(Q),echo "  EMBED   $@")
	$(Q)LC_ALL=C awk -f scripts/embed.awk $(EMBED_LUA) > $@.tmp && mv $@.tmp $@

$(BUILD)/embedded.o: $(BUILD)/embedded.c
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

PROGRAM_OBJ := $(call OBJ,$(ENGINE_SRC) $(LUA_SRC) $(PROGRAM_SRC)) $(BUILD)/embedded.o
$(PROGRAM): $(PROGRAM_OBJ)
	$(if $(MISSING),$(error missing packages: $(MISSING). `make deps` installs them))
	@$(if $(Q),echo "  LINK    $@")
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(PROGRAM_OBJ) $(PKG_LIBS) -lm

# ---- C tests: each links floors 0 to 2 only; test_lua_*.c the Lua floors as well -----------------------------
C_TESTS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(wildcard tests/c/test_*.c))
$(BUILD)/tests/test_lua_%: $(BUILD)/tests/c/test_lua_%.o $(call OBJ,$(ENGINE_SRC) $(LUA_SRC)) $(BUILD)/embedded.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm
$(BUILD)/tests/test_%: $(BUILD)/tests/c/test_%.o $(call OBJ,$(ENGINE_SRC))
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lm

.PHONY: c-tests
c-tests: $(C_TESTS) ## build and run the C tests
	$(Q)for t in $(C_TESTS); do $(RUNNER) $$t || exit 1; done

.PHONY: specs
specs: $(PROGRAM) ## run the Lua specs inside the host
	$(Q)tests/run-specs $(PROGRAM) $(SPECS)

.PHONY: clean
clean: ## remove build/
	rm -rf build

.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

-include $(wildcard $(BUILD)/host/*.d $(BUILD)/bindings/*.d $(BUILD)/tests/c/*.d)
