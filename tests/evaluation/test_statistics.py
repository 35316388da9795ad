"""Effects, their intervals and tests: against scipy and statsmodels, and on simulated studies."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from nearorbit.evaluation.statistics import (
    FEWEST,
    by_system,
    by_values,
    effects,
    fewest,
    holm,
    paired,
    signed_rank,
)

INFINITE = float("inf")


def scores(metric="jacobian_error", failed=(), **systems):
    """Scores of methods a and b: by system the values of the seeds of a, and those of b; which (system, method, seed)
    collapsed."""
    rows = [
        {"system": system, "data": "clean", "method": method, "metric": metric, "seed": seed, "value": value}
        | {"status": "collapsed" if (system, method, seed) in failed else "ok"}
        for system, sides in systems.items()
        for method, values in zip("ab", sides, strict=True)
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def simulated(rng, *, systems, seeds=3, studies=300, rivals=1, effect=0.0, between=0.5, within=0.5):
    """Scores of as many studies, each a kind of data: the reference ``a``, and rivals that are different by ``effect``
    in the logarithm, by as much more or less on each system as ``between``, and on each seed as ``within``."""
    shape, shared = (studies, systems, seeds), rng.normal(size=(studies, systems, 1))
    noise = [shared + rng.normal(0, within, shape) for _ in range(1 + rivals)]
    noise[1:] = [each + effect + rng.normal(0, between, (studies, systems, 1)) for each in noise[1:]]
    axes = [range(studies), [f"s{number:02}" for number in range(systems)], range(seeds)]
    index = pd.MultiIndex.from_product(axes, names=["data", "system", "seed"]).to_frame(index=False)
    return pd.concat(
        index.assign(method=method, value=np.exp(values.ravel()), metric="jacobian_error", status="ok")
        for method, values in zip("abcdefgh", noise, strict=False)
    )


def only(table):
    """The only row of a table."""
    assert len(table) == 1, table
    return table.iloc[0]


# --- known answers


@pytest.mark.parametrize("n", [1, 2, 4, 7, 12, 28])
def test_signed_ranks_are_those_of_scipy(n):
    effect = np.random.default_rng(n).normal(0.3, 1, (5, n))
    expected = [scipy.stats.wilcoxon(row, method="exact").pvalue for row in effect]
    np.testing.assert_allclose(signed_rank(effect), expected, rtol=1e-12)


@pytest.mark.parametrize("effect", [[1, 1, -2, 3], [INFINITE, INFINITE, -1, 2, 0.5], [0, 0, 1, 2, -3], [1, np.nan, 2]])
def test_ties_zeros_and_infinite_effects_have_the_exact_distribution_of_all_signs(effect):
    known = [value for value in effect if value and not np.isnan(value)]
    ranks = scipy.stats.rankdata(np.abs(known))
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(known))])
    center = ranks.sum() / 2
    found = np.dot(ranks, np.array(known) > 0)
    assert signed_rank(np.array(effect, float)) == np.mean(abs(sums - center) >= abs(found - center) - 1e-9)


def test_no_difference_anywhere_has_a_p_of_one_and_no_systems_none():
    np.testing.assert_array_equal(signed_rank(np.array([[0.0, 0.0], [np.nan, np.nan]])), [1.0, np.nan])


def test_corrected_p_values_are_those_of_statsmodels():
    p = np.random.default_rng(0).random(9) ** 3
    np.testing.assert_allclose(holm(pd.Series(p)), multipletests(p, method="holm")[1], rtol=1e-12)
    assert holm(pd.Series([0.02, np.nan, 0.03])).tolist()[::2] == [0.04, 0.04]  # what is no test does not count


def test_five_systems_never_give_a_p_below_a_sixteenth_and_are_no_test():
    assert signed_rank(np.arange(1.0, 6)) == 1 / 16 and signed_rank(np.arange(1.0, FEWEST + 1)) == 1 / 32
    for systems in (4, 5, 6):
        table = scores(**{f"s{n}": ([1.0 + n] * 5, [1e-6] * 5) for n in range(systems)})
        row = only(effects(table, reference="a"))
        np.testing.assert_equal([row["p"], row["p_alone"]], [1 / 32 if systems == FEWEST else np.nan] * 2)
        assert (row["better"], row["verdict"]) == (systems, "better" if systems == FEWEST else "")


def test_what_has_too_few_systems_is_no_test_that_others_are_corrected_for():
    table = scores(**{f"s{n}": ([1.0] * 3, [0.5] * 3) for n in range(7)})
    others = [table[table["method"] == "b"].assign(method=name) for name in "cd"]
    found = effects(pd.concat([table, *others[:1], others[1][others[1]["system"] < "s5"]]), reference="a")
    np.testing.assert_equal(found["p"].to_numpy(), [2 * 2 / 2**7, 2 * 2 / 2**7, np.nan])


def test_the_ratio_is_the_median_over_systems_of_ratios_of_medians_over_seeds():
    table = scores(A=([1, 1, 9], [2, 2, 0.1]), B=([1, 1, 1], [0.5, 0.5, 0.5]), C=([2, 4, 8], [1, 1, 1]))
    row = only(effects(table, reference="a"))
    assert (row["ratio"], row["systems"], row["better"], row["worse"], row["seeds"]) == (0.5, 3, 2, 1, 9)
    assert by_system(paired(table, reference="a"), over=["method"])["ratio"].tolist() == [2.0, 0.5, 0.25]
    assert row["low"] <= row["ratio"] <= row["high"]


def test_seeds_are_no_systems():
    many = {"A": ([1.0 + 0.01 * seed for seed in range(40)], [0.5] * 40)}
    row = only(effects(scores(**many), reference="a"))
    assert (row["systems"], row["verdict"]) == (1, "") and np.isnan(row["p"])


def test_methods_are_corrected_for_together_and_the_truth_is_no_test():
    rng = np.random.default_rng(3)
    table = simulated(rng, systems=8, studies=1, rivals=4, effect=-0.5)
    alone = effects(table, reference="a").set_index("method")
    with_truth = pd.concat([table, table[table["method"] == "a"].assign(method="truth", value=1e-9)])
    found = effects(with_truth, reference="a").set_index("method")
    assert (
        np.isnan(found.loc["truth", "p"]) and not found.loc["truth", "verdict"] and found.loc["truth", "ratio"] < 1e-6
    )
    pd.testing.assert_frame_equal(found.drop("truth"), alone)
    np.testing.assert_allclose(alone["p"], multipletests(alone["p_alone"], method="holm")[1])


@pytest.mark.parametrize(("metric", "sign"), [("jacobian_error", 1), ("valid_prediction_time", -1)])
@pytest.mark.parametrize(("ratio", "told"), [(0.9994, True), (0.9996, False), (1.0049, False), (1.006, True)])
def test_an_interval_that_is_printed_with_an_end_of_one_excludes_nothing(metric, sign, ratio, told):
    table = scores(metric, **{f"s{n}": ([1.0], [ratio]) for n in range(7)})
    row = only(effects(table, reference="a"))
    assert row["low"] == row["high"] == pytest.approx(ratio)
    assert row["verdict"] == (("better" if (ratio < 1) == (sign > 0) else "worse") if told else "")


# --- failures


def test_where_higher_is_better_a_ratio_above_one_is():
    table = scores(metric="valid_prediction_time", **{f"s{n}": ([1.0], [2.0]) for n in range(6)})
    row = only(effects(table, reference="a"))
    assert (row["ratio"], row["low"], row["high"], row["better"], row["verdict"]) == (2, 2, 2, 6, "better")


def test_failed_seeds_can_be_counted_by_the_values_that_they_have():
    failed = {(system, "a", seed) for system in "AB" for seed in (0, 1)}
    table = scores(failed=failed, A=([4, 4, 1], [1, 1, 1]), B=([2, 2, 2], [3, 3, np.nan]), C=([1] * 3, [0.5] * 3))
    pairs = paired(table, reference="a")
    assert by_system(pairs, over=["method"])["ratio"].tolist() == [0.0, 0.0, 0.5]
    assert by_system(by_values(pairs), over=["method"])["ratio"].tolist() == pytest.approx([0.25, 1.5, 0.5])
    table.loc[(table["system"] == "A") & (table["method"] == "a"), "value"] = [np.nan, np.nan, 1]
    assert by_system(by_values(paired(table, reference="a")), over=["method"])["ratio"].tolist() == pytest.approx(
        [0.0, 1.5, 0.5]
    )


def test_a_failed_seed_is_worse_than_any_value_and_two_failed_medians_are_equal():
    failed = {("A", "b", 1), ("A", "b", 2), ("B", "a", 0), ("B", "a", 1), ("C", "b", 0)}
    failed |= {("D", side, seed) for side in "ab" for seed in (0, 1)}
    three = ([1, 1, 1], [0.1, 0.1, 0.1])
    table = scores(failed=failed, A=three, B=three, C=([1, 1, 1], [0.1, 0.2, 0.3]), D=three)
    rows = by_system(paired(table, reference="a"), over=["method"]).set_index("system")
    assert rows["ratio"].to_dict() == {"A": INFINITE, "B": 0.0, "C": 0.3, "D": 1.0}
    row = only(effects(table, reference="a"))
    assert (row["better"], row["worse"], row["failed"], row["failed_of_reference"]) == (2, 1, 5, 4)


@pytest.mark.parametrize("metric", ["jacobian_error", "valid_prediction_time"])
def test_a_failure_more_never_flatters(metric):
    rng = np.random.default_rng(5)
    for _ in range(20):
        table = scores(metric, **{f"s{n}": (rng.lognormal(size=3), rng.lognormal(size=3)) for n in range(5)})
        table["status"] = np.where(rng.random(len(table)) < 0.3, "collapsed", "ok")
        before = only(effects(table, reference="a", draws=200))
        own = rng.choice(table.index[(table["method"] == "b") & (table["status"] == "ok")])
        for change in ({"status": "diverged"}, {"value": np.nan}):
            worse = table.copy()
            worse.loc[own, list(change)] = list(change.values())
            after = only(effects(worse, reference="a", draws=200))
            for name in ("ratio", "low", "high"):
                ends = (before[name], after[name])
                assert ends == tuple(sorted(ends, reverse=metric == "valid_prediction_time")), (name, ends)
            assert after["better"] <= before["better"] and after["failed"] == before["failed"] + 1


def test_a_metric_that_is_not_there_leaves_its_system_out_and_one_value_brings_it_back():
    nothing = [np.nan, np.nan, np.nan]
    table = scores(A=([1, 1, 1], [0.5, 0.5, 0.5]), B=(nothing, nothing))
    assert only(effects(table, reference="a"))["systems"] == 1
    truth = table[table["method"] == "a"].assign(method="truth", value=1.0)
    row = effects(pd.concat([table, truth]), reference="a").set_index("method").loc["b"]
    assert (row["systems"], row["better"], row["worse"], row["failed"]) == (2, 1, 0, 3)


def test_values_of_zero_and_below_are_the_best_and_alike():
    table = scores(A=([0.0], [1.0]), B=([1.0], [0.0]), C=([0.0], [-1.0]))
    assert by_system(paired(table, reference="a"), over=["method"])["ratio"].tolist() == [INFINITE, 0.0, 1.0]


def test_seeds_that_one_side_lacks_are_left_out():
    table = scores(A=([1, 1, 1], [0.5, 9.0, 9.0]))
    row = only(effects(table.drop(index=[1, 2]), reference="a"))
    assert (row["ratio"], row["seeds"]) == (0.5, 1)
    assert effects(table[table["method"] == "a"], reference="a").empty
    assert effects(table, reference="absent").empty


def test_the_reference_may_be_on_other_data():
    noisy = scores(A=([4.0], [3.0])).assign(data="noisy")
    table = pd.concat([scores(A=([2.0], [1.0])), noisy])
    found = effects(table, reference="a", reference_data="clean").set_index(["data", "method"])["ratio"]
    assert found.to_dict() == pytest.approx({("clean", "b"): 0.5, ("noisy", "a"): 2.0, ("noisy", "b"): 1.5})


# --- what repeats


def test_intervals_repeat_to_the_bit_whatever_stands_beside_and_in_whatever_order():
    rng = np.random.default_rng(2)
    table = simulated(rng, systems=7, studies=3, rivals=3)
    table = table[~((table["system"] == "s03") & (table["seed"] == 2))]  # a system has fewer seeds
    labels = ["data", "method"]
    found = effects(table, reference="a").set_index(labels)
    shuffled = effects(table.sample(frac=1, random_state=1), reference="a").set_index(labels)
    pd.testing.assert_frame_equal(found, shuffled.loc[found.index], check_exact=True)
    fewer = effects(table[table["method"] != "c"], reference="a").set_index(labels)
    columns = ["ratio", "low", "high", "p_alone"]
    pd.testing.assert_frame_equal(fewer[columns], found.loc[fewer.index, columns], check_exact=True)


def test_one_seed_a_system_is_the_plain_bootstrap_of_a_median():
    rng = np.random.default_rng(8)
    values = rng.normal(size=9)
    table = scores(**{f"s{n}": ([1.0], [np.exp(value)]) for n, value in enumerate(values)})
    row = only(effects(table, reference="a", draws=20000))
    drawn = np.median(values[rng.integers(9, size=(20000, 9))], axis=1)
    np.testing.assert_allclose(np.log([row["low"], row["high"]]), np.quantile(drawn, [0.025, 0.975]), atol=0.02)


# --- simulated studies


@pytest.mark.parametrize("systems", [6, 9, 12])
def test_without_an_effect_the_test_errs_at_its_rate(systems):
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=systems)))
    rate = np.mean(signed_rank(signs * np.arange(1, systems + 1)) <= 0.05)  # the most that so many systems can give
    p = effects(simulated(np.random.default_rng(systems), systems=systems), reference="a", draws=10)["p_alone"]
    errors = int(np.sum(p <= 0.05))
    assert 0.03 < rate <= 0.05 and scipy.stats.binomtest(errors, len(p), rate).pvalue > 0.001, (errors, rate)


def test_of_many_methods_without_an_effect_any_is_found_at_most_at_that_rate():
    table = simulated(np.random.default_rng(0), systems=12, rivals=6)
    least = effects(table, reference="a", draws=10).groupby("data")["p"].min()
    assert np.mean(least <= 0.05) < 0.085, np.mean(least <= 0.05)  # 0.05, and three standard errors


@pytest.mark.parametrize(("systems", "seeds"), [(6, 1), (6, 3), (12, 3), (12, 5)])
def test_without_an_effect_intervals_exclude_one_at_most_at_their_rate(systems, seeds):
    table = simulated(np.random.default_rng(7), systems=systems, seeds=seeds)
    told = int(np.sum(effects(table, reference="a", draws=1000)["verdict"] != ""))
    assert scipy.stats.binomtest(told, 300, 0.07, alternative="greater").pvalue > 0.01, told


@pytest.mark.parametrize(("systems", "seeds", "least"), [(6, 3, 0.93), (12, 3, 0.93), (12, 1, 0.89), (28, 5, 0.93)])
def test_intervals_cover_the_effect_about_as_often_as_they_say(systems, seeds, least):
    table = simulated(np.random.default_rng(4), systems=systems, seeds=seeds, effect=np.log(0.7))
    found = effects(table, reference="a", draws=500)
    covered = np.mean((found["low"] <= 0.7) & (found["high"] >= 0.7))
    assert covered >= least, covered  # with seeds it is more, for systems scatter by their seeds already


def test_too_few_systems_decide_nothing():
    for systems in (2, 3, 5, 6):
        table = scores(**{f"s{n}": ([1.0] * 3, [0.1] * 3) for n in range(systems)})
        assert only(effects(table, reference="a"))["verdict"] == ("better" if systems == 6 else "")


def test_of_too_few_systems_the_range_is_told():
    table = scores(s0=([2.0, 4.0, 3.0], [3.0] * 3), s1=([1.0] * 3, [0.25] * 3), s2=([1.0] * 3, [0.5] * 3))
    row = only(effects(table, reference="a"))
    assert row[["ratio", "low", "high"]].tolist() == pytest.approx([0.5, 0.25, 1.0])


def test_what_differs_by_rounding_is_equal():
    table = scores(**{f"s{n}": ([1.0] * 3, [1.0 - 1e-7] * 3) for n in range(6)})
    row = only(effects(table, reference="a"))
    assert (row["better"], row["worse"], row["ratio"], row["p"], row["verdict"]) == (0, 0, 1.0, 1.0, "")


def test_how_many_systems_it_takes_follows_from_the_level_and_the_tests():
    assert [fewest(tests) for tests in (1, 5, 13)] == [FEWEST, 8, 10]
    for tests in (1, 5, 13):
        n = fewest(tests)
        assert tests * signed_rank(np.ones(n)) < 0.05 + 1e-12 <= tests * signed_rank(np.ones(n - 1))


def test_an_effect_that_is_there_is_found():
    table = simulated(np.random.default_rng(6), systems=12, rivals=3, studies=60, effect=np.log(0.3))
    found = effects(table, reference="a", draws=500)
    assert np.mean(found["p"] < 0.05) > 0.95 and np.mean(found["verdict"] == "better") > 0.95
    assert abs(np.log(found["ratio"] / 0.3).mean()) < 0.05
