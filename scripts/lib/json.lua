-- perigee.json - JSON in which no digit is lost.
--
-- lua-cjson parses; host/jsonscan.c and host/json.c make it strict and exact around it, and host/json_encode.c
-- prints with sorted keys.  This module is the C one as it is: see docs/json.md.

return require "perigee.core.json"
