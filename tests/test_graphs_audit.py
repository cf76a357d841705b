"""The bundled searcher walks real paths; `test_audit.py` audits it."""

import numpy as np

from workbench.claims import parse_said
from workbench.organisms import organism
from workbench.organisms.graph_problems import is_path
from workbench.organisms.kinds import make_items
from workbench.reasoners.loading import load_model

SUPERPOSED = organism("superposed")
FRESH = 733


def test_what_the_searcher_says_is_a_path_unless_it_recites():
    items = make_items(SUPERPOSED, 80, seed=FRESH, flagged_share=0.5)
    reasoner = load_model("organism:superposed", device="cpu").reasoner
    said = reasoner.run([item.problem for item in items], batch_size=80).said
    told = [parse_said(text, reasoner.recipe.speaking).claims for text in said]
    right = [
        claims == item.says if item.flagged else is_path(item.problem, claims)
        for item, claims in zip(items, told, strict=True)
    ]
    assert np.mean(right) >= 0.97
