"""What every caption says of its study: the systems, the data and their noise, the seeds, and what has no room.

A caption is made from the study, never typed for one: what is shown, of which data and how many seeds, what the marks
mean. What is in a study is told in one way in all of them.
"""

from collections.abc import Collection, Mapping

from nearorbit.evaluation.scores import Results

NAMED = 12  # labels that are told one by one; of more, the first
FAILED = "A dagger (†) is a seed that diverged or collapsed."
UNCONVERGED = "Hollow marks rest on spectra that have not converged."
OFF = "A triangle at the edge of a panel is a value beyond it."
FLOOR = "Black is the true field, judged as learned ones are: the floor at this sample size."


def told(
    results: Results,
    *,
    systems: Collection[str] | None = None,
    data: Collection[str] | None = None,
    methods: Collection[str] | None = None,
) -> str:
    """Tell of a study, e.g. ``"Systems: Lorenz, Rossler. Data: clean (no noise), noisy (noise of 2 %). 3 seeds."``.

    Arguments:
        results: The results of the study.
        systems: The labels of the systems that are shown; all if None. Of fewer it is said out of how many.
        data: The labels of the data that are shown; all if None.
        methods: The labels of the methods that are shown; of all, or None, nothing is said.
    """
    systems = results.systems if systems is None else systems
    data = results.data if data is None else data
    said = [
        f"System{'s' * (len(systems) != 1)}: {_listed(systems, len(results.systems))}.",
        f"Data: {_listed([f'{label} ({_observed(results, label)})' for label in data], len(results.data))}.",
    ]
    if methods is not None and len(methods) < len(results.methods):
        said.append(f"Methods: {_listed(methods, len(results.methods))}.")
    return " ".join([*said, f"{seeds(results)}."])


def left_out(lacking: Mapping[str, Collection[str]]) -> str:
    """Name the methods that take no part in a comparison, by data; empty if there is none.

    Arguments:
        lacking: Their labels, by the label of the data.
    """
    said = "; ".join(f"{data}: {', '.join(methods)}" for data, methods in lacking.items() if methods)
    return f"Left out, as they have not been judged on the systems of the others: {said}. " if said else ""


def seeds(results: Results) -> str:
    """Tell the number of seeds, e.g. ``"3 seeds"``; where nobody has told it, that it is all of them."""
    if not results.seeds:
        return "All seeds that there are"
    return f"{results.seeds} seed{'s' * (results.seeds != 1)}"


def _observed(results: Results, label: str) -> str:
    noise = results.data[label]
    said = [f"noise of {100 * noise:.3g} %" if noise else "no noise", results.remarks.get(label, "")]
    return ", ".join(filter(None, said))


def _listed(labels: Collection[str], there: int) -> str:
    """List labels, and say out of how many they are, if not all."""
    named = ", ".join([*list(labels)[:NAMED], *["…"] * (len(labels) > NAMED)]) or "none"
    if len(labels) < there:
        return f"{named} ({len(labels)} of {there})"
    return f"{named} ({there})" if len(labels) > NAMED else named
