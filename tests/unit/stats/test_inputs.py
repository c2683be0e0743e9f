"""What every statistic accepts and refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from safecompress import stats
from safecompress.errors import ConfigError, DataError, NonFiniteError, UndecidableError

SCORES = [0.1, 0.4, 0.35, 0.8, 0.7]
GUESSES = [True, False, True, True, False]

ON_SCORES = {
    "auc": stats.auc,
    "roc_curve": stats.roc_curve,
    "realized_tpr_at_fpr": lambda m, n: stats.realized_tpr_at_fpr(m, n, fpr=0.1),
    "tpr_at_fpr": lambda m, n: stats.tpr_at_fpr(m, n, fpr=0.1),
    "best_threshold": stats.best_threshold,
    "auc_interval": stats.auc_interval,
    "auc_p_value": stats.auc_p_value,
    "tpr_at_fpr_interval": lambda m, n: stats.tpr_at_fpr_interval(m, n, fpr=0.1),
    "auc_difference": lambda m, n: stats.auc_difference(m, n, m, n),
    "bootstrap_difference": lambda m, n: stats.bootstrap_difference(
        stats.auc, m, n, m, n, seed=0, replicates=40
    ),
}
ON_GUESSES = {
    "balanced_accuracy": stats.balanced_accuracy,
    "advantage": stats.advantage,
    "balanced_accuracy_interval": stats.balanced_accuracy_interval,
    "balanced_accuracy_difference": lambda m, n: stats.balanced_accuracy_difference(m, n, m, n),
}


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("side", [0, 1])
def test_nan_scores_are_refused_and_named(name, side):
    groups = [list(SCORES), list(SCORES)]
    groups[side][2] = float("nan")
    with pytest.raises(NonFiniteError, match=r"1 of 5 scores are NaN \(first: row 2\)"):
        ON_SCORES[name](*groups)


@pytest.mark.parametrize("name", [*ON_SCORES, *ON_GUESSES])
@pytest.mark.parametrize("side", [0, 1])
def test_an_empty_side_is_undecidable(name, side):
    groups = [GUESSES, GUESSES] if name in ON_GUESSES else [SCORES, SCORES]
    groups[side] = []
    with pytest.raises(UndecidableError, match="at least one of each"):
        (ON_SCORES | ON_GUESSES)[name](*groups)


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("bad", [np.zeros((3, 1)), np.array(["a", "b"]), np.array([1j]), 3.0])
def test_scores_that_are_not_one_number_per_row_are_refused(name, bad):
    with pytest.raises(DataError, match="expected"):
        ON_SCORES[name](bad, SCORES)


def test_a_tensor_numpy_cannot_hold_is_refused_with_a_remedy():
    with pytest.raises(DataError, match="detached CPU tensor"):
        stats.auc(torch.tensor(SCORES, requires_grad=True), SCORES)


@pytest.mark.parametrize("name", ON_GUESSES)
@pytest.mark.parametrize("bad", [np.array([0.2, 1.0]), np.array([2, 1]), np.array(["yes"])])
def test_guesses_that_are_not_yes_or_no_are_refused(name, bad):
    with pytest.raises(DataError, match="expected bool"):
        ON_GUESSES[name](bad, GUESSES)


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_tensors_and_arrays_give_the_same_figure(name, dtype):
    m, n = torch.arange(9).to(dtype), torch.arange(-5, 6).to(dtype)
    given, expected = ON_SCORES[name](m, n), ON_SCORES[name](m.numpy(), n.numpy())
    np.testing.assert_equal(np.asarray(vars_or_value(given)), np.asarray(vars_or_value(expected)))


def vars_or_value(figure):
    return np.concatenate(
        [np.atleast_1d(v) for v in getattr(figure, "__dict__", {0: figure}).values()]
    )


@pytest.mark.parametrize("name", ON_GUESSES)
def test_bool_tensors_and_zero_one_integers_are_guesses(name):
    tensor = torch.tensor(GUESSES)
    assert ON_GUESSES[name](tensor, tensor) == ON_GUESSES[name](GUESSES, [int(g) for g in GUESSES])


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 95, float("nan")])
def test_a_level_outside_0_and_1_is_refused(level):
    for call in (
        lambda: stats.clopper_pearson(1, 2, level=level),
        lambda: stats.auc_interval(SCORES, SCORES, level=level),
        lambda: stats.smallest_detectable_auc(100, 100, level=level),
    ):
        with pytest.raises(ConfigError, match="level"):
            call()


def test_public_names_are_exact():
    public = {n for n in vars(stats) if not n.startswith("_")}
    modules = {
        "by_class",
        "epsilon",
        "f1",
        "intervals",
        "low_fpr",
        "multiple",
        "paired",
        "power",
        "ranks",
        "resampling",
        "roc",
        "thresholds",
    }
    assert public - modules - {"annotations"} == set(stats.__all__)
    # Constants come first.
    assert list(stats.__all__) == sorted(stats.__all__, key=lambda name: (not name.isupper(), name))


def test_stats_needs_neither_torch_nor_heavy_modules():
    code = (
        "import sys, importlib.util as u, types, pathlib;"
        "root = pathlib.Path(u.find_spec('numpy').origin);"
        "package = types.ModuleType('safecompress');"
        f"package.__path__ = [{str(next(iter(stats.__path__)))!r}.rsplit('stats', 1)[0]];"
        "sys.modules['safecompress'] = package;"
        "import safecompress.stats;"
        "print(sorted({'torch', 'sklearn', 'scipy.stats', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
