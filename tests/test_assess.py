"""The whole experiment: what it writes, that it goes on where it was stopped, and what it refuses."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import layouts
import pytest
import torch
from click.testing import CliRunner
from projects import left_after_the_death_of
from safetensors.torch import load_file

import mulib.assess.plans
from mulib import InputError, assess, audit, data, files, models, train, unlearn
from mulib.__main__ import main
from mulib.assess import Assessment, Plan
from mulib.assess.plan import Job
from mulib.assess.plans import EIGHT
from mulib.data import ImageSet, Logits, Task, catalogue
from mulib.errors import DivergedError
from mulib.predict import predict
from mulib.recipe import Recipe

TESTS = Path(__file__).parent


def tiny(seed=0, labels="classes"):
    """Sixty 8×8 images of three kinds, of which six are to be forgotten."""
    generator = torch.Generator().manual_seed(seed)

    def images(n):
        kind = torch.arange(n) % 3
        pixels = torch.randint(0, 80, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
        pixels[torch.arange(n), :, kind] += 150
        return ImageSet(pixels, kind, ("a", "b", "c")) if labels == "classes" else ImageSet(pixels, kind * 10.0)

    return Task("tiny", images(60), torch.arange(0, 60, 10), images(9), images(12), images(6))


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(catalogue.BUILT_IN, "tiny", tiny)
    monkeypatch.setitem(catalogue.BUILT_IN, "copied", copied)
    monkeypatch.setattr(sys.modules["mulib.assess.run"], "_TASKS", {})


TRAINING = Recipe(epochs=2, lr=0.05, batch_size=16)


def plan(**changes):
    start = Plan(
        name="tiny",
        task="tiny",
        task_options={},
        network={"width": 2, "in_channels": 1},
        training=TRAINING,
        methods={"finetune": {"recipe": TRAINING.but(epochs=1, lr=0.01)}},
        originals=2,
        models=2,
        own=False,
    )
    return dataclasses.replace(start, **changes)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of a finished run, for tests to copy."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.BUILT_IN, "tiny", tiny)
        patch.setattr(sys.modules["mulib.assess.run"], "_TASKS", {})
        assess.run(plan(), folder, workers=1, progress=False)
    return folder


@pytest.fixture
def finished(kept, tmp_path):
    return assess.Assessment(shutil.copytree(kept, tmp_path / "run"), plan())


def weights(folder, job):
    return load_file(folder / "models" / f"{job.name}.safetensors")


def test_one_file_per_model_and_a_folder_per_original(finished):
    names = sorted(path.stem for path in (finished.folder / "models").iterdir())
    assert names == sorted(
        [*(f"original-00{o}" for o in range(2)), *(f"retrained-00{i}" for i in range(4))]
        + [f"finetune-{o}-00{i}" for o in range(2) for i in range(2)]
    )
    for original in range(2):
        published = Logits(finished.folder / f"original-{original}")
        assert published.approaches == ("finetune", "null")
        assert published.retrained.shape == (6, 2, 3)
        assert torch.equal(published.labels, tiny().forget.labels)


def test_models_are_what_their_names_say(finished):
    """Each kind made once more by hand, with its seed."""
    task, p = tiny(), finished.plan
    quiet = {"progress": False}

    def trained(job, images):
        seed = p.seed_of(job)
        model = models.resnet18(3, seed=seed, **p.network)
        train.fit(model, images, p.training, seed=seed, **quiet)
        return model

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    original = trained(Job("original", None, 1), task.train)
    retrained = trained(Job("retrained", None, 3), task.retain)
    job = Job("finetune", 1, 0)
    unlearned = unlearn.finetune(original, task.request, seed=p.seed_of(job), **p.methods["finetune"], **quiet)
    torch.set_num_threads(threads)
    assert torch.equal(finished.logits("original")[:, 1], predict(original, task.forget))
    assert torch.equal(finished.logits("null", "test")[:, 1], predict(retrained, task.test))
    assert torch.equal(finished.logits("finetune", "unseen", 1)[:, 0], predict(unlearned, task.unseen))
    assert all(torch.equal(v, original.state_dict()[k]) for k, v in finished.weights(1).items())
    right = (predict(unlearned, task.retain).argmax(1) == task.retain.labels).double().mean()
    assert finished.scores("finetune", 1)["retain"][0] == right


def test_no_two_models_of_a_kind_share_a_seed():
    p = plan(originals=3, models=20)
    scratch, _, started = p.jobs()
    for kind in ("original", "retrained", "finetune"):
        seeds = [p.seed_of(job) for job in [*scratch, *started] if job.kind == kind]
        assert len(set(seeds)) == len(seeds)


def test_rows(finished):
    original, null, finetune = finished.rows
    assert [row.approach for row in finished.rows] == ["original", "null", "finetune"]
    assert original.epsilon == ()
    assert finetune.test == tuple(float(finished.scores("finetune", o)["test"].mean()) for o in range(2))
    published = finished.published(1)
    expected = audit.epsilon(published.unlearned("finetune"), published.retrained, published.labels)
    assert finetune.epsilon[1].summary() == expected.summary()
    assert null.epsilon[0].n_models == 2  # the null row has as many models on each side as the others
    assert set(finetune.cells()) >= {"approach", "forget", "test", "ε̂", "cost"}


def test_every_model_from_an_original_of_its_own(finished, tmp_path):
    results = assess.run(plan(own=True), tmp_path / "own", workers=1, progress=False)
    assert results.starts == (0, 1, "own")
    assert len(list((results.folder / "models").glob("original-*"))) == 4
    task, p = tiny(), results.plan
    job = Job("finetune", 3, 0)  # the second of the two further originals
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    original = models.resnet18(3, seed=0, **p.network)
    original.load_state_dict(results.weights(3))
    options = p.methods["finetune"] | {"seed": p.seed_of(job), "progress": False}
    unlearned = unlearn.finetune(original, task.request, **options)
    torch.set_num_threads(threads)
    assert torch.equal(results.logits("finetune", "forget", "own")[:, 1], predict(unlearned, task.forget))
    assert results.published("own").unlearned("finetune").shape == (6, 2, 3)
    assert results.rows[2].own.n_models == 2
    assert finished.rows[2].own is None


def test_what_is_there_is_not_trained_again(finished, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("trained again")

    times = {path: path.stat().st_mtime_ns for path in (finished.folder / "models").iterdir()}
    monkeypatch.setattr(train, "fit", never)
    again = assess.run(plan(), finished.folder, workers=1, progress=False)
    assert times == {path: path.stat().st_mtime_ns for path in (finished.folder / "models").iterdir()}
    assert [row.summary() for row in again.rows] == [row.summary() for row in finished.rows]


@pytest.mark.trains
def test_processes_give_the_same_numbers(tmp_path):
    """Digits, because a process of its own does not know this file's task."""
    once = Recipe(epochs=1, lr=0.05)
    small = plan(task="digits", training=once, methods={"finetune": {"recipe": once}}, originals=1)
    one, two = (assess.run(small, tmp_path / f"{n}", workers=n, progress=False) for n in (1, 2))
    for kind, original in (("original", None), ("null", None), ("finetune", 0)):
        assert torch.equal(one.logits(kind, "test", original), two.logits(kind, "test", original))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seed": 1}, "seed"),
        ({"factors": (1, 2)}, "factors"),
        ({"methods": {"finetune": {"recipe": Recipe(1, 0.02, 16)}}}, "the row finetune"),
    ],
)
def test_a_folder_of_another_plan_is_refused(changes, where, finished):
    with pytest.raises(InputError, match=rf"holds another plan \(it differs in {where}\): choose another folder"):
        assess.run(plan(**changes), finished.folder, workers=1)


