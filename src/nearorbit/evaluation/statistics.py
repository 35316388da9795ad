r"""How much a method changes a metric, over systems: the effect first, how sure it is, and then a test.

The unit is the system. Seeds of one system share its dynamics and are no independent evidence for others: they are
averaged within it, by their median, before anything is compared (medians are of logarithms: of an even number it is the
geometric mean of the two in the middle). With :math:`v_{s, k}` of seed k on system s,

.. math:: e_s = \log \frac{\operatorname{median}_k v_{s, k}}{\operatorname{median}_k v^\text{reference}_{s, k}}, \qquad
    \rho = \exp \operatorname{median}_s e_s,

and the interval of the ratio :math:`\rho` is that of a bootstrap which draws systems, and seeds within each system that
it drew, the same seeds of both sides: they share orbits, noise and initial weights. The test is Wilcoxon's signed-rank
test of the :math:`e_s`, in its exact distribution, ties included; its p-values are corrected by Holm's method over all
methods that are compared with the reference on the same data by the same metric.

*What failed never flatters.* A seed that diverged or collapsed, whatever its value, and a seed whose value is undefined
are worse than any value, in a median of seeds as in a ratio: the more of them, the worse, and where they are half of
the seeds or more the system is worse than any on which it is not so, by an infinite ratio. Two sides that are both so
are equal (:math:`e_s = 0`), and so are two values of zero (or below, where a ratio means nothing), and two that differ
by rounding. What is left out is what was never there: seeds that one side lacks, and systems on which no method, nor
the truth, has a value of the metric, as a prediction time in Lyapunov times where nothing is chaotic.

*Few systems.* Of S systems no two-sided p is below :math:`2^{1 - S}`, and no interval of a median reaches a level
beyond one less that: 5 % and 95 % take six, :data:`FEWEST`. Of fewer there is no test; the range over the systems is
told in place of an interval, and decides nothing. The test takes effects to be as likely above their middle as below;
where they are skewed, the interval is the safer of the two.

*What is told is what is printed.* An interval excludes one if its ends do when they are written with :data:`DIGITS`
digits: ``[0.6, 1]`` excludes nothing, though its end may be 0.9996.

It is one module since effect, interval and test are of the same medians, and rest on one rule for what failed.

References:
    | Individual comparisons by ranking methods (Wilcoxon, Biometrics Bulletin, 1945)
    | A simple sequentially rejective multiple test procedure (Holm, Scandinavian Journal of Statistics, 1979)
    | Statistical comparisons of classifiers over multiple data sets (Demsar, JMLR 2006)
"""

from math import ceil, log2

import numpy as np
import pandas as pd

from nearorbit.evaluation.resampling import drawn
from nearorbit.study.catalogue import TRUTH, entries

LABELS = ["data", "metric", "method"]
FAILED = ["failed", "failed_of_reference"]
COLUMNS = [
    *LABELS, "systems", "better", "worse", "ratio", "low", "high", "p", "p_alone", "verdict", "seeds", *FAILED
]  # fmt: skip
LEVEL, DRAWS = 0.95, 20_000
FEWEST = 6  # systems, of a test at 1 - LEVEL and of an interval: five give no two-sided p below 1/16
DIGITS = 3  # of a ratio and its interval, wherever they are printed
ROUNDING = 1e-5  # of a value: the same model, its sums in another order


