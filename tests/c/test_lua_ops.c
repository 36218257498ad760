/* test_lua_ops.c - the operations engine without a network: exact types, JSON text, verdicts, replies.
 *
 * Each case is a line of a table; the Lua values are written as Lua.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "bindings/services.h"
#include "host/amountx.h"
#include "host/buf.h"
#include "host/luax.h"
#include "tests/c/harness.h"

static lua_State *L;

/* ---- check and encode --------------------------------------------------------------------------------- */

struct encode_case {
    const struct ops_def *def;
    unsigned flags;
    struct buf out;
    bool query;
};

static int l_encode(lua_State *state)
{
    struct encode_case *c = lua_touserdata(state, 2);
    ops_check(state, 1, "op", c->def, c->flags);
    if (c->query)
        ops_encode_query(state, -1, c->def, &c->out);
    else
        ops_encode(state, -1, c->def, &c->out);
    return 0;
}

/* The JSON for a Lua table written as text, or the message of the error; the caller frees it. */
static char *encoded(const struct ops_service *service, const char *operation, const char *text)
{
    struct encode_case c = {.def = ops_find(service, operation)};
    c.query = strcmp(c.def->method, "GET") == 0;
    lua_settop(L, 0);
    lua_pushcfunction(L, l_encode);
    struct buf chunk = {0};
    buf_printf(&chunk, "return %s", text);
    if (luaL_dostring(L, buf_str(&chunk)) != LUA_OK) printf("not ok - %s\n", lua_tostring(L, -1));
    buf_deinit(&chunk);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        buf_clear(&c.out);
        lua_getfield(L, -1, "message");
        buf_puts(&c.out, lua_tostring(L, -1));
    }
    size_t n;
    return buf_take(&c.out, &n);
}

static void check_encoded(const struct ops_service *service, const char *operation, const char *text,
                          const char *want)
{
    char *got = encoded(service, operation, text);
    CHECK_STR(got, want);
    free(got);
}

#define SXWL_BASE                                                                                            \
    "gpuNumber='1',gpuType='G',ckptPath='/c',ckptVol=10000,modelPath='/m',modelVol='020',imagePath='i',"     \
    "jobType='MPI'"
#define SXWL_JSON                                                                                            \
    "{\"gpuNumber\":1,\"gpuType\":\"G\",\"ckptPath\":\"/c\",\"ckptVol\":\"10000\",\"modelPath\":\"/m\","     \
    "\"modelVol\":\"20\",\"imagePath\":\"i\",\"jobType\":\"MPI\""

static void test_sxwl_fields(void)
{
    const struct ops_service *s = &sxwl_service;
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType=1,stopTime='5',env={N=3,F=true,X=1.5,A='z'}}",
                  SXWL_JSON
                  ",\"stopType\":\"1\",\"stopTime\":5,\"env\":{\"A\":\"z\",\"F\":\"true\",\"N\":\"3\","
                  "\"X\":\"1.5\"}}");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',runCommand=''}",
                  SXWL_JSON ",\"stopType\":\"0\"}");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType=1.0,stopTime=5.0}",
                  SXWL_JSON ",\"stopType\":\"1\",\"stopTime\":5}");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='1'}",
                  "op: stopTime is required when stopType is \"1\"");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='2'}",
                  "op: stopType must be \"0\" or \"1\", not \"2\"");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',callbackUrl='http://h/:x'}",
                  "op: callbackUrl has a path segment that starts with ':'; the service then calls nobody");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',callbackUrl='h/x'}",
                  "op: callbackUrl must be a full address that starts with http:// or https://");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',stopTim=3,zz=1}",
                  "op: unknown field \"stopTim\"; did you mean \"stopTime\"?");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',env={'a'}}",
                  "op: env must have names for keys, not numbers");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',env={A={}}}",
                  "op: env has a value for \"A\" that is no string, but a table");
    check_encoded(s, "create_job", "{" SXWL_BASE ",stopType='0',datasetName='\\xff'}",
                  "op: datasetName is not valid UTF-8");
    check_encoded(s, "create_job", "{gpuNumber=1.5}", "op: gpuNumber must be a whole number, not 1.5");
    check_encoded(s, "create_job", "{gpuNumber=0}", "op: gpuNumber must be from 1 to 2147483647, not 0");
    check_encoded(s, "create_job", "{gpuNumber=true}", "op: gpuNumber must be a whole number, not a boolean");
    check_encoded(s, "create_job", "{gpuNumber='1x'}", "op: gpuNumber must be a whole number, not 1x");
    check_encoded(s, "create_job", "{gpuNumber=1,gpuType=3090}",
                  "op: gpuType must be a string, not a number");
    check_encoded(s, "create_job", "{1,2}", "op: takes named fields, not a list");
    check_encoded(s, "create_job", "7", "op: takes one table of fields, not a number");
    check_encoded(s, "jobs", "{size='20'}", "?current=1&size=20");
    char *long_url =
        encoded(s, "create_job", "{" SXWL_BASE ",stopType=0,callbackUrl='http://h/'..('x'):rep(247)}");
    CHECK_STR(long_url, "op: callbackUrl is 256 bytes long; the most is 255");
    free(long_url);
}

