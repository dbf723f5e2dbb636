#!/usr/bin/env python3
# pip install torch==2.15.0 numpy==2.4.6 einops==0.8.2 && pip install --no-deps fla-core==0.6.0
# MAMBA_SKIP_CUDA_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE pip install --no-build-isolation --no-deps mamba-ssm==2.3.2.post1
"""Makes recurrences and their gradients in float64, by the reference implementations that their authors publish and
autograd; one .npy file per case beside itself, or in the folder that an argument names. README.md says what is in them.

The references are plain PyTorch in files of their own, which are loaded by path: the packages themselves want a GPU.
They work in float32; here the word means float64 to them. Each case is also computed by another of them, chunk by chunk
where the first goes token by token, forward and backward, and both must agree.
"""
import hashlib
import importlib.util
import pathlib
import sys
import types

import numpy
import torch

SIZE_LIMIT = 160 * 1024


class TorchInDouble(types.ModuleType):
    """torch as a module sees it to whom every float is a double."""

    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def reference(package, file):
    """Loads one file of an installed package, without the package."""
    root = pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location(file.replace("/", "_"), root / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.torch = TorchInDouble("torch")
    return module


torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
kernels = types.ModuleType("mamba_ssm.ops.triton.ssd_combined")
kernels.mamba_chunk_scan_combined = None  # what ssd_minimal.py compares itself with on a GPU
sys.modules[kernels.__name__] = kernels
LINEAR = reference("fla", "ops/linear_attn/naive")
RETENTION = reference("fla", "ops/retention/naive")
SIMPLE_GLA = reference("fla", "ops/simple_gla/naive")
MAMBA2 = reference("mamba_ssm", "modules/ssd_minimal")
GLA = reference("fla", "ops/gla/naive")
DELTA = reference("fla", "ops/delta_rule/naive")
GATED_DELTA = reference("fla", "ops/gated_delta_rule/naive")
KDA = reference("fla", "ops/kda/naive")
DPLR = reference("fla", "ops/generalized_delta_rule/dplr/naive")
CHUNK = 7  # divides all token counts


def by_head(function, *tensors, **options):
    """Calls what has heads outside of tokens."""
    o, final = function(*(x.transpose(1, 2) for x in tensors), output_final_state=True, **options)
    return o.transpose(1, 2), final


def by_token(g, like):
    """Gates by head as gates by token."""
    return g.expand(like.shape[:3])


# Both ways of each case, from [batch, token, head, ...] to (o, final state [batch, head, dim, value dim]).

def linear(q, k, v, initial):
    return LINEAR.naive_recurrent_linear_attn(q, k, v, initial_state=initial, output_final_state=True)


def linear_again(q, k, v, initial):
    return gated_chunks(q, k, v, torch.zeros(q.shape[:3]), initial)


def gated_chunks(q, k, v, g, initial, scale=None):
    return SIMPLE_GLA.naive_chunk_simple_gla(q, k, v, g, initial, True, CHUNK, scale)


def retention(q, k, v, g, initial):
    return SIMPLE_GLA.naive_recurrent_simple_gla(q, k, v, by_token(g, q), initial_state=initial)


def retention_again(q, k, v, g, initial):
    """That of the paper knows no states, and its own decays: what it makes must be what is left without a state."""
    o, final = gated_chunks(q, k, v, by_token(g, q), initial)
    without, _ = gated_chunks(q, k, v, by_token(g, q), None)
    theirs = RETENTION.naive_retention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)
    return theirs + (o - without), final


def simple_gla(q, k, v, g, initial):
    return SIMPLE_GLA.naive_recurrent_simple_gla(q, k, v, g, initial_state=initial)


def mamba2(q, k, v, g, initial):
    """X is v, B is k, C is q, A is g, states are [value dim, dim], and nothing is scaled."""
    o, final = MAMBA2.ssd_minimal_discrete(v, g, k, q, CHUNK, initial.transpose(2, 3)[:, None])
    return o, final.transpose(2, 3)


def mamba2_again(q, k, v, g, initial):
    return SIMPLE_GLA.naive_recurrent_simple_gla(q, k, v, g, scale=1.0, initial_state=initial)


def gla(q, k, v, g, initial):
    return GLA.naive_recurrent_gla(q, k, v, g, initial, True)


def gla_again(q, k, v, g, initial):
    none = torch.zeros(q.shape)
    return rwkv7_again(q, k, v, g, none, none, initial)


def delta(q, k, v, beta, initial):
    return by_head(DELTA.delta_rule_recurrence, q, k, v, beta, initial_state=initial)


def delta_again(q, k, v, beta, initial):
    return gated_delta_again(q, k, v, torch.zeros(q.shape[:3]), beta, initial)


