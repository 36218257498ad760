/* test_jwt.c - the expiry of tokens, and what is no token. */
#include "host/jwt.h"

#include "harness.h"

static void test_expiry(void)
{
    /* payloads: {"Email":"a@b.c","exp":1706612345}  {"Email":"x"}  {"a":{"exp":1},"exp" : 2.9e9}
     * {"s":"\"exp\":5"} */
    static const struct {
        const char *token;
        int64_t expires_s;
    } cases[] = {
        {"eyJhbGciOiJIUzI1NiJ9.eyJFbWFpbCI6ImFAYi5jIiwiZXhwIjoxNzA2NjEyMzQ1fQ.c2ln", 1706612345},
        {"e30.eyJFbWFpbCI6IngifQ.", JWT_NEVER},
        {"e30.eyJhIjp7ImV4cCI6MX0sImV4cCIgOiAyLjllOX0.c2ln", 2900000000},
        {"e30.eyJzIjoiXCJleHBcIjo1In0.c2ln", JWT_NEVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t expires_s = 0;
        struct err err = {0};
        CHECK(jwt_expiry(cases[i].token, strlen(cases[i].token), &expires_s, &err) == 0);
        CHECK_STR(err.message, "");
        CHECK_INT(expires_s, cases[i].expires_s);
    }
}

static void test_refused(void)
{
    /* payloads: []  {"exp":"1"}  {"exp":-1}  {"exp":1,"exp":2}  {"exp":1 */
    static const char *const tokens[] = {
        "",
        "a.b",
        "a.b.c.d",
        "e30.e30=.x",
        "e30.e.x",
        "secret-token",
        "e30.W10.x",
        "e30.!!!!.x",
        "e30..x",
        "Bearer e30.e3.",
        "..",
        "e30.eyJleHAiOiIxIn0.x",
        "e30.eyJleHAiOi0xfQ.x",
        "e30.eyJleHAiOjEsImV4cCI6Mn0.x",
        "e30.eyJleHAiOjE.x",
    };
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        int64_t expires_s;
        struct err err = {0};
        CHECK(jwt_expiry(tokens[i], strlen(tokens[i]), &expires_s, &err) == -1);
        CHECK(err.kind == ERR_PARSE && strstr(err.message, "secret-token") == NULL);
    }
}

int main(void)
{
    test_expiry();
    test_refused();
    HARNESS_END();
}
