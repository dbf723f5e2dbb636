#!/usr/bin/env python3
# pip install torch==2.15.0 numpy==2.4.6
"""Makes softmax attention and its gradients in float64, by autograd of plain matmul, softmax and logsumexp; one .npy file
per case beside itself, or in the folder that an argument names. README.md says what is in them.

Every case is also computed by torch's own scaled_dot_product_attention, forward and backward, and both must agree. That
one knows no cap: the output is then held against flex_attention, the gradients against differences.
"""
import hashlib
import pathlib
import sys
import warnings

import numpy
import torch
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

SIZE_LIMIT = 3 * 512 * 1024

# queries and keys are token counts, dims those of keys and values, left and right the widths of the window.
PLAIN = dict(batch=2, queries=24, keys=24, heads=4, kv_heads=4, dims=(8, 8), left=None, right=None)
CASES = {
    "plain": {},
    "causal": dict(right=0),
    "grouped": dict(heads=6, kv_heads=2, right=0),
    "multi_query": dict(kv_heads=1, dims=(12, 6), right=0),
    "window": dict(left=5, right=0, queries=40, keys=40, batch=1),
    "window_both": dict(left=3, right=4, queries=40, keys=40, batch=1),
    "softcap": dict(cap=30.0, right=0, scale=4.0),
    "sinks": dict(sinks=True, right=0),
    "alibi": dict(alibi=True, heads=6, kv_heads=3, right=0),
    "bias": dict(bias=True, batch=2, queries=16, keys=16),
    "packed": dict(lengths=(9, 1, 0, 20, 13), queries=43, keys=43, batch=1, right=0),
    "cross": dict(queries=11, keys=30, right=0),
}


def allowed(queries, keys, left, right, lengths, **_):
    """Which query sees which key; of fewer queries than keys the last one stands at the last key."""
    place = torch.arange(queries)[:, None] + keys - queries
    key = torch.arange(keys)[None, :]
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if left is not None:
        seen &= key >= place - left
    if right is not None:
        seen &= key <= place + right
    if lengths:
        document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        seen &= document[:, None] == document[None, :]
    return seen


def alibi_slopes(heads):
    """As published with the paper (Press et al., 2021)."""
    def of_power(n):
        start = 2 ** (-(2 ** -(numpy.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if numpy.log2(heads).is_integer():
        return of_power(heads)
    whole = 2 ** int(numpy.floor(numpy.log2(heads)))
    return of_power(whole) + alibi_slopes(2 * whole)[0::2][: heads - whole]


def by_definition(q, k, v, seen, scale, cap, bias, sinks):
    """[batch, head, token, dim] in, (output, log-sum-exp) out; nothing but matmul, softmax and logsumexp."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = torch.matmul(q, k.transpose(-1, -2)) * scale
    if cap is not None:
        scores = cap * torch.tanh(scores / cap)
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~seen, -torch.inf)
    if sinks is not None:
        column = sinks[None, :, None, None].expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, column], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., : k.shape[2]]
    return torch.matmul(weights, v), torch.logsumexp(scores, dim=-1)


def by_torch(q, k, v, seen, scale, bias, sinks):
    """The output, by the framework's own attention."""
    mask = torch.where(seen, 0.0, -torch.inf).to(torch.float64)[None, None]
    if bias is not None:
        mask = mask + bias
    if sinks is not None:  # a key of zeros whose score is the sink, and which has no value
        mask = mask.expand(q.shape[0], q.shape[1], *seen.shape)
        mask = torch.cat([mask, sinks[None, :, None, None].expand(*mask.shape[:3], 1)], dim=-1)
        k, v = torch.nn.functional.pad(k, (0, 0, 0, 1)), torch.nn.functional.pad(v, (0, 0, 0, 1))
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)


def check_capped(q, k, v, seen, scale, cap, o):
    """Holds a capped output against the framework's, and by_definition's gradients against differences."""
    def capped(score, b, h, i, j):
        return torch.where(seen[i, j], cap * torch.tanh(score / cap), -torch.inf)

    tensors = [x.detach().contiguous() for x in (q, k, v)]
    again = flex_attention(*tensors, score_mod=capped, scale=scale, enable_gqa=True)
    torch.testing.assert_close(o.detach(), again, rtol=1e-12, atol=1e-13)
    few = [x[:1, :1, :8].clone().requires_grad_() for x in tensors]
    assert torch.autograd.gradcheck(lambda *x: by_definition(*x, seen[:8, :8], scale, cap, None, None), few)


def make(index, of):
    """All arrays of one case, in the order of the file; tensors are [batch, token, head, dim]."""
    c = {**PLAIN, "lengths": None, "cap": None, "sinks": False, "alibi": False, "bias": False, "scale": 1.0, **of}
    generator = torch.Generator().manual_seed(index)

    def draw(*shape, bound=1.5):  # exact in float32
        numbers = torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 * bound - bound
        return numbers.to(torch.float32).to(torch.float64)

    b, h, hk, (dim, value_dim) = c["batch"], c["heads"], c["kv_heads"], c["dims"]
    q, k = draw(b, c["queries"], h, dim, bound=1.5 * c["scale"]), draw(b, c["keys"], hk, dim, bound=1.5 * c["scale"])
    v, dout, dlse = draw(b, c["keys"], hk, value_dim), draw(b, c["queries"], h, value_dim), draw(b, c["queries"], h)
    learned = [draw(h)] if c["sinks"] else [draw(h, c["queries"], c["keys"])] if c["bias"] else []
    leaves = [x.requires_grad_() for x in (q, k, v, *learned)]
    sinks = learned[0] if c["sinks"] else None
    bias = learned[0][None] if c["bias"] else None
    if c["alibi"]:
        distance = (torch.arange(c["queries"])[:, None] - torch.arange(c["keys"])[None, :]).abs()
        bias = -torch.tensor(alibi_slopes(h), dtype=torch.float64)[None, :, None, None] * distance
    by_head, seen, scale = [x.transpose(1, 2) for x in (q, k, v)], allowed(**c), dim**-0.5
    o, lse = by_definition(*by_head, seen, scale, c["cap"], bias, sinks)
    if c["cap"] is not None:
        check_capped(*by_head, seen, scale, c["cap"], o)
    else:
        again = by_torch(*by_head, seen, scale, bias, sinks)
        torch.testing.assert_close(o, again, rtol=1e-12, atol=1e-13)
        by_both = [torch.autograd.grad((x * dout.transpose(1, 2)).sum(), leaves, retain_graph=True) for x in (o, again)]
        for mine, theirs in zip(*by_both):
            torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)
    o, lse = o.transpose(1, 2), lse.transpose(1, 2)
    gradients = torch.autograd.grad((o * dout).sum() + (lse * dlse).sum(), leaves)
    return [q, k, v, *learned, dout, dlse, o, lse, *gradients]


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="flex_attention called without")
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    total = 0
    for index, (name, of) in enumerate(CASES.items()):
        path = target / f"{name}.npy"
        numpy.save(path, numpy.concatenate([x.detach().numpy().ravel() for x in make(index, of)]))
        total += path.stat().st_size
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name, sep="  ")
    if total > SIZE_LIMIT:
        sys.exit(f"{total} bytes written, must be at most {SIZE_LIMIT}")


if __name__ == "__main__":
    main()
