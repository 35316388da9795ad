"""The card of models says what they are; what it says of loading one is run."""

import re
import shutil
import zipfile

import pytest
import synthetic
import torch
from test_page import CONFIG, asked

from nearorbit.dynamics.fields import Coordinates
from nearorbit.dynamics.models import save
from nearorbit.dynamics.networks.base import NeuralField
from nearorbit.evaluation.scores import Results
from nearorbit.report.card import card, pack
from nearorbit.study.study import parse


@pytest.fixture
def results(tmp_path) -> Results:
    """The synthetic study with a model in its first cell."""
    shutil.copytree(synthetic.study().folder, tmp_path / "study", ignore=shutil.ignore_patterns("*.nc"))
    results = Results.of(tmp_path / "study", asked().axes)
    cell = results.folder / "Lorenz/clean/baseline"
    cell.mkdir(parents=True, exist_ok=True)
    seeds = asked().seeds
    coordinates = Coordinates(torch.zeros(seeds, 3), torch.ones(seeds, 3), torch.ones(seeds))
    network = {"network": "mlp", "width": 8, "depth": 2, "activation": "silu"}
    field = NeuralField(3, range(seeds), width=8, depth=2)
    save(cell / "model.safetensors", field, coordinates, network=network, components=["x", "y", "z"])
    return results


def test_models_are_packed_with_a_card_the_same_each_time(results, tmp_path):
    question = tmp_path / "study.yaml"
    question.write_text("# What is asked?\n\nstudy: quick\n")
    assert pack(asked(), results, tmp_path / "models.zip", asked=[question]) == 1
    first = (tmp_path / "models.zip").read_bytes()
    pack(asked(), results, tmp_path / "models.zip", asked=[question])
    assert (tmp_path / "models.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "models.zip") as archive:
        assert archive.namelist() == ["README.md", "Lorenz/clean/baseline.safetensors"]
        told = archive.read("README.md").decode()
        archive.extractall(tmp_path / "models")
    assert told.startswith("---\nlicense: ") and "What is asked?" in told
    scores = results.table("scores.csv")
    failed = scores[(scores["data"] == "noisy") & (scores["method"] == "baseline")]
    failed = failed[failed["metric"] == "jacobian_error"]
    bad = (failed["status"] != "ok").sum()
    assert re.search(rf"\| noisy \| baseline \| data \| .* \| {bad} of {len(failed)} \|", told)


def test_what_the_card_says_of_loading_runs(results, tmp_path, monkeypatch):
    pack(asked(), results, tmp_path / "models.zip")
    zipfile.ZipFile(tmp_path / "models.zip").extractall(tmp_path)
    snippet = re.search(r"```python\n(.*?)```", card(asked(), results), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet, names)
    assert names["jacobian"](names["field"], names["x"]).shape == (asked().seeds, 1, 3, 3)


def test_what_is_loaded_is_a_model_that_is_there(results):
    (results.folder / "Lorenz/clean/baseline/model.safetensors").rename(
        results.folder / "Lorenz/noisy/baseline/model.safetensors"
    )
    assert 'load("Lorenz/noisy/baseline.safetensors")' in card(asked(), results)


def test_a_study_without_scores_has_a_card_too(tmp_path):
    study = parse(CONFIG)
    told = card(study, Results.of(tmp_path, study.axes))
    assert "nothing was scored" in told and "–" not in told.split("## Where")[1].split("```")[0]
