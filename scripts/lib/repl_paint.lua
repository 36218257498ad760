-- repl_paint.lua - colours for the prompt's answers.  -- internal
--
-- Pure.  Takes text that is escaped already and puts colour sequences around parts of it.  Callers ask for it only
-- where colour is wanted; no width is measured after it.

local paint = {}

local function wrap(code)
  local open <const>, shut <const> = "\27[" .. code .. "m", "\27[0m"
  return function(text) return open .. text .. shut end
end

paint.head = wrap "1"
paint.faint = wrap "2"
paint.bad = wrap "1;31"
paint.text = wrap "32"
paint.money = wrap "36"
paint.number = wrap "33"
paint.word = wrap "35"

-- What inspect writes reads like Lua: the first pattern that fits at a place decides.
local PIECES <const> = {
  { "^%-?%d[%d%.]* [A-Z][A-Z0-9]+", paint.money },
  { "^%-?%d[%w%.]*[+-]?%d*", paint.number },
  { "^[%a_][%w_]*", function(word)
    if word == "true" or word == "false" or word == "nil" then return paint.word(word) end
    return word
  end },
}

-- The end of the string that begins at that place; escaped quotes belong to it.
local function string_end(text, from)
  local at = from + 1
  while true do
    local stop = text:find('["\\]', at)
    if not stop then return #text end
    if text:byte(stop) == 34 then return stop end
    at = stop + 2
  end
end

--- Text as of inspect with its strings, numbers, amounts and words in colour.
function paint.lua(text)
  local out, at = {}, 1
  while at <= #text do
    local stop, colour
    if text:byte(at) == 34 then
      stop, colour = string_end(text, at), paint.text
    else
      for _, piece in ipairs(PIECES) do
        local _, last = text:find(piece[1], at)
        if last then
          stop, colour = last, piece[2]
          break
        end
      end
    end
    stop = stop or text:find('["%w_-]', at + 1) and text:find('["%w_-]', at + 1) - 1 or #text
    local part = text:sub(at, stop)
    out[#out + 1] = colour and colour(part) or part
    at = stop + 1
  end
  return table.concat(out)
end

return paint
