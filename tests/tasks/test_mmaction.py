"""Video recipes on synthetic data: several labels, views, order of frames, and faulty data."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from small_models import read_config

from uniformer_mm.analysis.dataset_samples import browse
from uniformer_mm.apis.config import adapt_to_machine
from uniformer_mm.apis.diagnosis import diagnose
from uniformer_mm.apis.inference import Inferencer
from uniformer_mm.apis.launch import build_runner
from uniformer_mm.datasets.overrides import dataset_configs, missing_data
from uniformer_mm.datasets.synthetic.kinetics import CLASSES, draw_clip
from uniformer_mm.errors import UserError
from uniformer_mm.models import LIGHT_ARCHS
from uniformer_mm.tasks import task_of

pytestmark = pytest.mark.stack

CLIPS = "uniformer_s_8x8_k400"
FRAMES = "tsn_uniformer_s_k400"


@pytest.fixture
def folder(synthetic_sets):
    """Parent of a synthetic dataset that tests share."""
    return synthetic_sets


def short_recipe(name, folder, work_dir):
    """A config on eight synthetic videos with few blocks, two iterations long."""
    cfg = read_config(f"configs/video/{name}.py")
    cfg.work_dir = str(work_dir)
    task_of(cfg).use_synthetic_data(cfg, 8, folder)
    cfg.model.backbone.arch = {"depths": (1, 1, 1, 1)}
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 2
    adapt_to_machine(cfg)
    return cfg


def with_several_labels(name, folder, work_dir):
    """A config whose videos have their class and the next one, trained with Mixup and CutMix."""
    cfg = short_recipe(name, folder, work_dir)
    head = cfg.model.cls_head
    head.update(loss_cls={"type": "BCELossWithLogits"}, multi_class=True)
    cfg.model.data_preprocessor.blending = {"type": "mmengine.MixClips", "num_classes": 4}
    for split, dataset in dataset_configs(cfg):
        lines = Path(dataset.ann_file).read_text().splitlines()
        path = work_dir / f"{split}.txt"
        names = [line.rsplit(" ", 1) for line in lines]
        path.write_text("".join(f"{n} {c} {(int(c) + 1) % 4}\n" for n, c in names))
        dataset.update(ann_file=str(path), multi_class=True)
    for key in ("val_evaluator", "test_evaluator"):
        cfg[key].metric_list = ("mean_average_precision", "mmit_mean_average_precision")
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "averaging"),
    [(CLIPS, "score"), ("uniformer_xxs_4x128_k400", "prob")],
)
def test_videos_may_have_several_labels(name, averaging, folder, tmp_path):
    """Train with blending, evaluate, draw, and predict independent scores."""
    cfg = with_several_labels(name, folder, tmp_path)
    cfg.model.cls_head.average_clips = averaging
    task = task_of(cfg)
    if "xxs" in name:
        cfg.model.backbone.arch = dict(LIGHT_ARCHS["xxs"], depths=(1, 1, 2, 1))
    task.check_data(cfg, ("train", "val", "test"))
    task.draw_predictions(cfg, tmp_path / "drawn")
    runner = build_runner(cfg, exact_checkpoint=False)
    runner.train()
    scores = runner.test()
    assert set(scores) == {"acc/mean_average_precision", "acc/mmit_mean_average_precision"}
    assert len(list((tmp_path / "drawn").iterdir())) == 2
    if name == CLIPS:
        samples = list(browse(copy.deepcopy(cfg), "train", 2))
        assert [image.std() > 0 for _, image in samples] == [True] * 2
    video = next((folder / "8" / "kinetics" / "videos_val").iterdir())
    model = runner.model
    torch.nn.init.constant_(model.cls_head.fc_cls.bias, 3.0)  # all classes at once
    model.cfg = cfg
    prediction = Inferencer(model, device="cpu").predict(video)
    (result,) = model.test_step(pseudo_collate([DATASETS.build(cfg.test_dataloader.dataset)[0]]))
    expected = result.pred_score.detach()
    expected = expected if averaging == "prob" else expected.sigmoid()
    np.testing.assert_allclose(prediction.scores, expected, atol=1e-5)
    assert prediction.scores.sum() > 2
    assert prediction.draw().ndim == 3


def test_what_several_labels_need_is_named(folder, tmp_path):
    cfg = with_several_labels(CLIPS, folder, tmp_path)
    cfg.val_evaluator.pop("metric_list")
    with pytest.raises(UserError, match=r"top_k_accuracy of val_evaluator .*metric_list="):
        task_of(cfg).check_data(cfg, ("train", "val"))
    cfg.model.cls_head.pop("loss_cls")
    with pytest.raises(UserError, match=r"loss_cls=dict\(type='BCELossWithLogits'\)"):
        task_of(cfg).check_data(cfg, ("train",))


def test_a_list_of_mmactions_own_datasets_is_checked(folder, tmp_path):
    cfg = short_recipe(CLIPS, folder, tmp_path)
    (tmp_path / "list.txt").write_text("clip 30\n")
    cfg.train_dataloader.dataset.update(type="RawframeDataset", ann_file=str(tmp_path / "list.txt"))
    with pytest.raises(UserError, match=r"list\.txt, line 1: 'clip 30' is not a folder"):
        task_of(cfg).check_data(cfg, ("train",))


def test_the_score_of_a_video_is_the_mean_of_the_logits_of_its_views(folder, tmp_path):
    cfg = short_recipe("uniformer_s_16x4_ucf101", folder, tmp_path)
    init_default_scope("mmaction")
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert sample["inputs"].shape == (15, 3, 8, 32, 32)
    assert len(sample["inputs"].flatten(1).unique(dim=0)) > 4, "clips and crops differ"
    model = MODELS.build(cfg.model).eval()
    views = [
        model.test_step({"inputs": [view[None]], "data_samples": [sample["data_samples"].clone()]})
        for view in sample["inputs"]
    ]
    mean = torch.stack([result.pred_score for (result,) in views]).mean(0)
    batch = {"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}
    (result,) = model.test_step(batch)
    torch.testing.assert_close(result.pred_score, mean)
    assert not torch.allclose(result.pred_score.sum(), torch.tensor(1.0)), "logits"


def test_order_of_frames_is_seen_by_the_3d_model_and_not_by_tsn(folder, tmp_path):
    """Synthetic classes differ in direction only, so TSN gets half at best."""
    clip = draw_clip(0, 64, np.random.default_rng(0))[::5]
    clip = torch.from_numpy(np.ascontiguousarray(clip)).movedim(-1, 0)  # C, T, H, W
    backwards = clip.flip(1)
    init_default_scope("mmaction")
    scores = {}
    for name in (CLIPS, FRAMES):
        torch.manual_seed(0)
        cfg = short_recipe(name, folder, tmp_path)
        model = MODELS.build(cfg.model).eval()
        model.init_weights()
        for direction, frames in (("there", clip), ("back", backwards)):
            inputs = frames[None] if name == CLIPS else frames.movedim(1, 0)
            data = model.data_preprocessor({"inputs": [inputs], "data_samples": []})
            with torch.no_grad():
                scores[name, direction] = model(data["inputs"], stage="head")
    torch.testing.assert_close(scores[FRAMES, "there"], scores[FRAMES, "back"])
    assert not torch.allclose(scores[CLIPS, "there"], scores[CLIPS, "back"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "sampling", "views"),
    [
        ("uniformer_b_32x4_k600", {"clip_len": 8, "frame_interval": 4}, 4),
        ("uniformer_s_32_sthv2_prek400", {"clip_len": 8}, 3),
        (FRAMES, {"clip_len": 1, "frame_interval": 1}, 25),
    ],
)
def test_synthetic_recipes_are_small_and_have_the_views(name, sampling, views, folder, tmp_path):
    cfg = short_recipe(name, folder, tmp_path)
    init_default_scope("mmaction")
    assert cfg.model.cls_head.num_classes == len(CLASSES)
    assert cfg.model.backbone.init_cfg is None
    assert "blending" not in cfg.model.data_preprocessor
    samples = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert len(samples) == 1, "not repeated"
    pipeline = cfg.train_dataloader.dataset.pipeline
    kinds = [step.type for step in pipeline]
    assert not {"Flip", "RandomErasing", "mmengine.ClipRandAugment"} & set(kinds)
    assert {key: pipeline[1][key] for key in sampling} == sampling
    tested = DATASETS.build(cfg.test_dataloader.dataset)[0]["inputs"]
    assert len(tested) == views
    assert tested.shape[-2:] == (32, 32)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_video_ends_the_training_with_its_name(folder, tmp_path, workers):
    cfg = short_recipe(CLIPS, folder, tmp_path / "work")
    victim = tmp_path / "videos" / "clip.avi"
    victim.parent.mkdir()
    victim.write_bytes(b"RIFF\xff\xff\x00\x00AVI LIST" + bytes(99))
    (tmp_path / "list.txt").write_text("clip.avi 1\n" * 8)
    cfg.train_dataloader.num_workers = workers
    cfg.train_dataloader.dataset.update(
        ann_file=str(tmp_path / "list.txt"), data_prefix={"video": str(victim.parent)}
    )
    runner = build_runner(cfg, exact_checkpoint=False)
    with pytest.raises(UserError) as raised:
        runner.train()
    message = diagnose(raised.value)
    assert message.startswith(f"{victim} cannot be read: it is truncated, ")
    assert "\n" not in message


def test_augmented_testing_is_the_views():
    cfg = read_config(f"configs/video/{CLIPS}.py")
    with pytest.raises(UserError, match="videos are always tested on several views"):
        task_of(cfg).use_test_time_augmentation(cfg)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("uniformer_s_8x8_k400", "kinetics400_train_list_videos.txt"),
        ("uniformer_s_32_sthv2_prek400", "sthv2_val_list_videos.txt"),
        ("uniformer_s_16x4_ucf101", "ucf101_train_split_1_videos.txt"),
    ],
)
def test_help_names_the_files_that_are_missing(name, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = read_config(f"configs/video/{name}.py")
    root, missing = missing_data(cfg, ("train", "val"))
    text = task_of(cfg).data_help(root)
    assert root in text
    for path in missing:
        assert path.name in text
    assert files in text
