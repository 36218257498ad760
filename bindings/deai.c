/* deai.c - Distributed AI as a table of operations.
 *
 * The engine (host/ops.h) does the work, scripts/lib/deai.lua puts the steps together.  The field tables of
 * docs/deai.md and the editor stubs are made from what stands here.  Marks: D documented by the vendor,
 * S read in the vendor's SDK, I inferred.
 */
#include "bindings/services.h"

#define MOST_INT 2147483647

static const char *const option_timeout[] = {"timeout", NULL};
static const char *const option_upload[] = {"timeout", "progress", NULL};
static const char *const option_paid[] = {"max_cost", "max_cost_per_attempt", "budget", "timeout", NULL};
static const char *const option_list[] = {"timeout", NULL};
static const struct ops_reply_field reply_nothing[] = {{0}};

#define JOB_NAME                                                                                             \
    {                                                                                                        \
        "jobName", OPS_STRING, .required = true, .mark = "D", .doc = "name of the training job"              \
    }
#define JOB_ID                                                                                               \
    {                                                                                                        \
        "jobID", OPS_STRING, .required = true, .max_len = 128, .mark = "D",                                  \
                             .doc = "the job, a string of up to 78 digits"                                   \
    }
#define PAGE                                                                                                 \
    {"pageNo",        OPS_INTEGER, .least = 1,           .most = MOST_INT,                                   \
     .fallback = "1", .mark = "D", .doc = "page, from 1"},                                                   \
    {                                                                                                        \
        "pageSize", OPS_INTEGER, .least = 1, .most = 1000, .fallback = "100", .mark = "D",                   \
                                 .doc = "rows in a page"                                                     \
    }
#define COUNT(field, standard, text)                                                                         \
    {                                                                                                        \
        field, OPS_INTEGER, .least = 1, .most = MOST_INT, .fallback = standard, .mark = "D", .doc = text     \
    }
#define PAGING                                                                                               \
    {"page", OPS_REPLY_INTEGER, .doc = "this page"},                                                         \
        {"totalPages", OPS_REPLY_INTEGER, .doc = "pages in all"},                                            \
    {                                                                                                        \
        "totalCount", OPS_REPLY_INTEGER, .doc = "rows in all"                                                \
    }
#define COST                                                                                                 \
    {                                                                                                        \
        "ccd_cost", OPS_REPLY_BASE_UNITS, .required = true, .currency = "CCD", .doc = "the estimate"         \
    }

/* ---- account ------------------------------------------------------------------------------------------ */

static const struct ops_field login_fields[] = {
    {"email", OPS_STRING, .required = true, .mark = "D", .doc = "the account"},
    {"passwd", OPS_STRING, .required = true, .secret = true, .mark = "D", .doc = "its password"},
    {0},
};
static const struct ops_reply_field login_reply[] = {
    {"token", OPS_REPLY_STRING, .required = true, .doc = "a JWT that lives 60 minutes"},
    {0},
};

static const struct ops_field no_fields[] = {{0}};
static const struct ops_reply_field user_reply[] = {
    {"email", OPS_REPLY_STRING, .doc = "the account"},
    {"address", OPS_REPLY_STRING, .doc = "its address on the chain"},
    {"balancePHB", OPS_REPLY_MONEY, .currency = "PHB", .doc = "balance in PHB"},
    {"balanceCCD", OPS_REPLY_MONEY, .currency = "CCD", .doc = "balance in CCD"},
    {0},
};

static const struct ops_field page_fields[] = {PAGE, {0}};
static const struct ops_reply_field usage_reply[] = {
    PAGING,
    {"data", OPS_REPLY_ROWS, .doc = "what was charged; the rows are undocumented"},
    {0},
};

/* ---- data sets ---------------------------------------------------------------------------------------- */

static const struct ops_field upload_fields[] = {
    {"file", OPS_FILE, .required = true, .mark = "D", .doc = "the local file"},
    {"name", OPS_FILE_NAME, .required = true, .max_len = 255, .mark = "D", .doc = "what it is called there"},
    {0},
};
static const struct ops_reply_field upload_reply[] = {
    {"msg", OPS_REPLY_STRING, .required = true, .doc = "the remote path, to be handed back unchanged"},
    {0},
};

/* ---- training ----------------------------------------------------------------------------------------- */

static const char *const model_cnn[] = {"CNN", NULL};
static const char *const model_lstm[] = {"LSTM", NULL};

