-- transcript.lua - plays what a page shows of a session: what stands behind a prompt is typed, the rest is expected.
--
-- In a line: <Tab> <Enter> <Up> <Ctrl-C> … are keys; what is typed is awaited on the screen before the next key. What
-- stands in «» is not typed but awaited. A line without a key at its end ends with Enter. <Paste> alone pastes the
-- lines up to the next line of keys. In expected lines … stands for anything within the line; a line of it alone, for
-- nothing or more lines.
local transcript = {}

local PROMPTS <const> = { "emulator> ", "perigee> ", "daemon> ", "daemon! ", "repl> ", "$ " }
local KEYS <const> = { ["Ctrl-C"] = "C-c", ["Ctrl-D"] = "C-d", ["Ctrl-R"] = "C-r", ["Ctrl-Z"] = "C-z" }

--- The numbered headings of a page, each with the lines of its blocks and the code of those that name a language:
--- { { number=, title=, lines=, code= }, … }.
function transcript.read(path)
  local list, inside = {}, false
  for line in io.lines(path) do
    local number, title = line:match "^### (%d+)%. (.*)$"
    if number then
      list[#list + 1] = { number = tonumber(number), title = title, lines = {}, code = {} }
    elseif line:find "^```" then
      inside = not inside and (line == "```" and "lines" or "code")
    elseif line:find "^##? " then
      inside = false
      list.ended = #list > 0
    elseif inside and #list > 0 and not list.ended then
      table.insert(list[#list][inside], line)
    end
  end
  return list
end

local function prompt_of(line)
  for _, prompt in ipairs(PROMPTS) do
    if line:sub(1, #prompt) == prompt then return prompt end
  end
  return line:match "^ +%.%. "
end

local function is_keys(line)
  return line:find "^<%a" ~= nil
end

-- Splits "te<Tab>«xt»more" into { { text = "te" }, { key = "Tab" }, { shown = "xt" }, { text = "more" } }.
local function segments_of(line)
  local list = {}
  local marked = line:gsub("<(%a[%w%-]*)>", "\0k%1\0t"):gsub("«(.-)»", "\0s%1\0t")
  for kind, text in ("\0t" .. marked):gmatch "%z(.)([^%z]*)" do
    if kind == "k" then list[#list + 1] = { key = KEYS[text] or text }
    elseif kind == "s" then list[#list + 1] = { shown = text }
    elseif text ~= "" then list[#list + 1] = { text = text } end
  end
  return list
end

local function pattern_of(line)
  return (line:gsub("%p", "%%%0"):gsub("%%?\xe2%%?\x80%%?\xa6", "[^\n]-"))
end

local Player = {}
Player.__index = Player

--- Waits for text behind `from`, or behind what has been seen. Where it ends.
local function await(self, what, plain, name, from)
  self.screen:wait_for(function(text)
    text = "\n" .. text -- so that each line begins behind a line feed
    local at = math.min(from or self.at, #text)
    local _, last = text:find(what, at, plain)
    if last then self.found = last end
    return last ~= nil
  end, { all = true, name = name })
  return self.found
end

local function send(self, line, at_prompt)
  local segments = segments_of(line)
  for _, one in ipairs(segments) do
    if one.text then self.screen:type(one.text) end
    local shown = one.text or one.shown or at_prompt and one.key == "C-c" and "^C"
    -- a blank at the end of a row is not seen
    if one.key then self.screen:keys(one.key) end
    if shown then self.at = await(self, shown:match "^(.-)%s*$", true, "what was typed: " .. shown) end
  end
  if #segments == 0 or not segments[#segments].key then self.screen:keys "Enter" end
end

local function ready(self, prompt)
  local wanted = "\n" .. prompt:gsub("%s+$", ""):gsub("%p", "%%%0") .. "\n$"
  self.at = await(self, wanted, false, ("the prompt %q"):format(prompt)) - 1
end

local function expect(self, line)
  if line == "…" then return end
  local last = await(self, "\n" .. pattern_of(line) .. "%f[\n]", false, ("the line %q"):format(line),
    self.any_order and 1 or nil)
  if not self.any_order then self.at = last end
end

local function paste(self, lines, i)
  local text = {}
  while not is_keys(lines[i]) do
    text[#text + 1] = lines[i]
    i = i + 1
  end
  self.screen:paste(table.concat(text, "\n"))
  return i
end

--- Plays lines on a screen. options: any_order: expected lines may come in any order, before what is typed as well.
function transcript.play(screen, lines, options)
  local self = setmetatable({ screen = screen, at = 1, any_order = options and options.any_order }, Player)
  local i = 1
  while i <= #lines do
    local line = lines[i]
    local prompt = prompt_of(line)
    if prompt then
      ready(self, prompt)
      line = line:sub(#prompt + 1)
    end
    if line == "<Paste>" then
      i = paste(self, lines, i + 1)
    else
      if line == "<Ctrl-C>" then screen:wait_running() end
      if prompt or is_keys(line) then send(self, line, prompt) else expect(self, line) end
      i = i + 1
    end
  end
end

return transcript
