"""Nothing that comes from outside, a study or a file, runs code, leaves results/, or ends in a stack."""

import inspect
import json
import math
import re
import struct
import time
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_study import EXAMPLE, changed

from nearorbit.__main__ import main, stages
from nearorbit.dynamics.models import load as load_model
from nearorbit.study import files
from nearorbit.study.catalogue import StudyError
from nearorbit.study.study import load, parse
from nearorbit.training.checkpoint import Checkpoint

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("study", "../outside", "is not a plain name"),
        ("study", "/etc/passwd", "is not a plain name"),
        ("study", "a/../../b", "is not a plain name"),
        ("study", ".hidden", "is not a plain name"),
        ("study", "quick\n", "is not a plain name"),
        ("study", "a" * 300, "too long"),
        ("systems|../../Lorenz", {"system": "Lorenz"}, "is not a plain name"),
        ("systems|a b; rm -rf ~", {"system": "Lorenz"}, "is not a plain name"),
        ("systems|$(reboot)", {"system": "Lorenz"}, "is not a plain name"),
        ("systems|x", {"system": "os.system"}, "no system 'os.system'"),
        ("systems|x", {"system": "__import__('os')"}, "no system"),
        ("data|{system}", {"noise": 0.0}, "is not a plain name"),
        ("methods|x", {"method": "../base"}, "no method"),
        ("seeds", 10**30, "greater than the maximum"),
        ("networks|mlp|width", 0, "width 0 and depth 3 must be at least 1"),
        ("data|clean|samples", 10**9, "greater than the maximum"),
        ("training|learning_rate", math.nan, "a finite number"),
        ("training|learning_rate", math.inf, "a finite number"),
        ("training|learning_rate", 1e300, "greater than the maximum"),
        ("training|device", "cuda; rm -rf ~", "is not one of auto, cpu, cuda"),
    ],
)
def test_a_hostile_study_is_refused(path, value, message):
    with pytest.raises(StudyError, match=message):
        parse(changed(path, value)).check_catalogues()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 100000 entries"),
        ("study: !!python/object/apply:os.system ['echo harm']", "not a YAML file"),
        ("study: !!python/name:os.system", "not a YAML file"),
        ("[" * 20_000, "not a YAML file"),
        ("a: &a {b: *a}", ""),
        ("\x00", "not a YAML file"),
    ],
)
def test_a_hostile_yaml_file_is_refused_at_once(tmp_path, text, message):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    began = time.monotonic()
    with pytest.raises(StudyError, match=message):
        load(file)
    assert time.monotonic() - began < 10


def test_an_output_that_is_a_link_is_replaced_and_not_followed(tmp_path):
    outside, link = tmp_path / "outside.txt", tmp_path / "results" / "scores.csv"
    outside.write_text("precious")
    link.parent.mkdir()
    link.symlink_to(outside)
    with files.replacing(link) as temporary:
        temporary.write_text("scores")
    assert outside.read_text() == "precious"
    assert link.read_text() == "scores" and not link.is_symlink()


def observed(path, **changes) -> xr.Dataset:
    """Write observations, with other dimensions of some variables."""
    sizes = {"seed": 1, "orbit": 1, "time": 12, "component": 3, "validation_orbit": 1, "validation_time": 12}
    layout = {**files.LAYOUTS["observations"], **changes}
    rng = np.random.default_rng(0)
    variables = {
        name: (dims.split(), rng.uniform(1, 2, size=[sizes.get(d, 2) for d in dims.split()]))
        for name, dims in layout.items()
        if dims is not None
    }
    dataset = xr.Dataset(variables, coords={"seed": [7], "component": ["x", "y", "z"]})
    files.write(dataset, path, kind="observations")
    return dataset


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "seed time component"}, r"'train' has dimensions \(seed, time, component\), expected \(seed, orbit"),
        ({"mean": None}, "'mean' is missing"),
        ({"rate": ""}, r"'rate' has dimensions \(\)"),
    ],
)
def test_a_dataset_of_other_dimensions_is_refused(tmp_path, changes, message):
    observed(tmp_path / "whole.nc")
    files.read(tmp_path / "whole.nc", kind="observations")
    observed(tmp_path / "other.nc", **changes)
    with pytest.raises(StudyError, match=message):
        files.read(tmp_path / "other.nc", kind="observations")


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("train", (0, 0, 7, 2), np.nan, r"'train' is nan at seed 7, orbit 0, sample 7, component z \(1 such of 36\)"),
        ("train", (0, 0, slice(3, 5)), np.inf, r"'train' is inf at seed 7, orbit 0, sample 3, component x \(6 such"),
        ("validation", (0, 0, 11, 1), -np.inf, "'validation' is -inf at seed 7, orbit 0, sample 11, component y"),
        ("mean", (0, 1), np.nan, "'mean' is nan at seed 7, component y"),
        ("scale", (0, 1), 0.0, r"'scale' is 0.0 at seed 7, component y \(1 such of 3\), expected a positive number"),
        ("rate", (0,), -1.0, "'rate' is -1.0 at seed 7 .* expected a positive number"),
        ("step", (), np.nan, "'step' is nan .* expected a positive number"),
        ("train", (..., 1), 2.5, "'train' does not vary at seed 7, component y: every sample is 2.5"),
        ("train", (..., 2), 1e5 + 1e-8 * np.arange(12), "'train' does not vary at seed 7, component z"),
        ("train", (..., 0), 0.0, "'train' does not vary at seed 7, component x"),
    ],
)
def test_numbers_that_no_stage_can_use_are_refused_with_their_place(tmp_path, name, place, value, message):
    dataset = observed(tmp_path / "observations.nc")
    dataset[name].values[place] = value
    files.write(dataset, tmp_path / "observations.nc", kind="observations")
    with pytest.raises(StudyError, match=rf"observations\.nc: {message}"):
        files.read(tmp_path / "observations.nc", kind="observations")


