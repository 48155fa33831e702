"""The house keeps its shape: the rooms, who may import whom, what is declared, file sizes, and a cheap start."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("ir", "passes", "backends", "runtime", "frontend", "tools")  # each may import the ones before it
OTHERS = ("dfc", "tests", "benchmarks", "examples")
CODE_SUFFIXES = {".py", ".cc", ".h"}
MOST_LINES = 600

CORE = {"jax", "jaxlib", "numpy", "xdsl", "click", "safetensors"}
OF_JAX = {"scipy", "ml_dtypes"}  # required by jax itself

# What a room may import of others; a longer path decides for what lies under it. `jaxlib.mlir` allows that module only.
THIRD_PARTIES: dict[str, set[str]] = {
    "ir": {"numpy", "scipy", "ml_dtypes", "xdsl"},
    "passes": {"numpy", "xdsl"},
    "backends": {"numpy", "ml_dtypes", "xdsl"},
    "backends/stablehlo": {"numpy", "ml_dtypes", "xdsl", "jaxlib.mlir"},
    "backends/xla.py": {"numpy", "ml_dtypes", "xdsl", "jax", "jaxlib"},
    "backends/arrays.py": {"numpy", "ml_dtypes", "xdsl", "jax", "jaxlib"},
    "backends/mesh.py": {"numpy", "jax", "jaxlib"},
    "backends/compile_cache.py": {"numpy", "ml_dtypes", "xdsl", "jax", "jaxlib"},
    "backends/lean.py": {"numpy", "ml_dtypes", "jaxlib"},
    "backends/compile_worker.py": {"numpy", "jaxlib"},
    "backends/statistics.py": {"jaxlib"},
    "backends/iree.py": {"numpy", "ml_dtypes", "xdsl", "iree"},
    "runtime": {"numpy", "ml_dtypes", "xdsl", "safetensors"},
    "runtime/serve": {"numpy", "ml_dtypes", "starlette", "uvicorn", "grpc", "prometheus_client"},
    "runtime/cluster": {"numpy", "ml_dtypes", "xdsl", "ray"},
    "frontend": {"numpy", "ml_dtypes", "xdsl", "PIL"},
    "tools": {"numpy", "xdsl", "click", "graphviz"},
}


class Import(NamedTuple):
    line: int
    module: str  # dotted, as far as the source says: `from dfc.ir import op` is "dfc.ir.op"


def code_files(*folders: str) -> Iterator[Path]:
    """The source files under these folders of the repository, each once: links are not followed."""
    for folder in folders:
        for parent, _, names in os.walk(ROOT / folder):
            yield from (Path(parent, name) for name in sorted(names) if Path(name).suffix in CODE_SUFFIXES)


@cache
def imports(file: Path) -> tuple[Import, ...]:
    """Every import in a file: at the top, in functions, under TYPE_CHECKING, and `import_module("name")`."""
    return imports_of(file.read_text(encoding="utf-8"))


def imports_of(source: str) -> tuple[Import, ...]:
    found: list[Import] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [Import(node.lineno, alias.name) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                stem = "." * level + (module or "")
                found += [Import(node.lineno, f"{stem}.{alias.name}") for alias in names]
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(name)), *_]
            ):
                if called in ("import_module", "__import__"):
                    found.append(Import(node.lineno, name))
    return tuple(found)


def allowed_third_parties(path: str) -> set[str]:
    pure = PurePosixPath(path)
    return next(THIRD_PARTIES[str(p)] for p in (pure, *pure.parents) if str(p) in THIRD_PARTIES)


def fault(path: str, module: str) -> str:
    """Why the file at `path` (from the repository's root) may not import `module`, or nothing where it may."""
    room = PurePosixPath(path).parts[0]
    top, _, rest = module.partition(".")
    if not top:
        return "relative import; write the absolute name"
    if top in ROOMS:
        return f"write dfc.{top}: the rooms are packages inside dfc"
    if top != "dfc":
        allowed = any(f"{module}.".startswith(f"{name}.") for name in allowed_third_parties(path))
        return "" if allowed or top in sys.stdlib_module_names else f"{path} may not use {top}"
    target = rest.partition(".")[0]
    if target == "errors":
        return ""
    if target not in ROOMS:
        return "" if room == "tools" else "dfc itself is the public face, above every room but tools"
    return "" if ROOMS.index(target) <= ROOMS.index(room) else f"{room} stands below {target} and may not import it"


def pyproject() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names_of(requirements: object) -> set[str]:
    assert isinstance(requirements, list)
    return {re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0] for text in requirements}


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "frontend", "ir", "passes", "backends", "runtime", "tools", "tests"]
)
def test_the_top_level_shows_the_stages(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("room", ROOMS)
def test_the_package_links_to_each_room(room: str) -> None:
    link = ROOT / "dfc" / room
    assert link.is_symlink()
    assert os.readlink(link) == f"../{room}"
    assert (link / "__init__.py").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_costs_nothing_to_import(room: str) -> None:
    body = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1, "a room's __init__.py is its docstring alone"
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)


