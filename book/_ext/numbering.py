"""Sphinx extension: figures and exercises are numbered by chapter, and a chapter's finding shows its figure.

A box of class `finding` at the head of a chapter refers to a figure that the page draws later; its picture is shown in
the box as well, so that nothing is computed twice.
"""

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the mulib of this project, installed or not

from mulib.press.chapters import number


class ShowFinding(SphinxTransform):
    """Copy the picture of the figure that a finding refers to into its box."""

    default_priority = 300  # the page is parsed, its images are not collected yet

    def apply(self, **kwargs):
        figures = {name: figure for figure in self.document.findall(nodes.figure) for name in figure["names"]}
        for box in self.document.findall(nodes.admonition):
            if "finding" not in box["classes"]:
                continue
            asked = [ref["reftarget"] for ref in box.findall(addnodes.pending_xref) if ref["reftarget"] in figures]
            if len(asked) != 1:
                raise ExtensionError(f"{self.env.docname}: a finding refers to one figure of its page, got {asked}")
            box += next(figures[asked[0]].findall(nodes.image)).deepcopy()


def number_by_chapter(app, env):
    """Turn the numbers of a notebook's figures and exercises, counted through the book, into chapter and place: 8.3."""
    for docname, kinds in env.toc_fignumbers.items():
        if docname.startswith("notebooks/") and re.match(r"\d", name := docname.removeprefix("notebooks/")):
            for found in kinds.values():
                found.update({target: (number(name), place) for place, target in enumerate(found, 1)})
    return []  # no page is to be written again for this


def setup(app):
    """Register the extension with Sphinx."""
    app.add_transform(ShowFinding)
    app.connect("env-get-updated", number_by_chapter, priority=900)  # once they are counted
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
