"""The command line: ``python -m mulib COMMAND`` or ``mulib COMMAND``. A command is a function of the library."""

import errno
import io
import os
import signal
import sys
import threading
import time
from pathlib import Path

import click

from mulib import InputError, __version__
from mulib.text import aligned, printable


class _Group(click.Group):
    """A group whose commands report bad input as one sentence and exit code 2, and end at once at Ctrl-C."""

    def invoke(self, ctx: click.Context):
        signal.signal(signal.SIGINT, _interrupted)
        for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 shows \\u2713, and no traceback
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except InputError as error:
            sys.exit(_said(error))
        except BrokenPipeError:
            raise
        except OSError as error:  # a full disk, a folder that cannot be used
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            then = "make room" if full else "correct it, or name another with the option or the variable that says so"
            sys.exit(_said(f"{error.filename or 'the output'} cannot be used ({error.strerror or error}): {then}."))
        except RuntimeError as error:
            if not _of_the_machine(error):
                raise
            sys.exit(_said(f"{str(error).rstrip('.')}: give what is missing, or choose another device or folder."))


def _of_the_machine(error):
    return type(error) is RuntimeError and any(word in str(error) for word in ("home directory", "CUDA", "device"))


def _said(error):
    click.echo(f"mulib: {printable(' '.join(str(error).split()))}", err=True)
    return 2


def _interrupted(*_):
    """End now: child processes end with this one, and the next call sweeps up what they were writing."""
    os.write(2, b"\nmulib: interrupted; what is finished is kept, and the same command goes on from there.\n")
    os._exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main():
    """Machine unlearning, executed: measure, run notebooks, fetch data."""


@main.command()
@click.argument("notebooks", nargs=-1)
@click.option("--tier", type=click.Choice(["smoke", "quick", "paper"]), default="quick", show_default=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="Repeatable.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Notebooks at a time.")
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter. Repeatable.")
@click.option(
    "--grid", type=click.Path(dir_okay=False), help="A YAML file that says what to run, instead of the above."
)
@click.option("--scheduler", metavar="tcp://…", help="Run on the Dask cluster there, not on this machine alone.")
@click.option(
    "--retries", type=click.IntRange(0), default=0, show_default=True, help="How often what fails is tried again."
)
@click.option("--track", type=click.Choice(["wandb"]), help="Send what came out to Weights & Biases, too.")
@click.option("--force", is_flag=True, help="Run again what a record already holds.")
@click.option("--timeout", type=click.IntRange(0), default=0, help="Seconds a cell may take; 0: no limit.")
@click.option("--dry-run", is_flag=True, help="Only say what would run, and why.")
@click.pass_context
def run(ctx, notebooks, tier, seeds, jobs, pairs, grid, scheduler, retries, track, force, timeout, dry_run):
    """Execute notebooks (by name or its beginning, such as 13; all by default) and stage them for the book.

    With --grid, one table of all that came out is written beside the runs, as Parquet and as CSV.
    """
    from mulib.press import grid as grids
    from mulib.press import runs

    root = runs.find_root()
    if grid is None:
        overrides = runs.parse_overrides(pairs)
        planned = runs.plan(root, runs.find_notebooks(root, notebooks), tier, seeds, overrides, timeout)
    else:
        given = [
            name
            for name in ("notebooks", "tier", "seeds", "pairs")
            if ctx.get_parameter_source(name).name == "COMMANDLINE"
        ]
        if given:
            raise InputError(f"--grid says what to run; leave out {' and '.join(given)}, or write them into {grid}.")
        planned = grids.read_grid(root, grid, timeout)
    if dry_run:
        for one in planned:
            why = one.why() or ("--force was given" if force else "")
            click.echo(f"{'would run' if why else 'there    '}  {_head(one)}" + f": {why}" * bool(why))
        return
    finished = (
        grids.execute_on_dask(planned, scheduler, force, retries)
        if scheduler
        else runs.execute(planned, jobs, force, retries)
    )
    failed = _follow(planned, finished, track)
    if lost := [one for one in planned if not failed and not one.done()]:
        click.echo(f"lost    {', '.join(map(_head, lost))}: no record of this source lies here", err=True)
    if grid is not None:
        for path in grids.write_table(planned, root / "_executed" / Path(grid).stem):
            click.echo(path)
    sys.exit(1 if failed or lost else 0)


def _head(one):
    return "  ".join([one.name, one.tier, f"seed {one.seed}", *(f"{k}={v}" for k, v in one.overrides.items())])


