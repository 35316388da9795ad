"""A small study as the workflow leaves it, made in a second: true systems, and "learned" ones with wrong parameters."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import xarray as xr

from nearorbit.evaluation import scores
from nearorbit.study import files
from nearorbit.study.catalogue import TRUTH
from nearorbit.study.seeds import generator

SEEDS, STEP, SAMPLES, STARTS, RUNS, WINDOWS, POINTS = 3, 0.02, 400, 12, 6, 5, 102
WIDTH = 100  # samples of the evaluation window
FOLDER = TemporaryDirectory()  # removed when the process ends
DATA = {"clean": 0.0, "noisy": 0.02}
GIVEN = {"baseline": "data", "jacobian": "true J", "neighborhood": "data"}
ERRORS = {"baseline": 0.03, "jacobian": 0.004, "neighborhood": 0.02}
SPECTRA = {"Lorenz": [0.906, 0.0, -14.572], "Lorenz96_N5": [0.472, 0.0, -0.525, -1.314, -3.633]}


def lorenz(x, error):
    """The Lorenz field at states (seed, n, 3), with parameters wrong by ``error`` (seed, 1)."""
    a, b, c = x[..., 0], x[..., 1], x[..., 2]
    s, r, beta = 10 * (1 + error), 28 * (1 - error / 3), 8 / 3 * (1 + error)
    return np.stack([s * (b - a), a * (r - c) - b, a * b - beta * c], -1)


def lorenz96(x, error):
    """The Lorenz-96 field at states (seed, n, D), with forcing and damping wrong by ``error`` (seed, 1)."""
    error, before, behind, ahead = error[..., None], x[..., BEFORE], x[..., BEHIND], x[..., AHEAD]
    return (ahead - before) * behind - (1 + error) * x + 8 * (1 - error)


BEFORE, BEHIND, AHEAD = (np.roll(np.arange(5), shift) for shift in (2, 1, -1))
FIELDS = {"Lorenz": lorenz, "Lorenz96_N5": lorenz96}


def jacobian(system, x, error):
    """The Jacobian (seed, n, D, D) by central differences, exact for quadratic fields."""
    columns = [FIELDS[system](x + e, error) - FIELDS[system](x - e, error) for e in np.eye(x.shape[-1])]
    return np.stack(columns, -1) / 2


def orbits(system, start, error, samples):
    """States (seed, n, time, D) from ``start`` (seed, n, D), by the classical Runge-Kutta method."""
    states = [start]
    for _ in range(samples - 1):
        x = states[-1]
        k1 = FIELDS[system](x, error)
        k2 = FIELDS[system](x + STEP / 2 * k1, error)
        k3 = FIELDS[system](x + STEP / 2 * k2, error)
        k4 = FIELDS[system](x + STEP * k3, error)
        states.append(x + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.stack(states, 2)


@cache
def starts(system, sample=0):
    """States on the attractor (seed, n, D): of forecasts, runs, windows and points; others for another sample."""
    count = STARTS + RUNS + WINDOWS + POINTS
    guess = generator("synthetic", system, sample).normal(5, 1, (SEEDS, count, len(SPECTRA[system])))
    return orbits(system, guess, np.zeros((SEEDS, 1)), SAMPLES)[:, :, -1]


def table(system, error=0.0, motion="chaotic"):
    """The table of truth or forecast of a field whose parameters are wrong by ``error``, growing with the seed."""
    errors = error * (1 + 0.2 * np.arange(SEEDS)[:, None])
    forecasts, runs, windows, points = np.split(starts(system), np.cumsum([STARTS, RUNS, WINDOWS]), axis=1)
    x = orbits(system, np.concatenate([forecasts, runs, windows], 1), errors, SAMPLES)
    time, moments = STEP * np.arange(SAMPLES), np.arange(2 * WIDTH)
    begin = np.arange(WINDOWS)[:, None] * WIDTH // WINDOWS
    spectrum = SPECTRA[system] + 3 * errors * np.abs(SPECTRA[system])
    return xr.Dataset(
        {
            "forecasts": (("seed", "start", "lead", "component"), x[:, :STARTS]),
            "attractor": (("seed", "run", "sample", "component"), x[:, STARTS : STARTS + RUNS]),
            "windows": (("seed", "window", "moment", "component"), x[:, STARTS + RUNS :, : 2 * WIDTH]),
            "observed": (("seed", "window", "moment", "component"), x[:, STARTS + RUNS :, : 2 * WIDTH]),
            "region": (("window", "moment"), np.digitize(begin + moments, [WIDTH + 1, 2 * WIDTH + 1]).astype(np.int8)),
            "points": (("seed", "point", "component"), points),
            "field": (("seed", "point", "component"), FIELDS[system](points, errors)),
            "jacobian": (("seed", "point", "component", "direction"), jacobian(system, points, errors)),
            "exponents": (("seed", "exponent"), spectrum),
            "stderr": (("seed", "exponent"), np.full_like(spectrum, 0.005)),
            "converged": ("seed", np.ones(SEEDS, np.int8)),
            "horizon": 100.0,
            "best_step": ("seed", np.where(errors[:, 0] == 0, 0, 900 + 50 * np.arange(SEEDS))),
            "diverged": ("seed", np.zeros(SEEDS, np.int8)),
            "collapsed": ("seed", np.zeros(SEEDS, np.int8)),
            "period": 0.75,
            **resolved(system, errors),
        },
        coords={
            "seed": np.arange(SEEDS),
            "prediction": ["fixed", "shadowed", "moved"],
            "lead": time,
            "sample": time,
            "moment": STEP * moments,
        },
        attrs={"motion": motion},
    ).pipe(lambda t: t.assign(region=t["region"].where(t["region"] < 2, -1)))


def resolved(system, errors):
    """Errors in covariant vectors and shifts of exponents, in proportion to those of the parameters (seed, 1)."""
    rng, count = generator("synthetic directions", system), len(SPECTRA[system])
    own = abs(errors)[..., None] * rng.lognormal(size=(1, count, count))
    states = {name: abs(errors) * rng.lognormal(0, 0.3, (1, 96)) for name in ("jacobian_within", "jacobian_across")}
    shift = 2.9 * errors[..., None] * np.abs(SPECTRA[system]) * np.array([[[0.3], [0.1], [1.0]]])
    return {
        **{name: (("seed", "state"), values) for name, values in states.items()},
        "resolved": (("seed", "exponent", "along"), own),
        "shift": (("seed", "prediction", "exponent"), shift),
        "shift_stderr": (("seed", "prediction", "exponent"), 0.05 * abs(shift) + 1e-4 * abs(errors)[..., None]),
        "shift_scatter": (("seed", "exponent"), own.diagonal(axis1=1, axis2=2)),
        "displacement": ("seed", abs(errors[:, 0])),
        "shift_distinct": ("exponent", np.ones(count, np.int8)),
    }


def diverged(forecast, seed):
    """The same forecast in which all orbits of a seed leave halfway."""
    left = forecast["seed"] == seed
    late = {dim: forecast[dim] > forecast[dim].mean() for dim in ("lead", "sample", "moment")}
    gone = {"forecasts": late["lead"], "attractor": late["sample"], "windows": late["moment"]}
    orbits = {name: forecast[name].where(~(left & when)) for name, when in gone.items()}
    spectrum = {name: forecast[name].where(~left) for name in ("exponents", "stderr")}
    marks = {"diverged": left.astype(np.int8), "converged": forecast["converged"].where(~left, 0)}
    return forecast.assign(**orbits, **spectrum, **marks)


def collapsed(forecast, seed):
    """The same forecast in which the orbits of a seed shrink to a point."""
    shrunk = forecast["seed"] == seed
    fading = np.exp(-10 * forecast["sample"]).where(shrunk, 1.0)
    negative = forecast["exponents"].where(~shrunk, -abs(forecast["exponents"]) - 0.1)
    orbits = forecast["attractor"] * fading
    return forecast.assign(attractor=orbits, exponents=negative, collapsed=shrunk.astype(np.int8))


def unconverged(forecast, seed):
    """The same forecast in which the spectrum of a seed has not converged."""
    return forecast.assign(converged=forecast["converged"].where(forecast["seed"] != seed, 0))


def judged_truth(system):
    """The true field in a model's place: the truth, with another sample of its attractor and of its exponents."""
    truth = table(system)
    others = orbits(system, starts(system, sample=1)[:, :RUNS], np.zeros((SEEDS, 1)), SAMPLES)
    noise = generator("synthetic exponents", system).normal(0, 0.005, truth["exponents"].shape)
    return truth.assign(
        attractor=(truth["attractor"].dims, others),
        exponents=truth["exponents"] + noise,
        jacobian=truth["jacobian"] * (1 + 1e-15),
    )


