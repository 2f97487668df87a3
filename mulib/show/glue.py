"""`glue`: publish a value, so that a page's prose can quote it and the run's record can keep it.

One mechanism for both: the number that a sentence shows is the number that the record holds.
"""

import json
import math
import re
from collections.abc import Mapping

from mulib.errors import InputError

# What myst-nb's {glue:text} role looks for: outputs whose mime types carry this prefix are stored, not shown.
MIME_PREFIX = "application/papermill.record/"
_NAME = re.compile(r"[a-z0-9_.]+")


def glue(name, value, format_spec=""):
    """Publish `value` under `name`: prose quotes it as {glue:text}`name`, the record keeps it exactly.

    `value` is a string or one number (Python, NumPy or a tensor of one element); `format_spec` is how prose
    shows it (".2f", ".1%"). Infinity reads "∞" and an undefined number (NaN) "–". Outside a kernel nothing
    is shown. Raises InputError for a name that is not of the form [a-z0-9_.]+ and for any other value.

        glue("accuracy.test", 0.94583, ".1%")   # prose: 94.6%, record: 0.94583
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"a glued name has lower-case letters, digits, _ and . only, got {name!r}")
    value = plain(value, name)
    _publish(name, value, format_value(value, format_spec))


def claim(name, verdict, reason):
    """Publish the verdict of a paper's claim and why, as `claim.NAME` and `claim.NAME.reason`: the pages of the claims
    read both.

    verdict: "reproduced", "partial" or "failed"; what it is worth in a smaller setting, they say.
    """
    glue(f"claim.{name}", verdict)
    glue(f"claim.{name}.reason", reason)


def plain(value, name="value"):
    """Return `value` as a str, bool, int or float; raise InputError when it is none of these."""
    if hasattr(value, "item") and getattr(value, "size", 1) != 0:
        try:
            value = value.item()  # NumPy scalars and tensors of one element
        except (ValueError, RuntimeError):
            raise InputError(f"{name} must be one number or text, got {type(value).__name__} of several") from None
    if not isinstance(value, str | bool | int | float):
        raise InputError(f"{name} must be one number or text, got {type(value).__name__}")
    return value


def format_value(value, format_spec=""):
    """Return the text that prose shows for `value`: "∞", "−∞" or "–" where a number is not finite."""
    if isinstance(value, float) and math.isnan(value):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return format(value, format_spec)


def jsonable(value):
    """Return `value` as JSON can hold it: an infinite or undefined float, also inside, as "inf", "-inf" or "nan"."""
    if isinstance(value, Mapping):
        return {name: jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def glued(notebook):
    """Return {name: (value, text)} of what an executed notebook (nbformat node or dict) glued.

    Raises InputError when one name was glued twice: prose could not say which of the two it means.
    """
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            book = output.get("metadata", {}).get("scrapbook")
            if not book or "value" not in book:
                continue
            if book["name"] in found:
                raise InputError(f"{book['name']} is glued twice; give each value its own name")
            found[book["name"]] = (book["value"], book["text"])
    return found


def _publish(name, value, text):
    from IPython import get_ipython

    if get_ipython() is None:
        return
    from IPython.display import publish_display_data

    book = {"name": name, "mime_prefix": MIME_PREFIX, "value": jsonable(value), "text": text}
    # The quotes of repr keep myst-nb from reading "0.50" as a number and showing 0.5.
    data = {f"{MIME_PREFIX}text/plain": repr(text)}
    publish_display_data(data, metadata={"scrapbook": json.loads(json.dumps(book))})