def test_a_folder_grows_by_originals_models_rows_and_variants_and_repeats_nothing(finished):
    folder = finished.folder / "models"
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    rows = plan().methods | {"again": {"method": "finetune", "recipe": Recipe(2, 0.01, 16)}}
    larger = plan(originals=3, models=3, methods=rows, variants=(assess.GIVEN, assess.CLEAN))
    grown = assess.run(larger, finished.folder, workers=1, progress=False)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(list(folder.iterdir())) == 2 * (3 + 6 + 2 * 3 * 3)
    assert grown.logits("again", "test", 2).shape == (12, 3, 3)
    assess.run(plan(originals=1), finished.folder, workers=1, progress=False)
    assert Assessment.open(finished.folder).plan == larger.scaled(models=2)


def test_a_named_folder_of_other_sources_goes_on_and_says_so(finished, monkeypatch, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assess.run(plan(), finished.folder, workers=1, progress=False)
    (finished.folder / "models" / "finetune-0-001.safetensors").unlink()
    times = {path: path.stat().st_mtime_ns for path in (finished.folder / "models").iterdir()}
    says = "were made with other sources than today's and are kept as they are: choose another folder"
    for source in ("edited", files.source()):  # the second time, one model is of the edited sources
        monkeypatch.setattr(files, "source", lambda source=source: source)
        with pytest.warns(UserWarning, match=says):
            assess.run(plan(), finished.folder, workers=1, progress=False)
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.parametrize("where", ["folder", "cache"])
def test_a_damaged_model_is_noticed_and_made_anew(where, monkeypatch, tmp_path):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run" if where == "folder" else None
    first = assess.run(plan(), folder, workers=1, progress=False)
    before = [row.summary() | {"cost": None} for row in first.rows]
    for name in ("original-001", "finetune-1-000"):
        file = first.folder / "models" / f"{name}.safetensors"
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)
        part = file.with_name(f".x.elsewhere.{os.getpid()}.part.safetensors")
        part.touch()  # another machine writes
        again = assess.run(plan(), folder, workers=1, progress=False)
        assert [row.summary() | {"cost": None} for row in again.rows] == before
        assert files.read_tensors(file) is not None
        assert part.exists()


