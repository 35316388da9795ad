"""What a name in a study may be."""

import sys
from types import ModuleType

import pytest

from nearorbit.study import catalogue
from nearorbit.study.catalogue import StudyError, build, entries, home, names

PACKAGES = list(catalogue.CATALOGUES)
BUILT = [(package, name) for package in ("methods", "figures", "tables") for name in names(package)]


@pytest.fixture
def shapes(monkeypatch):
    """A catalogue of its own with two modules, a circle and a square."""
    package, circle, square = (ModuleType(f"nearorbit.shapes{suffix}") for suffix in ("", ".circle", ".square"))
    package.__path__ = ["shapes"]
    circle.entries = lambda: {"circle": lambda radius=1.0: ("circle", radius)}
    square.entries = lambda: {"square": lambda side: ("square", side)}
    for module in (package, circle, square):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    found = [type("Info", (), {"name": name}) for name in ("circle", "square")]
    monkeypatch.setattr(catalogue.pkgutil, "iter_modules", lambda path: found)
    monkeypatch.setitem(catalogue.CATALOGUES, "shapes", package.__name__)
    for cached in (catalogue.entries, catalogue._modules):
        cached.cache_clear()
    yield {"circle": circle, "square": square}
    for cached in (catalogue.entries, catalogue._modules):
        cached.cache_clear()


def test_an_entry_is_found_under_its_name(shapes):
    assert names("shapes") == ["circle", "square"]
    assert build("shapes", "circle", {"radius": 2.0}) == ("circle", 2.0)
    assert home("shapes", "square") == "nearorbit.shapes.square"


def test_a_label_may_differ_from_the_name_of_its_entry(shapes):
    assert build("shapes", "wheel", {"shape": "circle"}) == ("circle", 1.0)


def test_an_unknown_name_is_answered_with_the_nearest(shapes):
    with pytest.raises(
        StudyError, match=r"study.yaml: shapes.Cirle: no shape 'Cirle'; did you mean 'circle'\?.*names shapes"
    ):
        build("shapes", "Cirle", {}, where="study.yaml: shapes.Cirle")


def test_an_unknown_setting_is_answered_with_those_it_takes(shapes):
    with pytest.raises(StudyError, match=r"'circle' has no setting 'radios'; did you mean 'radius'\?; it takes radius"):
        build("shapes", "circle", {"radios": 2.0})


def test_a_missing_setting_is_named(shapes):
    with pytest.raises(StudyError, match="side"):
        build("shapes", "square", {})


def test_two_modules_cannot_export_the_same_name(shapes):
    shapes["square"].entries = shapes["circle"].entries
    with pytest.raises(ValueError, match="'circle' is taken"):
        entries("shapes")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_catalogue_has_entries_with_plain_names(package):
    assert names(package), f"no entries in {package}"
    assert all(name.isidentifier() for name in names(package)), names(package)


@pytest.mark.parametrize(("package", "name"), BUILT)
def test_every_entry_is_built_from_its_name_alone_and_documented(package, name):
    assert build(package, name, {}) is not None
    assert home(package, name).startswith(f"{catalogue.CATALOGUES[package]}.")
