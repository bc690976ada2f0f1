"""What a run was made from and what it made, in digests; no clock, host, user, absolute path.

`asked` is what the workflow knows before anything runs, plain values; `record` adds the digests
of the results; `crate` says the same as an RO-Crate. Versions of Python and packages are apart,
in ``environment``: they may differ between machines where nothing else does.
"""

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evisynth.project import Project
from evisynth.sources import PACKAGE

Tree = dict[str, Any]

DEPENDENCIES = (
    "snakemake numpy scipy pandas statsmodels pymare formulaic numba matplotlib seaborn "
    "pydantic pyyaml jinja2 openpyxl defusedxml rocrate"
).split()
EPOCH = "1970-01-01"
"""Stands for a date that nobody gave, as in SOURCE_DATE_EPOCH=0."""
CRATE = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
MEDIA = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".R": "text/plain",
}


def sha256(path: Path | str) -> str:
    """Digest of the bytes of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_digest(package: Path = PACKAGE) -> str:
    """Digest of the names and bytes of all modules of the package."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda p: p.relative_to(package).parts):
        found.update(path.relative_to(package).as_posix().encode() + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def inputs(project: Project) -> dict[str, str]:
    """Digests of everything that the reviewer wrote, by its path from the configuration."""
    base = project.folder
    paths = {project.file}
    paths |= {base / a.table for a in project.config.analyses.values() if a.table}
    if project.config.review.search and (base / project.config.review.search).is_file():
        paths.add(base / project.config.review.search)
    if project.config.evidence:
        paths |= {*project.study_files(), project.outcomes_file}
        paths |= _texts(project)
    named = {Path(os.path.relpath(path, base)).as_posix(): path for path in paths}
    return {name: sha256(named[name]) for name in sorted(named)}


def _texts(project: Project) -> set[Path]:
    """Stored texts of reports that the audit reads."""
    files = project.config.evidence
    if files is None or files.sources is None or project.evidence is None:
        return set()
    folder = project.folder / files.sources
    # names come from data: none may lead out of the folder
    names = {
        report.source
        for study in project.evidence.studies
        for report in study.content.reports
        if report.source and Path(report.source).name == report.source
    }
    return {p for p in (folder / n for n in names) if p.is_file() and not p.is_symlink()}


def date_published(project: Project) -> str:
    """Date of the crate: `review.date`, SOURCE_DATE_EPOCH, or `EPOCH`; never the clock."""
    if project.config.review.date:
        return project.config.review.date
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if seconds.isascii() and seconds.isdigit() and len(seconds) < 12:
        return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
    return EPOCH


def command(config: Path) -> str:
    """The command of a run; of a review outside this folder without the way to it.

    That way may hold the names of a person and a machine.
    """
    if config == Path("config.yaml"):
        return "snakemake"
    outside = config.is_absolute() or ".." in config.parts
    return f"snakemake --configfile {config.name if outside else config.as_posix()}"


def asked(project: Project, lock: Path, rules: Sequence[Tree], results: str) -> Tree:
    """What is known before the run.

    Parameters
    ----------
    lock : file of the locked packages.
    rules : name, inputs and outputs of every rule, from `dependencies`.
    results : the folder of results, as the workflow names it.
    """
    review = project.config.review
    return {
        "command": command(project.file),
        "code": code_digest(),
        "lock": sha256(lock),
        "inputs": inputs(project),
        "analyses": {
            name: {
                "effects": project.effects_digest(name),
                "from": sorted(
                    Path(os.path.relpath(path, project.folder)).as_posix()
                    for path in project.source_paths(name)
                ),
            }
            for name in project.config.analyses
        },
        "rules": list(rules),
        "results": results,
        "crate": {
            "name": review.title,
            "description": review.question,
            "date": date_published(project),
            "license": review.license or "",
            "authors": list(review.authors),
        },
    }


def dependencies(
    rules: Iterable[tuple[str, Iterable[object], Iterable[object]]],
    results: str,
    analyses: Iterable[str],
) -> list[Tree]:
    """Rules as patterns of results, each path once, relative to the folder of results.

    Parameters
    ----------
    rules : name, inputs and outputs as the workflow declares them; inputs that are not texts
        (functions) are the reviewer's evidence and the code.
    """
    names = "|".join(map(re.escape, analyses))
    of_analysis = re.compile(rf"^(?:{names})(?=/)")
    found = []
    for name, given, made in rules:
        outputs = _within(made, results, of_analysis)
        if outputs:
            sources = _within(given, results, of_analysis)
            found.append({"rule": name, "inputs": sources, "outputs": outputs})
    return sorted(found, key=lambda rule: str(rule["rule"]))


def _within(paths: Iterable[object], results: str, of_analysis: re.Pattern[str]) -> list[str]:
    prefix, constraint = f"{results}/", re.compile(r"\{(\w+),[^{}]*\}")
    texts = [str(path) for path in paths if isinstance(path, str)]
    inside = [text.removeprefix(prefix) for text in texts if text.startswith(prefix)]
    plain = (constraint.sub(r"{\1}", text) for text in inside)
    return sorted({of_analysis.sub("{analysis}", text) for text in plain})


def environment() -> Tree:
    """Versions of Python and of the packages that the project depends on itself."""
    versions = {}
    for name in DEPENDENCIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # a conda environment of one rule has what that rule needs
    return {"python": platform.python_version(), "packages": versions}


def record(asked: Tree, outputs: Mapping[str, str]) -> Tree:
    """Content of provenance.json.

    Parameters
    ----------
    asked : what `asked` gave.
    outputs : digest of every result by its path in the folder of results.
    """
    analyses = {}
    for name, about in asked["analyses"].items():
        own = {path: d for path, d in outputs.items() if path.startswith(f"{name}/")}
        analyses[name] = {**about, "outputs": own}
    others = {
        path: digest
        for path, digest in outputs.items()
        if path.partition("/")[0] not in asked["analyses"]
    }
    return {
        "format": 1,
        "command": asked["command"],
        "software": {"name": "evisynth", "code": asked["code"], "lock": asked["lock"]},
        "inputs": asked["inputs"],
        "analyses": analyses,
        "outputs": others,
        "rules": asked["rules"],
        "environment": environment(),
    }


def crate(asked: Tree, outputs: Mapping[str, str], sizes: Mapping[str, int]) -> Tree:
    """The results as an RO-Crate 1.1 that is a Process Run Crate too, the same on every run.

    Parameters
    ----------
    outputs, sizes : digest and size in bytes of every result by its path.
    """
    # an eighth of a second, and only here
    from rocrate.model.contextentity import ContextEntity
    from rocrate.model.file import File
    from rocrate.model.person import Person
    from rocrate.rocrate import ROCrate

    about = asked["crate"]
    made = ROCrate(version="1.1")

    def entity(identifier: str, kind: str, /, **more: Any) -> Any:
        return made.add(ContextEntity(made, identifier, properties={"@type": kind, **more}))

    description = about["description"]
    if about["date"] == EPOCH:
        description += f" (No date is given; {EPOCH} stands for it.)"
    profile = entity(PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    root = made.root_dataset
    root["name"], root["description"] = about["name"], description
    root["datePublished"] = about["date"]
    root["conformsTo"] = profile
    root["license"] = _license(about["license"], entity)
    authors = [
        made.add(Person(made, f"#author-{number}", properties={"name": name}))
        for number, name in enumerate(about["authors"], 1)
    ]
    if authors:
        root["author"] = authors
    files = []
    for path in sorted(outputs):
        properties = {
            "name": path,
            "contentSize": str(sizes[path]),
            "identifier": f"sha256:{outputs[path]}",
        }
        if media := MEDIA.get(Path(path).suffix):
            properties["encodingFormat"] = media
        files.append(made.add(File(made, dest_path=path, properties=properties)))
    given = [
        entity(
            f"#input-{number}",
            "PropertyValue",
            name=path,
            value=f"sha256:{asked['inputs'][path]}",
        )
        for number, path in enumerate(sorted(asked["inputs"]), 1)
    ]
    software = entity(
        "#evisynth",
        "SoftwareApplication",
        name="evisynth",
        description="Meta-analysis as an incremental, checkable workflow",
        softwareVersion=f"sha256:{asked['code']}",
    )
    run = entity(
        "#run", "CreateAction", name=asked["command"], description=f"Ran {asked['command']}"
    )
    run["instrument"], run["object"], run["result"] = software, given, files
    if authors:
        run["agent"] = authors[0]
    root["mentions"] = run
    tree: Tree = made.metadata.generate()
    return tree


def _license(text: str, entity: Any) -> Any:
    """The licence as an entity: by its address, its SPDX name, or in words."""
    if text.startswith(("https://", "http://")) and " " not in text:
        return entity(text, "CreativeWork", name=text)
    if SPDX.fullmatch(text):
        return entity(f"https://spdx.org/licenses/{text}", "CreativeWork", name=text)
    name = text or "No licence is given"
    return entity("#license", "CreativeWork", name=name, description=name)
