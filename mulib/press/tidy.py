"""Tidy an executed notebook for the page: no widget state that nothing shows, no progress bars, no run's traces."""

import base64
import io
import json
import re

from PIL import Image

from mulib.show.pictures import packed

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
LINKS = {"LinkModel", "DirectionalLinkModel"}
BAR = "FloatProgressModel"  # what tqdm's notebook bar is made of
_REFERENCE = re.compile(r'IPY_MODEL_([0-9a-f]+)|"model_id": "([0-9a-f]+)"')  # the second: views inside Output widgets


def tidy(notebook):
    """Tidy an executed notebook (nbformat node) in place."""
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags and "remove-cell" not in tags:
            cell.metadata["tags"] = [*tags, "remove-cell"]
    notebook.metadata.pop("papermill", None)
    _drop_bars(notebook)
    _prune_state(notebook)
    _shrink_pictures(notebook)


def widget_state(notebook):
    """Return {model id: model} of an executed notebook's widgets."""
    return notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})


def shown_models(notebook):
    """Return the ids of the widgets that a page of this notebook shows, their parts and their links included."""
    state = widget_state(notebook)
    links = {model: references(state[model]) for model in state if state[model]["model_name"] in LINKS}
    shown = _reachable(state, [output.data[VIEW]["model_id"] for _, output in _views(notebook)])
    while added := {link for link, ends in links.items() if link not in shown and ends <= shown}:
        shown |= _reachable(state, added)
    return shown


def references(model):
    """Return the ids of the widgets that a model's state names."""
    return {first or second for first, second in _REFERENCE.findall(json.dumps(model))}


def _reachable(state, models):
    seen, todo = set(), list(models)
    while todo:
        model = todo.pop()
        if model in state and model not in seen:
            seen.add(model)
            todo += references(state[model])
    return seen


def _views(notebook):
    """Return (cell, output) of every output that shows a widget."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell, output) for cell in cells for output in cell.outputs if VIEW in output.get("data", {})]


def _drop_bars(notebook):
    state = widget_state(notebook)
    for cell, output in _views(notebook):
        parts = _reachable(state, [output.data[VIEW]["model_id"]])
        if any(state[part]["model_name"] == BAR for part in parts):
            cell.outputs.remove(output)


def _prune_state(notebook):
    state, shown = widget_state(notebook), shown_models(notebook)
    if not shown:
        notebook.metadata.pop("widgets", None)
        return
    for model in [model for model in state if model not in shown]:
        del state[model]
    for model in state.values():
        if model["model_name"] == "LayoutModel":  # a null there is the front end's own default
            model["state"] = {k: v for k, v in model["state"].items() if v is not None or k.startswith("_")}


def _shrink_pictures(notebook):
    """Re-encode pictures as palette PNG, a quarter of the size."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                original = base64.b64decode(output.data["image/png"])
                small = min(original, packed(Image.open(io.BytesIO(original))), key=len)
                output.data["image/png"] = base64.b64encode(small).decode()
