"""Repairs of the OpenMMLab 2.x stack on current torch, applied by `import uniformer_mm`.

The last releases of mmengine, mmcv and the codebases predate torch 2.6, setuptools 82 and Python
3.12. Each module here repairs one defect: it names the defect and the versions, does nothing where
the defect is absent, and never changes a healthy installation (a compiled mmcv, a complete
mmaction2). It has one or more of

- `PATCHES`: functions by the module that they patch once it has been imported;
- `CONTEXTS`: context managers by the module that is executed in them;
- `STAND_INS`: files of `stand_ins` by the module that they replace where it is missing;
- `apply()`: what is done immediately;
- `is_active()`, where it is not obvious whether the defect exists in this environment.
"""

import os
from importlib.util import find_spec
from types import ModuleType

from uniformer_mm.compat import (
    checkpoint_config_runs,
    checkpoint_url_weights_only,
    checkpoint_weights_only,
    config_formatting,
    ema_of_tta_model,
    fsdp_argument_order,
    import_warnings,
    logged_warnings,
    mim_without_weights,
    mmaction_decord_only,
    mmaction_drn_missing,
    mmaction_inferencer_classes,
    mmaction_multi_label_scores,
    mmcv_ext_missing,
    mmcv_upper_bound,
    mmdet_half_precision_rois,
    mmdet_mask_outside_image,
    mmdet_rtmdet_mask_size,
    mmdet_ssd_loss,
    mmpose_circle_radius,
    mmpose_keypoint_order,
    mmpose_stated_size,
    mmpretrain_hidden_folders,
    mmseg_fork_name,
    mmseg_inferencer_classes,
    multimodal_imports,
    package_configs,
    pkg_resources_missing,
    pycocotools_short_polygons,
    torchvision_av_logging,
    xtcocotools_missing,
    yaml_safe,
)
from uniformer_mm.compat.patching import import_in_context, patch_after_import
from uniformer_mm.compat.supplying import supplies, supply

REPAIRS = (
    import_warnings,
    pkg_resources_missing,
    mmseg_fork_name,
    mmcv_upper_bound,
    mmcv_ext_missing,
    mmaction_drn_missing,
    multimodal_imports,
    checkpoint_weights_only,
    checkpoint_url_weights_only,
    mmseg_inferencer_classes,
    mmaction_inferencer_classes,
    mmaction_multi_label_scores,
    mmpretrain_hidden_folders,
    mmaction_decord_only,
    fsdp_argument_order,
    xtcocotools_missing,
    mmpose_circle_radius,
    ema_of_tta_model,
    mmdet_half_precision_rois,
    mmdet_mask_outside_image,
    mmdet_ssd_loss,
    mmpose_stated_size,
    mmpose_keypoint_order,
    mmdet_rtmdet_mask_size,
    pycocotools_short_polygons,
    config_formatting,
    yaml_safe,
    checkpoint_config_runs,
    package_configs,
    logged_warnings,
    mim_without_weights,
    torchvision_av_logging,
)


NO_PATCH = "UNIFORMER_MM_NO_PATCH"
"""Environment variable: with a value other than 0, the stack is not repaired."""


def repair_stack() -> None:
    """Apply every repair unless `UNIFORMER_MM_NO_PATCH` is set; a second call changes nothing."""
    if os.environ.get(NO_PATCH, "0") not in ("", "0"):
        return
    for repair in REPAIRS:
        apply(repair)


def apply(repair: ModuleType) -> None:
    """Apply one repair."""
    for module, patch in getattr(repair, "PATCHES", {}).items():
        patch_after_import(module, patch)
    for module, context in getattr(repair, "CONTEXTS", {}).items():
        import_in_context(module, context)
    for module, stand_in in getattr(repair, "STAND_INS", {}).items():
        supply(module, stand_in)
    if hasattr(repair, "apply"):
        repair.apply()


def is_active(repair: ModuleType) -> bool:
    """Whether a repair has something to do in this environment."""
    if hasattr(repair, "is_active"):
        return repair.is_active()
    if hasattr(repair, "STAND_INS"):
        return any(map(supplies, repair.STAND_INS))
    packages = {module.partition(".")[0] for module in getattr(repair, "PATCHES", {"mmengine": 0})}
    return any(find_spec(package) is not None for package in packages)
