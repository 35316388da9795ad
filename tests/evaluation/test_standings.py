"""Average ranks against scipy and scikit-posthocs, and performance profiles."""

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
import scipy.stats

from nearorbit.evaluation.standings import common, places, profiles, ranks


def scores(values, failed=(), metric="jacobian_error"):
    """Scores of methods over systems, one seed each: values by method, and which (method, system) have failed."""
    table = pd.DataFrame(values).rename_axis("system").reset_index().melt("system", var_name="method")
    gone = [label in failed for label in zip(table["method"], table["system"], strict=True)]
    return table.assign(data="clean", metric=metric, seed=0, status=np.where(gone, "collapsed", "ok")).dropna()


def lognormal(systems, methods):
    rng = np.random.default_rng(systems)
    return {f"m{n}": rng.lognormal(0.3 * n, 1, systems) for n in range(methods)}


@pytest.mark.parametrize(("systems", "methods"), [(4, 3), (12, 5), (28, 9)])
def test_ranks_are_those_of_scipy_and_scikit_posthocs(systems, methods):
    values = lognormal(systems, methods)
    found = ranks(scores(values))
    expected = scipy.stats.rankdata(np.stack(list(values.values())), axis=0).mean(1)
    np.testing.assert_allclose(found.average[list(values)], expected)
    assert found.p == pytest.approx(scipy.stats.friedmanchisquare(*values.values()).pvalue)
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(pd.DataFrame(values))
    apart = np.abs(np.subtract.outer(expected, expected)) > found.difference
    assert (apart == (nemenyi.to_numpy() < 0.05)).all(), nemenyi


def test_the_critical_difference_is_that_of_the_tables():
    found = ranks(scores(lognormal(14, 4)))
    assert found.difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), rel=1e-3)  # Demsar (2006), 1.25


def test_a_method_of_which_half_of_the_seeds_failed_is_last_even_where_the_other_half_is_perfect():
    first = scores({"a": [0.0, 0.0], "b": [1.0, 1.0], "c": [2.0, 2.0]})
    second = scores({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [2.0, 2.0]}, failed=[("a", 0), ("a", 1)])
    assert ranks(pd.concat([first, second.assign(seed=1)])).average.to_dict() == {"b": 1, "c": 2, "a": 3}


def test_failures_are_last_ties_share_the_mean_and_a_method_that_most_systems_lack_takes_no_part():
    values = {"a": [0.1, 0.1, 0.1], "b": [1.0, 1.0, 1.0], "c": [2.0, 2.0, 2.0], "d": [0.0, np.nan, np.nan]}
    found = ranks(scores(values, failed=[("a", 0), ("a", 1), ("c", 1)]))
    assert found.average.to_dict() == pytest.approx({"b": 4 / 3, "a": (3 + 2.5 + 1) / 3, "c": (2 + 2.5 + 3) / 3})
    assert found.systems == 3


def test_higher_is_better_where_it_is_and_the_truth_has_no_rank():
    values = {"a": [1.0, 1.0], "b": [2.0, 2.0], "truth": [9.0, 9.0]}
    found = ranks(scores(values, metric="valid_prediction_time"))
    assert found.average.to_dict() == {"b": 1.0, "a": 2.0} and np.isnan(found.p)


def test_factors_are_of_the_best_and_failures_are_within_none():
    values = {"a": [1.0, 4.0, 1.0], "b": [2.0, 1.0, 0.1], "truth": [1e-9] * 3}
    found = factors(scores(values, failed=[("b", 0), ("a", 2), ("b", 2)]))
    assert found == {
        **{("a", 0): 1.0, ("a", 1): 4.0, ("a", 2): np.inf},
        **{("b", 0): np.inf, ("b", 1): 1.0, ("b", 2): np.inf},
    }
    longer = factors(scores({"a": [1.0], "b": [4.0]}, metric="valid_prediction_time"))
    assert longer == {("a", 0): 4.0, ("b", 0): 1.0}


def factors(table, **settings):
    return profiles(table, **settings).set_index(["method", "system"])["factor"].to_dict()


def test_factors_are_of_the_systems_that_all_have_and_who_lacks_half_of_them_changes_none():
    values = {"a": [1.0, 1.0, 1.0], "b": [2.0, 4.0, np.nan]}
    few = {"few": [0.1, np.nan, np.nan]}
    expected = {("a", 0): 1.0, ("a", 1): 1.0, ("b", 0): 2.0, ("b", 1): 4.0}
    assert factors(scores(values)) == factors(scores(values | few)) == pytest.approx(expected)


def test_what_is_given_more_sets_no_best_and_is_clipped_at_it():
    values = {"a": [1.0, 1.0, 1.0], "b": [2.0, 4.0, 0.5], "told": [0.1, 3.0, 1.0], "partly": [0.1, 0.1, np.nan]}
    failed = [("a", 0), ("b", 0), ("told", 2)]
    alone = factors(scores({name: values[name] for name in "ab"}, failed=failed))
    found = factors(scores(values, failed=failed), beside=["told", "partly"])
    told = {("told", 0): 1.0, ("told", 1): 3.0, ("told", 2): np.inf}  # where all others failed, it is no worse
    assert found == pytest.approx(alone | told)


def test_common_is_what_ranks_are_of():
    table = scores({"a": [1.0, 1.0, 1.0], "b": [2.0, 4.0, np.nan], "few": [0.1, np.nan, np.nan]})
    left = common(table)
    assert set(left["method"]) == {"a", "b"} and set(left["system"]) == {0, 1}
    assert places(table).shape == (2, 2)