def gated_delta(q, k, v, g, beta, initial):
    return GATED_DELTA.naive_recurrent_gated_delta_rule(q, k, v, beta, g, None, initial, True)


def gated_delta_again(q, k, v, g, beta, initial):
    return GATED_DELTA.naive_chunk_gated_delta_rule(q, k, v, g, beta, CHUNK, None, initial, True)


def kda(q, k, v, g, beta, initial):
    return KDA.naive_recurrent_kda(q, k, v, g, beta, None, initial, True)


def kda_again(q, k, v, g, beta, initial):
    return KDA.naive_chunk_kda(q, k, v, g, beta, None, initial, True, CHUNK)


def rwkv7(q, k, v, g, a, b, initial):
    """S = diag(exp g) S + b (a^T S) + k v^T; of the model, a is -kappa and b is kappa times its rate."""
    return by_head(DPLR.dplr_recurrence, q, k, v, a, b, g, initial_state=initial)


def rwkv7_again(q, k, v, g, a, b, initial):
    return by_head(DPLR.dplr_chunkwise, q, k, v, a, b, g, initial_state=initial, chunk_size=CHUNK)


# batch, tokens, heads, dim, value dim, and what there is besides q, k, v and initial.
CASES = {
    "linear": (linear, linear_again, (2, 14, 2, 5, 3), ()),
    "retention": (retention, retention_again, (1, 21, 2, 6, 4), ("decay",)),
    "simple_gla": (simple_gla, gated_chunks, (1, 21, 2, 6, 4), ("gate",)),
    "mamba2": (mamba2, mamba2_again, (1, 14, 2, 8, 5), ("gate",)),
    "gla": (gla, gla_again, (1, 21, 2, 6, 4), ("gates",)),
    "delta": (delta, delta_again, (2, 14, 2, 5, 3), ("beta",)),
    "gated_delta": (gated_delta, gated_delta_again, (1, 21, 2, 6, 4), ("gate", "beta")),
    "kda": (kda, kda_again, (1, 21, 2, 6, 4), ("gates", "beta")),
    "rwkv7": (rwkv7, rwkv7_again, (1, 14, 2, 6, 4), ("gates", "a", "b")),
}


def make(index, function, again, extents, more):
    """All arrays of one case, in the order of the file."""
    batch, tokens, heads, dim, value_dim = extents
    generator = torch.Generator().manual_seed(index)

    def draw(*shape, low=-1.5, high=1.5):
        return torch.rand(*shape, generator=generator) * (high - low) + low

    def exact(x):  # in float32
        return x.to(torch.float32).to(torch.float64)

    def of_length_1(x):
        return x / x.norm(dim=-1, keepdim=True)

    rows, states = (batch, tokens, heads), (batch, heads, dim, value_dim)
    inputs = [exact(draw(*rows, dim)), exact(draw(*rows, dim)), exact(draw(*rows, value_dim))]
    if "beta" in more:  # a reflection needs its key's length
        inputs[1] = exact(of_length_1(inputs[1]))
    kappa = exact(of_length_1(draw(*rows, dim))) if "a" in more else None
    made = {
        "decay": lambda: torch.log(1 - torch.exp2(-5.0 - torch.arange(heads))),
        "gate": lambda: exact(-(10 ** draw(*rows, low=-3, high=0.6))),
        "gates": lambda: exact(-(10 ** draw(*rows, dim, low=-3, high=0.6))),
        "beta": lambda: exact(draw(*rows, low=0, high=2 if more == ("beta",) else 1)),
        "a": lambda: -kappa,
        "b": lambda: exact(kappa * draw(*rows, dim, low=0, high=1)),
    }
    inputs += [made[name]() for name in more] + [exact(draw(*states))]
    cotangents = [exact(draw(*rows, value_dim)), exact(draw(*states))]

    def run(way):
        leaves = [x.clone().requires_grad_() for x in inputs]
        results = way(*leaves)
        assert all(x.dtype == torch.float64 for x in results)
        gradients = torch.autograd.grad(sum((x * dx).sum() for x, dx in zip(results, cotangents)), leaves)
        return [*results, *gradients]

    results, results_again = run(function), run(again)
    if function is retention:  # theirs has decays of its own, which get no gradient
        results_again[5] = results[5]
    for mine, theirs in zip(results, results_again):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-13)
    return [*inputs, *cotangents, *results]


def main():
    torch.set_num_threads(1)
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    total = 0
    for index, (name, of) in enumerate(CASES.items()):
        path = target / f"{name}.npy"
        numpy.save(path, numpy.concatenate([x.detach().numpy().ravel() for x in make(index, *of)]))
        total += path.stat().st_size
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name, sep="  ")
    if total > SIZE_LIMIT:
        sys.exit(f"{total} bytes written, must be at most {SIZE_LIMIT}")


if __name__ == "__main__":
    main()
