# Weights of the authors' 16x4 models, for fine-tuning. Those of Kinetics-400 are on servers; the S
# model as mmaction2 converted it, which changed the order of the classes only.
kinetics400_small = (
    "https://download.openmmlab.com/mmaction/v1.0/recognition/uniformerv1/"
    "uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb_20221219-c630a037.pth"
)
kinetics400_base = (
    "https://huggingface.co/Andy1621/uniformer/resolve/main/uniformer_base_k400_16x4.pth"
)
# Those of Kinetics-600 are on Google Drive only, linked from the table of
# https://github.com/Sense-X/UniFormer/tree/main/video_classification: put them here.
kinetics600_small = "weights/uniformer_small_k600_16x4.pth"
kinetics600_base = "weights/uniformer_base_k600_16x4.pth"
