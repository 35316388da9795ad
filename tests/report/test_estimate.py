"""The estimate of what a study takes, from a pilot of it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from lorenz63 import orbit

from nearorbit.report import estimate, pace
from nearorbit.report.timings import HOST, Timings
from nearorbit.study import catalogue
from nearorbit.study.study import parse

SMOKE = yaml.safe_load((Path(__file__).parents[2] / "workflow/studies/smoke.yaml").read_text())


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(pace, "ENOUGH", 0.0)
    monkeypatch.setattr(estimate, "_start", lambda: 2.0)
    monkeypatch.setattr(pace, "STRETCH", 2)


def test_a_study_with_any_network_is_estimated(quick):
    networks = catalogue.names("networks")
    study = parse(
        SMOKE
        | {"systems": {"HenonHeiles": {}, "other": {"system": "HenonHeiles"}}, "tables": {}, "figures": {}}
        | {"methods": {name: {"method": "baseline", "network": name} for name in networks}}
        | {"networks": {name: {"network": name} for name in networks}, "training": SMOKE["training"] | {"steps": 4}}
    )
    table = estimate.estimate(study)
    assert Counter(table["stage"]) == {
        **dict.fromkeys(("exponents", "covariant_vectors", "orbits", "truth", "observe", "score"), 2),
        **dict.fromkeys(("train", "forecast"), 2 * len(networks)),
        **dict.fromkeys(("collect_truth", "collect"), 1),
    }
    assert (table["seconds"] >= 2.0).all() and (table["seconds"][table["dimension"] > 0] > 2.0).all()
    assert set(table["dimension"]) == {0, 4} and set(table["device"]) == {HOST}
    told = estimate.told(study, table)
    assert f"{len(table)} jobs: 2 exponents" in told and f"{table['seconds'].sum() / 3600:.2f} hours" in told


def unknown(folder, **data):
    """A study of a measured system and its twin, of which x is seen alone in a second kind of data."""
    series = orbit(np.array([1.0, 1.0, 25.0]), 900, step=0.02)[100:]
    pd.DataFrame(series, columns=["x", "y", "z"]).assign(t=0.02 * np.arange(len(series))).to_csv(folder / "a.csv")
    (folder / "theirs.py").write_text("def field(x):\n    return -x\n")
    line = {"system": "measured", "file": str(folder / "a.csv"), "time": "t", "components": ["x", "y", "z"]}
    raw = {"noise": 0.0, "held_out": 0.3}
    delay = {"components": ["x"], "delay": {"dimension": 2, "lag": 5}}
    fields = {"theirs": {"field": f"{folder}/theirs.py:field"}, "lost": {"field": f"{folder}/theirs.py:nothing"}}
    return SMOKE | {
        "systems": {"series": line | {"period": 0.75, "twin": "Lorenz"}}, "data": {"raw": raw, "x": {**raw, **delay}},
        "methods": {"baseline": {}, "neighborhood": {"count": 5}}, "fields": fields,
        "neighbors": {"nearest": {"count": 5, "theiler": 0.5}}, "training": SMOKE["training"] | {"steps": 4},
        "tables": {"verdict": {}}, "figures": {},
    }  # fmt: skip


def test_a_study_without_a_truth_is_estimated_with_its_twin_and_the_fields_that_are_brought(quick, tmp_path):
    study = parse(unknown(tmp_path))
    table = estimate.estimate(study)
    assert Counter(table["stage"]) == {
        **dict.fromkeys(("measure", "exponents", "covariant_vectors", "truth", "partial_truth"), 1),
        **dict.fromkeys(("cut", "twin", "hold_out", "score"), 2),
        **dict.fromkeys(("observe", "structure", "estimators", "neighbors"), 4),
        **dict.fromkeys(("forecast", "unseen"), 4 * 4),
        **dict.fromkeys(("collect_truth", "collect", "tables"), 1),
        "train": 4 * 2,
    }
    assert set(table["dimension"]) == {0, 2, 3}  # two delays of x
    assert (table["memory"][table["dimension"] > 0] > 0).all()
    forecasts = table[table["stage"] == "forecast"].set_index("method")["seconds"]
    assert (forecasts["lost"] == 2.0).all() and (forecasts.drop("lost") > 2.0).all()
    told = estimate.told(study, table)
    assert "fields.lost: not tried, and only its start counted: " in told and "it has no 'nothing'" in told
    assert "fields.theirs" not in told


def test_what_a_twin_reads_is_counted_though_no_table_does(tmp_path):
    asked = unknown(tmp_path) | {"tables": {}}
    assert Counter(stage for stage, _ in estimate.jobs(parse(asked)))["structure"] == 2


def test_what_stands_for_a_cell_is_of_its_kind(tmp_path):
    timings = Timings(parse(unknown(tmp_path)))
    timings.dimensions |= {("series", "raw"): 3, ("series", "x"): 2, ("series_twin", "raw"): 3, ("series_twin", "x"): 2}
    kinds = {labels: timings.kind(labels) for labels in timings.dimensions}
    assert kinds == {
        ("series", "raw"): (3, "hold_out", "series"),
        ("series", "x"): (2, "hold_out", "series"),
        ("series_twin", "raw"): (3, "truth"),
        ("series_twin", "x"): (2, "partial_truth"),
    }
    assert timings.stands_for(("series", "raw")) and timings.stands_for(("series", "raw")), "it still does"
    timings.dimensions["series", "x"] = 3
    assert not timings.stands_for(("series", "x"))


def test_setup_steps_and_validations_are_told_apart(monkeypatch):
    """A training whose set-up takes 50 seconds, a step 2 and a validation 3."""
    now = [0.0]
    monkeypatch.setattr(pace, "clock", lambda: now[0])

    def fit(training):
        steps, every = training["steps"], training["validate_every"]
        now[0] += 50 + 2 * steps + 3 * (1 + -(-steps // every))

    _, (setup, rest) = pace.fitted(fit, {"steps": 1000, "validate_every": 300}, {}, "mlp")
    assert setup == pytest.approx(50) and rest == pytest.approx(2 * 1000 + 3 * 5)
