"""What does not work together in a model is named with its remedy; in two processes as well."""

import json
import multiprocessing
import os

import pytest
import torch
from mmengine.hub import get_config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import distributed
from uniformer_mm.apis.model_faults import model_fault

import uniformer_mm  # noqa: F401
from uniformer_mm.apis.cli import explanation

ARCH = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32), "head_dim": 16}
UNIFORMER = {"type": "mmengine.UniFormer", "arch": ARCH}


def build(config, **backbone):
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
    cfg = build("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
    cfg.neck.update(in_channels=[16, 16, 32, 32], out_channels=16)
    cfg.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=2)
    if remedy:
        cfg.backbone.out_indices = (1, 2, 3)
        cfg.neck.update(in_channels=[16, 32, 32], start_level=0)
    return MODELS.build(cfg)


def make_pspnet(remedy=False):
    cfg = build("mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py")
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
            "img_shape": shape,
            "batch_input_shape": shape,
            "ori_shape": shape,
            "pad_shape": shape,
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


def process(rank, folder, name):
    """What two iterations say, as the config stands and with the advice followed."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    make, sample, _ = CASES[name]
    said = []
    for remedy in (False, True):
        model = MMDistributedDataParallel(make(remedy), device_ids=None, broadcast_buffers=False)
        try:
            for _ in range(2):
                images, samples = torch.randn(2, 3, 64, 64), [sample(), sample()]
                losses = model(images, samples, mode="loss")
                model.module.parse_losses(losses)[0].backward()
            said.append("")
        except RuntimeError as error:
            said.append(explanation(error))
    (folder / f"{rank}.json").write_text(json.dumps(said))
    distributed.barrier()
    os._exit(0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork")
@pytest.mark.parametrize("name", CASES)
def test_an_unused_output_is_named_with_a_remedy_that_trains(tmp_path, name):
    CASES[name][1]()  # imports, before the fork
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=process, args=(rank, tmp_path, name)) for rank in (0, 1)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
    assert [one.exitcode for one in processes] == [0, 0]
    first_used = CASES[name][2]
    for rank in (0, 1):
        wrong, right = json.loads((tmp_path / f"{rank}.json").read_text())
        assert f"out_indices={tuple(range(first_used, 4))}" in wrong
        assert "backbone.norm1.weight" in wrong
        assert "start_level" in wrong
        assert "in_index" in wrong
        assert right == ""


def test_other_unused_parameters_are_named_with_the_switch():
    text = "Expected to have finished reduction in the prior iteration before ..."
    assert "find_unused_parameters=True" in model_fault(RuntimeError(text))
    assert model_fault(ValueError(text)) == ""
    assert model_fault(RuntimeError("selected index k out of range")) == ""


@pytest.fixture(scope="module")
def dino():
    cfg = build("mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", out_indices=(1, 2, 3))
    cfg.neck.in_channels = [16, 32, 32]
    cfg.encoder.num_layers = cfg.decoder.num_layers = 1
    cfg.bbox_head.num_classes = 2
    return MODELS.build(cfg).eval()


@pytest.mark.parametrize("mode", ["loss", "predict"])
def test_images_of_fewer_tokens_than_queries(dino, mode):
    with pytest.raises(RuntimeError, match="selected index k") as caught:
        dino.train(mode == "loss")(torch.randn(1, 3, 64, 64), [detection_sample()], mode=mode)
    message = explanation(caught.value)
    tokens = 8 * 8 + 4 * 4 + 2 * 2 + 1
    for fact in ("DINO", "900 queries", f"{tokens} tokens", "model.num_queries", "Resize"):
        assert fact in message


def test_fewer_scores_than_boxes_per_image(dino, monkeypatch):
    monkeypatch.setattr(dino, "num_queries", 80)
    monkeypatch.setitem(dino._modules, "query_embedding", torch.nn.Embedding(80, 256))
    with pytest.raises(RuntimeError, match="selected index k") as caught:
        dino.eval()(torch.randn(1, 3, 64, 64), [detection_sample()], mode="predict")
    message = explanation(caught.value)
    assert "max_per_img is 300" in message
    assert "80 queries and 2 classes has 160 scores" in message
