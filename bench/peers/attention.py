"""Softmax attention of one head: ringfold, PyTorch's flash attention on a CPU, and the same on libraries' products."""
import itertools

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from measure import Row, drawn

LIBRARIES = ("ringfold", "oneDNN", "OpenBLAS")


def pairs(tokens, is_causal):
    return tokens * (tokens + 1) / 2 if is_causal else tokens**2


def exact(q, k, v, dout, is_causal):
    """out, dq, dk, dv in float64, by their definitions."""
    q, k, v, dout = (x.double() for x in (q, k, v, dout))
    scale = q.shape[-1]**-0.5
    scores = q @ k.T * scale
    if is_causal:
        scores.masked_fill_(torch.ones(scores.shape, dtype=torch.bool).triu(1), -torch.inf)
    weights = scores.softmax(-1)
    out = weights @ v
    slopes = weights * (dout @ v.T - (dout * out).sum(-1, keepdim=True)) * scale
    return out, slopes @ k, slopes.T @ q, weights.T @ dout


def torch_calls(q, k, v, dout, is_causal):
    """Forward and backward, each (call, results); the backend is asked for, and its node in the graph looked at."""
    leaves = [x[None, None].clone().requires_grad_() for x in (q, k, v)]
    cotangent, made = dout[None, None], {}

    def attend():
        return scaled_dot_product_attention(*leaves, is_causal=is_causal)

    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        kept = attend()
    assert kept.grad_fn.name() == "ScaledDotProductFlashAttentionForCpuBackward0"

    def forward():
        with torch.inference_mode():
            made["out"] = attend()

    def backward():
        made["gradients"] = torch.autograd.grad(kept, leaves, cotangent, retain_graph=True)

    return (forward, lambda: [made["out"]]), (backward, lambda: made["gradients"])


def library_calls(subject, q, k, v, dout):
    out, dq, dk, dv = (torch.empty_like(q) for _ in range(4))
    tensors = [q, k, v, out, torch.empty(q.shape[0]), dout, dq, dk, dv]
    return (subject.forward(tensors), lambda: [out]), (subject.backward(tensors), lambda: [dq, dk, dv])


def rows(native, tokens, dims, dtypes):
    generator = torch.Generator().manual_seed(1)
    for dtype, is_causal, dim, count in itertools.product(dtypes, (False, True), dims, tokens):
        is_bf16 = dtype == torch.bfloat16
        q, k, v, dout = (drawn(generator, count, dim).to(dtype) for _ in range(4))
        out, *gradients = exact(q, k, v, dout, is_causal)
        subjects = {name: native.attention(name, count, dim, is_causal, is_bf16) for name in LIBRARIES}
        ways = {name: library_calls(subject, q, k, v, dout) for name, subject in subjects.items() if subject}
        ways["PyTorch"] = torch_calls(q, k, v, dout, is_causal)
        for index, pass_, products, expected in ((0, "forward", 2, [out]), (1, "backward", 5, gradients)):
            yield Row(group=f"{pass_} {'bf16' if is_bf16 else 'fp32'}", cores=1,
                      name=f"{'causal' if is_causal else 'full'} d {dim} n {count}",
                      flops=2 * products * pairs(count, is_causal) * dim,
                      calls={name: way[index][0] for name, way in ways.items()},
                      results={name: way[index][1] for name, way in ways.items()},
                      expected=expected, tolerance=1e-2 if is_bf16 else 1e-5)
