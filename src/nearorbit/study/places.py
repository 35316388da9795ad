"""What the sections of a study are called, where what is shipped lies, and what lies where in ``results/``."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

from nearorbit.study.catalogue import TRUTH, StudyError

SHIPPED = Path(__file__).parents[1]  # the package, which has the workflow and its studies beside the code
STUDIES = {"quick": SHIPPED / "config.yaml"} | {p.stem: p for p in sorted(SHIPPED.glob("workflow/studies/*.yaml"))}
PUBLISHED = SHIPPED / "workflow" / "published"  # what others have published, a file for each source
SNAKEFILE = SHIPPED / "Snakefile"
CITATION = SHIPPED / "CITATION.cff"
CELL = ("system", "data", "method")
LONG = ("truth.csv", "scores.csv", "exponents.csv", "costs.csv")  # tables of a whole study, collected from its cells
LANDSCAPE = tuple(f"landscape.{kind}" for kind in ("csv", "pdf", "png", "txt"))  # of the first cell, when asked for
MADE = ("tables", "figures", "partial", "record", "redrawn")  # folders of what is made of the results
SUPERVISION = ("supervision.nc", "propagators.nc")  # the truth along observations, for methods that are given it
RESULTS = {  # what lies where in results/: beside the labels of an axis, the axes above it, and the names
    "study": ((), ("README.md", "performance", "compiled")),
    "system": (
        (),
        (*LONG, *LANDSCAPE, *MADE, "checkpoints", "logs", "report.html", "models.zip", "estimate.log", "rulegraph.svg"),
    ),
    "data": (CELL[:1], ("exponents.nc", "covariant_vectors.nc", "scores.csv")),
    "method": (
        CELL[:2],
        ("orbits.nc", "truth.nc", TRUTH, "observations.nc", "neighbors", *SUPERVISION, "estimators.nc", "structure.nc"),
    ),
    "": (CELL, ("model.safetensors", "history.csv", "costs.csv", "forecast.nc", "unseen.nc")),
}
# The axes below which a file lies; a long table of the study lies below none.
PLACES = {name: axes for axes, names in reversed(RESULTS.values()) for name in names}
JUDGED = ("forecast.nc",)  # of the true field, too, as of a method with the label `truth`
UNTRAINED = (*JUDGED, "unseen.nc")  # of the fields that are brought, too
CATALOGUED = {"systems": "system", "networks": "network", "methods": "method", "figures": "figure", "tables": "table"}
LABELLED = {"data": "data", "neighbors": "neighbors"} | CATALOGUED  # sections of labelled lines, and what one is called


def paths(folder: Path, study: Any, reads: Iterable[str]) -> list[Path]:
    """List the files of a study that are read under these names, e.g. ``{"scores.csv", "truth.nc"}``, existing or not.

    Arguments:
        folder: The folder of the study, ``results/{study}``.
        study: What has the labels of its axes in ``systems``, ``data`` and ``methods``, of those that are judged in
            ``judged`` and of the fields that are brought in ``fields``; in ``fieldless`` are the systems and data
            without a true field.
        reads: The names.
    """
    trained = [label for label in study.methods if label not in study.fields]
    axes = {"system": study.systems, "data": study.data}
    brought = (*trained, *study.fields)
    methods = dict.fromkeys(UNTRAINED, brought) | dict.fromkeys(JUDGED, study.judged)
    return [
        folder.joinpath(*labels, name)
        for name in sorted(reads)
        for labels in product(*({**axes, "method": methods.get(name, trained)}[a] for a in PLACES.get(name, ())))
        if labels[2:] != (TRUTH,) or labels[:2] not in study.fieldless
    ]


def recorded(folder: Path) -> Path:
    """Find the study file of a record: its own, or the shipped one by the name of the folder.

    Raises:
        StudyError: If there is neither.
    """
    kept = folder / "study.yaml"
    if not kept.exists() and folder.resolve().name in STUDIES and folder.is_dir():
        return STUDIES[folder.resolve().name]
    if not kept.exists():
        raise StudyError(f"from: no record in {folder}, which has a study.yaml; snakemake record makes one of results")
    return kept


def source(name: str) -> Path | None:
    """Tell the file that a field lies in which is brought under this name; None of an installed module of Python."""
    place = Path(name.rpartition(":")[0] or name)
    return place if place.suffix in (".py", ".pt", ".pth", ".onnx") else None


def located(file: str) -> Path:
    """Find a file that a study names: in the folder in which it is run, or among what is shipped."""
    path = Path(file)
    return SHIPPED / file if not path.exists() and (SHIPPED / file).exists() else path


def reserved(axis: str) -> set[str]:
    """Collect the names of files and folders beside the labels of an axis, in results/ and among the logs."""
    names = RESULTS[axis][1] if axis in RESULTS else ()
    return {*names, *(f"{Path(name).stem}.log" for name in names)}
