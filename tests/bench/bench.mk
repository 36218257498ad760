# bench.mk - `make bench`: release mode, then tests/bench/run; see docs/benchmarks.md.
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

.PHONY: bench bench-all
bench: deps-dev ## the figures of docs/benchmarks.md (PAIRS=7 REQUESTS=30000)
	$(Q)$(MAKE) --no-print-directory MODE=release bench-all
bench-all: $(PROGRAM) $(BENCH_PROGRAMS)
	$(Q)tests/bench/run $(BUILD)

$(BUILD)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	@$(if $(Q),echo "  LINK    $@")
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -o $@ $< $(shell pkg-config --cflags --libs libuv libcurl)
