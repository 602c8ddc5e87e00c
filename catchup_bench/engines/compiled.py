"""Training steps whose network is compiled by ``torch.compile``: layers that only pass over memory become one pass.

The first step of each plan waits for its compilation; torch keeps what it compiled for later runs. The sums are added
in another order than the eager ones, so a compiled run has other weights than an eager one, and ``training.json`` says
``compile``.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import RunFailed
from ..models import StagedNet
from .capture import Step, reason

PLANS = 64
"""Forms of a network that are kept, by plan and mode; torch's own limit, above which it gives up, is 8."""


class Compiled:
    """Steps of one training. Batches of another shape than the first, such as the last one of an epoch, run eagerly:
    they are too few to wait for."""

    def __init__(self, step: Step, net: StagedNet, gen: torch.Generator) -> None:
        import torch._dynamo

        torch._dynamo.config.recompile_limit = PLANS
        self.step, self.net, self.gen = step, net, gen
        # not dynamic: after features of a second stage torch would compile for sizes that it does not know
        self.forward = torch.compile(net.forward, dynamic=False)
        self.shape: torch.Size | None = None

    def __call__(self, x: Tensor, y: Tensor, plan: Any, lr: float) -> Tensor:
        """Take one update; return the detached loss, still on the device. Raises :class:`RunFailed` when torch cannot
        compile."""
        return self.take(x, y, plan, self.gen, lr)

    def take(self, x: Tensor, y: Tensor, plan: Any, gen: torch.Generator, lr: float | Tensor) -> Tensor:
        """Return the same as a :class:`Step`, which can be captured."""
        if self.shape is None:
            self.shape = x.shape
        if x.shape != self.shape:
            return self.step(x, y, plan, gen, lr)
        with self.compiled():
            return self.step(x, y, plan, gen, lr)

    @contextmanager
    def compiled(self) -> Iterator[None]:
        """Compile the network's passes within; elsewhere they are eager, so that it is evaluated eagerly."""
        own = vars(self.net)
        own["forward"] = self.forward
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # torch's look
                yield
        except torch._dynamo.exc.TorchDynamoException as err:
            why = reason(err).split(" Set TORCHDYNAMO_VERBOSE")[0]
            raise RunFailed(f"torch.compile cannot compile this ({why}): use --engine eager") from err
        finally:
            del own["forward"]

    def facts(self) -> dict[str, Any]:
        """Return how the steps were run."""
        return {"engine": "compile"}
