"""The engine as scikit-learn estimators honours scikit-learn's contract and reads what the engine reads."""

from __future__ import annotations

import warnings

from sklearn.utils.estimator_checks import parametrize_with_checks

from probes.estimators import LDAProbe, LeaceTransformer, MeanDifferenceProbe, RidgeProbe


@parametrize_with_checks([LDAProbe(), RidgeProbe(), MeanDifferenceProbe(), LeaceTransformer()])
def test_scikit_learn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checks fit tiny and constant data on purpose
        check(estimator)
