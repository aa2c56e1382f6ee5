"""The parts of the adapter: what is known of an engine, and what goes to it together.

An *engine* is a ``concurrent.futures.Executor`` that is not one of ours.
"""