static void test_deai_fields(void)
{
    const struct ops_service *s = &deai_service;
    check_encoded(
        s, "estimate_cnn",
        "{model='CNN',epoch='3',jobName='j',x_train='u/x',y_train='u/y',train_shard='0.9',category=2}",
        "{\"model\":\"CNN\",\"epoch\":3,\"jobName\":\"j\",\"x_train\":\"u/x\",\"y_train\":\"u/y\","
        "\"train_shard\":0.9,\"scale_ratio\":255,\"category\":2}");
    check_encoded(
        s, "estimate_lstm", "{model='LSTM',jobName='j',x_train='u/x'}",
        "{\"model\":\"LSTM\",\"jobName\":\"j\",\"x_train\":\"u/x\",\"input_width\":24,\"label_width\":24,"
        "\"shift\":24,\"sequence_stride\":1,\"sampling_rate\":1}");
    check_encoded(s, "estimate_lstm", "{model='LSTM',jobName='j',category=2}",
                  "op: unknown field \"category\"");
    check_encoded(s, "estimate_cnn",
                  "{model='CNN',epoch=1,jobName='j',x_train='a',y_train='b',train_shard=1}",
                  "op: train_shard must be strictly between 0 and 1, not 1");
    check_encoded(
        s, "estimate_cnn", "{model='CNN',epoch=1,jobName='j',x_train='Makefile'}",
        "op: x_train names a file on this machine, but the service wants a path of its own: upload it "
        "first, or write deai.file \"Makefile\"");
    check_encoded(s, "create_job", "{jobName='j\\n\\\"'}",
                  "{\"jobName\":\"j\\n\\\"\",\"computation\":\"Distributed AI\",\"batchSize\":64}");
    check_encoded(s, "start_inference", "{jobID=12}", "op: jobID must be a string, not a number");
    check_encoded(s, "inference", "{id='77'}", "{\"id\":77}");
    check_encoded(s, "start_inference", "nil",
                  "op: jobID is required (the job, a string of up to 78 digits)");
}

/* ---- verdicts ----------------------------------------------------------------------------------------- */

struct judge_case {
    const struct ops_service *service;
    const char *operation;
    int status;
    const char *body;
    const char *want; /* kind outcome retryable code, or "ok" */
};

