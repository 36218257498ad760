# embed.awk - turns Lua files into one C table: `const struct embedded_file embedded_files[]`.
# Run with LC_ALL=C, so that a character is a byte; each source line becomes one string literal.
function quote(s,    out, i, c) {
  gsub(/\\/, "\\\\", s)
  gsub(/"/, "\\\"", s)
  gsub(/\?/, "\\?", s)
  gsub(/\t/, "\\t", s)
  return s
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
  print "\nconst struct embedded_file embedded_files[] = {"
  for (i = 1; i <= n; i++) printf "    {\"%s\", file_%d, sizeof file_%d - 1},\n", name[i], i, i
  print "    {0, 0, 0},\n};"
}
