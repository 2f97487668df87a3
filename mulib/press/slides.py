"""Slides: a deck per chapter for reveal.js, from the executed notebook, for use without a network.

A deck has the title with the goals, the finding, then predictions to make and figures with their captions, then what to
remember: at most ten slides.
"""

import base64
import re
from html import escape
from pathlib import Path

import nbformat

from mulib.errors import InputError
from mulib.files import replace
from mulib.press.chapters import Writer, chapter
from mulib.press.faults import alt_text, pictures
from mulib.press.runs import find_notebooks, staged

MOST = 10  # slides of a deck
_BOX = re.compile(
    r"^(?P<mark>`{3,})\{admonition\} (?P<title>Predict|Finding)[ \t]*\n"
    r"(?:[ \t]*:[^\n]*\n)*(?P<body>.*?)^(?P=mark)[ \t]*$",
    re.M | re.S,
)
_NAMED = re.compile(r"\{numref\}`(?:[^`<]*<)?([^`>]+)>?`")
_HEADING = re.compile(r"^## +(.+)$", re.M)
_GOALS = re.compile(r"^\*\*Goals\.\*\*.*?(?=^\*\*|^`{3})", re.M | re.S)
_REMEMBER = re.compile(r"^## You have.*?(?=^## |^\*\*|\Z)", re.M | re.S)
_FIRST = re.compile(r"\A# (.+)\n*(.*)")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="stylesheet" href="{vendor}/reveal.css"><link rel="stylesheet" href="{vendor}/white-contrast.css">
<style>
.reveal {{ font: 34px/1.35 system-ui, sans-serif; }}
.reveal h1 {{ font: 600 64px/1.2 system-ui; }} .reveal h2 {{ font: 600 46px/1.2 system-ui; }}
.reveal section {{ text-align: left; }} .reveal :is(h1, h2) {{ text-transform: none; }}
.reveal p, .reveal li {{ margin: 0.4em 0; }}
.reveal img {{ display: block; max-height: 440px; max-width: 100%; margin: 0.3em auto; }}
.reveal blockquote {{ width: auto; margin: 0; padding: 0.2em 0.8em; font-style: normal; }}
</style>
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
<script>window.MathJax = {{ svg: {{ fontCache: "none" }} }};</script>
<script src="{vendor}/tex-svg.js"></script>
<script src="{vendor}/reveal.js"></script>
<script>Reveal.initialize({{ width: 1280, height: 720, margin: 0.05, hash: true, slideNumber: "c/t" }});</script>
</body>
</html>
"""


def write(root, out, names=(), vendor="../_static/vendor"):
    """Write `out`/STEM.html for the chapters `names` (all by default), in a book's folder `slides`; return the files.

    Raises:
        InputError: a chapter that was not executed.
    """
    files = []
    for path in find_notebooks(root, names):
        if not staged(root, path.stem).is_file():
            raise InputError(f"{path.stem} has not been executed, and slides show its figures: run `mulib run` first.")
        made, executed = chapter(root, path), nbformat.read(staged(root, path.stem), 4)
        slides = deck(made, executed)
        body = "\n".join(f"<section>\n{slide}\n</section>" for slide in slides)
        title = escape(_opening(executed)[0])
        files.append(Path(out) / f"{path.stem}.html")
        replace(files[-1], PAGE.format(title=title, vendor=vendor, slides=body).encode())
    return files


def deck(chapter, executed):
    """Return the slides of a Chapter as HTML, from its executed notebook (nbformat node)."""
    writer, heading, middle, figures = Writer(chapter, "student"), "", [], {}
    text = "\n\n".join(cell.source for cell in executed.cells if cell.cell_type == "markdown")
    for cell in executed.cells:
        if cell.cell_type == "markdown":
            heading = next(iter(_HEADING.findall(cell.source)[-1:]), heading)
            if heading.startswith("Exercises"):
                break
            boxes = [box[0] for box in _BOX.finditer(cell.source) if box["title"] == "Predict"]
            middle += [f"<h2>{_html(heading)}</h2>\n{_html(writer.markdown(each))}" for each in boxes]
        elif figure := cell.metadata.get("mystnb", {}).get("figure", {}):
            drawn = [_figure(writer, heading, figure.get("caption", ""), cell, each) for each in pictures(cell)]
            figures |= {figure.get("name"): drawn[0]} if drawn else {}
            middle += drawn
    first, said = _opening(executed)
    goals, remember = _GOALS.search(text), _REMEMBER.search(text)
    finding = next((box["body"] for box in _BOX.finditer(text) if box["title"] == "Finding"), "")
    run = f"<p><small>Numbers and figures: {_html(chapter.run)}.</small></p>" if chapter.run else ""
    begin = [f"<h1>{_html(first)}</h1>\n{_html(writer.markdown(goals[0] if goals else said))}{run}"]
    end = [f"<h2>Finding</h2>\n{_html(writer.markdown(finding))}"] if finding else []  # after what asks to predict it
    end += [_html(writer.markdown(remember[0]))] if remember else []
    room = MOST - len(begin) - len(end)
    if len(middle) > room:  # what the finding speaks of stays; else the first come first
        kept = [figures[name] for name in _NAMED.findall(finding) if name in figures]
        others = [each for each in middle if each not in kept][: room - len(kept)]
        middle = [each for each in middle if each in kept or each in others]
    return [*begin, *middle, *end]


def _opening(executed):
    """The title of a notebook and the line after it."""
    found = _FIRST.match(executed.cells[0].source)
    return found.groups() if found else ("", "")


def _figure(writer, heading, caption, cell, output):
    kind = next(mime for mime in output.data if mime.startswith("image/"))
    data = output.data[kind]
    data = base64.b64encode(data.encode()).decode() if kind == "image/svg+xml" else data.strip()
    shown = f'<img src="data:{kind};base64,{data}" alt="{escape(alt_text(cell, output), quote=True)}">'
    return f"<h2>{_html(heading)}</h2>\n{shown}\n{_html(writer.markdown(caption))}"


def _html(text):
    """Markdown as HTML; mathematics as MathJax reads it; one line without a paragraph around it."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(content, options):
        left, right = ("\\[", "\\]") if options["display_mode"] else ("\\(", "\\)")
        return f"{left}{escape(content)}{right}"

    reader = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, allow_digits=False, renderer=formula)
    return (reader.render if "\n" in text.strip() or len(text) > 80 else reader.renderInline)(text).strip()
