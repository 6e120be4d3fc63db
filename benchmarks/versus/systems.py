"""The contestants. Each starts four workers of one slot, one per machine, and runs tasks to the last result.

As they come, with what their manuals advise for independent tasks; no chunks, as tasks last long, except those that a
system makes by itself. Where a system can lose a machine (dask, Ray, meshwit), one machine is one node of it without a
restart; pools lose a worker process, and HyperQueue and GNU parallel, which start a process for each task, lose a task.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.versus import machines
from benchmarks.versus.cases import SPEEDS
from benchmarks.versus.mesh import Mesh, MeshByLinks
from benchmarks.versus.system import System

WORKERS = len(SPEEDS)
ROOT = Path(__file__).parents[2]


def _environment(index: int) -> dict[str, str]:
    return os.environ | {machines.INDEX: str(index), "PYTHONPATH": str(ROOT)}


class Executor(System):
    """concurrent.futures.ProcessPoolExecutor, its default chunks of 1."""

    def start(self, stack: ExitStack) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pool = stack.enter_context(concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=spawn))

    def finish(self, works: Sequence[float], variant: str) -> None:
        list(self.pool.map(machines.compute, works))

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        return list(self.pool.map(machines.double, arrays))


class Pool(System):
    """multiprocessing.Pool.map, its default chunks of a sixteenth of the work."""

    def start(self, stack: ExitStack) -> None:
        self.pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(WORKERS))

    def finish(self, works: Sequence[float], variant: str) -> None:
        self.pool.map(machines.compute, works)

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        return self.pool.map(machines.double, arrays, 1)


class Joblib(System):
    """joblib with loky and its automatic batches, inside `with Parallel()`."""

    needs = "joblib"

    def start(self, stack: ExitStack) -> None:
        self.joblib: Any = importlib.import_module("joblib")
        self.parallel = stack.enter_context(self.joblib.Parallel(n_jobs=WORKERS, backend="loky", batch_size="auto"))

    def finish(self, works: Sequence[float], variant: str) -> None:
        self.parallel(self.joblib.delayed(machines.compute)(work) for work in works)

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        doubled: list[Any] = self.parallel(self.joblib.delayed(machines.double)(array) for array in arrays)
        return doubled


class Dask(System):
    """dask.distributed: a scheduler and four `dask worker`, each with one thread and no nanny."""

    needs = "distributed"

    def start(self, stack: ExitStack) -> None:
        distributed: Any = importlib.import_module("distributed")
        cluster = stack.enter_context(
            distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None, protocol="tcp")
        )
        for index in range(WORKERS):
            worker = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--no-nanny",
                 "--nthreads", "1", "--no-dashboard", "--local-directory", os.environ[machines.FOLDER]],
                env=_environment(index), stderr=subprocess.DEVNULL,
            )  # fmt: skip
            machines.claim(index, worker.pid)
        self.client = stack.enter_context(distributed.Client(cluster))
        self.client.wait_for_workers(WORKERS, timeout=60)

    def finish(self, works: Sequence[float], variant: str) -> None:
        self.client.gather(self.client.map(machines.compute, works, pure=False))

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        sent = [self.client.scatter(array, hash=False) for array in arrays]
        doubled: list[Any] = self.client.gather(self.client.map(machines.double, sent, pure=False))
        return doubled


class Ray(System):
    """Ray: a head without processors and four nodes of one, one task per remote call."""

    needs = "ray"

    def start(self, stack: ExitStack) -> None:
        self.ray: Any = importlib.import_module("ray")
        cluster = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        stack.callback(cluster.shutdown)
        speeds = {}
        for index, speed in enumerate(SPEEDS):
            node = cluster.add_node(num_cpus=1, object_store_memory=10**9)
            speeds[node.node_id] = speed
            machines.claim(index, node.all_processes["raylet"][0].process.pid)
        self.ray.init(address=cluster.address, log_to_driver=False)
        stack.callback(self.ray.shutdown)
        ray = self.ray

        def compute(work: float) -> int:
            if work:
                time.sleep(work / speeds[ray.get_runtime_context().get_node_id()])
            return 0

        self.remote = ray.remote(num_cpus=1)(compute)
        self.remote_double = ray.remote(num_cpus=1)(machines.double)

    def finish(self, works: Sequence[float], variant: str) -> None:
        self.ray.get([self.remote.remote(work) for work in works])

    def double(self, arrays: Sequence[Any]) -> Sequence[Any]:
        doubled: list[Any] = self.ray.get([self.remote_double.remote(array) for array in arrays])
        return doubled


class _Commands(System):
    """Systems that run commands: a task is a line with its seconds on each machine, a shell sleeps those of its own."""

    noops: ClassVar[int] = 300
    latencies: ClassVar[int] = 20

    def lines(self, works: Sequence[float]) -> str:
        return "".join(" ".join(f"{work / speed:.6f}" for speed in SPEEDS) + "\n" for work in works)


class GnuParallel(_Commands):
    """GNU parallel on one machine, a slot for each; what is killed is tried again."""

    program = "parallel"

    def start(self, stack: ExitStack) -> None:
        (Path.home() / ".parallel").mkdir(exist_ok=True)

    def finish(self, works: Sequence[float], variant: str) -> None:
        folder = os.environ[machines.FOLDER]
        script = f"set -- {{= uq() =}}; echo $$ > {folder}/machine.$(({{%}}-1)); shift $(({{%}}-1)); sleep $1"
        subprocess.run(
            ["parallel", "--will-cite", "--retries", "3", f"-j{WORKERS}", script],
            input=self.lines(works), text=True, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


class HyperQueue(_Commands):
    """HyperQueue as PyPI has it: a server and one worker of four processors in this process; one is a machine.

    Its client looks once a second whether a job is done, so what counts is when the last task ended. A whole node
    cannot be lost here, only a task: that takes the program `hq`, which PyPI has not.
    """

    needs = "hyperqueue"

    def start(self, stack: ExitStack) -> None:
        hyperqueue: Any = importlib.import_module("hyperqueue")
        clusters: Any = importlib.import_module("hyperqueue.cluster")
        self.folder = Path(os.environ[machines.FOLDER])
        self.job = hyperqueue.Job
        cluster = clusters.LocalCluster(str(self.folder / "hq"), clusters.WorkerConfig(cores=WORKERS))
        self.client = stack.enter_context(cluster).client()

    def run(self, works: Sequence[float], variant: str, started: Callable[[], None]) -> float:
        folder = self.folder
        script = f"echo $$ > {folder}/machine.$HQ_CPUS; shift $HQ_CPUS; sleep $1; echo >> {folder}/ends"
        job = self.job()
        for line in self.lines(works).splitlines():
            job.program(["sh", "-c", script, "task", *line.split()], stdout=None, stderr=None)
        begun = time.time()
        started()
        self.client.wait_for_jobs([self.client.submit(job)])
        return (folder / "ends").stat().st_mtime - begun


SYSTEMS: dict[str, type[System]] = {
    "meshwit": Mesh,
    "meshwit-by-links": MeshByLinks,
    "dask": Dask,
    "ray": Ray,
    "hyperqueue": HyperQueue,
    "joblib": Joblib,
    "executor": Executor,
    "pool": Pool,
    "parallel": GnuParallel,
}


def _program(name: str) -> str:
    """Where a program is: beside this Python, as packages install them, or on the path; empty if nowhere."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name) or ""


def missing(name: str) -> str:
    """What is not installed that this system needs; empty if it can run."""
    system = SYSTEMS[name]
    if system.needs and importlib.util.find_spec(system.needs) is None:
        return f"the package {system.needs}"
    if system.program and not _program(system.program):
        return f"the program {system.program}"
    return ""
