---@meta perigee.notify

---@class perigee.notify.settings the table `notify` of the configuration or of a policy
---@field webhook? string|perigee.secret a URL, or "env:NAME", "file:/path", "credential:name"
---@field command? string[] a program and its words
---@field on? table which events; default all
---@field min_interval? number|string default "5m"
---@field emulator? boolean whether messages are sent with --emulator, too; default false

local notify = {}

---Sends a message: "sent", "queued" (it is sent later) or "known" (it was sent before).
---@param t { text: string, event?: string, job?: table|string, data?: table }
---@return "sent"|"queued"|"known"
function notify.send(t) end

---Sends a test message in each configured way, at once.
---@return { way: "webhook"|"command", ok: boolean, why?: string, elapsed: number }[]
function notify.test() end

---Makes a message of an event of the daemon, if one is wanted.
---@param event string
---@param data? table
function notify.event(event, data) end

---Starts to send what stands in the outbox, until the program ends.
---@param options? { policies?: fun(name: string): table? }
function notify.start(options) end

---Sends what is due now.
---@return boolean false if another process sends
function notify.flush() end

---Says which policy's code runs here, and what its `notify` is.
---@param policy string
---@param t perigee.notify.settings
function notify.use(policy, t) end

return notify
