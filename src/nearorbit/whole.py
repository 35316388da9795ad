"""The stages of a whole study: what cells have left is collected, and shown; and what a study will take.

They are as those of a cell, :mod:`nearorbit.stages`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nearorbit.study.catalogue import build
from nearorbit.study.door import Folder, Folders, Output, Settings
from nearorbit.study.files import read, write


def growth(growth: Output, *, methods: Settings, reference: Settings, axes: Settings, rounds: int, device: str):
    """Measure how the cost of a gradient step grows with the sizes of the problem."""
    from nearorbit.training import cost

    cost.growth(methods, reference=reference, axes=axes, rounds=rounds, device=device).to_csv(growth, index=False)


def landscape(
    model: Path, observations: Path, landscape: Output, *, cell: Settings, training: Settings,
    couplings: Sequence[float], segments: Sequence[int], rollouts: int, reach: float, points: int,
):  # fmt: skip
    """Compute the trajectory error around trained weights, along two directions, coupled to the data and free."""
    from nearorbit.dynamics.models import load
    from nearorbit.training import landscape as around

    observed, grid = read(observations, kind="observations"), dict[str, Any](couplings=couplings, segments=segments)
    field = load(model, equations=lambda line: build("systems", "known", line)).field
    table = around.landscape(field, observed, training=training, rollouts=rollouts, reach=reach, points=points, **grid)
    table.assign(**cell, seed=int(observed["seed"][0])).to_csv(landscape, index=False)


def smooth(
    observations: Path, model: Path, smoothed: Output, orbits: Path | None = None, *, training: Settings, rounds: int
):
    """Smooth observed orbits through a trained network; given the orbits, tell how much noise is left."""
    from nearorbit.dynamics.models import load
    from nearorbit.training import smoothing
    from nearorbit.training.budget import Training

    observed, true = read(observations, kind="observations"), read(orbits, kind="orbits") if orbits else None
    learned = load(model, equations=lambda line: build("systems", "known", line))
    made = smoothing.smoothed(learned, observed, Training(**training), rounds=rounds, orbits=true)
    told = [name for name in ("noise_estimate", "noise", "noise_left") if name in made]
    for seed, *values in zip(made["seed"].values, *(made[name].values for name in told), strict=True):
        rows = ", ".join(f"{name} {value:.3g}" for name, value in zip(told, values, strict=True))
        print(f"seed {seed}: {rows}")
    write(made, smoothed, kind="observations")


def estimate(*, content: Settings):
    """Tell how many jobs a study has, and what they will take, from a pilot of it on this machine."""
    from nearorbit.report import estimate as pilot
    from nearorbit.study.study import parse

    study = parse(content)
    print("a pilot: every system for a horizon, every method for a few steps; it takes minutes", flush=True)
    print(pilot.told(study, pilot.estimate(study)))


def collect_truth(folder: Path, truth: Output, *, study: Settings):
    """Collect the dimension, period, motion and exponents of all true systems of a study."""
    from nearorbit.evaluation.scores import Results, collect_truth

    collect_truth(Results.of(folder, study)).to_csv(truth, index=False)


def collect(folder: Path, scores: Output, exponents: Output, costs: Output, *, study: Settings):
    """Collect the scores, learned exponents and costs of a whole study."""
    from nearorbit.evaluation.scores import Results, collect_costs, collect_exponents, collect_scores

    results = Results.of(folder, study)
    collect_scores(results).to_csv(scores, index=False)
    collect_exponents(results).to_csv(exponents, index=False)
    collect_costs(results).to_csv(costs, index=False)


def tables(folder: Path, into: Folder, *, tables: Settings, study: Settings):
    """Make the tables of a study, each as CSV, Markdown and LaTeX."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report.tables.base import save_all

    save_all(Results.of(folder, study), into, tables)


def figures(folder: Path, into: Folder, *, figures: Settings, study: Settings):
    """Draw the figures of a study, each as PDF and PNG."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report.figures.base import save_all

    save_all(Results.of(folder, study), into, figures)


def rulegraph(graph: Path, picture: Output):
    """Draw the rules of a study, as Snakemake writes their graph."""
    from nearorbit.report.rulegraph import drawn

    picture.write_text(drawn(graph.read_text()))


def report(folder: Path, report: Output, asked: Sequence[Path] = (), *, content: Settings):
    """Make the page of a study: what was found, methods, tables and figures, in one file."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report.page import page
    from nearorbit.study.study import parse

    study = parse(content)
    report.write_text(page(study, Results.of(folder, study.drawn), folder, asked=asked))


def partial(folder: Path, partial: Folder, asked: Sequence[Path] = (), *, content: Settings):
    """Make the long tables, tables, figures and page of what there is of a study, with gaps where there is nothing."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report import records, unfinished
    from nearorbit.report.page import page
    from nearorbit.study.files import replacing
    from nearorbit.study.study import parse

    study = parse(content)
    results = Results.of(folder, study.drawn, partial)
    note = unfinished.save(results, folder, partial, tables=study.tables, figures=study.figures)
    with replacing(partial / "report.html") as path:
        path.write_text(page(study, results, partial, asked=asked, note=note))
    records.keep(results, partial / "record", content, asked=asked)
    print(f"{note} They are in {partial}; what is missing is listed in {partial / 'missing.csv'}")


def record(folder: Path, record: Folder, asked: Sequence[Path] = (), *, content: Settings):
    """Keep what is small of a study: itself, its long tables, the history of its trainings, and what made them."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report import records
    from nearorbit.study.study import parse

    records.keep(Results.of(folder, parse(content).axes), record, content, asked=asked)


def join(records: Folders, record: Folder):
    """Make one record of several, of a study that ran in several places; of a cell the last that has it counts."""
    from nearorbit.report.records import join

    print(f"{join(records, record)} are in {record}")


def models(folder: Path, models: Output, asked: Sequence[Path] = (), *, content: Settings):
    """Pack the models of a study with a card that says what they are, how good each is, and how to load one."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report.card import pack
    from nearorbit.study.study import parse

    study = parse(content)
    print(f"{pack(study, Results.of(folder, study.axes), models, asked=asked)} models are in {models}")


def redraw(kept: Folder, into: Folder, asked: Sequence[Path] = (), *, content: Settings):
    """Make the tables, figures and page of a study that its record can tell, without its results."""
    from nearorbit.evaluation.scores import Results
    from nearorbit.report import records
    from nearorbit.report.page import page
    from nearorbit.study.files import replacing
    from nearorbit.study.study import parse

    study = parse(content)
    results = Results.of(kept, study.drawn)
    told = records.show(results, into, tables=study.tables, figures=study.figures)
    with replacing(into / "report.html") as path:
        path.write_text(page(study, results, into, asked=asked))
    print(f"{told}; they are in {into}")
