"""Layer-wise decay of the learning rate for the models of every codebase."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from uniformer_mm.errors import UserError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Multiply the learning rate by `layer_decay_rate` per layer between a parameter and the head.

    As in BEiT (arXiv 2106.08254): with D depths, a parameter at depth d has the factor
    `layer_decay_rate ** (D - 1 - d)`. Depths are those of `get_layer_depth` of the backbone; what
    is outside of it has the full rate. mmpretrain's LearningRateDecayOptimWrapperConstructor does
    the same for its classifiers only; those of the other codebases know the names of parameters of
    other backbones.

    ``optim_wrapper = dict(constructor="mmengine.LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay_rate=0.8, norm_decay_mult=0.0))``

    Args:
        optim_wrapper_cfg: As in the base class.
        paramwise_cfg: `layer_decay_rate`, and any settings of the base class, whose `lr_mult`
            multiply the rate as well.

    Raises:
        UserError: The model has no backbone that knows the depths of its parameters.
    """

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, prefix: str = "", **options: Any
    ) -> None:
        """Add a group per parameter."""
        super().add_params(params, module, prefix, **options)
        if prefix:  # of a part of the model
            return
        backbone: Any = getattr(module, "backbone", None)
        if not hasattr(backbone, "get_layer_depth"):
            raise UserError(
                f"LayerDecayConstructor needs a backbone with get_layer_depth, which"
                f" {type(backbone).__name__} of {type(module).__name__} does not have: remove"
                " optim_wrapper.constructor"
            )
        rate = self.paramwise_cfg.get("layer_decay_rate", 1.0)
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        for group in params:
            depth, count = backbone.get_layer_depth(names[id(group["params"][0])], "backbone.")
            group["lr"] = group.get("lr", self.base_lr) * rate ** (count - 1 - depth)
