"""Text files that commands take: UTF-8, with or without the mark that Windows puts first."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dagster_project.cli.context import TextFile


@click.command()
@click.argument("text", type=TextFile())
def shown(text: str) -> None:
    click.echo(repr(text))


@pytest.mark.parametrize("content", [b"[S1] caf\xc3\xa9\nHi", b"\xef\xbb\xbf[S1] caf\xc3\xa9\r\nHi"])
def test_a_text_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.txt"
    path.write_bytes(content)
    assert CliRunner().invoke(shown, [str(path)]).output == "'[S1] café\\nHi'\n"
    assert CliRunner().invoke(shown, ["-"], input=content).output == "'[S1] café\\nHi'\n"


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"
    missing = CliRunner().invoke(shown, [str(path)])
    assert (missing.exit_code, "No such file" in missing.output) == (2, True)
    path.write_bytes("[S1] café".encode("latin-1"))
    refused = CliRunner().invoke(shown, [str(path)])
    assert (refused.exit_code, "is no text in UTF-8. Save it as plain text" in refused.output) == (2, True)
