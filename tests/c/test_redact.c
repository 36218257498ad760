/* test_redact.c - registered secrets and URLs, as they may be printed. */
#include "host/redact.h"

#include "tests/c/harness.h"

static void check_text(const char *text, const char *want)
{
    struct buf b = {0};
    buf_puts(&b, text);
    redact_buf(&b, 0);
    CHECK_STR(buf_str(&b), want);
    buf_deinit(&b);
}

static void check_url(const char *url, const char *want)
{
    struct buf b = {0};
    redact_url(&b, url);
    CHECK_STR(buf_str(&b), want);
    buf_deinit(&b);
}

static void test_each_form(void)
{
    redact_add("p\"w/1", 5);
    check_text("plain p\"w/1, JSON p\\\"w/1, query p%22w%2F1",
               "plain [secret], JSON [secret], query [secret]");
    check_text("p\"w/1p\"w/1", "[secret][secret]");
    check_text("p\"w/", "p\"w/");
    redact_clear();
    check_text("p\"w/1", "p\"w/1");
}

static void test_short_secrets_blank_nothing(void)
{
    redact_add("the", 3);
    check_text("the end", "the end");
    redact_clear();
}

static void test_start_and_fixed_arrays(void)
{
    redact_add("hunter2", 7);
    struct buf b = {0};
    buf_puts(&b, "hunter2 hunter2");
    redact_buf(&b, 1);
    CHECK_STR(buf_str(&b), "hunter2 [secret]");
    buf_deinit(&b);
    char small[10] = "x hunter2";
    redact_string(small, sizeof small);
    CHECK_STR(small, "x [secret");
    redact_clear();
}

static void test_urls(void)
{
    check_url("https://me:pw@host:1/a/b?token=1#x", "https://host:1/a/b");
    check_url("http://host", "http://host");
    check_url("http://host/a@b", "http://host/a@b");
    check_url("me:pw@host/a", "host/a");
    /* regression: the scheme of a URL inside the query made the query be printed */
    check_url("/login?next=http://me:pw@host/?t=1", "/login");
    check_url("host/a?u=x://y", "host/a");
}

int main(void)
{
    test_each_form();
    test_short_secrets_blank_nothing();
    test_start_and_fixed_arrays();
    test_urls();
    HARNESS_END();
}
