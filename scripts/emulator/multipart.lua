-- multipart.lua - reads a multipart/form-data body, strictly (RFC 7578).
--
-- Strict, because it is here to find out whether a client writes it right: no preamble, no missing CRLF, no
-- part without a name, no bytes after the end.

local multipart = {}

-- A browser and libcurl write these three characters of a file name as percent escapes.
local function unescape(name)
  return (name:gsub("%%22", '"'):gsub("%%0[dD]", "\r"):gsub("%%0[aA]", "\n"))
end

local function parse_part(text)
  local blank = text:find("\r\n\r\n", 1, true)
  if not blank then
    return nil, "a part without a blank line after its headers"
  end
  local head, body = text:sub(1, blank - 1), text:sub(blank + 4)
  local disposition = ("\r\n" .. head .. "\r\n"):match "\r\n[Cc]ontent%-[Dd]isposition:%s*form%-data;([^\r]*)\r\n"
  local name = disposition and disposition:match '[; ]name="([^"]*)"'
  if not name then
    return nil, "a part without Content-Disposition: form-data; name=…"
  end
  local file_name = disposition:match ' filename="([^"]*)"'
  return { name = name, file_name = file_name and unescape(file_name), body = body }
end

--- The parts as a list of { name, file_name, body }; or nil and what is wrong.
function multipart.parse(content_type, body)
  local parameters = (content_type or ""):match "^multipart/form%-data;%s*(.*)$"
  local boundary = parameters and (parameters:match '^boundary="([^"]+)"$' or parameters:match "^boundary=([^%s;\"]+)$")
  if not boundary then
    return nil, "the content type must be multipart/form-data with a boundary"
  end
  local opening, delimiter = "--" .. boundary, "\r\n--" .. boundary
  if body:sub(1, #opening + 2) ~= opening .. "\r\n" then
    return nil, "the body does not begin with the boundary"
  end
  local parts, from = {}, #opening + 3
  while true do
    local start, stop = body:find(delimiter, from, true)
    if not start then
      return nil, "the closing boundary is missing"
    end
    local part, why = parse_part(body:sub(from, start - 1))
    if not part then
      return nil, why
    end
    parts[#parts + 1] = part
    local after = body:sub(stop + 1, stop + 2)
    if after == "--" then
      local rest = body:sub(stop + 3)
      if rest ~= "" and rest ~= "\r\n" then
        return nil, "bytes after the closing boundary"
      end
      return parts
    elseif after ~= "\r\n" then
      return nil, "a boundary is not followed by CRLF"
    end
    from = stop + 3
  end
end

return multipart
