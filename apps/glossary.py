"""One word per thing: what the pages mean by their words."""

from __future__ import annotations

WORDS: dict[str, dict[str, str]] = {
    "What a model does": {
        "reasoner": "a model that thinks in vectors before or while it speaks",
        "thought": "the vector that is carried from one latent step to the next",
        "step": "one update of the model that emits no token",
        "channel": "what carries thinking from step to step: the thought, and the keys and values at its place",
        "slot": "one vector of a memory that outlives its episode",
        "said text, claim": "what the model emits as tokens; one statement read from it",
    },
    "What reads along": {
        "site": "a named place where vectors are read or written, such as `blocks.3.hook_resid_post`",
        "probe": "a linear map, learned from honest problems, from a thought to the value it holds",
        "lens": "the model's own head, pointed at a thought: a distribution over its vocabulary",
        "control": "what a score must be compared with: shuffled labels, the prompt alone, the step before, a placebo",
        "edit": "a change made to vectors at a site while the model runs: zero, swap, noise, a part of the way",
        "capture, run": "running a model and keeping what passed; the store that is left",
        "organism": "a small model with planted, sealed truth about what it thinks and what it says",
    },
    "Verdict of a problem": {
        "diverges": "thoughts and words part beyond what honest problems do, at steps that can be read and are used",
        "agrees": "what could be read, and is used, is what is said",
        "cannot-tell": "anything else, with the reason",
    },
    "Status of a step": {
        "agree": "the thought holds what is said at its place",
        "ahead": "the thought holds what another claim says",
        "unsaid": "the thought holds a value that is never said",
        "unsupported": "a claim stands that no thought holds",
        "conflict": "the thought holds one value, another is said",
    },
    "Numbers": {
        "score": "how much better thoughts read as something else than as what was said, in nats, over all steps",
        "p": "share of honest held-out problems that score at least as high (conformal, plus-one rule)",
        "q": "p, adjusted for all audited problems (Benjamini-Hochberg)",
        "alpha": "false alarm rate that is promised before anything is judged",
        "coverage": "share of the answers that follow the whole channel that follow the captured thoughts alone",
        "live": "said of a step whose exchange moves what is said more than a placebo does",
        "decorative": "said of thoughts that nothing depends on",
        "power": "share of lies, planted among honest problems, that this audit would have caught",
        "bits": "divergence of a thought from what is said: 0 where it reads as said, 1 where as something else",
    },
}
