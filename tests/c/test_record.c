/* test_record.c - records and lists of them. */
#include "host/record.h"

#include "tests/c/harness.h"

static void a_name_holds_what_was_set_last(void)
{
    struct record *r = record_new();
    CHECK(record_type(r, "a") == RECORD_NONE);
    CHECK(record_text(r, "a") == NULL);
    record_set_text(r, "a", "one");
    CHECK_STR(record_text(r, "a"), "one");
    record_set_integer(r, "a", -7);
    CHECK_INT(record_integer(r, "a"), -7);
    CHECK(record_text(r, "a") == NULL);
    record_set_text(r, "a", NULL);
    CHECK(record_type(r, "a") == RECORD_NONE);
    CHECK_INT(record_size(r), 1);
    record_free(r);
}

static void text_may_hold_any_byte_and_be_its_own_source(void)
{
    struct record *r = record_new();
    size_t n;
    record_set_bytes(r, "b", "x\0y", 3);
    record_set_bytes(r, "b", record_text(r, "b"), 3);
    CHECK(memcmp(record_bytes(r, "b", &n), "x\0y", 3) == 0);
    CHECK_INT(n, 3);
    record_free(r);
}

static void lists_grow_and_are_copied_with_all_they_hold(void)
{
    struct record *r = record_new();
    for (int i = 0; i < 100; i++) record_set_integer(record_append(r, "rows"), "i", i);
    struct record *copy = record_copy(r);
    record_free(r);
    CHECK_INT(record_rows(copy, "rows")->count, 100);
    CHECK_INT(record_integer(record_rows(copy, "rows")->items[99], "i"), 99);
    for (int i = 0; i < 30; i++) record_append(copy, "rows");
    CHECK_INT(record_rows(copy, "rows")->count, 130);
    CHECK_INT(record_rows(copy, "none")->count, 0);
    record_free(copy);
}

int main(void)
{
    a_name_holds_what_was_set_last();
    text_may_hold_any_byte_and_be_its_own_source();
    lists_grow_and_are_copied_with_all_they_hold();
    HARNESS_END();
}
