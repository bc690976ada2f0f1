"""Foreign files before anything opens them: what can harm is refused with a message.

Compressed files are judged by their directory, XML by a parser that builds nothing, both before
a library that trusts its input sees them.
"""

import re
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from evisynth.errors import InputError, Problem, echo

LARGEST_FILE = 50_000_000
LARGEST_MEMBER = 100_000_000
LARGEST_UNPACKED = 200_000_000
MOST_ENTRIES = 5_000
# Spreadsheets are compressed ten- to fiftyfold, bombs a thousandfold.
HIGHEST_RATIO = 250
RATIO_FROM = 1_000_000
DEEPEST_XML = 100
MOST_ELEMENTS = 5_000_000

ZIP_MAGIC, OLE_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

OnElement = Callable[[str, dict[str, str]], None]


def refused(name: str, found: str, expected: str, action: str, place: str = "") -> InputError:
    """The refusal of a file."""
    return InputError([Problem(name, place or "the file itself", found, expected, action)])


def read_bytes(path: Path, name: str) -> bytes:
    """Content of a file that somebody wants to import.

    Raises
    ------
    InputError
        Missing, no regular file, empty, too large, or a symbolic link that leads out of its
        folder.
    """
    try:
        if path.is_symlink() and path.resolve().parent != path.parent.resolve():
            raise refused(
                name,
                "a symbolic link that leads out of its folder",
                "the file itself",
                "name the file that the link leads to, or copy it here",
            )
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise refused(name, "a folder", "a file", "name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise refused(name, "a device or pipe", "a file", "correct the path")
        if status.st_size > LARGEST_FILE:
            raise refused(
                name, f"{status.st_size} bytes", f"at most {LARGEST_FILE}", "split the file"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise refused(name, "no such file", "a file", "correct the path") from None
    except OSError as error:
        raise refused(
            name, error.strerror or "no access", "a readable file", "check path and permissions"
        ) from None
    except InputError:
        raise
    except (ValueError, RuntimeError):  # a NUL in the path; links that lead to each other
        raise refused(name, "a path that cannot exist", "a file", "correct the path") from None
    if not content.strip():
        raise refused(name, "an empty file", "content", "name another file")
    if content.startswith(OLE_MAGIC):
        raise refused(
            name,
            "a spreadsheet of the old format .xls, or one that a password protects",
            "a file .xlsx without a password",
            "open it, remove the password, save it as .xlsx",
        )
    return content


def check_zip(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an archive that grows too large, or whose names lead out of its folder.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    problems: list[Problem] = []

    def wrong(place: str, found: str, expected: str, action: str) -> None:
        problems.append(Problem(name, place, found, expected, action))

    entries = archive.infolist()
    advice = "do not open it; ask for the file again where it came from"
    if len(entries) > MOST_ENTRIES:
        wrong("archive", f"{len(entries)} entries", f"at most {MOST_ENTRIES}", advice)
        entries = entries[:MOST_ENTRIES]
    whole = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if whole > LARGEST_UNPACKED:
        wrong("archive", f"{whole} bytes when unpacked", f"at most {LARGEST_UNPACKED}", advice)
    if whole > RATIO_FROM and whole > HIGHEST_RATIO * max(packed, 1):
        wrong(
            "archive",
            f"{packed} bytes that unpack to {whole}: a bomb",
            f"compression of at most 1 to {HIGHEST_RATIO}",
            advice,
        )
    seen: set[str] = set()
    for entry in entries:
        place = f"entry {echo(entry.filename)}"
        if leads_out(entry.filename):
            wrong(place, "a name that leads out of its folder", "a plain name", advice)
        if stat.S_ISLNK(entry.external_attr >> 16):
            wrong(place, "a symbolic link", "a file", advice)
        if entry.flag_bits & 1:
            wrong(place, "an entry that a password protects", "a file without", "remove it")
        if entry.filename in seen:
            wrong(place, "a name that stands twice", "every name once", advice)
        seen.add(entry.filename)
    if problems:
        raise InputError(problems)


def leads_out(name: str) -> bool:
    """Whether the name of an entry is absolute, climbs, or has a drive or a NUL."""
    return (
        name.startswith(("/", "\\"))
        or ".." in re.split(r"[/\\]", name)
        or "\x00" in name
        or re.match(r"[A-Za-z]:", name) is not None
    )


def open_zip(stream: Any, name: str) -> zipfile.ZipFile:
    """An archive that has been checked.

    Raises
    ------
    InputError
        It is none, or `check_zip` refuses it.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise refused(
            name,
            "a damaged archive",
            "a whole one",
            "copy or download it again, or open it and save it anew",
        ) from None
    check_zip(archive, name)
    return archive


def read_member(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """Content of an entry, which its directory cannot understate.

    Raises
    ------
    InputError
        Too large or damaged.
    """
    size = archive.getinfo(member).file_size
    if size > LARGEST_MEMBER:
        raise refused(
            name,
            f"{size} bytes when unpacked",
            f"at most {LARGEST_MEMBER}",
            "split the file",
            f"entry {echo(member)}",
        )
    try:
        # reads at most the announced size, and then compares the checksum
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        raise refused(
            name,
            "an entry whose content is not what the archive announces",
            "a whole archive",
            "copy or download it again, or open it and save it anew",
            f"entry {echo(member)}",
        ) from None


class _Refused(Exception):
    """Why the scan of an XML text stopped."""


def scan_xml(
    content: bytes, name: str, place: str = "", on_element: OnElement | None = None
) -> None:
    """Go through an XML text without building anything.

    Parameters
    ----------
    on_element : called with the local name and the attributes of every element.

    Raises
    ------
    InputError
        Not XML, a document type (entities, bombs and external files come with one), too deep,
        or too many elements.
    """
    parser = expat.ParserCreate()
    depth, count = 0, 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > DEEPEST_XML:
            raise _Refused(f"more than {DEEPEST_XML} elements, one within another")
        if count > MOST_ELEMENTS:
            raise _Refused(f"more than {MOST_ELEMENTS} elements")
        if on_element:
            on_element(tag.rpartition(":")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise _Refused("a document type (DTD), with which entities and other files come in")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except _Refused as error:
        raise refused(
            name,
            str(error),
            "plain XML, as the program that the file is from writes it",
            "do not use it; save it again from that program",
            place,
        ) from None
    except InputError:  # what `on_element` refuses
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        line = getattr(error, "lineno", None)
        problem = Problem(
            name,
            place or "XML syntax",
            f"text that is not XML ({error})",
            "XML",
            "save it again from the program that it is from",
            line,
        )
        raise InputError([problem]) from None
