"""What the loops know of a task and of a network. Whatever has these parts fits; nothing has to derive from them."""

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
    """Judges a network while it trains."""

    def update(self, call: Call, batch: Any) -> None:
        """Takes a batch, perhaps one of failures only."""

    def reduce(self) -> None:
        """Puts together what all ranks have; called once, by all of them."""

    @property
    def count(self) -> int:
        """How many items were judged."""

    def compute(self) -> dict[str, float]:
        """Named numbers; of all ranks once they are reduced."""


class Task(Protocol):
    """The aim that a network is taught, and how it is judged while it trains."""

    @property
    def unit(self) -> str:
        """The word for what a batch holds, in the plural."""

    @property
    def source(self) -> str:
        """The word for what a list names, in the plural."""

    @property
    def shown(self) -> Mapping[str, str]:
        """The named sums of `loss`, in their order, and the words that show the mean of each: "top-1 {:.1f}%"."""

    @property
    def number(self) -> str:
        """The key of `Validation.compute` that says which network is the best."""

    @property
    def higher_is_better(self) -> bool: ...

    def split(self, batch: Any, passes: int) -> Sequence[Any]:
        """Cuts a batch into those that pass through the network one after another."""

    def loss(self, call: Call, batch: Any) -> tuple[Tensor, Tensor]:
        """The mean loss of a batch, and the sums of `shown`, float64 on the device."""

    def forward(self, call: Call, batch: Any) -> Any:
        """Runs a batch through the network without a loss, for what listens inside the network."""

    def validation(self) -> Validation:
        """Begins a validation."""

    def pictures(self, batch: Any) -> Mapping[str, Tensor]:
        """Named pictures (3, H, W) uint8 that show a batch."""


class Judge(Protocol):
    """Tests a network on one item after another; a device may be at the next item before the last one is read."""

    def begin(self, item: Any) -> Any:
        """Gives the device its work; what `finish` takes."""

    def finish(self, pending: Any) -> "Outcome | Failure": ...


class Outcome(Protocol):
    """A test's result for one item; `to_json` gives it in plain values."""

    @property
    def name(self) -> str: ...
    def to_json(self) -> dict[str, Any]: ...


class Network(Protocol):
    """A module that can be trained."""

    def groups(self, *, backbone_lr: float = 1.0) -> Sequence[ParameterGroup]:
        """All parameters that are trained; `backbone_lr` is the factor of the rate of all but the head."""

    def train_mode(self) -> None:
        """Training mode, but for what is not trained."""

    def compiled(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles what can be compiled of a call."""
