"""Several outputs of one transform."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("room", ["transforms", "jobs"])
def test_transforms_with_several_outputs_say_so(room):
    """Beam prints a warning in everyone's pipeline that applies a transform that returns no collection."""
    for path in (ROOT / room).rglob("*.py"):
        for made in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for method in made.body if isinstance(made, ast.ClassDef) else []:
                if isinstance(method, ast.FunctionDef) and method.name == "expand":
                    several = isinstance(method.returns, ast.Name)  # and not beam.PCollection
                    assert not several or "NamedOutputs" in map(ast.unparse, made.bases), f"{path}: {made.name}"
