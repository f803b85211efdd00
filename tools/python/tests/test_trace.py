"""Traces made here by hand, and, where ADAPTVIS_TRACE names one, a trace of the command."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from adaptvis_trace import Trace, canonical_name

TEXTS = ["<s>", "<image>", "<image>", "<image>", "<image>", "<image>", " the", " ba", "ll", " on", " a"]
KINDS = ["text", *["image 0"] * 4, "newline 0", *["text"] * 3, "generated", "generated"]
CELLS = [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0, 0, 1, 1], None]
PROBS = np.arange(2 * 2 * 10, dtype=np.float32).reshape(2, 2, 10)


def written(path, tensors, **metadata):
    pictures = [{"runs": [[1, 3], [3, 6]], "map": [2, 2], "cells": CELLS}]
    texts = {"token_texts": TEXTS, "token_kinds": KINDS, "pictures": pictures, **metadata}
    save_file(tensors, path, {name: json.dumps(value) for name, value in texts.items()})
    return Trace(path)


@pytest.fixture
def trace(tmp_path):
    about = {"place": "layers.2.attention_probs", "axes": ["position", "head", "key"], "positions": [8, 9], "heads": [1, 3]}
    state = {"place": "layers.2.hidden_states", "axes": ["position", "column"], "positions": [3], "heads": None}
    reads = {"blocks.2.attn.hook_pattern[1,3]": about, "layers.2.hidden_states": state}
    tensors = {"blocks.2.attn.hook_pattern[1,3]": PROBS, "layers.2.hidden_states": np.ones((1, 6), np.float32)}
    return written(tmp_path / "reads.safetensors", tensors, reads=reads)


def test_tokens(trace):
    assert trace.prompt_length == 9
    assert trace.answer == " on a"
    assert trace.find("ball") == [7, 8]
    assert trace.find("a") == [1, 2, 3, 4, 5, 7, 10]
    assert trace.positions("last") == [8]
    assert trace.positions("image") == [1, 2, 3, 4, 5]
    assert trace.positions("text") == [0, 6, 7, 8]
    assert trace.positions([-1, 0]) == [8, 0]


def test_names_of_a_place(trace):
    for name in ("blocks.2.attn.hook_pattern[1,3]", "blocks.2.attn.hook_pattern", "layers.2.attention_probs"):
        assert name in trace
        assert trace[name].shape == (2, 2, 10)
    assert "layers.0.attention_probs" not in trace
    assert trace.layers == [2]
    assert canonical_name("blocks.0.hook_resid_pre") == "inputs_embeds"
    assert canonical_name("blocks.3.hook_resid_pre") == "layers.2.hidden_states"
    assert canonical_name("ln_final.hook_scale") == "norm.scale"


def test_rows_by_token_and_head(trace):
    assert np.array_equal(trace.rows("layers.2.attention_probs", at=[9, 8], heads=[3]), PROBS[::-1, 1:])
    assert np.array_equal(trace.attention(2, head=3, at=" on"), PROBS[1, 1])
    assert np.allclose(trace.attention(2, at="last"), PROBS[0].mean(0))


def test_a_map_keeps_the_attention_of_patches(trace):
    # Patches at positions 1 to 3 fill a cell each, 4 all of them; the newline at 5 has no place.
    attention = PROBS[0, 0]
    expected = np.array([[attention[1], attention[2]], [attention[3], 0]]) + attention[4] / 4
    assert np.allclose(trace.map(2, head=1), expected)
    assert trace.map(2, head=1).sum() == pytest.approx(attention[1:5].sum())
    assert trace.share(2, head=1) == pytest.approx(attention[1:6].sum())


def test_a_map_of_cells_across_borders(tmp_path):
    cells = [[0, 0, 0.75, 1]]
    pictures = [{"runs": [[1, 2]], "map": [1, 2], "cells": cells}]
    picture = written(tmp_path / "t.safetensors", {"a": np.zeros(1)}, pictures=pictures, reads={}).pictures[0]
    assert np.allclose(picture.spread(np.array([3.0])), [[2, 1]])


def test_a_whole_trace(tmp_path):
    tensors = {
        "layers.0.attention_probs": PROBS[0, :, :9].copy(),
        "layers.0.hidden_states": np.arange(6, dtype=np.float32),
        "generated.layers.0.attention_probs": PROBS[1:].copy(),
        "logits": np.zeros(4, np.float32),
    }
    trace = written(tmp_path / "whole.safetensors", tensors)
    assert np.array_equal(trace.rows("layers.0.attention_probs", at="last")[0], PROBS[0, :, :9])
    both = trace.rows("blocks.0.attn.hook_pattern", at=[8, 9])
    assert both.shape == (2, 2, 10)
    assert np.array_equal(both[0, :, 9], [0, 0])  # the last prompt row does not see position 9
    assert np.array_equal(trace.rows("layers.0.hidden_states")[0], np.arange(6))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda trace: trace["layers.9.attention_probs"], "has no layers.9.attention_probs"),
        (lambda trace: trace.rows("layers.2.hidden_states", at=4), r"does not have position 4; it has positions 3\."),
        (lambda trace: trace.attention(2, head=0), r"does not have heads \[0\]"),
        (lambda trace: trace.positions(11), r"Positions are 0 to 10, got 11\."),
        (lambda trace: trace.positions("dog"), "has no tokens 'dog'"),
        (lambda trace: trace.map(2, picture=1), r"has 1 pictures, got 1\."),
    ],
)
def test_what_is_not_there(trace, wrong, message):
    with pytest.raises((KeyError, ValueError), match=message):
        wrong(trace)


def test_another_file_is_refused(tmp_path):
    save_file({"a": np.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is not a trace of adaptvis"):
        Trace(tmp_path / "other.safetensors")


def test_plot(trace):
    pytest.importorskip("matplotlib", reason="matplotlib is an extra").use("Agg")
    ax = trace.plot(2, head=1, image=np.zeros((20, 20, 3)))
    assert ax.get_title() == "layer 2, head 1, 'last'"
    assert len(ax.images) == 2


@pytest.mark.skipif("ADAPTVIS_TRACE" not in os.environ, reason="npm test names a trace of the command in ADAPTVIS_TRACE")
def test_a_trace_of_the_command():
    trace = Trace(os.environ["ADAPTVIS_TRACE"])
    positions = [*trace.find("picture"), *trace.positions("last")]
    rows = trace.rows("layers.1.attention_probs", at=positions)
    assert np.allclose(rows.sum(-1), 1, atol=1e-5)
    for row, position in zip(rows, positions, strict=True):
        assert not row[:, position + 1 :].any()
    shown = trace.map(1, at="picture")
    assert shown.shape == trace.pictures[0].shape
    assert shown.sum() == pytest.approx(trace.share(1, at="picture"), rel=1e-5)
