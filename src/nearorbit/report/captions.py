"""What every caption says of its study: the systems, the data and their noise, the seeds; and what a figure leaves out.

A caption is made from the study, never typed for one: what is shown, of which data and how many seeds, what the marks
mean. What is in a study is told in one way in all of them.
"""

from collections.abc import Collection, Sequence

from nearorbit.evaluation.scores import Results

NAMED = 6  # labels that are told one by one; of more, their number and the first
FAILED = "A dagger (†) is a seed that diverged or collapsed."
UNCONVERGED = "Hollow marks are of spectra that have not converged."
TRUTH_ROW = "Black is the true field, judged as learned ones are: the floor at this sample size."


def told(results: Results) -> str:
    """Tell of a study, e.g. ``"Systems: Lorenz, Rossler. Data: clean (no noise), noisy (noise of 2 %). 3 seeds."``."""
    data = [f"{label} ({_observed(results, label)})" for label in results.data]
    return (
        f"System{'s' * (len(results.systems) != 1)}: {listed(results.systems)}. Data: {listed(data)}. {seeds(results)}."
    )


def seeds(results: Results) -> str:
    """Tell the number of seeds, e.g. ``"3 seeds"``; where nobody has told it, that it is all of them."""
    if not results.seeds:
        return "All seeds that there are"
    return f"{results.seeds} seed{'s' * (results.seeds != 1)}"


def _observed(results: Results, label: str) -> str:
    noise = results.data[label]
    said = [f"noise of {100 * noise:.3g} %" if noise else "no noise", results.remarks.get(label, "")]
    return ", ".join(filter(None, said))


def listed(labels: Collection[str]) -> str:
    """List labels; of many their number and the first."""
    labels = list(labels)
    if not labels:
        return "none"
    return ", ".join(labels) if len(labels) <= NAMED else f"{len(labels)}, {', '.join(labels[: NAMED - 1])}, …"


def left_out(what: str, shown: Sequence[str], there: Sequence[str]) -> str:
    """Tell what a figure has no room for, e.g. ``" Shown are 4 of 28 systems: A, B, C, D."``; empty if nothing."""
    if len(shown) == len(there):
        return ""
    return f" Shown are {len(shown)} of {len(there)} {what}: {', '.join(shown)}."