def test_core_dependencies_are_exactly_these() -> None:
    assert names_of(pyproject()["project"]["dependencies"]) == CORE


def test_pytest_is_declared() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    assert isinstance(extras, dict)
    assert "pytest" in names_of(extras["test"])


@pytest.mark.parametrize("package", ["jax", "jaxlib", "numpy", "xdsl", "click", "pytest"])
def test_a_declared_package_is_used(package: str) -> None:
    folders = ("tests",) if package == "pytest" else ROOMS
    files = [file for file in code_files(*folders) if file.suffix == ".py"]
    assert any(name.partition(".")[0] == package for file in files for _, name in imports(file))


def test_core_rooms_use_only_declared_packages() -> None:
    core = {
        "ir",
        "passes",
        "backends/stablehlo",
        "backends/xla.py",
        "backends/arrays.py",
        "backends/compile_cache.py",
        "runtime",
    }
    assert {name.partition(".")[0] for path in core for name in THIRD_PARTIES[path]} <= CORE | OF_JAX


def test_imports_go_up_the_table_only() -> None:
    faults = [
        f"{path}:{line}: {module}: {why}"
        for file in code_files(*ROOMS)
        if file.suffix == ".py"
        for path in [file.relative_to(ROOT).as_posix()]
        for line, module in imports(file)
        if (why := fault(path, module))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("path", "module", "why"),
    [
        ("ir/ops/linalg.py", "dfc.passes.cse", "ir stands below passes and may not import it"),
        ("runtime/session.py", "dfc.frontend", "runtime stands below frontend and may not import it"),
        ("ir/op.py", ".types", "relative import; write the absolute name"),
        ("passes/cse.py", "ir.op", "write dfc.ir: the rooms are packages inside dfc"),
        ("frontend/graph.py", "dfc", "dfc itself is the public face, above every room but tools"),
        ("passes/place.py", "scipy.special", "passes/place.py may not use scipy"),
        ("runtime/devices.py", "jax", "runtime/devices.py may not use jax"),
        ("backends/stablehlo/linalg.py", "jaxlib._jax", "backends/stablehlo/linalg.py may not use jaxlib"),
    ],
)
def test_a_wrong_import_is_named(path: str, module: str, why: str) -> None:
    assert fault(path, module) == why


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("ir/op.py", "dfc.errors.InvalidType"),
        ("passes/cse.py", "dfc.ir.op"),
        ("backends/stablehlo/linalg.py", "jaxlib.mlir.ir"),
        ("backends/xla.py", "jaxlib._jax"),
        ("tools/cli.py", "dfc.frontend.function"),
        ("tools/cli.py", "dfc"),
        ("runtime/executor.py", "concurrent.futures"),
    ],
)
def test_a_right_import_passes(path: str, module: str) -> None:
    assert fault(path, module) == ""


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from dfc.frontend import Tensor
def late():
    import jax.numpy as jnp
    from . import sibling
    return importlib.import_module("dfc.tools.cli")
"""
    assert {module for _, module in imports_of(source)} == {
        "typing.TYPE_CHECKING",
        "dfc.frontend.Tensor",
        "jax.numpy",
        "..sibling",
        "dfc.tools.cli",
    }


def test_no_file_is_too_long() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in code_files(*ROOMS, *OTHERS)}
    assert len(lengths) > len(ROOMS)
    assert {str(file.relative_to(ROOT)): n for file, n in lengths.items() if n > MOST_LINES} == {}


@pytest.mark.parametrize(
    "start",
    [
        pytest.param("import dfc", id="import dfc"),
        pytest.param(
            "import runpy\nsys.argv = ['dfc', '--help']\n"
            "try:\n    runpy.run_module('dfc', run_name='__main__')\n"
            "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
            "else:\n    raise AssertionError('the command did not end')",
            id="dfc --help",
        ),
    ],
)
def test_starting_loads_nothing_heavy(start: str) -> None:
    report = "print('loaded:', *sorted({'jax', 'jaxlib', 'numpy', 'xdsl'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{start}\n{report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"
    if "--help" in start:
        assert "Usage:" in done.stdout
