"""What users of Parsl, Dask and Prefect write, and what to write here instead.

``errors.suggest`` finds this by an entry point of the group ``jackfield.hints``, so
that each message about a name that is unknown can say what stands for it. Names that
are looked for in ``jackfield`` have it before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PARSL: Final = "or import jackfield_parsl as parsl, which has Parsl's names"
_MANY: Final = "future.result() waits; concurrent.futures has wait and as_completed"

HINTS: Final[Mapping[str, str]] = {
    # Keys of the configuration.
    "allow_plugins": "write plugins.allow",
    "block_plugins": "write plugins.block",
    "use_plugins": "write a table [plugins.NAME]",
    "checkpoint_files": "write checkpoint.read",
    "checkpoint_mode": "write checkpoint.mode",
    "checkpoint_period": "write checkpoint.period",
    "data_management_max_threads": "write transfers.threads",
    "dependency_resolver": "write dependencies, 'deep' or 'shallow'",
    "garbage_collect": "tasks that have ended are always forgotten: leave it out",
    "initialize_logging": "write log_level, 'OFF' for none",
    "internal_tasks_max_threads": "write internal_threads",
    "memoizer": "write checkpoint.store",
    "monitoring": "add a table [monitors.LABEL], or [plugins.journal]",
    "max_idletime": "write plugins.scaling.idle",
    "project_name": "name the run by run_dir",
    "retry_handler": "it is a plugin's hook, jackfield_retry",
    "std_autopath": "it is a plugin's hook, jackfield_stream_path",
    "strategy": "write plugins.scaling.strategy",
    "strategy_period": "write scale_period",
    "usage_tracking": "nothing is sent unless you add a table [plugins.usage]",
    # Options of executors and of apps.
    "cores_per_worker": "write workers, how many tasks may run at once",
    "max_threads": "write workers",
    "max_workers_per_node": "write workers",
    "storage_access": "a URL's scheme finds its provider; see [staging.SCHEME]",
    "thread_name_prefix": "threads are named after the executor's label",
    "working_dir": "a task runs in the directory of its call",
    "parsl_resource_specification": "write resources",
    "result_storage": "write cache=True, and where in checkpoint.store",
    "persist_result": "write cache=True",
    "cache_key_fn": "write cache=True; jackfield_hash_value teaches it types",
    "retry_delay_seconds": "write retry_delay, and retry_backoff",
    "timeout_seconds": "write walltime",
    "task_run_name": "write label= in the call",
    "log_prints": "what tasks print is in the log of a run",
    "pure": "write cache",
    # Values.
    "cleanup": "write 'cancel', which cancels what has not begun",
    # Names of the package.
    "jackfield.Client": "with jackfield.load() as kernel: kernel.submit(function, x)",
    "jackfield.LocalCluster": "jackfield.load({'executors': ...}) has the workers",
    "jackfield.HighThroughputExecutor": (
        f"write {{'plugin': 'processes'}} in executors, {_PARSL}"
    ),
    "jackfield.MonitoringHub": f"add a table [monitors.LABEL], {_PARSL}",
    "jackfield.ParslPoolExecutor": "write jackfield.KernelExecutor",
    "jackfield.ThreadPoolExecutor": (
        f"write {{'plugin': 'threads', 'workers': 4}} in executors, {_PARSL}"
    ),
    "jackfield.as_completed": _MANY,
    "jackfield.configs": f"jackfield.load() takes a dict or a file, {_PARSL}",
    "jackfield.delayed": "decorate with jackfield.python_app, and call it",
    "jackfield.flow": "with jackfield.load(): and call apps in the block",
    "jackfield.gather": _MANY,
    "jackfield.get": _MANY,
    "jackfield.init": "write jackfield.load()",
    "jackfield.remote": "decorate with jackfield.python_app, and call it",
    "jackfield.set_file_logger": "each run has a log in its directory; see log_level",
    "jackfield.set_stream_logger": (
        "logging.getLogger('jackfield') is Python's own; each run has a log besides"
    ),
    "jackfield.task": "decorate with jackfield.python_app",
    "jackfield.wait": _MANY,
}
