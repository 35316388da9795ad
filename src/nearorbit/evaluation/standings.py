r"""How all methods stand among one another: average ranks, and performance profiles.

Both are of the methods that take part, and change with them: a weak method more, and the ranks of all others are
further apart; another best one, and all factors are larger. They order a field; how much a method changes, and how sure
that is, is told by :mod:`nearorbit.evaluation.statistics`. Methods are compared on the same systems, those that all of
them have; a method that half of the systems lack takes no part (:func:`common`).

*Ranks.* On each system methods are ranked by the median of their seeds (as there), 1 the best; those that failed are
last, ties share the mean, and so does what differs by rounding. Friedman's test asks whether their averages over
systems differ at all; of two methods they do, by Nemenyi, if by more than

.. math:: q_\alpha \sqrt{\frac{k (k + 1)}{12 N}}

for k methods, N systems and the studentized range :math:`q_\alpha` of k.

*Profiles.* With :math:`r` the value of a method on a system and seed over the best of all methods there, a profile is
the share of systems and seeds with :math:`r \leq \tau`, as a function of the factor :math:`\tau`. What failed is within
no factor; where all methods failed, none is. A method that is given more than the others does not set what is best for
them: it stands beside, with a factor of one where it is better than all of them.

References:
    | Statistical comparisons of classifiers over multiple data sets (Demsar, JMLR 2006)
    | Should we really use post-hoc tests based on mean-ranks? (Benavoli, Corani and Mangili, JMLR 2016): whether two
      methods differ depends on the others
    | Benchmarking optimization software with performance profiles (Dolan and More, Mathematical Programming, 2002)
    | A note on performance profiles for benchmarking software (Gould and Scott, ACM TOMS, 2016): only of the best are
      they a ranking
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nearorbit.evaluation.statistics import ROUNDING, losses
from nearorbit.study.catalogue import TRUTH


@dataclass(frozen=True)
class Ranks:
    """The average ranks of methods over systems.

    Arguments:
        average: The average rank, by method, the best first; those that took part.
        systems: On how many systems, those that all methods have.
        p: Of Friedman's test that all methods are alike; NaN for less than three methods or two systems.
        difference: How far apart two average ranks have to be, by Nemenyi; NaN where p is.
    """

    average: pd.Series
    systems: int
    p: float
    difference: float


def common(scores: pd.DataFrame) -> pd.DataFrame:
    """Take of scores what can be compared: methods that have most systems, on the systems that all of these have.

    Arguments:
        scores: Rows of ``scores.csv`` of one metric and kind of data.
    """
    there = scores.groupby(["system", "method"]).size().unstack().notna()
    there = there.loc[:, there.mean() > 0.5]
    there = there[there.all(axis=1)]
    return scores[scores["method"].isin(there.columns) & scores["system"].isin(there.index)]


def places(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank the methods on every system.

    Arguments:
        scores: Rows of ``scores.csv`` of one metric and kind of data; those of the truth do not count.

    Returns:
        The rank of each method that takes part (columns) on each system that all of these have (rows).
    """
    rivals = common(losses(scores[scores["method"] != TRUTH]))
    medians = rivals.groupby(["system", "method"])["loss"].median().unstack()
    medians = medians.fillna(np.inf)  # of one seed that is perfect and one that failed: half of them
    medians = (medians / ROUNDING).round() * ROUNDING
    return medians.rank(axis=1)


def ranks(scores: pd.DataFrame, *, level: float = 0.95) -> Ranks:
    """Rank the methods on every system, and average.

    Arguments:
        scores: Rows of ``scores.csv`` of one metric and kind of data; those of the truth do not count.
        level: That of the critical difference.
    """
    from scipy.stats import friedmanchisquare, studentized_range  # here, for every job imports this file

    placed = places(scores)
    systems, methods = placed.shape
    average = placed.mean().sort_values(kind="stable")
    if methods < 3 or systems < 2:
        return Ranks(average, systems, np.nan, np.nan)
    differ = placed.nunique(axis=1).gt(1).any()
    p = friedmanchisquare(*placed.to_numpy().T).pvalue if differ else 1.0
    wide = studentized_range.ppf(level, methods, np.inf) * (methods * (methods + 1) / (12 * systems)) ** 0.5
    return Ranks(average, systems, float(p), float(wide))


def profiles(scores: pd.DataFrame, *, beside: Collection[str] = ()) -> pd.DataFrame:
    """Compute by what factor each seed of each method is worse than the best one of its system and seed.

    Arguments:
        scores: Rows of ``scores.csv`` of one metric and kind of data; those of the truth do not count.
        beside: The labels of methods that are given more than the others, and never set what is best. Those of them
            that lack a system which the others have in common take no part.

    Returns:
        A row per system, seed and method that takes part, with columns ``(method, system, seed, factor)``: one for the
        best, and for what is beside and better still, infinite for what failed.
    """
    rivals = losses(scores[scores["method"] != TRUTH])
    others = rivals["method"].isin(beside)
    taken = common(rivals[~others])
    near = rivals[others & rivals["system"].isin(taken["system"])]
    whole = near.groupby("method")["system"].transform("nunique") == taken["system"].nunique()
    rows = pd.concat([taken, near[whole]]).sort_index()
    best = rows["loss"].where(~rows["method"].isin(beside)).groupby([rows["system"], rows["seed"]]).transform("min")
    with np.errstate(invalid="ignore"):
        factor = np.exp(rows["loss"] - best).mask(rows["loss"] <= best, 1.0).mask(rows["failed"], np.inf)
    return rows.assign(factor=factor)[["method", "system", "seed", "factor"]]
