"""A user's mistakes become one line; bugs keep their traceback."""

import errno
import json
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from running import run_forked
from torch import distributed, nn

import uniformer_mm  # noqa: F401
from uniformer_mm.apis.cli import run_tool
from uniformer_mm.apis.convert import build_empty_model
from uniformer_mm.apis.diagnosis import diagnose
from uniformer_mm.errors import UserError


def raised(error, cause=None):
    """An error with its traceback, raised while another one was handled."""
    try:
        try:
            raise cause or KeyError
        except BaseException:
            raise error  # noqa: B904
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("cause", "facts"),
    [
        (RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. "), "pid 17"),
        (OSError(errno.ENOSPC, "No space left on device", "a.pth"), "a.pth: No space left"),
        (UserError("no image at a.jpg"), "no image at a.jpg"),
        (AttributeError("failed to load image: a.jpg"), "a.jpg cannot be read"),
    ],
)
def test_causes_from_outside_the_code_explain_the_errors_that_follow(cause, facts):
    assert facts in diagnose(cause)
    assert facts in diagnose(raised(SyntaxError("Failed to format the config file"), cause))


def test_a_bug_is_not_explained_by_an_error_that_was_being_handled():
    with pytest.raises(KeyError) as unknown:
        MODELS.build({"type": "Nowhere"})
    assert "Nowhere" in diagnose(unknown.value)
    bug = AttributeError("'NoneType' object has no attribute")
    assert diagnose(raised(bug, unknown.value)) == ""


def test_control_characters_do_not_reach_the_terminal(capsys):
    def main():
        raise UserError("cannot read \x1b[31mred\x07.pth\nsecond line \udcff")

    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: cannot read ?[31mred?.pth\nsecond line ?\n"


@MODELS.register_module()
class OwnHead(nn.Module):
    """Code of a user's own."""

    def __init__(self, width, mode="sound"):
        super().__init__()
        if mode == "absent":
            self.nothing  # noqa: B018
        elif mode == "refused":
            torch.optim.SGD([torch.zeros(1)], lr=-1)
        elif mode == "inner":
            MODELS.build({"type": "mmengine.UniFormer", "arch": "tiny"})


def build(model):
    """Build a model as the tools do."""
    return build_empty_model(Config({"default_scope": "mmengine", "model": model}))


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        ({"width": 1, "height": 1}, "OwnHead: TypeError.*'height'"),
        ({}, "OwnHead: TypeError.*'width'"),
        ({"type": "Nowhere"}, "Nowhere: KeyError"),
        ({"type": "UniFormer", "arch": "tiny"}, "UniFormer: ValueError: arch .*'tiny'"),
    ],
)
def test_options_that_a_type_refuses_are_a_fault_of_the_config(config, facts):
    with pytest.raises(UserError, match=facts):
        build({"type": "OwnHead", **config})


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("absent", AttributeError), ("refused", ValueError), ("inner", ValueError)],
)
def test_errors_in_a_users_own_code_are_raised_as_they_are(mode, kind):
    with pytest.raises(kind) as caught:
        build({"type": "OwnHead", "width": 1, "mode": mode})
    (hint,) = caught.value.__notes__
    assert hint.startswith("hint: ")
    assert diagnose(caught.value) == ""


ARCH = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}
UNIFORMER = {"type": "mmengine.UniFormer", "arch": ARCH}


def read(config, **backbone):
    """The model of a config of mmdet or mmseg, narrow and on a UniFormer."""
    scope = config.split("::")[0]
    pytest.importorskip(scope)
    init_default_scope(scope)
    cfg = get_config(config).model
    cfg.pop("pretrained", None)
    cfg.data_preprocessor = None
    cfg.backbone = {**UNIFORMER, **backbone}
    return cfg


def make_retinanet(remedy=False):
    cfg = read("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
    cfg.neck.update(in_channels=[16, 16, 32, 32], out_channels=16)
    cfg.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=2)
    if remedy:
        cfg.backbone.out_indices = (1, 2, 3)
        cfg.neck.update(in_channels=[16, 32, 32], start_level=0)
    return MODELS.build(cfg)