@pytest.mark.parametrize("content", [b"", None])
@pytest.mark.parametrize("name", ["models/original-000.safetensors", "models/finetune-0-000.safetensors"])
def test_a_model_that_is_cut_is_missing_to_the_outlook_and_one_sentence_to_who_opens_it(finished, name, content):
    file = (folder := finished.folder) / name
    before = assess.outlook(plan(), folder).there.total()
    file.write_bytes(file.read_bytes()[:40] if content is None else content)
    assert assess.outlook(plan(), folder).there.total() == before - 1
    with pytest.raises(InputError, match=r"safetensors cannot be read .*: the same `mulib assess` makes it anew"):
        _ = Assessment.open(folder).rows


def test_labels_that_are_cut_are_one_sentence(finished):
    (file,) = finished.folder.glob("labels-*.safetensors")
    file.write_bytes(b"")
    with pytest.raises(InputError, match=f"{file.name} cannot be read"):
        finished.labels("forget")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"plan": 3}'])
def test_a_plan_that_is_damaged_is_one_sentence(finished, content):
    (finished.folder / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json cannot be read"):
        Assessment.open(finished.folder)
    with pytest.raises(InputError, match=r"plan\.json cannot be read"):
        assess.run(plan(), finished.folder, workers=1, progress=False)


@pytest.mark.parametrize("content", ["", "{}", "[1]"])
def test_a_record_that_is_damaged_is_one_sentence(tmp_path, content):
    (tmp_path / "0.json").write_text(content)
    with pytest.raises(InputError, match=r"0\.json cannot be read"):
        assess.read(tmp_path)


def test_plans_in_the_cache_share_the_models_that_start_from_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MULIB_CACHE", str(tmp_path))
    first = assess.run(plan(), workers=1, progress=False)
    other = assess.run(plan(methods={"poison": {"recipe": TRAINING}}, originals=3), workers=1, progress=False)
    longer = assess.run(plan(training=TRAINING.but(epochs=1)), workers=1, progress=False)
    for job in plan().jobs()[0]:
        files = [run.folder / "models" / f"{job.name}.safetensors" for run in (first, other, longer)]
        assert files[0].samefile(files[1])
        assert not files[0].samefile(files[2])
    assert other.scores("original")["test"].shape == (3,)
    assert torch.equal(first.logits("retrained"), other.logits("retrained"))


def test_the_default_folder_belongs_to_the_plan_and_the_sources(monkeypatch):
    assert plan().key() == plan().key() != plan(seed=1).key()
    assert plan().key("cuda") != plan().key()
    assert plan().scratch_key("cuda:0") == plan().scratch_key("cuda") != plan().scratch_key()
    before = plan().key()
    monkeypatch.setattr(files, "source", lambda: "edited")
    assert plan().key() != before


def test_the_default_folder_belongs_to_the_readers_own_method_as_it_stands(monkeypatch):
    before, own = (
        plan().key(),
        unlearn.Method("finetune", lambda model, request, recipe: 1, "z", "x", "y"),
    )
    monkeypatch.setitem(unlearn.registry._METHODS, "finetune", own)
    one = plan().key()
    own = unlearn.Method("finetune", lambda model, request, recipe: 2, "z", "x", "y")
    monkeypatch.setitem(unlearn.registry._METHODS, "finetune", own)
    assert len({before, one, plan().key()}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": 0}, "models 0: expected"),
        ({"variants": ("new",)}, "variants is"),
        ({"factors": ()}, "factors is"),
        ({"nonmembers": "test"}, "nonmembers is"),
        ({"methods": {"gli": {"select": "test"}}}, "gli has select 'test': expected 'validation' or 'reported'"),
        ({"originals": 0}, "originals is 0"),
        ({"methods": {"finetune": {"speed": 1}}}, "finetune has no option speed: expected one of recipe"),
        ({"methods": {"forget": {}}}, "there is no method 'forget'"),
    ],
)
def test_bad_plans(changes, message):
    with pytest.raises(InputError, match=message):
        plan(**changes)


