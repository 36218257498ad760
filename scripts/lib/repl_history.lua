-- repl_history.lua - what was typed at prompts, kept across sessions without secrets.  -- internal
--
-- An entry is a line of the file: a line feed stands there as \n, a backslash as \\.  host/history.c makes sure of the
-- file, and that its lines are text.  Kept is only what may be: nothing that begins with a blank, and nothing that holds a secret, as far
-- as that can be seen - then, or later, when something that was typed turns out to be one (settle).
--
-- Where the file cannot be used the history is that of the session, and one warning says so.

local config = require "perigee.core.config"
local lexer = require "perigee.repl_lexer"
local literals = require "perigee.job_literals"

local history = {}
local History = { __name = "perigee.repl_history" }
History.__index = History

local MOST <const> = 10000 -- entries
local SLACK <const> = 1000 -- so many more may stand in the file before it is rewritten
local LONGEST <const> = 64 * 1024 -- bytes of an entry

-- ---- an entry as a line ----------------------------------------------------------------------------------------------------

local function encode(text)
  return (text:gsub("[\\\n]", { ["\\"] = "\\\\", ["\n"] = "\\n" }))
end

local ESCAPED <const> = { ["\\\\"] = "\\", ["\\n"] = "\n" }
-- Control characters that no line has, those of 8 bits too, which a terminal may obey.
local CONTROLS <const> = { "[\0-\8\11-\31\127]", "\xC2[\x80-\x9F]" }

local function is_plain(text)
  return not text:find(CONTROLS[1]) and not text:find(CONTROLS[2]) and utf8.len(text) ~= nil
end

local function decode(line)
  if not line:find("\\", 1, true) then return line end
  return (line:gsub("\\.", ESCAPED))
end

-- At the start of a prompt, so it must be quick with 10,000 lines.
local function decode_all(lines)
  local entries, count, at = {}, 0, 1
  local last
  while true do
    local to = lines:find("\n", at, true)
    if not to then break end
    local line = lines:sub(at, to - 1)
    if line ~= last and line ~= "" and #line <= LONGEST then
      count = count + 1
      entries[count] = decode(line)
      last = line
    end
    at = to + 1
  end
  if count <= MOST then return entries end
  return table.move(entries, count - MOST + 1, count, 1, {})
end

-- ---- secrets ---------------------------------------------------------------------------------------------------------------

-- Forms of tokens that tell what they are, wherever they stand.
local TOKEN_FORMS <const> = { "eyJ[%w_%-]+%.[%w_%-]+%.", "%f[%w]sk%-[%w_%-]+", "%f[%w]gh[opsu]_%w+", "%f[%w]hf_%w+", "%f[%w]AKIA%u%u%u",
  "[Bb]earer%s+[%w%-._~+/]+", "%-%-%-%-%-BEGIN [%u ]*PRIVATE KEY" }
-- Their text argument names a secret and is none.
local HARMLESS_CALLS <const> = { env = true, file = true, credential = true, getenv = true, get = true, from = true }

local function looks_secret(name)
  local low = name:lower()
  return literals.looks_secret(name) or low == "authorization" or low == "cookie"
end

-- "--token abc", "API_KEY=abc", "://me:abc@" within words that are no code.
local function speaks_of_secret(text)
  return not pcall(literals.check, "history", { line = text })
end

local function value_of(text, token)
  return text:sub(token.body, token.last)
end

