-- perigee.command_repl: `perigee repl`.  -- internal

return require "perigee.repl"
