"""A grid of runs: what a file asks for, that nothing is lost or run twice on a cluster, and the table at the end."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pandas
import pytest
from click.testing import CliRunner
from distributed import Client, KilledWorker, LocalCluster
from PIL import Image
from projects import code, command, mulib, notebook, parameters, project, prose

from mulib import InputError
from mulib.__main__ import main
from mulib.press import grid as batch
from mulib.press.record import Record
from mulib.press.runs import Run

COUNTED = notebook(
    prose("# Counted"),
    parameters("tier = 'quick'\ndevice = 'cpu'\nseed = 7\ndataset = 'digits'\nlr = 0.1"),
    code("import os\nimport time\nfrom mulib.show import glue"),
    code("glue('score', seed + lr, '.2f')\nglue('claim.holds', dataset)\nglue('most', float('inf'))"),
    code("time.sleep(float(os.environ.get('NAP', 0)))"),
)
FLAKY = notebook(
    prose("# Flaky"),
    parameters(),
    code("from pathlib import Path\nmark = Path('../mark')\nfirst = not mark.exists()\nmark.touch()"),
    code("if first:\n    raise OSError('not yet')"),
)


def grid(folder, text):
    path = folder / "grid.yml"
    path.write_text(text)
    return path


@pytest.fixture
def book(tmp_path):
    return project(tmp_path, _00_counted=COUNTED, _01_flaky=FLAKY)


def test_a_grid_is_the_product_of_its_lists(book):
    text = "notebooks: ['00']\ntier: smoke\nseeds: [0, 1]\ndatasets: [digits, faces]\nparameters: {lr: [0.1, 0.2]}\n"
    jobs = batch.read_grid(book, grid(book, text))
    values = {(job.seed, job.parameters["dataset"], job.parameters["lr"]) for job in jobs}
    assert values == {(s, d, lr) for s in (0, 1) for d in ("digits", "faces") for lr in (0.1, 0.2)}
    assert len({job.output for job in jobs}) == len(jobs) == 8
    assert not any(job.shown for job in jobs)


def test_blocks_are_added_and_what_two_ask_for_stands_once(book):
    text = "- {notebooks: [0], tier: smoke, seeds: [0, 1]}\n- {tier: smoke}\n"
    jobs = batch.read_grid(book, grid(book, text))
    assert [(job.name, job.seed) for job in jobs] == [("00_counted", 0), ("00_counted", 1), ("01_flaky", 0)]
    assert [job.shown for job in jobs] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 3\n", "grid.yml has 3: expected a mapping of notebooks"),
        ("sizes: [1]\n", "grid.yml has sizes: expected a mapping"),
        ("tier: huge\n", "tier 'huge': expected one of smoke"),
        ("seeds: 3\n", "seeds: 3, expected a list of at least one"),
        ("notebooks: ['00']\nparameters: {lr: []}\n", r"lr: \[\], expected a list of at least one"),
        ("notebooks: ['00']\nparameters: {speed: 1}\n", "00_counted.ipynb has no parameter 'speed'; it has"),
        ("datasets: [digits]\n", "01_flaky.ipynb has no parameter 'dataset'"),
        ("notebooks: ['07']\n", "'07' is not a notebook"),
        ("seeds: [0\n", "(?s)cannot be read .* expected a grid"),
    ],
)
def test_a_bad_grid_is_one_sentence(book, text, message):
    with pytest.raises(InputError, match=message):
        batch.read_grid(book, grid(book, text))


def test_the_command_says_what_a_grid_leaves_no_room_for(book):
    process = mulib(book, "run", "00", "--grid", grid(book, "tier: smoke\n"), "--seed", 3)
    assert process.returncode == 2
    assert "leave out notebooks and seeds, or write them into" in process.stderr


def test_a_scheduler_that_does_not_answer_is_one_sentence(book, monkeypatch):
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 .*: start one"):
        list(batch.execute_on_dask([], "tcp://127.0.0.1:9", timeout=1))


class Cluster:
    """Stands for `distributed`, all in one: one worker, which has what this machine has but for what `has` says.

    `answers` are what came of the runs, in their order, an exception where a worker died; after the last one the
    scheduler is gone.
    """

    def __init__(self, answers=(), has=None, threads=1):
        self.answers, self.has, self.threads, self.submitted = list(answers), has or {}, threads, []
        self.Client = lambda address, timeout: self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def nthreads(self):
        return {"tcp://one": self.threads} if self.threads else {}

    def run(self, machine, root, asked):
        if isinstance(self.has, Exception):
            raise self.has
        return {"tcp://one": machine(root, asked) | self.has}

    def submit(self, call, run, *rest, **options):
        self.submitted.append(run)
        return Future()

    def as_completed(self, futures):
        for future, answer in zip(futures, self.answers, strict=False):
            future.set_exception(answer) if isinstance(answer, Exception) else future.set_result(answer)
            yield future
        if len(self.answers) < len(futures):
            raise OSError("Timed out trying to connect")


@pytest.fixture
def cluster(monkeypatch):
    """Put a `Cluster` in the place of `distributed`."""

    def put(*arguments, **options):
        monkeypatch.setitem(sys.modules, "distributed", made := Cluster(*arguments, **options))
        return made

    return put


FINISHED = {"seconds": 1.0, "kib": 1}
THREE = "notebooks: ['00']\ntier: smoke\nseeds: [0, 1, 2]\ndatasets: [faces]\n"


@pytest.mark.parametrize("what", ["sources of mulib", "notebooks", "data"])
def test_a_worker_that_has_something_else_is_named_and_nothing_is_submitted(book, cluster, what):
    made = cluster(has={what: "other"})
    with pytest.raises(InputError, match=f"^the worker tcp://one has other {what} than this machine: "):
        list(batch.execute_on_dask(batch.read_grid(book, grid(book, THREE)), "tcp://here:1"))
    assert made.submitted == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"has": ModuleNotFoundError("No module named 'mulib'")},
            r"cannot say what it has \(No .*\): install this",
        ),
        ({"threads": 0}, "the scheduler at tcp://here:1 has no worker: start one with `dask worker tcp://here:1`"),
    ],
)
def test_a_cluster_that_cannot_run_anything_is_one_sentence(book, cluster, options, sentence):
    made = cluster(**options)
    with pytest.raises(InputError, match=sentence):
        list(batch.execute_on_dask(batch.read_grid(book, grid(book, THREE)), "tcp://here:1"))
    assert made.submitted == []


def test_when_the_scheduler_is_gone_each_run_that_is_left_has_that_as_its_reason(book, cluster):
    cluster([FINISHED])
    runs = batch.read_grid(book, grid(book, THREE))
    found = [(run.seed, result) for run, result in batch.execute_on_dask(runs, "tcp://here:1")]
    lost = {"error": "the scheduler was lost (OSError)", "details": ""}
    assert found == [(0, FINISHED), (1, lost), (2, lost)]


def test_what_a_worker_finished_after_the_scheduler_was_gone_is_there(book, cluster, monkeypatch):
    cluster([FINISHED])
    monkeypatch.setattr(Run, "done", lambda run: run.seed == 2)
    runs = batch.read_grid(book, grid(book, THREE))
    found = {run.seed: result for run, result in batch.execute_on_dask(runs, "tcp://here:1")}
    assert found[2] == {"skipped": True}


def test_a_run_whose_workers_died_is_one_failure_among_the_others(book, cluster):
    cluster([FINISHED, KilledWorker("key", SimpleNamespace(address="tcp://two"), 3), FINISHED])
    runs = batch.read_grid(book, grid(book, THREE))
    found = [result.get("error", "") for _, result in batch.execute_on_dask(runs, "tcp://here:1")]
    assert found == ["", "its worker was lost (KilledWorker)", ""]


def by_command(book, monkeypatch, text):
    """Give the grid to a cluster by the command, in this process; return what click has of it."""
    monkeypatch.chdir(book)
    return CliRunner().invoke(main, ["run", "--grid", str(grid(book, text)), "--scheduler", "tcp://here:1"])


def test_the_command_counts_what_a_lost_scheduler_left_and_ends_with_1(book, cluster, monkeypatch):
    cluster([FINISHED])
    called = by_command(book, monkeypatch, THREE)
    assert called.exit_code == 1
    assert "1 executed, 0 already there, 2 failed" in called.stdout
    heads = [line for line in called.stderr.splitlines() if line.startswith("FAILED")]
    assert heads == [
        f"FAILED  00_counted  smoke  seed {seed}  dataset=faces: the scheduler was lost (OSError)" for seed in (1, 2)
    ]


def test_runs_that_are_said_to_be_finished_and_lie_elsewhere_are_lost(book, cluster, monkeypatch):
    cluster([FINISHED] * 3)
    called = by_command(book, monkeypatch, THREE)
    assert called.exit_code == 1
    heads = [f"00_counted  smoke  seed {seed}  dataset=faces" for seed in range(3)]
    assert called.stderr == f"lost    {', '.join(heads)}: no record of this source lies here\n"


def test_a_run_that_a_page_shows_and_that_lies_elsewhere_is_lost_too(book, cluster, monkeypatch):
    cluster([FINISHED])
    called = by_command(book, monkeypatch, "notebooks: ['00']\ntier: smoke\n")
    assert (called.exit_code, called.stderr.startswith("lost    00_counted  smoke  seed 0")) == (1, True)


@pytest.mark.parametrize("word", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_word_that_a_spreadsheet_would_run_is_quoted_in_the_csv_alone(tmp_path, monkeypatch, word):
    row = {"metric": "said", "value": math.nan, "text": word}
    monkeypatch.setattr(batch, "table", lambda runs: pandas.DataFrame([row, row | {"text": "a=1"}]))
    parquet, csv = batch.write_table([], tmp_path / "grid")
    assert pandas.read_csv(csv, lineterminator="\n").text.tolist() == [f"'{word}", "a=1"]
    assert pandas.read_parquet(parquet).text.tolist() == [word, "a=1"]


@pytest.mark.book
def test_failures_are_tried_again_when_asked_and_the_table_has_the_others(book):
    text = "- {notebooks: ['00'], tier: smoke, datasets: [digits, faces]}\n- {notebooks: ['01'], tier: smoke}\n"
    path = grid(book, text)
    (book / "mark").mkdir()  # touching it works, and it exists: the notebook comes through
    process = mulib(book, "run", "--grid", path, "--jobs", 2)
    assert process.returncode == 0, process.stderr
    assert "00_counted  smoke  seed 0  dataset=faces" in process.stdout
    (book / "mark").rmdir()
    once = mulib(book, "run", "01", "--tier", "smoke", "--force")
    assert once.returncode == 1
    assert "OSError: not yet" in once.stderr
    (book / "mark").unlink()
    twice = mulib(book, "run", "01", "--tier", "smoke", "--force", "--retries", 1)
    assert twice.returncode == 0, twice.stderr

    for table in (pandas.read_parquet(book / "_executed/grid.parquet"), pandas.read_csv(book / "_executed/grid.csv")):
        score = table[table.metric == "score"].set_index("dataset")
        assert score.value.to_dict() == {"digits": 0.1, "faces": 0.1}
        assert set(table[table.metric == "claim.holds"].text) == {"digits", "faces"}
        assert table[table.metric == "most"].value.tolist() == [math.inf] * 2
        assert {"tier", "seed", "seconds", "commit", "started"} < set(table.columns)


@pytest.mark.book
def test_twelve_runs_survive_the_death_of_a_worker_and_of_the_client(book):
    """Two workers; one is killed in the middle of a run, the client another time: all there, none lost, none twice."""
    path = grid(book, f"notebooks: ['00']\ntier: smoke\nseeds: {list(range(6))}\ndatasets: [digits, faces]\n")
    records = book / "_executed" / "runs" / "smoke"
    asked = command("run", "--grid", path, "--scheduler")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        environment = {**os.environ, "NAP": "0.5"}
        client = subprocess.Popen([*asked, cluster.scheduler_address], cwd=book, env=environment)
        _wait_for(lambda: len(list(records.glob("*.json"))) >= 3)
        worker = next(iter(cluster.workers.values())).pid
        os.kill(worker, signal.SIGKILL)
        _wait_for(lambda: len(list(records.glob("*.json"))) >= 6)
        client.kill()
        client.wait()
        before = {path.name: path.read_bytes() for path in records.glob("*.json")}
        assert 6 <= len(before) < 12

        again = mulib(book, "run", "--grid", path, "--scheduler", cluster.scheduler_address)
        assert again.returncode == 0, again.stderr
    assert len(list(records.glob("*.json"))) == 12
    assert all((records / name).read_bytes() == content for name, content in before.items())
    lines = [line for line in again.stdout.splitlines() if line.startswith(("done", "there"))]
    assert len(lines) == len(set(lines)) == 12
    table = pandas.read_parquet(book / "_executed" / "grid.parquet")
    score = table[table.metric == "score"]
    assert sorted(zip(score.seed, score.dataset, strict=True)) == [
        (s, d) for s in range(6) for d in ("digits", "faces")
    ]
    assert score.value.tolist() == pytest.approx([s + 0.1 for s in score.seed])


@pytest.mark.book
def test_two_who_ask_for_the_same_run_at_once_run_it_once(book):
    asked = command("run", "00", "--tier", "smoke")
    environment = {**os.environ, "NAP": "2"}
    both = [subprocess.Popen(asked, cwd=book, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in both]
    assert sorted("1 executed, 0 already there" in text for text in printed) == [False, True]
    assert sorted("0 executed, 1 already there" in text for text in printed) == [False, True]


@pytest.mark.book
def test_two_runs_with_the_same_seed_give_equal_metrics(book):
    path = book / "_executed" / "runs" / "smoke" / "00_counted.seed0.json"
    found = []
    for _ in range(2):
        assert mulib(book, "run", "00", "--tier", "smoke", "--force").returncode == 0
        found.append(Record.read(path))
    assert found[0].metrics == found[1].metrics
    assert found[0].came_out["notebook"]


@pytest.mark.book
def test_tracking_writes_an_offline_run_with_the_metrics(book):
    pytest.importorskip("wandb")
    process = mulib(book, "run", "00", "--tier", "smoke", "--track", "wandb", WANDB_MODE="offline")
    assert process.returncode == 0, process.stderr
    (run,) = (book / "_executed" / "wandb" / "wandb").glob("offline-run-*")
    written = b"".join(path.read_bytes() for path in run.rglob("*.wandb"))
    for expected in (b"score", b"00_counted", json.dumps("digits").encode()):
        assert expected in written


PICTURED = """from matplotlib import pyplot
from IPython.display import HTML, display
from mulib import show
show.use()
pyplot.plot([1, 2])
pyplot.show()
display(HTML("<table><tr><th>method</th><th>cost</th></tr><tr><td colspan=2>one family</td></tr>"
             "<tr><th>SSD &lt;b&gt;</th><td>0.25</td></tr></table>"))"""


@pytest.mark.book
def test_tracking_sends_figures_and_tables_that_a_reader_sees(tmp_path):
    pytest.importorskip("wandb")
    said = {"mystnb": {"image": {"alt": "A line that rises from one to two."}}}
    cells = code(PICTURED, **said), code(PICTURED, tags=["remove-cell"], **said)
    folder = project(tmp_path, _00_pictured=notebook(prose("# Pictured"), parameters(), *cells))
    process = mulib(folder, "run", "00", "--tier", "smoke", "--track", "wandb", WANDB_MODE="offline")
    assert process.returncode == 0, process.stderr
    (run,) = (folder / "_executed" / "wandb" / "wandb").glob("offline-run-*")
    pictures, tables = (sorted((run / "files" / "media").rglob(f"*.{ending}")) for ending in ("png", "table.json"))
    assert len(pictures) == len(tables) == 1
    assert Image.open(pictures[0]).width > 300
    table = json.loads(tables[0].read_text())
    assert table["columns"] == ["method", "cost"]
    assert table["data"] == [["one family", ""], ["SSD <b>", "0.25"]]


def _wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"nothing happened in {seconds} s")


TICKETED = notebook(
    prose("# Ticketed"),
    parameters(),
    code("import time\nfrom pathlib import Path\nfrom mulib.show import glue\nglue('score', seed)"),
    code("""taken = False
