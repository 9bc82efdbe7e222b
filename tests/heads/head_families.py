"""Families of stock configs, and what each needs to run with UniFormer as its backbone.

`python tests/heads/head_families.py` writes the table of docs/heads.md.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIDTHS = [64, 128, 320, 512]
"""Channels of the stages of UniFormer-S and UniFormer-B."""

FPN = {"neck.in_channels": WIDTHS}
MAPPER = {"neck.in_channels": WIDTHS[1:]}
LAST = {"neck.in_channels": WIDTHS[3:]}


@dataclass(frozen=True)
class Family:
    """A stock config of a family of models.

    Args:
        name: Name of the family, as users know it.
        config: `codebase::path` of the config.
        settings: Options of the model besides the backbone that a user has to set.
        backbone: Options of the backbone besides its architecture.
        at: Places of the backbone in the model.
        batch: Kind of random data; see `head_batches.BATCHES`.
        size: Height and width of the images of the test.
        small: Options of the model that make the test faster, let an untrained model find
            something, or keep the test from downloading weights.
        requires: Distributions to install, by the module they provide.
        trains: Whether the codebase can train the model.
        note: What a user has to know.
    """

    name: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    at: tuple[str, ...] = ("backbone",)
    batch: str = "boxes"
    size: int = 64
    small: dict[str, Any] = field(default_factory=dict)
    requires: dict[str, str] = field(default_factory=dict)
    trains: bool = True
    note: str = ""

    @property
    def codebase(self) -> str:
        """Import name of the codebase."""
        return self.config.partition("::")[0]


def det(name: str, config: str, settings: dict[str, Any] = FPN, **options: Any) -> Family:
    """A family of mmdet; four stages into an FPN, unless other settings are given."""
    return Family(name, f"mmdet::{config}", settings, **options)


STAGES_2_TO_4 = {"out_indices": (1, 2, 3)}
STAGE_4 = {"out_indices": (3,)}

DETECTION = [
    det("ATSS", "atss/atss_r50_fpn_1x_coco.py"),
    det("AutoAssign", "autoassign/autoassign_r50-caffe_fpn_1x_coco.py"),
    det(
        "BoxInst",
        "boxinst/boxinst_r50_fpn_ms-90k_coco.py",
        batch="masks",
        requires={"skimage": "scikit-image"},
    ),
    det("CARAFE", "carafe/mask-rcnn_r50_fpn-carafe_1x_coco.py", batch="masks"),
    det("Cascade R-CNN", "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"),
    det("Cascade Mask R-CNN", "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py", batch="masks"),
    det("Cascade RPN", "cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py"),
    det(
        "CenterNet",
        "centernet/centernet_r18_8xb16-crop512-140e_coco.py",
        {"neck.in_channels": 512},
        backbone=STAGE_4,
    ),
    det("CenterNet2", "centernet/centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco.py"),
    det(
        "CentripetalNet",
        "centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco.py",
        {"bbox_head.in_channels": 64, "bbox_head.num_feat_levels": 1},
        backbone={"out_indices": (0,)},
        batch="corners",
    ),
    det("CondInst", "condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py", batch="masks"),
    det(
        "Conditional DETR",
        "conditional_detr/conditional-detr_r50_8xb2-50e_coco.py",
        LAST,
        backbone=STAGE_4,
    ),
    det(
        "CornerNet",
        "cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py",
        {"bbox_head.in_channels": 64, "bbox_head.num_feat_levels": 1},
        backbone={"out_indices": (0,)},
        batch="corners",
        small={"test_cfg.distance_threshold": 100},
    ),
    det("CrowdDet", "crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py", batch="one_class"),
    det("DAB-DETR", "dab_detr/dab-detr_r50_8xb2-50e_coco.py", LAST, backbone=STAGE_4),
    det("DDOD", "ddod/ddod_r50_fpn_1x_coco.py"),
    det("DDQ-DETR", "ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py", MAPPER, backbone=STAGES_2_TO_4),
    det("Deformable RoI pooling", "dcn/faster-rcnn_r50_fpn_dpool_1x_coco.py"),
    det(
        "Deformable DETR",
        "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
    ),
    det("DETR", "detr/detr_r50_8xb2-150e_coco.py", LAST, backbone=STAGE_4),
    det("DINO", "dino/dino-4scale_r50_8xb2-12e_coco.py", MAPPER, backbone=STAGES_2_TO_4),
    det("Double-Head R-CNN", "double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py"),
    det("DyHead", "dyhead/atss_r50_fpn_dyhead_1x_coco.py", {"neck.0.in_channels": WIDTHS}),
    det("Dynamic R-CNN", "dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py"),
    det("Fast R-CNN", "fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py", batch="proposals"),
    det("Faster R-CNN", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    det(
        "Faster R-CNN C4",
        "faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py",
        {
            "neck": {
                "type": "ChannelMapper",
                "in_channels": [320],
                "out_channels": 1024,
                "kernel_size": 1,
                "num_outs": 1,
            }
        },
        backbone={"out_indices": (2,)},
        small={"roi_head.shared_head.init_cfg": None},
    ),
    det("FCOS", "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"),
    det("FoveaBox", "foveabox/fovea_r50_fpn_gn-head-align_4xb4-2x_coco.py"),
    det("FPG", "fpg/faster-rcnn_r50_fpg_crop640-50e_coco.py", size=128),
    det("FreeAnchor", "free_anchor/freeanchor_r50_fpn_1x_coco.py"),
    det("FSAF", "fsaf/fsaf_r50_fpn_1x_coco.py"),
    det("GFL", "gfl/gfl_r50_fpn_1x_coco.py"),
    det("GHM", "ghm/retinanet_r50_fpn_ghm-1x_coco.py"),
    det(
        "GLIP",
        "glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
        batch="captions",
        requires={"transformers": "transformers<5", "nltk": "nltk"},
        note="tested with a small BERT of random weights",
    ),
    det("Grid R-CNN", "grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco.py"),
    det(
        "Grounding DINO",
        "grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py",
        {**MAPPER, "encoder.num_cp": 0},
        backbone=STAGES_2_TO_4,
        batch="captions",
        requires={"transformers": "transformers<5", "nltk": "nltk"},
        note="tested with a small BERT of random weights; `num_cp` needs `fairscale`",
    ),
    det("GRoIE", "groie/grid-rcnn_r50_fpn_gn-head-groie_1x_coco.py"),
    det("GA-RPN", "guided_anchoring/ga-faster-rcnn_r50_fpn_1x_coco.py"),
    det("GA-RetinaNet", "guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py"),
    det("HTC", "htc/htc_r50_fpn_1x_coco.py", batch="semantic"),
    det(
        "LAD",
        "lad/lad_r50-paa-r101_fpn_2xb8_coco_1x.py",
        small={"teacher_ckpt": None},
        requires={"sklearn": "scikit-learn"},
    ),
    det(
        "LD",
        "ld/ld_r50-gflv1-r101_fpn_1x_coco.py",
        {**FPN, "teacher_config": "mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py"},
        small={"teacher_ckpt": None},
    ),
    det(
        "Libra R-CNN",
        "libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco.py",
        {"neck.0.in_channels": WIDTHS},
    ),
    det(
        "Mask2Former",
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
        {"panoptic_head.in_channels": WIDTHS},
        batch="masks",
    ),
    det(
        "Mask2Former, panoptic",
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py",
        {"panoptic_head.in_channels": WIDTHS},
        batch="panoptic",
    ),
    det(
        "Mask2Former, video",
        "mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py",
        {"track_head.in_channels": WIDTHS, "init_cfg": None},
        batch="video_masks",
    ),
    det("Mask R-CNN", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", batch="masks"),
    det(
        "MaskFormer",
        "maskformer/maskformer_r50_ms-16xb1-75e_coco.py",
        {"panoptic_head.in_channels": WIDTHS},
        batch="panoptic",
    ),
    det("Mask Scoring R-CNN", "ms_rcnn/ms-rcnn_r50_fpn_1x_coco.py", batch="masks"),
    det("NAS-FCOS", "nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco.py"),
    det(
        "MM Grounding DINO",
        "mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py",
        {**MAPPER, "encoder.num_cp": 0},
        backbone=STAGES_2_TO_4,
        batch="captions",
        requires={"transformers": "transformers<5", "nltk": "nltk"},
        note="tested with a small BERT of random weights; `num_cp` needs `fairscale`",
    ),
    det(
        "NAS-FPN",
        "nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco.py",
        size=128,
        small={"neck.stack_times": 2},
    ),
    det("PAA", "paa/paa_r50_fpn_1x_coco.py", requires={"sklearn": "scikit-learn"}),
    det("PAFPN", "pafpn/faster-rcnn_r50_pafpn_1x_coco.py"),
    det("Panoptic FPN", "panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py", batch="panoptic"),
    det("PISA", "pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py"),
    det("PointRend", "point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py", batch="masks"),
    det(
        "QueryInst",
        "queryinst/queryinst_r50_fpn_1x_coco.py",
        batch="masks",
        note="as many proposals as detections (`max_per_img`)",
    ),
    det("RepPoints", "reppoints/reppoints-moment_r50_fpn_1x_coco.py"),
    det("RetinaNet", "retinanet/retinanet_r50_fpn_1x_coco.py"),
    det("RPN", "rpn/rpn_r50_fpn_1x_coco.py"),
    det(
        "RTMDet",
        "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
        small={"test_cfg.min_bbox_size": -1},
    ),
    det(
        "RTMDet-Ins",
        "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
        batch="masks",
    ),
    det("SABL", "sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py"),
    det("SABL RetinaNet", "sabl/sabl-retinanet_r50_fpn_1x_coco.py"),
    det(
        "SCNet",
        "scnet/scnet_r50_fpn_1x_coco.py",
        batch="semantic",
        small={"roi_head.feat_relay_head.in_channels": 128},
    ),
    det(
        "Seesaw loss",
        "seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1.py",
        batch="masks",
    ),
    det(
        "Soft Teacher",
        "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py",
        {"detector.neck.in_channels": WIDTHS},
        at=("detector.backbone",),
        batch="semi_supervised",
    ),
    det("Soft-NMS", "faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py"),
    det(
        "SOLO",
        "solo/solo_r50_fpn_1x_coco.py",
        batch="masks",
        small={"test_cfg.mask_thr": 0.0, "test_cfg.filter_thr": 0.0},
    ),
    det(
        "Decoupled SOLO",
        "solo/decoupled-solo_r50_fpn_1x_coco.py",
        batch="masks",
        small={"test_cfg.mask_thr": 0.0, "test_cfg.filter_thr": 0.0},
    ),
    det("SOLOv2", "solov2/solov2_r50_fpn_1x_coco.py", batch="masks"),
    det("Sparse R-CNN", "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py"),
    det(
        "SSD",
        "ssd/ssd300_coco.py",
        {
            "neck.in_channels": (128, 320),
            "neck.out_channels": (128, 320, 512, 256, 256, 256),
            "neck.l2_norm_scale": None,
            "bbox_head.in_channels": (128, 320, 512, 256, 256, 256),
        },
        backbone={"out_indices": (1, 2)},
        size=300,
    ),
    det("TOOD", "tood/tood_r50_fpn_1x_coco.py"),
    det("VFNet", "vfnet/vfnet_r50_fpn_1x_coco.py"),
    det("YOLACT", "yolact/yolact_r50_1xb8-55e_coco.py", batch="masks"),
    det(
        "YOLOv3",
        "yolo/yolov3_d53_8xb8-320-273e_coco.py",
        {"neck.in_channels": [512, 320, 128]},
        backbone=STAGES_2_TO_4,
    ),
    det(
        "YOLOF",
        "yolof/yolof_r50-c5_8xb8-1x_coco.py",
        {"neck.in_channels": 512},
        backbone=STAGE_4,
    ),
    det("YOLOX", "yolox/yolox_s_8xb8-300e_coco.py", MAPPER, backbone=STAGES_2_TO_4),
    det(
        "DeepSORT",
        "deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py",
        {"detector.neck.in_channels": WIDTHS, "detector.init_cfg": None},
        at=("detector.backbone",),
        batch="tracks",
        trains=False,
        small={"reid.init_cfg": None},
        requires={"motmetrics": "motmetrics"},
        note="train the detector and the ReID model first",
    ),
    det(
        "OC-SORT",
        "ocsort/ocsort_yolox_x_8xb4-amp-80e_crowdhuman-mot17halftrain_test-mot17halfval.py",
        {"detector.neck.in_channels": WIDTHS[1:], "detector.init_cfg": None},
        at=("detector.backbone",),
        backbone=STAGES_2_TO_4,
        batch="tracks_of_detector",
        requires={"lap": "lap", "motmetrics": "motmetrics"},
    ),
    det(
        "StrongSORT",
        "strongsort/strongsort_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval.py",
        {"detector.neck.in_channels": WIDTHS[1:], "detector.init_cfg": None},
        at=("detector.backbone",),
        backbone=STAGES_2_TO_4,
        batch="tracks",
        trains=False,
        small={"reid.init_cfg": None, "postprocess_model.checkpoint": None},
        requires={"motmetrics": "motmetrics"},
        note="train the detector and the ReID model first",
    ),
    det(
        "ByteTrack",
        "bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_test-mot17halfval.py",
        {"detector.neck.in_channels": WIDTHS[1:], "detector.init_cfg": None},
        at=("detector.backbone",),
        backbone=STAGES_2_TO_4,
        batch="tracks_of_detector",
        requires={"lap": "lap"},
    ),
    det(
        "QDTrack",
        "qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py",
        {"detector.neck.in_channels": WIDTHS, "detector.init_cfg": None},
        at=("detector.backbone",),
        batch="tracks",
    ),
    det(
        "MaskTrack R-CNN",
        "masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py",
        {"detector.neck.in_channels": WIDTHS, "detector.init_cfg": None},
        at=("detector.backbone",),
        batch="video_masks",
    ),
    det(
        "ReID",
        "reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py",
        {"head.in_channels": 512, "init_cfg": None},
        backbone=STAGE_4,
        batch="identities",
        size=128,
    ),
]


def seg(name: str, config: str, settings: dict[str, Any], **options: Any) -> Family:
    """A family of mmseg, whose configs name the weights of their backbone in `pretrained`."""
    return Family(
        name,
        f"mmseg::{config}",
        {"pretrained": None, **settings},
        **{"batch": "semantic_map", **options},
    )


LAST_TWO = {"decode_head.in_channels": 512, "auxiliary_head.in_channels": 320}
CITY = "4xb2-40k_cityscapes-512x1024.py"

SEGMENTATION = [
    seg("ANN", f"ann/ann_r50-d8_{CITY}", {**LAST_TWO, "decode_head.in_channels": [320, 512]}),
    seg("APCNet", f"apcnet/apcnet_r50-d8_{CITY}", LAST_TWO),
    seg(
        "BiSeNetV1",
        "bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py",
        {
            "backbone.spatial_channels": (64, 64, 64, 192),
            "backbone.context_channels": (128, 320, 512),
        },
        at=("backbone.backbone_cfg",),
    ),
    seg("CCNet", f"ccnet/ccnet_r50-d8_{CITY}", LAST_TWO),
    seg("DANet", f"danet/danet_r50-d8_{CITY}", LAST_TWO),
    seg("DeepLabV3", f"deeplabv3/deeplabv3_r50-d8_{CITY}", LAST_TWO),
    seg(
        "DeepLabV3+",
        f"deeplabv3plus/deeplabv3plus_r50-d8_{CITY}",
        {**LAST_TWO, "decode_head.c1_in_channels": 64},
    ),
    seg("DMNet", f"dmnet/dmnet_r50-d8_{CITY}", LAST_TWO),
    seg("DNLNet", f"dnlnet/dnl_r50-d8_{CITY}", LAST_TWO),
    seg("EMANet", "emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py", LAST_TWO),
    seg(
        "EncNet",
        f"encnet/encnet_r50-d8_{CITY}",
        {**LAST_TWO, "decode_head.in_channels": WIDTHS[1:]},
    ),
    seg(
        "FastFCN",
        "fastfcn/fastfcn_r50-d32_jpu_aspp_4xb4-80k_ade20k-512x512.py",
        {"neck.in_channels": tuple(WIDTHS[1:]), "auxiliary_head.in_channels": 320},
        backbone=STAGES_2_TO_4,
    ),
    seg("FCN", f"fcn/fcn_r50-d8_{CITY}", LAST_TWO),
    seg("GCNet", f"gcnet/gcnet_r50-d8_{CITY}", LAST_TWO),
    seg("HRNet's FCN", f"hrnet/fcn_hr18_{CITY}", {"decode_head.in_channels": WIDTHS}),
    seg("ISANet", f"isanet/isanet_r50-d8_{CITY}", LAST_TWO),
    seg(
        "K-Net",
        "knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py",
        {
            "decode_head.kernel_generate_head.in_channels": WIDTHS,
            "auxiliary_head.in_channels": 320,
        },
    ),
    seg(
        "Mask2Former",
        "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
        {"decode_head.in_channels": WIDTHS},
    ),
    seg(
        "MaskFormer",
        "maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py",
        {"decode_head.in_channels": WIDTHS},
    ),
    seg("NonLocal Net", f"nonlocal_net/nonlocal_r50-d8_{CITY}", LAST_TWO),
    seg(
        "OCRNet",
        "ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py",
        {
            "decode_head.0.in_channels": 512,
            "decode_head.0.in_index": 3,
            "decode_head.1.in_channels": 512,
        },
    ),
    seg("PointRend", "point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py", FPN),
    seg("PSANet", f"psanet/psanet_r50-d8_{CITY}", LAST_TWO),
    seg("PSPNet", f"pspnet/pspnet_r50-d8_{CITY}", LAST_TWO),
    seg(
        "SegFormer",
        "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
        {"decode_head.in_channels": WIDTHS},
    ),
    seg(
        "Segmenter",
        "segmenter/segmenter_vit-s_mask_8xb1-160k_ade20k-512x512.py",
        {"decode_head.in_channels": 512},
        backbone=STAGE_4,
    ),
    seg(
        "SegNeXt",
        "segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py",
        {"decode_head.in_channels": WIDTHS[1:]},
    ),
    seg("Semantic FPN", "sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py", FPN),
    seg(
        "SETR-PUP",
        "setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py",
        {
            "decode_head.in_channels": 512,
            "auxiliary_head.0.in_channels": 64,
            "auxiliary_head.1.in_channels": 128,
            "auxiliary_head.2.in_channels": 320,
        },
    ),
    seg(
        "STDC",
        "stdc/stdc1_4xb12-80k_cityscapes-512x1024.py",
        {
            "backbone.last_in_channels": (512, 320),
            "backbone.ffm_cfg.in_channels": 256,
            "auxiliary_head.2.in_channels": 128,
        },
        at=("backbone.backbone_cfg",),
        backbone=STAGES_2_TO_4,
    ),
    seg(
        "UPerNet",
        "upernet/upernet_r50_4xb4-160k_ade20k-512x512.py",
        {"decode_head.in_channels": WIDTHS, "auxiliary_head.in_channels": 320},
    ),
]

KEYPOINTS = "body_2d_keypoint"


def pose(name: str, config: str, settings: dict[str, Any], **options: Any) -> Family:
    """A family of mmpose; the last stage, unless other stages are given."""
    options = {"backbone": STAGE_4, "batch": "keypoints", **options}
    return Family(name, f"mmpose::{config}", settings, **options)


HEAD = {"head.in_channels": 512}
POSE = [
    pose(
        "Associative embedding",
        f"{KEYPOINTS}/associative_embedding/coco/ae_hrnet-w32_8xb24-300e_coco-512x512.py",
        {"head.in_channels": 64},
        backbone={"out_indices": (0,)},
        batch="persons",
        trains=False,
        note="mmpose has no pipeline to train it",
    ),
    pose(
        "CID",
        f"{KEYPOINTS}/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py",
        {"head.in_channels": 1024},
        backbone={},
        batch="persons",
    ),
    pose(
        "DeepPose",
        f"{KEYPOINTS}/topdown_regression/coco/td-reg_res50_8xb64-210e_coco-256x192.py",
        HEAD,
    ),
    pose(
        "DEKR",
        f"{KEYPOINTS}/dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512.py",
        {"head.in_channels": 1024},
        backbone={},
        batch="persons",
        small={"head.rescore_cfg.init_cfg": None},
    ),
    pose(
        "DSNT",
        f"{KEYPOINTS}/integral_regression/coco/ipr_res50_dsnt-8xb64-210e_coco-256x256.py",
        {**HEAD, "init_cfg": None},
    ),
    pose(
        "ED-Pose",
        f"{KEYPOINTS}/edpose/coco/edpose_res50_8xb2-50e_coco-800x1333.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
        batch="persons",
        small={"head.num_queries": 900, "head.decoder.num_layers": 3},
        trains=False,
        note="mmpose cannot train it. The config imports `mmpose.configs`, which is not in the "
        "wheel: copy it and define `train_cfg` and `default_hooks` in place of the import",
    ),
    pose(
        "Heatmaps",
        f"{KEYPOINTS}/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py",
        HEAD,
    ),
    pose(
        "Integral regression",
        f"{KEYPOINTS}/integral_regression/coco/ipr_res50_debias-8xb64-210e_coco-256x256.py",
        {**HEAD, "init_cfg": None},
    ),
    pose(
        "InterNet",
        "hand_3d_keypoint/internet/interhand3d/internet_res50_4xb16-20e_interhand3d-256x256.py",
        {
            "head.keypoint_head_cfg.in_channels": 512,
            "head.root_head_cfg.in_channels": 512,
            "head.hand_type_head_cfg.in_channels": 512,
        },
    ),
    pose(
        "RLE",
        f"{KEYPOINTS}/topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192.py",
        HEAD,
    ),
    pose(
        "RTMO",
        f"{KEYPOINTS}/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
        batch="persons",
    ),
    pose(
        "RTMPose",
        f"{KEYPOINTS}/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py",
        HEAD,
        note="its augmentation needs `albumentations`",
    ),
    pose(
        "RTMW",
        "wholebody_2d_keypoint/rtmpose/cocktail14/rtmw-m_8xb1024-270e_cocktail14-256x192.py",
        {"neck.in_channels": [128, 256, 512], "head.in_channels": 512},
        backbone={"type": "mmengine.UniFormerLight", "arch": "xs", **STAGES_2_TO_4},
        small={"backbone.arch": {"embed_dims": (64, 128, 256, 512), "head_dim": 32}},
        note="its head takes a stage 3 of half the width of stage 4; its augmentation needs "
        "`albumentations`",
    ),
    pose("SimCC", f"{KEYPOINTS}/simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py", HEAD),
    pose(
        "ViPNAS head",
        f"{KEYPOINTS}/topdown_heatmap/coco/td-hm_vipnas-res50_8xb64-210e_coco-256x192.py",
        HEAD,
    ),
    pose(
        "ViTPose",
        f"{KEYPOINTS}/topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py",
        {"head.in_channels": 320},
        backbone={"out_indices": (2,)},
    ),
    pose(
        "YOLOXPose",
        f"{KEYPOINTS}/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py",
        MAPPER,
        backbone=STAGES_2_TO_4,
        batch="persons",
    ),
]

VIDEO = {"dims": 3}


def video(name: str, config: str, settings: dict[str, Any], **options: Any) -> Family:
    """A family of mmaction2; a backbone for clips, unless other options are given."""
    options = {"backbone": VIDEO, "batch": "clips", **options}
    return Family(name, f"mmaction::{config}", settings, **options)


CLS_HEAD = {"cls_head.in_channels": 512}
AVA = {
    "init_cfg": None,
    "roi_head.bbox_head.in_channels": 512,
    "roi_head.bbox_roi_extractor.featmap_stride": 32,
}
FRAMES = {"backbone": {"output_norm": "batch"}, "batch": "frames"}
RECOGNITION = [
    video(
        "C3D",
        "recognition/c3d/c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb.py",
        {**CLS_HEAD, "cls_head.spatial_type": "avg"},
    ),
    video(
        "SlowOnly",
        "recognition/slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb.py",
        CLS_HEAD,
    ),
    video(
        "TPN",
        "recognition/tpn/tpn-slowonly_imagenet-pretrained-r50_8xb8-8x8x1-150e_kinetics400-rgb.py",
        {
            "neck.in_channels": (128, 512),
            "neck.spatial_modulation_cfg.in_channels": (128, 512),
            "neck.spatial_modulation_cfg.out_channels": 512,
        },
        backbone={"dims": 3, "output_norm": "layer", "out_indices": (1, 3)},
    ),
    video("X3D", "recognition/x3d/x3d_s_13x6x1_facebook-kinetics400-rgb.py", CLS_HEAD),
    video(
        "TRN",
        "recognition/trn/trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv1-rgb.py",
        CLS_HEAD,
        **FRAMES,
    ),
    video(
        "TSM",
        "recognition/tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py",
        CLS_HEAD,
        **FRAMES,
        note="without the temporal shift, which is in the backbone",
    ),
    video(
        "TSN",
        "recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py",
        CLS_HEAD,
        **FRAMES,
    ),
    video(
        "Audio",
        "recognition_audio/resnet/tsn_r18_8xb320-64x1x1-100e_kinetics400-audio-feature.py",
        CLS_HEAD,
        backbone={"output_norm": "batch", "in_channels": 1},
        batch="spectrograms",
    ),
    video(
        "PoseC3D",
        "skeleton/posec3d/slowonly_r50_8xb16-u48-240e_ntu60-xsub-keypoint.py",
        CLS_HEAD,
        backbone={"dims": 3, "in_channels": 17},
        batch="heatmap_clips",
    ),
    video(
        "AVA, SlowOnly",
        "detection/slowonly/slowonly_kinetics400-pretrained-r50_8xb16-4x16x1-20e_ava21-rgb.py",
        AVA,
        batch="actions",
    ),
    video(
        "AVA, ACRN",
        "detection/acrn/slowfast-acrn_kinetics400-pretrained-r50_8xb8-8x8x1-cosine-10e_ava22-rgb.py",
        {
            **AVA,
            "roi_head.shared_head.in_channels": 1024,
            "roi_head.shared_head.out_channels": 512,
        },
        batch="actions",
    ),
    video(
        "AVA, VideoMAE",
        "detection/videomae/"
        "vit-base-p16_videomae-k400-pre_8xb8-16x4x1-20e-adamw_ava-kinetics-rgb.py",
        AVA,
        batch="actions",
    ),
]

FAMILIES = DETECTION + SEGMENTATION + POSE + RECOGNITION

NOT_TESTED = {
    "mmdet": {
        "DetectoRS": "its neck feeds features back into a ResNet with switchable convolutions",
        "TridentNet": "its head takes the three branches of a TridentResNet",
        "ConvNeXt, DCN, EfficientNet, Empirical Attention, GCNet, GN, GN+WS, HRNet, PVT, RegNet, "
        "Res2Net, ResNeSt, Swin": "backbones, under heads of this table",
        "Cityscapes, InstaBoost, LVIS, Objects365, OpenImages, Pascal VOC, V3Det, WIDER FACE": (
            "data and augmentations, under heads of this table"
        ),
    },
    "mmseg": {
        "DPT": "its head takes the class tokens of a ViT",
        "ICNet": "its backbone runs parts of a ResNet by name",
        "LR-ASPP": "its head pools 49 x 49 pixels of features of stride 8",
        "SAN": "it is built around CLIP",
        "SETR-MLA": "its neck adds features of all stages, which must have one size. SETR-PUP runs",
        "VPD": "it is built around Stable Diffusion",
        "BiSeNetV2, CGNet, DDRNet, ERFNet, Fast-SCNN, PIDNet, UNet": "the backbone is the method",
        "BEiT, ConvNeXt, MAE, MobileNet, PoolFormer, ResNeSt, Swin, Twins, ViT": (
            "backbones, under heads of this table"
        ),
    },
    "mmpose": {
        "CPM, Hourglass, MSPN, RSN": "the backbone predicts heatmaps in several stages",
        "DWPose": "teacher and student are configs of their own: swap the backbone there (RTMPose)",
        "Lifting to 3-D, MotionBERT": "no images",
        "Animals, faces, fashion, hands, whole body": "heads of this table with other keypoints",
    },
    "mmaction": {
        "LFB": "its head reads a bank of features of a ResNet, one per clip",
        "MViT, TimeSformer, UniFormerV2, VideoMAE": (
            "their heads take one vector per clip. Use `I3DHead`"
        ),
        "OmniSource": "its backbone is one ResNet for images and clips",
        "SlowFast": "its head takes the features of two pathways",
        "C2D, CSN, I3D, R(2+1)D, Swin, UniFormer": "backbones, under the head of SlowOnly",
        "TANet, TIN": "the backbone is the method, under the head of TSM",
        "BMN, BSN, DRN, TCANet, ST-GCN, 2s-AGCN, CLIP4Clip, VindLU": "no backbone for images",
    },
}
"""Families that are not tested, by codebase, and why."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "heads.md"
START, END = "<!-- written by tests/heads/head_families.py -->", "<!-- end -->"
TITLES = {
    "mmdet": "mmdet 3.3.0",
    "mmseg": "mmsegmentation 1.2.2",
    "mmpose": "mmpose 1.3.2",
    "mmaction": "mmaction2 1.2.0",
}
USUAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mmdet": ({}, FPN),
    "mmseg": ({}, {"pretrained": None, **LAST_TWO}),
    "mmpose": (STAGE_4, HEAD),
    "mmaction": (VIDEO, CLS_HEAD),
}
"""Options of most families: those of the backbone, and others."""