def forecast(system, data, method):
    """The forecast of a cell; of the study, one seed diverges, one collapses and one spectrum has not converged."""
    if method == TRUTH:
        return judged_truth(system)
    made = table(system, ERRORS[method] * (1 + 20 * DATA[data]))
    if (system, data, method) == ("Lorenz", "noisy", "baseline"):
        made = diverged(made, 2)
    if (system, data, method) == ("Lorenz96_N5", "clean", "neighborhood"):
        made = collapsed(made, 1)
    if (system, data, method) == ("Lorenz", "clean", "jacobian"):
        made = unconverged(made, 0)
    return made


@cache
def study() -> scores.Results:
    """The study, written once in a process."""
    return write_study(Path(FOLDER.name) / "results" / "synthetic")


def write_study(
    folder: Path, systems=tuple(SPECTRA), data=DATA, methods=tuple(GIVEN), change=lambda made, method: made, seeds=SEEDS
) -> scores.Results:
    """Write the files of a study below a folder, the long tables too; ``change`` alters each truth and forecast."""
    results = scores.Results(folder, systems, data, methods, seeds=seeds)
    for system in systems:
        truth = change(table(system), None)
        (folder / system).mkdir(parents=True)
        known = truth[["exponents", "stderr", "converged", "horizon"]].isel(seed=0, drop=True)
        states = truth["attractor"].isel(seed=0, run=0, drop=True).rename(sample="state")
        known = known.drop_vars("sample", errors="ignore").assign(
            period=truth["period"], mean=states.mean("state"), deviation=states.std("state"), states=states
        )
        files.write(known, folder / system / "exponents.nc", kind="exponents")
        for label in data:
            (folder / system / label).mkdir()
            files.write(truth.assign(step=STEP), folder / system / label / "truth.nc", kind="truth")
            files.write(estimators(truth), folder / system / label / "estimators.nc", kind="estimators")
            files.write(observations(truth), folder / system / label / "observations.nc", kind="observations")
            files.write(structure(truth), folder / system / label / "structure.nc", kind="structure")
            for method in results.judged:
                made = change(forecast(system, label, method), method)
                write_cell(folder / system / label / method, made, method)
        of_system = scores.Results(folder, (system,), data, methods)
        scores.judge(of_system).to_csv(folder / system / "scores.csv", index=False)
    growth().to_csv(folder / "growth.csv", index=False)
    landscape().to_csv(folder / "landscape.csv", index=False)
    collect(results)
    return results


