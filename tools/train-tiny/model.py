"""A lean LLaVA for training, whose tensors carry the names of the published checkpoints.

Several questions about one picture are packed: the image prefix (BOS and the patches) is computed once, and each
question sees the prefix and itself only, at the positions it would have alone. `test_model.py` checks that this
equals Hugging Face's forward pass.

Letters: B pictures, Q questions a picture, L tokens a question, P prefix length, N patches, S side, D width, H heads, d head dim.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

IMAGE_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
IMAGE_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


class VisionAttention(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width = config["hidden_size"]
        self.num_heads = config["num_attention_heads"]
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        split = lambda t: t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # noqa: E731
        y = F.scaled_dot_product_attention(split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x)))
        return self.out_proj(y.transpose(1, 2).flatten(2))


class VisionMlp(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.fc1 = nn.Linear(config["hidden_size"], config["intermediate_size"])
        self.fc2 = nn.Linear(config["intermediate_size"], config["hidden_size"])

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))


class VisionLayer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config["hidden_size"], config["layer_norm_eps"])
        self.mlp = VisionMlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class VisionEmbeddings(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, self.patch = config["hidden_size"], config["patch_size"]
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.5)
        self.patch_embedding = nn.Conv2d(3, width, self.patch, self.patch, bias=False)
        self.position_embedding = nn.Embedding((config["image_size"] // self.patch) ** 2 + 1, width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = F.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        x = F.linear(patches, self.patch_embedding.weight.flatten(1))
        cls = self.class_embedding.expand(len(x), 1, -1)
        return torch.cat([cls.to(x.dtype), x], 1) + self.position_embedding.weight


class VisionModel(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.embeddings = VisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(width, eps)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(VisionLayer(config) for _ in range(config["num_hidden_layers"]))
        self.post_layernorm = nn.LayerNorm(width, eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, S, S], normalised -> the feature layer -2 without CLS [B, N, D]."""
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers[:-1]:
            x = layer(x)
        return x[:, 1:]


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class TextAttention(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, self.num_heads, self.head_dim = config["hidden_size"], config["num_attention_heads"], config["head_dim"]
        inner = self.num_heads * self.head_dim
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o_proj = nn.Linear(inner, width, bias=False)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], prefix: int, questions: int, factors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """x [B, P + Q*L, D] -> the output [B, P + Q*L, D] and the questions' attention [B, Q, H, L, P + L]."""
        split = lambda t: t.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)  # noqa: E731
        q, k, v = rotate(split(self.q_proj(x)), rope), rotate(split(self.k_proj(x)), rope), split(self.v_proj(x))
        head = F.scaled_dot_product_attention(q[:, :, :prefix], k[:, :, :prefix], v[:, :, :prefix], is_causal=True)
        own = lambda t: t[:, :, prefix:].unflatten(2, (questions, -1))  # noqa: E731  [B, H, Q, L, d]
        q, own_k, own_v = own(q) * self.head_dim**-0.5, own(k), own(v)
        to_prefix = (q.flatten(2, 3) @ k[:, :, :prefix].transpose(2, 3)).unflatten(2, q.shape[2:4])
        if factors is not None:
            to_prefix = torch.cat([to_prefix[..., :1], to_prefix[..., 1:] * factors[:, None, :, :, None]], -1)
        to_own = q @ own_k.transpose(3, 4)
        length = to_own.shape[-1]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = torch.cat([to_prefix, to_own.masked_fill(future, -1e4)], -1).float()
        probs = scores.softmax(-1)
        p = probs.to(v.dtype)
        y = (p[..., :prefix].flatten(2, 3) @ v[:, :, :prefix]).unflatten(2, q.shape[2:4]) + p[..., prefix:] @ own_v
        y = torch.cat([head, y.flatten(2, 3)], 2).transpose(1, 2).flatten(2)
        return self.o_proj(y), probs.transpose(1, 2)