def test_a_component_that_varies_little_is_no_constant(tmp_path):
    dataset = observed(tmp_path / "observations.nc")
    dataset["train"].values[..., 1] = 1e5 + 1e-4 * np.arange(12)
    files.write(dataset, tmp_path / "observations.nc", kind="observations")
    assert files.read(tmp_path / "observations.nc", kind="observations")["train"].identical(dataset["train"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(mean=d["mean"].astype(str)), "'mean': expected numbers, they are of type <U"),
        (lambda d: d.isel(orbit=slice(0)), "'train': expected numbers, they are none"),
    ],
)
def test_what_are_no_numbers_is_refused(tmp_path, change, message):
    files.write(change(observed(tmp_path / "whole.nc")), tmp_path / "observations.nc", kind="observations")
    with pytest.raises(StudyError, match=message):
        files.read(tmp_path / "observations.nc", kind="observations")


def test_every_stage_that_reads_observations_refuses_a_gap(tmp_path, capsys):
    dataset = observed(tmp_path / "observations.nc")
    dataset["train"].values[0, 0, 7, 2] = np.nan
    files.write(dataset, tmp_path / "observations.nc", kind="observations")
    settings = {
        "neighbors": {"ahead": 2, "selection": {"count": 2, "theiler": 0.0}},
        "supervise": {"label": "Lorenz", "system": {"system": "Lorenz"}},
        "propagate": {"label": "Lorenz", "system": {"system": "Lorenz"}},
        "estimators": {"theiler": 0.0},
        "partial_truth": {"label": "Lorenz", "system": {"system": "Lorenz"}, "evaluation": {}},
        "hold_out": {"evaluation": {}},
        "twin": {"label": "Lorenz", "system": {"system": "Lorenz"}, "window": 1.0, "beyond": None},
        "structure": {"label": "Lorenz", "theiler": 0.0, "surrogates": 1},
        "unseen": {"evaluation": {}},
        "train": {"label": "baseline", "system": {}, "method": {}, "network": {}, "training": {}},
        "landscape": {
            "cell": {},
            "training": {},
            "couplings": [],
            "segments": [],
            "rollouts": 1,
            "reach": 1.0,
            "points": 1,
        },
        "smooth": {"training": {}, "rounds": 1},
        "score": {"cells": [{"system": "Lorenz", "data": "clean", "noise": 0.0, "method": "baseline"}]},
    }
    readers = {name: stage for name, stage in stages().items() if "observations" in inspect.signature(stage).parameters}
    assert set(readers) == {*settings, "observe"}, "observe writes them, the others read"
    for name in settings:
        options = inspect.signature(readers[name]).parameters.values()
        given = [p for p in options if p.kind is not p.KEYWORD_ONLY]
        needed = [p.name for p in given if p.default is p.empty or p.name == "observations"]
        paths = [f"--{option}={tmp_path / option}.nc" for option in needed]
        assert main([name, "--settings", json.dumps(settings[name]), *paths]) == 2
        assert "'train' is nan at seed 7, orbit 0, sample 7, component z" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["observations.nc"], "something was left behind"


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096, b"CDF\x01", b"\x00" * 4096])
def test_a_file_that_is_no_dataset_is_refused(tmp_path, content):
    (tmp_path / "file.nc").write_bytes(content)
    with pytest.raises(StudyError, match="expected truth, it is not a whole NetCDF file") as caught:
        files.read(tmp_path / "file.nc", kind="truth")
    keeps_the_file(caught.value, tmp_path / "file.nc")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2,3\n1,2,3,4,5\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "file.csv").write_bytes(content)
    with pytest.raises(StudyError, match="not a whole CSV file") as caught:
        files.table(tmp_path / "file.csv")
    keeps_the_file(caught.value, tmp_path / "file.csv")


def keeps_the_file(error, path) -> None:
    """Assert that nobody is told to delete a file, which may be the only copy of a measurement."""
    assert not re.search(r"delete|remove|\brm\b", str(error)), error
    assert f"if the workflow made it: snakemake --cores 1 --force {path}" in str(error)
    assert path.exists()


