"""The book is built without a warning, and works in a browser from its files alone, without a network."""

import json
import re
import shutil
import sys
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from projects import BUILD, ROOT, absent, build, code, mulib, notebook, parameters, prose

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from numbering import number_by_chapter

from mulib.press import chapters, editions, paper, slides
from mulib.press.faults import PAGE_BYTES
from mulib.press.verdicts import read_papers

SCREENSHOTS = ROOT / "_build" / "screenshots"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
SLIDER_PAGE = "notebooks/13_measuring_epsilon"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
PAINTED = """new Promise(frame => requestAnimationFrame(() => requestAnimationFrame(frame)))
    .then(() => document.getAnimations().filter(each => each.effect.getComputedTiming().endTime < 1e4))
    .then(short => Promise.all(short.map(each => each.finished.catch(() => 0))))"""
SQUEEZED = """[...document.querySelectorAll('.bd-article img')].filter(i => i.width && i.naturalWidth)
    .filter(i => Math.abs(i.width / i.height * i.naturalHeight / i.naturalWidth - 1) > .05).map(i => i.alt)"""
LOOKS = {"light": ("light", 1280), "dark": ("dark", 1280), "phone": ("light", 390), "dark-phone": ("dark", 390)}
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture(scope="session")
def chromium(html, browser):
    """The browser, where the book's scripts were vendored for use without a network."""
    if not (html / "_static" / "vendor").exists():
        absent("no npm here: the book was not looked at in a browser, offline")
    return browser


@pytest.fixture
def visit(chromium, html):
    """A function that opens a page offline, in a look; what goes wrong in the browser fails the test."""
    wrong, contexts = [], []

    def visit(page, look="light", query=""):
        scheme, width = LOOKS[look]
        size = {"width": width, "height": 900}
        contexts.append(chromium.new_context(color_scheme=scheme, viewport=size, offline=True))
        contexts[-1].set_default_timeout(120_000)
        tab = contexts[-1].new_page()
        tab.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        tab.on("console", lambda line: wrong.append(f"console: {line.text}") if line.type == "error" else None)
        tab.on("request", lambda request: wrong.append(f"request: {request.url}") if _outside(request.url) else None)
        tab.goto((html / f"{page}.html").as_uri() + query)
        tab.wait_for_load_state("load")
        tab.wait_for_timeout(300)  # the widgets' own start
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def _outside(url):
    return not url.startswith(("file:", "data:", "blob:"))


@each_page
def test_a_page_is_light(html, page):
    text = (html / f"{page}.html").read_text()
    pictures = {(html / page).parent / source for source in re.findall(r'<img[^>]*src="([^":]+)"', text)}
    weight = len(text.encode()) + sum(picture.resolve().stat().st_size for picture in pictures)
    assert weight < PAGE_BYTES


@each_page
def test_a_page_names_no_other_host_for_its_scripts(html, page):
    text = (html / f"{page}.html").read_text()
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?://[^"]*"', text) == []


@each_page
def test_a_page_looks_right(visit, page):
    """Opened once, then shown in every look: nothing sticks out to the right, and no picture is without alt text."""
    tab = visit(page)
    assert tab.evaluate("[...document.querySelectorAll('.bd-article img')].filter(i => !i.alt).length") == 0
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for look, (scheme, width) in LOOKS.items():
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 900})
        tab.screenshot(path=SCREENSHOTS / f"{page.replace('/', '.')}.{look}.png", full_page=True)
        width, room = tab.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width <= room, look
        assert tab.evaluate(SQUEEZED) == [], look


@each_page
def test_a_page_meets_wcag_21_aa(visit, axe, page):
    """In light and dark colours, folds open and shut as they come."""
    tab = visit(page)
    tab.evaluate(f"{axe}\n0")
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_timeout(300)
        tab.evaluate(PAINTED)
        found = tab.evaluate(f"axe.run({{runOnly: {WCAG}, resultTypes: ['violations'], preload: false}})")
        assert found["passes"], "nothing was looked at"
        assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found["violations"]] == [], scheme


def test_the_slides_are_few_fit_their_page_and_need_no_network(visit, html):
    decks = sorted(path.stem for path in (html / "slides").glob("*.html"))
    assert decks == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    for stem in decks:
        text = (html / "slides" / f"{stem}.html").read_text()
        assert 2 <= text.count("<section>") <= slides.MOST
        assert text.count("<img") == text.count(' alt="') - text.count(' alt=""')
    tab = visit(f"slides/{decks[0]}")
    assert tab.evaluate("Reveal.getTotalSlides()") >= 4
    high = "[...document.querySelectorAll('section')].map(s => { s.style.display = 'block'; return s.scrollHeight })"
    assert max(tab.evaluate(high)) <= 720


