"""Stored texts of reports, where the review has a folder of them."""

from collections.abc import Mapping
from pathlib import Path

from evisynth.config import EvidenceFiles
from evisynth.errors import InputError, Problem
from evisynth.evidence import Evidence
from evisynth.links import leads_out
from evisynth.yamltext import read_text


def source_texts(
    evidence: Evidence | None, base: Path, files: EvidenceFiles | None
) -> dict[str, Mapping[str, str]]:
    """Texts by study and report, runs of white space as one space.

    A report without a stored text, or with one that cannot be read, has none: the audit then
    says that its quotes were not looked up.
    """
    if evidence is None or files is None or files.sources is None:
        return {}
    folder = base / files.sources
    found: dict[str, Mapping[str, str]] = {}
    for study in evidence.studies:
        texts = {
            report.id: text
            for report in study.content.reports
            if report.source and (text := _text(folder, report.source))
        }
        if texts:
            found[study.id] = texts
    return found


def check_links(base: Path, files: EvidenceFiles) -> list[Problem]:
    """Symbolic links of the folder of texts, or in it, that lead out of the review.

    Parameters
    ----------
    base : folder of the review.
    """
    if files.sources is None:
        return []
    folder = base / files.sources
    away = leads_out(folder, base, files.sources)
    if away or not folder.is_dir():
        return away
    links = sorted(path for path in folder.iterdir() if path.is_symlink())
    return [
        problem
        for path in links
        for problem in leads_out(path, base, f"{files.sources}/{path.name}")
    ]


def _text(folder: Path, name: str) -> str:
    # the name comes from data: it must not lead out of the folder
    if Path(name).name != name or "\\" in name or name in (".", ".."):
        return ""
    if (folder / name).is_symlink():
        return ""
    try:
        return " ".join(read_text(folder / name, name).split())
    except InputError:
        return ""
