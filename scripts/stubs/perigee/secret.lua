---@meta perigee.secret

---A value that is used but never shown. See docs/secret.md.
---@class perigee.secret: userdata
local value = {}

---The text, for the place where it goes out.
---@return string
function value:reveal() end

---@class perigee.secret.module
local secret = {}

---The variable NAME, or the file that NAME_FILE names.
---@param name string
---@return perigee.secret
function secret.env(name) end

---@param path string a file with mode 600
---@return perigee.secret
function secret.file(path) end

---@param text string|perigee.secret
---@return perigee.secret
function secret.of(text) end

---@param value any
---@return boolean
function secret.is(value) end

---What systemd hands to the service under that name (LoadCredential=).
---@param name string
---@return perigee.secret
function secret.credential(name) end

---Where it comes from: "env:NAME", "file:/path", "credential:name"; nil for one made by secret.of.
---@param value perigee.secret
---@return string?
function secret.source(value) end

---The secret that is there now.
---@param source string
---@return perigee.secret
function secret.from(source) end

return secret
