"""The table of a result, in Markdown."""
import statistics

NOTES = """\
Times are medians of {rounds} rounds in milliseconds of CPU time, one thread on one core, the same for all. They are
measured in turns, each after a call that warms its caches. Of rings it is passed time, of two ranks on two cores.

- *of peak*: ringfold's share of the fp32 multiply-add peak of as many cores, {peak:.1f} GFLOP/s each, the
  median of what was calibrated between the rows. Products of bf16 can have more than that.
- *x*: how many times as fast as the peer ringfold is; **bold** where it is behind.
- One head, batch 1; C is the chunk. Every output and gradient was compared with fp64 before it was measured,
  rings afterwards.

What is called:

- *ringfold*: `plan` and `backward_plan` of `flash_kernel`, `recurrence_plan` and `recurrence_backward_plan` of `decay`,
  all that they check included.
- *PyTorch*: `scaled_dot_product_attention` by its flash backend, and autograd's backward of it without the forward.
- *oneDNN*, *OpenBLAS*: flash attention in PyTorch's blocks of 256 x 512, forward and backward, on their matrix products
  (`blocked_attention.hpp`). OpenBLAS has none of bf16 here.
- *flash-linear-attention*: its plain PyTorch, which without gates has chunks of 64 alone.
- *gloo*: a ring of two processes over torch.distributed whose blocks are PyTorch's flash attention; blocks travel while
  one is worked on, or are waited for before.

PyTorch takes memory for what it returns; malloc was told to keep freed memory, so that it need not be mapped again.
ggml is not among the peers: it has no package to build from.
"""


def median(numbers):
    return statistics.median(numbers)


def groups(result):
    """Rows by group, in order."""
    found = {}
    for row in result["rows"]:
        found.setdefault(row["group"], []).append(row)
    return found


def of_peak(result, row, name):
    """The share of the peak of all cores that a subject had."""
    return row["flops"] / median(row["seconds"][name]) / (result["fma_peak"] * row["cores"])


def peers_of(rows):
    """All that the rows were measured beside, in order."""
    return list(dict.fromkeys(name for row in rows for name in row["seconds"] if name != "ringfold"))


def cells(result, row, peers):
    own = median(row["seconds"]["ringfold"])
    yield from (row["name"], f"{1e3 * own:.3g}", f"{of_peak(result, row, 'ringfold'):.1%}")
    for peer in peers:
        if peer not in row["seconds"]:
            yield from ("", "")
            continue
        theirs = median(row["seconds"][peer])
        ratio = f"{theirs / own:.2f}"
        yield from (f"{1e3 * theirs:.3g}", f"**{ratio}**" if theirs < own else ratio)


def table(result):
    machine = result["machine"]
    lines = [
        f"# ringfold beside its peers, {result['date']}, commit {result['commit']}", "",
        f"{machine['processor']} (family, model {machine['family, model']}), {machine['cores']} cores, "
        f"{' '.join(machine['instructions'])}; {result['compiler']};",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".",
        f"This process had the core for {result['share_of_core']:.1%} of the time.", "",
        NOTES.format(rounds=result["rounds"], peak=result["fma_peak"] * 1e-9),
    ]
    for group, rows in groups(result).items():
        peers = peers_of(rows)
        heads = ["", "ringfold ms", "of peak", *(word for peer in peers for word in (f"{peer} ms", "x"))]
        lines += [f"## {group}", "", "| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
        lines += ["| " + " | ".join(cells(result, row, peers)) + " |" for row in rows]
        lines.append("")
    behind = [row for row in result["rows"]
              if any(median(each) < median(row["seconds"]["ringfold"]) for each in row["seconds"].values())]
    ahead = len(result["rows"]) - len(behind)
    lines.append(f"ringfold is ahead of every peer in {ahead} of {len(result['rows'])} rows.")
    return "\n".join(lines) + "\n"
