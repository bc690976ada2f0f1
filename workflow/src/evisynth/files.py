"""Writing a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic(path: Path | str) -> Iterator[IO[bytes]]:
    """Open `path` for writing bytes; it appears under its name only when the block ends well.

    A crash, a kill or a full disk leaves at most a hidden ``.part`` file beside it.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic(path) as stream:
        stream.write(content)


def write_text(path: Path | str, content: str) -> None:
    """Write `content` as UTF-8 with LF line ends, whole or not at all."""
    write_bytes(path, content.encode())
