"""JinaBERT and the bidirectional Qwen3 in float64 NumPy, written from their description and not from our code.

Both take a checkpoint's configuration and weights, and the ids of one text without padding; both give the states of its
tokens, shape ``(n_tokens, hidden)``. They agree with outputs recorded of the published code on random weights to 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]


def jina_bert(config: Mapping[str, Any], weights: Weights, ids: np.ndarray) -> np.ndarray:
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
    heads, hidden = config["num_attention_heads"], config["hidden_size"]

    def linear(states: np.ndarray, name: str, bias: bool = True) -> np.ndarray:
        return states @ weights[f"{name}.weight"].T + (weights[f"{name}.bias"] if bias else 0)

    def norm(states: np.ndarray, name: str) -> np.ndarray:
        centred = states - states.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + config["layer_norm_eps"])
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    power = 1
    while power * 2 <= heads:
        power *= 2
    slopes = [2.0 ** (-8 * k / power) for k in range(1, power + 1)]
    slopes += [2.0 ** (-4 * (2 * j + 1) / power) for j in range(heads - power)]
    distance = np.abs(np.subtract.outer(np.arange(len(ids)), np.arange(len(ids))))

    states = norm(
        weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm",
    )
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        own = f"{layer}.attention.self"
        query, key, value = (linear(states, f"{own}.{name}") for name in ("query", "key", "value"))
        post_norm = f"{own}.layer_norm_q.weight" in weights
        if post_norm:
            query, key = norm(query, f"{own}.layer_norm_q"), norm(key, f"{own}.layer_norm_k")
        attended = np.empty_like(query)
        size = hidden // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / math.sqrt(size) - slopes[head] * distance
            attended[:, part] = softmax(scores) @ value[:, part]
        after = norm(
            linear(attended, f"{layer}.attention.output.dense") + states, f"{layer}.attention.output.LayerNorm"
        )
        inner = config["intermediate_size"]
        if post_norm:
            middle = norm(after + states, f"{layer}.layer_norm_1")
            both = linear(middle, f"{layer}.mlp.up_gated_layer", bias=False)
            down = linear(both[:, :inner] * gelu(both[:, inner:]), f"{layer}.mlp.down_layer")
            states = norm(down + middle, f"{layer}.layer_norm_2")
        else:
            both = linear(after, f"{layer}.mlp.gated_layers", bias=False)
            states = norm(
                linear(gelu(both[:, :inner]) * both[:, inner:], f"{layer}.mlp.wo") + after, f"{layer}.mlp.layernorm"
            )
    return states


def pplx_qwen3(config: Mapping[str, Any], weights: Weights, ids: np.ndarray) -> np.ndarray:
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size = config["head_dim"]

    def norm(states: np.ndarray, name: str) -> np.ndarray:
        mean = (states**2).mean(axis=-1, keepdims=True)
        return states / np.sqrt(mean + config["rms_norm_eps"]) * weights[f"{name}.weight"]

    frequencies = (config["rope_theta"] ** -(np.arange(0, size, 2) / size)).astype(np.float32)
    angles = np.outer(np.arange(len(ids), dtype=np.float32), frequencies)  # rounded, as everywhere
    cosines, sines = np.tile(np.cos(angles), 2), np.tile(np.sin(angles), 2)

    def rotate(states: np.ndarray) -> np.ndarray:
        first, second = np.split(states, 2, axis=-1)
        return states * cosines + np.concatenate([-second, first], axis=-1) * sines

    states = weights["embed_tokens.weight"][ids]
    for number in range(config["num_hidden_layers"]):
        layer = f"layers.{number}"
        normed = norm(states, f"{layer}.input_layernorm")
        own = f"{layer}.self_attn"
        query, key, value = (normed @ weights[f"{own}.{name}_proj.weight"].T for name in ("q", "k", "v"))
        parts = []
        for head in range(heads):
            place = slice(head * size, (head + 1) * size)
            common = slice(head * shared // heads * size, (head * shared // heads + 1) * size)
            one = rotate(norm(query[:, place], f"{own}.q_norm"))
            other = rotate(norm(key[:, common], f"{own}.k_norm"))
            parts.append(softmax(one @ other.T / math.sqrt(size)) @ value[:, common])
        states = states + np.concatenate(parts, axis=1) @ weights[f"{own}.o_proj.weight"].T
        normed = norm(states, f"{layer}.post_attention_layernorm")
        gate, up = (normed @ weights[f"{layer}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        states = states + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{layer}.mlp.down_proj.weight"].T
    return norm(states, "norm")


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gelu(values: np.ndarray) -> np.ndarray:
    return values * (1 + np.vectorize(math.erf)(values / math.sqrt(2))) / 2