def test_the_book_is_one_pdf(html, browser, tmp_path):
    """Every page in it with a bookmark, the contents' numbers true, and no link to a file of the built book left."""
    pypdf = pytest.importorskip("pypdf")
    out = tmp_path / "book.pdf"
    printed = mulib(html.parents[1], "print", out)  # in a process of its own: one Playwright a process
    assert printed.returncode == 0, printed.stderr
    read = pypdf.PdfReader(out)
    assert out.stat().st_size < 40e6
    assert [mark.title for mark in read.outline] == [title for _, title in paper.contents(ROOT)]
    links = [a.get_object() for page in read.pages for a in page.get("/Annots", ())]
    assert not [a for a in links if "_build/html" in str(a.get("/A", {}).get("/URI", "")) and ".html" in str(a)]
    contents = read.pages[1].extract_text()
    for mark in read.outline:
        assert re.search(rf"\b{read.get_destination_page_number(mark) + 1}\b", contents), mark.title


def test_the_slider_changes_the_picture_by_keyboard(visit):
    tab = visit(SLIDER_PAGE)
    _unfold(tab)
    handle = tab.locator(".mulib-control .noUi-handle").first
    handle.focus()
    seen = [_picture(tab)]
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
        tab.wait_for_timeout(200)
        seen.append(_picture(tab))
    assert len({source for source, _ in seen}) == 3
    assert len({alt for _, alt in seen}) == 3
    assert handle.get_attribute("aria-label")
    assert handle.get_attribute("aria-valuetext")


def test_the_slider_changes_the_picture_by_mouse(visit):
    tab = visit(SLIDER_PAGE, "phone")
    _unfold(tab)
    before = _picture(tab)
    track = tab.locator(".mulib-control .noUi-target").first
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    tab.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
    tab.wait_for_timeout(200)
    assert _picture(tab) != before


def test_the_picker_works_in_the_page(visit):
    """Without a kernel and a network: a click and the arrow keys draw other filters; tests/test_filter_picker.py has
    the rest."""
    tab = visit("notebooks/05_choose_a_filter")
    tab.wait_for_selector(".mulib-fp[data-ready]")
    tab.locator(".group button").first.click()
    seen = []
    for _ in range(3):
        seen.append(tab.evaluate("document.querySelector('.marked canvas').toDataURL()"))
        tab.keyboard.press("ArrowRight")
    assert len(set(seen)) == 3
    assert tab.locator(".group button").count() == 48  # what the kept networks have, in every tier but the paper's


def test_two_menus_choose_the_axes(visit):
    """By keyboard, without a kernel: either menu changes the picture, and each pair has its own."""
    tab = visit("notebooks/14_side_by_side")
    control = tab.locator(".mulib-control").first
    menus, picture = control.locator("select"), control.locator("img:visible").first
    assert menus.count() == 2
    seen = set()
    for up in range(2):
        for across in range(3):
            for menu, index in ((menus.nth(0), up), (menus.nth(1), across)):
                menu.focus()
                tab.keyboard.press("Home")
                for _ in range(index):
                    tab.keyboard.press("ArrowDown")
            tab.wait_for_timeout(150)
            seen.add((picture.get_attribute("src"), picture.get_attribute("alt")))
    assert len({source for source, _ in seen}) == 6
    assert len({alt for _, alt in seen}) == 6


def _unfold(tab):
    """What follows a prompt to predict is folded."""
    tab.evaluate("document.querySelectorAll('.bd-article details').forEach(each => { each.open = true; })")
    tab.wait_for_timeout(300)


def _picture(tab):
    """Return (source, alt text) of the first control's picture."""
    image = tab.locator(".mulib-control:has(.noUi-handle) img").first
    return image.get_attribute("src"), image.get_attribute("alt")


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("notebooks/")])
def test_a_page_opens_with_the_picture_of_its_finding_and_numbers_by_chapter(html, page):
    text = (html / f"{page}.html").read_text()
    number = chapters.number(page.removeprefix("notebooks/"))
    assert f"<h1>{number} · " in text
    assert "<img" in text.partition('class="finding admonition')[2].partition("</div>")[0]
    numbers = re.findall(r'<span class="caption-number">(?:Fig\.|Exercise) ([\w.]+) ?</span>', text)
    assert numbers
    assert all(found.startswith(f"{number}.") for found in numbers)


