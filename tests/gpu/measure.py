"""What a device has to show: the tests of this folder, steps a second, peers, the share of its rate, a small study.

It needs torch, NumPy, SciPy, pandas, xarray, safetensors, torchdiffeq and pytest; jax and diffrax are measured where
they are installed. Data are of Lorenz' system, made here. Each part is written to the files as soon as it is done, so
that a run that is cut off leaves what it has.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # jax leaves memory to torch

import torch
from lorenz63 import table_of_truth
from trainings import METHODS, cell_of, files_of, fit

from nearorbit import __version__
from nearorbit.dynamics.fields import Coordinates, Transformed
from nearorbit.dynamics.flow import rollout, tangent_rollout
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.evaluation.forecast import forecast
from nearorbit.evaluation.metrics.jacobian_error import jacobian_error
from nearorbit.study.catalogue import build
from nearorbit.training.batches import Data
from nearorbit.training.budget import Training
from nearorbit.training.devices import captured
from nearorbit.training.loop import Loop
from nearorbit.training.optimizer import flatten, gradient

ROUNDS = 3
WIDTH, DEPTH, NEIGHBORS = 64, 3, 25
Report = dict[str, Any]


class Bench:
    """What is measured, on which device, how much of it.

    Arguments:
        device: The device.
        small: Whether everything is so small that a CPU core does it in a minute.
    """

    def __init__(self, device: torch.device, small: bool):
        self.device, self.small = device, small
        self.shapes = [(8, 2)] if small else [(64, 5), (2048, 1)]  # segments of a batch, samples of each
        self.seeds = [1, 2] if small else [1, 20]
        self.many = [1, 3] if small else [1, 5, 20, 100]
        self.widths = [16] if small else [64, 128, 256, 512, 1024]
        self.seconds = 0.01 if small else 0.1  # of a round, at least
        samples = 300 if small else 5000
        self.cell = cell_of(0.02, seeds=1, count=NEIGHBORS, samples=samples)

    def sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def data(self, method: str, batch: int, segment: int, seeds: int, width: int = WIDTH):
        """The data of a cell of so many seeds, the method and an untrained ensemble."""
        built = build("methods", method, {})
        observed, *given = (file.isel(seed=[0] * seeds) for file in self.cell)
        settings = Training(steps=20_000, batch=batch, segment=segment, substeps=1)
        data = Data(observed, built, settings, files_of(*given), device=self.device, dtype=torch.float32)
        field = NeuralField(3, range(seeds), width=width, depth=DEPTH).to(self.device, torch.float32)
        return data, built, field

    def loop(
        self, method: str, batch: int, segment: int, seeds: int, width: int = WIDTH, *, compile: bool = False
    ) -> Loop:
        """The training loop of such a cell, at its first step."""
        data, built, field = self.data(method, batch, segment, seeds, width)
        loop = Loop(field, data, built, Training(steps=20_000, substeps=1, compile=compile), range(seeds))
        loop.phase.starts.copy_(next(data.starts(range(seeds), [len(loop.phase.starts)])))
        return loop

    def compare(self, *steps: Callable[[], object]) -> list[float]:
        """Time functions in turns; returns the seconds of one call of each, medians over rounds."""
        counts, seconds = [], [[] for _ in steps]
        for step in steps:
            step(), self.sync()
            began = time.perf_counter()
            step(), self.sync()
            counts.append(max(1, round(self.seconds / (time.perf_counter() - began + 1e-9))))
        for _ in range(ROUNDS):
            for step, count, found in zip(steps, counts, seconds, strict=True):
                began = time.perf_counter()
                for _ in range(count):
                    step()
                self.sync()
                found.append((time.perf_counter() - began) / count)
        return [statistics.median(found) for found in seconds]


def steps_of_methods(bench: Bench, report: Report) -> None:
    """Gradient steps of every method, whole: batch, loss, gradient, Adam; captured against launched one by one."""
    rows = report["steps"] = []
    for batch, segment in bench.shapes:
        for seeds in bench.seeds:
            for method in METHODS:
                torch.cuda.empty_cache()
                rows.append(row := {"method": method, "batch": batch, "segment": segment, "seeds": seeds})
                with said(row):
                    loop = bench.loop(method, batch, segment, seeds)
                    graph = captured(loop.step, loop.state)
                    row["captured"] = graph != loop.step
                    row["graph_ms"], row["eager_ms"] = (1e3 * s for s in bench.compare(graph, loop.step))


def ensembles(bench: Bench, report: Report) -> None:
    """What many members cost on one device: microseconds of a step for each seed."""
    rows = report["ensembles"] = []
    for method in ("baseline", "neighborhood"):
        for batch, segment in bench.shapes:
            for seeds in bench.many:
                loop = bench.loop(method, batch, segment, seeds)
                (seconds,) = bench.compare(captured(loop.step, loop.state))
                row = {"method": method, "batch": batch, "segment": segment, "seeds": seeds}
                rows.append(row | {"step_ms": 1e3 * seconds, "us_per_seed": 1e6 * seconds / seeds})


def compilation(bench: Bench, report: Report) -> None:
    """What compiling the loss gives, on top of capture: seconds to compile, and milliseconds of a whole step."""
    rows = report["compilation"] = []
    for method in ("baseline", "neighborhood")[: 1 if bench.small else None]:
        for batch, segment in bench.shapes[-1:]:
            rows.append(row := {"method": method, "batch": batch, "segment": segment})
            with said(row):
                plain = bench.loop(method, batch, segment, 1)
                began = time.perf_counter()
                fused = bench.loop(method, batch, segment, 1, compile=True)
                steps = [captured(loop.step, loop.state) for loop in (plain, fused)]
                for step in steps:
                    step(), bench.sync()
                row["compile_s"], row["compiled"] = time.perf_counter() - began, fused.compiled
                row["plain_ms"], row["compiled_ms"] = (1e3 * s for s in bench.compare(*steps))
                row["ratio"] = row["plain_ms"] / row["compiled_ms"]


def rates(bench: Bench, report: Report) -> None:
    """The products of a step at the rate of large products in single precision, over the step."""
    rows = report["rates"] = []
    size, batch = (256, 64) if bench.small else (8192, 4096)
    a, b = (torch.randn(size, size, device=bench.device) for _ in range(2))
    (large,) = bench.compare(lambda: a @ b)
    report["tflops"] = 2 * size**3 / large / 1e12
    for method in ("baseline", "neighborhood"):
        for width in bench.widths:
            loop = bench.loop(method, batch, 1, 1, width)
            (seconds,) = bench.compare(captured(loop.step, loop.state))
            weights = 3 * width + (DEPTH - 1) * width**2 + width * 3
            carried = 1 + 3 * (method == "neighborhood")  # a state and D tangents
            operations = 3 * 2 * weights * batch * 4 * carried  # forward and backward, four stages
            row = {"method": method, "width": width, "batch": batch, "step_ms": 1e3 * seconds}
            rows.append(row | {"share": operations / seconds / 1e12 / report["tflops"]})


def against_peers(bench: Bench, report: Report) -> None:
    """Loss and gradient against the same written with torchdiffeq, diffrax and jax, on the same device."""
    if not (find_spec("jax") and find_spec("diffrax")):
        return
    import jax
    import jax.numpy as jnp
    import peers

    jax.config.update("jax_default_matmul_precision", "highest")  # single precision as in torch, not less
    theirs: dict[str, dict[str, Callable]] = {
        "baseline": {
            "torchdiffeq rk4, eager": peers.baseline,
            "diffrax Tsit5 at 1e-4, jitted": partial(peers.diffrax_baseline, tolerance=1e-4),
        },
        "neighborhood": {
            "torchdiffeq rk4, jvp per neighbor, eager": peers.neighborhood_per_neighbor,
            "diffrax Tsit5, jvp per neighbor, jitted": peers.diffrax_neighborhood,
            "jax by hand, fundamental matrix, jitted": peers.handwritten_neighborhood,
        },
    }
    rows = report["peers"] = []
    for method, losses in theirs.items():
        for batch, segment in bench.shapes:
            data, built, field = bench.data(method, batch, segment, 1)
            drawn = data.gather(next(data.starts([0], [1]))[0].to(bench.device))
            times, states = drawn.times[0, 0], drawn.states[0]
            tensors = [times, states, drawn["neighbors"][0]] if method == "neighborhood" else [times, states]
            weight = {"weight": built.weight} if method == "neighborhood" else {}
            parameters, arrays = peers.jax_parameters(field.cpu()), [jnp.asarray(t.cpu().numpy()) for t in tensors]
            laid = torch.zeros_like(flatten(field.to(bench.device)))
            now = torch.zeros((), device=bench.device)
            ours = captured(partial(_lay, laid, built, field, drawn, now), {"weights": laid})
            for name, loss in losses.items():
                loss = partial(loss, **weight)
                if "jitted" in name:
                    peer = peers.jax_gradient(loss, parameters, *arrays)
                else:
                    peer = partial(_gradient_of, loss, field, tensors)
                rows.append(row := {"method": method, "batch": batch, "segment": segment, "peer": name})
                with said(row):
                    own, other = bench.compare(ours, peer)
                    row |= {"ours_ms": 1e3 * own, "peer_ms": 1e3 * other, "ratio": other / own}


def _lay(laid, method, field, batch, now):
    laid.copy_(gradient(method.loss(field, batch, now).sum(), field))


def _gradient_of(loss, field, tensors):
    return gradient(loss(field, *tensors), field)


def fusion(bench: Bench, report: Report) -> None:
    """A trial: rollouts and their gradients as one kernel each, against the captured operations of torch."""
    if bench.device.type != "cuda" or not find_spec("triton"):
        return
    import fused

    rows = report["fusion"] = []
    for tangents, tiles in ((0, ((16, 8),)), (3, ((16, 8), (4, 8)))):
        for batch, segment in bench.shapes:
            for seeds in bench.seeds:
                field = NeuralField(3, range(seeds), width=WIDTH, depth=DEPTH).to(bench.device, torch.float32)
                x = torch.randn(seeds, batch, 3, device=bench.device)
                u = torch.eye(3, device=bench.device).expand(seeds, batch, 3, 3) if tangents else None
                times = torch.arange(segment + 1, device=bench.device) / 20
                plain = partial(_rolled_out, field, x, u, times)
                settings = {"samples": segment + 1, "substeps": 1}
                for states, warps in tiles:
                    rows.append(row := {"tangents": tangents, "batch": batch, "segment": segment, "seeds": seeds})
                    row |= {"states": states, "warps": warps}
                    with said(row):
                        kernel = partial(fused.rollout, field.perceptrons, x, u, 0.05, states=states, warps=warps)
                        laid = [torch.zeros_like(flatten(field)) for _ in range(2)]
                        ways = [
                            partial(_lay_mean_square, *way)
                            for way in ((laid[0], plain, field), (laid[1], partial(kernel, **settings), field))
                        ]
                        steps = [captured(way, {"weights": to}) for way, to in zip(ways, laid, strict=True)]
                        row["torch_ms"], row["fused_ms"] = (1e3 * s for s in bench.compare(*steps))
                        row["ratio"] = row["torch_ms"] / row["fused_ms"]
                        row["apart"] = float((laid[0] - laid[1]).norm() / laid[0].norm())


def _rolled_out(field, x, u, times):
    if u is None:
        return rollout(field, x, times), None
    return tangent_rollout(field, x, times, tangents=u)


def _lay_mean_square(laid, roll, field):
    laid.copy_(gradient(sum(made.square().mean() for made in roll() if made is not None), field))


def study(bench: Bench, report: Report) -> None:
    """Train and judge methods on noisy Lorenz, five seeds each, from the data to the scores."""
    rows = report["study"] = []
    seeds, steps = (2, 20) if bench.small else (5, 1000)
    observed, *given = cell_of(0.02, seeds=seeds, count=NEIGHBORS, samples=300 if bench.small else 5000)
    truth = table_of_truth(seeds=seeds, count=10, samples=300)
    periods = {"horizon": 5, "transient": 2} if bench.small else {"horizon": 30, "transient": 20}
    evaluation = {"exponents": {"starts": 10, "accuracy": 0.05, **periods}}
    methods = ("baseline",) if bench.small else ("baseline", "neighborhood", "jacobian")
    runs = [(method, bench.device.type, *shape) for method in methods for shape in bench.shapes]
    for method, device, batch, segment in [*runs, ("baseline", "cpu", *bench.shapes[0])]:
        rows.append(row := {"method": method, "batch": batch, "segment": segment, "device": device})
        with said(row):
            settings = {"steps": steps, "batch": batch, "segment": segment, "validate_every": min(50, steps)}
            network = {"width": WIDTH, "depth": DEPTH}
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            field, change, history, costs = fit(observed, *given, method, network=network, device=device, **settings)
            row |= {"train_s": time.perf_counter() - began, "peak_mib": costs["peak_memory_mib"]}
            row["validation"] = history.groupby("seed")["validation"].min().mean()
            for judge in dict.fromkeys(["cpu"] if rows[1:] else [device, "cpu"]):
                change = Coordinates(*(t.double().to(judge) for t in vars(change).values()))
                learned = Transformed(field.to(judge, torch.float64).requires_grad_(False), change.inverse)
                began = time.perf_counter()
                found = forecast(learned, history, truth, evaluation=evaluation)
                row[f"judged_on_{judge}_s"] = time.perf_counter() - began
            row["jacobian_error"] = float(jacobian_error(truth, found).mean())
            row["exponents"] = found["exponents"].mean("seed").round(3).values.tolist()


def tests(bench: Bench, report: Report) -> None:
    """The tests of this folder, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).parent)]
    command += ["-k", "captured_training and baseline"] if bench.small else []
    command += ["-n", "6"] if find_spec("xdist") and (os.cpu_count() or 1) >= 8 else []
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    report["tests"] = {"summary": lines[-1] if lines else done.stderr[-500:], "seconds": time.perf_counter() - began}
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    report["tests"]["failed"] = failed or [f"pytest ended with {done.returncode}"] * bool(done.returncode)
    report["tests"]["output"] = done.stdout[-20_000:] if done.returncode else ""


