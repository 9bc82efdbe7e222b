# ImageNet-1K weights of the authors' light models, by arch and pixels. All but one are on Google
# Drive only, linked from https://github.com/Sense-X/UniFormer/tree/main/image_classification: put
# them into weights/.
imagenet_xxs_128 = "weights/uniformer_xxs_128_in1k.pth"
imagenet_xxs_160 = (
    "https://huggingface.co/Andy1621/uniformer_light/resolve/main/uniformer_xxs_160_in1k.pth"
)
imagenet_xxs_224 = "weights/uniformer_xxs_224_in1k.pth"
imagenet_xs_192 = "weights/uniformer_xs_192_in1k.pth"
imagenet_xs_224 = "weights/uniformer_xs_224_in1k.pth"