static const struct ops_field cnn_fields[] = {
    {"model", OPS_ENUM, .required = true, .choices = model_cnn, .mark = "D", .doc = "\"CNN\""},
    {"epoch", OPS_INTEGER, .required = true, .least = 1, .most = MOST_INT, .mark = "D", .doc = "epochs"},
    JOB_NAME,
    {"x_train", OPS_PATH, .required = true, .mark = "D", .doc = "training data"},
    {"y_train", OPS_PATH, .required = true, .mark = "D",
     .doc = "labels; marked optional by the vendor, but needed"},
    {"train_shard", OPS_NUMBER, .required = true, .above = 0, .below = 1, .mark = "D",
     .doc = "share of the data to train on, between 0 and 1"},
    COUNT("scale_ratio", "255", "divisor of the pixel values"),
    {"category", OPS_INTEGER, .required = true, .least = 1, .most = MOST_INT, .mark = "D", .doc = "classes"},
    {"channel", OPS_INTEGER, .least = 1, .most = MOST_INT, .mark = "D", .doc = "colour channels"},
    {0},
};
static const struct ops_field lstm_fields[] = {
    {"model", OPS_ENUM, .required = true, .choices = model_lstm, .mark = "D", .doc = "\"LSTM\""},
    JOB_NAME,
    {"epoch", OPS_INTEGER, .least = 1, .most = MOST_INT, .mark = "D", .doc = "epochs"},
    {"x_train", OPS_PATH, .mark = "D", .doc = "training data"},
    {"train_shard", OPS_NUMBER, .above = 0, .below = 1, .mark = "D",
     .doc = "share of the data to train on, between 0 and 1"},
    COUNT("input_width", "24", "steps in a window"),
    COUNT("label_width", "24", "steps to predict"),
    COUNT("shift", "24", "steps between window and prediction"),
    COUNT("sequence_stride", "1", "steps between windows"),
    COUNT("sampling_rate", "1", "steps between samples"),
    {0},
};
static const struct ops_reply_field cost_reply[] = {COST, {0}};

static const struct ops_field create_fields[] = {
    JOB_NAME,
    {"computation", OPS_STRING, .fallback = "Distributed AI", .mark = "D", .doc = "kind of computation"},
    COUNT("batchSize", "64", "samples in a batch"),
    {0},
};
static const struct ops_reply_field create_reply[] = {
    {"jobID", OPS_REPLY_ID, .required = true,
     .doc = "the job; some replies leave it out, then the client looks it up"},
    {0},
};

/* ---- inference ---------------------------------------------------------------------------------------- */

static const struct ops_field inference_cost_fields[] = {
    {"data_path", OPS_PATH, .required = true, .mark = "D", .doc = "the data to run on"},
    JOB_ID,
    {0},
};
static const struct ops_field job_fields[] = {JOB_ID, {0}};
static const struct ops_reply_field inference_reply[] = {
    {"infer_id", OPS_REPLY_INTEGER, .required = true, .doc = "the inference"},
    {0},
};
static const struct ops_field query_fields[] = {
    {"id", OPS_INTEGER, .required = true, .least = 0, .most = INT64_MAX, .mark = "D", .doc = "infer_id"},
    {0},
};

#define RESULT(prefix)                                                                                       \
    {prefix "tx_hash", OPS_REPLY_STRING, .doc = "transaction on the chain"},                                 \
        {prefix "result", OPS_REPLY_ANY, .doc = "the result"},                                               \
        {prefix "submitTime", OPS_REPLY_ANY, .doc = "Unix seconds"},                                         \
    {                                                                                                        \
        prefix "ccd_cost", OPS_REPLY_MONEY, .currency = "CCD", .doc = "what was charged"                     \
    }

static const struct ops_reply_field query_reply[] = {
    {"data", OPS_REPLY_OBJECT, .doc = "empty until the inference is done"},
    RESULT("data."),
    {0},
};
static const struct ops_field job_page_fields[] = {JOB_ID, PAGE, {0}};
static const struct ops_reply_field inferences_reply[] = {
    PAGING,
    {"data", OPS_REPLY_ROWS, .doc = "newest first; a row does not say its infer_id"},
    RESULT("data[]."),
    {0},
};
static const struct ops_reply_field submissions_reply[] = {
    PAGING,
    {"data", OPS_REPLY_ROWS, .doc = "submissions of the job; the rows are undocumented"},
    {0},
};

/* ---- jobs --------------------------------------------------------------------------------------------- */

static const struct ops_reply_field jobs_reply[] = {
    PAGING,
    {"data", OPS_REPLY_ROWS, .doc = "jobs of the account"},
    {"data[].jobID", OPS_REPLY_ID, .doc = "the job"},
    {"data[].typeStr", OPS_REPLY_STRING, .doc = "its kind"},
    {"data[].jobName", OPS_REPLY_STRING, .doc = "its name"},
    {"data[].creationTime", OPS_REPLY_ANY, .doc = "Unix seconds"},
    {"data[].updateTime", OPS_REPLY_ANY, .doc = "Unix seconds"},
    {0},
};
static const struct ops_reply_field job_reply[] = {
    {"jobID", OPS_REPLY_ID, .doc = "the job"},
    {"typeStr", OPS_REPLY_STRING, .doc = "its kind"},
    {"jobName", OPS_REPLY_STRING, .doc = "its name"},
    {"computationStr", OPS_REPLY_ANY, .doc = "what it computes"},
    {0},
};

/* ---- the service -------------------------------------------------------------------------------------- */

