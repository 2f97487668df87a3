"""Sphinx extension: show notebooks/X.ipynb with the outputs of its executed twin, _executed/notebooks/X.ipynb.

The words of a page are those of the clean notebook, the outputs those of the run; a verdict that a run in a smaller
setting gave is shown in the words of a smaller setting. A twin that is missing, or that was executed from other code or
another mulib, fails the build: no page shows what its code does not give. What a page gives to download is the student
edition.
"""

import sys
from pathlib import Path

import nbformat
from sphinx.errors import ExtensionError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the mulib of this project, installed or not

from mulib import InputError
from mulib.files import replace
from mulib.press import chapters, editions, slides
from mulib.press.faults import alt_text, pictures
from mulib.press.record import Record, stale
from mulib.press.runs import staged
from mulib.press.verdicts import SMALLER, lacks
from mulib.show.glue import MIME_PREFIX


def require_twins(app, env, docnames):
    """Raise ExtensionError when a notebook of the book has no executed twin from its present code."""
    pages = [Path(env.doc2path(name)) for name in sorted(env.found_docs)]
    problems = [problem(Path(app.srcdir), page) for page in pages if page.suffix == ".ipynb"]
    if problems := [text for text in problems if text]:
        raise ExtensionError("; ".join(problems))


def problem(root, notebook):
    """Return what keeps a notebook's twin from being shown, in one sentence with the command that mends it, or ""."""
    twin = staged(root, notebook.stem)
    reason = stale(twin, notebook)
    try:
        tier = f" --tier {Record.read(twin.with_suffix('.json')).asked['tier']}"
    except InputError:
        tier = ""
    return reason and f"notebooks/{notebook.name}: {reason}; run `mulib run {notebook.stem}{tier}`"


def show_outputs(app, docname, source):
    """Replace a notebook's source by the same notebook with the outputs of its twin."""
    notebook = Path(app.env.doc2path(docname))
    if notebook.suffix != ".ipynb":
        return
    twin = staged(app.srcdir, notebook.stem)
    app.env.note_dependency(str(twin))  # a new run rebuilds the page
    shown = page(nbformat.reads(source[0], 4), nbformat.read(twin, 4))
    if lacks(app.srcdir, Record.read(twin.with_suffix(".json"))):
        soften(shown)
    source[0] = nbformat.writes(shown)


def page(clean, twin):
    """Return the notebook `clean` with the outputs and the widgets of its executed `twin`."""
    ran = [c for c in twin.cells if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])]
    cells = [cell for cell in clean.cells if cell.cell_type == "code"]
    for cell, executed in zip(cells, ran, strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
        for output in pictures(cell):  # myst-nb reads the alt text from the cell only
            image = cell.metadata.setdefault("mystnb", {}).setdefault("image", {})
            image["alt"] = alt_text(cell, output)
            if width := output.get("metadata", {}).get("image/png", {}).get("width"):  # drawn with twice the pixels
                image["width"] = f"{width}px"
        if "parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
    if "widgets" in twin.metadata:
        clean.metadata["widgets"] = twin.metadata["widgets"]
    return clean


def soften(notebook):
    """Put the words of a smaller setting in the place of the verdicts that an executed notebook glued."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        text = output.get("metadata", {}).get("scrapbook", {}).get("text")
        if text in SMALLER:
            output.data[f"{MIME_PREFIX}text/plain"] = repr(SMALLER[text])


def give_editions(app, exception):
    """Put the student edition in the place of what a page gives to download, and a deck of slides beside the pages."""
    copies = sorted(Path(app.outdir).glob("_sources/notebooks/*.ipynb")) if exception is None else []
    if copies:
        slides.write(app.srcdir, Path(app.outdir) / "slides", [copy.stem for copy in copies])
    for copy in copies:
        chapter = chapters.chapter(app.srcdir, Path(app.srcdir) / "notebooks" / copy.name)
        replace(copy, nbformat.writes(editions.edition(chapter, "student")).encode())


def offer_launch(app, pagename, templatename, context, doctree):
    """Give a chapter's page a menu of Colab, Kaggle and Binder, where _config.yml names the book's public address."""
    project = (
        str(app.config.html_theme_options.get("repository_url") or "").partition("https://github.com/")[2].strip("/")
    )
    if not project or not pagename.startswith("notebooks/"):
        return
    file = f"student/{pagename}.ipynb"
    places = {
        "Colab": f"https://colab.research.google.com/github/{project}/blob/editions/{file}",
        "Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{project}/blob/editions/{file}",
        "Binder": f"https://mybinder.org/v2/gh/{project}/editions?labpath={file}",
    }
    look = {"icon": "fas fa-rocket", "tooltip": "Open the student edition"}
    links = [{"type": "link", "text": name, "url": url, **look} for name, url in places.items()]
    context["header_buttons"].append({"type": "group", "buttons": links, "label": "launch-buttons", **look})


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("html-page-context", offer_launch, priority=900)  # after the theme has made its list
    app.connect("build-finished", give_editions)
    app.connect("env-before-read-docs", require_twins)
    app.connect("source-read", show_outputs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
