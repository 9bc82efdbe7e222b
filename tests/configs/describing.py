"""What the metafiles have to say, in the words of the metafiles, read off configs and models."""

from pathlib import Path

LETTERS = {"small": "S", "small_plus": "S+", "base": "B", "large": "L", "xxs": "XXS", "xs": "XS"}
HEAD_DIMS = {"S": 64, "S+": 32, "B": 64, "L": 64, "XXS": 28, "XS": 32}
ATTENTION = {"hybrid": "h{}", "window": "w{}", "global": "global"}
DATA = {
    "coco": "COCO 2017",
    "ADEChallengeData2016": "ADE20K",
    "kinetics400": "Kinetics-400",
    "kinetics600": "Kinetics-600",
    "sthv1": "Something-Something V1",
    "sthv2": "Something-Something V2",
    "ucf101": "UCF101",
    "hmdb51": "HMDB51",
    "ava": "AVA 2.1",
    "imagenet": "ImageNet-1K",
}
METRICS = {
    "bbox": {"box AP"},
    "segm": {"mask AP"},
    "mIoU": {"mIoU", "mIoU(ms+flip)"},
    "keypoints": {"AP", "AP@0.5", "AP@0.75", "ARM", "ARL", "AR"},
    "top-1": {"top-1"},
}
COCO_IMAGES = 117_266
"""Training images with annotations."""

MEASURED_AT = {"det": "800 x 1280", "seg": "512 x 2048"}
"""Inputs whose multiply-adds the authors state; those of the other tasks are the test's."""


def data(cfg):
    """Training data, and what the weights to start from were trained on if it is videos."""
    root = Path(cfg.test_dataloader.dataset.data_root).name
    start = (cfg.model.backbone.get("init_cfg") or {}).get("checkpoint", "")
    for number in ("400", "600"):
        if f"kinetics{number}" in start or f"k{number}" in start:
            return f"{DATA[root]} (from Kinetics-{number})"
    return DATA[root]


def backbone(cfg, model, task):
    """Arch, and what else tells it from its neighbours in the table."""
    letter = LETTERS[cfg.model.backbone.arch]
    words = [letter]
    if task == "video":
        clip = _step(cfg, "clip_len")
        if clip["clip_len"] == 1:
            segments = _step(cfg, "clip_len", "train")["num_clips"]
            words += ["images", f"{segments} segments"]
        elif "frame_interval" in clip:
            words.append(f"{clip['clip_len']}x{clip['frame_interval']}")
        else:
            frames = clip["clip_len"]
            words.append(f"{frames} frames" if letter.startswith("X") else str(frames))
        return ", ".join(words)
    if task == "cls":
        if model.backbone.head_dim != HEAD_DIMS[letter]:
            words.append(f"{model.backbone.head_dim} per head")
        if any("gamma" in name for name, _ in model.backbone.named_parameters()):
            words.append("layer scale")
    elif not letter.startswith("X"):
        settings = cfg.model.backbone
        attention = ATTENTION[settings.attention].format(settings.get("window_size"))
        # The authors trained windows of 14 as such, those of 32 are for testing.
        words += ["global", f"tested {attention}"] if "32" in attention else [attention]
    return ", ".join(words)


def schedule(cfg, task):
    """Length of the training."""
    if task == "seg":
        return f"{cfg.train_cfg.max_iters // 1000}k"
    if task == "det":
        epochs = cfg.train_cfg.get("max_epochs", 0) * cfg.train_dataloader.dataset.get("times", 1)
        if not epochs:
            images = cfg.train_cfg.max_iters * cfg.auto_scale_lr.base_batch_size
            epochs = round(images / COCO_IMAGES)
        length = f"{epochs // 12}x" if epochs in (12, 36) else f"{epochs} epochs"
        steps = {step["type"]: step for step in _pipeline(cfg, "train")}
        if steps.get("RandomResize", {}).get("ratio_range") == (0.1, 2.0):
            return f"{length}, large-scale jitter"
        return length + (", multi-scale" if "RandomChoice" in steps else "")
    labelled = "TokenLabeling" in str(cfg.model.get("head", {}).get("type"))
    return f"{'TL, ' if labelled else ''}{cfg.train_cfg.max_epochs} epochs"


def flops_input(cfg, task):
    """The input that the multiply-adds are for."""
    if task in MEASURED_AT:
        return MEASURED_AT[task]
    if task == "pose":
        width, height = cfg.codec.input_size
        return f"{height} x {width}"
    if "roi_head" in cfg.model:
        return None  # depends on the video
    crop = _step(cfg, "crop_size")
    if task == "cls":
        return f"{crop['crop_size']} x {crop['crop_size']}"
    clip = _step(cfg, "clip_len")
    views = clip.get("num_clips", 1) * (3 if crop["type"] == "ThreeCrop" else 1)
    return f"{views} x {clip['clip_len']} x {crop['crop_size']} x {crop['crop_size']}"


def metrics(cfg, task):
    """Names that the qualities may have."""
    evaluators = cfg.test_evaluator
    kinds = {"pose": ["keypoints"], "video": ["top-1"], "cls": ["top-1"], "seg": ["mIoU"]}.get(task)
    if kinds is None:
        kinds = (evaluators[0] if isinstance(evaluators, list) else evaluators)["metric"]
        kinds = [kinds] if isinstance(kinds, str) else kinds
    return set().union(*(METRICS[kind] for kind in kinds))


def _step(cfg, key, split="test"):
    return next(step for step in _pipeline(cfg, split) if key in step)


def _pipeline(cfg, split):
    dataset = cfg[f"{split}_dataloader"].dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    return dataset.pipeline
