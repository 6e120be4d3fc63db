"""The joblib backend "meshwit": `with joblib.parallel_config("meshwit"): GridSearchCV(..., n_jobs=-1).fit(x, y)`.

joblib hands over objects with their methods, so every call crosses as a pickle: a peer in this process takes it, others
only where their owners allow that (`meshwit up --allow-pickle`). Importing this module registers the backend; joblib
itself is no dependency of meshwit.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

from meshwit import client
from meshwit.executor import Executor
from meshwit.lazy import is_installed
from meshwit.plugins.python import pickled


class MeshwitBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """See the module.

    Args:
        here: use a peer in this process even if one runs on this device.
        requires: what a peer must have: `"memory >= 8GiB"`.
        nesting_level: how deep this backend is inside others, as joblib counts.
        more: joblib's own.
    """

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False
    default_n_jobs = -1

    def __init__(
        self, *, here: bool = False, requires: str = "", nesting_level: int | None = None, **more: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level, **more)
        self._here = here
        self._requires = requires
        self._executor: Executor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Calls carry their backend for nested parallelism; what is nested runs one after another where it is."""
        return SequentialBackend, ()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls joblib keeps ready: as many as asked for, for -1 as all peers have slots."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning")
        if n_jobs is not None and n_jobs > 0:
            return n_jobs
        return 1 if n_jobs is None else max(1, self._started().slots)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Be ready for one `Parallel`."""
        self.parallel = parallel
        self._started()
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Have a batch run; `callback` gets the future when it has ended."""
        future = self._started().submit_pickled(*pickled((func, (), {}), _dumps))
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """What a batch came to. Raises what it raised."""
        return client.waited(out)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End all that runs."""
        if self._executor is not None:
            self._executor.cancel()
            self._executor = None
        if ensure_ready:
            self._started()

    def terminate(self) -> None:
        """The `Parallel` is over."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def get_nested_backend(self) -> tuple[Any, int]:
        """What is parallel inside a call runs one after another: all slots are busy with calls already."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), 1

    def _started(self) -> Executor:
        if self._executor is None:
            self._executor = Executor(here=self._here, requires=self._requires)
        return self._executor


def _pickler() -> Callable[..., bytes]:
    """cloudpickle as joblib has it, for functions of the program itself; else pickle."""
    for name in ("joblib.externals.cloudpickle", "cloudpickle"):
        if is_installed(name):
            dumps: Callable[..., bytes] = importlib.import_module(name).dumps
            return dumps
    return pickle.dumps


_dumps = _pickler()
register_parallel_backend("meshwit", MeshwitBackend)