static const struct ops_def defs[] = {
    {"login", "POST", "/user/genToken", OPS_LOGIN, .fields = login_fields, .options = option_timeout,
     .reply = login_reply, .doc = "trades email and password for a token"},
    {"user", "GET", "/user/userInfo", OPS_READ, .fields = no_fields, .options = option_timeout,
     .reply = user_reply, .doc = "the account and its balances"},
    {"upload", "POST", "/deAI/uploadFile", OPS_UPLOAD, .fields = upload_fields, .options = option_upload,
     .reply = upload_reply, .doc = "stores a local file and gives its remote path"},
    {"estimate_cnn", "POST", "/deAI/queryGuarantee", OPS_DRAFT, .fields = cnn_fields,
     .options = option_upload, .reply = cost_reply,
     .doc = "prices a CNN training, and makes it the draft of its jobName"},
    {"estimate_lstm", "POST", "/deAI/queryGuarantee", OPS_DRAFT, .fields = lstm_fields,
     .options = option_upload, .reply = cost_reply,
     .doc = "prices an LSTM training, and makes it the draft of its jobName"},
    {"create_job", "POST", "/deAI/createJob", OPS_CREATE, .fields = create_fields, .options = option_paid,
     .reply = create_reply, .doc = "starts the training that the last estimate of this jobName described"},
    {"estimate_inference", "POST", "/deAI/inferenceCost", OPS_DRAFT, .fields = inference_cost_fields,
     .options = option_upload, .reply = cost_reply,
     .doc = "prices an inference, and makes it the draft of its jobID"},
    {"start_inference", "POST", "/deAI/inference", OPS_CREATE, .fields = job_fields, .options = option_paid,
     .reply = inference_reply, .doc = "starts the inference that the last estimate of this jobID described"},
    {"inference", "POST", "/deAI/queryInfer", OPS_READ, .fields = query_fields, .options = option_timeout,
     .reply = query_reply, .doc = "one inference"},
    {"inferences", "POST", "/deAI/queryInferList", OPS_READ, .fields = job_page_fields,
     .options = option_list, .reply = inferences_reply, .doc = "the inferences of a job"},
    {"jobs", "POST", "/panel/jobListByUser", OPS_READ, .fields = page_fields, .options = option_list,
     .reply = jobs_reply, .doc = "the jobs of the account"},
    {"job", "POST", "/panel/jobDetailByUser", OPS_READ, .fields = job_fields, .options = option_timeout,
     .reply = job_reply, .doc = "one job"},
    {"submissions", "POST", "/panel/subListByUser", OPS_READ, .fields = job_page_fields,
     .options = option_list, .reply = submissions_reply, .doc = "the submissions of a job"},
    {"usage", "POST", "/panel/ccdUsageList", OPS_READ, .fields = page_fields, .options = option_list,
     .reply = usage_reply, .doc = "what the account was charged"},
    {"delete_job", "POST", "/panel/deleteJobByUser", OPS_STOP, .fields = job_fields,
     .options = option_timeout, .reply = reply_nothing, .doc = "deletes a job from the panel"},
    {0},
};

static const char *const cnn_parts[] = {"estimate_cnn", "create_job", NULL};
static const char *const lstm_parts[] = {"estimate_lstm", "create_job", NULL};
static const char *const infer_parts[] = {"estimate_inference", "start_inference", NULL};
static const char *const train_options[] = {
    "max_cost", "max_cost_per_attempt", "budget", "timeout", "wait", "on_start", "progress", "probe", NULL};
static const char *const infer_options[] = {
    "file", "max_cost", "max_cost_per_attempt", "budget", "timeout", "wait", "on_start", "progress", NULL};

static const struct ops_compound compounds[] = {
    {"train_cnn", cnn_parts, train_options, "estimate, gate and create a CNN training under one lock"},
    {"train_lstm", lstm_parts, train_options, "estimate, gate and create an LSTM training under one lock"},
    {"infer", infer_parts, infer_options, "estimate, gate, start under one lock, then wait for the result"},
    {0},
};

static const struct ops_rule rules[] = {
    {.status = 400, /* as the other service says it; not a password that was refused */
     .contains = "dial tcp",
     .kind = ERR_UNAVAILABLE,
     .code = "transient",
     .transient = true,
     .hint = "a server behind it is down; this passes"},
    {.contains = "insufficient", .kind = ERR_FUNDS, .code = "insufficient_funds"},
    {.contains = "not enough", .kind = ERR_FUNDS, .code = "insufficient_funds"},
    {.contains = "invalid token", .kind = ERR_AUTH, .code = "unauthorized"},
    {.contains = "token is expired", .kind = ERR_AUTH, .code = "unauthorized"},
    {.contains = "token expired", .kind = ERR_AUTH, .code = "unauthorized"},
    {.contains = "not found", .kind = ERR_API, .code = "not_found"},
    {.contains = "not exist", .kind = ERR_API, .code = "not_found"},
    {0},
};

const struct ops_service deai_service = {
    .name = "deai",
    .title = "Distributed AI",
    .base_url = "https://www.phoenix.global/sdk/computation",
    .auth_header = "token",
    .auth_prefix = "",
    .envelope = OPS_ENVELOPE_CODE,
    .rules = rules,
    .defs = defs,
    .compounds = compounds,
};