def _watch(planned, bar, over, every=60.0):
    """Show what runs: in the bar every two seconds, or, where that is no terminal, a line each minute."""
    said = time.monotonic()
    while not over.wait(2.0):
        now = [f"{one.name} {one.at}" for one in planned if one.running.exists() and one.at]
        if bar.disable and now and time.monotonic() - said > every:
            said = time.monotonic()
            click.echo("\n".join(f"runs    {line}" for line in now), err=True)
        elif not bar.disable:
            bar.set_postfix_str("; ".join(now))


def _follow(planned, finished, tracked):
    """Print one line per finished run and a summary; stage what the book shows; return how many failed."""
    from tqdm import tqdm

    from mulib.press.grid import track
    from mulib.press.runs import stage

    counts = {"executed": 0, "already there": 0, "failed": 0}
    bar = tqdm(finished, total=len(planned), unit="run", leave=False, disable=None)
    over = threading.Event()
    threading.Thread(target=_watch, args=(planned, bar, over), daemon=True).start()
    for one, result in bar:
        head = _head(one)
        if "error" in result:
            counts["failed"] += 1
            tqdm.write(f"FAILED  {head}: {result['error']}\n{result['details']}".rstrip(), file=sys.stderr)
            continue
        if one.shown and one.done():  # what a cluster calls finished may lie elsewhere: it is said to be lost
            stage(one)
        if result.get("skipped"):
            counts["already there"] += 1
            tqdm.write(f"there   {head}  (--force runs it again)")
        else:
            counts["executed"] += 1
            if tracked:
                track(one)
            tqdm.write(f"done    {head}  {result['seconds']:.1f} s  {result['kib']} KiB")
    over.set()
    click.echo(", ".join(f"{count} {what}" for what, count in counts.items()))
    return counts["failed"]


@main.group(invoke_without_command=True)
@click.pass_context
def data(ctx):
    """List the data sets: which are on this machine and where, and how to get the others."""
    if ctx.invoked_subcommand is not None:
        return
    from mulib.data.catalogue import listing

    entries = listing()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        click.echo(f"{'✓' if entry.available else '–'} {entry.name:<{width}}  {entry.where}")


@data.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(name, as_json):
    """Look for leaks in the data set NAME: copies, near copies, label conflicts, people in several sets."""
    import json

    from mulib.data import leaks
    from mulib.data.catalogue import load

    report = leaks.check(load(name))
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else str(report))


@main.command()
@click.argument("folder")
@click.argument("approaches", nargs=-1, metavar="APPROACH...")
@click.option("--all", "everything", is_flag=True, help="Every approach in FOLDER, and the null row.")
@click.option(
    "--split-null", is_flag=True, help="Add the null row: one half of the retrained models against the other."
)
@click.option("--delta", default=0.05, show_default=True, help="δ of (ε, δ)-unlearning, 0 ≤ δ < 1.")
@click.option("--models", type=int, help="Use the first N models of each kind.")
@click.option("--statistic", type=click.Choice(["hinge", "loss"]), help="What classes are audited by; default hinge.")
@click.option("--json", "as_json", is_flag=True, help="One object for one approach, a list for several.")
def epsilon(folder, approaches, everything, split_null, delta, models, statistic, as_json):
    """Measure ε̂ of each APPROACH in FOLDER: unlearned against retrained models, on the forget set.

    FOLDER is a folder or a zip with logits_retain.npy, APPROACH/logits_unlearn.npy and metrics.csv, or the name of
    data that `mulib fetch` knows, such as forget-with-precision. The approach "baseline" is the null row.
    """
    from mulib.data.download import SOURCES, fetch
    from mulib.data.logits import NULL, Logits

    logits = fetch(folder) if folder in SOURCES else Logits(folder)
    wanted = [NULL, *logits.approaches] if everything else [*approaches, *[NULL] * split_null]
    if not wanted:
        raise InputError(f"no approach was named: expected one of {', '.join(logits.approaches)}, or --all.")
    rows = [_epsilon_row(logits, approach, delta, models, statistic) for approach in dict.fromkeys(wanted)]
    click.echo(_as_json(rows) if as_json else _as_table(rows))


def _epsilon_row(logits, approach, delta, models, statistic=None):
    """The audit of one approach as {name: value}."""
    from mulib import audit
    from mulib.data.logits import NULL

    unlearned, retrained = (
        audit.split_null(logits.retrained) if approach == NULL else (logits.unlearned(approach), logits.retrained)
    )
    most = min(unlearned.shape[1], retrained.shape[1])
    if models is not None and not 2 <= models <= most:
        raise InputError(f"--models is {models}: expected 2 to {most}, which is what {approach} has on each side.")
    sides = unlearned[:, :models], retrained[:, :models]
    if statistic and logits.statistic == "residual":
        raise InputError(f"--statistic is {statistic}: the models here predict values; leave it out.")
    result = audit.epsilon(*sides, logits.labels, delta=delta, statistic=statistic or logits.statistic)
    shares = {name: each[:models] for name, each in logits.accuracy(approach).items()}
    accuracy = {name: float(each.mean()) for name, each in shares.items()}
    half = {name: _half_width(each) for name, each in shares.items()}
    return {"approach": approach, **result.summary(), "accuracy": accuracy, "accuracy_half_width": half}


