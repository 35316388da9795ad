"""The stages: each reads its inputs, calls one function, and writes its outputs.

The one door, :mod:`nearorbit.__main__`, makes a command of every public function here. Its signature says all::

    python -m nearorbit observe --settings '{"label": "Lorenz", "noise": 0.02}' \\
        --orbits orbits.nc --exponents exponents.nc --observations observations.nc

A ``Path`` is an input, an ``Output`` is an output (the door passes a temporary path and moves the file into place when
the stage is done), lists of them are given one after the other; a ``Scratch`` is what a stage keeps for itself, to
resume from; a ``Folder`` is one that it writes many files to, ``Folders`` are others that it may read; a ``Count`` and
a ``Name`` are no files; and what comes after ``*`` are the settings.
:data:`nearorbit.study.slices.SLICES` picks them from a study.

These are the stages of a cell; those of a whole study are in :mod:`nearorbit.whole`. It is one module since it is a
list: what is done stands in the rooms.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

from nearorbit.study import files
from nearorbit.study.catalogue import StudyError, build, home
from nearorbit.study.digest import digests, key
from nearorbit.study.door import Count, Folders, Name, Output, Outputs, Scratch, Settings
from nearorbit.study.files import read, write


def exponents(exponents: Output, *, label: str, system: Settings, starts: int, horizon: float, transient: float):
    """Compute the Lyapunov spectrum and the statistics of the attractor of a true system."""
    from nearorbit.truth import attractors

    built = build("systems", label, system)
    spectrum = attractors.exponents(built, label=label, starts=starts, horizon=horizon, transient=transient)
    write(spectrum, exponents, kind="exponents")


def measure(series: Path, exponents: Output, *, label: str, system: Settings):
    """Compute what recordings tell of the attractor of a measured system: its averages and its period."""
    from nearorbit.truth import recordings

    built = build("systems", label, {**system, "file": str(series)})
    write(recordings.attractor(built, label=label), exponents, kind="exponents")


def covariant_vectors(exponents: Path, vectors: Output, *, label: str, system: Settings, states: int):
    """Compute the covariant Lyapunov vectors of a true system along orbits of its attractor."""
    from nearorbit.truth.covariant_vectors import covariant_vectors as along

    built, spectrum = build("systems", label, system), read(exponents, kind="exponents")
    write(along(built, spectrum, label=label, states=states), vectors, kind="covariant_vectors")


def orbits(
    exponents: Path, orbits: Output,
    *, label: str, system: Settings, seeds: int, data: Settings, window: float, beyond: int | None = None,
):  # fmt: skip
    """Simulate noiseless orbits for training and validation, fresh ones for every seed unless they share them."""
    from nearorbit.truth import simulation

    built, spectrum = build("systems", label, system), read(exponents, kind="exponents")
    simulated = simulation.orbits(built, spectrum, label=label, seeds=seeds, data=data, window=window, beyond=beyond)
    write(simulated, orbits, kind="orbits")


def twin(
    exponents: Path, like: Path, structure: Path, observations: Path, orbits: Output,
    *, label: str, system: Settings, window: float, beyond: int | None = None,
):  # fmt: skip
    """Simulate orbits of a known system that are to be observed as those of another one were."""
    from nearorbit.truth.twins import twin as simulate

    observed, known = read(observations, kind="observations"), read(structure, kind="structure")
    given = build("systems", label, system), read(exponents, kind="exponents"), read(like, kind="orbits")
    write(simulate(*given, known, observed, label=label, window=window, beyond=beyond), orbits, kind="orbits")


def cut(series: Path, exponents: Path, orbits: Output, *, label: str, system: Settings, seeds: int, data: Settings):
    """Cut recordings of a measured system into orbits for training and validation, and what is held out."""
    from nearorbit.truth import recordings

    built, known = build("systems", label, {**system, "file": str(series)}), read(exponents, kind="exponents")
    write(recordings.orbits(built, known, label=label, seeds=seeds, data=data), orbits, kind="orbits")


def truth(
    orbits: Path, exponents: Path, truth: Output, forecast: Output, vectors: Path | None = None,
    *, label: str, system: Settings, evaluation: Settings,
):  # fmt: skip
    """Tabulate what the true system does where learned fields will be judged, and in the place of one of them."""
    from nearorbit.dynamics.fields import CompiledField, in_place_of_a_model
    from nearorbit.evaluation.forecast import forecast as tabulate
    from nearorbit.evaluation.resolved import unresolved
    from nearorbit.truth import simulation
    from nearorbit.truth.integrators import compiled

    built, spectrum = build("systems", label, system), read(exponents, kind="exponents")
    table = simulation.truth(built, read(orbits, kind="orbits"), spectrum, label=label, evaluation=evaluation)
    along = read(vectors, kind="covariant_vectors") if vectors else None
    write(table if along is None else table.assign(unresolved(along, table.sizes["seed"])), truth, kind="truth")
    field = CompiledField(compiled(built), built.dimension)  # what it scores is the floor of every metric
    judged = tabulate(in_place_of_a_model(field), None, read(truth, kind="truth"), evaluation=evaluation, vectors=along)
    write(judged, forecast, kind="forecast")


def partial_truth(
    orbits: Path,
    exponents: Path,
    observations: Path,
    truth: Output,
    *,
    label: str,
    system: Settings,
    evaluation: Settings,
):
    """Tabulate what the true system does, seen as its data are, with some components or with delays."""
    from nearorbit.data.delays import Delays
    from nearorbit.evaluation.observed import as_seen
    from nearorbit.truth import simulation

    if (delays := Delays.of(read(observations, kind="observations"))) is None:
        raise StudyError(f"partial_truth: {observations}: states are seen as they are; take the stage truth")
    built, spectrum = build("systems", label, system), read(exponents, kind="exponents")
    given = read(orbits, kind="orbits")
    known = simulation.truth(built, given, spectrum, label=label, evaluation=evaluation, behind=delays.span)
    write(as_seen(known, delays), truth, kind="truth")


def hold_out(orbits: Path, observations: Path, truth: Output, *, evaluation: Settings):
    """Tabulate what was held out of recordings, in the place of a truth."""
    from nearorbit.evaluation.held_out import held_out

    observed, given = read(observations, kind="observations"), read(orbits, kind="orbits")
    write(held_out(given, observed, evaluation=evaluation), truth, kind="truth")


def observe(
    orbits: Path, exponents: Path, observations: Output, *, label: str, noise: float, data: Settings | None = None
):
    """Observe orbits with noise, smooth them if asked, and find the coordinates that they are learned in."""
    from nearorbit.data.observations import observe

    given, spectrum = read(orbits, kind="orbits"), read(exponents, kind="exponents")
    write(observe(given, spectrum, label=label, noise=noise, **(data or {})), observations, kind="observations")


def neighbors(observations: Path, neighbors: Output, *, selection: Settings, ahead: int):
    """Find neighbors of every observed state, or of anchors among them, by one selection."""
    from nearorbit.data.neighbors import neighbors as find

    write(find(read(observations, kind="observations"), ahead=ahead, **selection), neighbors, kind="neighbors")


def supervise(observations: Path, exponents: Path, supervision: Output, *, label: str, system: Settings):
    """Evaluate the truth at the observed states, for methods that declare that they are given it."""
    from nearorbit.truth import simulation

    observed, spectrum = read(observations, kind="observations"), read(exponents, kind="exponents")
    known = simulation.supervision(build("systems", label, system), observed, spectrum, label=label)
    write(known, supervision, kind="supervision")


def propagate(observations: Path, propagators: Output, *, label: str, system: Settings):
    """Integrate the true tangent dynamics over one sample from the observed states, for methods that are given it."""
    from nearorbit.truth.propagators import propagators as integrate

    found = integrate(build("systems", label, system), read(observations, kind="observations"))
    write(found, propagators, kind="propagators")


def estimators(observations: Path, truth: Path, estimators: Output, *, theiler: float):
    """Estimate Jacobians and exponents from the observations alone, without training anything."""
    from nearorbit.data.local_fits import estimate

    found = estimate(read(observations, kind="observations"), read(truth, kind="truth"), theiler=theiler)
    write(found, estimators, kind="estimators")


def structure(observations: Path, structure: Output, *, label: str, theiler: float, surrogates: int):
    """Tell what there is to learn in a series without training: its predictability, and that of its surrogates."""
    from nearorbit.data.structure import structure as tell

    observed = read(observations, kind="observations")
    write(tell(observed, label=label, theiler=theiler, surrogates=surrogates), structure, kind="structure")


def train(
    observations: list[Path], model: Outputs, history: Outputs, costs: Outputs, neighbors: Sequence[Path] = (),
    supervision: Sequence[Path] = (), propagators: Sequence[Path] = (), checkpoint: Scratch | None = None,
    cells_per_training: Count = 1, siblings: Folders = (),
    *, label: str, system: Settings, method: Settings, network: Settings, training: Settings,
):  # fmt: skip
    """Train a network for every seed with one method, all in one stacked ensemble; of one cell, or of several."""
    from nearorbit.dynamics import models
    from nearorbit.training.cells import Cell, Recipe
    from nearorbit.training.together import together

    inputs = {"observations": observations, "neighbors": neighbors}
    inputs |= {"supervision": supervision, "propagators": propagators}
    inputs, outputs = {k: p for k, p in inputs.items() if p}, {"model": model, "history": history, "costs": costs}
    cells, built = len(observations), build("methods", label, method)
    for name, paths in (inputs | outputs).items():
        if len(paths) != cells:
            raise StudyError(f"train: --{name} has {len(paths)} files, --observations {cells}: give one for every cell")
    if cells_per_training < 1 or (cells_per_training > 1 and (cells > 1 or checkpoint is None)):
        raise StudyError("train: --cells_per_training is at least 1; more are for one cell, with a --checkpoint")

    def keyed(contents: Iterable[Path]) -> str:
        settings = {"method": method, "network": network, "training": training}
        looked_up = [home("methods", method.get("method", label)), home("networks", network.get("network", "mlp"))]
        looked_up += [home("needs", need) for need in built.needs]
        return key(settings, digests("train", looked_up), contents)

    line, equations = models.with_equations(network, system, lambda line: build("systems", "known", line))
    recipe = Recipe(built, line, training, equations, keyed)
    each = [({k: p[i] for k, p in inputs.items()}, {k: p[i] for k, p in outputs.items()}) for i in range(cells)]
    if checkpoint and cells_per_training > 1:
        cell = Cell(*each[0], checkpoint)
        others = [cell.beside(folder) for folder in siblings if equations is None or cell.is_of_system(folder)]
        return together(cell, others, recipe, cells_per_training)
    recipe.train(each, checkpoint)


def forecast(
    truth: Path, forecast: Output, model: Path | None = None, history: Path | None = None, field: Name | None = None,
    vectors: Path | None = None, *, evaluation: Settings,
):  # fmt: skip
    """Tabulate what a learned field does where the truth is known: of a model, or one that is brought."""
    from nearorbit.dynamics.models import one_of
    from nearorbit.evaluation.forecast import forecast as tabulate

    true, along = read(truth, kind="truth"), read(vectors, kind="covariant_vectors") if vectors else None
    asked: dict[str, Any] = {"stage": "forecast", "equations": lambda line: build("systems", "known", line)}
    learned = one_of(model, field, states=true["points"].to_numpy(), **asked)
    passed = files.table(history) if history else None
    write(tabulate(learned, passed, true, evaluation=evaluation, vectors=along), forecast, kind="forecast")


def unseen(
    observations: Path, unseen: Output, model: Path | None = None, field: Name | None = None,
    orbits: Path | None = None, *, evaluation: Settings,
):  # fmt: skip
    """Hold a learned field, or one that is brought, against observations that nothing was learned from."""
    from nearorbit.data.pooled import longest
    from nearorbit.dynamics.models import one_of
    from nearorbit.evaluation.unseen import unseen as hold

    observed, given = read(observations, kind="observations"), read(orbits, kind="orbits") if orbits else None
    tried, _ = longest(observed, "train", 0)
    asked: dict[str, Any] = {"stage": "unseen", "equations": lambda line: build("systems", "known", line)}
    learned = one_of(model, field, states=tried, **asked)
    write(hold(learned, observed, given, evaluation=evaluation), unseen, kind="unseen")


def score(
    truth: list[Path], forecast: list[Path], scores: Output, observations: Sequence[Path] = (), *, cells: list[Settings]
):
    """Compute all metrics of cells; those against what was observed only where observations are given."""
    import pandas as pd

    from nearorbit.evaluation import scores as metrics
    from nearorbit.evaluation.observed import with_observed

    counts = len(truth), len(forecast), len(cells)
    if len(set(counts)) > 1:
        raise StudyError("score: {} truths and {} forecasts of {} cells: give one of each".format(*counts))
    if observations and len(observations) != len(cells):
        raise StudyError(f"score: {len(observations)} observations of {len(cells)} cells: give one of each, or none")
    tables = []
    rows = zip_longest(truth, observations, forecast, cells)
    for (true, seen), judged in groupby(rows, key=itemgetter(0, 1)):  # those of one kind of data stand together
        observed = read(seen, kind="observations") if seen else None
        table = with_observed(read(true, kind="truth"), observed)
        tables += [metrics.scores(table, read(made, kind="forecast"), **cell) for *_, made, cell in judged]
    pd.concat(tables, ignore_index=True).to_csv(scores, index=False)