static const struct judge_case judge_cases[] = {
    /* Distributed AI: the body decides, if the status lets it */
    {&deai_service, "create_job", 200, "{\"code\":200,\"msg\":\"ok\",\"jobID\":\"1\"}", "ok"},
    {&deai_service, "create_job", 200, "{\"code\":200,\"msg\":\"ok\"}", "parse unknown false bad_reply"},
    {&deai_service, "create_job", 200, "{\"code\":500,\"msg\":\"no\"}", "api none false 500"},
    {&deai_service, "create_job", 200, "{\"code\":401,\"msg\":\"no\"}", "auth none false unauthorized"},
    {&deai_service, "create_job", 200, "{\"code\":403,\"msg\":\"no\"}", "auth none false forbidden"},
    {&deai_service, "create_job", 200, "{\"code\":500,\"msg\":\"Insufficient balance\"}",
     "funds none false insufficient_funds"},
    {&deai_service, "create_job", 200, "{\"msg\":\"ok\"}", "parse unknown false bad_reply"},
    {&deai_service, "create_job", 200, "{\"code\":\"200\"}", "parse unknown false bad_reply"},
    {&deai_service, "create_job", 200, "<html>", "parse unknown false bad_reply"},
    {&deai_service, "create_job", 200, "", "parse unknown false bad_reply"},
    {&deai_service, "create_job", 201, "{\"code\":500}", "api none false 500"},
    {&deai_service, "create_job", 302, "", "http unknown false 302"},
    {&deai_service, "create_job", 400, "{\"code\":500}", "api none false 500"},
    {&deai_service, "create_job", 401, "", "auth none false unauthorized"},
    {&deai_service, "create_job", 401, "{\"code\":10012,\"msg\":\"no\"}", "auth none false unauthorized"},
    {&deai_service, "create_job", 404, "<html>", "unavailable none false not_offered"},
    {&deai_service, "create_job", 429, "", "unavailable none true too_many_requests"},
    {&deai_service, "create_job", 500, "{\"code\":200,\"jobID\":\"1\"}", "http unknown false 500"},
    {&deai_service, "create_job", 503, "", "http unknown false 503"},
    {&deai_service, "start_inference", 200, "{\"code\":200}", "parse unknown false bad_reply"},
    {&deai_service, "start_inference", 200, "{\"code\":200,\"infer_id\":\"x\"}",
     "parse unknown false bad_reply"},
    {&deai_service, "estimate_inference", 500, "", "http unknown false 500"},
    {&deai_service, "estimate_inference", 200, "{\"code\":200,\"ccd_cost\":1.5}",
     "parse unknown false bad_reply"},
    {&deai_service, "estimate_inference", 200, "{\"code\":200,\"ccd_cost\":-5}",
     "parse unknown false bad_reply"},
    {&deai_service, "upload", 502, "", "http unknown false 502"},
    {&deai_service, "user", 502, "", "http none true 502"},
    {&deai_service, "user", 200, "<html>", "parse none true bad_reply"},
    {&deai_service, "user", 302, "", "http none false 302"},
    {&deai_service, "login", 200, "{\"code\":500,\"msg\":\"wrong\"}", "auth none false login_refused"},
    {&deai_service, "login", 401, "", "auth none false login_refused"},
    {&deai_service, "login", 429, "", "unavailable none true too_many_requests"},
    {&deai_service, "login", 200, "<html>", "parse none true bad_reply"},
    {&deai_service, "job", 200, "{\"code\":500,\"msg\":\"job does not exist\"}", "api none false not_found"},
    /* SXWL: the status decides */
    {&sxwl_service, "create_job", 200, "{\"job_id\":\"ai1\"}", "ok"},
    {&sxwl_service, "create_job", 200, "{}", "parse unknown false bad_reply"},
    {&sxwl_service, "create_job", 200, "[]", "parse unknown false bad_reply"},
    {&sxwl_service, "create_job", 200, "{\"job_id\":\"\"}", "parse unknown false bad_reply"},
    {&sxwl_service, "create_job", 400, "bad", "api none false 400"},
    {&sxwl_service, "create_job", 400, "dial tcp 1.2.3.4: connect: connection refused",
     "unavailable none true transient"},
    {&sxwl_service, "create_job", 400, "{\"message\":\"dial tcp\"}", "unavailable none true transient"},
    {&sxwl_service, "create_job", 401, "no", "auth none false unauthorized"},
    {&sxwl_service, "create_job", 404, "", "unavailable none false not_offered"},
    {&sxwl_service, "create_job", 405, "", "unavailable none false not_offered"},
    {&sxwl_service, "create_job", 501, "", "http unknown false 501"},
    {&sxwl_service, "job_status", 200, "{}", "api none false not_found"},
    {&sxwl_service, "job_status", 200, "{\"status\":\"\",\"url\":\"\"}", "api none false not_found"},
    {&sxwl_service, "job_status", 200, "{\"status\":null}", "api none false not_found"},
    {&sxwl_service, "job_status", 400, "sql: no rows in result set", "api none false not_found"},
    {&sxwl_service, "job_status", 400, "dial tcp 1.2.3.4", "unavailable none true transient"},
    {&sxwl_service, "job_status", 200, "{\"url\":\"\",\"status\":\"working\"}", "ok"},
    {&sxwl_service, "job_status", 200, "nope", "parse none true bad_reply"},
    {&sxwl_service, "stop_job", 200, "", "ok"},
    {&sxwl_service, "stop_job", 200, "{\"message\":\"delete job success\"}", "ok"},
    {&sxwl_service, "stop_job", 500, "", "http unknown true 500"},
    {&sxwl_service, "gpu_types", 404, "", "unavailable none false not_offered"},
};

