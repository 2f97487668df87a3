"""Every example in a docstring runs, and gives what it says."""

import doctest
import importlib
import pkgutil

import matplotlib
import pytest
import torch

import mulib
from mulib import audit, data, explain, models, show, unlearn
from mulib.data import ImageSet, Task
from mulib.predict import feature_maps
from mulib.unlearn import registry

# Examples that do not run yet: a list to be emptied.
PENDING = {
    "mulib.data.faces.tasks.FaceTask.faces",
    "mulib.unlearn.features.remove_features",
    "mulib.unlearn.filters.blank",
    "mulib.unlearn.filters.blank_filter",
    "mulib.unlearn.guided.gli",
    "mulib.unlearn.layers.block_names",
    "mulib.unlearn.pairs.Pairs",
    "mulib.unlearn.phases.Phases",
    "mulib.unlearn.poisoning.poisoned",
    "mulib.unlearn.pruning.reset_most_similar",
    "mulib.unlearn.targets.prune_targets",
}


def examples():
    """The docstrings with examples, by name. A package's own module object is what its name is imported to."""
    names = [module.name for module in pkgutil.walk_packages(mulib.__path__, "mulib.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    found = [test for module in modules for test in doctest.DocTestFinder().find(module, module.__name__)]
    return {test.name: test for test in found if test.examples}


EXAMPLES = examples()


@pytest.fixture(scope="module")
def names():
    """What an example may name beside its module's own: a small task of four attributes, and models of it."""
    generator = torch.Generator().manual_seed(0)

    def images(n):
        pixels = torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
        labels = (torch.rand(n, 4, generator=generator) > 0.5).float()
        return ImageSet(pixels, labels, ("Bald", "Eyeglasses", "Mouth_Slightly_Open", "Smiling"))

    task = Task("example", images(60), torch.arange(20), images(40), images(40), images(20))
    model = models.resnet18(4, width=2, stem="face").eval()
    return {
        **{"audit": audit, "data": data, "explain": explain, "models": models, "show": show, "unlearn": unlearn},
        **{"torch": torch, "feature_maps": feature_maps, "task": task, "model": model},
        "identifier": models.identifier(4, width=4, stem="face").eval(),
        "graph": explain.essential_graph(model, task.val, "Eyeglasses", layers=2),
    }


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - PENDING))
def test_an_example_gives_what_it_says(name, names, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.setattr(registry, "_METHODS", dict(unlearn.methods()))  # an example may register a method of its own
    test, said = EXAMPLES[name], []
    test.globs = names | test.globs
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append, clear_globs=False).failed
    assert not failed, "".join(said)


def test_there_are_examples_and_what_is_pending_is_among_them():
    assert len(EXAMPLES) > 50
    assert set(EXAMPLES) >= PENDING
