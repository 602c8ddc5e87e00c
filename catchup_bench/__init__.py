"""catchup-bench: a robustness benchmark and leaderboard for mixup training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import board, corrupt, evaluate, load, train

__version__ = "0.1.0"

__all__ = ["__version__", "board", "corrupt", "evaluate", "load", "method", "train"]

_HERE = Path(__file__).resolve().parent

if not (_HERE / "methods" / "__init__.py").exists():  # a source checkout: methods/ sits beside this package
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first used, as it takes torch. ``method`` is a module that can be called."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(".method", __name__) if name == "method" else getattr(import_module(".api", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
