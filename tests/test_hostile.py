"""Nothing that comes from outside, a study or a file, runs code, leaves results/, or ends in a stack."""

import json
import math
import struct
import time
from itertools import pairwise

import pytest
import xarray as xr
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_study import DEFAULT, changed

from nearorbit import files
from nearorbit.__main__ import main
from nearorbit.catalogue import StudyError
from nearorbit.fields import load as load_model
from nearorbit.study import load, parse
from nearorbit.training import Checkpoint

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
        ("network|width", 10**12, "greater than the maximum"),
        ("data|clean|samples", 10**9, "greater than the maximum"),
        ("training|learning_rate", math.nan, "a finite number"),
        ("training|learning_rate", math.inf, "a finite number"),
        ("training|learning_rate", 1e300, "greater than the maximum"),
        ("training|device", "cuda; rm -rf ~", None),  # where there is a GPU or not is the machine's to say
    ],
)
def test_a_hostile_study_is_refused(path, value, message):
    config = changed(path, value)
    if message is None:
        assert parse(config).training["device"] == value
        return
    with pytest.raises(StudyError, match=message):
        parse(config).check_catalogues()


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


def observed(path, **changes):
    import numpy as np

    sizes = {"seed": 1, "orbit": 1, "time": 12, "component": 3, "validation_orbit": 1, "validation_time": 12}
    layout = {**files.LAYOUTS["observations"], **changes}
    rng = np.random.default_rng(0)
    variables = {
        name: (dims.split(), rng.normal(size=[sizes.get(d, 2) for d in dims.split()]))
        for name, dims in layout.items()
        if dims is not None
    }
    files.write(xr.Dataset(variables), path, kind="observations")


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


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096, b"CDF\x01", b"\x00" * 4096])
def test_a_file_that_is_no_dataset_is_refused(tmp_path, content):
    (tmp_path / "file.nc").write_bytes(content)
    with pytest.raises(StudyError, match="delete it"):
        files.read(tmp_path / "file.nc", kind="truth")


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
    with pytest.raises(StudyError, match="delete it"):
        load_model(file)
    assert Checkpoint(file, "key").read() is None
    assert "the training starts afresh" in capsys.readouterr().err


def test_a_study_too_large_for_the_memory_is_one_line(tmp_path, capsys, monkeypatch):
    from nearorbit import stages

    def hungry(*_, **__):
        raise MemoryError("Unable to allocate 7 PiB")

    monkeypatch.setattr("nearorbit.simulation.exponents", hungry)
    settings = {"label": "Lorenz", "system": {"system": "Lorenz"}, "starts": 1, "horizon": 1.0, "transient": 0.0}
    assert stages.exponents
    assert main(["exponents", "--settings", json.dumps(settings), "--exponents", str(tmp_path / "e.nc")]) == 1
    assert capsys.readouterr().err == "error: not enough memory: Unable to allocate 7 PiB; make the study smaller\n"


def test_a_folder_that_may_not_be_written_to_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    settings = json.dumps({"name": "truth", "study": {"systems": [], "data": {}, "methods": []}})
    paths = ["--folder", str(tmp_path), "--collected", str(tmp_path / "file" / "truth.csv")]
    assert main(["collect", "--settings", settings, *paths]) == 1
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


PLACES = sorted(places(DEFAULT), key=str)


@st.composite
def studies(draw):
    """The default study with some of its values replaced, removed or added to by anything."""
    config = json.loads(json.dumps(DEFAULT))
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
