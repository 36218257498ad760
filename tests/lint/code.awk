# code.awk - C without its comments, strings and character constants, line for line.
# Usage: awk -f code.awk FILE…    prints "file:line:code" for each line that has code left.
# With -v prefix=0 it prints the bare code of every line.
BEGIN { if (prefix == "") prefix = 1 }
FNR == 1 { in_comment = 0 }
{
  out = ""
  line = $0
  while (line != "") {
    if (in_comment) {
      at = index(line, "*/")
      if (!at) { line = ""; break }
      line = substr(line, at + 2)
      in_comment = 0
      continue
    }
    if (!match(line, /\/\*|\/\/|"|'/)) { out = out line; break }
    found = substr(line, RSTART, RLENGTH)
    out = out substr(line, 1, RSTART - 1)
    line = substr(line, RSTART + RLENGTH)
    if (found == "//") { line = ""; break }
    if (found == "/*") { in_comment = 1; out = out " "; continue }
    # an include keeps its file name; any other literal becomes an empty one
    literal = ""
    while (line != "") {
      c = substr(line, 1, 1)
      if (c == "\\") { literal = literal substr(line, 1, 2); line = substr(line, 3); continue }
      line = substr(line, 2)
      if (c == found) break
      literal = literal c
    }
    out = out found (out ~ /^[ \t]*#[ \t]*include/ ? literal : "") found
  }
  if (!prefix) print out
  else if (out ~ /[^ \t]/) print FILENAME ":" FNR ":" out
}
