"""Ring attention on two ranks: ringfold's are threads, torch.distributed's are processes that speak over gloo.

All have one thread a rank and zigzag shards. ringfold's blocks are under way while one is worked on; gloo's are, or are
waited for first: its own threads share the cores with the work. Times are passed time, from when both ranks are ready
until both are done.
"""
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.functional import logsigmoid

from attention import exact, pairs
from measure import Row, drawn

RANKS = 2


def shard(whole, rank):
    """Two of 2 RANKS pieces, so that causal work is even."""
    pieces = whole.chunk(2 * RANKS)
    return torch.cat([pieces[rank], pieces[2 * RANKS - 1 - rank]])


def gathered(shards):
    halves = [x.chunk(2) for x in shards]
    return torch.cat([first for first, _ in halves] + [second for _, second in reversed(halves)])


def flash(q, k, v, is_causal):
    """out and lse of [rows, dim]."""
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = attend(q[None, None], k[None, None], v[None, None], 0.0, is_causal)
    return out[0, 0], lse[0, 0, :, None]


def merge(out, lse, block_out, block_lse):
    """As ring-flash-attention does, in place."""
    out -= torch.sigmoid(block_lse - lse) * (out - block_out)
    lse -= logsigmoid(lse - block_lse)


def ring_attention(q, k, v, is_causal, overlaps):
    """Blocks go round; of one that comes from a rank before, all queries see the first half, and of one from a rank
    behind, the second half of the queries sees all."""
    rank, half = dist.get_rank(), len(q) // 2
    block = torch.stack([k, v])
    for step in range(RANKS):
        posted = []
        if step + 1 < RANKS:
            following = torch.empty_like(block)
            posted = dist.batch_isend_irecv([dist.P2POp(dist.isend, block, (rank + 1) % RANKS),
                                             dist.P2POp(dist.irecv, following, (rank - 1) % RANKS)])
        if not overlaps:
            wait(posted)
        owner = (rank - step) % RANKS
        if step == 0:
            out, lse = flash(q, block[0], block[1], is_causal)
        elif not is_causal:
            merge(out, lse, *flash(q, block[0], block[1], False))
        elif owner < rank:
            merge(out, lse, *flash(q, block[0, :half], block[1, :half], False))
        else:
            merge(out[half:], lse[half:], *flash(q[half:], block[0], block[1], False))
        if overlaps:
            wait(posted)
        if posted:
            block = following
    return out


def wait(posted):
    for each in posted:
        each.wait()


def gloo_rank(rank, port, pipe):
    """A process: for each task, when it began and ended each call, and what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    with torch.inference_mode():
        while (task := pipe.recv()) is not None:
            *given, calls = task
            out, spans = ring_attention(*given), []
            for _ in range(calls):
                dist.barrier()
                start = time.monotonic()
                out = ring_attention(*given)
                spans.append((start, time.monotonic()))
            pipe.send((spans, out.clone()))
    dist.destroy_process_group()


class Gloo:
    """The two processes, which wait for work."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = torch.multiprocessing.get_context("spawn")
        self._pipes, self._ranks = [], []
        for rank in range(RANKS):
            ours, theirs = context.Pipe()
            self._ranks.append(context.Process(target=gloo_rank, args=(rank, port, theirs), daemon=True))
            self._ranks[-1].start()
            self._pipes.append(ours)

    def ring(self, q, k, v, is_causal, overlaps, calls):
        """Seconds of each call, and out."""
        for rank, pipe in enumerate(self._pipes):
            pipe.send((*(shard(x, rank) for x in (q, k, v)), is_causal, overlaps, calls))
        spans, outs = zip(*(pipe.recv() for pipe in self._pipes))
        seconds = [max(end for _, end in ranks) - max(start for start, _ in ranks) for ranks in zip(*spans)]
        return seconds, gathered(outs)

    def close(self):
        for pipe in self._pipes:
            pipe.send(None)
        for rank in self._ranks:
            rank.join()


def rows(native, gloo, tokens, dims):
    """Calls of these take a number of rounds, and return the seconds of each."""
    generator = torch.Generator().manual_seed(3)
    for is_causal in (False, True):
        for dim in dims:
            q, k, v, dout = (drawn(generator, tokens, dim) for _ in range(4))
            out, made = torch.empty_like(q), {}

            def ours(calls, args=(tokens, dim, is_causal, (q, k, v, out))):
                return native.ring(*args, calls)

            def theirs(overlaps, made=made, args=(q, k, v, is_causal)):
                def call(calls):
                    seconds, made[overlaps] = gloo.ring(*args, overlaps, calls)
                    return seconds
                return call

            yield Row(group="ring of 2", name=f"{'causal' if is_causal else 'full'} d {dim} n {tokens}", cores=RANKS,
                      flops=4 * pairs(tokens, is_causal) * dim,
                      calls={"ringfold": ours, "gloo, overlapping": theirs(True), "gloo, waiting": theirs(False)},
                      results={"ringfold": lambda out=out: [out],
                               "gloo, overlapping": lambda made=made: [made[True]],
                               "gloo, waiting": lambda made=made: [made[False]]},
                      expected=[exact(q, k, v, dout, is_causal)[0]], tolerance=1e-5)
