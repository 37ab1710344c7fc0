"""Files as others write them: delimiters, quotes, encodings."""

import re

import pytest

from gamepruning.tabular.read import read_table, scan_table
from gamepruning.types import InputError

CELLS = {"a": ["1", "2"], "b": ["x", "y"]}


def write(tmp_path, data):
    path = tmp_path / "t.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path, delimiter):
    text = "\n".join(delimiter.join(row) for row in ("ab", "1x", "2y"))
    assert read_table(write(tmp_path, text)).to_dict("list") == CELLS


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"weight, kg";"height, cm";t\n1,5;2,5;u\n', ["weight, kg", "height, cm", "t"]),
        ('"a; b; c; d",x,t\n1,2,u\n', ["a; b; c; d", "x", "t"]),
        ('a, "b, c"\n1, "x, y"\n', ["a", "b, c"]),
        ('a,"b\nc"\n1,2\n', ["a", "b\nc"]),
        ("sep=;\na;b,c\n1;2\n", ["a", "b,c"]),
        ('"sep=|"\r\na|b\r\n1|2\r\n', ["a", "b"]),
    ],
)
def test_a_delimiter_in_quotes_is_text(tmp_path, text, names):
    assert list(read_table(write(tmp_path, text))) == names


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings(tmp_path, encoding, said):
    data = "größe;preis €\n1;2\n3;4\n".encode(encoding)
    table = scan_table(write(tmp_path, data))
    assert list(table.cells) == ["größe", "preis €"]
    assert (table.encoding, table.delimiter) == (said, ";")


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x00\x00,2", b"a,b\n"])
def test_what_is_no_table_is_one_line(tmp_path, data):
    with pytest.raises(InputError, match=r"^[^\n]*t\.csv[^\n]*$"):
        read_table(write(tmp_path, data))


def test_lines_as_old_macs_end_them(tmp_path):
    assert read_table(write(tmp_path, b"a,b\r1,x\r2,y\r"))["b"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "names", "row", "said"),
    [
        ("# of 2024, by us\n#\na,b\n1,x\n", ["a", "b"], 4, "2 comment lines .* 2024"),
        ("# a,b\n1,2\n", ["a", "b"], 2, ""),
        ("#,b\n1,x\n", ["#", "b"], 2, ""),
        ("#a,b\nx,y\n", ["a", "b"], 2, ""),
        ("# by, us\na,b\nx,y\n", ["a", "b"], 3, "1 comment line"),
        (" a  b\n1\t2,5 \n", ["a", "b"], 2, "split at spaces"),
        ("# a b\n1 2\n", ["a", "b"], 2, "split at spaces"),
        ("full name\nx\n", ["full name"], 2, ""),
        ("a,b\n1,2,\n", ["a", "b"], 2, ""),
    ],
)
def test_comments_and_spaces_where_they_are_certain(tmp_path, text, names, row, said):
    table = scan_table(write(tmp_path, text))
    assert (list(table.cells), table.cells.index[0]) == (names, row)
    assert re.search(said, " ".join(table.notes)) and bool(table.notes) == bool(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a b\n1 2 3\n", "split at spaces the header has 2 cells, but row 2 has 3"),
        ("My data\na,b,c\n1,2,3\n4,5,6\n", "put # before lines that stand above"),
        ('a,b\n1,"x\n2,y\n', "row 2: the quotes do not match"),
        ("sep=;\n\na;b\n1;2\n\n3\n", "row 6: expected 2 cells .* row 3, got 1"),
        ('#\na,b\n"x\ny",1\nz\n', "row 5: expected 2 cells .* row 2, got 1"),
    ],
)
def test_what_is_not_certain_is_refused_by_its_line(tmp_path, text, said):
    with pytest.raises(InputError, match=rf"t\.csv: .*{said}"):
        read_table(write(tmp_path, text))


def test_a_guessed_encoding_is_told(tmp_path):
    text = "größe;b\n1;2\n"
    (note,) = scan_table(write(tmp_path, text.encode("cp1252"))).notes
    assert "Windows-1252" in note and "'größe'" in note and "UTF-8" in note
    with pytest.raises(InputError, match=r"row 2 .*0x81\): save the file as UTF-8"):
        read_table(write(tmp_path, "a;b\nü;1\n".encode("cp850")))


def test_blank_columns_at_the_end_are_left_out_and_told(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b;;\n1;2;;\n3;4;;\n", encoding="utf-8-sig")
    table = scan_table(path)
    assert list(table.cells) == ["a", "b"]
    assert table.notes == ("2 columns at the end without name and cells, left out",)
    path.write_text("a,b,b\n1,2,3\n")
    with pytest.raises(InputError, match="called 'b', number 2 and 3: give each its"):
        scan_table(path)
