r"""What a training method is: a loss over a batch of segments, and a declaration of what it has to be given.

Everything that could make a comparison unfair (optimizer, budget, seeds, which batches) belongs to the one training
loop, :mod:`nearorbit.training.loop`. A method receives the observed states of segments, and what else it declares in
``needs``: names of the catalogue :mod:`nearorbit.training.needs`. Losses are written in the batch and the means of
:mod:`nearorbit.training.segments`, which methods take from here.

How long segments are may differ from line to line of a study, whatever the method (:func:`completed`); a batch has as
many samples all the same. So may how long they are in the last steps (:mod:`nearorbit.training.phases`), and whether
observed states are smoothed through the network while it learns (:mod:`nearorbit.training.mending`). Where a loss is a
sum of two, a line may ask for their gradients to be joined otherwise than by adding them (:class:`Penalized`). It is
one module since what a method is, is what a study that asks for it has to have.

Defaults of weights and strengths are what ``workflow/studies/weights.yaml`` chose, the same way for every method; where
they are not, the method says so.

A method may declare parameters of its own besides the network's, ``own``; they are trained with it in the same loop and
by the same optimizer, and are gone when the training ends: what is judged is always the network.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from itertools import chain, product
from typing import Any, ClassVar, Protocol, cast

from torch import Tensor, nn

from nearorbit.dynamics.fields import TwiceDifferentiable
from nearorbit.study import catalogue
from nearorbit.study.sampling import LEAST_SMOOTHED, is_irregular
from nearorbit.training.segments import Batch, member_mean, trajectory_error

__all__ = ["Batch", "Method", "Penalized", "check_weight", "member_mean", "segment", "trajectory_error"]

JOINS = ("sum", "config")  # of two gradients
LENGTHS = ("segment", "last_segment")


class Method(Protocol):
    """A training method: a frozen dataclass whose fields are its settings.

    Some settings are read outside: ``segment``, which all have, is a length of its own; others are those that a need is
    made by. One that cannot do with samples that are missing or moved has the reason in ``evenly``, and is refused.

    A method with parameters of its own has another function, ``own(seeds, points, dimension) -> nn.Module``: it makes
    them for an ensemble of these seeds and this many observed states of each. All have the leading dimension E, and the
    initial values of a member depend on its seed alone.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]  # of every dataclass

    @property
    def needs(self) -> frozenset[str]:
        """The names of what it has to be given."""
        ...

    def loss(self, field: TwiceDifferentiable, batch: Batch, progress: Tensor, *own: nn.Module) -> Tensor:
        """Compute the loss of each member.

        Arguments:
            field: The ensemble that is trained.
            batch: Segments, with what the method needs.
            progress: How much of the training has passed, from 0 to 1, without dimensions.
            own: The parameters of its own, if it has declared any.

        Returns:
            The losses, with shape (E,).
        """
        ...


@dataclass(frozen=True)
class Penalized:
    """A method whose loss is the error of trajectories plus a penalty: it has ``terms`` in the place of ``loss``.

    Arguments:
        join: How the gradients of the two are joined: ``sum``, or ``config``, along the direction in which both fall
            alike (:func:`nearorbit.training.optimizer.conflict_free`); the weight then counts for the length of the
            step alone. It takes a second backward pass.
    """

    join: str = field(default="sum", kw_only=True)

    # As loss, the error and the weighted penalty of each member, both with shape (E,).
    terms: ClassVar[Callable[..., tuple[Tensor, Tensor]]]

    def loss(self, field: TwiceDifferentiable, batch: Batch, progress: Tensor, *own: nn.Module) -> Tensor:
        """Compute the loss of each member; see :class:`Method`."""
        error, penalty = self.terms(field, batch, progress, *own)
        return error + penalty


