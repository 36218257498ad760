---@meta

---Opens a prompt on the terminal, with the locals of this place; returns when it is left with Ctrl-D.
---Raises kind `unavailable` (code no_terminal) where nobody could type. See docs/repl.md.
function repl() end -- luacheck: ignore 111