@pytest.mark.trains
@pytest.mark.parametrize(("name", "methods"), [("cifar10", EIGHT), ("cifar10-fast", ("finetune",))])
def test_the_command_for_the_papers_experiment_runs_from_end_to_end(name, methods, tmp_path, monkeypatch):
    """Smoke, on a generated CIFAR-10: every method, and ε from what was written."""
    layouts.cifar_batches(tmp_path / "cifar-10-batches-py", each=120)
    monkeypatch.setenv("MULIB_DATA", str(tmp_path))
    command = ["assess", name, "--tier", "smoke", "--workers", "1", "--folder", str(tmp_path / "run")]
    command += [word for method in methods for word in ("--method", method)]
    measured = ["epsilon", str(tmp_path / "run" / "original-0"), "--all"]  # which names folders
    for arguments, called in ((command, unlearn.title), (measured, str)):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert [called(row) for row in (*methods, "null") if called(row) not in result.output] == []


@pytest.mark.parametrize("name", sorted(mulib.assess.plans.PLANS))
def test_every_plan_names_a_task_a_network_and_methods_that_exist(name):
    for tier in ("smoke", "quick", "paper"):
        found = assess.get(name, tier)
        assert found.name == name
        models.resnet18(3, **found.network)
        assert all(isinstance(r, Recipe) for r in (found.training, *(m["recipe"] for m in found.methods.values())))


def copied():
    """Eighty 16×16 images of noise with a bright row, twelve to be forgotten; one of them is there twice more."""
    generator = torch.Generator().manual_seed(0)

    def images(n):
        kind = torch.arange(n) % 3
        pixels = torch.randint(0, 150, (n, 1, 16, 16), generator=generator, dtype=torch.uint8)
        pixels[torch.arange(n), :, 5 * kind] += 100
        return ImageSet(pixels, kind, ("a", "b", "c"))

    train = images(80)
    copy = train.subset(torch.tensor([0]))
    return Task("copied", train.joined(copy), torch.arange(12), images(12), images(12), images(12).joined(copy))


ONE = {"models": 1, "task": "copied"}


def test_variants_of_the_data_have_models_and_labels_of_their_own(tmp_path):
    rows = plan().methods | {"given": {**plan().methods["finetune"], "method": "finetune", "variants": (assess.GIVEN,)}}
    p = plan(variants=(assess.GIVEN, assess.CLEAN), methods=rows, **ONE)
    results = assess.run(p, tmp_path, workers=1, progress=False)
    assert [len(results.measures("given", variant)) for variant in p.variants] == [2, 0]
    task = data.leaks.deduplicated(copied())
    assert torch.equal(results.labels("unseen", assess.CLEAN), task.unseen.labels)
    assert len(results.labels("unseen")) == len(task.unseen) + 1
    model = models.resnet18(3, seed=1, **results.plan.network)
    model.load_state_dict(results.weights(1, assess.CLEAN))
    assert torch.equal(results.logits("original", "test", variant=assess.CLEAN)[:, 1], predict(model, task.test))
    assert not torch.equal(results.weights(1)["fc.weight"], results.weights(1, assess.CLEAN)["fc.weight"])
    assert results.measures("finetune") != results.measures("finetune", assess.CLEAN)