def collect(results, **others):
    """Write the long tables of a study, some by other collectors than the workflow's."""
    for name, collected in (scores.COLLECTORS | others).items():
        collected(results).to_csv((results.gathered or results.folder) / f"{name}.csv", index=False)


SMALL = {"systems": ("Lorenz",), "data": {"clean": 0.0}}
ODD = {  # studies in which there is one of everything, or all has failed: what differs from the whole one
    "one": {**SMALL, "methods": ("baseline",), "change": lambda made, method: made.isel(seed=[0]), "seeds": 1},
    "all collapsed": {
        **SMALL,
        "change": lambda made, method: collapsed(made, made["seed"]) if method in GIVEN else made,
    },
    "all diverged": {**SMALL, "change": lambda made, method: undefined(made) if method in GIVEN else made},
    "regular": {
        **SMALL,
        "change": lambda made, method: unconverged(made, made["seed"]).assign_attrs(motion="periodic"),
    },
}
STUDIES = (*ODD, "truth alone", "nothing")


def undefined(forecast):
    """The same forecast in which every number is NaN, and every seed has diverged."""
    nowhere = {name: forecast[name] * np.nan for name in set(forecast.data_vars) - {"region", "period", "horizon"}}
    return forecast.assign({**nowhere, "diverged": forecast["diverged"] * 0 + 1, "collapsed": forecast["collapsed"]})


