# No published result: SimCC (arXiv 2107.03332), which classifies the columns and rows of joints.
_base_ = ["../_base_/coco_keypoints.py"]

bins = dict(type="SimCCLabel", input_size=(192, 256), sigma=6.0, simcc_split_ratio=2.0)
codec = dict(bins, _delete_=True)

model = dict(
    head=dict(
        _delete_=True,
        type="SimCCHead",
        in_channels=512,
        out_channels=17,
        input_size=bins["input_size"],
        in_featuremap_size=(6, 8),
        simcc_split_ratio=bins["simcc_split_ratio"],
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=bins,
    ),
    test_cfg=dict(_delete_=True, flip_test=True),
)
_base_.train_pipeline[-2].encoder = bins
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
del bins
