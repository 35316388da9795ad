import numpy as np
import pytest
from lorenz63 import observations

from nearorbit.data.neighbors import neighbors
from nearorbit.data.rings import GROUP, ring
from nearorbit.study import files

WITHIN = {"inner": 1.0, "outer": 2.0}


def members(states, *, window, ahead, behind=0, inner, outer):
    """Which states are members of the ring of each, (N, N), as slowly as it is defined."""
    orbits, samples, dimension = states.shape
    points = np.roll(states.reshape(-1, dimension), behind, axis=0)
    time, orbit = np.tile(np.arange(samples), orbits), np.repeat(np.arange(orbits), samples)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    near = (orbit[:, None] == orbit) & (abs(time[:, None] - time) <= window)
    void = (time >= samples - ahead) | (time < behind)
    return (inner <= distance) & (distance <= outer) & ~near & ~void & ~void[:, None], distance


@pytest.mark.parametrize("behind", [0, 4])
@pytest.mark.parametrize(("orbits", "samples", "dimension"), [(1, 300, 3), (6, 60, 3), (3, 100, 20)])
def test_candidates_are_members_and_all_of_them_where_there_are_no_more(orbits, samples, dimension, behind):
    states = np.random.default_rng(0).standard_normal((orbits, samples, dimension)) * (3 / dimension) ** 0.5
    around = {"window": 7, "ahead": 5, "behind": behind, **WITHIN}
    expected, distance = members(states, **around)
    assert orbits * samples > GROUP
    for count in (20, orbits * samples):
        index, found = ring(states, count=count, least=1, seed=0, **around)
        for row, (candidates, lengths) in enumerate(zip(index, found, strict=True)):
            there = candidates[candidates >= 0]
            assert len(set(there)) == len(there) == min(count, expected[row].sum()) and expected[row, there].all()
            assert (candidates[len(there) :] == -1).all() and np.isnan(lengths[len(there) :]).all()
            np.testing.assert_allclose(lengths[: len(there)], distance[row, there], rtol=1e-9)


def test_every_member_is_as_likely():
    states = np.random.default_rng(0).standard_normal((1, 40, 2))
    expected, _ = members(states, window=0, ahead=1, **WITHIN)
    drawn, seeds = np.zeros(40), 600
    for seed in range(seeds):
        index, _ = ring(states, count=3, least=1, window=0, ahead=1, seed=seed, **WITHIN)
        drawn[index[5]] += 1
    chance = 3 / expected[5].sum()
    assert 0 < chance < 0.5 and drawn[~expected[5]].sum() == 0
    scatter = (drawn[expected[5]] - seeds * chance) / (seeds * chance * (1 - chance)) ** 0.5
    assert abs(scatter).max() < 4, scatter


def test_a_ring_without_enough_members_anywhere_is_refused_and_one_with_some_is_not():
    states = np.zeros((1, 60, 1))
    states[0, :, 0] = np.arange(60)  # on a line: two members at a distance of 9 or 10 on either side
    around = {"window": 3, "ahead": 1, "inner": 8.5, "outer": 10.5}
    with pytest.raises(
        ValueError, match=r"no state of seed 0 has 5 others .* 8.5 to 10.5 .* the most are 4; .*\(count\)"
    ):
        ring(states, count=8, least=5, seed=0, **around)
    index, _ = ring(states, count=8, least=4, seed=0, **around)
    assert (index[:9] >= 0).sum() == 18 and (index[30] >= 0).sum() == 4


@pytest.mark.parametrize("anchors", [None, 60])
def test_the_table_of_a_ring_has_its_candidates_seed_by_seed(tmp_path, anchors):
    observed = observations(noise=0.05, seeds=2, count=2, samples=200)
    settings = {"count": 4, "ahead": 3, "selection": "shell", "inner": 0.5, "outer": 1.0, "draw": "batch"}
    table = neighbors(observed, **settings, anchors=anchors)
    assert table.sizes["neighbor"] == 16 and table.attrs["draw"] == "batch"
    lengths = table["distance"].to_numpy()
    assert ((lengths >= 0.5) & (lengths <= 1.0) | np.isnan(lengths)).all() and np.isfinite(lengths).mean() > 0.5
    alone = neighbors(observed.isel(seed=[1]), **settings, anchors=anchors)
    assert alone.drop_vars("fingerprint").equals(table.isel(seed=[1]).drop_vars("fingerprint"))
    files.write(table, tmp_path / "ring.nc", kind="neighbors")


def test_candidates_of_many_states_are_half_as_large(monkeypatch):
    states = np.random.default_rng(0).standard_normal((1, 50, 2))
    monkeypatch.setattr("nearorbit.data.search.MANY", 49)
    index, distance = ring(states, count=3, least=1, window=0, ahead=1, seed=0, **WITHIN)
    assert (index.dtype, distance.dtype) == (np.int32, np.float32)
