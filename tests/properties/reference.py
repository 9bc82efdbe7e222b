"""UniFormer written down plainly in double precision, for comparison.

A second reading of the papers (arXiv 2201.09450v4 and 2201.04676): functions of a state dict, with
channels first, attention written out, and a loop over windows. It shares no code with the package.
"""

import math
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Reference:
    """A backbone in evaluation mode.

    Attributes:
        state: Tensors under the names of the official checkpoints.
        head_dim: Channels of an attention head.
        attention: 'global', 'window' or 'hybrid'.
        window_size: Side of a window in tokens.
        keep_ratio: Share of the tokens that light models keep.
        score_update: Weight of a light block's own attention in the scores.
        margin: After a light model has run, the least relative difference between the scores of a
            token that was kept and of one that was dropped.
    """

    state: dict[str, Tensor]
    head_dim: int
    attention: str = "global"
    window_size: int = 14
    keep_ratio: float = 0.5
    score_update: float = 0.5
    margin: float = field(default=math.inf, init=False)

    def __post_init__(self) -> None:
        """All in double precision."""
        self.state = {name: tensor.detach().double() for name, tensor in self.state.items()}

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Outputs for (B, C, H, W) or (B, C, T, H, W): a map per stage that has a norm.

        A light model with a norm for its class token gives that last.
        """
        x, outputs = x.double(), []
        class_token, scores = None, None
        for stage in (1, 2, 3, 4):
            if not any(name.startswith(f"blocks{stage}.") for name in self.state):
                break
            x = self.embedding(f"patch_embed{stage}", x)
            light = stage > 2 and "cls_token" in self.state
            if light and stage == 3:
                class_token = self.state["cls_token"].expand(len(x), -1, -1)
            elif light:
                class_token = self.linear("cls_upsample", class_token)
                rounds_up = "patch_embed4.proj.0.weight" in self.state
                pooled = F.avg_pool2d(scores, 2, ceil_mode=rounds_up)
                axes = tuple(range(1, scores.dim()))
                scores = pooled / pooled.sum(axes, True) * scores.sum(axes, True)
            for index in count():
                name = f"blocks{stage}.{index}"
                if f"{name}.norm1.weight" not in self.state:
                    break
                if stage < 3:
                    x = self.local_block(name, x)
                elif light:
                    x, class_token, scores = self.light_block(name, x, class_token, scores)
                else:
                    x = self.global_block(name, x, self.window_of(stage, index))
            if f"norm{stage}.weight" in self.state:
                outputs.append(self.layer_norm(f"norm{stage}", x, 1e-6))
        if "norm.weight" in self.state:
            outputs.append(self.batch_norm("norm", x))
        if "norm_cls.weight" in self.state:
            outputs.append(self.layer_norm("norm_cls", class_token[:, 0], 1e-5))
        return tuple(outputs)

    def window_of(self, stage: int, index: int) -> int:
        """Windows are in stage 3; in hybrid models every fourth block is global."""
        if stage == 4 or self.attention == "global":
            return 0
        return 0 if self.attention == "hybrid" and index % 4 == 3 else self.window_size

    def embedding(self, name: str, x: Tensor) -> Tensor:
        video = x.dim() == 5
        if f"{name}.proj.weight" in self.state:
            kernel = self.state[f"{name}.proj.weight"].shape[2:]
            stride, padding = list(kernel), [0] * len(kernel)
            if video:  # the first one sees three frames and keeps every second
                stride[0] = 2 if name == "patch_embed1" else 1
                padding[0] = kernel[0] // 2
            x = self.convolution(f"{name}.proj", x, stride=stride, padding=padding)
            return self.layer_norm(f"{name}.norm", x, 1e-5)
        for layer in (0, 3):
            if f"{name}.proj.{layer}.weight" in self.state:
                if layer:
                    x = gelu(x)
                frames = [2 if layer else 1] if video else []
                stride = [*frames, 2, 2]
                x = self.convolution(f"{name}.proj.{layer}", x, stride=stride, padding=1)
                x = self.batch_norm(f"{name}.proj.{layer + 1}", x)
        return x

    def local_block(self, name: str, x: Tensor) -> Tensor:
        x = self.position(name, x)
        y = self.convolution(f"{name}.conv1", self.batch_norm(f"{name}.norm1", x))
        y = self.convolution(f"{name}.attn", y, padding=2, groups=x.shape[1])
        x = x + self.gamma(f"{name}.gamma_1") * self.convolution(f"{name}.conv2", y)
        y = self.convolution(f"{name}.mlp.fc1", self.batch_norm(f"{name}.norm2", x))
        y = self.convolution(f"{name}.mlp.fc2", gelu(y))
        return x + self.gamma(f"{name}.gamma_2") * y

    def global_block(self, name: str, x: Tensor, window: int) -> Tensor:
        x = self.position(name, x)
        y = x
        if f"{name}.t_norm.weight" in self.state:
            y = self.temporal(name, y)
        y = self.layer_norm(f"{name}.norm1", y, 1e-6)
        if f"{name}.t_norm.weight" in self.state:
            frames = [self.aggregate(f"{name}.attn", frame)[0] for frame in y.unbind(2)]
            y = torch.stack(frames, 2)
        elif window:
            y = self.windows(f"{name}.attn", y, window)
        else:
            y = self.aggregate(f"{name}.attn", y)[0]
        # A layer scale of blocks on tokens has one value per channel.
        x = x + channels_first(self.gamma(f"{name}.gamma_1"), x) * y
        y = self.feed_forward(name, tokens_of(x))
        return x + channels_first(self.gamma(f"{name}.gamma_2"), x) * map_of(y, x)

    def temporal(self, name: str, x: Tensor) -> Tensor:
        """Every position attends to itself in other frames."""
        y = self.layer_norm(f"{name}.t_norm", x, 1e-6)
        out = torch.empty_like(x)
        for row in range(x.shape[3]):
            for column in range(x.shape[4]):
                tube = y[:, :, :, row, column]
                out[:, :, :, row, column] = self.aggregate(f"{name}.t_attn", tube)[0]
        return x + out

    def windows(self, name: str, x: Tensor, size: int) -> Tensor:
        """Attention inside windows; those at the border are completed with zeros."""
        out = torch.empty_like(x)
        for top in range(0, x.shape[2], size):
            for left in range(0, x.shape[3], size):
                part = x[:, :, top : top + size, left : left + size]
                height, width = part.shape[2:]
                window = x.new_zeros(*x.shape[:2], size, size)
                window[:, :, :height, :width] = part
                window = self.aggregate(name, window)[0][:, :, :height, :width]
                out[:, :, top : top + size, left : left + size] = window
        return out

    def aggregate(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Every position of a channels-first map attends to all of them; and how much."""
        y, weights = self.attention_of(name, tokens_of(x))
        return map_of(y, x), weights

    def attention_of(self, name: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Multi-head self-attention of (B, N, C), and its weights (B, heads, N, N)."""
        channels = tokens.shape[-1]
        packed = self.linear(f"{name}.qkv", tokens)
        outputs, weights = [], []
        for start in range(0, channels, self.head_dim):
            query, key, value = (
                packed[..., part * channels + start :][..., : self.head_dim] for part in range(3)
            )
            exponents = query @ key.transpose(1, 2) / math.sqrt(self.head_dim)
            exponents = (exponents - exponents.amax(-1, keepdim=True)).exp()
            weight = exponents / exponents.sum(-1, keepdim=True)
            weights.append(weight)
            outputs.append(weight @ value)
        return self.linear(f"{name}.proj", torch.cat(outputs, -1)), torch.stack(weights, 1)

    def light_block(
        self, name: str, x: Tensor, class_token: Tensor, scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attention of the better tokens and of one that stands for the others."""
        x = self.position(name, x)
        tokens = tokens_of(x)
        if scores is None:
            sequence, _, attention = self.update(name, torch.cat([class_token, tokens], 1))
            scores = attention.view(len(x), *x.shape[2:])
            return map_of(sequence[:, 1:], x), sequence[:, :1], scores
        kept = int(tokens.shape[1] * self.keep_ratio)
        classes, updated, new_scores = [], tokens.clone(), scores.flatten(1).clone()
        for sample, score in enumerate(scores.flatten(1)):
            order = score.argsort(descending=True)
            best, rest = order[:kept], order[kept:]
            if kept:
                gap = (score[best[-1]] - score[rest[0]]) / score[best[-1]]
                self.margin = min(self.margin, gap.item())
            share = score[rest] / score[rest].sum()
            representative = (share[:, None] * tokens[sample, rest]).sum(0)
            parts = [class_token[sample], tokens[sample, best], representative[None]]
            sequence, passed_on, attention = self.update(name, torch.cat(parts)[None])
            classes.append(sequence[0, :1])
            updated[sample, best] = sequence[0, 1:-1]
            updated[sample, rest] += passed_on[0]
            mixed = (1 - self.score_update) * score[best] + self.score_update * attention[0, :-1]
            new_scores[sample, best] = mixed
        return map_of(updated, x), torch.stack(classes), new_scores.view_as(scores)

    def update(self, name: str, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A light block's two branches.

        Returns:
            The tokens, what the last one got, and how the first one attends to the others.
        """
        normed = self.layer_norm(f"{name}.norm1", tokens, 1e-6, axis=-1)
        attended, weights = self.attention_of(f"{name}.attn", normed)
        tokens = tokens + self.gamma(f"{name}.gamma_1") * attended
        fed = self.feed_forward(name, tokens)
        updated = tokens + self.gamma(f"{name}.gamma_2") * fed
        if f"{name}.gamma_3" in self.state:
            passed_on = self.state[f"{name}.gamma_3"] * (attended + fed)
        else:
            passed_on = self.gamma(f"{name}.gamma_1") * attended
            passed_on = passed_on + self.gamma(f"{name}.gamma_2") * fed
        return updated, passed_on[:, -1], weights[:, :, 0, 1:].mean(1)

    def feed_forward(self, name: str, tokens: Tensor) -> Tensor:
        hidden = self.layer_norm(f"{name}.norm2", tokens, 1e-6, axis=-1)
        return self.linear(f"{name}.mlp.fc2", gelu(self.linear(f"{name}.mlp.fc1", hidden)))

    def position(self, name: str, x: Tensor) -> Tensor:
        return x + self.convolution(f"{name}.pos_embed", x, padding=1, groups=x.shape[1])

    def convolution(self, name: str, x: Tensor, **options: Any) -> Tensor:
        apply = F.conv2d if x.dim() == 4 else F.conv3d
        return apply(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], **options)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state.get(f"{name}.bias", 0.0)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias, mean, variance = (
            channels_first(self.state[f"{name}.{part}"], x)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def layer_norm(self, name: str, x: Tensor, epsilon: float, axis: int = 1) -> Tensor:
        x = x.movedim(axis, -1)
        centred = x - x.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt()
        normed = normed * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]
        return normed.movedim(-1, axis)

    def gamma(self, name: str) -> Tensor:
        return self.state.get(name, torch.ones((), dtype=torch.float64))


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def channels_first(vector: Tensor, like: Tensor) -> Tensor:
    """One value per channel (or one for all), beside a map (B, C, ...)."""
    return vector.view(1, -1, *[1] * (like.dim() - 2))


def tokens_of(x: Tensor) -> Tensor:
    """(B, C, ...) to (B, N, C)."""
    return x.flatten(2).transpose(1, 2)


def map_of(tokens: Tensor, like: Tensor) -> Tensor:
    """(B, N, C) to (B, C, ...)."""
    return tokens.transpose(1, 2).reshape(like.shape)
