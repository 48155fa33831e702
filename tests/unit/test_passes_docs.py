"""Each pass states its contract, is named for its file and has a lit test; ops are made by the builder alone."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from dfc.ir.dialect import all_ops
from dfc.passes import manager

ROOT = Path(__file__).resolve().parents[2]
PASSES = ROOT / "passes"
LIT = ROOT / "tests" / "lit"


@pytest.mark.parametrize("name", list(manager.BUILT_IN))
def test_a_pass_states_what_it_requires_and_ensures(name: str) -> None:
    doc = inspect.getdoc(manager.pass_class(name)) or ""
    assert doc.index("Requires:") < doc.index("Ensures:")
    assert doc.splitlines()[0].endswith((".", "`."))


@pytest.mark.parametrize("name", list(manager.BUILT_IN))
def test_a_pass_is_named_for_its_file(name: str) -> None:
    cls = manager.pass_class(name)
    assert cls.name == name
    assert cls.__name__ == "".join(word.capitalize() for word in name.split("-"))
    module = manager.BUILT_IN[name].partition(":")[0].rpartition(".")[2]
    assert module == name.replace("-", "_")
    assert (PASSES / f"{module}.py").is_file() or (PASSES / module / "__init__.py").is_file()
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", list(manager.BUILT_IN))
def test_a_pass_has_a_lit_test(name: str) -> None:
    lines = [f.read_text(encoding="utf-8").partition("\n")[0] for f in LIT.glob(f"{name}*.mlir")]
    assert any(name in line for line in lines)


def test_every_pass_file_is_registered() -> None:
    named = {cls.partition(":")[0] for cls in manager.BUILT_IN.values()}
    for file in PASSES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Pass" for base in node.bases):
                module = ".".join(("dfc", *file.relative_to(ROOT).with_suffix("").parts))
                assert any(module.startswith(n) for n in named), f"{module}.{node.name} is in no pipeline"


# ---- raw creation

OP_NAMES = {op.__name__ for op in all_ops()} | {"ModuleOp"}
REWRITERS = ("xdsl.builder", "xdsl.rewriter", "xdsl.pattern_rewriter")


def raw_creation(source: str) -> Iterator[str]:
    """Where code makes ops without `ir/builder.py`, so that their positions would be lost."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="create", value=value)) if ast.unparse(value) != "builder":
                yield f"{node.lineno}: {ast.unparse(node.func)}(...)"
            case ast.Call(func=ast.Name(id=name)) if name in OP_NAMES:
                yield f"{node.lineno}: {name}(...)"
            case ast.ImportFrom(module=str(module)) if module in REWRITERS:
                yield f"{node.lineno}: {module}"
            case ast.Import(names=names) if any(alias.name in REWRITERS for alias in names):
                yield f"{node.lineno}: {names[0].name}"


@pytest.mark.parametrize("file", sorted(PASSES.rglob("*.py")), ids=lambda f: f.relative_to(PASSES).as_posix())
def test_passes_make_ops_with_the_builder_only(file: Path) -> None:
    assert list(raw_creation(file.read_text(encoding="utf-8"))) == []


def test_raw_creation_is_found() -> None:
    source = (
        "from xdsl.pattern_rewriter import PatternRewriter\n"
        "import xdsl.rewriter\n"
        "a = Add(x, y)\n"
        "b = type(op).create(operands=[])\n"
        "c = ConstantOp.create()\n"
        "d = create(Add, [x, y], location=l)\n"
        "e = b(Add, x, y)\n"
        "f = builder.create(Add, [x, y], location=l)\n"
    )
    assert list(raw_creation(source)) == [
        "1: xdsl.pattern_rewriter",
        "2: xdsl.rewriter",
        "3: Add(...)",
        "4: type(op).create(...)",
        "5: ConstantOp.create(...)",
    ]
