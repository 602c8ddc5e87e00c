"""catchup-bench: a robustness benchmark and leaderboard for mixup training."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import board, corrupt, evaluate, load, train
    from .training.own_loop import LoopMethod

__version__ = "0.1.0"

__all__ = ["__version__", "board", "corrupt", "evaluate", "load", "method", "train"]

_HERE = Path(__file__).resolve().parent

if not (_HERE / "methods" / "__init__.py").exists():  # a source checkout: methods/ sits beside this package
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first used, as it takes torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(".method", __name__) if name == "method" else getattr(import_module(".api", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Method(ModuleType):
    """The module ``method``, the contract of methods: its name is also that of a function of the Python API."""

    def __call__(self, name: str, *, seed: int = 0, normalise: str = "none", **options: Any) -> "LoopMethod":
        from .api import method

        return method(name, seed=seed, normalise=normalise, **options)


class _Package(ModuleType):
    """This package. Whoever imports its module ``method`` gets one that can be called."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "method":
            value.__class__ = _Method
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
