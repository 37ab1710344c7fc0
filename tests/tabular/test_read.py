"""Files as others write them: delimiters, quotes, encodings."""

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
