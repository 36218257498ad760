/* test_lua_embedded.c - what travels in the program is byte for byte what stands in the files. */
#include "host/embedded.h"

#include "host/buf.h"
#include "tests/c/harness.h"

static void read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return;
    for (int c; (c = fgetc(file)) != EOF;) buf_putc(out, (char)c);
    fclose(file);
}

static void compare(const struct embedded_file *f)
{
    CHECK(f->path != NULL);
    for (; f->path; f++) {
        struct buf want = {0};
        read_file(f->path, &want);
        CHECK_INT(f->len, want.len);
        CHECK(f->len == want.len && memcmp(f->text, buf_str(&want), f->len) == 0);
        buf_deinit(&want);
    }
}

static void find_all(const struct embedded_file *table, size_t count)
{
    for (size_t i = 0; i < count; i++) CHECK(embedded_find(table, count, table[i].path) == &table[i]);
    CHECK(table[count].path == NULL);
    CHECK(embedded_find(table, count, "") == NULL);
    CHECK(embedded_find(table, count, "scripts/lib/nothing.lua") == NULL);
    CHECK(embedded_find(table, count, "~") == NULL);
}

int main(void)
{
    compare(embedded_files);
    compare(embedded_texts);
    find_all(embedded_files, embedded_files_count);
    find_all(embedded_texts, embedded_texts_count);
    HARNESS_END();
}
