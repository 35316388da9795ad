import json

import numpy as np
import pandas as pd
import torch
from lorenz63 import observations

from nearorbit.__main__ import main
from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.models import save
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.study.files import write
from nearorbit.training.landscape import directions, landscape
from nearorbit.training.optimizer import flatten

FAST = {"training": {"substeps": 1, "device": "cpu", "precision": "float64"}, "rollouts": 4, "reach": 0.3, "points": 3}


def field(size=0.1):
    made = NeuralField(3, [4], width=8, depth=2)
    for p in made.parameters():
        p.data *= size
    return made


def errors(made, observed=None, couplings=(), segments=(5,), **settings):
    observed = observations(0.01, seeds=1, samples=60) if observed is None else observed
    return landscape(made, observed, couplings=couplings, segments=segments, **{**FAST, **settings})


def test_a_direction_has_the_norm_of_each_filter_and_leaves_the_biases():
    made = field()
    for direction in directions(made):
        moved = made[:1]
        weights = flatten(moved)
        weights += direction
        for p, q in zip(made.weights, moved.weights, strict=True):
            torch.testing.assert_close((q - p).norm(dim=1), p.norm(dim=1))
        assert all(torch.equal(p, q) for p, q in zip(made.biases, moved.biases, strict=True))
    first, second = directions(made)
    assert torch.equal(first, directions(made)[0]) and abs(torch.cosine_similarity(first, second).item()) < 0.3


def test_a_point_is_what_its_weights_give_alone():
    made = field()
    table = errors(made, couplings=[2.0], segments=[5, 20])
    alpha, beta = table["alpha"].max(), table["beta"].min()
    moved = made[:1]
    weights = flatten(moved)
    first, second = directions(made)
    weights += alpha * first + beta * second
    there = table[(table["alpha"] == alpha) & (table["beta"] == beta)]
    alone = errors(moved, couplings=[2.0], segments=[5, 20])
    center = alone[(alone["alpha"] == 0) & (alone["beta"] == 0)]
    np.testing.assert_allclose(there["error"], center["error"], rtol=1e-12)
    assert there["error"].nunique() == 3 and len(table) == 3 * 3 * 3


def test_a_vanishing_coupling_is_none_and_a_strong_one_holds_the_rollouts():
    table = errors(field(), couplings=[200.0, 1e-9], segments=[5, 20])
    held, loose, free = (
        table[(table["coupling"] == strength) & (table["segment"] == 20)]["error"].to_numpy()
        for strength in (200.0, 1e-9, 0.0)
    )
    np.testing.assert_allclose(loose, free, rtol=1e-6)
    assert (held < 0.01 * free).all()


def test_no_segment_is_longer_than_the_orbits():
    both, alone = (errors(field(), segments=segments) for segments in ([5, 20], [20]))
    np.testing.assert_array_equal(both[both["segment"] == 20]["error"], alone["error"])
    observed = observations(0.01, seeds=1, samples=21)
    whole, within = (errors(field(), observed, segments=segments) for segments in ([20], [5, 500]))
    np.testing.assert_array_equal(whole["error"], within[within["segment"] == 20]["error"])


def test_rollouts_that_leave_have_no_error_and_are_counted():
    table = errors(field(20.0), segments=[30])
    assert table["diverged"].eq(1).all() and table["error"].isna().all()


def test_the_stage_writes_the_errors_of_the_first_seed_of_a_model(tmp_path):
    made, observed = field(), observations(0.01, seeds=1, samples=60)
    model, data, out = (tmp_path / name for name in ("model.safetensors", "observations.nc", "landscape.csv"))
    coordinates = Coordinates(
        *(torch.from_numpy(observed[n].to_numpy().reshape(1, -1)) for n in ("mean", "scale", "rate"))
    )
    save(model, made, coordinates, network={"width": 8, "depth": 2}, components=["x", "y", "z"])
    write(observed, data, kind="observations")
    settings = {**FAST, "couplings": [2.0], "segments": [5], "cell": {"system": "A", "data": "b", "method": "c"}}
    files = ["--model", str(model), "--observations", str(data), "--landscape", str(out)]
    assert main(["landscape", "--settings", json.dumps(settings), *files]) == 0
    table, alone = pd.read_csv(out), errors(made, observed, couplings=[2.0])
    np.testing.assert_allclose(table["error"], alone["error"])
    assert table[["system", "data", "method", "seed"]].drop_duplicates().to_numpy().tolist() == [["A", "b", "c", 0]]


def test_errors_are_in_variances_of_the_data_in_raw_coordinates_too():
    observed, still = (
        observations(0.01, seeds=1, samples=60),
        field(0.0),
    )  # a field that stands still, in any coordinates
    standardized, unscaled = (
        errors(still, observed, segments=[5, 20], training={**FAST["training"], "coordinates": kind})["error"]
        for kind in ("standardized", "raw")
    )
    np.testing.assert_allclose(standardized, unscaled, rtol=1e-9)
