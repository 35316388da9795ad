"""What can be said of a system from its data alone: which method to trust, and how sure its exponents are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from nearorbit.evaluation.scores import CELL, Results, status
from nearorbit.evaluation.verdicts import WORDS, agreement, beats, concluded, interval, off, strayed
from nearorbit.report.tables.base import MISSING, Table, headers, number
from nearorbit.study.twins import twin_of

SERIES = "the series"
COLUMNS = (*CELL, "kind", "rank", "valid_time", "persistence_time", "climatology_time", "divergence",
           "divergence_floor", "hellinger", "hellinger_floor", "seeds", "failed", "index", "exponent", "half_width",
           "off", "agree", "others", "p_value", "lost", "character", "verdict")  # fmt: skip
CAPTION = (
    "What the data say without a truth. Rank: by how long forecasts of observations that nothing was learned from are "
    "valid (in periods, to an error of 0.4 deviations); a method with a failed seed, one that diverged, collapsed or "
    "has another attractor (1 nat beyond the floor), is behind all others. Divergence: "
    "in state space, of an orbit from the recording, and in parentheses of one half of that from the other. Exponents "
    "per unit of system time, with the interval of another seed (95 %); what a method is off by on a twin, a known "
    "system observed alike, is in the interval. Agree: how many of the other methods have the same leading exponent "
    "within the intervals. Local fits forecast nothing and have no rank. Of the series: p of the surrogate test, and "
    "the share of its predictability that is lost from the first period to the last."
)


@dataclass(frozen=True)
class Verdict:
    """Rank by forecasts of held-out observations, exponents with intervals, whether methods agree, and what follows.

    The records have a row for each exponent of each method and local fit, and one for each series.

    Arguments:
        fits: The local fits whose exponents are shown beside those of the methods.
        exponents: How many of the exponents are printed, from the first on.
    """

    reads: ClassVar[frozenset[str]] = frozenset(
        {"structure.nc", "unseen.nc", "forecast.nc", "estimators.nc", "exponents.nc", "costs.csv"}
    )
    fits: Sequence[str] = ("linear_ridge", "quadratic_cautious")
    exponents: int = 3

    def __post_init__(self):
        if self.exponents < 1:
            raise ValueError(f"exponents, a number of them, must be at least 1, not {self.exponents}")

    def table(self, results: Results) -> Table:
        """Make the table; a file that is missing leaves a gap."""
        records = pd.DataFrame([row for cell in _cells(results) for row in self._rows(results, cell)], columns=COLUMNS)
        named = {**headers(results), **{name: f"{name} (local fit)" for name in self.fits}}
        groups = records.groupby(["system", "data", "method"], sort=False)
        rows = {key: _text(rows, self.exponents) for key, rows in groups}
        index = pd.MultiIndex.from_tuples(
            [(system, data, named.get(method, method)) for system, data, method in rows],
            names=["system", "data", "method"],
        ) if rows else None  # fmt: skip
        cells = pd.DataFrame(list(rows.values()), index, columns=list(PRINTED))
        best = pd.DataFrame(False, cells.index, cells.columns)
        best["rank"] = [((rows["rank"] == 1) & (rows["failed"] == 0)).any() for _, rows in groups]
        return Table("verdict", CAPTION, records, cells, best)

    def _rows(self, results: Results, cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The records of a system and its data: the series, the methods by their rank, and the local fits."""
        known = _known(results, cell)
        series = known["series"]
        methods = [found for name in results.methods if (found := _method(results, cell, name, known))]
        methods = sorted(methods, key=lambda found: (found["failed"] > 0, -found["valid_time"]))
        sound = [found for found in methods if not found["failed"]]
        leading, half = (np.array([found[name][0] for found in sound]) for name in ("exponents", "half"))
        for found, agree in zip(sound, agreement(leading, half).sum(1) if sound else (), strict=True):
            found |= {"agree": int(agree), "others": len(sound) - 1}
        for place, found in enumerate(methods):
            ahead = sum(other["valid_time"] > found["valid_time"] for other in sound)
            found["rank"] = 1 + (ahead if not found["failed"] else place)
        yield {**cell, **series, "method": SERIES, "kind": "series", "verdict": _of_all(series["character"], methods)}
        for found in [*methods, *_fits(results, cell, self.fits)]:
            spectrum = zip(*(found.pop(name) for name in ("exponents", "half", "off")), strict=True)
            for index, (exponent, width, wrong) in enumerate(spectrum, 1):
                yield {**cell, **found, "index": index, "exponent": exponent, "half_width": width, "off": wrong}


def _cells(results: Results) -> Iterator[dict[str, Any]]:
    for system, (data, noise) in product(results.systems, results.data.items()):
        if any((results.folder / system / data / name).exists() for name in ("structure.nc", "estimators.nc")):
            yield {"system": system, "data": data, "noise": noise}


def _known(results: Results, cell: dict[str, Any]) -> dict[str, Any]:
    """What is known of a system and its data before any method: its period and the character of the series."""
    system, data = cell["system"], cell["data"]
    attractor, structure = results.open("exponents.nc", system), results.open("structure.nc", system, data)
    series = {"character": "", "p_value": np.nan, "lost": np.nan}
    if structure is not None:
        series = {"character": structure.attrs["character"]} | {n: structure[n].item() for n in ("p_value", "lost")}
    return {"period": float(attractor["period"]) if attractor is not None else np.nan, "series": series}


