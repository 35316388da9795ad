"""What a stranger expects: one version, a citation that tools read, a README of a page, and described keys."""

import re
import sys
import tomllib

import pytest
import yaml
from repository import REPOSITORY

sys.path.append(str(REPOSITORY / "docs"))
from keys import keys

README = (REPOSITORY / "README.md").read_text()
CITATION = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())


def found() -> list[str]:
    """The sentences on what was found, each with the pages that it links to."""
    section = README.partition("## What was found")[2].partition("\n[Results of record]")[0]
    return [" ".join(item.split()) for item in section.split("\n- ")[1:]]


def test_there_is_one_version():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    latest = re.search(r"^## (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert project == CITATION["version"] == latest


def test_the_citation_has_what_its_format_requires():
    assert CITATION.keys() >= {"cff-version", "message", "title", "authors"}
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    assert all(author.keys() & {"name", "family-names"} for author in CITATION["authors"])


def test_the_readme_is_a_page():
    lines = README.splitlines()
    assert len(lines) <= 150 and max(map(len, lines)) <= 120


@pytest.mark.parametrize("sentence", found(), ids=lambda sentence: sentence[2:40])
def test_numbers_of_the_readme_stand_on_the_pages_that_it_links_to(sentence):
    links = re.findall(r"\]\((docs/[\w/]+\.md)\)", sentence)
    pages = " ".join((REPOSITORY / link).read_text() for link in links)
    numbers = re.findall(r"\d+(?:\.\d+)?", re.sub(r"\]\(.*?\)", "]", sentence))
    assert links and numbers
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){number}(?!\.?\d)", pages)] == []


def test_there_are_five_sentences_on_what_was_found():
    assert len(found()) == 5


def test_every_key_of_a_study_is_described():
    for key in keys():
        assert key.meaning[0].isupper() and key.meaning.endswith("."), key
        assert key.type, key
