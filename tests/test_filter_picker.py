"""The filter picker: what a reader can do with it in a browser without a kernel and a network, and in JupyterLab."""

import json

import nbformat
import pytest
import torch
from PIL import Image
from projects import code, mulib, notebook
from test_jupyterlab import RUN, lab

from mulib import InputError, models, show
from mulib.data import faces
from mulib.kernels.masking import enlarge
from mulib.predict import feature_maps
from mulib.show.filters import pictures_in

NETWORK = models.identifier(11, width=4, stem="face", fine=True)
CAST = faces.sample(24, posed=True, seed=3)
PICTURES = faces.features(3, people=24, val=1, test=1, unseen=20, posed=True).train
MOUTHS = faces.masks(CAST)["mouth"]
LAB = """
from mulib import models, show
from mulib.data import faces
data = faces.features(3, people=24, val=1, test=1, unseen=20, posed=True).train
picker = show.filter_picker(models.identifier(11, width=4, stem="face", fine=True), "layer3", data, shown=2)
picker
"""


def picked(**options):
    return show.filter_picker(NETWORK, "layer3", PICTURES, shown=3, k=4, **options)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "filters.html"
    path.write_text(picked(region=MOUTHS, what="mouth").page("Filters"), encoding="utf-8")
    return path


@pytest.fixture
def tab(page, browser):
    """The page, opened offline on a phone's width; an error in it or a request to elsewhere fails the test."""
    wrong = []
    context = browser.new_context(viewport={"width": 390, "height": 900}, offline=True)
    tab = context.new_page()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    tab.goto(page.as_uri())
    tab.wait_for_selector(".mulib-fp[data-ready]")
    yield tab
    context.close()
    assert wrong == []


def drawn(tab):
    """The chosen filter, and its marked pictures as bytes."""
    return tab.evaluate(
        """() => [Number(document.querySelector('.mulib-fp').dataset.filter),
        [...document.querySelectorAll('.marked canvas')].map((c) => c.toDataURL()).join()]"""
    )


def test_the_arrow_keys_reach_every_filter_and_each_has_a_picture_of_its_own(tab):
    tab.locator(".group button").first.focus()
    tab.keyboard.press("Home")
    seen = [drawn(tab)]
    for _ in range(15):
        tab.keyboard.press("ArrowRight")
        seen.append(drawn(tab))
    assert sorted(filter for filter, _ in seen) == list(range(16))
    maps = feature_maps(NETWORK, PICTURES, "layer3")[:3]
    live = int((maps.amax((0, 2, 3)) > 0).sum())  # a filter that is silent on what is shown marks nothing
    assert len({picture for _, picture in seen}) >= live > 8


def test_a_click_a_number_and_the_words(tab):
    tab.locator(".group button").nth(5).click()
    clicked, _ = drawn(tab)
    assert tab.locator(".number").input_value() == str(clicked)
    assert tab.locator(".said").inner_text().startswith(f"Filter {clicked}, in ")
    tab.locator(".number").fill("7")
    tab.keyboard.press("Enter")
    assert drawn(tab)[0] == 7
    assert tab.locator(".group button[aria-checked=true]").get_attribute("value") == "7"
    tab.locator(".number").fill("99")
    tab.keyboard.press("Enter")
    assert (drawn(tab)[0], tab.locator(".number").input_value()) == (7, "7")


def test_the_threshold_marks_what_blanking_would_blank(tab):
    maps = feature_maps(NETWORK, PICTURES, "layer3")
    shares = {}
    filter = int(maps[:3].mean((0, 2, 3)).argmax())
    tab.locator(".number").fill(str(filter))
    tab.keyboard.press("Enter")
    for threshold in (0.2, 0.5):
        tab.locator(".threshold").fill(str(threshold))
        words = tab.locator(".said").inner_text()
        shares[threshold] = float(words.partition("it marks ")[2].partition(" %")[0])
        large = enlarge(maps[:3, filter], *PICTURES.images.shape[2:])
        assert shares[threshold] == pytest.approx(100 * float((large > threshold).float().mean()), abs=1.5)
        assert f"above {threshold:.2f}" in tab.locator(".truth").evaluate("p => p.textContent")
    assert shares[0.5] < shares[0.2]


