"""Files within archives of this machine, built on the public contract of staging alone.

One module for each format, named like the scheme of its URLs. Nothing here speaks to
another machine, so it needs nothing of the providers that do.
"""
