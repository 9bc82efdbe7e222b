# AutoAugment's policy "v0", of the EfficientNet code for TPUs, as timm has it: pairs of operations,
# each with its probability and its level from 0 to 10. mmpretrain's preset is another policy.
v0 = """
Equalize .8 1 ShearY .8 4 | Color .4 9 Equalize .6 3 | Color .4 1 Rotate .6 8
Solarize .8 3 Equalize .4 7 | Solarize .4 2 Solarize .6 2 | Color .2 0 Equalize .8 8
Equalize .4 8 SolarizeAdd .8 3 | ShearX .2 9 Rotate .6 8 | Color .6 1 Equalize 1 2
Invert .4 9 Rotate .6 0 | Equalize 1 9 ShearY .6 3 | Color .4 7 Equalize .6 0
Posterize .4 6 AutoContrast .4 7 | Solarize .6 8 Color .6 9 | Solarize .2 4 Rotate .8 9
Rotate 1 7 TranslateY .8 9 | ShearX 0 0 Solarize .8 4 | ShearY .8 0 Color .6 4
Color 1 0 Rotate .6 2 | Equalize .8 4 Equalize 0 8 | Equalize 1 4 AutoContrast .6 2
ShearY .4 7 SolarizeAdd .6 7 | Posterize .8 2 Solarize .6 10 | Solarize .6 8 Equalize .6 1
Color .8 6 Rotate .4 5
"""
policies = []
for pair in v0.strip().replace("\n", "|").split("|"):
    words = pair.split()
    policies.append([])
    for name, probability, level in zip(words[::3], words[1::3], words[2::3], strict=True):
        share = int(level) / 10
        operation = dict(
            Color=dict(
                type="ColorTransform", magnitude=1.8 * share - 0.9, random_negative_prob=0.0
            ),
            Posterize=dict(type="Posterize", bits=int(4 * share)),
            Rotate=dict(type="Rotate", angle=30 * share),
            ShearX=dict(type="Shear", magnitude=0.3 * share, direction="horizontal"),
            ShearY=dict(type="Shear", magnitude=0.3 * share, direction="vertical"),
            Solarize=dict(type="Solarize", thr=int(256 * share)),
            SolarizeAdd=dict(type="SolarizeAdd", magnitude=int(110 * share)),
            TranslateY=dict(type="Translate", magnitude=0.45 * share, direction="vertical"),
        ).get(name, dict(type=name))
        policies[-1].append(dict(operation, prob=float(probability)))
del v0, pair, words, name, probability, level, share, operation
