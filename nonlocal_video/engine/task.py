"""What the loops know of a task and of a network. Whatever has these parts fits; nothing has to derive from them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from nonlocal_video.types import Failure, ParameterGroup

Call = Callable[..., Any]
"""Runs the network's forward pass at the precision of the run."""


class Batch(Protocol):
    """What a step is made of, on one rank; what else is in it is between the task and its data."""

    @property
    def size(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """Of what it was made of, for people."""

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
        """Of what was judged."""

    def compute(self) -> dict[str, float]:
        """Named numbers; of all ranks once they are reduced."""


class Task(Protocol):
    """What a network is taught, and what it is judged by while it trains."""

    @property
    def unit(self) -> str:
        """What a batch holds, in the plural."""

    @property
    def source(self) -> str:
        """What those are made from and lists name, in the plural."""

    @property
    def shown(self) -> Mapping[str, str]:
        """The named sums of `loss`, in their order, and the words that show the mean of each: "top-1 {:.1f}%"."""

    @property
    def number(self) -> str:
        """The one of `Validation.compute` that says which network is the best."""

    @property
    def higher_is_better(self) -> bool:
        """Of that number."""

    def split(self, batch: Any, passes: int) -> Sequence[Any]:
        """The batches that pass through the network one after the other; together they are this batch."""

    def loss(self, call: Call, batch: Any) -> tuple[Tensor, Tensor]:
        """The mean loss of a batch, and the sums of `shown`, float64 on the device."""

    def forward(self, call: Call, batch: Any) -> Any:
        """The same pass without a loss, for what listens inside the network."""

    def validation(self) -> Validation:
        """A new one."""

    def pictures(self, batch: Any) -> Mapping[str, Tensor]:
        """What a batch looks like: named pictures (3, H, W) uint8."""


class Judge(Protocol):
    """Tests a network on one item after the other; a device may be at the next item before the last one is read."""

    def begin(self, item: Any) -> Any:
        """Gives the device its work; what `finish` takes."""

    def finish(self, pending: Any) -> "Outcome | Failure": ...


class Outcome(Protocol):
    """What a test says of one item."""

    @property
    def name(self) -> str: ...

    def to_json(self) -> dict[str, Any]:
        """In plain values."""


class Network(Protocol):
    """A module, and what a loop has to know of it."""

    def groups(self, *, backbone_lr: float = 1.0) -> Sequence[ParameterGroup]:
        """All parameters that are trained; `backbone_lr` is the factor of the rate of all but the head."""

    def train_mode(self) -> None:
        """Training mode, but for what is not trained."""

    def plain_options(self) -> dict[str, Any]:
        """All that it takes to build it again."""

    def smallest_side(self) -> int:
        """Of the inputs that it takes in training, in pixels."""

    def compiled(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call with what can be compiled compiled."""
