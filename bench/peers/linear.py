"""Linear attention of one head in chunks: ringfold, flash-linear-attention's PyTorch, and plain PyTorch."""
import importlib.util
import pathlib

import torch

from measure import Row, drawn


def reference(file):
    """A file of flash-linear-attention, without the package, which wants a GPU."""
    root = pathlib.Path(importlib.util.find_spec("fla").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location(file.replace("/", "_"), root / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chunked(q, k, v, gates, chunk):
    """[tokens, dim] each, gates [tokens] or None: products of all chunks at once, and a loop over states."""
    q, k, v = (x.unflatten(0, (-1, chunk)) for x in (q, k, v))
    q = q * q.shape[-1]**-0.5
    scores = q @ k.mT
    if gates is None:
        weights, into, decays = scores.tril(), k, None
    else:
        sums = gates.unflatten(0, (-1, chunk)).cumsum(-1)
        since = (sums[:, :, None] - sums[:, None, :]).masked_fill(
            torch.ones(chunk, chunk, dtype=torch.bool).triu(1), -torch.inf)
        weights, decays = scores * since.exp(), sums[:, -1].exp()
        q, into = q * sums.exp()[..., None], k * (sums[:, -1:] - sums).exp()[..., None]
    added = into.mT @ v
    states = [torch.zeros_like(added[0])]
    for i in range(len(added) - 1):
        kept = states[-1] if decays is None else states[-1] * decays[i]
        states.append(kept + added[i])
    return (weights @ v + q @ torch.stack(states)).flatten(0, 1)


def fla_calls(chunk):
    """Theirs without gates has chunks of 64 alone."""
    plain, gated = reference("ops/linear_attn/naive"), reference("ops/simple_gla/naive")

    def attend(q, k, v, gates):
        heads = [x[None, :, None] for x in (q, k, v)]
        if gates is None:
            return plain.naive_chunk_linear_attn(*heads)[0, :, 0]
        return gated.naive_chunk_simple_gla(*heads, gates[None, :, None], chunk_size=chunk)[0][0, :, 0]
    return attend


def exact(q, k, v, gates):
    """The definition, over all pairs."""
    weights = (q @ k.mT * q.shape[-1]**-0.5).tril()
    if gates is not None:
        sums = gates.cumsum(0)
        weights = weights * (sums[:, None] - sums).tril().exp()
    return weights @ v


def torch_calls(attend, inputs, dout):
    """Forward, which keeps nothing, and backward by autograd."""
    leaves = [x.clone().requires_grad_() for x in inputs if x is not None]
    made = {}

    def run():
        return attend(*leaves, *([None] * (4 - len(leaves))))

    kept = run()

    def forward():
        with torch.inference_mode():
            made["out"] = run()

    def backward():
        made["gradients"] = torch.autograd.grad(kept, leaves, dout, retain_graph=True)

    return (forward, lambda: [made["out"]]), (backward, lambda: made["gradients"])


def own_calls(subject, inputs, dout):
    out = torch.empty_like(dout)
    gradients = [torch.empty_like(x) if x is not None else None for x in inputs]
    tensors = [*inputs, out, dout, *gradients]
    return (subject.forward(tensors), lambda: [out]), \
        (subject.backward(tensors), lambda: [x for x in gradients if x is not None])


def multiply_adds(tokens, dim, chunk):
    return tokens * ((chunk + 1) / 2 * 2 * dim + 2 * dim * dim)


def rows(native, tokens, dims, chunks):
    generator = torch.Generator().manual_seed(2)
    for has_gates in (False, True):
        for dim in dims:
            q, k, v, dout = (drawn(generator, tokens, dim) for _ in range(4))
            inputs = [q, k, v, drawn(generator, tokens, low=-0.1, high=0) if has_gates else None]
            doubles = [x.double() if x is not None else None for x in inputs]
            (forward, outputs), (backward, gradients) = torch_calls(exact, doubles, dout.double())
            forward(), backward()
            expected = outputs(), gradients()
            for chunk in chunks:
                ways = {
                    "ringfold": own_calls(native.linear(tokens, dim, chunk, has_gates), inputs, dout),
                    "flash-linear-attention": torch_calls(fla_calls(chunk), inputs, dout),
                    "PyTorch, chunked": torch_calls(lambda *x, c=chunk: chunked(*x, c), inputs, dout),
                }
                for index, pass_, factor in ((0, "forward", 1), (1, "backward", 2.5)):
                    yield Row(group=f"{pass_} linear", cores=1,
                              name=f"{'gates per token' if has_gates else 'no gates'} d {dim} C {chunk} n {tokens}",
                              flops=2 * factor * multiply_adds(tokens, dim, chunk),
                              calls={name: way[index][0] for name, way in ways.items()},
                              results={name: way[index][1] for name, way in ways.items()},
                              expected=expected[index], tolerance=1e-5)
