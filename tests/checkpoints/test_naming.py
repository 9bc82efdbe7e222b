"""Files of the official code, of MM 1.x and of the ports, made of our own models' tensors."""

import pytest
import torch
from torch import nn

from uniformer_mm.checkpoints import CheckpointError, load_pretrained
from uniformer_mm.checkpoints.loading import check_head_dim, match
from uniformer_mm.checkpoints.naming import to_model_names
from uniformer_mm.models import UniFormer, UniFormerLight

TINY = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}


def backbone(**options):
    torch.manual_seed(options.pop("seed", 0))
    return UniFormer(**{"arch": TINY, **options})


def whole(network, **heads):
    """A model of a codebase: a backbone, and heads by their dotted names."""
    model = nn.Module()
    model.backbone = network
    for name, head in heads.items():
        parent = model
        *path, last = name.split("__")
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(last, head)
    return model


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def check(model, state):
    """Everything of the model is found."""
    fitting, report = match(to_model_names(state, model.state_dict()), model.state_dict(), "file")
    assert not report.missing, report
    assert not report.misshapen, report
    assert not report.unexpected, report
    return fitting, report


@pytest.mark.parametrize("wrap", ["", "module."])
def test_official_image_classifier_fits_mmpretrain(wrap):
    model = whole(backbone(output_norm="batch"), head__fc=nn.Linear(32, 5))
    state = {**backbone(output_norm="batch", seed=1).state_dict()}
    state |= {"head.weight": torch.ones(5, 32), "head.bias": torch.ones(5)}
    fitting, _ = check(model, prefixed(state, wrap))
    assert fitting["head.fc.weight"].eq(1).all()


def test_official_token_labelling_file_fits_mmpretrain():
    heads = {"head__fc": nn.Linear(32, 5), "head__aux_fc": nn.Linear(32, 5)}
    model = whole(backbone(output_norm="batch"), **heads)
    state = dict(backbone(output_norm="batch").state_dict())
    state |= {f"{name}.weight": torch.ones(5, 32) for name in ("head", "aux_head")}
    state |= {f"{name}.bias": torch.ones(5) for name in ("head", "aux_head")}
    check(model, state)


def test_official_light_classifier_fits_and_its_class_token_head_too():
    light = {**TINY, "embed_dims": (16, 16, 32, 32)}
    network = UniFormerLight(light, output_norm="batch", class_token=True)
    model = whole(network, head__fc=nn.Linear(32, 5), head__class_token_fc=nn.Linear(32, 5))
    state = dict(network.state_dict())
    state |= {f"{name}.weight": torch.ones(5, 32) for name in ("head", "head_cls")}
    state |= {f"{name}.bias": torch.ones(5) for name in ("head", "head_cls")}
    check(model, state)
    # Dense models drop what only classifiers have.
    dense = UniFormerLight(light)
    fitting, report = match(to_model_names(state, dense.state_dict()), dense.state_dict(), "file")
    assert set(report.kept_at_init) == {
        f"norm{i}.{p}" for i in range(1, 5) for p in ("weight", "bias")
    }
    assert {"head_cls.weight", "norm_cls.weight", "norm.weight"} <= set(report.dropped)
    assert not report.unexpected
    assert "cls_token" in fitting


def test_slowfast_video_file_fits_mmaction():
    model = whole(backbone(dims=3), cls_head__fc_cls=nn.Linear(32, 5))
    state = {**backbone(dims=3, seed=1).state_dict()}
    state |= {"head.weight": torch.ones(5, 32), "head.bias": torch.ones(5)}
    check(model, state)
    check(
        model,
        {
            **prefixed(model.backbone.state_dict(), "backbone."),
            **{"cls_head.fc_cls.weight": torch.ones(5, 32), "cls_head.fc_cls.bias": torch.ones(5)},
        },
    )


def test_image_weights_inflate_into_a_whole_recognizer():
    model = whole(backbone(dims=3), cls_head__fc_cls=nn.Linear(32, 5))
    state = {**backbone(output_norm="batch").state_dict(), "head.weight": torch.ones(7, 32)}
    target = model.state_dict()
    fitting, report = match(to_model_names(state, target), target, "file", heads_may_differ=True)
    assert fitting["backbone.blocks1.0.attn.weight"].shape[2] == 5
    assert {"cls_head.fc_cls.weight", "cls_head.fc_cls.bias"} <= set(report.kept_at_init)
    assert not report.missing


def test_pose_file_of_mm_1_fits_mmpose():
    model = whole(backbone(out_indices=(3,)), head__final_layer=nn.Conv2d(32, 17, 1))
    state = prefixed(backbone().state_dict(), "backbone.")
    state |= prefixed(nn.Conv2d(32, 17, 1).state_dict(), "keypoint_head.final_layer.")
    _, report = check(model, state)
    assert {f"backbone.norm{i}.weight" for i in (1, 2, 3)} <= set(report.dropped)


def test_detection_and_segmentation_files_of_mm_1_fit_as_they_are():
    model = whole(backbone(), decode_head__conv_seg=nn.Conv2d(32, 5, 1))
    check(model, prefixed(model.state_dict(), "module."))


def test_a_backbone_takes_its_part_of_a_whole_file(tmp_path):
    model = whole(backbone(seed=1), neck__conv=nn.Conv2d(3, 3, 1))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "detector.pth")
    network = backbone()
    load_pretrained(network, str(tmp_path / "detector.pth"))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[name])


def test_safetensors_files_are_read(tmp_path):
    from safetensors.torch import save_file

    source = backbone(seed=1)
    save_file(
        {k: v.contiguous() for k, v in source.state_dict().items()}, tmp_path / "a.safetensors"
    )
    network = backbone()
    load_pretrained(network, str(tmp_path / "a.safetensors"))
    assert torch.equal(network.norm4.weight, source.norm4.weight)
    (tmp_path / "b.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*b\.safetensors"):
        load_pretrained(network, str(tmp_path / "b.safetensors"))


@pytest.mark.parametrize(
    "file",
    [
        "uniformer_small_plus_in1k.pth",
        "weights/uniformer_small_tl_224.pth",
        "https://host/uniformer_base_tl_384.pth",
    ],
)
def test_another_head_dim_than_that_of_a_published_file_is_refused(file):
    with pytest.raises(CheckpointError, match="set head_dim=32 in the backbone"):
        check_head_dim(file, 64)
    check_head_dim(file, 32)


def test_the_head_dim_of_ported_files_is_known_and_of_others_is_not():
    with pytest.raises(CheckpointError, match="attention heads of 64 channels, the model has 32"):
        check_head_dim("uniformer_small_in1k_20221219-fe0a7ae0.pth", 32)
    check_head_dim("uniformer_small_in1k_of_mine.pth", 32)
    check_head_dim("uniformer_small_in1k.pth", None)
