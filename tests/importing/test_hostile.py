"""Files that would do harm are refused with a message; those that only look so are read."""

import io
import os
import random
import struct
import zipfile

import pytest
from support.foreign import bcg_rm5, import_, remarks, rewritten, run, table, workbook

ROWS = [["study", "yi", "vi"], ["a", 0.1, 0.2], ["b", 0.3, 0.4]]
WORDS = ("--columns", "study=study,yi=yi,vi=vi", "--measure", "GEN")
SHEET = "xl/worksheets/sheet1.xml"
DOCTYPE = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.fixture
def book(tmp_path):
    return workbook(tmp_path / "x.xlsx", {"Sheet1": ROWS})


def refused(capsys, path, tmp_path, *words):
    """The complaint, which names the file, and nothing is written."""
    said = import_(capsys, path, tmp_path / "out", *(words or WORDS), status=2)
    assert not (tmp_path / "out").exists()
    for part in (path.name, "found:", "expected:", "to do:"):
        assert part in said
    assert "Traceback" not in said
    return said


def archive(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return path


def test_a_zip_bomb_is_refused_before_it_is_opened(book, tmp_path, capsys):
    rewritten(book, {}, {"xl/media/image1.bin": b"\0" * 60_000_000})
    assert "a bomb" in refused(capsys, book, tmp_path)


def test_an_archive_that_unpacks_to_too_much_is_refused(book, tmp_path, capsys):
    noise = os.urandom(1000) * 21_000
    rewritten(book, {}, {f"xl/media/{i}.bin": noise for i in range(10)})
    assert "bytes when unpacked" in refused(capsys, book, tmp_path)


def test_an_archive_that_understates_its_sizes_is_refused(book, tmp_path, capsys):
    content = book.read_bytes()
    # the uncompressed size of the sheet, in the directory and in the header of the entry
    with zipfile.ZipFile(book) as made:
        size = struct.pack("<I", made.getinfo(SHEET).file_size)
    assert content.count(size) == 2
    book.write_bytes(content.replace(size, struct.pack("<I", 10)))
    assert "not what the archive announces" in refused(capsys, book, tmp_path)


def test_too_many_entries_are_refused(book, tmp_path, capsys):
    rewritten(book, {}, {f"xl/media/{i}": b"" for i in range(5_001)})
    assert "entries" in refused(capsys, book, tmp_path)


@pytest.mark.parametrize(
    "name", ["../out.csv", "a/../../x-data-rows.csv", "/etc/x", "C:\\x", "a\\..\\..\\b"]
)
def test_names_that_lead_out_of_the_archive_are_refused(name, tmp_path, capsys):
    path = archive(tmp_path / "x.zip", {name: "x"})
    assert "leads out of its folder" in refused(capsys, path, tmp_path)


def test_a_symbolic_link_in_an_archive_is_refused(tmp_path, capsys):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as made:
        entry = zipfile.ZipInfo("CD1-data-rows.csv")
        entry.external_attr = 0o120777 << 16
        made.writestr(entry, "/etc/passwd")
    assert "a symbolic link" in refused(capsys, path, tmp_path)


def test_a_bomb_within_the_archive_of_a_package_is_refused(tmp_path, capsys):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("CD1-data-rows.csv", b"a" * 50_000_000)
    path = archive(tmp_path / "x.zip", {"CD1-data.zip": inner.getvalue()})
    assert "a bomb" in refused(capsys, path, tmp_path)


@pytest.mark.parametrize(
    "part", [SHEET, "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml"]
)
@pytest.mark.parametrize("doctype", [DOCTYPE, EXTERNAL])
def test_entities_in_a_workbook_are_refused(part, doctype, book, tmp_path, capsys):
    def with_doctype(text):
        head, sign, rest = text.partition("?>")
        return head + sign + doctype + rest if sign else doctype + text

    rewritten(book, {part: with_doctype})
    assert "a document type" in refused(capsys, book, tmp_path)


@pytest.mark.parametrize("doctype", [DOCTYPE, EXTERNAL, "<!DOCTYPE COCHRANE_REVIEW>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_in_a_review_are_refused(doctype, encoding, tmp_path, capsys):
    text = bcg_rm5().replace("?>", "?>" + doctype, 1).replace("UTF-8", encoding)
    path = tmp_path / "x.rm5"
    path.write_bytes(text.replace("Words.", "&a;").encode(encoding))
    assert "a document type" in refused(capsys, path, tmp_path, "--dry-run")


def test_xml_that_is_too_deep_or_broken_is_refused(tmp_path, capsys):
    path = tmp_path / "x.rm5"
    path.write_text("<COCHRANE_REVIEW>" + "<a>" * 5000)
    assert "one within another" in refused(capsys, path, tmp_path, "--dry-run")
    path.write_text(bcg_rm5()[:-20])
    assert "not XML" in refused(capsys, path, tmp_path, "--dry-run")
    path.write_text("<html><COCHRANE_REVIEW/></html>")
    assert "XML of another kind" in refused(capsys, path, tmp_path, "--dry-run")


@pytest.mark.parametrize("cell", ["XFD1048576", "A1048576", "XFD1000"])
def test_a_sheet_of_huge_dimensions_is_refused(cell, book, tmp_path, capsys):
    row = cell.lstrip("XFDA")
    more = f'<row r="{row}"><c r="{cell}"><v>1</v></c></row></sheetData>'
    rewritten(book, {SHEET: lambda text: text.replace("</sheetData>", more)})
    said = refused(capsys, book, tmp_path)
    assert "a row 1048576" in said or "1000 rows by 16384 columns" in said


def test_a_sheet_that_only_claims_huge_dimensions_is_read(book, tmp_path, capsys):
    rewritten(book, {SHEET: lambda text: text.replace('ref="A1:C3"', 'ref="A1:XFD1048576"')})
    import_(capsys, book, tmp_path / "out", *WORDS)
    assert [row["yi"] for row in table(tmp_path / "out/sheet1.csv")] == ["0.1", "0.3"]


def test_merged_cells_of_a_whole_sheet_are_refused(book, tmp_path, capsys):
    merged = '</sheetData><mergeCells><mergeCell ref="A5:XFD1048576"/></mergeCells>'
    rewritten(book, {SHEET: lambda text: text.replace("</sheetData>", merged)})
    assert "merged cells" in refused(capsys, book, tmp_path)


def test_macros_are_left_and_said(book, tmp_path, capsys):
    rewritten(book, {}, {"xl/vbaProject.bin": b"\xd0\xcf"})
    path = book.rename(tmp_path / "x.xlsm")
    import_(capsys, path, tmp_path / "out", *WORDS)
    assert "macros" in [row["found"] for row in remarks(tmp_path / "out")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "a password"),
        ("locked.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, ".xls"),
        ("text.xlsx", b"study,yi,vi\na,1,1\n", "none of the formats"),
        ("cut.xlsx", b"PK\x03\x04" + b"\0" * 90, "a damaged archive"),
        ("empty.csv", b" \n", "an empty file"),
        ("nul.csv", b"study,yi,vi\na\0,1,1\n", "U+0000"),
        ("bell.csv", b"study,yi,vi\na\x07,1,1\n", "U+0007"),
        ("latin.csv", "study,yi,vi\nMøller,1,1\n".encode("latin-1"), "not utf-8"),
        ("wide.csv", "study,yi,vi\na,1,1\n".encode("utf-16"), "UTF-16"),
        ("quote.csv", b'study,yi,vi\n"a,1,1\n', "CSV syntax"),
        ("after.csv", b'study,yi,vi\n"a"b,1,1\n', "CSV syntax"),
        ("rows.csv", b"study,yi,vi\n" + b"a,1,1\n" * 1_000_000, "at most 100000"),
        ("cell.csv", b"study,yi,vi\n" + b"a" * 200_000 + b",1,1\n", "field larger"),
        ("columns.csv", b"study,yi,vi" + b",x" * 3_000 + b"\n", "columns"),
        ("book.ods", None, "OpenDocument"),
        ("book.xlsb", None, "binary workbook"),
        ("other.zip", None, "no file data-rows"),
    ],
)
def test_what_is_no_table_is_refused(name, content, said, tmp_path, capsys):
    path = tmp_path / name
    parts = {"book.ods": "content.xml", "book.xlsb": "xl/workbook.bin", "other.zip": "a.txt"}
    if content is None:
        archive(path, {parts[name]: "x"})
    else:
        path.write_bytes(content)
    assert said in refused(capsys, path, tmp_path)


def test_quotes_within_quotes_and_line_ends_within_cells_are_read(tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text('study,yi,vi\n"Smith ""Al"" \'99\nJones",0.1,1\nb,0.2,1\n')
    import_(capsys, path, tmp_path / "out", *WORDS)
    found = table(tmp_path / "out/x.csv")
    assert [row["study"] for row in found] == ['Smith "Al" \'99\nJones', "b"]
    assert [row["place"] for row in found] == ["row 2", "row 4"]


def test_a_link_out_of_its_folder_is_refused_and_one_within_is_read(tmp_path, capsys):
    folder = tmp_path / "evidence"
    folder.mkdir()
    outside = tmp_path / "secret.csv"
    outside.write_text("study,yi,vi\na,1,1\n")
    link = folder / "x.csv"
    link.symlink_to(outside)
    assert "a symbolic link" in refused(capsys, link, tmp_path)
    (folder / "real.csv").write_text("study,yi,vi\na,1,1\n")
    near = folder / "near.csv"
    near.symlink_to("real.csv")
    import_(capsys, near, tmp_path / "out", *WORDS)
    loop = folder / "loop.csv"
    loop.symlink_to("loop.csv")
    said = import_(capsys, loop, tmp_path / "no", *WORDS, status=2)
    assert "loop.csv" in said


def test_nothing_is_written_through_a_link(book, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    target = tmp_path / "precious"
    target.write_text("mine")
    (out / "config.yaml").symlink_to(target)
    said = import_(capsys, book, out, *WORDS, "--force", status=2)
    assert "a symbolic link" in said
    assert target.read_text() == "mine"


def test_names_from_a_file_never_become_paths(tmp_path, capsys):
    path = tmp_path / "x.csv"
    names = ["../../etc/passwd", "CON", "con", "/abs", "a\u202eb", "…", "= 1"]
    lines = "".join(f'"{n}",1,2,1,2\n' for n in names)
    path.write_text("study,ai,n1i,ci,n2i\n" + lines, encoding="utf-8")
    columns = "study=study,ai=ai,n1i=n1i,ci=ci,n2i=n2i"
    words = ("--columns", columns, "--measure", "RR", "--to", "studies", "--design", "rct")
    import_(capsys, path, tmp_path / "out", *words)
    written = sorted(p.name for p in (tmp_path / "out/studies").iterdir())
    assert len(written) == len(names)
    assert len({name.casefold() for name in written}) == len(names)
    assert all(name.split(".")[0] not in ("con", "CON") for name in written)
    assert {p.name for p in tmp_path.iterdir()} == {"x.csv", "out"}


def test_directories_and_devices_are_refused(tmp_path, capsys):
    assert "a folder" in refused(capsys, tmp_path, tmp_path)
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    assert "a device or pipe" in refused(capsys, pipe, tmp_path)
    assert "no such file" in refused(capsys, tmp_path / "none.csv", tmp_path)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["xlsx", "rm5", "zip", "csv"])
def test_a_damaged_file_never_ends_in_a_traceback(kind, seed, tmp_path, capsys):
    draw = random.Random(f"{kind} {seed}")
    path = tmp_path / f"x.{kind}"
    if kind == "xlsx":
        workbook(path, {"Sheet1": ROWS})
        parts = [SHEET, "xl/workbook.xml", "xl/styles.xml", "xl/_rels/workbook.xml.rels"]
        part = draw.choice(parts)
        rewritten(path, {part: lambda text: damaged(text.encode(), draw).decode("latin-1")})
    elif kind == "rm5":
        path.write_bytes(damaged(bcg_rm5().encode(), draw))
    elif kind == "zip":
        archive(path, {"a-data-rows.csv": "x,y\n1,2\n"})
        path.write_bytes(damaged(path.read_bytes(), draw))
    else:
        path.write_bytes(damaged(b'study,yi,vi\n"a",0.1,1\nb;c,0.2,1\n', draw))
    status, _, said = run(capsys, "import", path, "--out", tmp_path / "out", *WORDS)
    assert status in (0, 1) or "to do:" in said


def test_a_workbook_that_its_list_of_types_does_not_name_is_refused(book, tmp_path, capsys):
    rewritten(book, {"[Content_Types].xml": lambda text: text.replace("sheet.main", "x")})
    assert "cannot be read" in refused(capsys, book, tmp_path)


def damaged(content, draw):
    """A few bytes changed, removed or doubled."""
    found = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(found))
        what = draw.randrange(3)
        if what == 0:
            found[at] = draw.randrange(32, 127)
        elif what == 1:
            del found[at : at + draw.randint(1, 20)]
        else:
            found[at:at] = found[at : at + draw.randint(1, 20)]
    return bytes(found)
