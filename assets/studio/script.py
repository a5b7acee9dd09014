"""`script`: the turns of a requested script, as they are written and as they are said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.tables.studio import SCRIPT_TURNS, SCRIPTS, ScriptRow, ScriptTurnRow, SpokenChange
from resources.studio.ledger import Ledger
from speech.errors import BadScript
from speech.script import ScriptRefused, is_same_script, joined, parse_script
from speech.spoken_formulas import spoken_formulas
from speech.spoken_text import spoken_text

_SHOWN = 12


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    turns = tables["script_turns"]
    lines = [f"**{row['speaker']}** {row['text']}" for row in turns.slice(0, _SHOWN).to_pylist()]
    return {
        "title": tables["scripts"]["title"][0].as_py(),
        "turns": turns.num_rows,
        "script": dg.MetadataValue.md("\n\n".join(lines)),
        "dagster/row_count": turns.num_rows,
    }


@Stage(
    tables=(SCRIPTS, SCRIPT_TURNS), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="2",
    partition_kind="podcast",
)  # fmt: skip
def script(batch: Batch, ledger: Ledger) -> Iterator[Outcome]:
    """Divides a requested script into turns, and writes formulas, numbers and dates as they are spoken."""
    return each(batch.keys, lambda key: _script(key, ledger))


def _script(key: str, ledger: Ledger) -> Landing:
    ledger.check_wanted(key)
    request = ledger.request(key)
    if request is None:
        raise BadScript(f"The ledger has no request {key}. Request a podcast with `podlake podcast submit`.")
    try:
        turns = parse_script(request.script)
    except ScriptRefused as refused:
        raise BadScript(f"{key}: {refused}") from refused
    if not is_same_script(joined(turns), request.script):
        raise BadScript(f"{key}: the turns are not the script again. This is an error of podlake: please report it.")
    rows = []
    for index, turn in enumerate(turns):
        formulas_said, formulas = spoken_formulas(turn.text, request.language)
        said, changes = spoken_text(formulas_said, request.language)
        spoken_changes = tuple(SpokenChange(one.before, one.after) for one in (*formulas, *changes))
        problems = tuple(f"{one.before}: {one.problem}" for one in formulas if one.problem)
        rows.append(
            ScriptTurnRow(
                turn_idx=index,
                speaker=turn.speaker,
                text=turn.text,
                spoken_text=said,
                changes=spoken_changes,
                problems=problems or None,
            )
        )
    whole = ScriptRow(
        title=request.title, language=request.language, seed=request.seed, script=request.script, n_turns=len(turns),
        speakers=tuple(dict.fromkeys(turn.speaker for turn in turns)), requested_at=request.admitted_at,
    )  # fmt: skip
    return Landing(key, {"scripts": [whole], "script_turns": rows})
