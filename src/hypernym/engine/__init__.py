"""Map a function over independent tasks: on the processes of this machine, or on a cluster.

run_tasks    one loop for all: a window of tasks, their results as they end, retries      tasks.py
engine       a place that gives a future for a task                                      attempts.py
             processes, this process (one worker)                                        processes.py
             Ray, Dask (optional extras)                                                 clusters.py
"""

from hypernym.engine.processes import count_loaders, count_workers
from hypernym.engine.tasks import Failed, check_engine, run_tasks

__all__ = ["Failed", "check_engine", "count_loaders", "count_workers", "run_tasks"]
