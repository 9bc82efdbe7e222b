# ImageNet-1K weights of the authors' light models. They are on Google Drive only, linked from
# https://github.com/Sense-X/UniFormer/tree/main/image_classification: put them here.
imagenet_xxs = "weights/uniformer_xxs_224_in1k.pth"
imagenet_xs = "weights/uniformer_xs_224_in1k.pth"
