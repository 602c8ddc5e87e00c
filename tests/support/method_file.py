"""Write the file of a method that is the baseline, and does something else first in each of its steps."""

from pathlib import Path

METHOD = '''"""The baseline, and what a test wants of a step."""

from dataclasses import dataclass
from pathlib import Path

import torch

from catchup_bench.method import Method, one_hot, soft_loss


@dataclass(frozen=True, kw_only=True)
class Stepping(Method):
    """The baseline."""

    title, paper, year, level = "Stepping", "none", 2026, "input"

    def loss(self, net, x, y, plan, gen):
        {step}
        return soft_loss(net(x), one_hot(y, net.num_classes))
'''


def write_method(path: Path, *step: str) -> str:
    """Write the method, whose ``step`` begins with these lines, and return its path."""
    path.write_text(METHOD.format(step="\n        ".join(step)), encoding="utf-8")
    return str(path)
