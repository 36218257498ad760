---@meta perigee.fs
---Files without stopping other tasks. See docs/fs.md.
---@class perigee.fs.module
local fs = {}

---@class perigee.fs.stat
---@field type "file"|"folder"|"link"|"other"
---@field size integer bytes
---@field mtime number seconds since 1970
---@field mode string octal: "0644"

---The file's bytes. max: in bytes, default 64 MB.
---@param path string
---@param options? {max?: integer}
---@return string
function fs.read(path, options) end

---Replaces the file as one step, or leaves it as it was.
---@param path string
---@param text string
---@param options? {mode?: string}
function fs.write(path, text, options) end

---Adds to the end. sync: returns only when the disk has it.
---@param path string
---@param text string
---@param options? {mode?: string, sync?: boolean}
function fs.append(path, text, options) end

---for line in fs.lines(path) do … end
---@param path string
---@return fun(): string?
function fs.lines(path) end

---nil if nothing is there. follow = false looks at a link itself.
---@param path string
---@param options? {follow?: boolean}
---@return perigee.fs.stat?
function fs.stat(path, options) end

---@param path string
---@return boolean
function fs.exists(path) end

---@param path string
---@return integer bytes
function fs.size(path) end

---The names in a folder, sorted.
---@param path string
---@return string[]
function fs.list(path) end

---Makes the folder and its missing parents; true if it is new.
---@param path string
---@param options? {mode?: string}
---@return boolean
function fs.mkdir(path, options) end

---True if something was there.
---@param path string
---@param options? {recursive?: boolean}
---@return boolean
function fs.remove(path, options) end

---@param from string
---@param to string
function fs.rename(from, to) end

---@param path string
---@return string # 64 hex digits
function fs.sha256(path) end

---@param text string
---@return string # 64 hex digits
function fs.sha256_text(text) end

---The path from the root on; nothing needs to be there.
---@param path string
---@return string
function fs.absolute(path) end

return fs
