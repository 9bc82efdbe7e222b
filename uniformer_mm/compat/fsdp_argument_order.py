"""mmengine's FSDPStrategy cannot load the state of an optimizer.

Defect: it calls torch's `optim_state_dict_to_load` with state, model and optimizer in this order;
    since torch 2.1 the model is the first one.
Versions: mmengine 0.10.7 with torch 2.1 and later.
Shows as: `TypeError: unhashable type: 'dict'` when training with FSDP is resumed.
Repair: the arguments are named.
Upstream: https://github.com/pytorch/pytorch/issues/105727
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uniformer_mm.compat.after_import import repair_after_import

STRATEGY = "mmengine._strategy.fsdp"


def apply() -> None:
    """Repair the strategy as soon as it is imported."""
    repair_after_import(STRATEGY, repair)


def is_active() -> bool:
    """Whether mmengine has the strategy: every version that we take has the defect."""
    return find_spec(STRATEGY) is not None


def repair(module: ModuleType) -> None:
    """Exchange the method."""
    module.FSDPStrategy.load_optim_state_dict = _load_optim_state_dict


def _load_optim_state_dict(self: Any, state_dict: dict[str, Any]) -> None:
    """Load the state of an optimizer, sharded as its parameters are."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    wrapper = self.optim_wrapper
    wrapper.load_state_dict(
        FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=wrapper.optimizer, optim_state_dict=state_dict
        )
    )
