# SPDX-License-Identifier: Apache-2.0
# Makes an SVG of a text. Time runs from top to bottom, and each party has a lane. The text has a line for each thing:
#
#   title TEXT            what the picture shows
#   width PIXELS          from lane to lane (default 190)
#   lane NAME TEXT        a party, from left to right
#   NAME -> NAME: TEXT    a message from lane to lane; --> an answer
#   NAME: TEXT            what a party does
#   == TEXT               another part begins
#   row NAME: TEXT || ... boxes side by side, in place of lanes; "-" leaves a place free
#   use NAME NAME         an arrow from the first box to the second
#   # ...                 left out
#
# " | " in a text begins a new line of it.

function escape(text) {
  gsub(/&/, "\\&amp;", text)
  gsub(/</, "\\&lt;", text)
  gsub(/>/, "\\&gt;", text)
  return text
}
function say(text) { body = body text "\n" }
# Draws lines of text, the first at height `top`, centred at `x`; gives how many there are.
function write(text, x, top, class, lines, count, i) {
  count = split(text, lines, / \| /)
  for (i = 1; i <= count; i++)
    say(sprintf("<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>", x, top + 15 * (i - 1), class, escape(lines[i])))
  return count
}
function longest(text, lines, count, i, most) {
  count = split(text, lines, / \| /)
  for (i = 1; i <= count; i++) if (length(lines[i]) > most) most = length(lines[i])
  return most
}
function fail(what) {
  print FILENAME ":" FNR ": " what > "/dev/stderr"
  failed = 1
  exit 1
}
function x_of(name) {
  if (!(name in place)) fail("there is no lane " name)
  return margin + (place[name] - 1) * step
}
# Splits "NAME: TEXT" or "NAME -> NAME: TEXT" at its first colon.
function after_colon(line) { return substr(line, index(line, ": ") + 2) }

# Boxes of one row, centred; "-" is a free place.
function draw_row(line, boxes, count, i, x, name) {
  count = split(line, boxes, / \|\| /)
  for (i = 1; i <= count; i++) {
    if (boxes[i] == "-") continue
    x = middle + (i - 1 - count / 2) * (step + 16) + 8
    name = substr(boxes[i], 1, index(boxes[i], ": ") - 1)
    left[name] = x
    top[name] = y
    say(sprintf("<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"42\" class=\"does\"/>", x, y, step))
    say(sprintf("<text x=\"%d\" y=\"%d\" class=\"lane\">%s</text>", x + step / 2, y + 17, escape(name)))
    write(after_colon(boxes[i]), x + step / 2, y + 34, "step")
  }
  y += 66
}
# An arrow from box to box: as steep as it can be.
function draw_use(from, to, x, end) {
  if (!(from in left) || !(to in left)) fail("there is no row with " from " and " to)
  x = end = left[from] + step / 2
  if (end < left[to] + 20) end = left[to] + 20
  if (end > left[to] + step - 20) end = left[to] + step - 20
  say(sprintf("<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" marker-end=\"url(#head)\"/>", x, top[from] + 42, end, top[to]))
}

BEGIN { step = 190; margin = 100; y = 96 }
/^#/ || /^$/ { next }
$1 == "title" { title = substr($0, 7); next }
$1 == "width" { step = $2; margin = $2 / 2 + 10; next }
$1 == "lane" {
  lanes++
  place[$2] = lanes
  label[lanes] = substr($0, length($1 $2) + 3)
  next
}
$1 == "row" {
  if (!rows++) {
    y = 44
    middle = 1.5 * (step + 16) + 20
  }
  draw_row(substr($0, 5))
  next
}
$1 == "use" { draw_use($2, $3); next }
$1 == "==" {
  y += 12
  say(sprintf("<line x1=\"10\" y1=\"%d\" x2=\"@RIGHT@\" y2=\"%d\" class=\"part\"/>", y, y))
  say(sprintf("<text x=\"14\" y=\"%d\" class=\"name\">%s</text>", y + 15, escape(substr($0, 4))))
  y += 34
  next
}
$2 == "->" || $2 == "-->" {
  to = $3
  sub(/:$/, "", to)
  text = after_colon($0)
  from_x = x_of($1)
  to_x = x_of(to)
  count = write(text, (from_x + to_x) / 2, y, "message")
  y += 15 * count - 8
  say(sprintf("<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"%s\" marker-end=\"url(#head)\"/>", from_x, y,
              to_x + (to_x > from_x ? -2 : 2), y, $2 == "->" ? "call" : "answer"))
  y += 24
  next
}
$1 ~ /:$/ {
  name = $1
  sub(/:$/, "", name)
  text = after_colon($0)
  wide = longest(text) * 7 + 16
  count = split(text, unused, / \| /)
  say(sprintf("<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" class=\"does\"/>", x_of(name) - wide / 2, y - 14, wide,
              15 * count + 6))
  write(text, x_of(name), y, "step")
  y += 15 * count + 16
  next
}
{ fail("not understood: " $0) }

END {
  if (failed) exit 1
  right = rows ? 2 * middle : 2 * margin + (lanes - 1) * step
  height = y + 10
  print "<!-- made by scripts/pictures.sh from the text of the same name; SPDX-License-Identifier: Apache-2.0 -->"
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n", right, height,
    right, height
  printf "<title>%s</title>\n", escape(title)
  print "<style>text{font:12px sans-serif;fill:#222}.step{text-anchor:middle}.message{text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:4px}.lane{text-anchor:middle;font-weight:bold}" \
    ".name{font-weight:bold}.title{font:bold 15px sans-serif}line{stroke:#444}.life{stroke:#bbb}.part{stroke:#bbb;" \
    "stroke-dasharray:2 3}.answer{stroke-dasharray:6 4}.does{fill:#eef3fa;stroke:#9ab}.head{fill:#fff;stroke:#444}</style>"
  print "<defs><marker id=\"head\" markerWidth=\"9\" markerHeight=\"8\" refX=\"8\" refY=\"4\" orient=\"auto\">" \
    "<path d=\"M0,0 L9,4 L0,8 z\" fill=\"#444\"/></marker></defs>"
  printf "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", right, height
  printf "<text x=\"14\" y=\"24\" class=\"title\">%s</text>\n", escape(title)
  for (i = 1; i <= lanes; i++) {
    x = margin + (i - 1) * step
    printf "<line x1=\"%d\" y1=\"72\" x2=\"%d\" y2=\"%d\" class=\"life\"/>\n", x, x, y
    wide = length(label[i]) * 7.8 + 20
    printf "<rect x=\"%d\" y=\"42\" width=\"%d\" height=\"28\" class=\"head\"/>\n", x - wide / 2, wide
    printf "<text x=\"%d\" y=\"60\" class=\"lane\">%s</text>\n", x, escape(label[i])
  }
  gsub(/@RIGHT@/, right - 10, body)
  printf "%s", body
  print "</svg>"
}
