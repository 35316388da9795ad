"""What a study is said to have found, on tables of which the answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nearorbit.evaluation.scores import Results
from nearorbit.report.findings import declared, found
from nearorbit.report.words import cost, observed, seconds, times
from nearorbit.study.catalogue import build

FACTORS = {"reference": 1.0, "half": 0.5, "alike": 1.0, "true": 0.01}  # of the errors of the first
LINE = {"noise": 0.05, "orbits": 50, "samples": 500, "transient": 0}
SEEDS = 3


def study(folder: Path, systems: int, factors=FACTORS, data=("noisy",), failed=(), scatter=0.1) -> Results:
    """Results whose errors are known factors of those of the reference, but for a scatter."""
    rng = np.random.default_rng(0)
    rows = [
        {"system": f"s{system}", "data": label, "noise": 0.05, "method": method, "seed": seed, "metric": metric,
         "unit": "1", "value": (system + 1) * factor * np.exp(scatter * rng.normal()), "stderr": np.nan,
         "status": "collapsed" if method in failed else "ok", "converged": 1.0}
        for label in data for system in range(systems) for seed in range(SEEDS)
        for metric in ("jacobian_error", "lyapunov_distance") for method, factor in factors.items()
    ]  # fmt: skip
    costs = [
        {"system": f"s{system}", "data": label, "noise": 0.05, "method": method, "seconds": 10.0 * (1 + i),
         "seeds": SEEDS, "given": "data + true J" if method == "true" else "data"}
        for label in data for system in range(systems) for i, method in enumerate(factors)
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    pd.DataFrame(costs).to_csv(folder / "costs.csv", index=False)
    return Results(folder, tuple(f"s{s}" for s in range(systems)), dict.fromkeys(data, 0.05), tuple(factors))


def test_of_methods_from_data_alone_the_best_is_taken_and_is_sure_on_many_systems(tmp_path):
    (finding,) = found(study(tmp_path, 10), {"noisy": LINE}, {"noisy": "reference"})
    assert (finding.method, finding.sure) == ("half", "sure")
    first = finding.lines[0].effects[0]
    assert finding.lines[0].method == "half" and finding.metrics[0] == first.metric
    assert first.row["low"] < 0.5 < first.row["high"] < 1 and first.row["p"] < 0.01 and first.row["systems"] == 10
    assert [line.method for line in finding.lines] == ["half", "alike", "true"] and finding.alike == []
    assert [effect.method for effect in finding.ranked[:2]] == ["true", "half"]


@pytest.mark.parametrize("systems", [1, 4])
def test_few_systems_decide_nothing_and_no_method_is_named(systems, tmp_path):
    (finding,) = found(study(tmp_path, systems), {"noisy": LINE}, {"noisy": "reference"})
    assert (finding.method, finding.sure, finding.systems) == (None, "few", systems)
    assert finding.lines[0].method == "half" and all(effect.p == "" for effect in finding.lines[0].effects)


def test_where_no_interval_tells_none_is_named(tmp_path):
    factors = {"reference": 1.0, "a": 0.95, "b": 0.9}
    (finding,) = found(study(tmp_path, 8, factors, scatter=1.0), {"noisy": LINE}, {"noisy": "reference"})
    assert (finding.method, finding.sure) == (None, "open")


def test_where_nothing_is_better_the_reference_is_kept(tmp_path):
    (finding,) = found(
        study(tmp_path, 8, {"reference": 1.0, "worse": 2.0, "true": 0.1}), {"noisy": LINE}, {"noisy": "reference"}
    )
    assert (finding.method, finding.sure) == ("reference", "none")
    assert [line.method for line in finding.lines] == ["worse", "true"]


def test_a_method_whose_seeds_fail_is_not_taken_however_small_its_errors(tmp_path):
    (finding,) = found(study(tmp_path, 10, failed=("half",)), {"noisy": LINE}, {"noisy": "reference"})
    assert finding.method != "half"


def test_where_all_fail_none_is_taken(tmp_path):
    (finding,) = found(study(tmp_path, 10, failed=tuple(FACTORS)), {"noisy": LINE}, {"noisy": "reference"})
    assert finding.sure == "failed"


def test_what_a_method_costs_and_loses_is_told_with_the_reference(tmp_path):
    (finding,) = found(study(tmp_path, 10), {"noisy": LINE}, {"noisy": "reference"})
    assert finding.cost == "20 s for 3 seeds of a system, 2 times as long as reference"
    assert finding.failed == "0 of 30 seeds (reference: 0 of 30)"
    assert (finding.lines[0].failed, finding.lines[0].time) == ("0 of 30", "2")


def test_the_range_of_seconds_over_systems_stands_beside_their_median():
    costs = pd.DataFrame({"system": list("ABC"), "method": "a", "seconds": [1.0, 9.0, 2.0], "seeds": 3, "device": "x"})
    assert cost(costs, "a", "a") == "2 s (1 to 9 over systems) for 3 seeds of a system"


def test_methods_with_another_network_stand_after_those_with_that_of_the_reference(tmp_path):
    factors = {"reference": 1.0, "other": 0.1, "worse": 3.0, "half": 0.5}
    networks = dict.fromkeys(factors, "mlp") | {"other": "polynomial"}
    (finding,) = found(study(tmp_path, 10, factors), {"noisy": LINE}, {"noisy": "reference"}, networks)
    assert [(line.method, line.other) for line in finding.lines] == [("half", False), ("worse", False), ("other", True)]


def test_methods_that_are_told_better_stand_before_those_that_are_open(tmp_path):
    results = study(tmp_path, 10, {"reference": 1.0, "half": 0.5, "twin": 0.6, "open": 0.1, "worse": 2.0})
    scores = pd.read_csv(tmp_path / "scores.csv")
    scores[(scores["method"] != "open") | (scores["system"] < "s4")].to_csv(tmp_path / "scores.csv", index=False)
    (finding,) = found(results, {"noisy": LINE}, {"noisy": "reference"})
    assert [line.method for line in finding.lines] == ["half", "twin", "open", "worse"]
    assert [line.systems for line in finding.lines] == [10, 10, 4, 10] and finding.alike == []
    assert [effect.method for effect in finding.also] == ["twin"] and finding.ranked[0].method == "open"


def test_one_system_has_no_interval(tmp_path):
    (finding,) = found(study(tmp_path, 1), {"noisy": LINE}, {"noisy": "reference"})
    assert {effect.interval for effect in finding.lines[0].effects} == {""}


def test_where_the_reference_was_not_run_the_first_that_was_stands_for_it(tmp_path):
    (finding,) = found(study(tmp_path, 10), {"noisy": LINE}, {"noisy": "unborn"})
    assert finding.reference == "reference" and finding.method == "half"


def test_data_of_which_there_is_nothing_are_told_as_such(tmp_path):
    other = found(study(tmp_path, 3), {"noisy": LINE, "clean": LINE}, dict.fromkeys(("noisy", "clean"), "reference"))[1]
    assert other.reference == "" and not other.ranked


def test_methods_that_cannot_be_told_from_the_best_are_named(tmp_path):
    factors = {"reference": 1.0, "half": 0.5, "twin": 0.5, "alike": 1.0}
    (finding,) = found(study(tmp_path, 10, factors, scatter=0.3), {"noisy": LINE}, {"noisy": "reference"})
    assert {finding.method, *finding.alike} == {"half", "twin"}


def test_a_declared_comparison_counts_its_systems_and_corrects_for_its_metrics(tmp_path):
    results = study(tmp_path, 10)
    table = build("tables", "signed_rank", {"method": "half", "reference": "reference", "without": ["s0", "s1"]})
    effects = declared(results, table)
    assert [effect.row["systems"] for effect in effects] == [8, 8]
    assert all(effect.row["p"] == pytest.approx(2 * 2 * 0.5**8) and effect.verdict == "better" for effect in effects)


def test_what_rests_on_failures_is_told_beside_a_declared_comparison(tmp_path):
    table = build("tables", "signed_rank", {"method": "half", "reference": "reference"})
    whole, part = study(tmp_path / "whole", 8), study(tmp_path / "part", 8, failed=("reference",))
    assert declared(whole, table, valued=True) == []
    assert [effect.ratio for effect in declared(part, table)] == ["reference fails"] * 2
    valued = declared(part, table, valued=True)
    assert [effect.row for effect in valued] == [effect.row for effect in declared(whole, table)]


def test_a_declared_comparison_of_what_was_not_run_is_empty(tmp_path):
    assert declared(study(tmp_path, 3), build("tables", "signed_rank", {"method": "unborn"})) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINE, "5 % noise, 50 orbits of 500 samples, with transients"),
        (
            {"noise": 0.0, "orbits": 1, "samples": 5000, "transient": 50},
            "clean, 1 orbit of 5000 samples, on the attractor",
        ),
        ({"noise": 0.0, "held_out": 0.2}, "as recorded"),
        ({"noise": 0.2, "noise_in": "units"}, "noise of 0.2 in system units"),
    ],
)
def test_kinds_of_data_are_told_in_words(line, words):
    assert observed(line) == words


def test_seconds_of_two_processors_are_no_ratio():
    costs = pd.DataFrame({"system": list("AABB"), "method": list("abab"), "seconds": [1.0, 2.0, 1.0, 9.0]})
    assert times(seconds(costs.assign(device=["x", "x", "x", "y"])), "b", "a") == "2"
    assert times(seconds(costs.assign(device=["x", "y"] * 2)), "b", "a") == ""
    assert times(seconds(costs.assign(device=np.nan)), "b", "a") == "5.5", "it is not known"
