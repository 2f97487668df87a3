"""A grid of runs: what a file asks for, that nothing is lost or run twice on a cluster, and the table at the end."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas
import pytest
from distributed import LocalCluster
from projects import code, command, mulib, notebook, parameters, project, prose

from mulib import InputError
from mulib.press import grid as batch
from mulib.press.record import Record

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
def test_twenty_four_runs_survive_the_death_of_a_worker_and_of_the_client(book):
    """Two workers; one is killed in the middle of a run, the client another time: all there, none lost, none twice."""
    path = grid(book, f"notebooks: ['00']\ntier: smoke\nseeds: {list(range(12))}\ndatasets: [digits, faces]\n")
    records = book / "_executed" / "runs" / "smoke"
    asked = command("run", "--grid", path, "--scheduler")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        environment = {**os.environ, "NAP": "0.5"}
        client = subprocess.Popen([*asked, cluster.scheduler_address], cwd=book, env=environment)
        _wait_for(lambda: len(list(records.glob("*.json"))) >= 4)
        worker = next(iter(cluster.workers.values())).pid
        os.kill(worker, signal.SIGKILL)
        _wait_for(lambda: len(list(records.glob("*.json"))) >= 8)
        client.kill()
        client.wait()
        before = {path.name: path.read_bytes() for path in records.glob("*.json")}
        assert 8 <= len(before) < 24

        again = mulib(book, "run", "--grid", path, "--scheduler", cluster.scheduler_address)
        assert again.returncode == 0, again.stderr
    assert len(list(records.glob("*.json"))) == 24
    assert all((records / name).read_bytes() == content for name, content in before.items())
    lines = [line for line in again.stdout.splitlines() if line.startswith(("done", "there"))]
    assert len(lines) == len(set(lines)) == 24
    table = pandas.read_parquet(book / "_executed" / "grid.parquet")
    score = table[table.metric == "score"]
    assert sorted(zip(score.seed, score.dataset, strict=True)) == [
        (s, d) for s in range(12) for d in ("digits", "faces")
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


def _wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"nothing happened in {seconds} s")


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
