"""One PDF of the built book: each page printed by Chromium, put together with a title, contents and bookmarks."""

import io
import re
import shutil
from contextlib import contextmanager
from html import escape
from pathlib import Path

import yaml

from mulib import __version__
from mulib.errors import InputError
from mulib.files import replace

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAPER = {"format": "A4", "print_background": True}
MARGIN = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
QUIET = "<span></span>"
NUMBER = '<div style="width:100%;text-align:center;font-size:9px"><span class="pageNumber"></span></div>'
WAIT = 1500  # ms, until formulas are set and controls stand
# Every control as it stands, every fold open but those of code that a page hides, and no site around the page.
STATIC = """
.tag_hide-input details.above-input { display: none }
.bd-header-article, .prev-next-footer, .bd-footer, .pst-skip-link, #pst-back-to-top, .headerlink { display: none }
figure, img, svg, .mulib-control, mjx-container[display=true] { break-inside: avoid !important; max-height: 245mm }
"""


def write(root, out, html=None):
    """Write the built book in `html` (by default root/_build/html) as one PDF to `out`; return its number of pages.

    Raises:
        InputError: the book is not built, there is no Chromium, or pypdf is missing.
    """
    root = Path(root)
    html = (Path(html) if html else root / "_build" / "html").resolve()
    pages = contents(root)
    if missing := [page for page, _ in pages if not (html / f"{page}.html").is_file()]:
        raise InputError(f"{html} has no page {missing[0]}: build the book first, with `make book`.")
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    with _chromium() as browser:
        parts = [_printed(browser, html, page) for page, _ in pages]
        titles = [(title, len(part.pages)) for (_, title), part in zip(pages, parts, strict=True)]
        front = 1
        for _ in range(2):  # the contents' own length moves what they name
            head = _sheet(browser, _contents(config, titles, front))
            front = len(head.pages)
        total = front + sum(length for _, length in titles)
        numbers = _sheet(browser, '<p style="break-after:page">&nbsp;</p>' * total, NUMBER)
    merged = _merge(head, parts, [title for title, _ in titles], numbers, html, [page for page, _ in pages])
    merged.add_metadata({"/Title": config["title"], "/Author": config["author"]})
    buffer = io.BytesIO()
    merged.write(buffer)
    replace(out, buffer.getvalue())
    return total


def contents(root):
    """Return (page, title) of the book's pages in order, from _toc.yml and each page's first heading."""
    toc = yaml.safe_load((Path(root) / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"], *(each["file"] for part in toc.get("parts", ()) for each in part["chapters"])]
    return [(page, _title(Path(root) / page)) for page in pages]


def _title(path):
    import nbformat

    book = path.with_suffix(".ipynb")
    text = nbformat.read(book, 4).cells[0].source if book.is_file() else path.with_suffix(".md").read_text("utf-8")
    found = re.search(r"^# +(.+)$", text, re.M)
    return found[1] if found else path.name


@contextmanager
def _chromium():
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise InputError(f"a PDF needs Chromium, and none of {', '.join(BROWSERS)} is here: install one.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def _printed(browser, html, page):
    """Return a page of the book as pypdf reads it."""
    tab = browser.new_page(color_scheme="light")
    tab.set_default_timeout(300_000)  # a busy machine takes its time; it is no error
    tab.goto((html / f"{page}.html").as_uri())
    tab.add_style_tag(content=STATIC)
    tab.evaluate("document.querySelectorAll('details:not(.above-input)').forEach(each => { each.open = true })")
    tab.evaluate("document.querySelectorAll('img[loading]').forEach(each => { each.loading = 'eager' })")
    tab.wait_for_timeout(WAIT)
    return _pdf(tab)


def _sheet(browser, body, footer=QUIET):
    tab = browser.new_page()
    tab.set_content(f"<style>body {{ font: 12pt/1.5 system-ui }} td:last-child {{ text-align: right }}</style>{body}")
    return _pdf(tab, footer)


def _pdf(tab, footer=QUIET):
    from pypdf import PdfReader

    made = tab.pdf(**PAPER, margin=MARGIN, display_header_footer=True, header_template=QUIET, footer_template=footer)
    tab.close()
    return PdfReader(io.BytesIO(made))


def _contents(config, titles, front):
    """The title page and the contents as HTML: the number of each title's first page, after `front` pages of these."""
    rows, at = [], front + 1
    for title, length in titles:
        rows.append(f"<tr><td>{escape(title)}</td><td>{at}</td></tr>")
        at += length
    head = f"<h1 style='margin-top:80mm;font-size:34pt'>{escape(config['title'])}</h1>"
    head += f"<p>{escape(config['author'])}<br>version {__version__}, {config['copyright']}</p>"
    head += "<p>Code under the MIT licence, text and figures under CC BY 4.0.</p>"
    return f"{head}<h2 style='break-before:page'>Contents</h2><table style='width:100%'>{''.join(rows)}</table>"


def _merge(head, parts, titles, numbers, html, names):
    """All parts in one writer: numbered pages, a bookmark a title, links between pages of the book inside the file."""
    from pypdf import PdfWriter
    from pypdf.generic import ArrayObject, NameObject

    merged, starts = PdfWriter(), {}
    merged.append(head, import_outline=False)
    for name, title, part in zip(names, titles, parts, strict=True):
        starts[(html / f"{name}.html").as_uri()] = len(merged.pages)
        merged.append(part, outline_item=title, import_outline=False)
    for number, page in enumerate(merged.pages):
        if number:
            page.merge_page(numbers.pages[number])
        for link in page.get("/Annots", ()):
            link = link.get_object()
            address = str(link.get("/A", {}).get("/URI", "")).partition("#")[0]
            if address in starts:
                del link[NameObject("/A")]
                target = merged.pages[starts[address]].indirect_reference
                link[NameObject("/Dest")] = ArrayObject([target, NameObject("/Fit")])
            elif address.startswith(html.as_uri()):  # what is no page, such as slides, is not in this file
                del link[NameObject("/A")]
    merged.compress_identical_objects()
    return merged
