---@meta perigee.deai

-- ---- made by `make docs` ----

---@class perigee.deai.estimate_cnn
---@field model "CNN" "CNN"
---@field epoch integer|string epochs
---@field jobName string name of the training job
---@field x_train string|perigee.deai.file training data
---@field y_train string|perigee.deai.file labels; marked optional by the vendor, but needed
---@field train_shard number|string share of the data to train on, between 0 and 1
---@field scale_ratio? integer|string divisor of the pixel values
---@field category integer|string classes
---@field channel? integer|string colour channels
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field progress? fun(sent: integer, total: integer) called as bytes of a file go out

---@class perigee.deai.estimate_lstm
---@field model "LSTM" "LSTM"
---@field jobName string name of the training job
---@field epoch? integer|string epochs
---@field x_train? string|perigee.deai.file training data
---@field train_shard? number|string share of the data to train on, between 0 and 1
---@field input_width? integer|string steps in a window
---@field label_width? integer|string steps to predict
---@field shift? integer|string steps between window and prediction
---@field sequence_stride? integer|string steps between windows
---@field sampling_rate? integer|string steps between samples
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field progress? fun(sent: integer, total: integer) called as bytes of a file go out

---@class perigee.deai.create_job
---@field jobName string name of the training job
---@field computation? string kind of computation
---@field batchSize? integer|string samples in a batch
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits

---@class perigee.deai.estimate_inference
---@field data_path string|perigee.deai.file the data to run on
---@field jobID string the job, a string of up to 78 digits
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field progress? fun(sent: integer, total: integer) called as bytes of a file go out

---@class perigee.deai.start_inference
---@field jobID string the job, a string of up to 78 digits
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits

---@class perigee.deai.train_cnn
---@field model "CNN" "CNN"
---@field epoch integer|string epochs
---@field jobName string name of the training job
---@field x_train string|perigee.deai.file training data
---@field y_train string|perigee.deai.file labels; marked optional by the vendor, but needed
---@field train_shard number|string share of the data to train on, between 0 and 1
---@field scale_ratio? integer|string divisor of the pixel values
---@field category integer|string classes
---@field channel? integer|string colour channels
---@field computation? string kind of computation
---@field batchSize? integer|string samples in a batch
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field wait? boolean whether to wait for the end; by default infer does, train does not
---@field on_start? fun(started: table) called with the ids once the call is made, before the wait
---@field progress? fun(sent: integer, total: integer) called as bytes of a file go out
---@field probe? fun(client: table, jobID: string): any finds out whether the job is trained

---@class perigee.deai.train_lstm
---@field model "LSTM" "LSTM"
---@field jobName string name of the training job
---@field epoch? integer|string epochs
---@field x_train? string|perigee.deai.file training data
---@field train_shard? number|string share of the data to train on, between 0 and 1
---@field input_width? integer|string steps in a window
---@field label_width? integer|string steps to predict
---@field shift? integer|string steps between window and prediction
---@field sequence_stride? integer|string steps between windows
---@field sampling_rate? integer|string steps between samples
---@field computation? string kind of computation
---@field batchSize? integer|string samples in a batch
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field wait? boolean whether to wait for the end; by default infer does, train does not
---@field on_start? fun(started: table) called with the ids once the call is made, before the wait
---@field progress? fun(sent: integer, total: integer) called as bytes of a file go out
---@field probe? fun(client: table, jobID: string): any finds out whether the job is trained

---@class perigee.deai.infer
---@field data_path string|perigee.deai.file the data to run on
---@field jobID string the job, a string of up to 78 digits
---@field file? string|perigee.deai.file a local file to upload and run on, in place of data_path
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field wait? boolean whether to wait for the end; by default infer does, train does not
---@field on_start? fun(started: table) called with the ids once the call is made, before the wait
---@field progress? fun(sent: integer, total: integer) called as bytes of a file go out

-- ---- end ----