def write_options(options: dict[str, Any]) -> str:
    """Options as code."""
    return ", ".join(f"`{key}={value!r}`".replace("'", '"') for key, value in options.items())


def write_result(family: Family) -> str:
    """What the test has shown, and what a user has to know."""
    parts = ["trains, predicts" if family.trains else "predicts"]
    if family.requires:
        parts.append("needs " + ", ".join(f"`{name}`" for name in family.requires.values()))
    if family.note:
        parts.append(family.note)
    return "; ".join(parts)


def write_section(codebase: str) -> str:
    """The tables of a codebase."""
    backbone, settings = USUAL[codebase]
    options = [write_options(backbone), write_options(settings)]
    lines = [
        f"## {TITLES[codebase]}",
        "",
        f"Where both columns are empty: {' in the backbone, '.join(filter(None, options))}.",
        "",
        "| family | config | options of the backbone | other options of `model` | result |",
        "|---|---|---|---|---|",
    ]
    for family in sorted(FAMILIES, key=lambda family: family.name.lower()):
        if family.codebase != codebase:
            continue
        usual = (family.backbone, family.settings) == (backbone, settings)
        place = "" if family.at == ("backbone",) else f"at `{family.at[0]}` "
        cells = (
            family.name,
            f"`{family.config}`",
            "" if usual else (place + write_options(family.backbone)).strip(),
            "" if usual else write_options(family.settings),
            write_result(family),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| not tested | reason |", "|---|---|"]
    lines += [f"| {names} | {reason} |" for names, reason in NOT_TESTED[codebase].items()]
    return "\n".join(lines)


def write_table(page: str) -> str:
    """The page with its tables written again."""
    before, _, rest = page.partition(START)
    tables = "\n\n".join(write_section(codebase) for codebase in TITLES)
    return f"{before}{START}\n\n{tables}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(write_table(PAGE.read_text()))
