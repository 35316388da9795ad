"""Tables of the documentation that records can make are made from them, and hold what is made."""

import sys

import pytest
from repository import REPOSITORY

sys.path.append(str(REPOSITORY / "docs"))
import fill

FILLED = [page for page in fill.PAGES if fill.PLACE.search(page.read_text())]


@pytest.mark.parametrize("page", FILLED, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_holds_what_its_records_make(page):
    text = page.read_text()
    assert fill.filled(text) == text, "python docs/fill.py"
    assert len(fill.PLACE.findall(text)) == text.count("<!-- table:") == text.count("<!-- end -->")


def test_a_number_that_was_typed_into_a_table_is_gone():
    text = (REPOSITORY / "docs/results/methods/README.md").read_text()
    changed = text.replace("| 0.737 | 0.557 |", "| 0.373 | 0.557 |")
    assert changed != text and fill.filled(changed) == text


def test_the_pages_with_tables_of_records_are_found():
    names = {str(page.relative_to(REPOSITORY)) for page in FILLED}
    assert {"config/README.md", "docs/performance.md", "docs/published.md", "docs/results/methods/README.md"} <= names


def test_a_table_that_does_not_exist_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="no table 'publishd'; did you mean 'published'"):
        fill.made("publishd", "park", {})


def test_steps_on_a_gpu_stand_under_their_sizes():
    sizes = [(64, 5, 1), (64, 5, 20), (2048, 1, 1), (2048, 1, 20)]
    rows = [
        {"method": m, "batch": batch, "segment": segment, "seeds": seeds, "graph_ms": 1.0 * seeds, "eager_ms": 12.34}
        for m in ("baseline", "neighborhood")
        for batch, segment, seeds in sizes
    ]
    lines = fill.gpu({"steps": rows}).splitlines()
    assert lines[2] == "| baseline: captured | 1.0 | 20 | 1.0 | 20 |"
    assert lines[3] == "| launched one by one | 12 | 12 | 12 | 12 |"
