"""What plugins of several kinds ask of the operating system: a library, and no plugin.

- ``works`` runs works on threads of this process, for executors.
- ``measuring`` tells when and where a thread runs a task, and what the task takes.
- ``programs`` ends the programs that tasks start, with all that these have started.
- ``credentials`` keeps what variables of the environment hold from tasks' programs.
- ``mounts`` tells which file systems other machines may use too.
- ``own_files`` says where a user keeps what counts for all runs, and opens files, but
  through no symbolic link.
- ``held_directories`` makes temporary directories that are removed, also if their
  process was killed.
- ``local_names`` makes a safe name for a local file of any name.
- ``dask_clusters`` ends the Dask clusters that this process has started.
"""
