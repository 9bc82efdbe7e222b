# UniFormer-S with its ImageNet weights, for a model base to take (`_base_.pop("backbone")`): the
# resolved config has it in `model` only. Configs of other archs override `arch` and the weights.
_base_ = ["./imagenet_weights.py"]

backbone = dict(
    _delete_=True,
    type="mmengine.UniFormer",
    dims=2,
    arch="small",
    init_cfg=dict(type="Pretrained", checkpoint=_base_.imagenet_small),
)