-- The name that tells what the value after tokens[i] is for: `name =`, `["name"] =`, `name ==`, `name(`, `name "…"`; of
-- several variables before one `=` any counts.
local function names_before(text, tokens, i)
  local names = {}
  while tokens[i] do
    if tokens[i].text == ">" then i = i - 3 end -- local name <const>
    local token = tokens[i]
    if token and token.kind == "name" then
      names[#names + 1] = token.text
      i = i - 1
    elseif token and token.text == "]" and tokens[i - 1] and tokens[i - 1].kind == "string" then
      names[#names + 1] = value_of(text, tokens[i - 1])
      i = i - 3
    end
    -- the names in front of `.x` and `:x` say where it is, not what it is
    while tokens[i] and (tokens[i].text == "." or tokens[i].text == ":") do i = i - 2 end
    if not tokens[i] or tokens[i].text ~= "," then break end
    i = i - 1
  end
  return names
end

local OPENS <const> = { ["("] = true, ["{"] = true, ["["] = true }
local CLOSES <const> = { [")"] = true, ["}"] = true, ["]"] = true }
local WITHIN_VALUE <const> = { ["and"] = true, ["or"] = true, ["not"] = true, ["nil"] = true, ["true"] = true, ["false"] = true }

-- A value can end with this token; a name or a keyword after it begins the next statement.
local function ends_value(token)
  return token.kind == "name" or token.kind == "string" or token.kind == "number" or CLOSES[token.text] or token.text == "end"
end

local function begins_statement(token, prior)
  if token.kind == "keyword" then return not WITHIN_VALUE[token.text] end
  return token.kind == "name" and ends_value(prior)
end

-- True where a written-out text is part of the value that begins at tokens[i]; texts that calls take do not count.
local function has_literal(tokens, i, in_table)
  local calls, open = 0, {} -- brackets in the value: whether each is a call's
  for at = i, #tokens do
    local token, prior = tokens[at], tokens[at - 1]
    if OPENS[token.text] then
      open[#open + 1] = ends_value(prior) and token.text ~= "["
      calls = calls + (open[#open] and 1 or 0)
    elseif CLOSES[token.text] then
      if #open == 0 then return false end
      calls = calls - (table.remove(open) and 1 or 0)
    elseif #open == 0 and (token.text == ";" or token.text == "," and in_table or begins_statement(token, prior)) then
      return false
    elseif token.kind == "string" and calls == 0 and token.last >= token.body and not ends_value(prior) then
      return true
    end
  end
  return false
end

local ASSIGNS <const> = { ["="] = true, ["=="] = true, ["~="] = true }

local function any_secret(names)
  for _, name in ipairs(names) do
    if looks_secret(name) then return true end
  end
  return false
end

-- A text that is written out under a name of a secret, or given to a function of such a name.
local function assigns_secret(text, tokens)
  local braces = 0
  for i, token in ipairs(tokens) do
    if token.text == "{" then braces = braces + 1 end
    if token.text == "}" then braces = math.max(0, braces - 1) end
    local follows = tokens[i + 1]
    if ASSIGNS[token.text] and follows then
      if any_secret(names_before(text, tokens, i - 1)) and has_literal(tokens, i + 1, braces > 0) then return true end
    elseif token.kind == "name" and follows and not HARMLESS_CALLS[token.text] then
      local argument = follows.text == "(" and tokens[i + 2] or follows
      local is_secret_of = token.text == "of" and tokens[i - 1] and tokens[i - 1].text == "." and tokens[i - 2]
        and tokens[i - 2].text == "secret"
      if argument and argument.kind == "string" and (is_secret_of or looks_secret(token.text)) then return true end
    end
  end
  return false
end

--- Tells whether a text holds a secret: one that perigee knows, one in the form of a token, or what is written out under
--- the name of one.
function history.holds_secret(text)
  if config.redact(text) ~= text then return true end
  for _, form in ipairs(TOKEN_FORMS) do
    if text:find(form) then return true end
  end
  if text:find "^%s*[:?]" then return speaks_of_secret(text) end
  local tokens = lexer.scan(text).tokens
  for _, token in ipairs(tokens) do
    if token.kind == "string" and speaks_of_secret(value_of(text, token)) then return true end
    if token.kind == "comment" and speaks_of_secret(text:sub(token.from, token.to)) then return true end
  end
  return assigns_secret(text, lexer.code(tokens))
end

-- ---- the file ------------------------------------------------------------------------------------------------------------

-- The file is given up; what is typed stays in this session.
local function give_up(self, err)
  self.path = nil
  local errors = require "perigee.error"
  if not errors.is(err) then error(err, 0) end
  self.warn(("what is typed is not kept beyond this session: %s"):format(err.message))
end

local function file(self, verb, ...)
  if not self.path then return nil end
  local ok, result = pcall(require("perigee.core.history")[verb], self.path, ...)
  if ok then return result end
  return nil, result
end

local function make_folder(path)
  return pcall(require("perigee.fs").mkdir, path:match "^(.*)/[^/]*$" or ".", { mode = "0700" })
end

-- Writes what has not been written yet. A file that is locked is tried again with the next entry. May wait: what is added
-- meanwhile is written by its own call.
local function flush(self)
  local batch = self.waiting
  if not self.path or #batch == 0 then return end
  self.waiting = {}
  local lines = table.concat(batch, "\n") .. "\n"
  local _, err = file(self, "append", lines)
  if err and err.code == "ENOENT" and make_folder(self.path) then _, err = file(self, "append", lines) end
  if err and err.code == "locked" then
    self.waiting = table.move(self.waiting, 1, #self.waiting, #batch + 1, batch)
    return
  end
  if err then return give_up(self, err) end
  table.move(batch, 1, #batch, #self.written + 1, self.written)
end

-- ---- the history -----------------------------------------------------------------------------------------------------------

local function warn_in_log(text)
  require("perigee.log").warn("repl.history", { message = text })
end

-- The lines with what is known as a secret by now; "" as a rule.
local function known_secrets(lines)
  if config.redact(lines) == lines then return "" end
  local drop = {}
  for line in lines:gmatch "[^\n]+" do
    if config.redact(decode(line)) ~= decode(line) then drop[#drop + 1] = line .. "\n" end
  end
  return table.concat(drop)
end

local function without(lines, drop)
  local out = {}
  for line in drop:gmatch "[^\n]+" do out[line] = true end
  return (lines:gsub("([^\n]*)\n", function(line) return out[line] and "" or nil end))
end

--- The history in a file, or with nil (and ":memory:") in this session alone. options.warn(text) is told once if the file
--- cannot be used; without it the log is.
function history.open(path, options)
  if path == ":memory:" then path = nil end
  local self = setmetatable({
    path = path, warn = options and options.warn or warn_in_log,
    entries = {}, -- oldest first
    waiting = {}, written = {}, -- lines of this session: not in the file yet, in it
  }, History)
  local lines, err = file(self, "read")
  if err then give_up(self, err) end
  lines = lines or ""
  local drop = known_secrets(lines)
  self.entries = decode_all(drop == "" and lines or without(lines, drop))
  local _, count = lines:gsub("\n", "\n")
  if count > MOST + SLACK or drop ~= "" then
    _, err = file(self, "rewrite", MOST, drop)
    if err and err.code ~= "locked" then give_up(self, err) end
  end
  return self
end

--- The entries, oldest first.
function History:list()
  return table.move(self.entries, 1, #self.entries, 1, {})
end

--- Keeps a text, if it may be kept and is not the last one again; tells whether the editor should offer it. May wait.
function History:add(text)
  text = text:gsub("\r\n?", "\n"):gsub("%s+$", "")
  if text == "" or text:find "^%s" or #text > LONGEST or not is_plain(text) or history.holds_secret(text) then return false end
  if text == self.entries[#self.entries] then return false end
  self.entries[#self.entries + 1] = text
  if #self.entries > MOST then table.remove(self.entries, 1) end
  if self.path then self.waiting[#self.waiting + 1] = encode(text) end
  flush(self)
  return true
end

local function take_out(list, is_out)
  for i = #list, 1, -1 do
    if is_out(list[i]) then table.remove(list, i) end
  end
end

--- To be called when an input has run: what was typed in this session and is known as a secret now is taken out again.
--- Tells whether something was, so that the editor's list is set anew. May wait.
function History:settle()
  local drop, dropped = {}, {}
  local function check(lines)
    for _, line in ipairs(lines) do
      local text = decode(line)
      if text and config.redact(text) ~= text then
        drop[#drop + 1] = line
        dropped[text] = true
      end
    end
  end
  check(self.written)
  check(self.waiting)
  if #drop == 0 then return false end
  local function is_dropped(line) return dropped[decode(line)] end
  take_out(self.entries, function(text) return dropped[text] end)
  take_out(self.waiting, is_dropped)
  local _, err = file(self, "rewrite", MOST + SLACK, table.concat(drop, "\n") .. "\n")
  if err and err.code == "locked" then return true end -- they stay in `written`: the next settle tries again
  take_out(self.written, is_dropped)
  if err then give_up(self, err) end
  return true
end

return history
