"""What a step says goes to its log: mistakes of the user in plain words, bugs in full."""

import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from evisynth.errors import InputError


@contextmanager
def logged(path: str) -> Iterator[None]:
    """Send messages and warnings of the block to the file `path`; exit with 1 on any error."""
    with open(path, "w", encoding="utf-8") as stream:
        stderr, sys.stderr = sys.stderr, stream
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                yield
        except InputError as error:
            print(error, file=stream)
            raise SystemExit(1) from None
        except OSError as error:
            print(f"Could not read or write {error.filename}: {error.strerror}.", file=stream)
            print("Make room or correct permissions, then run snakemake again.", file=stream)
            raise SystemExit(1) from None
        except Exception:
            traceback.print_exc(file=stream)
            print("This is a bug of evisynth; please report it with this log.", file=stream)
            raise SystemExit(1) from None
        finally:
            sys.stderr = stderr
