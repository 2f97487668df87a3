"""What a kept network belongs to."""

import re

from mulib import files


def test_what_the_weights_of_a_network_depend_on_is_in_their_key():
    """Whatever a room that trains imports is among the sources that a kept network belongs to, but for what judges."""
    judges = {"audit", "explain", "show", "errors.py", "files.py", "clock.py", "text.py", "__init__.py"}
    seen, todo = set(), [f for room in ("unlearn", "data") for f in files.LIBRARY.joinpath(room).rglob("*.py")]
    while todo:
        file = todo.pop()
        for name in re.findall(r"^from (mulib[\w.]*) import", file.read_text(), re.MULTILINE):
            place = files.LIBRARY.joinpath(*name.split(".")[1:])
            found = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            if found.exists() and found not in seen and found != file:
                seen.add(found)
                todo.append(found)
    rooms = {file.relative_to(files.LIBRARY).parts[0] for file in seen} | {"unlearn", "data"}
    assert rooms - judges <= set(files.SOURCES)
    assert {"unlearn", "models", "data", "kernels", "faces"} <= rooms