def make_pspnet(remedy=False):
    cfg = read("mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py")
    norm = {"type": "BN"}
    cfg.decode_head.update(in_channels=32, channels=16, norm_cfg=norm, in_index=3)
    cfg.auxiliary_head.update(in_channels=32, channels=16, norm_cfg=norm, in_index=2)
    if remedy:
        cfg.backbone.out_indices = (2, 3)
        cfg.decode_head.in_index, cfg.auxiliary_head.in_index = 1, 0
    return MODELS.build(cfg)


def detection_sample():
    from mmdet.structures import DetDataSample

    shape = (64, 64)
    sample = DetDataSample(
        metainfo={
            **dict.fromkeys(("img_shape", "batch_input_shape", "ori_shape", "pad_shape"), shape),
            "scale_factor": (1.0, 1.0),
        }
    )
    boxes = torch.tensor([[4.0, 4, 40, 40]])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0]))
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return sample


def segmentation_sample():
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo={"img_shape": (64, 64)})
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 64, 64, dtype=torch.long))
    return sample


CASES = {
    "RetinaNet": (make_retinanet, detection_sample, 1),
    "PSPNet": (make_pspnet, segmentation_sample, 2),
}


def process(rank, folder):
    """Diagnoses of two iterations of each model, as its config stands and with the remedy."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    diagnoses = {}
    for name, (make, sample, _) in CASES.items():
        diagnoses[name] = []
        for remedy in (False, True):
            net = MMDistributedDataParallel(make(remedy), device_ids=None, broadcast_buffers=False)
            try:
                for _ in range(2):
                    losses = net(torch.randn(2, 3, 64, 64), [sample(), sample()], mode="loss")
                    net.module.parse_losses(losses)[0].backward()
                diagnoses[name].append("")
            except RuntimeError as error:
                diagnoses[name].append(diagnose(error))
    (folder / f"{rank}.json").write_text(json.dumps(diagnoses))
    distributed.barrier()
    os._exit(0)


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork")
def test_an_unused_output_is_named_with_a_remedy_that_trains(tmp_path):
    for _, sample, _ in CASES.values():
        sample()  # imports, before the fork
    run_forked(process, tmp_path)
    for rank in (0, 1):
        diagnoses = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, (_, _, first_used) in CASES.items():
            wrong, right = diagnoses[name]
            used = f"out_indices={tuple(range(first_used, 4))}"
            for fact in (used, "backbone.norm1.weight", "start_level", "in_index"):
                assert fact in wrong
            assert right == ""


def test_other_unused_parameters_are_named_with_the_switch():
    text = "Expected to have finished reduction in the prior iteration before ..."
    assert "find_unused_parameters=True" in diagnose(raised(RuntimeError(text)))
    assert diagnose(raised(RuntimeError("selected index k out of range"))) == ""


@pytest.fixture(scope="module")
def dino():
    cfg = read("mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", out_indices=(1, 2, 3))
    cfg.neck.in_channels = [16, 32, 32]
    cfg.encoder.num_layers = cfg.decoder.num_layers = 1
    cfg.bbox_head.num_classes = 2
    return MODELS.build(cfg).eval()


@pytest.mark.stack
@pytest.mark.parametrize("mode", ["loss", "predict"])
def test_images_of_fewer_tokens_than_queries(dino, mode):
    with pytest.raises(RuntimeError, match="selected index k") as caught:
        dino.train(mode == "loss")(torch.randn(1, 3, 64, 64), [detection_sample()], mode=mode)
    message = diagnose(caught.value)
    tokens = 8 * 8 + 4 * 4 + 2 * 2 + 1
    for fact in ("DINO", "900 queries", f"{tokens} tokens", "model.num_queries", "Resize"):
        assert fact in message


@pytest.mark.stack
def test_fewer_scores_than_boxes_per_image(dino, monkeypatch):
    monkeypatch.setattr(dino, "num_queries", 80)
    monkeypatch.setitem(dino._modules, "query_embedding", torch.nn.Embedding(80, 256))
    with pytest.raises(RuntimeError, match="selected index k") as caught:
        dino.eval()(torch.randn(1, 3, 64, 64), [detection_sample()], mode="predict")
    message = diagnose(caught.value)
    for fact in ("max_per_img is 300", "80 queries", "2 classes", "160 scores"):
        assert fact in message
