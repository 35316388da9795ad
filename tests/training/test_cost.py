"""The estimate of what a study takes, from steps measured on this machine."""

import pytest

from nearorbit.study import catalogue
from nearorbit.training.cost import estimate


@pytest.mark.parametrize("network", catalogue.names("networks"))
def test_a_study_with_any_network_is_estimated(network):
    table = estimate(
        {"Flow": {"system": "HenonHeiles"}, "other": {"system": "HenonHeiles"}},
        {"clean": {"samples_per_period": 40}},
        {"baseline": {}},
        seeds=2,
        networks={"baseline": {"network": network}},
        training={"steps": 100, "device": "cpu"},
        exponents={"starts": 3, "horizon": 2, "transient": 1},
        rounds=1,
    )
    assert list(table["stage"]) == ["train", "forecast"] and (table["seconds"] > 0).all()
    assert list(table["cells"]) == [2, 2] and list(table["dimension"]) == [4, 4]
