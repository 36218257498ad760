-- Lua 5.4 and nothing else; a line is as long as in C.
std = "lua54"
max_line_length = 140
unused_args = false -- an interface names its arguments also where one implementation does not use them
files["tests"] = {
  std = "+busted",
  ignore = { "512" }, -- a loop that is left at once is how a spec leaves an iterator early
}
files["scripts/stubs"] = {
  ignore = { "2..", "4.." }, -- stubs declare; nothing in them runs
}
files["scripts/lib/prelude.lua"] = {
  ignore = { "121", "122" }, -- its purpose is to replace functions of the standard library
}
files["scripts/lib/prelude_closed.lua"] = {
  ignore = { "121", "122" }, -- the same, for VMs that may only look
}
files["scripts/lib/console_host.lua"] = {
  ignore = { "121", "122" }, -- it closes what lines may not use
}
files["scripts/lib/run.lua"] = {
  globals = { "arg" }, -- it is who sets the script's arguments
}