def effects(
    scores: pd.DataFrame,
    *,
    reference: str,
    reference_data: str | None = None,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Compare every method with a reference, by data and metric, over systems.

    Arguments:
        scores: Rows of ``scores.csv``, of any metrics. The truth among them is compared, and is not tested.
        reference: The label of the reference.
        reference_data: The kind of data of the reference, if it is one for all; by default the reference on the same
            kind of data.
        draws: Of the bootstrap. They do not depend on what is compared: the same table twice has the same intervals, to
            the bit, and a further method changes none.

    Returns:
        A row per data, metric and method that shares a system with the reference, in the order of the scores, with
        columns

        - ``systems``: how many both sides have; ``better``, ``worse``: on how many of them the method is so (the others
          are ties);
        - ``ratio``, ``low``, ``high``: the median over systems of value / reference, and its interval, or the range
          over the systems where they are too few for one. A ratio below one is good where lower values of the metric
          are. It is infinite, or zero where higher values are better, where the method fails on more than half of the
          systems and the reference does not, and the other way about;
        - ``p``, ``p_alone``: of the test, corrected over methods, and as it is; NaN for the truth, and of fewer than
          :data:`FEWEST` systems, which are no test;
        - ``verdict``: ``"better"`` or ``"worse"`` where the interval, as it is printed, excludes one and there are
          systems enough for its level, else empty; empty for the truth;
        - ``seeds``: how many pairs of seeds there are on all systems; ``failed``, ``failed_of_reference``: how many of
          them diverged, collapsed or have no value, on either side.
    """
    pairs = paired(scores, reference=reference, reference_data=reference_data)
    if pairs.empty:
        return pd.DataFrame(columns=COLUMNS)
    counts = {name: (name, "sum") for name in FAILED}
    groups = pairs.groupby(LABELS, sort=False)
    table = groups.agg(systems=("system", "nunique"), seeds=("seed", "size"), **counts).reset_index()
    table = table.assign(**compared(pairs, over=LABELS, draws=draws))
    table.loc[table["method"] == TRUTH, ["p_alone", "verdict"]] = np.nan, ""
    table["p"] = table.groupby(LABELS[:2], sort=False)["p_alone"].transform(holm)
    return table[COLUMNS]


def fewest(tests: int) -> int:
    """Tell how many systems it takes for one of so many tests to be decided, by Holm's method; FEWEST for a single."""
    return ceil(1 - log2((1 - LEVEL) / max(tests, 1)))


def higher() -> list[str]:
    """List the metrics of which higher values are better."""
    return [name for name, metric in entries("metrics").items() if metric.better == "higher"]


def losses(scores: pd.DataFrame) -> pd.DataFrame:
    """Tell what each seed is worth, lower being better, and which failed.

    Returns:
        The rows of the scores but for those of systems, data and metrics without any value, with two more columns:
        ``failed`` (diverged, collapsed or without a value), and ``loss``, the logarithm of the value, of its inverse
        where higher is better, and infinite where it failed.
    """
    known = scores["value"].notna().groupby([scores[name] for name in ("system", "data", "metric")]).transform("any")
    scores = scores[known].assign(value=scores.loc[known, "value"].astype(float))
    failed = (scores["status"] != "ok") | scores["value"].isna()
    return scores.assign(failed=failed, loss=_loss(scores["value"], scores["metric"]).mask(failed, np.inf))


def paired(scores: pd.DataFrame, *, reference: str, reference_data: str | None = None) -> pd.DataFrame:
    """Pair the seeds of every method with those of the reference on the same system, and data if none is named.

    Arguments:
        scores: Rows of ``scores.csv``.
        reference: The label of the reference.
        reference_data: Its kind of data; that of the method if None.

    Returns:
        A row per pair, with the columns of :func:`losses`, and ``value_of_reference``, ``failed_of_reference`` and
        ``loss_of_reference``.
    """
    scores = losses(scores)
    itself = scores["method"] == reference
    itself &= True if reference_data is None else scores["data"] == reference_data
    pair = ["system", "metric", "seed", *(["data"] if reference_data is None else [])]
    against = scores.loc[itself, [*pair, "value", "failed", "loss"]]
    return scores[~itself].merge(against, on=pair, suffixes=("", "_of_reference"))


def by_values(pairs: pd.DataFrame) -> pd.DataFrame:
    """Count seeds that diverged or collapsed by the values that they have; those without a value stay behind all.

    It tells how much a comparison rests on failures, and flatters what fails: no verdict is of it.

    Arguments:
        pairs: As :func:`paired` makes them.

    Returns:
        The same pairs with other losses.
    """
    sides = {f"loss{side}": _loss(pairs[f"value{side}"], pairs["metric"]) for side in ("", "_of_reference")}
    return pairs.assign(**sides)


def compared(pairs: pd.DataFrame, *, over: list[str], draws: int = DRAWS) -> dict[str, np.ndarray | list[str]]:
    """Compare both sides of pairs over their systems.

    Arguments:
        pairs: As :func:`paired` makes them.
        over: The columns that tell which pairs belong together; one of them has to tell the metric.
        draws: Of the bootstrap.

    Returns:
        The columns ``better``, ``worse``, ``ratio``, ``low``, ``high``, ``p_alone`` and ``verdict`` of
        :func:`effects`, for each group in the order of the pairs.
    """
    own, other = _stacked(pairs, over, "loss"), _stacked(pairs, over, "loss_of_reference")
    effect = _effects(own, other)
    enough = np.sum(~np.isnan(effect), -1) >= FEWEST
    intervals = [
        _interval(*sides, draws=draws) if able else (np.nanmin(of), np.nanmax(of))
        for *sides, of, able in zip(own, other, effect, enough, strict=True)
    ]
    turned = pairs.groupby(over, sort=False)["metric"].first().isin(higher()).to_numpy()
    ends = np.array(intervals).reshape(-1, 2)
    ends = np.exp(np.where(turned[:, None], -ends[:, ::-1], ends))
    below, above = enough & (_printed(ends[:, 1]) < 1), enough & (_printed(ends[:, 0]) > 1)
    middle = _middle(effect, mixed=0.0)
    return {
        "better": np.sum(effect < 0, -1),
        "worse": np.sum(effect > 0, -1),
        "ratio": np.exp(np.where(turned, -middle, middle)),
        "low": ends[:, 0],
        "high": ends[:, 1],
        "p_alone": np.where(enough, signed_rank(effect), np.nan),
        "verdict": np.where(above & turned | below & ~turned, "better", np.where(above | below, "worse", "")),
    }


def by_system(pairs: pd.DataFrame, *, over: list[str]) -> pd.DataFrame:
    """Reduce pairs to what :func:`compared` compares: the medians of both sides on each system.

    Returns:
        A row per group of pairs and system, in the order of the pairs, with columns ``(*over, system, value,
        of_reference, ratio, failed, failed_of_reference)``: the medians over seeds, infinite (or zero, where higher
        values are better) where they failed, the ratio, one of two that failed, and how many seeds did.
    """
    own, other = _stacked(pairs, over, "loss"), _stacked(pairs, over, "loss_of_reference")
    logs = _middle(own, mixed=np.inf), _middle(other, mixed=np.inf), _effects(own, other)
    group, system, _ = _axes(pairs, over)
    sign = np.where(pairs["metric"].isin(higher()), -1, 1)
    value, reference, ratio = (np.exp(sign * log[group, system]) for log in logs)
    rows = pairs.assign(value=value, of_reference=reference, ratio=ratio).groupby([*over, "system"], sort=False)
    medians = {name: (name, "first") for name in ("value", "of_reference", "ratio")}
    return rows.agg(**medians, **{name: (name, "sum") for name in FAILED}).reset_index()


def signed_rank(effect: np.ndarray) -> np.ndarray:
    """Test by Wilcoxon's signed ranks that effects are symmetric about zero, in the exact distribution.

    Ties share their mean rank, and so do infinite effects the largest; zeros are dropped, as by Wilcoxon.

    Arguments:
        effect: The effects, with shape (*, systems); NaN where there is none.

    Returns:
        The two-sided p-values, with shape (*): one where all effects are zero, NaN where there are none.
    """
    from scipy.stats import rankdata  # here, for every job imports this file and this takes a second

    size = np.where(effect == 0, np.nan, np.abs(effect))
    rank = np.nan_to_num(2 * rankdata(size, axis=-1, nan_policy="omit")).astype(int)  # twice: ties are whole, too
    sums = np.arange(effect.shape[-1] * (effect.shape[-1] + 1) + 1)
    chance = np.broadcast_to(1.0 * (sums == 0), (*effect.shape[:-1], len(sums)))  # of each sum of positive ranks
    for step in np.moveaxis(rank, -1, 0)[..., None]:
        moved = np.take_along_axis(chance, np.maximum(sums - step, 0), -1)
        chance = (chance + np.where(sums >= step, moved, 0)) / 2
    positive = np.sum(rank * (effect > 0), -1)
    smaller = np.minimum(positive, rank.sum(-1) - positive)[..., None]
    p = np.minimum(2 * np.sum(chance * (sums <= smaller), -1), 1.0)
    return np.where(np.isnan(effect).all(-1), np.nan, p)


def holm(p: pd.Series) -> pd.Series:
    """Correct p-values by the method of Holm; what is undefined stays so, and is no test."""
    ordered = p.dropna().sort_values()
    steps = ordered * np.arange(len(ordered), 0, -1)
    return steps.cummax().clip(upper=1.0).reindex(p.index)


def _loss(values: pd.Series, metrics: pd.Series) -> pd.Series:
    """The logarithms of values, of their inverse where higher is better; infinite of none."""
    with np.errstate(divide="ignore"):
        logs = np.log(values.clip(lower=0))
    return logs.mask(metrics.isin(higher()), -logs).fillna(np.inf)


def _printed(ratios: np.ndarray) -> np.ndarray:
    """Ratios as they are read in print."""
    return np.array([float(f"{ratio:.{DIGITS}g}") for ratio in ratios])


def _axes(pairs: pd.DataFrame, over: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of each pair's group, in the order of the pairs, of its system, by name, and of its seed there."""
    group = pairs.groupby(over, sort=False).ngroup().to_numpy()
    system = pd.factorize(pairs["system"], sort=True)[0]
    seed = pairs.groupby([*over, "system"])["seed"].rank(method="first").to_numpy(dtype=int) - 1
    return group, system, seed


def _stacked(pairs: pd.DataFrame, over: list[str], column: str) -> np.ndarray:
    """Stack a column of pairs, with shape (groups, systems, seeds): the seeds of a system, and NaN after the last."""
    axes = _axes(pairs, over)
    stack = np.full([axis.max(initial=-1) + 1 for axis in axes], np.nan)
    stack[axes] = pairs[column]
    return stack


def _effects(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The log ratios of the medians of losses (*, systems, seeds), with shape (*, systems); zero of equals."""
    own, other = _middle(own, mixed=np.inf), _middle(other, mixed=np.inf)
    with np.errstate(invalid="ignore"):
        return np.where(np.isclose(own, other, rtol=0, atol=ROUNDING), 0.0, own - other)


def _middle(values: np.ndarray, *, mixed: float) -> np.ndarray:
    """The medians over the last axis without what is NaN; NaN of nothing, ``mixed`` of infinities of both signs."""
    ordered, count = np.sort(values, -1), np.sum(~np.isnan(values), -1, keepdims=True)  # NaN is last
    low, high = (np.take_along_axis(ordered, at, -1)[..., 0] for at in (np.maximum(count - 1, 0) // 2, count // 2))
    high = np.where(count[..., 0] > 0, high, np.nan)
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, np.where(np.isinf(low) & np.isinf(high), mixed, (low + high) / 2))


def _interval(own: np.ndarray, other: np.ndarray, *, draws: int) -> tuple[float, float]:
    """The interval of the median effect over systems, from losses of both sides with shape (systems, seeds)."""
    there = ~np.isnan(own).all(-1)
    sets, places = drawn(tuple(np.sum(~np.isnan(own[there]), -1)), own.shape[-1], draws)
    sides = (np.pad(side[there], ((0, 0), (0, 1)), constant_values=np.nan) for side in (own, other))
    of_seeds = _effects(*(side[sets[:, :1], sets[:, 1:]] for side in sides))
    medians = np.sort(_middle(of_seeds[places], mixed=0.0))
    tail = int((1 - LEVEL) / 2 * draws)
    return medians[tail], medians[-1 - tail]
