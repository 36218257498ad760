---@meta perigee.sxwl

-- ---- made by `make docs` ----

---@class perigee.sxwl.create_job
---@field gpuNumber integer|string GPUs
---@field gpuType string for example NVIDIA-GeForce-RTX-3090
---@field ckptPath string mount path of the checkpoint volume
---@field ckptVol integer|string size of the checkpoint volume in MB
---@field modelPath string mount path of the model volume
---@field modelVol integer|string size of the model volume in MB
---@field imagePath string container image
---@field jobType "GeneralJob"|"MPI"|"Pytorch" GeneralJob, MPI or Pytorch; others are accepted by the service and then fail
---@field stopType "0"|"1"|integer "0" ends by itself, "1" after stopTime
---@field stopTime? integer|string minutes, counted from dispatch
---@field pretrainedModelName? string a cached model
---@field pretrainedModelPath? string where it is mounted
---@field datasetName? string a cached data set
---@field datasetPath? string where it is mounted
---@field runCommand? string split on single spaces, without shell quoting
---@field callbackUrl? string called once when the job ends, perhaps
---@field env? table<string, string|number|boolean> environment of the job; values named like secrets are never shown
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits

---@class perigee.sxwl.run
---@field gpuNumber integer|string GPUs
---@field gpuType string for example NVIDIA-GeForce-RTX-3090
---@field ckptPath string mount path of the checkpoint volume
---@field ckptVol integer|string size of the checkpoint volume in MB
---@field modelPath string mount path of the model volume
---@field modelVol integer|string size of the model volume in MB
---@field imagePath string container image
---@field jobType "GeneralJob"|"MPI"|"Pytorch" GeneralJob, MPI or Pytorch; others are accepted by the service and then fail
---@field stopType "0"|"1"|integer "0" ends by itself, "1" after stopTime
---@field stopTime? integer|string minutes, counted from dispatch
---@field pretrainedModelName? string a cached model
---@field pretrainedModelPath? string where it is mounted
---@field datasetName? string a cached data set
---@field datasetPath? string where it is mounted
---@field runCommand? string split on single spaces, without shell quoting
---@field callbackUrl? string called once when the job ends, perhaps
---@field env? table<string, string|number|boolean> environment of the job; values named like secrets are never shown
---@field max_cost? perigee.money the most that all attempts of the call may cost; what is dearer is denied
---@field max_cost_per_attempt? perigee.money the same for each attempt
---@field budget? perigee.budget|perigee.budget[] one or several that the call counts against, too
---@field timeout? perigee.duration of the exchange; of the wait, where the call waits
---@field on_start? fun(started: table) called with the ids once the call is made, before the wait
---@field on_status? fun(status: string) called with each status read
---@field on_cancel? "stop"|"leave" if the wait is cancelled; default: stop after Ctrl-C on a terminal
---@field callback? boolean false: no callback URL of ours
---@field retry? perigee.retry|perigee.retry.options creates the job again when it fails

-- ---- end ----

---@class perigee.sxwl.options
---@field token? string default: the configuration
---@field base_url? string default: the configuration
---@field prices? table<string, string|perigee.amount> what one GPU costs for an hour: "7 CNY/h"
---@field budget? perigee.budget|perigee.budget[] for all paid calls
---@field timeout? perigee.duration of each exchange
---@field status_rate? number status reads a second; default 5
---@field callbacks? perigee.callback.receiver
---@field transport? userdata an in-process transport, for tests

---@class perigee.sxwl.status
---@field job_id string
---@field status "working"|"success"|"fail"
---@field url? string
---@field at_deadline? boolean ended no earlier than its stopTime
---@field attempts? integer
---@field cost? perigee.amount derived from the price table

---Rows of all pages; call it, or use it in a generic `for`.
---@class perigee.sxwl.list
---@operator call: fun(): table?
local List = {}

---What has not been read yet.
---@return table[]
function List:all() end

---@class perigee.sxwl.client
local Client = {}

---@param fields perigee.sxwl.create_job
---@return string job_id
function Client:create_job(fields) end

---@param job_id string
---@param options? {timeout: perigee.duration?}
---@return perigee.sxwl.status
function Client:job_status(job_id, options) end

---@param job_id string
---@param options? {timeout: perigee.duration?}
function Client:stop_job(job_id, options) end

---@param options? {timeout: perigee.duration?, current: integer?, size: integer?}
---@return perigee.sxwl.list
function Client:jobs(options) end

---@param options? {timeout: perigee.duration?}
---@return {gpuProd: string, amount: perigee.amount}[]
function Client:gpu_types(options) end

---@param fields perigee.sxwl.run
---@return perigee.sxwl.status
function Client:run(fields) end

---@param job_id string
---@param options? {timeout: perigee.duration?, on_cancel: "stop"|"leave"?, on_status: fun(status: string)?}
---@return perigee.sxwl.status
function Client:wait(job_id, options) end

---@param what string a job_id or a link
---@param path string
---@param options? {timeout: perigee.duration?, resume: boolean?, progress: fun(p: table)?}
---@return {path: string, size: integer, url: string}
function Client:download(what, path, options) end

local sxwl = {}

---A client; what is left out comes from the configuration.
---@param options? perigee.sxwl.options
---@return perigee.sxwl.client
function sxwl.client(options) end

return sxwl
