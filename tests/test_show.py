"""The book's figures and tables: colours that anyone can tell apart, labels that do not collide, tables that read."""

import numpy as np
import pytest
from matplotlib import colors
from matplotlib import pyplot as plt
from overprint import overprinted

from mulib import InputError, show
from mulib.show.style import COLOURS, DPI, GREY, INK, OPEN_ROWS, SHADES


@pytest.fixture
def axis():
    with plt.rc_context():
        show.use()
        figure, axis = plt.subplots()
        yield axis
        plt.close(figure)


def luminance(colour):
    """Relative luminance, 0 to 1, as WCAG 2 defines it."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(colour)]
    return float(np.dot(channels, (0.2126, 0.7152, 0.0722)))


PAGES = {"light": "#FFFFFF", "dark": "#121212", "surface": "#14181E"}  # grounds that a figure may stand on
INKS = {**COLOURS, **{f"{role}, text": ink for role, ink in INK.items()}, "grey": GREY}
INKS |= {f"shade {i}": shade for i, shade in enumerate(SHADES)}


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("ground", PAGES)
def test_an_ink_is_readable_on_a_light_and_on_a_dark_page(ink, ground):
    dark, light = sorted(luminance(colour) for colour in (INKS[ink], PAGES[ground]))
    assert (light + 0.05) / (dark + 0.05) >= 3  # WCAG's contrast for graphics and large text


def test_what_a_figure_draws_is_readable_measured_from_its_pixels(axis):
    """The darkest and the lightest that a default figure holds stand out from either page."""
    axis.plot([0, 1], [0, 1])
    axis.set(title="title", xlabel="x", ylabel="y")
    axis.figure.canvas.draw()
    pixels = np.asarray(axis.figure.canvas.buffer_rgba()).reshape(-1, 4)
    solid = np.unique(pixels[pixels[:, 3] == 255][:, :3], axis=0)
    assert len(solid)
    for colour in solid / 255:
        for ground in PAGES.values():
            dark, light = sorted((luminance(tuple(colour)), luminance(ground)))
            assert (light + 0.05) / (dark + 0.05) >= 3, colour


def test_figures_are_transparent_and_fit_the_page(axis):
    assert axis.figure.get_facecolor()[3] == axis.get_facecolor()[3] == 0
    assert axis.figure.get_figwidth() * DPI < 620


def test_names_do_not_overprint_each_other_or_their_points(axis):
    """Twelve points in a heap, which labels at the points would cover."""
    places = np.random.default_rng(0).normal(0.5, 0.02, (12, 2))
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.plot(*places.T, ".")
    show.names(axis, {f"name {i}": ("unlearned", tuple(place)) for i, place in enumerate(places)})
    assert len(axis.texts) == 12
    assert overprinted(axis.figure) == []


def test_labels_that_overprint_are_found(axis):
    for text in ("one label", "another"):
        show.label(axis, 0.5, 0.5, text)
    assert overprinted(axis.figure) == [("one label", "another")]


@pytest.mark.parametrize("name", ["$$", "$\\frac{$", "5 $ and 6 $"])
def test_a_name_with_dollars_is_text(axis, name):
    text = show.label(axis, 0.5, 0.5, name)
    show.names(axis, {name: ("retrained", (0.2, 0.2))})
    axis.figure.canvas.draw()
    assert text.get_text() == name
    assert not text.get_parse_math()


def test_a_label_has_the_ink_of_its_role(axis):
    assert show.label(axis, 0, 0, "retrained", "retrained").get_color() == INK["retrained"]


@pytest.mark.parametrize("shift", [-5, 5])
def test_a_pair_of_histograms_is_labelled_on_the_sides_where_the_samples_lie(axis, shift):
    show.histogram_pair(axis, np.arange(9.0) + shift, np.arange(9.0))
    sides = {text.get_text(): text.get_position()[0] for text in axis.texts}
    assert (sides["unlearned"] < sides["retrained"]) == (shift < 0)


def test_a_pair_of_histograms_has_common_bins_and_counts_all(axis):
    edges = show.histogram_pair(axis, np.arange(30.0), np.arange(10.0) + 40, bins=7)
    assert len(edges) == 8
    assert edges[0] == 0
    assert edges[-1] == 49
    filled = [bars for bars in axis.containers if len(bars) == 7]
    assert [sum(bar.get_height() for bar in bars) for bars in filled] == [30, 10]


def test_densities_have_an_area_of_one(axis):
    edges = show.histogram_pair(axis, np.arange(30.0), np.arange(10.0), bins=5, gaussians=True)
    for bars in axis.containers:
        if len(bars) == 5:
            assert sum(bar.get_height() for bar in bars) * (edges[1] - edges[0]) == pytest.approx(1)
    for line in axis.lines:
        x, y = line.get_data()
        assert 0.7 < np.trapezoid(y, x) <= 1.001


@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [1.0, np.inf], [[1.0], [2.0]]])
def test_a_histogram_of_what_cannot_be_binned_is_refused(axis, bad):
    with pytest.raises(InputError, match="finite values"):
        show.histogram_pair(axis, bad, [1.0, 2.0])


@pytest.mark.parametrize(
    ("values", "spec", "text"),
    [([0.5, 0.7], ".1f", "0.6 ± 0.1"), ([0.25], ".2f", "0.25"), (np.ones(4), ".0%", "100% ± 0%")],
)
def test_spread(values, spec, text):
    assert show.spread(values, spec) == text


def test_the_spread_of_nothing_is_refused():
    with pytest.raises(InputError, match="nothing to average"):
        show.spread([])


ROWS = [
    {"model": "retrained", "ε": 1.2345},
    {"model": "null: halves", "ε": float("inf")},
    {"model": "<b>", "ε": "a & b"},
]


def test_a_table_in_a_page():
    page = show.table(ROWS, caption="What was measured")._repr_html_()
    assert "<caption>What was measured</caption>" in page
    assert page.count("<tr>") == 4
    assert page.count(COLOURS["retrained"]) == page.count(COLOURS["null"]) == 1  # a swatch for each role
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page


def test_a_long_table_is_folded():
    rows = [{"model": f"m{i}", "ε": i} for i in range(OPEN_ROWS + 1)]
    assert show.table(rows, "All")._repr_html_().startswith("<details><summary>All: 13 rows</summary>")
    assert "<details>" not in show.table(rows[1:])._repr_html_()


def test_a_table_in_a_terminal():
    lines = repr(show.table(ROWS)).splitlines()
    assert lines == ["model         ε", "retrained     1.23", "null: halves  ∞", "<b>           a & b"]


@pytest.mark.parametrize("rows", [[], [{}], [{"a": 1}, {"b": 1}]])
def test_a_table_of_unequal_rows_is_refused(rows):
    with pytest.raises(InputError, match="same columns"):
        show.table(rows)


@show.checker
def check_double(answer):
    return "correct" if answer(2) == 4 else "not yet: double 2"


def test_a_checker_answers_in_a_sentence():
    assert check_double(lambda x: 2 * x) == "correct"
    assert check_double(None) == "not yet: there is no answer here, got None"
    assert check_double(lambda x: None).startswith("not yet: with your answer there was InputError: it returned None")
    assert "ZeroDivisionError" in check_double(lambda x: x / 0)
    show.refuses(check_double, lambda x: 2 * x, lambda x: x)


def test_a_checker_that_takes_a_constant_is_found():
    with pytest.raises(AssertionError, match="'correct'"):
        show.refuses(show.checker(lambda answer: "correct" if answer() == 1 else "not yet: 1"), lambda: 1)


@pytest.mark.parametrize("passes", [lambda y: y in (4, 8), lambda y: abs(y) == 4, lambda y: y >= 4])
def test_a_checker_that_takes_a_change_of_the_right_answer_is_found(passes):
    check = show.checker(lambda answer: "correct" if passes(answer(2)) else "not yet: double 2")
    with pytest.raises(AssertionError, match="'correct'"):
        show.refuses(check, lambda x: 2 * x)


def test_where_a_changed_answer_may_be_right_only_what_is_given_must_be_refused():
    near = show.checker(lambda answer: "correct" if abs(answer()) > 1 else "not yet: further from 0")
    show.refuses(near, None, lambda: 0.7)
    with pytest.raises(AssertionError, match="'correct'"):
        show.refuses(near, None, lambda: 3)


def test_a_claim_is_glued_with_its_reason(capsys):
    with pytest.raises(InputError, match="one number or text"):
        show.claim("holds", "reproduced", ["no text"])
