"""Sphinx extension: a book that works without a network. Widgets and mathematics are served from the book itself.

The two scripts come from npm at build time, by exact version and integrity (vendor.json), into book/_static/vendor,
which is not committed. Without npm or a network the build says so in one line and the pages ask a content network; what
does not have the pinned integrity fails the build.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from sphinx.errors import ExtensionError
from sphinx.util import logging

log = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent
STAMP = "vendor.json"  # the pins that the folder was made from; written last


class TamperedError(ExtensionError):
    """What was fetched is not what was pinned: the build ends."""


class VendorError(Exception):
    """The scripts could not be had; the message says why."""


def serve_scripts(app, config):
    """Point myst-nb and MathJax to the vendored scripts; leave their defaults (a network) where there are none."""
    try:
        vendor(Path(app.srcdir) / "book" / "_static" / "vendor")
    except VendorError as error:
        log.info("offline: %s; widgets and mathematics will need a network", error)
        return
    config.mathjax_path = "vendor/tex-svg.js"
    config.nb_ipywidgets_js = {"vendor/embed.js": {}}


def vendor(folder):
    """Fill `folder` with the files that vendor.json pins, once; raise VendorError when that cannot be done."""
    pins = (HERE / "vendor.json").read_text()
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text() == pins:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".vendor") as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        for pin in json.loads(pins):
            unpack(download(pin, scratch), pin["files"], new)
        (new / STAMP).write_text(pins)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


def download(pin, folder):
    """Return the path of the package that `pin` names, fetched by npm and checked against its integrity."""
    name = f"{pin['package']}@{pin['version']}"
    if shutil.which("npm") is None:
        raise VendorError("npm is missing")
    command = ["npm", "pack", name, "--loglevel=error", "--pack-destination", str(folder)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        archive = Path(folder) / answer.stdout.split()[-1]
        content = archive.read_bytes()
    except (subprocess.SubprocessError, OSError, IndexError) as error:
        if "EINTEGRITY" in str(getattr(error, "stderr", "")):
            raise TamperedError(f"what npm was given as {name} fails npm's own check of its integrity") from None
        raise VendorError(f"npm could not fetch {name}") from None
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != pin["integrity"]:
        raise TamperedError(
            f"what npm fetched as {name} does not have the integrity that vendor.json pins: look into it"
        )
    return archive


def unpack(archive, files, folder):
    """Put `files` of an npm package side by side into `folder`: embed.js looks for its fonts beside it."""
    with tarfile.open(archive) as package:
        for file in files:
            content = package.extractfile(f"package/{file}").read()
            if file.endswith(".css"):  # a theme's fonts lie elsewhere: the reader's own are used
                content = re.sub(rb"@import url\([^)]*\);?", b"", content)
            (folder / Path(file).name).write_bytes(content)


def drop_scripts(app, pagename, templatename, context, doctree):
    """Drop sphinx-thebe's scripts, which fetch from a network, and inline scripts that Sphinx emits twice."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        is_thebe = "THEBE_JS_URL" in (body or "") or "sphinx-thebe" in str(getattr(script, "filename", script))
        if is_thebe or (body and body in seen):
            continue
        seen.add(body)
        kept.append(script)
    context["script_files"] = kept


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("config-inited", serve_scripts)
    app.connect("html-page-context", drop_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
