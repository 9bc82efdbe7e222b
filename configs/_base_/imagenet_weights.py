# ImageNet-1K weights of the authors: 224 pixels, no token labeling, no layer scale.
imagenet_small = "https://huggingface.co/Andy1621/uniformer/resolve/main/uniformer_small_in1k.pth"
imagenet_base = (
    "https://huggingface.co/Sense-X/uniformer_image/resolve/main/uniformer_base_in1k.pth"
)
