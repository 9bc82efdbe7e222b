"""mmengine's FSDPStrategy cannot load the state of an optimizer.

Defect: it calls torch's `optim_state_dict_to_load` with state, model and optimizer in this order;
    since torch 2.1 the model is the first one.
Versions: mmengine 0.10.7 with torch 2.1 and later.
Shows as: `TypeError: unhashable type: 'dict'` when training with FSDP is resumed.
Repair: the arguments are named.
Upstream: https://github.com/pytorch/pytorch/issues/105727
"""

from types import ModuleType
from typing import Any

from uniformer_mm.compat.patching import wrap


def patch(module: ModuleType) -> None:
    """Replace the method."""
    wrap(module.FSDPStrategy, "load_optim_state_dict", _load_optim_state_dict)


def _load_optim_state_dict(_: Any, self: Any, state_dict: dict[str, Any]) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    wrapper = self.optim_wrapper
    wrapper.load_state_dict(
        FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=wrapper.optimizer, optim_state_dict=state_dict
        )
    )


PATCHES = {"mmengine._strategy.fsdp": patch}
