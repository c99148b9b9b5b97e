"""What runs a network: one protocol, one module per runtime.

What lives here: the protocol and the description of tensors. The rule: a backend turns its
library's exceptions into ours and knows nothing of pictures, labels or heads.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

Tensor = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output: name, shape (None where a side is free) and element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Backend(Protocol):
    """A loaded network. Thread: `run` may be called from any number of threads at once."""

    @property
    def name(self) -> str:
        """Return the runtime, its version and what it runs on."""
        ...

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Return the inputs, in the model's order."""
        ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the outputs, in the model's order."""
        ...

    def run(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every output by name.

        Raises:
            RunFailed: This run failed; the next one may work.
            BackendUnavailable: The accelerator is gone.
        """
        ...
