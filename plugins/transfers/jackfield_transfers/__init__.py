"""Moving files so that each is either absent or complete and right.

A provider, which is a plugin of its own, only moves bytes. Everything else about a
transfer is here: verification, retries, resumption, the cache of earlier files,
cancellation, progress, and keeping secrets out of messages.

From the ground up: ``local``, ``rules``, ``credentials``, ``cache`` and ``secrecy``
know no transfer; ``site`` binds them together for one scheme and host; ``retrying``,
``attempts`` and ``monitor`` try one thing until it works; ``fetch`` and ``send`` move a
file, ``trees`` many, and ``stage`` whatever a URL means; ``courier`` does it inside a
task. ``shared``
knows which task wants which file, and starts transfers; ``mover`` gives all that to the
kernel, and ``executor`` has the threads on which it runs.
"""