for ticket in Path('../tickets').iterdir():
    try:
        ticket.unlink()
        taken = True
        break
    except FileNotFoundError:  # another run was quicker
        pass"""),
    code("time.sleep(0 if taken else 600)"),
)


@pytest.mark.book
def test_a_grid_whose_scheduler_is_killed_ends_by_itself_keeps_what_finished_and_lists_the_rest(tmp_path):
    """Three of six runs have a ticket and finish, the others sleep; then the scheduler is killed, and nothing else."""
    book, records = project(tmp_path, _02_ticketed=TICKETED), tmp_path / "_executed" / "runs" / "smoke"
    (book / "tickets").mkdir()
    for name in "abc":
        (book / "tickets" / name).touch()
    path, address = grid(book, f"tier: smoke\nseeds: {list(range(6))}\n"), book / "scheduler.json"
    start, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", "--scheduler-file", address]
    running = [subprocess.Popen([*start, "scheduler", *options], cwd=book, **quiet)]
    try:
        _wait_for(address.exists)
        server = json.loads(address.read_text())["address"]
        workers = ["--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
        running.append(subprocess.Popen([*start, "worker", server, *workers], cwd=book, **quiet))
        with Client(server, timeout=60) as watching:
            watching.wait_for_workers(2, timeout=60)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        asked = subprocess.Popen(command("run", "--grid", path, "--scheduler", server), cwd=book, **pipes)
        running.append(asked)
        _wait_for(lambda: asked.poll() is not None or len(list(records.glob("[!.]*.json"))) == 3, seconds=300)
        ended_before, there = asked.poll(), {int(file.stem.split("seed")[1]) for file in records.glob("[!.]*.json")}
        running[0].kill()
        printed, said = asked.communicate(timeout=300)
    finally:
        for process in running:
            process.terminate()
            process.wait()
    kept, rest = (
        {int(re.search(r"seed (\d+)", line)[1]) for line in text.splitlines() if line.startswith(heads)}
        for text, heads in ((printed, ("done", "there")), (said, "FAILED"))  # "there": done, and no word of it came
    )
    assert (ended_before, asked.returncode, len(there)) == (None, 1, 3), printed + said
    assert (kept, rest) == (there, set(range(6)) - there), printed + said
    assert "3 failed" in printed
    assert said.count(": the scheduler was lost (") == 3
    assert "Traceback" not in said
    assert set(pandas.read_csv(book / "_executed" / "grid.csv").seed) == there


@pytest.mark.book
def test_with_certificates_as_the_page_shows_and_not_without(book):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: no certificate can be made")
    ask = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=mulib -keyout key.pem -out cert.pem"
    subprocess.run(ask.split(), cwd=book, check=True, capture_output=True)
    tls = ["--tls-ca-file", "cert.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    settings = {"CA_FILE": "cert.pem", "CLIENT__CERT": "cert.pem", "CLIENT__KEY": "key.pem"}
    mine = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(book / file) for name, file in settings.items()}
    address = book / "scheduler.json"
    start = [sys.executable, "-m", "dask"]
    options = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", "--protocol", "tls"]
    quiet = {"cwd": book, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen([*start, "scheduler", *options, "--scheduler-file", address, *tls], **quiet)]
    try:
        _wait_for(address.exists)
        server = json.loads(address.read_text())["address"]
        assert server.startswith("tls://")
        worker = [*start, "worker", server, "--nthreads", "1", "--no-dashboard", *tls]
        running.append(subprocess.Popen(worker, **quiet))
        without = mulib(book, "run", "00", "--tier", "smoke", "--scheduler", server)
        assert without.returncode == 2
        assert "no Dask scheduler answers at tls://" in without.stderr
        asked = (book, "run", "00", "--tier", "smoke", "--scheduler", server)
        while "has no worker" in (run := mulib(*asked, **mine)).stderr:
            time.sleep(1)
        assert run.returncode == 0, run.stderr
    finally:
        for process in running:
            process.terminate()
            process.wait()
    assert len(list((book / "_executed" / "runs" / "smoke").glob("*.json"))) == 1