def test_one_model_per_original_is_measured_as_by_hand(tmp_path):
    results = assess.run(plan(originals=3, **ONE), tmp_path / "run", workers=1, progress=False)
    assert len(list((tmp_path / "run" / "models").glob("retrained-*"))) == 3
    task = copied()
    y = {name: getattr(task, name).labels for name in ("forget", "unseen", "test")}
    z, other = ({name: results.logits("retrained", name)[:, o] for name in y} for o in (1, 2))
    own = {name: results.logits("finetune", name, 1)[:, 0] for name in y}
    by_hand, found = audit.scores(own, y), results.measures("finetune")[1]
    assert found["top2"] == by_hand.top2.point
    assert found["final score"] == by_hand.final_score
    assert found["JS distance"] == by_hand.js_distance
    right = [audit.accuracy(each["forget"], y["forget"]).point for each in (own, z, other)]
    assert found["forget gap"] == right[0] - right[1]
    assert found["distance"] == max(abs(found["forget gap"]), abs(found["test gap"]))
    assert found["activation"] == audit.activation_distance(own["forget"], z["forget"]).point
    null = results.measures("null")[1]  # an oracle against the next one
    assert null["forget gap"] == right[1] - right[2]
    assert {"ε̂", "told apart"}.isdisjoint(found)


def test_where_there_is_a_distribution_epsilon_is_among_the_measures(finished):
    found, row = finished.measures("finetune")[1], finished.rows[2]
    assert found["ε̂"] == row.epsilon[1].median
    assert found["told apart"] == (row.epsilon[1].lower > 0).mean()
    expected = finished.scores("finetune", 1)["test"].mean() - finished.scores("retrained")["test"].mean()
    assert found["test gap"] == pytest.approx(float(expected))


def test_each_row_gets_the_factor_with_the_best_validation_score_and_a_form_that_of_its_method(tmp_path):
    rows = {
        "gli": {"recipe": Recipe(1, 0.001, 16)},
        "released": {"method": "gli", "title": "GLI, released", "frozen_after": 1, "select": "reported"},
        "finetune": {"recipe": Recipe(1, 0.001, 16)},
    }
    p = plan(methods=rows, factors=(1, 30, 1e30), nonmembers="mislabelled", originals=1, **ONE)
    results = assess.run(p, tmp_path, workers=1, progress=False)
    assert set(results.trials) == {"gli", "finetune"}
    for row, tried in results.trials.items():
        assert set(tried) == {1, 30, 1e30}
        assert results.chosen[row] == max(p.factors, key=lambda f, t=tried: t[f]["validation"])
    assert results.trials["finetune"][1e30]["validation"] == float("-inf")  # its loss is not finite
    assert results.chosen["released"] == results.chosen["gli"]
    assert results.measures("released")[0]["factor"] == results.chosen["gli"]
    assert p.options("finetune", 30)["recipe"].lr == pytest.approx(0.03)
    assert plan(methods={"unsir": {}}).options("unsir", 10)["noise_lr"] == pytest.approx(0.1)
    task, seed = copied(), p.seed_of(Job("finetune", 999, 0, factor=30))
    spare = models.resnet18(3, seed=0, **p.network)
    spare.load_state_dict(results.weights(999))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    unlearned = unlearn.finetune(spare, task.request, p.options("finetune", 30)["recipe"], seed=seed, progress=False)
    torch.set_num_threads(threads)
    others = data.mislabelled(task.val)
    score = unlearn.validation_score(unlearned, task.request, others)
    assert results.trials["finetune"][30]["validation"] == score
    assert "GLI, released" in str(results.table({"final": "final score"}))


