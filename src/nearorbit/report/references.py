"""Which method the others of a study are compared with, and why that one."""

from nearorbit.study.study import Study

DECLARED, COMPARED = "signed_rank", "comparison"  # the tables that name one


def reference(study: Study, data: str | None = None) -> str:
    """Name the method that the others are compared with.

    It is that of the comparison which is declared for a kind of data, if there is one; else that of ``comparison``, or
    the first of the study.
    """
    table = _referring(study, data)
    return str(study.tables[table]["reference"] if table else next(iter(study.methods)))


def _referring(study: Study, data: str | None) -> str | None:
    """Find the table that names the reference on a kind of data; None if none does."""
    lines = [(line.get("table", label), label, line) for label, line in study.tables.items()]
    of_data = [one for one in lines if one[0] == DECLARED and data and one[2].get("data") == data]
    named = [label for _, label, line in of_data if line.get("reference_data", data) == data]
    named += [label for table, label, _ in lines if table == COMPARED]
    return next((label for label in named if study.tables[label].get("reference")), None)


def whence(study: Study, data: str) -> str:
    """Say where the reference on a kind of data is from."""
    table = _referring(study, data)
    if table is None:
        return "the first method of the study"
    declared = study.tables[table].get("table", table) == DECLARED
    return f"that of the comparison declared on these data ({table})" if declared else f"that of the table {table}"
