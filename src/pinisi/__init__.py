"""Trains, adapts and judges language models with large vocabularies, in your languages.

    from pinisi import load, run

    result = run(load("run.toml"))
    result.export("model")

Names are imported when they are first used, so that `import pinisi` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinisi.config import RunConfig, configure, load
    from pinisi.cookbook.run import run
    from pinisi.engine.engine import Engine
    from pinisi.train.export import export
    from pinisi.train.result import Result
    from pinisi.train.saved import resume_engine, save_engine
    from pinisi.train.task import Task
    from pinisi.train.tasks.distill import Distill
    from pinisi.train.tasks.dpo import Dpo
    from pinisi.train.tasks.pretrain import Pretrain
    from pinisi.train.tasks.sft import Sft
    from pinisi.train.trainer import Trainer

__version__ = "0.1.0"

_MODULES = {
    "Distill": "train.tasks.distill",
    "Dpo": "train.tasks.dpo",
    "Engine": "engine.engine",
    "Pretrain": "train.tasks.pretrain",
    "Result": "train.result",
    "RunConfig": "config",
    "Sft": "train.tasks.sft",
    "Task": "train.task",
    "Trainer": "train.trainer",
    "configure": "config",
    "export": "train.export",
    "load": "config",
    "resume_engine": "train.saved",
    "run": "cookbook.run",
    "save_engine": "train.saved",
}

__all__ = [
    "Distill",
    "Dpo",
    "Engine",
    "Pretrain",
    "Result",
    "RunConfig",
    "Sft",
    "Task",
    "Trainer",
    "__version__",
    "configure",
    "export",
    "load",
    "resume_engine",
    "run",
    "save_engine",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pinisi.{_MODULES[name]}"), name)