---@class perigee.deai.options
---@field email? string default: the configuration
---@field password? string default: the configuration
---@field base_url? string default: the configuration
---@field budget? perigee.budget|perigee.budget[] for all paid calls
---@field timeout? perigee.duration of each exchange
---@field status_rate? number status reads a second; default 5
---@field check_balance? boolean look at the account's balance before each paid call
---@field draft_rest? perigee.duration rest of a key after an unclear failure; default 60 s
---@field transport? userdata an in-process transport, for tests

---@class perigee.deai.file
---@field path string

---@class perigee.deai.row
---@field tx_hash? string
---@field result? any
---@field submitTime? integer Unix seconds
---@field ccd_cost? perigee.amount
---@field done? boolean

---@class perigee.deai.inferred: perigee.deai.row
---@field jobID string
---@field infer_id integer
---@field price perigee.amount

---Rows of all pages; call it, or use it in a generic `for`.
---@class perigee.deai.list
---@operator call: fun(): table?
local List = {}

---What has not been read yet.
---@return table[]
function List:all() end

---@class perigee.deai.client
local Client = {}

---@param options? {timeout: perigee.duration?}
---@return {email: string, address: string, balancePHB: perigee.amount, balanceCCD: perigee.amount}
function Client:user(options) end

---@param path string a local file
---@param options? {timeout: perigee.duration?, progress: fun(sent: integer, total: integer)?}
---@return string remote_path
function Client:upload(path, options) end

---@param fields perigee.deai.estimate_cnn|perigee.deai.estimate_lstm
---@return perigee.amount
function Client:estimate(fields) end

---@param fields perigee.deai.create_job
---@return string jobID
function Client:create_job(fields) end

---@param fields perigee.deai.estimate_inference
---@return perigee.amount
function Client:estimate_inference(fields) end

---@param fields perigee.deai.start_inference
---@return integer infer_id
function Client:start_inference(fields) end

---@param fields perigee.deai.train_cnn|perigee.deai.train_lstm
---@return {jobID: string, jobName: string, price: perigee.amount}
function Client:train(fields) end

---@param fields perigee.deai.infer
---@return perigee.deai.inferred
function Client:infer(fields) end

---@param options perigee.fan_out.options
---@return perigee.fan_out.report
function Client:fan_out(options) end

---@param jobID string
---@param options? {timeout: perigee.duration?, x_train: string?, probe: (fun(client: perigee.deai.client, jobID: string): any)?}
---@return {jobID: string, by: string}
function Client:wait_job(jobID, options) end

---@param infer_id integer
---@param options? {timeout: perigee.duration?}
---@return perigee.deai.row
function Client:wait_inference(infer_id, options) end

---@param infer_id integer
---@param options? {timeout: perigee.duration?}
---@return perigee.deai.row
function Client:inference(infer_id, options) end

---@param jobID string
---@param options? {timeout: perigee.duration?, pageNo: integer?, pageSize: integer?}
---@return perigee.deai.list
function Client:inferences(jobID, options) end

---@param jobID string
---@param options? {timeout: perigee.duration?, pageNo: integer?, pageSize: integer?}
---@return perigee.deai.list
function Client:submissions(jobID, options) end

---@param options? {timeout: perigee.duration?, pageNo: integer?, pageSize: integer?}
---@return perigee.deai.list
function Client:jobs(options) end

---@param options? {timeout: perigee.duration?, pageNo: integer?, pageSize: integer?}
---@return perigee.deai.list
function Client:usage(options) end

---@param jobID string
---@param options? {timeout: perigee.duration?}
---@return table
function Client:job(jobID, options) end

---@param jobID string
---@param options? {timeout: perigee.duration?}
function Client:delete_job(jobID, options) end

local deai = {}

---A client; what is left out comes from the configuration.
---@param options? perigee.deai.options
---@return perigee.deai.client
function deai.client(options) end

---Marks a local file to be uploaded where a path of the service is expected.
---@param path string
---@return perigee.deai.file
function deai.file(path) end

return deai