@cache
def odd_study(name: str) -> scores.Results:
    """One of the odd studies, written once in a process; also one of the truth alone, and one without any file."""
    folder = Path(FOLDER.name) / "results" / name
    if name in ODD:
        return write_study(folder, **ODD[name])
    if name == "nothing":
        return scores.Results(folder, tuple(SPECTRA), DATA, tuple(GIVEN))
    results = scores.Results(study().folder, **SMALL, methods=("unborn",), gathered=folder)
    folder.mkdir(parents=True)
    collect(results, scores=scores.judge)  # since the scores of its systems are those of the whole study
    return results


def write_cell(folder, made, method):
    """Write what training and forecasting leave in the folder of a cell."""
    folder.mkdir()
    files.write(made, folder / "forecast.nc", kind="forecast")
    if method == TRUTH:
        return
    files.write(unseen(method, made.sizes["seed"]), folder / "unseen.nc", kind="unseen")
    history(method, made.sizes["seed"]).to_csv(folder / "history.csv", index=False)
    cost = {"seconds": 12.5, "peak_memory_mib": 410.0, "steps": 1500, "samples_seen": 480_000, "parameters": 8771}
    cost |= {"substeps": 2, "network": "mlp", "device": "cpu", "given": GIVEN[method], "seeds": made.sizes["seed"]}
    if method == list(GIVEN)[-1]:
        cost |= {"noise_estimate": 0.049, "model_error": 0.006, "distrusted": 0.1, "given_up": 0.0}
    pd.DataFrame([cost]).to_csv(folder / "costs.csv", index=False)


def estimators(truth):
    """Jacobians and exponents from data alone, wrong by a factor each."""
    names = xr.DataArray(["linear", "quadratic"], dims="estimator")
    factors = xr.DataArray([1.4, 1.05], dims="estimator", coords={"estimator": names})
    estimated = truth[["jacobian", "exponents", "stderr"]] * factors
    return estimated.assign(fingerprint=truth["seed"] + 0)


def structure(truth):
    """What there is to learn in a series: chaos, and errors of forecasts from its neighbors."""
    lead = STEP * np.arange(1, 101)
    told = {
        "near": 0.3,
        "middle": 0.9,
        "far": 1.05,
        "growth": 0.3,
        "growth_stderr": 0.02,
        "slow": 0.1,
        "recordings": 1,
        "p_value": 0.05,
        "lost": 1.1,
        "level": 0.05,
        "samples": 1000,
        "periods": 50.0,
    }
    error = 1 - np.exp(-lead)
    return xr.Dataset(
        {
            "error": ("lead", error),
            "surrogate_error": (("surrogate", "lead"), 1 - np.exp(-3 * lead) * np.linspace(0.8, 1, 19)[:, None]),
            "noise": ("component", np.full(truth.sizes["component"], 0.02)),
        }
        | told,
        coords={"lead": lead},
        attrs={"character": "irregular"},
    )


