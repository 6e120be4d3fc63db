"""The joblib backend: what scikit-learn and joblib compute with it is what they compute alone."""

from __future__ import annotations

from collections.abc import Iterator

import joblib
import numpy
import pytest
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

import meshwit
from meshwit import client
from tests import importable


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[meshwit.Session]:
    """Two worker processes, for all tests of the module."""
    meshwit.register_joblib()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patched.setenv("MESHWIT_HOME", str(tmp_path_factory.mktemp("home")))
        with meshwit.Session(workers=2) as made:
            patched.setattr(client, "_shared", made)
            yield made


def test_a_grid_search_finds_what_it_finds_alone():
    x, y = make_regression(80, 5, noise=3.0, random_state=1)
    search = {"alpha": [0.01, 0.1, 1.0, 10.0]}
    alone = GridSearchCV(Ridge(), search, n_jobs=1).fit(x, y)
    with joblib.parallel_config("meshwit"):
        spread = GridSearchCV(Ridge(), search, n_jobs=-1).fit(x, y)

    assert spread.best_params_ == alone.best_params_
    for key in ("mean_test_score", "std_test_score", "rank_test_score"):
        assert numpy.array_equal(spread.cv_results_[key], alone.cv_results_[key])


def test_results_are_in_order():
    with joblib.parallel_config("meshwit", n_jobs=-1):
        found = joblib.Parallel()(joblib.delayed(importable.double)(x) for x in range(300))
    assert found == [2 * x for x in range(300)]


def test_an_exception_of_a_call_is_raised_and_the_backend_goes_on():
    with joblib.parallel_config("meshwit", n_jobs=2):
        with pytest.raises(ZeroDivisionError, match="cannot divide"):
            joblib.Parallel()(joblib.delayed(importable.broken)(x) for x in range(20))
        assert joblib.Parallel()(joblib.delayed(importable.double)(x) for x in [1, 2]) == [2, 4]


def test_there_are_as_many_jobs_as_slots():
    with joblib.parallel_config("meshwit"):
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.effective_n_jobs(3) == 3
