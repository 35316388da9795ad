"""The estimate of what a study takes, from a pilot of it."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from nearorbit.report import estimate, pace
from nearorbit.study import catalogue
from nearorbit.study.study import parse

SMOKE = yaml.safe_load((Path(__file__).parents[2] / "workflow/studies/smoke.yaml").read_text())


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(estimate, "ENOUGH", 0.0)
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
    assert set(table["dimension"]) == {0, 4}
    told = estimate.told(study, table)
    assert f"{len(table)} jobs: 2 exponents" in told and f"{table['seconds'].sum() / 3600:.2f} hours" in told


def test_setup_steps_and_validations_are_told_apart(monkeypatch):
    """A training whose set-up takes 50 seconds, a step 2 and a validation 3."""
    now = [0.0]
    monkeypatch.setattr(pace, "clock", lambda: now[0])

    def fit(training):
        steps, every = training["steps"], training["validate_every"]
        now[0] += 50 + 2 * steps + 3 * (1 + -(-steps // every))

    pilot = estimate.Pilot(parse(SMOKE | {"training": SMOKE["training"] | {"steps": 1000, "validate_every": 300}}))
    _, (setup, rest) = pilot.fitted(fit, {}, "mlp")
    assert setup == pytest.approx(50) and rest == pytest.approx(2 * 1000 + 3 * 5)
