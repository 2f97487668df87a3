"""A glued value reads as asked and is recorded exactly; a control's pictures are small, named and one per value."""

import io
import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from nbformat import v4
from PIL import Image
from projects import code, notebook

from mulib import InputError, show
from mulib.show import glue, picker, pickers, slider
from mulib.show.glue import format_value, glued, jsonable, plain
from mulib.show.pictures import drawn, encode, packed


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (0.5, ".2f", "0.50"),
        (0.94583, ".1%", "94.6%"),
        (12000, ",", "12,000"),
        ("finetune", "", "finetune"),
        (math.inf, ".2f", "∞"),
        (-math.inf, ".2f", "−∞"),
        (math.nan, ".2f", "–"),
    ],
)
def test_a_value_reads_as_its_format_says(value, spec, text):
    assert format_value(value, spec) == text


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor([0.5]), 0.5])
def test_a_number_of_any_library_is_a_plain_number(value):
    assert plain(value) == 0.5
    assert type(plain(value)) is float


@pytest.mark.parametrize("value", [np.zeros(2), torch.zeros(2), [1], None, np.zeros(0)])
def test_what_is_not_one_value_is_refused(value):
    with pytest.raises(InputError, match="must be one number or text"):
        glue("a", value)


@pytest.mark.parametrize("name", ["Accuracy", "a b", "", "ε"])
def test_a_name_is_lower_case(name):
    with pytest.raises(InputError, match="a glued name has lower-case letters"):
        glue(name, 1)


def test_glue_is_silent_outside_a_kernel(capsys):
    glue("accuracy.test", 0.5, ".2f")
    assert capsys.readouterr() == ("", "")


def test_infinity_is_text_in_json():
    assert [jsonable(value) for value in (math.inf, -math.inf, math.nan, 0.5)] == ["inf", "-inf", "nan", 0.5]


def test_other_outputs_are_not_glued_values():
    cell = code("1")
    cell.outputs = [v4.new_output("display_data", {"text/plain": "1"})]
    assert glued(notebook(cell)) == {}


def _lines(count):
    figures = []
    for k in range(count):
        figure, axes = pyplot.subplots(figsize=(6.4, 4))
        axes.plot(np.exp(-np.linspace(0, 3, 100) * (k + 1) / count))
        axes.set_xlabel("δ")
        figures.append(figure)
    return figures


def test_twenty_line_charts_weigh_less_than_300_kb():
    control = slider(_lines(20), "δ", [f"Line {k}." for k in range(20)])
    assert sum(len(picture.value) for picture in control.children[1].children) < 300_000


def test_a_figure_is_closed_so_that_it_is_not_shown_twice():
    (figure,) = _lines(1)
    drawn(figure)
    assert not pyplot.fignum_exists(figure.number)


def test_a_drawing_is_svg_and_a_picture_has_twice_the_pixels():
    line, image = _lines(2)
    line.axes[0].set_title("1.2345, as it is")
    image.axes[0].imshow(np.zeros((2, 2)))
    kind, content, width = drawn(line)
    assert (kind, width) == ("image/svg+xml", 704)
    assert b">\xce\xb4</text>" in content  # text is text
    assert b">1.2345, as it is</text>" in content
    kind, content, _ = drawn(image)
    assert kind == "image/png"
    assert Image.open(io.BytesIO(content)).width == 2 * width


def test_a_role_keeps_its_colour_and_transparency_is_kept():
    with pyplot.rc_context():
        show.use()
        figure, axis = pyplot.subplots()
        axis.imshow(np.zeros((2, 2)), alpha=0)
        for k, colour in enumerate(show.COLOURS.values()):
            axis.axhline(k / 4, color=colour, lw=6)
        content = drawn(figure)[1]
    image = Image.open(io.BytesIO(content)).convert("RGBA")
    seen = {colour for _, colour in image.getcolors(1_000_000)}
    assert {(*(int(c[i : i + 2], 16) for i in (1, 3, 5)), 255) for c in show.COLOURS.values()} <= seen
    assert image.getpixel((2, 2))[3] == 0


def test_many_colours_become_a_palette():
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    image = Image.open(io.BytesIO(packed(Image.fromarray(noise))))
    assert len(image.getcolors()) <= 256


def test_an_array_keeps_its_pixels():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(pixels))).convert("L")), pixels)


def test_floats_are_scaled_to_black_and_white():
    image = Image.open(io.BytesIO(encode(np.array([[-1.0, 0.0, 3.0]])))).convert("L")
    assert list(np.asarray(image)[0]) == [0, 64, 255]


def test_what_is_not_finite_is_black_and_leaves_the_rest_as_it_was():
    image = Image.open(io.BytesIO(encode(np.array([[np.nan, 0.0, 1.0, np.inf, -np.inf]])))).convert("L")
    assert list(np.asarray(image)[0]) == [0, 0, 255, 0, 0]


@pytest.mark.parametrize("control", [slider, picker])
def test_a_control_shows_its_values_and_names_its_pictures(control):
    maps = [np.full((2, 2), k, np.uint8) for k in range(3)]
    box = control(maps, "δ", ["A & b.", "B.", "C."], values=["0.05", "0.10", "0.15"], start=1)
    chooser, stack = box.children
    assert [label for label, _ in chooser.options] == ["0.05", "0.10", "0.15"]
    assert chooser.index == stack.selected_index == 1
    assert 'alt="A &amp; b."' in stack.children[0].value
    assert chooser.link.source == (chooser, "index")
    assert chooser.link.target == (stack, "selected_index")


def test_two_menus_together_choose_a_picture():
    maps = [[np.full((2, 2), 3 * i + j, np.uint8) for j in range(3)] for i in range(2)]
    alts = [[f"Row {i}, place {j}." for j in range(3)] for i in range(2)]
    box = pickers(maps, ["up:", "across:"], alts, [["a", "b"], ["x", "y", "z"]])
    up, across, stack = box.children
    assert [[text for text, _ in menu.options] for menu in (up, across)] == [["a", "b"], ["x", "y", "z"]]
    assert 'alt="Row 1, place 2."' in stack.children[1].children[2].value
    assert (up.link.source, up.link.target) == ((up, "index"), (stack, "selected_index"))
    assert [link.source for link in across.links] == [(across, "index")] * 2
    assert [link.target[0] for link in across.links] == list(stack.children)


MAPS = [np.zeros((2, 2)), np.ones((2, 2))]


@pytest.mark.parametrize(
    ("pictures", "values", "message"),
    [
        ([MAPS, MAPS[:1]], [["a", "b"], ["x", "y"]], "as many pictures in each row"),
        ([MAPS, MAPS], [["a", "b"], ["x"]], "one value per picture, got 2 pictures, 2 alt texts and 1 values"),
    ],
)
def test_two_menus_need_a_full_table(pictures, values, message):
    with pytest.raises(InputError, match=message):
        pickers(pictures, ["up:", "across:"], [["One.", "Two."]] * 2, values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MAPS, "δ", ["One."]), "2 pictures, 1 alt texts and 2 values"),
        ((MAPS[:1], "δ", ["One."]), "two pictures or more, got 1"),
        ((MAPS, "δ", ["One.", " "]), "needs an alt text"),
        ((MAPS, "δ", ["One.", "Two."], [1, 2], 2), "start must be the index of a picture, 0 to 1, got 2"),
        (([np.zeros(3)] * 2, "δ", ["One.", "Two."]), r"shape \(H, W\) or \(H, W, 3\), got \(3,\)"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        slider(*arguments)
