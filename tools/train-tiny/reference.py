"""ScalingVis and AdaptVis (arXiv 2503.01773) on Hugging Face's LlavaForConditionalGeneration, in f32.

At prefill, in every decoder layer and head, the last prompt token's raw scores of the image columns are multiplied
by the factor, before the mask and the softmax. Decode steps are not touched.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoTokenizer, LlavaForConditionalGeneration, LlavaProcessor
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from questions import PROMPT
from settings import SETTINGS

IMAGE_SPAN = slice(1, 1 + SETTINGS.grid**2)  # after BOS


class Scaled:
    """The factor that the attention function applies; 1 leaves the scores alone, None hides the image from the row."""

    factor: float | None = 1.0


def scaled_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: object
) -> tuple[Tensor, Tensor]:
    """Eager attention with the factor on the last row's image columns; without a factor in the vision tower."""
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if module.is_causal and query.shape[2] > 1:
        if Scaled.factor is None:
            scores[..., -1, IMAGE_SPAN] = float("-inf")
        elif Scaled.factor != 1:
            scores[..., -1, IMAGE_SPAN] *= Scaled.factor
    if attention_mask is not None:
        scores = scores + attention_mask
    probs = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return (probs @ value).transpose(1, 2).contiguous(), probs


AttentionInterface.register("adaptvis", scaled_attention)
AttentionMaskInterface.register("adaptvis", eager_mask)


@dataclass
class Reply:
    """What the model said: the text, the generated ids, the first step's logits, and its rounded confidence."""

    text: str
    ids: list[int]
    logits: Tensor
    confidence: float


class Reference:
    """A checkpoint folder loaded through transformers, with PIL preprocessing."""

    def __init__(self, folder: Path):
        self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="adaptvis").eval()
        image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = LlavaProcessor(
            image_processor, tokenizer, patch_size=SETTINGS.patch, vision_feature_select_strategy="default", num_additional_image_tokens=1
        )

    def inputs(self, pictures: list[Image.Image], questions: list[str]) -> dict[str, Tensor]:
        """Processor outputs for questions of one and the same token length."""
        prompts = [PROMPT.format(question=q) for q in questions]
        return self.processor(images=pictures, text=prompts, return_tensors="pt")

    @torch.inference_mode()
    def ask(self, inputs: dict[str, Tensor], factor: float | None, max_new_tokens: int = 4) -> list[Reply]:
        """Greedy answers with one factor (None: the last prompt token does not see the image)."""
        Scaled.factor = factor
        out = self.model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        Scaled.factor = 1.0
        length = inputs["input_ids"].shape[1]
        replies = []
        for row, logits in zip(out.sequences[:, length:], out.logits[0], strict=True):
            text = self.processor.tokenizer.decode(row, skip_special_tokens=True)
            ids = row.tolist()
            end = self.model.generation_config.eos_token_id
            ids = ids[: ids.index(end) + 1] if end in ids else ids
            confidence = round(float(logits.float().softmax(-1).max()), 2)
            replies.append(Reply(text, ids, logits.float(), confidence))
        return replies
