"""Runs a notebook's cells in this process and keeps what they show, as nbformat 4 has it.

``python tests/notebook.py docs/first_run.ipynb`` runs it for real and writes it anew. No kernel is needed: what a cell
shows is what it prints, and its last expression's own HTML, picture or text.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def run(notebook: dict[str, Any], names: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Run the code cells in order; yields each with its outputs of this run."""
    names = {"__name__": "__main__"} if names is None else names
    for number, cell in enumerate((one for one in notebook["cells"] if one["cell_type"] == "code"), start=1):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        said = io.StringIO()
        with redirect_stdout(said):
            exec(compile(tree, f"cell {number}", "exec"), names)
            value = None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
        outputs: list[dict[str, Any]] = []
        if text := said.getvalue().replace(str(Path.cwd()), "/home/you/labelwright"):
            outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(True)})
        if value is not None:
            data = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown(value)}
            outputs.append(data)
        yield {**cell, "execution_count": number, "outputs": outputs}


def shown(value: Any) -> dict[str, Any]:
    """What a notebook shows of a value, by media type."""
    data: dict[str, Any] = {"text/plain": [f"<{type(value).__name__}>"]}
    if hasattr(value, "savefig"):
        content = io.BytesIO()
        value.savefig(content, format="png", dpi=72)
        data["image/png"] = base64.b64encode(content.getvalue()).decode()
    elif hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(True)
    else:
        data["text/plain"] = repr(value).splitlines(True)
    return data


def main(path: Path) -> None:
    """Run a notebook from the folder that this is called in, and write it with what it showed."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    done = run(notebook)
    cells = [next(done) if cell["cell_type"] == "code" else cell for cell in notebook["cells"]]
    path.write_text(json.dumps({**notebook, "cells": cells}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
