"""Stand-in for `mmaction.models.localizers.drn.drn`."""

from typing import Any

from mmaction.registry import MODELS
from torch import nn


@MODELS.register_module()
class DRN(nn.Module):
    """Dense Regression Network, whose code is not in the wheel of mmaction2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raise NotImplementedError."""
        raise NotImplementedError(
            "DRN is missing from the wheel of mmaction2 1.2.0. Install mmaction2 from a checkout "
            "of its repository (pip install -e .) to use it."
        )
