# Settings of parameters, for an optimizer to take (`_base_.pop("slow_backbone")`): a pretrained
# backbone has a tenth of the learning rate, and its norms do not decay. The longest of the names
# that are part of a parameter's name applies.
norm = dict(lr_mult=0.1, decay_mult=0.0)
slow_backbone = {
    "backbone": dict(lr_mult=0.1),
    "backbone.norm": norm,
    **{f"patch_embed{stage}.norm": norm for stage in range(1, 5)},
    **{f"blocks{stage}.{block}.norm": norm for stage in range(1, 5) for block in range(20)},
}
del norm
