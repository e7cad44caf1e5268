"""Train image models on labels that form a tree.

    import hypernym as hn

    hn.prepare("photos", "dataset")
    hn.tree.build("dataset")
    hn.pretrain("dataset", "run")

Each verb is a command of the command line, with the same options; what it needs is imported when it
is first used. The many options of `pretrain` are one object, `PretrainConfig`, and so
are those of `transfer`. `load` gives a trained model to be asked about pictures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "PretrainConfig",
    "TransferConfig",
    "compare",
    "demo",
    "evaluate",
    "export",
    "load",
    "predict",
    "prepare",
    "pretrain",
    "serve",
    "transfer",
    "tree",
    "verify",
]
ELSEWHERE = {
    "PretrainConfig": "training.config",
    "TransferConfig": "downstream.config",
    "load": "prediction.predictor",
}
"""Where those names are kept that are no commands."""

if TYPE_CHECKING:
    from hypernym.commands import tree
    from hypernym.commands.compare import compare
    from hypernym.commands.demo import demo
    from hypernym.commands.evaluate import evaluate
    from hypernym.commands.export import export
    from hypernym.commands.predict import predict
    from hypernym.commands.prepare import prepare
    from hypernym.commands.pretrain import pretrain
    from hypernym.commands.serve import serve
    from hypernym.commands.transfer import transfer
    from hypernym.commands.verify import verify
    from hypernym.downstream.config import TransferConfig
    from hypernym.prediction.predictor import load
    from hypernym.training.config import PretrainConfig


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a verb, or the module of a family of verbs
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{ELSEWHERE.get(name, f'commands.{name}')}")
    return getattr(module, name, module)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
