"""The report's HTML: small pieces, one style sheet, nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import math
import struct
from typing import Iterable, Sequence

# Figures are drawn finer than they are shown, for sharp screens and print.
_PIXELS_PER_PIXEL = 1.5

_STYLE = """
:root { --ink: #1c1f23; --soft: #5b6470; --line: #e3e6ea; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 16px/1.6 "Source Sans 3", "Segoe UI", system-ui, -apple-system,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .4rem;
  letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3.2rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2.2rem 0 .2rem; }
p { max-width: 44rem; margin: .5rem 0; }
.lead { font-size: 1.12rem; color: var(--soft); }
.note { color: var(--soft); font-size: .9rem; }
a { color: var(--accent); }
nav { margin: 1.4rem 0 0; font-size: .95rem; }
nav a { margin-right: 1.1rem; text-decoration: none; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.6rem 0; }
.tile { flex: 1 1 11rem; border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; }
.tile span { color: var(--soft); font-size: .88rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .55rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); border-bottom-color: #b8bec6;
  white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.ours td { background: #f0f7fc; font-weight: 600; }
tr.group td { color: var(--soft); font-weight: 600; padding-top: 1rem; }
figure { margin: 1rem 0 2rem; }
figure img, video { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .92rem; max-width: 44rem;
  margin-top: .3rem; }
.films { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.films figure { flex: 0 1 20rem; margin: .5rem 0; }
video { border-radius: 6px; width: 100%; background: #000; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: #f6f7f9; padding: .9rem; border-radius: 6px;
  overflow-x: auto; font-size: .8rem; line-height: 1.45; }
code { font-size: .88em; background: #f3f4f6; padding: .1em .3em;
  border-radius: 3px; }
@media print { nav, video { display: none; } h2 { break-after: avoid; }
  figure { break-inside: avoid; } }
"""


def page(title: str, body: Iterable[str]) -> str:
  """A whole page.

  Args:
    title: of the window.
    body: pieces of HTML.

  Returns:
    HTML that needs no other file.
  """
  return (
      '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
      '<meta name="viewport" content="width=device-width, initial-scale=1">'
      f'<title>{escape(title)}</title><style>{_STYLE}</style></head>\n'
      f'<body><main>\n{chr(10).join(body)}\n</main></body></html>\n'
  )


def escape(text: object) -> str:
  """Text as HTML."""
  return html.escape(str(text))


def heading(text: str, anchor: str) -> str:
  """A section's heading, to be jumped to."""
  return f'<h2 id="{anchor}">{escape(text)}</h2>'


def paragraph(text: str, kind: str = '') -> str:
  """A paragraph of HTML; `kind` is a class of the style sheet."""
  return f'<p class="{kind}">{text}</p>' if kind else f'<p>{text}</p>'


def tiles(entries: Iterable[tuple[str, str]]) -> str:
  """Large numbers, each with what it is."""
  body = ''.join(
      f'<div class="tile"><b>{escape(value)}</b>'
      f'<span>{escape(name)}</span></div>' for value, name in entries
  )
  return f'<div class="tiles">{body}</div>'


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]],
    ours: Iterable[int] = (),
) -> str:
  """A table; a row of one cell is a sub-heading.

  Args:
    header: of the columns.
    rows: texts.
    ours: numbers of the rows to stress.

  Returns:
    HTML.
  """
  stressed = set(ours)
  lines = []
  for number, row in enumerate(rows):
    if len(row) == 1:
      lines.append(
          f'<tr class="group"><td colspan="{len(header)}">{escape(row[0])}'
          '</td></tr>'
      )
      continue
    kind = ' class="ours"' if number in stressed else ''
    cells = ''.join(f'<td>{escape(cell)}</td>' for cell in row)
    lines.append(f'<tr{kind}>{cells}</tr>')
  head = ''.join(f'<th>{escape(name)}</th>' for name in header)
  return (
      f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>'
      f'{"".join(lines)}</tbody></table></div>'
  )


def image(path: str, title: str, caption: str) -> str:
  """A picture from a PNG file, held in the page itself."""
  return (
      f'<h3>{escape(title)}</h3><figure><img alt="{escape(title)}" '
      f'style="width: {_shown_width(path)}px" '
      f'src="data:image/png;base64,{_base64(path)}">'
      f'<figcaption>{escape(caption)}</figcaption></figure>'
  )


def video(path: str, caption: str) -> str:
  """A film from an MP4 file, held in the page itself."""
  return (
      '<figure><video controls loop muted playsinline preload="metadata" '
      f'src="data:video/mp4;base64,{_base64(path)}"></video>'
      f'<figcaption>{escape(caption)}</figcaption></figure>'
  )


def details(summary: str, body: str) -> str:
  """HTML that unfolds on a click."""
  return f'<details><summary>{escape(summary)}</summary>{body}</details>'


def verbatim(text: str) -> str:
  """Text with its line breaks, e.g. a config."""
  return f'<pre>{escape(text)}</pre>'


def _shown_width(path: str) -> int:
  """Width of a PNG on the page, so that all figures' letters are as large."""
  with open(path, 'rb') as file:
    width, = struct.unpack('>I', file.read(20)[16:])
  return round(width / _PIXELS_PER_PIXEL)


def left_out(what: str, why: str) -> str:
  """A note in place of something that is missing."""
  return paragraph(f'{escape(what)}: {escape(why)}.', 'note')


def _base64(path: str) -> str:
  with open(path, 'rb') as file:
    return base64.b64encode(file.read()).decode('ascii')


def share(value: float) -> str:
  """A share as a percentage; a dash for NaN."""
  return '–' if math.isnan(value) else f'{100 * value:.1f}%'


def number(value: float) -> str:
  """A number to three digits; a dash for NaN."""
  return '–' if math.isnan(value) else f'{value:.3g}'