def headers():
    weights = {"coordinates.mean": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
    yield "a header of 1 GB that is not there", struct.pack("<Q", 10**9) + b"{}"
    yield "a header of 2^64 - 1 bytes", b"\xff" * 8
    yield "a header that is no JSON", struct.pack("<Q", 4) + b"pick"
    text = json.dumps(weights).encode()
    yield "a tensor larger than the file", struct.pack("<Q", len(text)) + text
    yield "a pickle", b"\x80\x04\x95cos\nsystem\n(S'echo harm'\ntR."


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in headers()])
def test_a_hostile_model_or_checkpoint_is_refused(tmp_path, content, capsys):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(StudyError, match="not a whole safetensors file") as caught:
        load_model(file)
    keeps_the_file(caught.value, file)
    assert Checkpoint(file, "key").read() is None
    assert "the training starts afresh" in capsys.readouterr().err


def test_a_study_too_large_for_the_memory_is_one_line(tmp_path, capsys, monkeypatch):
    from nearorbit import stages

    def hungry(*_, **__):
        raise MemoryError("Unable to allocate 7 PiB")

    monkeypatch.setattr("nearorbit.truth.attractors.exponents", hungry)
    settings = {"label": "Lorenz", "system": {"system": "Lorenz"}, "starts": 1, "horizon": 1.0, "transient": 0.0}
    assert stages.exponents
    assert main(["exponents", "--settings", json.dumps(settings), "--exponents", str(tmp_path / "e.nc")]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "error: not enough memory: Unable to allocate 7 PiB; make the study smaller"


@pytest.mark.parametrize(
    ("said", "way"),
    [
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB.\nSee ...",
            "lower training.batch or seeds, or set training.rec",
        ),
        (
            "CUDA error: no kernel image is available for execution on the device\nCompile ...",
            "or training.device: cpu",
        ),
        (
            "The NVIDIA driver on your system is too old (found version 11040).\n...",
            "install the build of torch that do",
        ),
    ],
)
def test_what_a_gpu_refuses_is_one_line(tmp_path, capsys, monkeypatch, said, way):
    def refused(*_, **__):
        raise RuntimeError(said)

    monkeypatch.setattr("nearorbit.truth.attractors.exponents", refused)
    settings = {"label": "Lorenz", "system": {"system": "Lorenz"}, "starts": 1, "horizon": 1.0, "transient": 0.0}
    assert main(["exponents", "--settings", json.dumps(settings), "--exponents", str(tmp_path / "e.nc")]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ") and said.splitlines()[0] in last and way in last


def test_it_is_the_missing_input_that_is_named_and_no_output(tmp_path, capsys):
    observed(tmp_path / "observations.nc")
    settings = json.dumps({"label": "baseline", "system": {}, "method": {}, "network": {}, "training": {}})
    paths = [f"--{name}={tmp_path / name}.nc" for name in ("observations", "neighbors", "model", "history", "costs")]
    assert main(["train", "--settings", settings, *paths, f"--checkpoint={tmp_path / 'checkpoint'}"]) != 0
    assert f"error: {tmp_path / 'neighbors.nc'}: no such file; make it with" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    settings = json.dumps({"study": {"systems": [], "data": {}, "methods": []}})
    paths = ["--folder", str(tmp_path), "--truth", str(tmp_path / "file" / "truth.csv")]
    assert main(["collect_truth", "--settings", settings, *paths]) == 1
    assert "Traceback" not in capsys.readouterr().err


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
LEAVES |= st.sampled_from([-1, 0, 1, 10**30, 1e-300, "1e-3", "Lorenz", "../x", "auto", "lorenz96"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LEAVES, inner, max_size=3), max_leaves=6
)


def places(config, path=()):
    """Every place in a study at which something may stand."""
    yield path
    if isinstance(config, dict):
        for key, value in config.items():
            yield from places(value, (*path, key))


PLACES = sorted(places(EXAMPLE), key=str)


@st.composite
def studies(draw):
    """The default study with some of its values replaced, removed or added to by anything."""
    config = json.loads(json.dumps(EXAMPLE))
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        value, parent = draw(VALUES), config
        if not path:
            if draw(st.booleans()):
                return value
            continue
        for key in path[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):
            continue
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[path[-1]] = value
            case "remove":
                parent.pop(path[-1], None)
            case "add":
                parent[draw(LEAVES)] = value
    return config


def refuses_or_accepts(config) -> None:
    """Anything is either a study or refused in words; all other exceptions are mistakes of ours."""
    try:
        parse(config).check_catalogues()
    except StudyError as error:
        assert str(error) and "Traceback" not in str(error)


ANYTHING = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "derandomize": True}


@settings(max_examples=200, **ANYTHING)
@given(studies())
def test_no_study_ends_in_a_stack(config):
    refuses_or_accepts(config)


@pytest.mark.slow
@settings(max_examples=10_000, **ANYTHING)
@given(studies())
def test_no_study_of_ten_thousand_ends_in_a_stack(config):
    refuses_or_accepts(config)


@settings(max_examples=200, **ANYTHING)
@given(st.text(max_size=200) | st.builds(yaml.safe_dump, VALUES.filter(lambda v: not isinstance(v, bytes))))
def test_no_text_ends_in_a_stack(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "study.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(StudyError):
        load(file)