@pytest.mark.parametrize(("stem", "number"), [("00_a", "0"), ("08b_one_class", "8b"), ("13_measuring_epsilon", "13")])
def test_a_chapters_number_is_that_of_its_file(stem, number):
    assert chapters.number(stem) == number
    counted = SimpleNamespace(toc_fignumbers={f"notebooks/{stem}": {"figure": {"a": (21,), "b": (22,)}}, "book/x": {}})
    number_by_chapter(None, counted)
    assert counted.toc_fignumbers[f"notebooks/{stem}"] == {"figure": {"a": (number, 1), "b": (number, 2)}}


def test_every_attempted_claim_links_to_its_evidence(html):
    text = (html / "book" / "claims.html").read_text()
    claims = [claim for paper in read_papers(ROOT) for claim in paper["claims"]]
    for claim in claims:
        if claim["notebook"] and "evidence" not in claim:
            assert re.search(rf'href="\.\./notebooks/{claim["notebook"]}\.html#[\w-]+"', text), claim["id"]
    assert text.count("<tr") >= len(claims)


@pytest.mark.parametrize("paper", [path.stem for path in (ROOT / "book" / "reported").glob("*.yml")])
def test_a_papers_page_has_its_claims_and_gathers_its_fidelity_notes(html, paper):
    text = (html / "book" / f"paper_{paper}.html").read_text()
    notes = text.partition('id="where-text-and-code-disagree"')[2]
    assert notes.count("Chapter <a") == len(re.findall(r"`{3}\{fidelity-notes\}(.*)", _source(paper))[0].split())
    assert "{glue:text}" not in notes


def _source(paper):
    return (ROOT / "book" / f"paper_{paper}.md").read_text()


def test_mathematics_is_drawn(visit):
    tab = visit(SLIDER_PAGE)
    tab.wait_for_selector("mjx-container svg", state="attached", timeout=60_000)


def test_search_finds_epsilon(visit):
    tab = visit("search", query="?q=epsilon")
    tab.wait_for_selector("#search-results ul.search li", timeout=60_000)
    found = tab.locator("#search-results ul.search li a").evaluate_all("links => links.map(a => a.href)")
    assert any("13_measuring_epsilon" in link for link in found)


def test_the_menu_of_a_phone_opens(visit):
    tab = visit("book/index", "phone")
    tab.locator("button.primary-toggle, label.primary-toggle").first.click()
    tab.wait_for_timeout(500)
    assert tab.get_by_role("link", name="Glossary").first.is_visible()


def test_the_download_is_the_student_edition(html):
    for path in (BUILD / "notebooks").glob("*.ipynb"):
        (given,) = (html / "_sources" / "notebooks").glob(path.name)
        assert given.read_text() == nbformat.writes(editions.edition(chapters.chapter(BUILD, path), "student"))


