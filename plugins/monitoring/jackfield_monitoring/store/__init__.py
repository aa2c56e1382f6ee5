"""The history of a run in one file, ``monitor.db`` in the run's directory.

- ``schema`` is what the file holds; whoever writes and whoever reads keep to it.
- ``texts`` makes whatever comes from tasks harmless before it is stored.
- ``rows`` makes rows of what observers are told, ``writer`` writes them, ``plugin`` is
  the monitor ``sqlite``, which keeps what cannot be written now.
- ``reader`` answers the questions of reports and pages, with ``records`` as answers.
"""