def _half_width(values, confidence=0.95):
    """Half the interval of a mean over models by Student's t: the models are drawn anew, each by its seed."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf((1 + confidence) / 2, n - 1) * values.std() / n**0.5) if n > 1 else float("nan")


def _as_json(rows):
    """Strict JSON: infinite and undefined numbers as the strings "inf" and "nan"."""
    import json

    from mulib.show.glue import jsonable

    clean = [{name: jsonable(value) for name, value in row.items()} for row in rows]
    return json.dumps(clean[0] if len(clean) == 1 else clean, indent=2)


def _as_table(rows):
    """Aligned columns for reading: ε in nats, accuracies in percent or errors in the unit of the values."""
    head = ["approach", "ε median", "lower", "worst decile", "ceiling", "∞", "undefined", "models"]
    scale, unit = (1, "error") if rows[0]["statistic"] == "residual" else (100, "%")
    head += [f"{name} {unit}" for name in ("retain", "forget", "test")]
    body = [
        [row["approach"]]
        + [f"{row[name]:.2f}" for name in ("median", "lower_median", "worst_decile", "ceiling")]
        + [str(row[name]) for name in ("infinite", "undefined", "n_models")]
        + [f"{scale * a:.2f} ± {scale * row['accuracy_half_width'][name]:.2f}" for name, a in row["accuracy"].items()]
        for row in rows
    ]
    note = f"δ = {rows[0]['delta']}; lower: median {rows[0]['confidence']:.0%} bound; ceiling: the most it can be; "
    note += "±: the 95 % interval of the mean."
    return f"{aligned([head, *body])}\n{note}"


def _device(ctx, parameter, value):
    """The device, if PyTorch finds it."""
    import torch

    known = ["cpu", *["cuda"] * torch.cuda.is_available(), *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if value not in known:
        raise InputError(f"--device is {value!r}: expected one of {', '.join(known)}, which is what this machine has.")
    return value


@main.command()
@click.argument("name")
@click.option("--tier", type=click.Choice(["smoke", "quick", "paper"]), default="quick", show_default=True)
@click.option("--folder", help="Where the models go, and are taken up again; by default in the cache.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.", callback=_device)
@click.option("--workers", type=click.IntRange(1), help="Models at a time; by default one per core, 4 on a GPU.")
@click.option("--originals", type=int, help="How many original models; by default the plan's.")
@click.option("--models", type=int, help="How many models of each kind; by default the plan's.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of the first model of each kind.")
@click.option("--method", "methods", multiple=True, help="Only this row. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Only say which models are there and missing, and how long these take.")
@click.option("--record", help="Write the measures into this folder too, one small file per original.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def assess(name, tier, folder, device, workers, originals, models, seed, methods, dry_run, record, as_json):
    """Train originals, retrained and unlearned models by the plan NAME, and print the table of approaches.

    Stopped at any moment, the same command goes on where it was, and with more originals, models or rows it adds them.
    Afterwards `mulib epsilon FOLDER/original-0 --all` reads what it wrote.
    """
    from mulib import assess as room
    from mulib.show import table

    plan = room.get(name, tier).scaled(originals=originals, models=models, seed=seed)
    plan = plan.only(methods) if methods else plan
    if dry_run:
        click.echo(table(room.outlook(plan, folder, device=device, workers=workers).rows()))
        return
    results = room.run(plan, folder, device=device, workers=workers)
    if record:
        results.record(record)
    if plan.models == 1:  # nothing to estimate ε from
        names = ("retain", "forget", "test", "forgetting score", "final score", "JS distance", "cost")
        lines = [{"approach": row, "measures": results.measures(row)} for row in results.order]
        click.echo(_as_json(lines) if as_json else results.table({name: name for name in names}))
    else:
        rows = results.rows
        click.echo(_as_json([row.summary() for row in rows]) if as_json else table([row.cells() for row in rows]))
    click.echo(f"The models and logits are in {results.folder}", err=True)


@main.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--size", "sizes", type=click.Choice(["small", "book", "up"]), multiple=True, default=("book", "up"))
@click.option("--json", "path", type=click.Path(dir_okay=False), help="Write the record into this file, too.")
def bench(device, sizes, path):
    """Measure the kernels: plain loop, eager and compiled torch, Triton; each only where it is equal.

    Sizes are the book's and one size up; "small" is for Triton's interpreter (TRITON_INTERPRET=1 mulib bench …).
    """
    from mulib.press import bench as room
    from mulib.press.runs import find_root

    root, rows, failed = find_root(), [], 0
    for row in room.measure(root, device, sizes):
        rows.append(row)
        failed += not row["equal"]
        told = f"{1000 * row['seconds']:>12.3f} ms" if row["equal"] else row.get("note", "not equal: no speed")
        told += f"  {row['ratio']:>8,.0f}× the loop" if "ratio" in row else ""
        click.echo(f"{row['kernel']:<20} {row['size']:<6} {row['form']:<11} {told}")
    if path:
        room.record(root, path, device, rows)
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--method", "name", help="Judge a registered method, such as that of a plug-in, instead of a FILE.")
@click.option("--card", type=click.Path(dir_okay=False), help="Where the HTML card goes; by default NAME.html, here.")
def judge(file, name, card):
    """Judge the unlearning methods that FILE registers: the contract, and a row beside finetuning and retraining.

    Exits with 0 only when every promise of the contract is kept.
    """
    from mulib import assess as room
    from mulib import unlearn

    if (file is None) == (name is None):
        raise InputError("judge one thing: a FILE that registers a method, or --method NAME.")
    found = [unlearn.get(name)] if file is None else room.from_file(file)
    if card and len(found) > 1:
        raise InputError(f"{file} registers {len(found)} methods: leave --card out, and each gets a card by its name.")
    judgements = [room.judge(method, progress=sys.stderr.isatty()) for method in found]
    for each in judgements:
        click.echo(each)
        click.echo(f"card: {room.write_card(each, card or f'{each.method.name}.html')}")
    sys.exit(1 if any(each.broken for each in judgements) else 0)


@main.command()
@click.argument("papers", nargs=-1, metavar="PAPER...")
@click.option("--accept", is_flag=True, help="Hold later reports against this one.")
@click.option("--json", "as_json", is_flag=True, help="Print every number and claim as JSON.")
def report(papers, accept, as_json):
    """Print the verdicts on what the papers report, from the runs that are here and those in book/results.

    Exits with 1 when something that held in the last accepted report no longer does.
    """
    import json

    from mulib.press import verdicts as press
    from mulib.press.runs import find_root

    root = find_root()
    verdicts = press.report(root)
    known = dict.fromkeys(item.paper for item in verdicts)
    if unknown := [paper for paper in papers if paper not in known]:
        raise InputError(f"book/reported has no paper {unknown[0]!r}: expected one of {', '.join(known)}.")
    lost = press.regressed(verdicts, press.read_accepted(root))
    if accept:
        press.accept(root, verdicts)
    shown = [item for item in verdicts if item.paper in (papers or known)]
    click.echo(json.dumps([item.as_dict() for item in shown], indent=2) if as_json else _verdicts(shown))
    for item in lost:
        click.echo(f"no longer holds: {item.id} is {item.verdict} ({item.reason})", err=True)
    sys.exit(1 if lost and not accept else 0)


def _verdicts(items):
    """The claims of each paper, a line each, and how its numbers are judged."""
    from collections import Counter

    from mulib.press.verdicts import VERDICTS

    lines = []
    for paper in dict.fromkeys(item.paper for item in items):
        ours = [item for item in items if item.paper == paper]
        claims = [item for item in ours if item.id.startswith("claim.")]
        counts = Counter(item.verdict for item in ours if item not in claims)
        numbers = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
        lines += [f"{paper}: numbers: {numbers or 'none'}"]
        lines += [f"  {line}" for line in aligned([(item.verdict, _told(item)) for item in claims]).splitlines()]
    for smaller in dict.fromkeys(item.smaller for item in items if item.smaller):
        lines.append(f"Smaller in {next(i.notebook for i in items if i.smaller == smaller)}: {smaller}.")
    if waiting := sorted({item.notebook for item in items if item.notebook and not item.judged}):
        lines.append(f"Not run here, except perhaps in smoke: {', '.join(waiting)}.")
    return "\n".join(lines)


def _told(item):
    """A claim, why it has its verdict, and what speaks where it is no run."""
    return item.text + f" ({item.reason})" * bool(item.reason)


@main.command()
@click.argument("out", type=click.Path(file_okay=False))
@click.argument("notebooks", nargs=-1)
@click.option("--tier", type=click.Choice(["smoke", "quick", "paper"]), help="By default the notebooks' own, quick.")
@click.option("--run", "execute", is_flag=True, help="Execute them: a student's may fail in its answer cells only.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Editions executed at a time.")
@click.option("--grader", type=click.Choice(["otter", "nbgrader"]), help="Write OUT/grading for it, too.")
def editions(out, notebooks, tier, execute, jobs, grader):
    """Write OUT/student (answer cells in place of solutions) and OUT/instructor, as notebooks for plain Jupyter."""
    from mulib.press import editions as press
    from mulib.press import grading
    from mulib.press.runs import find_root

    root = find_root()
    files = press.write(root, out, notebooks, tier)
    graded = grading.write(root, out, grader, notebooks, tier) if grader else []
    click.echo(f"{out}: {len(files)} notebooks, {len(graded)} assignments")
    failed = 0
    for file, wrong in press.run(files, jobs) if execute else ():
        failed += bool(wrong)
        click.echo(
            f"{'FAILED' if wrong else 'as meant'}  {file.parents[1].name}/{file.stem}  {'; '.join(wrong)}".rstrip()
        )
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("out", type=click.Path(file_okay=False), default="_build/html/slides")
@click.argument("notebooks", nargs=-1)
def slides(out, notebooks):
    """Write a deck of slides per chapter that was executed; they belong into the built book, whose scripts they use."""
    from mulib.press import slides as press
    from mulib.press.runs import find_root

    click.echo(f"{out}: {len(press.write(find_root(), out, notebooks))} decks")


@main.command("print")
@click.argument("out", type=click.Path(dir_okay=False), default="_build/book.pdf")
def print_(out):
    """Print the built book with Chromium as one PDF: title, contents, bookmarks, links."""
    from mulib.press import paper
    from mulib.press.runs import find_root

    pages = paper.write(find_root(), out)
    click.echo(f"{out}: {pages} pages, {Path(out).stat().st_size / 1e6:.1f} MB")


@main.command()
@click.argument("name")
def fetch(name):
    """Fetch public data by NAME, such as forget-with-precision, verify its checksums and print where it lies."""
    from mulib.data import download

    click.echo(download.fetch(name, progress=True).path)


@main.command()
@click.argument("folder")
@click.option("--layer", default="layer3", show_default=True, help="One with height and width.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True), help="The page to write.")
@click.option("--model", help="A torchvision name, such as resnet18; by default the library's network for faces.")
@click.option("--weights", type=click.Path(dir_okay=False), help="A safetensors file of it; by default torchvision's.")
@click.option("--size", type=click.IntRange(32), help="Pixels that pictures are resized to; by default 224 or 64.")
@click.option("--shown", type=click.IntRange(1, 24), default=6, show_default=True, help="How many pictures are shown.")
def maps(folder, layer, out, model, weights, size, shown):
    """Write one page, for use offline, that shows what each filter of a network marks on the pictures in FOLDER."""
    from mulib import files
    from mulib.show import filters

    if weights and not model:
        raise InputError(f"{weights} needs the name of its network: add --model, such as --model resnet18.")
    if model:
        network, images = filters.network_of(model, weights), filters.pictures_in(folder, size or 224)
    else:
        from mulib.assess import identification
        from mulib.data.faces.tasks import MEAN, STD

        network, images = identification.load()[1][0].grouped, filters.pictures_in(folder, size or 64, MEAN, STD)
    found = filters.filter_picker(network, layer, images, shown=shown)
    files.replace(out, found.page(f"Filters of {layer} on pictures of {Path(folder).name}").encode())
    click.echo(f"{out}: {len(found.groups)} filters on {min(shown, len(images))} of {len(images)} pictures")


@main.command()
@click.option("--prune", type=click.FloatRange(0), metavar="DAYS", help="Delete what was not used for so long.")
def cache(prune):
    """List what is kept on this machine, by kind: how many, how large, and the days since they were written or used."""
    from mulib import files

    files.sweep(files.cache_folder())
    entries = files.kept() if prune is None else files.prune(prune)
    for kind in sorted({entry.kind for entry in entries}):
        those = [entry for entry in entries if entry.kind == kind]
        ages = sorted(entry.days for entry in those)
        size = sum(entry.size for entry in those) / 2**20
        click.echo(f"{kind:<12} {len(those):>6}  {size:>10.1f} MiB  {ages[0]:>5.1f} to {ages[-1]:.1f} days")
    click.echo(f"{files.cache_folder()}: {'kept' if prune is None else 'deleted'} {len(entries)}")


if __name__ == "__main__":
    main()