static int l_decode(lua_State *state)
{
    const struct judge_case *c = lua_touserdata(state, 1);
    struct ops_answer *answer = lua_touserdata(state, 2);
    ops_decode(state, c->service, ops_find(c->service, c->operation), answer);
    return 1;
}

/* Leaves the decoded reply on the stack. */
static const char *verdict(const struct judge_case *c, char out[160])
{
    struct ops_answer answer = {
        .status = c->status, .headers = "", .body = c->body, .body_len = strlen(c->body)};
    struct err err = {.kind = ERR_API};
    lua_settop(L, 0);
    lua_pushcfunction(L, l_decode);
    lua_pushlightuserdata(L, (void *)c);
    lua_pushlightuserdata(L, &answer);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK) return "decode raised";
    if (ops_judge(c->service, ops_find(c->service, c->operation), &answer, &err) == 0) return "ok";
    snprintf(out, 160, "%s %s %s %s", err_kind_name(err.kind), outcome_name(err.outcome),
             err.retryable ? "true" : "false", err.code);
    return out;
}

static void test_verdicts(void)
{
    char out[160];
    for (size_t i = 0; i < sizeof judge_cases / sizeof judge_cases[0]; i++) {
        const struct judge_case *c = &judge_cases[i];
        const char *got = verdict(c, out);
        if (strcmp(got, c->want) != 0) printf("  %s %d %s\n", c->operation, c->status, c->body);
        CHECK_STR(got, c->want);
    }
}

static void test_transport_verdicts(void)
{
    struct err sent = {.kind = ERR_NETWORK, .outcome = OUTCOME_UNKNOWN, .code = "no_reply"};
    struct err unsent = {.kind = ERR_NETWORK, .outcome = OUTCOME_NONE, .code = "connect"};
    struct err tls = {.kind = ERR_TLS, .outcome = OUTCOME_NONE, .code = "certificate"};
    const struct ops_def *create = ops_find(&deai_service, "create_job"),
                         *read = ops_find(&deai_service, "user");
    struct err err;
    struct ops_answer answer = {.transport = &sent};
    ops_judge(&deai_service, create, &answer, &err);
    CHECK(err.outcome == OUTCOME_UNKNOWN && !err.retryable);
    ops_judge(&deai_service, read, &answer, &err);
    CHECK(err.outcome == OUTCOME_NONE && err.retryable);
    answer.transport = &unsent;
    ops_judge(&deai_service, create, &answer, &err);
    CHECK(err.outcome == OUTCOME_NONE && err.retryable);
    answer.transport = &tls;
    ops_judge(&deai_service, read, &answer, &err);
    CHECK(err.outcome == OUTCOME_NONE && !err.retryable);
}

/* ---- replies ------------------------------------------------------------------------------------------ */

/* The value at a path ("data.1.jobID") of the reply, as text with its Lua type. */
static const char *reply_value(const struct judge_case *c, const char *path)
{
    char out[160];
    CHECK_STR(verdict(c, out), "ok");
    lua_pushfstring(L,
                    "local r = ...; for k in ('%s'):gmatch '[^.]+' do r = r[tonumber(k) or k] end; "
                    "return math.type(r) or type(r), tostring(r)",
                    path);
    if (luaL_loadstring(L, lua_tostring(L, -1)) != LUA_OK) return "bad path";
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 2, 0) != LUA_OK) return lua_tostring(L, -1);
    return lua_pushfstring(L, "%s %s", lua_tostring(L, -2), lua_tostring(L, -1));
}

