"""What a page of the book must not have. Every check returns its findings as sentences, none when all is well."""

import json
import re

from mulib.errors import InputError
from mulib.press import tidy
from mulib.press.prose import numbers, prose, typed_numbers
from mulib.show.glue import glued

PAGE_BYTES = 600_000
TAGS = {
    *("parameters", "injected-parameters", "full-width", "margin", "scroll-output"),
    *(f"{verb}-{what}" for verb in ("hide", "remove") for what in ("input", "output", "cell")),
}
CONTROLS = {
    *("IntSliderModel", "FloatSliderModel", "FloatLogSliderModel", "IntRangeSliderModel", "FloatRangeSliderModel"),
    *("SelectionSliderModel", "SelectionRangeSliderModel", "DropdownModel", "SelectModel", "SelectMultipleModel"),
    *("RadioButtonsModel", "ToggleButtonModel", "ToggleButtonsModel", "CheckboxModel", "ButtonModel", "PlayModel"),
    *("IntTextModel", "BoundedIntTextModel", "FloatTextModel", "BoundedFloatTextModel", "TextModel", "TextareaModel"),
    *("ComboboxModel", "DatePickerModel", "ColorPickerModel", "FileUploadModel"),
}
_IMG = re.compile(r"<img\b[^>]*>")
_ALT = re.compile(r"""\balt=(["'])\s*[^\s"']""")


def check_source(notebook):
    """Return what is wrong with a notebook as committed (nbformat node): outputs, tags, typed numbers."""
    found = []
    for number, cell in numbered(notebook):
        tags = cell.metadata.get("tags", [])
        found += [f"cell {number} has the unknown tag {tag!r}" for tag in tags if tag not in TAGS]
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            found.append(f"cell {number} was committed with its output; clear all outputs")
        if cell.cell_type == "markdown":
            found += [
                f"cell {number} has the typed number {text!r} in its prose; glue it from the run"
                for text in typed_numbers(cell.source)
            ]
    if notebook.metadata.get("widgets"):
        found.append("the notebook was committed with widget state; clear all outputs")
    if sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) > 1:
        found.append("two cells are tagged parameters; papermill reads the first only")
    return found


def check_executed(notebook):
    """Return what is wrong with an executed and tidied notebook (nbformat node) as a page of the book."""
    checks = _check_outputs, _check_controls, _check_glue, _check_size
    return [finding for check in checks for finding in check(notebook)]


def numbered(notebook):
    """Return (number, cell) of a notebook's own cells, counted from 1 without what papermill put in."""
    own = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    return list(enumerate(own, start=1))


def alt_text(cell, output):
    """Return a picture's alt text: the output's own (IPython's alt=), else the cell's `mystnb.image.alt`."""
    meta = output.get("metadata", {})
    own = [meta[mime]["alt"] for mime in meta if mime.startswith("image/") and meta[mime].get("alt")]
    image = cell.metadata.get("mystnb", {}).get("image", {})
    return (own[0] if own else image.get("alt", "")).strip()


def pictures(cell):
    """Return the outputs of a code cell that show a picture."""
    outputs = cell.get("outputs", [])
    return [o for o in outputs if any(mime.startswith("image/") for mime in o.get("data", {}))]


def _check_outputs(notebook):
    found = []
    for number, cell in numbered(notebook):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                found.append(f"cell {number} raised {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(f"cell {number} wrote to stderr: {first_line(output.text)}")
        shown = pictures(cell)
        if any(not alt_text(cell, output) for output in shown):
            found.append(f"cell {number} shows a figure without alt text; set mystnb.image.alt in its metadata")
        elif len(shown) > 1 and len({alt_text(cell, output) for output in shown}) < len(shown):
            found.append(f"cell {number} shows {len(shown)} figures under one alt text; one figure a cell")
    return found


def _check_controls(notebook):
    state = tidy.widget_state(notebook)
    linked = {end for model in state.values() if model["model_name"] in tidy.LINKS for end in tidy.references(model)}
    found = []
    for model in sorted(tidy.shown_models(notebook)):
        name = state[model]["model_name"]
        wire = "mulib-wire" in state[model]["state"].get("_dom_classes", [])  # hidden: from a picker to the kernel
        if name in CONTROLS and model not in linked and not wire:
            label = state[model]["state"].get("description", "")
            found.append(
                f"the {name.removesuffix('Model')} {label!r} is linked to nothing and is dead in the page; "
                "use mulib.show.slider or picker"
            )
        images = _IMG.findall(str(state[model]["state"].get("value"))) if name == "HTMLModel" else []
        if name == "ImageModel" or not all(_ALT.search(image) for image in images):
            found.append("a picture in a widget has no alt text; use mulib.show.slider or picker")
    return found


def _check_glue(notebook):
    try:
        values = glued(notebook)
    except InputError as error:
        return [str(error)]
    texts = {text: name for name, (_, text) in values.items() if len(re.findall(r"\d", text)) >= 2}
    found = []
    for number, cell in numbered(notebook):
        if cell.cell_type == "markdown":
            typed = [text for text in numbers(prose(cell.source)) if text in texts]
            found += [f"cell {number} types {text!r}; quote it as {{glue:text}}`{texts[text]}`" for text in typed]
    return found


def _check_size(notebook):
    size = len(json.dumps(notebook))
    if size <= PAGE_BYTES:
        return []
    return [f"the page would hold {size // 1000} KB, more than {PAGE_BYTES // 1000}; show fewer or smaller pictures"]


def first_line(text):
    """Return the first line of a text that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
