"""Eager attention whose last prompt row has its scores of chosen columns multiplied, before mask and softmax, in every layer and head.

Importing this registers it as "scaled-columns". Decode steps, which have one row, and vision towers are left alone. With `columns` None,
it is transformers' own.
"""

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward, repeat_kv

# columns: an index of key positions; probs: a list that the probabilities [H, T] of every layer's last row are added to, or None.
edit = {"factor": 1.0, "columns": None, "probs": None}


def scaled_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    if query.shape[2] == 1 or edit["columns"] is None or not hasattr(module, "num_key_value_groups"):
        return eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout, **kwargs)
    scores = torch.matmul(query, repeat_kv(key, module.num_key_value_groups).transpose(2, 3)) * scaling
    scores[:, :, -1, edit["columns"]] *= edit["factor"]
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : key.shape[-2]]
    probs = torch.softmax(scores, dim=-1, dtype=torch.float32)
    if edit["probs"] is not None:
        edit["probs"].append(probs[0, :, -1].clone())
    return torch.matmul(probs, repeat_kv(value, module.num_key_value_groups)).transpose(1, 2).contiguous(), probs


ALL_ATTENTION_FUNCTIONS.register("scaled-columns", scaled_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("scaled-columns", eager_mask)