# What must stop a build, shown on a book of one page


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A book of a start page and one executed notebook, with this book's configuration and extensions."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "notebooks" / "params").mkdir(parents=True)
    for tier in (ROOT / "notebooks" / "params").glob("*.yml"):
        shutil.copy(tier, folder / "notebooks" / "params")
    shutil.copytree(ROOT / "mulib", folder / "mulib", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("_ext", "_static"):
        ignored = shutil.ignore_patterns("__pycache__", "vendor", ".vendor*")
        shutil.copytree(ROOT / "book" / part, folder / "book" / part, ignore=ignored)
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters: [{file: notebooks/one}]\n")
    (folder / "book" / "index.md").write_text("# Small\n\nA page.\n")
    (folder / "book" / "references.bib").write_text("")
    glued = code("from mulib.show import glue\nglue('half', 0.5, '.2f')")
    one = notebook(prose("# One\n\nIt is {glue:text}`half`."), parameters(), glued)
    nbformat.write(one, folder / "notebooks" / "one.ipynb")
    assert mulib(folder, "run", "--tier", "smoke").returncode == 0
    return folder


def test_without_npm_the_build_says_so_and_is_green(small):
    built = build(small, "-W", "-n", PATH="")
    assert built.returncode == 0, built.stdout
    assert built.stdout.count("offline: npm is missing; widgets and mathematics will need a network") == 1
    assert not (small / "book" / "_static" / "vendor").exists()


def test_glued_digits_are_kept(small):
    assert "0.50" in (small / "_build" / "html" / "notebooks" / "one.html").read_text()


def test_a_verdict_of_a_smaller_run_is_shown_in_the_words_of_a_smaller_setting(small, tmp_path):
    """A page that glues *failed* in the smoke tier does not say so, whatever its prose does with the word."""
    folder = shutil.copytree(small, tmp_path / "planted", ignore=shutil.ignore_patterns("_build"))
    (folder / "book" / "reported").mkdir()
    said = {"otherwise": "a page of one cell"}
    paper = {"paper": "key", "title": "T", "setting": {"one": said}}
    (folder / "book" / "reported" / "key.yml").write_text(yaml.safe_dump(paper))
    _edit(folder, "glue('half', 0.5, '.2f')", "glue('half', 'failed')")
    assert mulib(folder, "run", "--tier", "smoke").returncode == 0
    assert build(folder, PATH="").returncode == 0
    text = (folder / "_build" / "html" / "notebooks" / "one.html").read_text()
    assert "smaller setting: disagrees" in text
    assert ">failed<" not in text


def test_a_public_address_brings_the_launch_buttons(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "public", ignore=shutil.ignore_patterns("_build"))
    config = (folder / "_config.yml").read_text()
    (folder / "_config.yml").write_text(
        config.replace('repository: {url: ""', 'repository: {url: "https://github.com/some/book"')
    )
    assert build(folder, PATH="").returncode == 0
    page = "notebooks/one"
    text, before = ((each / "_build" / "html" / f"{page}.html").read_text() for each in (folder, small))
    places = ("colab.research.google.com", "kaggle.com", "mybinder.org")
    assert [place in text for place in places] == [True] * 3
    assert f"some/book/blob/editions/student/{page}.ipynb" in text
    assert [place in before for place in places] == [False] * 3


def test_new_prose_is_shown_without_a_new_run(small):
    _edit(small, "It is {glue", "Now it is {glue")
    assert build(small, PATH="").returncode == 0
    assert "Now it is" in (small / "_build" / "html" / "notebooks" / "one.html").read_text()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda folder: _edit(folder, "glue('half', 0.5", "glue('half', 0.6"),
            "notebooks/one.ipynb: its code changed since it was executed; run `mulib run one --tier smoke`",
        ),
        (
            lambda folder: (folder / "mulib" / "more.py").write_text("x = 1\n"),
            "notebooks/one.ipynb: mulib/more.py changed since it was executed; run `mulib run one --tier smoke`",
        ),
        (
            lambda folder: (folder / "_executed" / "notebooks" / "one.ipynb").unlink(),
            "notebooks/one.ipynb: it has not been executed; run `mulib run one --tier smoke`",
        ),
    ],
    ids=["stale", "library", "missing"],
)
def test_a_stale_or_missing_run_fails_the_build(small, tmp_path, spoil, sentence):
    folder = shutil.copytree(small, tmp_path / "spoilt", ignore=shutil.ignore_patterns("_build"))
    spoil(folder)
    built = build(folder, PATH="")
    assert built.returncode != 0
    assert sentence in " ".join(built.stdout.split())


def _edit(folder, old, new):
    path = folder / "notebooks" / "one.ipynb"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_pins_are_exact():
    for pin in json.loads((ROOT / "book" / "_ext" / "vendor.json").read_text()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", pin["version"])
        assert re.fullmatch(r"sha512-[\w+/]{86}==", pin["integrity"])


def test_the_chosen_filter_is_a_parameter(html):
    """papermill's -p filter_index changes the result below, and a filter that does not exist is one sentence."""
    project = html.parents[1]
    runs = project / "_executed" / "runs" / "smoke"
    best = _metrics(runs / "05_choose_a_filter.seed0.json")
    other = (best["chosen"] + 1) % 48
    process = mulib(project, "run", "05", "--tier", "smoke", "--force", "-p", "filter_index", other)
    assert process.returncode == 0, process.stderr
    (path,) = runs.glob("05_*.seed0.*.json")
    given = _metrics(path)
    path.unlink()
    assert given["chosen"] == other
    assert (given["chosen.iou"], given["moved.chosen"]) != (best["chosen.iou"], best["moved.chosen"])
    process = mulib(project, "run", "05", "--tier", "smoke", "-p", "filter_index", 48)
    assert process.returncode == 1
    assert "there is no channel 48 in 'layer3': expected 0 … 47" in process.stderr
    process = mulib(project, "run", "05", "--tier", "smoke", "-p", "filter_index", 999)
    assert process.returncode == 2
    assert "filter_index is 999 in 05_choose_a_filter.ipynb: expected None, 0 … 511." in process.stderr


def _metrics(path):
    return json.loads(path.read_text())["came_out"]["metrics"]