def completed(method: type) -> type:
    """Give a method of the catalogue what every line of a study may set: ``segment``, unless it has one of its own,
    ``last_segment``, ``smoothings`` and ``draw_errors``.

    Arguments:
        method: The method, a frozen dataclass.

    Returns:
        A dataclass of that name and with that documentation; a ``segment`` of None is that of the study,
        ``last_segment`` that of the last steps (:mod:`nearorbit.training.phases`) if it is another, ``smoothings`` are
        how many times orbits are smoothed through the network while it learns (:mod:`nearorbit.training.mending`), and
        ``draw_errors`` is whether segments then start at states by a flow whose errors are drawn.
    """

    def check(self: Any) -> None:
        getattr(method, "__post_init__", lambda _: None)(self)
        if self.segment is not None and self.segment < 1:
            raise ValueError(f"segment must be at least 1, not {self.segment}")
        try:
            in_the_end(self)
        except ValueError as error:
            raise ValueError(f"last_segment: {error}") from None
        if self.smoothings < 0:
            raise ValueError(f"smoothings, a number of rounds, must not be negative, as {self.smoothings} is")
        if self.draw_errors and not self.smoothings:
            raise ValueError("draw_errors is of orbits that are smoothed: ask for smoothings, or leave it out")
        if getattr(self, "join", JOINS[0]) not in JOINS:
            raise ValueError(f"join is one of {', '.join(JOINS)}, not '{self.join}'")

    added: list[Any] = [("segment", int | None, field(default=None, kw_only=True))] * (not hasattr(method, "segment"))
    added.append(("last_segment", int | None, field(default=None, kw_only=True)))
    added.append(("smoothings", int, field(default=0, kw_only=True)))
    added.append(("draw_errors", bool, field(default=False, kw_only=True)))
    space = {"__post_init__": check, "__doc__": method.__doc__, "__module__": method.__module__}
    return make_dataclass(method.__name__, added, bases=(method,), namespace=space, frozen=True)


def in_the_end(method: Method) -> Method | None:
    """Give the method of the last steps, if its segments are of another length there."""
    last = getattr(method, "last_segment", None)
    return None if last is None else replace(cast(Any, method), segment=last, last_segment=None)


def segment(method: Method, default: int) -> int:
    """Tell how many steps from sample to sample the segments of a method have: its own setting, or the study's."""
    return getattr(method, "segment", None) or default


def own_parameters(method: Method, seeds: Sequence[int], points: int, dimension: int) -> tuple[nn.Module, ...]:
    """Make what a method trains besides the network: one module, or none."""
    return (method.own(seeds, points, dimension),) if hasattr(method, "own") else ()


def check_weight(weight: float) -> None:
    """Refuse a weight that is negative.

    Raises:
        ValueError: If it is.
    """
    if weight < 0:
        raise ValueError(f"weight must not be negative, as {weight} is")


def given(method: Method, network: Mapping[str, Any] | None = None) -> str:
    """Name what a method, and its network as a line of a study, are given; ``"data"`` where there is nothing more."""
    privileges = [catalogue.entries("needs")[name].privilege for name in sorted(method.needs)]
    if network is not None:
        privileges.append(getattr(catalogue.build("networks", "mlp", network), "privilege", ""))
    return " + ".join(["data", *filter(None, privileges)])


def inputs(method: Method) -> set[str]:
    """Tell which files of results bring what a method needs: ``observations``, and maybe others."""
    return {"observations", *(catalogue.entries("needs")[name].file for name in method.needs)}


