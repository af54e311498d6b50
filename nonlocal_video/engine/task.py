"""The parts of a task and of a network that the loops know. Whatever has them fits; nothing has to derive from them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from nonlocal_video.types import Failure, ParameterGroup

Call = Callable[..., Any]
"""Runs the network's forward pass at the precision of the run."""


class Batch(Protocol):
    """The items of a step on one rank, and the names of what they were made of; the rest is the task's."""

    @property
    def size(self) -> int: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def failures(self) -> Sequence[Failure]: ...


class Validation(Protocol):
    """Judges a network while it trains.

    `update` takes batches, perhaps of failures only, `count` says how many items were judged, and `compute` gives named
    numbers: those of all ranks after `reduce`, which all of them call once.
    """

    def update(self, call: Call, batch: Any) -> None: ...
    def reduce(self) -> None: ...
    @property
    def count(self) -> int: ...
    def compute(self) -> dict[str, float]: ...


class Task(Protocol):
    """The loss that a network is trained with, and how it is judged meanwhile.

    `unit` and `source` are the words for what a batch holds and for what lists name, in the plural. `shown` names the
    sums of `loss`, in their order, with words that show the mean of each, such as "top-1 {:.1f}%". `number` is the key
    of a validation's numbers that says which network is the best.
    """

    @property
    def unit(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def shown(self) -> Mapping[str, str]: ...
    @property
    def number(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...
    def validation(self) -> Validation: ...

    def split(self, batch: Any, passes: int) -> Sequence[Any]:
        """Cuts a batch into those that pass through the network one after another."""

    def loss(self, call: Call, batch: Any) -> tuple[Tensor, Tensor]:
        """The mean loss of a batch, and the sums of `shown`, float64 on the device."""

    def forward(self, call: Call, batch: Any) -> Any:
        """Runs a batch through the network without a loss, for what listens inside the network."""

    def pictures(self, batch: Any) -> Mapping[str, Tensor]:
        """Named pictures (3, H, W) uint8 that show a batch."""


class Judge(Protocol):
    """Tests a network on one item after another; a device may be at the next item before the last one is read.

    `begin` gives the device its work, and what it returns goes to `finish`.
    """

    def begin(self, item: Any) -> Any: ...
    def finish(self, pending: Any) -> "Outcome | Failure": ...


class Outcome(Protocol):
    """A test's result for one item; `to_json` gives it in plain values."""

    @property
    def name(self) -> str: ...
    def to_json(self) -> dict[str, Any]: ...


class Network(Protocol):
    """A module that can be trained.

    `groups` has all parameters that are trained, where `backbone_lr` is the factor of the rate of all but the head;
    `train_mode` is training mode but for what is not trained; `compiled` compiles what can be compiled of a call.
    `plain_options` build it again, and `smallest_side` is that of the inputs it takes in training, in pixels.
    """

    def groups(self, *, backbone_lr: float = 1.0) -> Sequence[ParameterGroup]: ...
    def train_mode(self) -> None: ...
    def compiled(self, call: Callable[..., Any]) -> Callable[..., Any]: ...
    def plain_options(self) -> dict[str, Any]: ...
    def smallest_side(self) -> int: ...