@contextmanager
def said(row: Report) -> Iterator[None]:
    """Write an error into the row, and go on: the next one may be well."""
    try:
        yield
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}"[:400]
        traceback.print_exc()


PARTS = {
    "tests": tests,
    "steps": steps_of_methods,
    "ensembles": ensembles,
    "compilation": compilation,
    "rates": rates,
    "peers": against_peers,
    "fusion": fusion,
    "study": study,
}


def machine(device: torch.device) -> Report:
    """What it was measured on."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "nearorbit": __version__}
    for name in ("jax", "diffrax", "torchdiffeq"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"one core, {platform.processor()}"
    return {"device": name, "cores": os.cpu_count(), "date": str(date.today()), "versions": versions}


COLUMNS = {
    "steps": ("method", "batch", "segment", "seeds", "graph_ms", "eager_ms", "captured", "error"),
    "ensembles": ("method", "batch", "segment", "seeds", "step_ms", "us_per_seed", "error"),
    "compilation": ("method", "batch", "segment", "compile_s", "plain_ms", "compiled_ms", "ratio", "compiled", "error"),
    "rates": ("method", "width", "batch", "step_ms", "share", "error"),
    "peers": ("method", "batch", "segment", "peer", "ours_ms", "peer_ms", "ratio", "error"),
    "fusion": (
        "tangents",
        "batch",
        "segment",
        "seeds",
        "states",
        "warps",
        "torch_ms",
        "fused_ms",
        "ratio",
        "apart",
        "error",
    ),
    "study": (
        "method",
        "batch",
        "segment",
        "device",
        "train_s",
        "judged_on_cuda_s",
        "judged_on_cpu_s",
        "peak_mib",
        "jacobian_error",
        "exponents",
        "error",
    ),
}


def markdown(report: Report) -> str:
    """All tables of a report."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [f"# {report['device']}, {report['date']}", "", f"{versions}; {report['cores']} cores.", ""]
    if found := report.get("tests"):
        lines += [f"Tests: {found['summary']}", *(f"- {line}" for line in found["failed"]), ""]
    if "tflops" in report:
        lines += [f"Large products in single precision: {report['tflops']:.1f} TFLOP/s.", ""]
    for name, wanted in COLUMNS.items():
        rows = report.get(name, [])
        columns = [c for c in wanted if any(c in row for row in rows)]
        if rows:
            text = [[_cell(row.get(column, "")) for column in columns] for row in rows]
            lines += [f"## {name}: {(PARTS[name].__doc__ or '').splitlines()[0]}", ""]
            lines += [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *text)] + [""]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/").replace("\n", " ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU core; taken where there is no GPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), help="the folder of gpu.json and gpu.md")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    bench = Bench(device, chosen.small or device.type == "cpu")
    report: Report = machine(device)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for part in chosen.parts:
        began, row = time.perf_counter(), {}
        with said(row):
            PARTS[part](bench, report)
        report.setdefault("seconds", {})[part] = round(time.perf_counter() - began, 1)
        if row:
            report.setdefault("errors", {})[part] = row["error"]
        print(f"{part}: {report['seconds'][part]} s", row.get("error", ""), flush=True)
        (chosen.out / "gpu.json").write_text(json.dumps(report, indent=1))
        (chosen.out / "gpu.md").write_text(markdown(report))
    return int(went_wrong(report, device))


def went_wrong(report: Report, device: torch.device) -> bool:
    """Tell whether anything failed, or was not captured on a GPU."""
    rows = [row for name in COLUMNS for row in report.get(name, [])]
    failed = report.get("errors") or report.get("tests", {}).get("failed") or any("error" in row for row in rows)
    return bool(failed) or (device.type == "cuda" and not all(row["captured"] for row in report.get("steps", [])))


if __name__ == "__main__":
    sys.exit(main())