static void test_replies(void)
{
    static const char id[] = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    char body[512];
    snprintf(body, sizeof body, "{\"code\":200,\"jobID\":\"%s\"}", id);
    struct judge_case c = {&deai_service, "create_job", 200, body, NULL};
    char want[128];
    snprintf(want, sizeof want, "string %s", id);
    CHECK_STR(reply_value(&c, "jobID"), want);
    snprintf(body, sizeof body, "{\"code\":200,\"jobID\":%s}", id);
    CHECK_STR(reply_value(&c, "jobID"), want);

    c.operation = "estimate_inference";
    c.body = "{\"code\":200,\"ccd_cost\":27870365208168000}";
    CHECK_STR(reply_value(&c, "ccd_cost"), "userdata 0.027870365208168 CCD");
    c.body = "{\"code\":200,\"ccd_cost\":500000000000000000001}";
    CHECK_STR(reply_value(&c, "ccd_cost"), "userdata 500.000000000000000001 CCD");
    CHECK_STR(reply_value(&c, "code"), "nil nil");

    c.operation = "inferences";
    c.body =
        "{\"code\":200,\"data\":[{\"ccd_cost\":\"0.01327160248\"},{\"ccd_cost\":null}],\"totalPages\":1}";
    CHECK_STR(reply_value(&c, "data.1.ccd_cost"), "userdata 0.01327160248 CCD");
    CHECK_STR(reply_value(&c, "data.2.ccd_cost"), "nil nil");
    c.body = "{\"code\":200,\"data\":null}";
    CHECK_STR(reply_value(&c, "data"), "nil nil");

    c = (struct judge_case){&sxwl_service, "gpu_types", 200, "[{\"amount\":7,\"gpuProd\":\"A\"}]", NULL};
    CHECK_STR(reply_value(&c, "1.amount"), "userdata 7 CNY");
    c.body = "[{\"amount\":7.5,\"gpuProd\":\"A\"}]";
    CHECK_STR(reply_value(&c, "1.amount"), "userdata 7.5 CNY");
    c.operation = "job_status";
    c.body = "{\"url\":\"http://h/?a=1\\u0026b=2\",\"status\":\"success\"}";
    CHECK_STR(reply_value(&c, "url"), "string http://h/?a=1&b=2");
}

static void test_headers(void)
{
    CHECK_INT(ops_retry_after("server: x\r\nretry-after: 12\r\n", 0), 12);
    CHECK_INT(ops_retry_after("retry-after: Thu, 01 Jan 1970 00:01:00 GMT\r\n", 20000), 40);
    CHECK_INT(ops_retry_after("retry-after: Thu, 01 Jan 1970 00:01:00 GMT\r\n", 90000), 0);
    CHECK_INT(ops_retry_after("x-retry-after: 12\r\n", 0), 0);
    CHECK_INT(ops_retry_after("retry-after: 99999999999999\r\n", 0), 24 * 3600);
    CHECK_INT(ops_server_date("date: Thu, 01 Jan 1970 00:01:00 GMT\r\n"), 60);
    CHECK_INT(ops_server_date(""), -1);
}

/* A field of a service that is spelt like an option of ours could never be sent. */
static void test_names_do_not_collide(void)
{
    const struct ops_service *const services[] = {&deai_service, &sxwl_service};
    for (size_t i = 0; i < 2; i++)
        for (const struct ops_compound *c = services[i]->compounds; c->name; c++)
            for (const char *const *part = c->parts; *part; part++) {
                const struct ops_def *def = ops_find(services[i], *part);
                CHECK(def != NULL);
                for (const struct ops_field *f = def->fields; f->name; f++)
                    for (const char *const *o = c->options; *o; o++) CHECK(strcmp(f->name, *o) != 0);
            }
    for (size_t i = 0; i < 2; i++)
        for (const struct ops_def *def = services[i]->defs; def->name; def++)
            for (const struct ops_field *f = def->fields; f->name; f++)
                for (const char *const *o = def->options; *o; o++) CHECK(strcmp(f->name, *o) != 0);
}

int main(void)
{
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "perigee.error", luaopen_perigee_error, 0);
    lua_settop(L, 0);
    test_sxwl_fields();
    test_deai_fields();
    test_verdicts();
    test_transport_verdicts();
    test_replies();
    test_headers();
    test_names_do_not_collide();
    lua_close(L);
    HARNESS_END();
}
