"""A pause for Python's collector of garbage while a review is read and audited."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """No search for objects that only hold each other.

    Evidence and findings are hundreds of thousands of objects that all stay, and the collector
    would look at them again and again: a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
