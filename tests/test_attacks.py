"""What others wrote is text: on pages, in a browser; and what is fetched is what was pinned."""

import json
import re
import shutil

import pytest
import yaml
from projects import ROOT, build, code, mulib, notebook, parameters, project, prose

SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
EVIL = f"{SCRIPT}{IMAGE} | `x` $y$ {{bdg-danger}}`z`"

PAGE = f"""from mulib import show
from mulib.show import glue
import numpy as np
evil = {EVIL!r}
glue('evil', evil)
glue('half', 0.5, '.2f')"""
SHOWN = [
    "show.table([{evil: evil, 'b': 1.0}], caption=evil)",
    "pictures = [np.zeros((4, 4)), np.ones((4, 4))]\nshow.slider(pictures, evil, [evil, 'b'], values=[evil, 'c'])",
    "show.picker(pictures, evil, [evil, 'b'], values=[evil, 'c'])",
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    cells = [prose("# One\n\nIt is {glue:text}`evil`, {glue:text}`half`."), parameters(), code(PAGE), *map(code, SHOWN)]
    folder = project(tmp_path_factory.mktemp("attack"), one=notebook(*cells))
    for part in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / part, folder / "book" / part, ignore=shutil.ignore_patterns("vendor", ".v*"))
    shutil.copytree(ROOT / "mulib", folder / "mulib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters: [{file: notebooks/one}]\n")
    (folder / "book" / "index.md").write_text("# Small\n\n```{runs}\n```\n\n```{claims} key\n```\n")
    (folder / "book" / "references.bib").write_text("@misc{key, title={T}, author={A}, year={2024}}\n")
    (folder / "book" / "reported").mkdir()
    claim = {"id": "one", "text": EVIL, "source": EVIL, "notebook": None, "reason": EVIL}
    paper = {"paper": "key", "title": "T", "setting": {}, "tables": [], "claims": [claim]}
    (folder / "book" / "reported" / "key.yml").write_text(yaml.safe_dump(paper))
    assert mulib(folder, "run", "--tier", "smoke").returncode == 0
    path = folder / "_executed" / "notebooks" / "one.json"
    record = json.loads(path.read_text())
    record["asked"] |= {"seed": EVIL, "tier": f"{EVIL}\nnewline"}
    record["came_from"] |= {"started": EVIL, "commit": EVIL, "versions": {EVIL: EVIL}}
    record["came_from"]["hardware"]["cpu"] = EVIL
    path.write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def pages(planted):
    """The built pages: the table of runs and the claims, and the notebook."""
    built = build(planted, PATH="")
    assert built.returncode == 0, built.stdout[-3000:]
    return [planted / "_build" / "html" / f"{page}.html" for page in ("book/index", "notebooks/one")]


@pytest.mark.book
def test_planted_scripts_are_text_in_the_html(pages):
    for path in pages:
        run = re.sub(r'(?s)<script type="application/[^>]*>.*?</script>', "", path.read_text())  # less what is data
        assert "<script>document.title=" not in run
        assert "<img src=x onerror" not in run
        assert run.count("&lt;script&gt;document.title=") >= 3


@pytest.mark.book
def test_planted_scripts_are_text_in_a_browser(pages, browser):
    for path in pages:
        tab = browser.new_context(offline=True).new_page()
        tab.goto(path.as_uri())
        tab.wait_for_timeout(300)
        assert "owned" not in tab.title()
        shown = re.sub("[‘’]", "'", tab.locator("body").inner_text())  # Sphinx's quotation marks are curly
        assert shown.count("<script>document.title='owned'</script>") >= 3
        tab.context.close()


@pytest.mark.book
@pytest.mark.parametrize(
    ("npm", "says"),
    [
        (
            'for last; do :; done\necho evil > "$last/evil.tgz"\necho evil.tgz',
            "does not have the integrity that vendor.json pins",
        ),
        ("echo npm error code EINTEGRITY >&2\nexit 1", "fails npm's own check of its integrity"),
    ],
)
def test_a_script_that_is_not_the_pinned_one_fails_the_build(planted, tmp_path, npm, says):
    folder = shutil.copytree(planted, tmp_path / "tampered", ignore=shutil.ignore_patterns("_build"))
    (folder / "bin").mkdir()
    program = folder / "bin" / "npm"
    program.write_text(f"#!/bin/sh\n{npm}\n")
    program.chmod(0o755)
    built = build(folder, PATH=f"{folder / 'bin'}:/usr/bin:/bin")
    assert built.returncode != 0
    assert says in built.stdout


def test_workflow_actions_are_pinned_by_commit():
    used = [
        line.split("uses:")[1].split("#")[0].strip()
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)


def test_the_lock_has_a_hash_for_every_package_and_is_installed_by_it():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", lock, flags=re.MULTILINE).strip())
    assert len(entries) > 100
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "--require-hashes" in (ROOT / "Makefile").read_text()
