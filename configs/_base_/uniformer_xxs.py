# UniFormer-XXS with its ImageNet weights, to be taken as UniFormer-S is from uniformer_s.py.
_base_ = ["./imagenet_weights_light.py"]

backbone = dict(
    _delete_=True,
    type="mmengine.UniFormerLight",
    arch="xxs",
    init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_xxs_224),
)