def observations(truth):
    """What tells delays, five of lag 8, of which three tell states apart; of orbits the least that a file needs."""
    lag, shares = np.arange(41), np.array([0.9, 0.2, 0.01, *[0.005] * 5, np.nan, np.nan])
    states = truth["attractor"].rename(run="orbit", sample="time").drop_vars("time", errors="ignore")
    one = xr.ones_like(truth["seed"], float)
    return xr.Dataset(
        {
            "train": states,
            "validation": states.rename(orbit="validation_orbit", time="validation_time"),
            "mean": states.mean(["orbit", "time"]),
            "scale": states.std(["orbit", "time"]),
            "rate": one,
            "fingerprint": one,
            "step": truth["step"] if "step" in truth else xr.DataArray(STEP),
            "period": truth["period"],
            "mutual_information": ("lag", 1 + np.cos(np.pi * lag / 8)),
            "false_neighbors": ("embedding", shares),
        },
        coords={"lag": lag, "embedding": 1 + np.arange(len(shares))},
        attrs={"seen": [0], "dimension": 5, "lag": 8},
    )


def unseen(method, seeds):
    """What forecasts of observations are worth, valid for the longer the less a field is wrong."""
    lead = STEP * np.arange(1, 201)
    valid = np.broadcast_to(2 - 20 * ERRORS[method] + 0.1 * np.linspace(-1, 1, STARTS), (seeds, STARTS))
    error = np.broadcast_to(ERRORS[method] * np.exp(lead), (seeds, len(lead)))
    distance = {"divergence": 0.5, "divergence_floor": 0.2, "hellinger": 0.05, "hellinger_floor": 0.02}
    return xr.Dataset(
        {
            "error": (("seed", "lead"), error),
            "persistence_error": (("seed", "lead"), np.minimum(1.4, 3 * lead) + 0 * error),
            "climatology_error": (("seed", "lead"), 1 + 0 * error),
            "valid_time": (("seed", "start"), valid),
            "persistence_time": (("seed", "start"), 0.1 + 0 * valid),
            "climatology_time": (("seed", "start"), 0.05 + 0 * valid),
        }
        | {name: ("seed", np.full(seeds, value)) for name, value in distance.items()},
        coords={"lead": lead},
    )


def growth():
    """Costs of a step along two axes."""
    rows = [(m, a, n, 0.01 * n**0.5, "one CPU core") for m in GIVEN for a in ("width", "seeds") for n in (1, 4, 16)]
    return pd.DataFrame(rows, columns=["method", "axis", "size", "seconds", "device"])


def landscape():
    """Errors on a small grid, coupled and free, with a corner from which rollouts leave."""
    steps = np.linspace(-0.5, 0.5, 5)
    kinds = [(2.0, 20), (0.0, 20), (0.0, 5)]
    rows = [(k, s, a, b, 1e-3 + s * (a**2 + a * b + b**2) / (1 + k)) for k, s in kinds for b in steps for a in steps]
    table = pd.DataFrame(rows, columns=["coupling", "segment", "alpha", "beta", "error"])
    gone = (table[["alpha", "beta"]] == 0.5).all(axis=1) & (table["coupling"] == 0)
    cell = {"system": "Lorenz", "data": "clean", "method": "baseline", "seed": 0}
    return table.assign(error=table["error"].mask(gone), diverged=1.0 * gone, **cell)


def history(method, seeds=SEEDS):
    """Validation errors that fall and level off."""
    steps = np.arange(50, 1501, 50)
    noise = generator("history", method).lognormal(0, 0.1, (seeds, len(steps)))
    loss = (0.5 * np.exp(-steps / 200) + ERRORS[method] ** 2) * noise
    rows = {"seed": np.repeat(np.arange(seeds), len(steps)), "step": np.tile(steps, seeds)}
    return pd.DataFrame({**rows, "loss": loss.ravel(), "validation": 1.3 * loss.ravel(), "skipped": 0})
