/* sxwl.c - the SXWL GPU cloud as a table of operations.
 *
 * The engine (host/ops.h) does the work, scripts/lib/sxwl.lua puts the steps together.  The field table of
 * docs/sxwl.md and the editor stubs are made from what stands here.  The JSON types are the only ones that
 * work on every era of the service: some servers accept others, answer 200, and never start the job.
 */
#include "bindings/services.h"

#define MOST_INT 2147483647

static const char *const option_timeout[] = {"timeout", NULL};
static const char *const option_paid[] = {"max_cost", "max_cost_per_attempt", "budget", "timeout", NULL};

static const char *const job_types[] = {"GeneralJob", "MPI", "Pytorch", NULL};
static const char *const stop_types[] = {"0", "1", NULL};

static const struct ops_field create_fields[] = {
    {"gpuNumber", OPS_INTEGER, .required = true, .least = 1, .most = MOST_INT, .mark = "D", .doc = "GPUs"},
    {"gpuType", OPS_STRING, .required = true, .mark = "D", .doc = "for example NVIDIA-GeForce-RTX-3090"},
    {"ckptPath", OPS_STRING, .required = true, .mark = "D", .doc = "mount path of the checkpoint volume"},
    {"ckptVol", OPS_DIGITS, .required = true, .least = 1, .most = INT64_MAX, .mark = "D",
     .doc = "size of the checkpoint volume in MB"},
    {"modelPath", OPS_STRING, .required = true, .mark = "D", .doc = "mount path of the model volume"},
    {"modelVol", OPS_DIGITS, .required = true, .least = 1, .most = INT64_MAX, .mark = "D",
     .doc = "size of the model volume in MB"},
    {"imagePath", OPS_STRING, .required = true, .mark = "D", .doc = "container image"},
    {"jobType", OPS_ENUM, .required = true, .choices = job_types, .mark = "D",
     .doc = "GeneralJob, MPI or Pytorch; others are accepted by the service and then fail"},
    {"stopType", OPS_ENUM, .required = true, .choices = stop_types, .mark = "D",
     .doc = "\"0\" ends by itself, \"1\" after stopTime"},
    {"stopTime", OPS_INTEGER, .required_if = "stopType", .required_value = "1", .least = 1, .most = MOST_INT,
     .mark = "D", .doc = "minutes, counted from dispatch"},
    {"pretrainedModelName", OPS_STRING, .mark = "D", .doc = "a cached model"},
    {"pretrainedModelPath", OPS_STRING, .mark = "D", .doc = "where it is mounted"},
    {"datasetName", OPS_STRING, .mark = "D", .doc = "a cached data set"},
    {"datasetPath", OPS_STRING, .mark = "D", .doc = "where it is mounted"},
    {"runCommand", OPS_STRING, .mark = "D", .doc = "split on single spaces, without shell quoting"},
    {"callbackUrl", OPS_URL, .max_len = 255,
     .forbid = "/:", .forbid_why = "has a path segment that starts with ':'; the service then calls nobody",
     .mark = "D", .doc = "called once when the job ends, perhaps"},
    {"env", OPS_MAP, .mark = "D", .doc = "environment of the job; values named like secrets are never shown"},
    {0},
};
static const struct ops_reply_field create_reply[] = {
    {"job_id", OPS_REPLY_STRING, .required = true, .doc = "the job"},
    {0},
};

static const struct ops_field job_fields[] = {
    {"job_id", OPS_STRING, .required = true, .max_len = 255, .mark = "D", .doc = "the job"},
    {0},
};
static const struct ops_reply_field status_reply[] = {
    {"status", OPS_REPLY_STRING, .required = true, .doc = "working, success or fail"},
    {"url", OPS_REPLY_STRING, .doc = "where the model can be fetched, once there is one"},
    {0},
};
static const struct ops_reply_field reply_nothing[] = {{0}};

static const struct ops_field jobs_fields[] = {
    {"current", OPS_INTEGER, .least = 1, .most = MOST_INT, .fallback = "1", .mark = "I",
     .doc = "page, from 1"},
    {"size", OPS_INTEGER, .least = 1, .most = 1000, .fallback = "100", .mark = "I", .doc = "rows in a page"},
    {0},
};
static const struct ops_reply_field jobs_reply[] = {
    {"totalElements", OPS_REPLY_INTEGER, .doc = "rows in all"},
    {"content", OPS_REPLY_ROWS, .doc = "newest first"},
    {"content[].jobName", OPS_REPLY_STRING, .doc = "the job_id"},
    {"content[].workStatus", OPS_REPLY_INTEGER, .doc = "0 to 3"},
    {"content[].createTime", OPS_REPLY_ANY, .doc = "when it was created"},
    {0},
};

static const struct ops_field no_fields[] = {{0}};
static const struct ops_reply_field gpu_reply[] = {
    {"[].gpuProd", OPS_REPLY_STRING, .doc = "the name to use as gpuType"},
    {"[].amount", OPS_REPLY_MONEY, .currency = "CNY", .doc = "price of one GPU for an hour"},
    {0},
};

static const struct ops_def defs[] = {
    {"create_job", "POST", "/userJob", OPS_CREATE, .fields = create_fields, .options = option_paid,
     .reply = create_reply, .doc = "creates a job"},
    {"job_status", "POST", "/userJob/job_status", OPS_READ, .fields = job_fields, .options = option_timeout,
     .reply = status_reply, .missing = "status", .doc = "how a job is doing"},
    {"stop_job", "POST", "/userJob/job_del", OPS_STOP, .idempotent = true, .fields = job_fields,
     .options = option_timeout, .reply = reply_nothing,
     .doc = "stops a job; an unfinished one loses its volumes"},
    {"jobs", "GET", "/userJob", OPS_READ, .fields = jobs_fields, .options = option_timeout,
     .reply = jobs_reply, .doc = "the jobs of the account; not offered in every era"},
    {"gpu_types", "GET", "/userJob/getGpuType", OPS_READ, .fields = no_fields, .options = option_timeout,
     .reply = gpu_reply, .doc = "GPU types and their prices; not offered in every era"},
    {0},
};

static const char *const run_parts[] = {"create_job", NULL};
static const char *const run_options[] = {"max_cost",  "max_cost_per_attempt",
                                          "budget",    "timeout",
                                          "on_start",  "on_status",
                                          "on_cancel", "callback",
                                          "retry",     NULL};

static const struct ops_compound compounds[] = {
    {"run", run_parts, run_options, "creates a job and waits for its end"},
    {0},
};

static const struct ops_rule rules[] = {
    {.status = 400,
     .contains = "dial tcp",
     .kind = ERR_UNAVAILABLE,
     .code = "transient",
     .transient = true,
     .hint = "its database is down; this passes"},
    {.status = 400,
     .contains = "connection refused",
     .kind = ERR_UNAVAILABLE,
     .code = "transient",
     .transient = true,
     .hint = "this passes"},
    {.status = 400,
     .contains = "no rows in result set",
     .kind = ERR_API,
     .code = "not_found",
     .hint = "the service knows no such job"},
    {0},
};

const struct ops_service sxwl_service = {
    .name = "sxwl",
    .title = "SXWL",
    .base_url = "https://llm.sxwl.ai/api",
    .auth_header = "Authorization",
    .auth_prefix = "Bearer ",
    .envelope = OPS_ENVELOPE_PLAIN,
    .rules = rules,
    .defs = defs,
    .compounds = compounds,
};
