"""Repairs of the OpenMMLab 2.x stack on current torch, applied by `import uniformer_mm`.

The last releases of mmengine, mmcv and the codebases predate torch 2.6, setuptools 82 and Python
3.12. Each module here repairs one defect: it names the defect and the versions, does nothing where
the defect is absent, and leaves a healthy installation (a compiled mmcv, a complete mmaction2) in
charge. What replaces a missing module lies in `stand_ins`.
"""

from uniformer_mm.compat import (
    checkpoint_config_runs,
    checkpoint_url_weights_only,
    checkpoint_weights_only,
    config_formatting,
    ema_of_tta_model,
    fsdp_argument_order,
    import_warnings,
    mmaction_decord_only,
    mmaction_drn_missing,
    mmaction_inferencer_classes,
    mmaction_multi_label_scores,
    mmcv_ext_missing,
    mmpose_circle_radius,
    mmpose_stated_size,
    mmpretrain_hidden_folders,
    mmseg_inferencer_classes,
    multimodal_imports,
    pkg_resources_missing,
    pycocotools_short_polygons,
    xtcocotools_missing,
    yaml_safe,
)

REPAIRS = (
    import_warnings,
    pkg_resources_missing,
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
    mmpose_stated_size,
    pycocotools_short_polygons,
    config_formatting,
    yaml_safe,
    checkpoint_config_runs,
)


def repair_stack() -> None:
    """Apply every repair; a second call changes nothing."""
    for repair in REPAIRS:
        repair.apply()