def _method(results: Results, cell: dict[str, Any], method: str, known: dict[str, Any]) -> dict[str, Any] | None:
    """What a method has learned; None if it has left no forecasts."""
    system, data, period = cell["system"], cell["data"], known["period"]
    unseen, forecast = (results.open(f"{name}.nc", system, data, method) for name in ("unseen", "forecast"))
    if unseen is None or forecast is None:
        return None
    times = [unseen[name].to_numpy() for name in ("valid_time", "persistence_time", "climatology_time")]
    wrong = _off_on_twin(results, system, data, method, forecast.sizes["exponent"]) / float(unseen["lead"][0])
    spectrum, stderr = (forecast[name].transpose("seed", "exponent").to_numpy() for name in ("exponents", "stderr"))
    mean, half = interval(spectrum, stderr, np.nan_to_num(wrong))
    elsewhere = strayed(*(unseen[name].to_numpy() for name in ("divergence", "divergence_floor")))
    failed = int(((status(forecast) != "ok").to_numpy() | elsewhere).sum())
    verdict = concluded(known["series"]["character"], mean[0], half[0], forecasts=beats(*times))
    verdict = "failed" if failed and verdict != "nothing" else verdict
    distances = ("divergence", "divergence_floor", "hellinger", "hellinger_floor")
    return {
        "method": method, "kind": "method", "seeds": forecast.sizes["seed"], "failed": failed,
        **{f"{name}_time": each.mean() / period
           for name, each in zip(("valid", "persistence", "climatology"), times, strict=True)},
        **{name: float(unseen[name].mean()) for name in distances},
        "exponents": mean, "half": half, "off": wrong, "verdict": verdict,
    }  # fmt: skip


def _off_on_twin(results: Results, system: str, data: str, method: str, count: int) -> np.ndarray:
    """What the first exponents are off by on the twin of a system, per sample, with shape (D); NaN where none is, and
    of a field that is brought, which no method has made there."""
    twin, wrong = twin_of(system), np.full(count, np.nan)
    if method in results.fields:
        return wrong
    learned, unseen = (results.open(f"{name}.nc", twin, data, method) for name in ("forecast", "unseen"))
    true = results.open("exponents.nc", twin)
    if learned is not None and unseen is not None and true is not None:
        known = min(count, *(table.sizes["exponent"] for table in (learned, true)))  # delays have more than a system
        both = (table["exponents"].transpose(..., "exponent").to_numpy()[..., :known] for table in (learned, true))
        found = off(*both) * float(unseen["lead"][0])
        wrong[: len(found)] = found
    return wrong


def _fits(results: Results, cell: dict[str, Any], names: Any) -> Iterator[dict[str, Any]]:
    if (table := results.open("estimators.nc", cell["system"], cell["data"])) is None:
        return
    for name in names:
        if name in table["estimator"]:
            fit = table.sel(estimator=name).transpose("seed", ...)
            mean, half = interval(fit["exponents"].to_numpy(), fit["stderr"].to_numpy())
            yield {"method": name, "kind": "fit", "exponents": mean, "half": half, "off": np.full(len(mean), np.nan)}


def _of_all(character: str, methods: list[dict[str, Any]]) -> str:
    """The verdict on a series is that of the best method; without one, what the series shows by itself."""
    if methods and not methods[0]["failed"]:
        return methods[0]["verdict"]
    return character if character in WORDS else "undecided"


PRINTED = ("rank", "valid", "divergence", "exponents", "agree", "verdict")


def _text(rows: pd.DataFrame, shown: int) -> dict[str, str]:
    """The printed row of a series, a method or a local fit."""
    first = rows.iloc[0]
    words = WORDS.get(first["verdict"], MISSING)
    if first["kind"] == "series":
        told = f"p = {first['p_value']:.2g}, lost {number(first['lost'], digits=2)}"
        return dict.fromkeys(PRINTED, "") | {"exponents": f"{first['character']} ({told})", "verdict": words}
    spectrum = [_exponent(*pair) for pair in zip(rows["exponent"], rows["half_width"], strict=True)]
    text = ", ".join(spectrum[:shown]) + (", …" if len(spectrum) > shown else "")
    if first["kind"] == "fit":
        return dict.fromkeys(PRINTED, MISSING) | {"exponents": text}
    floors = [number(first[name], digits=2) for name in ("divergence", "divergence_floor")]
    return {
        "rank": f"{first['rank']:.0f}",
        "valid": number(first["valid_time"]),
        "divergence": f"{floors[0]} ({floors[1]})",
        "exponents": text,
        "agree": f"{first['agree']:.0f}/{first['others']:.0f}" if np.isfinite(first["agree"]) else MISSING,
        "verdict": words,
    }


def _exponent(value: float, half: float) -> str:
    return f"{number(value)} ± {number(half, digits=2)}" if np.isfinite(half) else number(value)


def entries() -> dict[str, Any]:
    """Export the table."""
    return {"verdict": Verdict}
