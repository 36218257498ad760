# embed.awk - turns text files into one C table: `const struct embedded_file TABLE[]`, with -v table=TABLE; they
# are named in the order of their paths.
# Run with LC_ALL=C, so that a character is a byte; each source line becomes one string literal.
function quote(s,    out, i, c) { # by character: what a backslash means in gsub differs between awks
  for (i = 1; i <= length(s); i++) {
    c = substr(s, i, 1)
    if (c == "\\" || c == "\"" || c == "?") out = out "\\" c
    else if (c == "\t") out = out "\\t"
    else out = out c
  }
  return out
}
BEGIN { print "#include \"host/embedded.h\"\n" }
FNR == 1 {
  if (n) print ";"
  printf "static const char file_%d[] =", ++n
  name[n] = FILENAME
}
{ printf "\n    \"%s\\n\"", quote($0) }
END {
  if (n) print ";"
  print "\nconst struct embedded_file " table "[] = {"
  for (i = 1; i <= n; i++) printf "    {\"%s\", file_%d, sizeof file_%d - 1},\n", name[i], i, i
  print "    {0, 0, 0},\n};\nconst size_t " table "_count = " n ";"
}