def misfits(study: Any, place: str, method: Method) -> Iterator[str]:
    """Tell what a method, with its settings and their defaults, asks of the rest of a study in vain.

    Arguments:
        study: The study.
        place: The place of the method in it, e.g. ``"methods.baseline"``.
        method: The method.
    """
    known = catalogue.entries("needs")
    unknown = sorted(method.needs - known.keys())
    for need in unknown:
        near = catalogue.hint(need, known)
        yield f"{place}: nothing brings '{need}', which it needs{near}; there are {', '.join(known)}"
    needs = {name: known[name] for name in sorted(method.needs & known.keys())}
    lacking = {s: name for name, need in needs.items() for s in need.settings if not hasattr(method, s)}
    for setting, need in lacking.items():
        yield f"{place}: it needs '{need}', and has no setting '{setting}' to make it by; see training/needs/{need}.py"
    if unknown or lacking:
        return
    for name, data in study.data.items():
        for setting in LENGTHS:
            if (length := getattr(method, setting, None) or 0) >= study.in_a_row[name][0]:
                yield f"{place}.{setting}: {length} is too long for the orbits of data.{name}, {study.told(name)}"
        if (reason := getattr(method, "evenly", "")) and is_irregular(data):
            yield f"{place}: samples of data.{name} are missing or moved: {reason}; leave out one of the two"
        splined = next((name for name, need in needs.items() if need.splined), None)
        if splined and (fewest := study.fewest[name][0]) < LEAST_SMOOTHED:
            yield (
                f"{place}: it needs '{splined}', in which there are smoothing splines, and these need at least "
                f"{LEAST_SMOOTHED} samples of an orbit; one of data.{name} has {fewest}: lower missing, or raise "
                f"samples"
            )
    for system, data in product(study.measured, study.data):
        yield from _recorded_misfits(study, place, method, system, data)
    for name, need in needs.items():
        if need.privilege and study.fieldless:
            yield from _unknown_misfits(study, f"{place}: it needs '{name}' ({need.privilege})", "the method")
        found = (need.misfits(study, place, of) for of in (method, in_the_end(method)) if of)
        yield from dict.fromkeys(chain.from_iterable(found))
    if getattr(method, "smoothings", 0):
        yield from _smoothing_misfits(study, place, needs)
    if (label := place.partition(".")[2]) in study.networks_of:
        yield from _network_misfits(study, place, label)


def _recorded_misfits(study: Any, place: str, method: Method, system: str, data: str) -> Iterator[str]:
    """Tell what a method asks in vain of the recordings of a measured system."""
    where, line = f"systems.{system}", study.data[data]
    try:
        measured = study.entry("systems", system)
        regular = measured.is_regular(line)
    except ValueError:
        return  # said elsewhere
    for name in (*LENGTHS, "follow", "window"):
        if asked := getattr(method, name, None):
            yield from measured.too_short(asked, f"{place}.{name}", where, data, line)
    if (reason := getattr(method, "evenly", "")) and not regular:
        yield f"{place}: samples of {where} are at unequal intervals: {reason}; leave out one of the two"


def _unknown_misfits(study: Any, lacking: str, what: str) -> Iterator[str]:
    """Tell of which systems and data there is no true field to take something from."""
    for system, data in sorted(study.fieldless):
        if system in study.measured:
            yield f"{lacking}, and systems.{system} is measured: no truth is known; leave out {what}, or the system"
        else:
            yield (
                f"{lacking}, and data.{data} show states in part (components, delay): no true field is known of these; "
                f"leave out {what}, or the data"
            )


def _smoothing_misfits(study: Any, place: str, needs: Mapping[str, Any]) -> Iterator[str]:
    """Tell what cannot be smoothed, and what stays with the states that were observed."""
    for name, need in needs.items():
        if need.observed:
            yield (
                f"{place}.smoothings: it needs '{name}', which is known at the observed states, and smoothing moves "
                f"them; leave this out"
            )
    for name, data in study.data.items():
        if data.get("smooth"):
            yield (
                f"{place}.smoothings: the states of data.{name} are smoothing splines, whose errors are no white "
                f"noise; take data without smooth, or leave this out"
            )


def _network_misfits(study: Any, place: str, method: str) -> Iterator[str]:
    """Tell whether there is the network that a method trains, and the systems that it cannot be a field of."""
    label, labelled, names = study.networks_of[method], study.networks, catalogue.names("networks")
    if label not in (known := [*labelled, *names]):
        there = f"the section networks has {', '.join(labelled)}, the catalogue {', '.join(names)}"
        yield f"{place}.network: no network '{label}'{catalogue.hint(label, known)}; {there}"
        return
    try:
        network = catalogue.build("networks", label, study.network(method), where=f"{place}.network")
    except catalogue.StudyError as error:
        if label not in labelled:  # else it is said of its line
            yield str(error)
        return
    if hasattr(network, "known") and study.fieldless:
        yield from _unknown_misfits(study, f"{place}: network {label} builds upon the true equations", "the network")
        return
    for system in study.systems:
        try:
            learned = study.entry("systems", system)
        except catalogue.StudyError:
            continue  # said elsewhere
        try:
            network.check(learned.components)
            if hasattr(network, "known"):
                catalogue.build("systems", system, network.known(study.systems[system]), where="its equations")
        except ValueError as error:
            yield f"{place}: network {label} is none for systems.{system}: {error}"