class TextMlp(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj, self.up_proj = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class TextLayer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.input_layernorm = RmsNorm(config["hidden_size"], config["rms_norm_eps"])
        self.self_attn = TextAttention(config)
        self.post_attention_layernorm = RmsNorm(config["hidden_size"], config["rms_norm_eps"])
        self.mlp = TextMlp(config)


class TextModel(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(TextLayer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = RmsNorm(config["hidden_size"], config["rms_norm_eps"])

    def forward(self, prefix: Tensor, questions: Tensor, factors: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Prefix [B, P, D] and questions [B, Q, L, D] -> the questions' residual stream after each layer and their
        attention in each layer. Factors [B, Q, L] multiply the rows' scores of the image tokens."""
        count, length = questions.shape[1:3]
        p = prefix.shape[1]
        x = torch.cat([prefix, questions.flatten(1, 2)], 1)
        positions = torch.cat([torch.arange(p), torch.arange(p, p + length).repeat(count)])
        rope = rope_tables(positions, self.config["head_dim"], self.config["rope_theta"])
        streams, attentions = [], []
        for layer in self.layers:
            y, probs = layer.self_attn(layer.input_layernorm(x), rope, p, count, factors)
            x = x + y
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            streams.append(x[:, p:].unflatten(1, (count, length)))
            attentions.append(probs)
        return streams, attentions


class Projector(nn.Module):
    def __init__(self, vision_width: int, width: int):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(vision_width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.gelu(self.linear_1(x)))


class TinyLlava(nn.Module):
    """The whole model; `state_dict()` has exactly the names of a published LLaVA checkpoint."""

    def __init__(self, config: dict):
        super().__init__()
        vision, text = config["vision_config"], config["text_config"]
        self.bos = config["bos_token_id"]
        self.vision_tower = nn.Module()
        self.vision_tower.vision_model = VisionModel(vision)
        self.multi_modal_projector = Projector(vision["hidden_size"], text["hidden_size"])
        self.language_model = nn.Module()
        self.language_model.model = TextModel(text)
        self.language_model.lm_head = nn.Linear(text["hidden_size"], text["vocab_size"], bias=False)
        self.apply(self._init)
        for layer in self.language_model.model.layers:
            for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
                nn.init.normal_(linear.weight, std=0.03)

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.08)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)

    def see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, S, S, 3] u8 -> feature layer [B, N, D] and image tokens [B, N, D]."""
        pixels = ((images.float() / 255 - IMAGE_MEAN) / IMAGE_STD).permute(0, 3, 1, 2)
        features = self.vision_tower.vision_model(pixels)
        return features, self.multi_modal_projector(features)

    def read(self, image_tokens: Tensor | None, ids: Tensor, factors: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Image tokens [B, N, D], or none for text alone, and ids [B, Q, L] -> TextModel's streams and attentions."""
        embed = self.language_model.model.embed_tokens
        prefix = embed.weight[self.bos].expand(len(ids), 1, -1)
        if image_tokens is not None:
            prefix = torch.cat([prefix, image_tokens.float()], 1)
        return self.language_model.model(prefix, embed(ids), factors)

    def logits(self, stream: Tensor) -> Tensor:
        """Residual stream [..., D] -> logits [..., vocabulary]."""
        return self.language_model.lm_head(self.language_model.model.norm(stream))


def rope_tables(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin [T, headDim] of the half-split rotary embedding."""
    angles = positions[:, None].float() * theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Applies the rotary embedding to x [B, H, T, d]."""
    a, b = x.chunk(2, -1)
    return (x * rope[0] + torch.cat([-b, a], -1) * rope[1]).to(x.dtype)


def load_config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def export(model: TinyLlava, path: Path) -> None:
    """Writes model.safetensors in f16, whole or not at all."""
    tensors = {name: t.detach().to(torch.float16).contiguous() for name, t in model.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(path)
