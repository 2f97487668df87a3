"""`mulib judge`: the example of CONTRIBUTING, methods that break the contract, files that are none, and plug-ins."""

import re
import sys

import pytest
from click.testing import CliRunner
from projects import ROOT

from mulib import InputError, assess, unlearn
from mulib.__main__ import main
from mulib.assess import judgement
from mulib.recipe import Recipe
from mulib.unlearn import contract, registry

EXAMPLE = re.search(r"```python\n(import copy.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
CARELESS = EXAMPLE.replace("unlearned = copy.deepcopy(model)", "unlearned = model")


@pytest.fixture(autouse=True)
def own(monkeypatch, tmp_path):
    """A registry of one's own, and a folder to be in."""
    monkeypatch.setattr(registry, "_METHODS", dict(unlearn.methods()))
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("mine", None)


@pytest.fixture
def quick(monkeypatch):
    """The same experiment with networks that learn nothing in particular."""
    plan = judgement._plan

    def small(method):
        few = {"images": 60, "forget": 20}
        return plan(method).scaled(
            task_options=few, training=Recipe(1, 0.05, 20), network={"width": 2, "in_channels": 1}
        )

    monkeypatch.setattr(judgement, "_plan", small)


def judged(tmp_path, text, *options):
    (tmp_path / "mine.py").write_text(text)
    return CliRunner().invoke(main, ["judge", "mine.py", *options])


def test_the_example_has_ten_lines():
    assert len([line for line in EXAMPLE.splitlines() if line]) == 10


def test_the_example_is_judged(tmp_path, quick):
    found = judged(tmp_path, EXAMPLE)
    assert found.exit_code == 0, found.output
    assert found.output.count("✓") == len(contract.PROMISES)
    for row in ("original", "finetune", "shrink", "null", "retrained"):
        assert re.search(rf"^{row} .*±", found.output, re.MULTILINE), row
    assert "shrink keeps all" in found.output
    card = (tmp_path / "shrink.html").read_text()
    assert "label probe" in card
    assert card.count("<li>") == len(contract.PROMISES)


def test_a_broken_contract_is_no_success(tmp_path):
    found = judged(tmp_path, CARELESS, "--card", "card.html")
    assert found.exit_code == 1
    assert "it changed the model that it was given" in found.output
    assert "shrink breaks" in (tmp_path / "card.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "registers no method"),
        ("1 / 0", "ZeroDivisionError"),
        (EXAMPLE.replace('"shrink", title', '"finetune", title'), "there is a method 'finetune' already"),
    ],
)
def test_a_file_without_a_method_is_one_sentence(text, message, tmp_path):
    found = judged(tmp_path, text)
    assert found.exit_code == 2
    assert message in found.output


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match=r"nowhere\.py is no Python file"):
        assess.from_file("nowhere.py")


@pytest.mark.parametrize("arguments", [["judge"], ["judge", "mine.py", "--method", "finetune"]])
def test_one_thing_is_judged(arguments):
    assert "judge one thing" in CliRunner().invoke(main, arguments).output


def test_two_spreads_tell_a_method_from_retraining():
    class Rows:
        def column(self, row, name):
            far = row == "finetune" and name == "recovered"
            return [0.9, 0.91] if far else [0.1, 0.12]

    found = assess.Judgement(unlearn.get("finetune"), {}, Rows())
    assert found.apart == ["recovered"]
    assert found.verdict.endswith("is told from retraining by recovered.")


# Plug-ins


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one method, and one that cannot be imported."""
    (tmp_path / "mine.py").write_text(EXAMPLE)
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mulib.methods]\nmine = mine\nlost = not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry.plug_ins.cache_clear()
    yield
    registry.plug_ins.cache_clear()


def test_a_package_registers_its_methods(package):
    with pytest.warns(UserWarning, match="the methods of not_there_at_all are left out"):
        found = unlearn.methods()
    assert list(found)[-1] == "shrink"
    assert unlearn.get("shrink").run.__module__ == "mine"
    assert registry.plug_ins() == ("mine",)


@pytest.mark.filterwarnings("ignore:the methods of not_there")
def test_a_plug_in_is_found_by_its_name(package, quick, tmp_path):
    found = CliRunner().invoke(main, ["judge", "--method", "shrink"])
    assert found.exit_code == 0, found.output
    assert (tmp_path / "shrink.html").exists()
