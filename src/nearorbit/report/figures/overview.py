"""Systems against methods at a glance, one map for each metric.

It is one module since what is written in a cell decides how many cells have room on a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from nearorbit.evaluation import statistics
from nearorbit.evaluation.scores import Results
from nearorbit.report.captions import told
from nearorbit.report.figures.base import SMALL, panels
from nearorbit.report.room import HEIGHT, KINDS, WIDTH, cells_with, methods_of, there
from nearorbit.report.tables.base import HEADLINES, MISSING, check_metrics, number, summary
from nearorbit.study import catalogue
from nearorbit.study.catalogue import TRUTH

CELL, WIDE = 0.52, 0.7  # inches: the least width of a cell of one system, and of all, which has more marks
BROAD = 0.9  # inches, from which on what is written in a cell is larger than its marks
LINE, LETTER = 0.15, 0.06  # inches: the height of a cell and the width of a letter
LEAST, MOST = 1e-3, 1e3  # ratios that are written as they are
FLOOR = "truth (floor)"  # what the row of the truth is called
OWN = ["row", "metric", "method"]  # what a cell is of
LOST, WON = "failed", "ref. †"  # in place of a ratio that failed seeds decide
GRAY, PALE = "0.35", "0.92"  # of marks, on light cells and on dark ones
MARGIN = 0.05  # of a cell, beside what is written in it
ENDS = ["10 times better", "equal", "10 times worse"]


@dataclass(frozen=True)
class Overview:
    r"""The ratio to the reference, written in cells that are blue where it is better and red where it is worse.

    It is the ratio of :func:`nearorbit.evaluation.statistics.effects`: of medians over the seeds, where a seed that
    diverged, collapsed or has no value is worse than any value. So is the color, the logarithm of the ratio, turned so
    that blue is better for every metric, and clipped at a factor of ten. Where failed seeds make the ratio, "failed"
    stands in its place, or "ref. †" where they are those of the reference. Gray has no ratio,
    or is the true field in a model's place, the floor of the metric at this sample size. † counts the seeds that
    diverged or collapsed, ‡ those whose Lyapunov spectrum has not converged.

    Where the systems have no room on a page, a cell is for all of them, of one kind of data: the median of their
    ratios, in parentheses of how many systems, where others have more. Methods without any score are left out, and so
    are systems and data of which the reference has none.

    Arguments:
        metrics: The names of the metrics, one map each.
        reference: The label of the reference; the first method of the study if None. If it has no scores, the first
            that has takes its place.
    """

    metrics: Sequence[str] = HEADLINES
    reference: str | None = None
    reads: ClassVar[frozenset[str]] = frozenset({"scores.csv"})

    def __post_init__(self):
        check_metrics(self.metrics)

    def draw(self, results: Results) -> plt.Figure:
        """Draw a map for each metric: a row for each system and data and a column for each method, or the other way
        round where there are more methods."""
        plan = self._plan(results)
        rows, judged, across = plan.rows, plan.judged, plan.across
        table = _cells(results.table("scores.csv").query("metric in @self.metrics"), plan)
        figure, axes = panels(-(-len(self.metrics) // across), across, height=plan.height, sharey=True)
        for ax in axes.flat[len(self.metrics) :]:
            ax.set_axis_off()
        for ax, name in zip(axes.flat, self.metrics, strict=False):
            _map(ax, table[table["metric"] == name], rows, judged, turned=plan.turned, broad=plan.cell >= BROAD)
            ax.set_title(f"{catalogue.entries('metrics')[name].label}, ratio", fontsize=SMALL)
        shades = plt.cm.ScalarMappable(plt.Normalize(-1, 1), "RdBu_r")
        bar = figure.colorbar(shades, ax=axes, location="bottom", shrink=0.4, aspect=40, pad=0.02, ticks=[-1, 0, 1])
        bar.set_ticklabels(ENDS)
        bar.set_label(f"ratio to {plan.reference} [1]")
        return figure

    def caption(self, results: Results) -> str:
        """Say what is drawn."""
        plan = self._plan(results)
        each, reference, asked = plan.each, plan.reference, self._asked(results)
        instead = f" ({asked} has no scores)" if reference != asked else ""
        shown = {"systems": plan.shown.systems, "data": plan.shown.data, "methods": plan.judged[1:]}
        over, share = ("", "") if each else (", the median over the systems", " on half of the systems or more")
        few = "" if each else " In parentheses: of how many systems, where other methods have more."
        return (
            f"Ratios to {reference}{instead}, of medians over the seeds{over}. Blue is better than {reference} for "
            "every metric, red worse, and the color is clipped at a factor of ten. Seeds that diverged, collapsed or "
            "have no value count as worse than any value, and two such medians as equal: where half of a method's "
            f"seeds are so{share}, and those of {reference} are not, it reads {LOST}; the other way about, {WON}. "
            "In gray, † counts seeds that diverged or collapsed, ‡ those whose Lyapunov spectrum has not converged: a "
            f"collapse of one of these is not certain.{few} The truth is the true field in a model's place, the floor "
            f"of a metric at this sample size; it is gray, as is what has no ratio. {told(results, **shown)}"
        )

    def _asked(self, results: Results) -> str:
        return self.reference or next(iter(results.methods), "")

    def _plan(self, results: Results) -> "_Plan":
        """Choose what is shown, with maps as narrow as they can be, so that it has room on a page."""
        cells, asked = cells_with(results, "scores.csv"), self._asked(results)
        methods = methods_of(results, cells)
        reference = asked if asked in methods else next(iter(methods), asked)
        shown = there(results, {cell for cell in cells if cell[-1] == reference})
        judged = [TRUTH, *methods]
        data, most = list(shown.data.items()), min(3, len(self.metrics))
        plans = [_Plan(shown, judged, reference, across, each=True) for across in range(most, 0, -1)]
        for kinds in range(min(KINDS, len(data)), 0, -1):
            some = replace(shown, data=dict(data[:kinds]))
            broad = range(most, min(most, 2) - 1, -1)  # one below the other, many maps are longer than a page
            plans += [_Plan(some, judged, reference, across, each=False) for across in broad]
        return next((plan for plan in plans if plan.fits(len(self.metrics))), plans[-1])


@dataclass(frozen=True)
class _Plan:
    """What is shown: systems and data of which the reference has scores, and methods that have any.

    Arguments:
        shown: The systems and data.
        judged: The truth and the methods.
        reference: The reference that is asked for, or the first method that has scores.
        across: How many maps are side by side.
        each: Whether each system has cells of its own.
    """

    shown: Results
    judged: Sequence[str]
    reference: str
    across: int
    each: bool

    @property
    def rows(self) -> list[str]:
        """The labels of the rows."""
        systems, data = self.shown.systems, list(self.shown.data)
        return [f"{system}, {label}" for system, label in product(systems, data)] if self.each else data

    @property
    def sides(self) -> Sequence[Sequence[str]]:
        """The labels below a map, and those beside it: the fewer are below."""
        return sorted((_names(self.judged), self.rows), key=len)

    @property
    def cell(self) -> float:
        """How broad a cell is, in inches."""
        below, beside = self.sides
        return (WIDTH - LETTER * 0.9 * max(map(len, beside), default=0)) / self.across / max(len(below), 1)

    @property
    def turned(self) -> bool:
        """Whether the labels below a map are turned, for they do not fit beside one another."""
        return LETTER * 1.1 * max(map(len, self.sides[0]), default=0) > self.cell

    @property
    def height(self) -> float:
        """How high a map is, in inches, with its title and the labels below it."""
        below, beside = self.sides
        return 0.35 + LINE * len(beside) + (0.1 + LETTER * 0.55 * max(map(len, below)) if self.turned else 0.15)

    def fits(self, maps: int) -> bool:
        """Whether so many maps have room on a page, with cells broad enough for what is written in them."""
        return self.cell >= (CELL if self.each else WIDE) and -(-maps // self.across) * self.height <= HEIGHT


def _names(labels: Sequence[str]) -> list[str]:
    """What is written of the labels of methods."""
    return [FLOOR if label == TRUTH else label for label in labels]


def _cells(scores: pd.DataFrame, plan: _Plan) -> pd.DataFrame:
    """What is in each cell: columns ``(metric, row, method, color, text)``."""
    scores = scores.astype(dict.fromkeys(["system", "data", *OWN[1:]], object))  # also where there are none
    scores = scores.assign(row=scores["system"] + ", " + scores["data"] if plan.each else scores["data"])
    effects = statistics.effects(scores.assign(data=scores["row"]), reference=plan.reference, draws=1)  # no intervals
    effects = effects.rename(columns={"data": "row"})[[*OWN, "systems", "ratio"]].astype(dict.fromkeys(OWN, object))
    table = _counts(scores).merge(effects, on=OWN, how="left")
    itself = table["method"] == plan.reference
    lost = table.loc[itself & table["lost"], OWN[:2]].assign(won=True)
    table = table.assign(ratio=table["ratio"].astype(float).mask(itself, 1.0)).merge(lost, on=OWN[:2], how="left")
    most = table.groupby(OWN[:2])["systems"].transform("max")
    with np.errstate(divide="ignore"):
        logs = np.log10(table["ratio"])
    turned = logs.mask(table["metric"].isin(statistics.higher()), -logs)
    lost, won = table["lost"].eq(True) & np.isposinf(turned), table["won"].notna() & np.isneginf(turned)
    table = table.assign(lost=lost, won=won, few=table["systems"] < most)
    color = turned.clip(-1, 1).mask(table["method"] == TRUTH)
    cells = table.to_dict("records")
    return table.assign(color=color, text=list(map(_text, cells)), marks=list(map(_marks, cells)))


def _counts(scores: pd.DataFrame) -> pd.DataFrame:
    """Count what failed: columns ``(row, metric, method, failed, unconverged, lost)``, the last whether the median of
    seeds is one of failed seeds on half of the systems or more."""
    seeds = statistics.losses(scores).groupby([*OWN, "system"], sort=False)
    medians = seeds.agg(loss=("loss", "median"), failed=("failed", "any")).reset_index()
    medians = medians.assign(lost=np.isposinf(medians["loss"].astype(float)) & medians["failed"].astype(bool))
    lost = medians.groupby(OWN, sort=False)["lost"].mean().ge(0.5).rename("lost").reset_index()
    counts = summary(scores).merge(scores[["system", "data", "row"]].drop_duplicates(), on=["system", "data"])
    counts = counts.groupby(OWN, sort=False)[["failed", "unconverged"]].sum().reset_index()
    return counts.merge(lost, on=OWN, how="left")


def _map(
    ax: plt.Axes, table: pd.DataFrame, rows: Sequence[str], methods: Sequence[str], *, turned: bool, broad: bool
) -> None:
    color, text, marks = (
        table.pivot(index="row", columns="method", values=value).reindex(index=list(rows), columns=list(methods))
        for value in ("color", "text", "marks")
    )
    color.columns, text, marks = pd.Index(_names(methods)), text.fillna(MISSING), marks.fillna("")
    if len(methods) > len(rows):
        color, text, marks = color.T, text.T, marks.T
    ax.set_facecolor("0.85")
    style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar": False, "linewidths": 0.5, "annot_kws": {"size": SMALL}}
    sns.heatmap(color.astype(float), annot=text, fmt="", ax=ax, **style)
    for y, x in np.argwhere(color.isna()):  # where seaborn writes nothing
        ax.text(x + 0.5, y + 0.5, text.iloc[y, x], ha="center", va="center", size=SMALL)
    for written in list(ax.texts):
        x, y = (int(place) for place in written.get_position())
        if failed := marks.iloc[y, x]:
            gray = PALE if written.get_color() == "w" else GRAY
            ax.text(x + 1 - MARGIN, y + 0.5, failed, ha="right", va="center", size=SMALL, color=gray)
        if written.get_text() != MISSING:
            written.set(x=x + MARGIN, ha="left", size=SMALL + broad)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    if turned:
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")


def _text(row: dict[str, Any]) -> str:
    """Write the ratio of a cell, and of how many systems if others have more, e.g. ``0.82 (2)``."""
    said = LOST if row["lost"] else WON if row["won"] else _number(row["ratio"])
    return said + (f" ({row['systems']:.0f})" if row["few"] else "")


def _marks(row: dict[str, Any]) -> str:
    """Write what failed in a cell, e.g. ``†1 ‡2``."""
    counts = {"†": row["failed"], "‡": row["unconverged"]}
    return "\u2009".join(f"{mark}{count:.0f}" for mark, count in counts.items() if count)


def _number(ratio: float) -> str:
    if ratio == np.inf:
        return "∞"
    return f"<{LEAST:g}" if 0 < ratio < LEAST else f">{MOST:.0f}" if ratio > MOST else number(ratio, digits=2)


def entries() -> dict[str, Any]:
    """Export the figure."""
    return {"overview": Overview}