def test_part_of_an_experiment_can_be_read(tmp_path):
    results = assess.run(plan(originals=3, **ONE), tmp_path, workers=1, progress=False)
    whole = results.measures("finetune")
    (tmp_path / "models" / "finetune-1-000.safetensors").unlink()
    part = Assessment.open(tmp_path)
    assert part.measures("finetune") == [whole[0], whole[2]]
    (tmp_path / "models" / "original-000.safetensors").unlink()
    assert len(Assessment.open(tmp_path).measures("original")) == 2
    with pytest.raises(InputError, match="holds no experiment"):
        Assessment.open(tmp_path / "models")


def test_what_is_recorded_reads_as_what_was_measured(tmp_path):
    p = plan(originals=2, variants=(assess.GIVEN, assess.CLEAN), factors=(1, 2), **ONE)
    results = assess.run(p, tmp_path / "run", workers=1, progress=False)
    assert [path.name for path in results.record(tmp_path / "kept")] == ["0.json", "1.json"]
    again = assess.read(tmp_path / "kept")
    assert again.plan == p
    for variant in p.variants:
        for row in results.order:
            assert again.measures(row, variant) == results.measures(row, variant)
    assert (again.chosen, again.trials) == (results.chosen, results.trials)
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) < 20_000
    with pytest.raises(InputError, match="holds no recorded measures"):
        assess.read(tmp_path)


def test_a_difference_counts_when_it_is_beyond_two_spreads():
    assert assess.beyond([0.5, 0.6], [0.1, 0.2]) == (pytest.approx(0.4), 1)
    assert assess.beyond([0.1, 0.2], [0.5, 0.6])[1] == -1
    assert assess.beyond([0.5, 0.6], [0.4, 0.5])[1] == 0
    assert assess.beyond([0.9], [0.1, 0.2])[1] == 0  # one network has no spread
    assert math.isnan(assess.beyond([], [0.1])[0])


def test_results_are_published_under_the_names_of_the_reported_tables(finished, monkeypatch):
    published = {}
    monkeypatch.setattr("mulib.show.glue", lambda name, value, spec="": published.update({name: value}))
    finished.glue("mufac", rows={"finetune": "released"}, measures=("test", "forget gap", "ε̂"))
    assert published["mufac.released.test_accuracy"] == finished.mean("finetune", "test")
    assert published["mufac.released.test_accuracy.spread"] == finished.deviation("finetune", "test")
    assert published["mufac.released.test_accuracy.shown"] == finished.cell("finetune", "test")
    assert {name.split(".")[2] for name in published} == {"test_accuracy", "forget_gap", "epsilon"}


def test_a_dry_run_counts_and_trains_nothing(tmp_path):
    folder = tmp_path / "run"
    command = ["assess", "mufac", "--tier", "smoke", "--originals", "1", "--method", "finetune", "--workers", "1"]
    command += ["--folder", str(folder), "--dry-run"]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    assert not folder.exists()
    lines = {line.split("  ")[0]: line.split() for line in first.output.splitlines()}
    assert lines["finetune"][1:3] == ["0", "2"]
    assert lines["one at a time"][4:6] == ["0", "6"]


def test_what_is_there_is_counted_and_tells_how_long_the_rest_takes(finished):
    view = assess.outlook(plan(models=3), finished.folder, workers=2)
    assert (view.there["finetune"], view.missing["finetune"], view.missing["retrained"]) == (4, 2, 2)
    assert view.left == pytest.approx((2 * view.each("finetune") + 2 * view.each("retrained")) / 2)
    longer = plan(methods={"finetune": {"recipe": Recipe(3, 0.01, 16)}})
    (finished.folder / "models" / "original-000.safetensors").rename(finished.folder / "models" / "x")
    for file in (finished.folder / "models").glob("finetune*"):
        file.unlink()
    view = assess.outlook(longer, finished.folder, workers=1)
    assert view.each("finetune") == pytest.approx(1.5 * max(view.each("retrained"), view.each("original")))


def test_unknown_plans_methods_and_task_options():
    with pytest.raises(InputError, match="there is no plan 'cifar100' in tier 'quick': expected one of digits"):
        assess.get("cifar100")
    with pytest.raises(InputError, match="tiny has no poison: expected finetune"):
        plan().only(["poison"])
    with pytest.raises(InputError, match="digits has no option size: expected seed, images, forget"):
        plan(task="digits", task_options={"size": 3}).load()