def test_nothing_sticks_out_in_any_look_and_paper_has_the_sheet(tab):
    for scheme, width in (("light", 390), ("dark", 390), ("dark", 1200)):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.emulate_media(media="print")
    assert tab.locator(".sheet canvas").first.is_visible()
    assert not tab.locator(".number").is_visible()


def test_axe_finds_nothing(tab, axe):
    tab.evaluate(f"{axe}\n0")
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        found = tab.evaluate("axe.run('main').then((r) => r.violations.map((v) => v.id + ': ' + v.nodes[0].html))")
        assert found == [], scheme


def test_what_the_filter_marks_stays_in_sight_beside_the_last_tile(tab):
    tab.locator(".group button").last.click()
    tab.locator(".group button").last.evaluate("button => button.scrollIntoView({block: 'end'})")
    top, bottom, tile = tab.evaluate(
        """() => [document.querySelector('.chosen').getBoundingClientRect().top,
            document.querySelector('.chosen').getBoundingClientRect().bottom,
            [...document.querySelectorAll('.group button')].at(-1).getBoundingClientRect().top]"""
    )
    assert 0 <= top < bottom < tile


def test_a_choice_reaches_the_kernel_in_jupyterlab(tmp_path, browser):
    folder = tmp_path / "folder"
    folder.mkdir()
    nbformat.write(notebook(code(LAB), code("print('chosen', picker.filter, picker.threshold)")), folder / "p.ipynb")
    with lab(folder, tmp_path / "settings") as address:
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.goto(f"{address}/lab/tree/p.ipynb?token=t")
        tab.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        tab.set_default_timeout(240_000)
        tab.evaluate(RUN)
        tab.wait_for_selector(".mulib-fp[data-ready]")
        tab.get_by_text("chosen None 0.2").wait_for()
        tab.locator(".group button[value='9']").click()
        tab.locator(".threshold").fill("0.35")
        tab.wait_for_timeout(1000)
        tab.evaluate(
            """async () => {
            const notebook = jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = 1; notebook.deselectAll();
            await jupyterapp.commands.execute('notebook:run-cell');
        }"""
        )
        tab.get_by_text("chosen 9 0.35").wait_for(timeout=60_000)
        tab.close()


def test_what_cannot_be_shown_is_one_sentence():
    for options, words in (
        ({"filter": 99}, "there is no channel 99 in 'layer3': expected 0 … 15"),
        ({"threshold": 0.33}, "expected a multiple of 0.05"),
    ):
        with pytest.raises(InputError, match=words):
            picked(**options)
    with pytest.raises(InputError, match="gives no maps"):
        show.filter_picker(NETWORK, "fc", PICTURES)


def test_a_choice_is_none_until_there_is_one():
    assert picked().filter is None
    given = picked(filter=0)
    given._chosen({"new": "4 0.35"})
    assert (given.filter, given.threshold) == (4, 0.35)


def test_the_command_writes_a_page_for_ones_own_network_and_pictures(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import get_model

    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for n in range(3):
        Image.new("RGB", (80, 60), (80 * n, 120, 10)).save(tmp_path / "pictures" / "deep" / f"{n}.png")
    torch.manual_seed(0)
    save_file(get_model("resnet18", weights=None, num_classes=3).state_dict(), tmp_path / "mine.safetensors")
    options = ["--model", "resnet18", "--weights", tmp_path / "mine.safetensors", "--out", tmp_path / "o.html"]
    process = mulib(tmp_path, "maps", tmp_path / "pictures", *options, "--layer", "layer1", "--size", 64)
    assert process.returncode == 0, process.stderr
    assert "64 filters on 3 of 3 pictures" in process.stdout
    text = (tmp_path / "o.html").read_text(encoding="utf-8")
    assert json.loads(text.rpartition("mulibFilterPicker(root, ")[2].partition(");\n  else if")[0])["filters"] == 64
    process = mulib(tmp_path, "maps", tmp_path / "deep", "--out", tmp_path / "o.html")
    assert (process.returncode, "there is no picture in" in process.stderr) == (2, True)


def test_a_file_that_is_no_picture_is_one_sentence(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="is no picture that can be read"):
        pictures_in(tmp_path)
