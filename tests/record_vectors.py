"""Vectors of every preset on seeded tiny weights, as our own code gave them; run by hand to record them anew.

cd tests && python record_vectors.py
"""

from pathlib import Path

import torch

FILE = Path(__file__).parent / "regression" / "presets.safetensors"


def vectors(reasoner, name):
    """Thoughts, what they were made of, and the first logits, of problems of different length in one batch."""
    from preset_factory import PROBLEMS

    read = [site for site in ("thought.source", "thought", "thought.unused") if site in reasoner.sites]
    trace = reasoner.run(PROBLEMS[:2], read=read, seeds=[5, 6])
    found = {f"{name}/{site}": trace[site].vectors for site in read}
    return {**found, f"{name}/logits": trace.first_logits, f"{name}/steps": torch.tensor(trace.n_steps)}


def recorded():
    """Of every preset and backbone."""
    from preset_factory import BACKBONES, TABLES, make_reasoner

    found = {}
    for name in BACKBONES:
        for kind in TABLES:
            found |= vectors(make_reasoner(kind, name), f"{name}/{kind}")
    return found


if __name__ == "__main__":
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    FILE.parent.mkdir(exist_ok=True)
    save_file(recorded(), FILE)
