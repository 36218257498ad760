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

int main(void)
{
    compare(embedded_files);
    compare(embedded_texts);
    HARNESS_END();
}
