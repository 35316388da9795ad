"""A card for the models of a study: what they are, what they were trained on, how good each is, and how to load one.

It is the README of the archive that packs them, in Markdown. Its head (YAML between dashes) is what the hubs of models
read. Seeds that failed are in the archive, too: the card says how many they are, and of which methods.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from nearorbit.evaluation.scores import Results, labels
from nearorbit.report import origins, words
from nearorbit.report.records import archive
from nearorbit.report.tables.base import MISSING, given, number
from nearorbit.study.study import Study

MODEL, CARD = "model.safetensors", "README.md"
METRIC = "jacobian_error"
LOAD = """```python
import torch
from nearorbit.dynamics.fields import jacobian
from nearorbit.dynamics.models import load

field = load("{path}")  # a vector field for every seed, in system units
x = torch.zeros({seeds}, 1, {dimension}, dtype=torch.float64)  # (seeds, states, components)
field(x), jacobian(field, x)
```"""


def pack(study: Study, results: Results, into: Path, *, asked: Sequence[Path] = ()) -> int:
    """Pack the models of a study with their card; those of cells that have none yet are left out.

    Arguments:
        study: The study.
        results: Its results.
        into: The archive (ZIP): ``README.md`` and ``{system}/{data}/{method}.safetensors``.
        asked: The files of the study, of which the first comment says what is asked.

    Returns:
        How many models there are. The same results give the same bytes.
    """
    there = {at: path for at, path in _models(results).items() if path.exists()}
    models = (("/".join(at) + ".safetensors", path.read_bytes()) for at, path in there.items())
    archive(into, chain([(CARD, card(study, results, asked=asked))], models))
    return len(there)


def card(study: Study, results: Results, *, asked: Sequence[Path] = ()) -> str:
    """Write the card; see :func:`pack`."""
    citation, (origin, _) = origins.citation(), origins.origin(results)
    models, truth = _models(results), results.table("truth.csv")
    first = next((at for at, path in models.items() if path.exists()), next(iter(models)))
    dimensions = truth.loc[truth["system"] == first[0], "dimension"].astype(int)
    shape = {"seeds": study.seeds, "dimension": next(iter(dimensions), "D")}
    devices = ", ".join(sorted(set(results.table("costs.csv")["device"].dropna())))
    observed = [f"- `{label}`: {words.observed(line)}" for label, line in study.data.items()]
    training = ", ".join(f"{name} {value}" for name, value in study.training.items())
    parts = [
        f"---\nlicense: {str(citation['license']).lower()}\nlibrary_name: nearorbit\n"
        "tags: [dynamical-systems, chaos, neural-ode]\n---",
        f"# Models of the study {study.study}",
        *origins.question(asked),
        f"Each file `system/data/method.safetensors` holds {study.seeds} networks, one for every seed: vector fields "
        "dx/dt = f(x) in system units. Its metadata have the equations, so that it can be read without this package.",
        "## Load one",
        LOAD.format(path="/".join(first) + ".safetensors", **shape),
        "## What they were trained on",
        "\n".join(observed),
        f"Systems: {', '.join(study.systems)}. Seeds differ in their initial weights and, where data are "
        f"simulated for each, in orbits and noise. Training: {training}.",
        "## How good they are",
        "The relative error of the Jacobian at states of the true attractor: the median over systems of the median "
        "seed, [from the best system to the worst], and how many seeds diverged or collapsed. One error below another "
        "here is no test: the report of the study has intervals, and the other metrics.",
        _scored(study, results),
        "## What they are not for",
        "They were trained and judged where the attractor of each system lies, and say nothing of states elsewhere, of "
        "other parameters, or of systems of the world. A seed that failed is in its file as it is: `scores.csv` of the "
        "study names it. Some were given more than data (column *given*).",
        "## Where they come from",
        f"nearorbit {origin['nearorbit']}, torch {origin['packages'].get('torch', MISSING)}, Python "
        f"{origin['python']}{devices and '; trained on '}{devices}.",
        f"```bibtex\n{citation['bibtex']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _models(results: Results) -> dict[tuple[str, ...], Path]:
    """Where the models are or would be, by system, data and method; a field that is brought is none."""
    return {labels(cell): results.folder.joinpath(*labels(cell), MODEL) for cell in results.trained()}


def _scored(study: Study, results: Results) -> str:
    """Tabulate the Jacobian errors and the failures by data and method, in Markdown."""
    scores, known = results.table("scores.csv"), given(results)
    rows = ["| data | method | given | Jacobian error | failed seeds |", "| --- | --- | --- | ---: | ---: |"]
    for data in study.data:
        for method in study.methods:
            own = scores[(scores["data"] == data) & (scores["method"] == method) & (scores["metric"] == METRIC)]
            if len(own):
                told = f"{_spread(own)} | {words.count(own, method)}"
                rows.append(f"| {data} | {method} | {known.get(method, MISSING)} | {told} |")
    return "\n".join(rows) if rows[2:] else "No true Jacobian is known, or nothing was scored yet."


def _spread(rows: pd.DataFrame) -> str:
    """The median over systems of the medians over seeds that did not fail, and their range."""
    each = rows[rows["status"] == "ok"].groupby("system")["value"].median().dropna()
    return f"{number(each.median())} [{number(each.min())}, {number(each.max())}]" if len(each) else MISSING
