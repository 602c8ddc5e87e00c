"""Text of others is one printable line, and stands for itself in markdown."""

import html
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catchup_bench.cli.streams import show_anywhere
from catchup_bench.text import LONGEST, markdown, printable


@given(st.text(max_size=300))
def test_any_text_is_one_printable_line_of_limited_length(text: str) -> None:
    line = printable(text)
    assert line.isprintable() and len(line) <= LONGEST and len(line.splitlines()) <= 1
    assert printable(line) == line
    assert html.unescape(markdown(text)) == line


@given(st.text("|<>`*_[]#!&\\~@:/w.\n-", max_size=60))
def test_nothing_in_markdown_is_markup(text: str) -> None:
    shown = markdown(text)
    assert not set(shown.replace("&#", "").replace(";", "")) & set("|<>`*_[]!&\\~@")
    assert "://" not in shown and "www." not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Intel(R) Xeon(R) Processor, 2 cores", "Intel(R) Xeon(R) Processor, 2 cores"),
        ("a\n\n# b", "a &#35; b"),
        ("x" * 200, "x" * (LONGEST - 1) + "&#8230;"),
        ("\u202eabc\x1b[2J", "&#92;u202eabc&#92;x1b&#91;2J"),
        (None, "None"),
    ],
)
def test_examples(text: object, shown: str) -> None:
    assert markdown(text) == shown


def test_an_ascii_terminal_is_given_other_words() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, "ascii")
    show_anywhere(stream)
    stream.write("1.5 ± 0.2 ●○ é")
    stream.flush()
    assert buffer.getvalue() == b"1.5 +- 0.2 *o \\xe9"
