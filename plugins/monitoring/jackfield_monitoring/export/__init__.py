"""``jackfield export``: a run's history for other programs, read row by row.

``tables`` says what is exported; ``as_csv``, ``as_parquet`` and ``as_trace`` write it,
and ``command`` is the command.
"""
