import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

from nearorbit.evaluation.metrics.state_space_divergence import histogram_divergence, mixture_divergence
from nearorbit.study.catalogue import build, entries
from nearorbit.truth.integrators import orbits_of

RUNS, SAMPLES = 10, 2000  # as many as in the default study
REAL = {  # systems of four dimensions and more, with their periods
    "HyperLorenz": ({}, 1.28),
    "Qi": ({}, 0.41),
    "Lorenz96_N5": ({"system": "lorenz96", "size": 5, "forcing": 8}, 1.49),
    "Lorenz96_N6": ({"system": "lorenz96", "size": 6, "forcing": 8}, 1.50),
    "Lorenz96_N40": ({"system": "lorenz96", "size": 40, "forcing": 8}, 1.60),
}


def compute(true, learned):
    tables = (xr.Dataset({"attractor": (("seed", "run", "sample", "component"), x[None])}) for x in (true, learned))
    return entries("metrics")["state_space_divergence"].compute(*tables).item()


def attractor(label, groups, **changed):
    """Independent orbits on the attractor of a system, with shape (groups, run, sample, D)."""
    entry, period = REAL[label]
    system = build("systems", label, {"system": label} | entry | changed)
    simulate = orbits_of(system)
    starts = simulate(system.start, period * (50 + 3 * np.arange(groups * RUNS)))
    starts = starts + 1e-3 * starts.std(0) * np.random.default_rng(0).standard_normal(starts.shape)
    orbits = simulate(starts, period * (30 + np.arange(SAMPLES) / 40))
    return orbits.reshape(RUNS, groups, SAMPLES, -1).swapaxes(0, 1)


@pytest.mark.parametrize("label", REAL)
def test_two_samples_of_an_attractor_are_closer_than_a_fifth_of_a_fixed_point(label):
    one, other = attractor(label, 2)
    rest = np.broadcast_to(one.mean((0, 1)), one.shape)
    floor, back, fixed = compute(one, other), compute(other, one), compute(one, rest)
    assert max(floor, back) < fixed / 5, (floor, back, fixed)


def test_a_field_that_is_three_percent_off_is_far_above_the_floor():
    one, other = attractor("Qi", 2)
    (wrong,) = attractor("Qi", 1, a=45 * 1.03, b=10 * 0.97)
    floor, score = compute(one, other), compute(one, wrong)
    assert score > 5 * floor, (score, floor)


def test_the_divergence_of_two_bins_is_the_textbook_one():
    true, learned = np.array([[0.0], [0.0], [0.0], [1.0]]), np.array([[0.0], [1.0], [1.0], [1.0]])
    assert histogram_divergence(true, learned, bins=2, alpha=1e-12) == pytest.approx(0.5 * np.log(3))
    assert histogram_divergence(true, true) == 0


def test_the_sparse_histogram_equals_the_dense_one():
    rng = np.random.default_rng(0)
    true, learned = rng.normal(size=(500, 3)), 1.2 * rng.normal(size=(400, 3))
    low, high = true.min(0) - 0.1 * true.std(0), true.max(0) + 0.1 * true.std(0)
    edges = [np.linspace(a, b, 31) for a, b in zip(low, high, strict=True)]
    counts = [np.histogramdd(points, edges)[0].ravel() for points in (true, learned)]
    p, q = (np.append(c, n - c.sum()) + 1e-5 for c, n in zip(counts, (500, 400), strict=True))
    p, q = p / p.sum(), q / q.sum()
    assert histogram_divergence(true, learned) == pytest.approx((p * np.log(p / q)).sum(), rel=1e-10)


def test_up_to_three_dimensions_the_metric_is_the_histogram_and_from_four_on_the_mixture():
    rng = np.random.default_rng(4)
    for dimension in (1, 3, 4, 6):
        true, learned = rng.normal(size=(2, 2, 500, dimension))
        flat = (x.reshape(-1, dimension) for x in (true, learned))
        expected = histogram_divergence(*flat) if dimension <= 3 else mixture_divergence(true, learned)
        assert compute(true, learned) == expected


@pytest.mark.parametrize("dimension", [4, 5, 6])
def test_the_divergence_of_shifted_normals_is_half_the_squared_shift_over_the_smoothed_variance(dimension):
    true = np.random.default_rng(1).normal(size=(4, 1250, dimension))
    shifted = [mixture_divergence(true, true + sign * e) for e in np.eye(dimension) for sign in (1, -1)]
    expected = 0.5 / (1 + dimension / 6)  # a normal of variance D / 6 on each sample of a unit normal
    assert np.mean(shifted) == pytest.approx(expected, rel=0.05)
    assert mixture_divergence(true, true) == 0


def test_a_field_that_spends_half_its_time_elsewhere_costs_the_logarithm_of_two():
    rng = np.random.default_rng(2)
    true = rng.normal(size=(4, 500, 5))
    learned = true.copy()
    learned[2:] = true[:2] + 1000
    true[2:] = true[:2]
    assert mixture_divergence(true, learned) == pytest.approx(np.log(2), rel=1e-3)


def test_the_estimate_is_the_mean_log_ratio_over_many_draws():
    rng = np.random.default_rng(3)
    true, learned = rng.normal(size=(2, 4, 250, 4))
    learned = 1.3 * learned + 0.3
    scale = true.std((0, 1)) * (4 / 6) ** 0.5
    p, q = ((x / scale).reshape(-1, 4) for x in (true, learned))
    x = p[rng.integers(len(p), size=10_000)] + rng.standard_normal((10_000, 4))
    of_p, of_q = (np.exp(-cdist(x, centers, "sqeuclidean") / 2).mean(1) for centers in (p, q))
    assert mixture_divergence(true, learned) == pytest.approx(np.log(of_p / of_q).mean(), rel=0.05)


def test_the_order_of_the_runs_does_not_matter_so_that_leaving_one_out_changes_no_draw_of_the_others():
    true, learned = np.random.default_rng(5).normal(size=(2, 5, 400, 5))
    turned = mixture_divergence(true[::-1], learned[::-1])
    assert mixture_divergence(true, learned) == pytest.approx(turned, rel=1e-5)


def test_a_truth_of_which_a_component_rests_has_no_divergence():
    moving = np.random.default_rng(6).normal(size=(2, 50, 4))
    for dimension in (3, 4):
        resting = moving[..., :dimension].copy()
        resting[..., 1] = 2.0
        assert np.isnan(compute(resting, moving[..., :dimension]))