def test_divergence_keeps_the_last_good_weights_and_names_their_file(tmp_path):
    hot = plan(methods={"finetune": {"recipe": Recipe(epochs=3, lr=1e30)}})
    with pytest.raises(DivergedError, match=r"finetune-0-000: the loss is .* at step \d+.* weights are in") as error:
        assess.run(hot, tmp_path / "hot", workers=1, progress=False)
    kept = Path(str(error.value).rpartition("weights are in ")[2].rstrip("."))
    assert all(torch.isfinite(v).all() for v in load_file(kept).values())
    assert error.value.step >= 1


def test_values_are_audited_by_their_residual(tmp_path, monkeypatch):
    monkeypatch.setitem(catalogue.BUILT_IN, "tiny", lambda: tiny(labels="values"))
    results = assess.run(plan(), tmp_path / "values", workers=1, progress=False)
    published = results.published()
    assert published.statistic == "residual"
    assert torch.equal(published.labels, tiny(labels="values").forget.labels)
    outputs = results.logits("finetune", "test", 0)[:, 0, 0]
    error = (outputs - tiny(labels="values").test.labels).abs().double().mean()
    assert results.scores("finetune", 0)["test"][0] == error
    assert results.rows[1].epsilon[0].statistic == "residual"


@pytest.mark.trains
def test_the_command_prints_a_table_and_epsilon_reads_the_folder(tmp_path):
    def call(*arguments):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    folder = str(tmp_path / "out")
    sizes = ("--originals", "1", "--models", "4", "--method", "finetune")
    table = call("assess", "digits", "--tier", "smoke", *sizes, "--workers", "1", "--folder", folder)
    assert [line.split()[0] for line in table.splitlines()] == ["approach", "original", "null", "finetune"]
    rows = json.loads(call("epsilon", f"{folder}/original-0", "--all", "--json"))
    assert {row["approach"] for row in rows} == {"baseline", "null", "finetune"}


@pytest.mark.trains
def test_five_kills_change_nothing(tmp_path):
    """A run that is killed at five random moments ends with the numbers of one that is not, and repeats no model."""
    done = subprocess.run(
        [sys.executable, TESTS / "kills.py", tmp_path, "5"], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] == 5
    assert report["repeated"] == []
    assert report["files"] > 10
    assert report["different"] == []


SLEEPERS = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_assess import plan
from mulib import assess, unlearn
from mulib.recipe import Recipe
ONCE, AT = Recipe(epochs=1, lr=0.05), sys.argv[2]
@unlearn.method("sleeper", title="Sleeper", paper="none", family="gradient")
def sleeper(model, request, recipe=ONCE, *, seed=0, on_step=None, progress=True):
    Path(AT, f"pid-{os.getpid()}").touch()
    time.sleep(600)
rows = {"sleeper": {"recipe": ONCE}}
assess.run(plan(task="digits", training=ONCE, methods=rows, models=1), Path(AT, "run"), workers=2, progress=False)
"""


@pytest.mark.trains
def test_the_workers_of_a_killed_experiment_end_with_it(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SLEEPERS, str(TESTS), str(tmp_path)])
    assert left_after_the_death_of(process, lambda: len(list(tmp_path.glob("pid-*"))) == 2) == []


def test_the_estimate_of_what_is_left(tmp_path):
    """Four retrained models at 8 s and two originals; the method has half the epochs, then its own measured time."""
    left = sys.modules["mulib.assess.run"].Outlook(plan(), tmp_path, 2)
    left.finished(Job("retrained", None, 0), 8.0)
    assert left.left == pytest.approx((3 * 8 + 2 * 8 + 4 * 4) / 2)
    left.finished(Job("finetune", 0, 0), 1.0)
    assert left.left == pytest.approx((3 * 8 + 2 * 8 + 3 * 1) / 2)


def test_binned_values():
    task = tiny(labels="values").binned([5, 20])
    assert task.train.classes == ("< 5", "5-20", "≥ 20")
    assert torch.equal(task.train.labels, tiny().train.labels)
    years = data.faces.age(people=6, pictures=2, forget=2, val=1, test=1, unseen=1, size=32, labels="years")
    assert years.train.outputs == 1
    with pytest.raises(InputError, match="labels is 'months'"):
        data.faces.age(labels="months")
