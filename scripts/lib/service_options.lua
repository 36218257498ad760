-- service_options.lua - what the options of service calls are: ours, not fields of the service.  -- internal
--
-- Which call takes which of them stands in the tables of operations (bindings/deai.c, bindings/sxwl.c); here are their
-- types and meanings, from which docs, editor stubs and the prompt's help are made.

--- name -> { type = as in the editor stubs, doc = }
return {
  max_cost = { type = "perigee.money", doc = "the most that all attempts of the call may cost; what is dearer is denied" },
  max_cost_per_attempt = { type = "perigee.money", doc = "the same for each attempt" },
  budget = { type = "perigee.budget|perigee.budget[]", doc = "one or several that the call counts against, too" },
  timeout = { type = "perigee.duration", doc = "of the exchange; of the wait, where the call waits" },
  progress = { type = "fun(sent: integer, total: integer)", doc = "called as bytes of a file go out" },
  wait = { type = "boolean", doc = "whether to wait for the end; by default infer does, train does not" },
  on_start = { type = "fun(started: table)", doc = "called with the ids once the call is made, before the wait" },
  on_status = { type = "fun(status: string)", doc = "called with each status read" },
  probe = { type = "fun(client: table, jobID: string): any", doc = "finds out whether the job is trained" },
  file = { type = "string|perigee.deai.file", doc = "a local file to upload and run on, in place of data_path" },
  on_cancel = { type = '"stop"|"leave"', doc = "if the wait is cancelled; default: stop after Ctrl-C on a terminal" },
  callback = { type = "boolean", doc = "false: no callback URL of ours" },
  retry = { type = "perigee.retry|perigee.retry.options", doc = "creates the job again when it fails" },
}
