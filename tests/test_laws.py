"""The laws of the house that a program can check: imports run downward, no registry, nothing heavy where it hurts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import child_environment

import vidiff
from vidiff.models import families

PACKAGE = Path(vidiff.__file__).parent
FLOORS = [
    "errors clip keyed files paths progress renamed sphere statistics warp __init__",
    "video pretrained zoo watch catalog configs",
    "parallel flow command_line",
    "losses consistency penalties optim ema nn augment metrics",
    "models data",
    "inference doctor",
    "pages",
    "training",
    "bench",
    "commands",
    "cli",
    "__main__",
]
LEVEL = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
LEVEL["errors"] = -1  # everybody's
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))


def unit(module: str) -> str:
    """`vidiff.models.dcgan` -> `models`."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> list[str]:
    """Every module of the package that a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [a.name for a in node.names]
            deeper = [f"vidiff.{n}" for n in names if n in LEVEL] if node.module == "vidiff" else []
            found += deeper or [node.module]
    return [m for m in found if m == "vidiff" or m.startswith("vidiff.")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    here = unit(f"vidiff.{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts)}")
    lazy_api = path == PACKAGE / "__init__.py"  # `vidiff.load_model` is looked up when it is asked for
    for module in imports(path):
        there = unit(module)
        if there == here or there == "__init__" or lazy_api:
            continue
        assert LEVEL[there] < LEVEL[here], (
            f"{path.relative_to(PACKAGE)} (level {LEVEL[here]}) imports {module} (level {LEVEL[there]})"
        )


def test_models_and_data_never_meet():
    for path in FILES:
        part = path.relative_to(PACKAGE).parts[0]
        if part in ("models", "data"):
            other = {"models": "data", "data": "models"}[part]
            assert not [m for m in imports(path) if unit(m) == other], path


def test_every_room_has_a_floor():
    """A new room is placed before it is built; one that is gone leaves no name."""
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} == set(LEVEL)


def test_the_page_on_the_layout_has_the_same_floors():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE)
    on_page = {(int(row), room) for row, rooms in rows for room in re.findall(r"`(\w+)/?`", rooms)}
    assert on_page == {(row, r) for row, rooms in enumerate(FLOORS, 1) for r in rooms.split()} - {(1, "__init__")}


def strings(tree: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


# `vidiff bench data` compares reading with one update of a family; older names of families are kept in `renamed`.
NAMES_FAMILIES = ("bench/data_costs.py", "renamed.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_family_is_named_outside_its_file(path):
    """A new family is one .py and one .yaml: nothing else may know its module, its class or its name."""
    modules = {type.__module__: type for type in families().values()}
    here = "vidiff." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if path.relative_to(PACKAGE).as_posix() in NAMES_FAMILIES or here in modules:
        return  # families may build upon one another
    names = set(families()) | {module.rpartition(".")[2] for module in modules}
    if here.startswith("vidiff.nn."):
        names.remove("dcgan")  # of an initialization, too
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not set(imports(path)) & set(modules)
    assert not {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & set(families())
    assert not strings(tree) & names


def test_translators_are_known_by_their_class_and_networks_by_the_family():
    """`isinstance(model, Translator)` and `model.network(...)`: no look at names of methods, no keys of networks."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr"):
                assert not strings(node) & {"translate", "directions"}, path
            if isinstance(node, ast.Subscript) and path.parent.name != "models":
                assert not strings(node.slice) & {"a2b", "b2a"}, path


ONE_PLACE = {  # what -> the one file whose business it is
    "os.replace": "files.py",
    "tempfile.mkstemp": "files.py",
    "tempfile.NamedTemporaryFile": "files.py",
    "rich.progress": "progress.py",  # training/progress.py, the line of a training, is one too
}


def names_used(tree: ast.AST) -> set[str]:
    """Dotted names of a file: `os.replace`, whether it is written so or imported by itself."""
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            used.add(ast.unparse(node))
        elif isinstance(node, ast.Import):
            used.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            used.update((node.module, *(f"{node.module}.{a.name}" for a in node.names)))
    return used


@pytest.mark.parametrize("name", ONE_PLACE)
def test_done_in_one_place(name):
    """Files are written whole by `files.replacing`, bars drawn by `progress.track`."""
    for path in FILES:
        assert path.name == ONE_PLACE[name] or name not in names_used(ast.parse(path.read_text(encoding="utf-8"))), path


def length(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    """350 lines a file, 60 a function; how much a function may branch is ruff's C901 (pyproject.toml)."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f"{f.name}: {length(f)} lines" for f in functions if length(f) > 60]


def test_nothing_is_handed_over_in_private():
    """What a family needs of an update is in its `Turn`: no test or page sets the position of a model."""
    here = Path(__file__).resolve()
    pages = [here.parents[1] / "README.md", *(here.parents[1] / "docs").rglob("*.md")]
    for path in [*(p for p in TESTS if p != here), *pages]:
        assert not re.search(r"\b_mov(e|ing)\b|\b_looks\b", path.read_text(encoding="utf-8")), path


def test_every_file_says_what_it_is_for():
    for path in FILES:
        if path.read_text(encoding="utf-8").strip():
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def imported_by(code: str) -> set[str]:
    """Packages outside of the standard library that a fresh interpreter imports for this code."""
    program = f"import sys\nbefore = set(sys.modules)\n{code}\nprint()\nprint(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=child_environment())
    assert done.returncode == 0, done.stderr
    return {m.split(".")[0] for m in done.stdout.splitlines()[-1].split()} - sys.stdlib_module_names


LIGHT = "--help|--version|list|list wgan_gp|list --help|fit --help|sample --help|translate --help|evaluate --help"
LIGHT += "|stylize --help|segment --help|edit --help|overlay --help|provenance --help|export --help"
LIGHT += (
    "|data --help|data check --help|bench run --help|report --help|zoo|zoo --help|weights list|weights fetch --help"
)


@pytest.mark.parametrize("arguments", [words.split() for words in LIGHT.split("|")], ids=" ".join)
def test_light_commands_import_nothing_heavy(arguments):
    """Counted in packages, not in seconds: those depend on the machine."""
    code = f"try:\n    from vidiff.cli import main; main({arguments})\nexcept SystemExit:\n    pass"
    assert imported_by(code) <= {"vidiff", "yaml"}


def test_importing_the_package_imports_nothing_else():
    assert imported_by("import vidiff") == {"vidiff"}


def test_module_and_script_say_the_same():
    script = Path(sys.executable).parent / "vidiff"
    if not script.exists():
        pytest.skip("the package is not installed in this environment")
    outputs = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ([sys.executable, "-m", "vidiff"], [str(script)])
    ]
    assert outputs[0] == outputs[1] and "fit" in outputs[0]


def test_torch_load_is_safe_everywhere():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
            if isinstance(node, ast.Import):
                assert not {"pickle", "dill"} & {a.name for a in node.names}, path


CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "time_ns", "thread_time"}


@pytest.mark.parametrize("path", TESTS, ids=lambda p: p.name)
def test_no_test_depends_on_the_speed_of_the_machine(path):
    """No clock is compared, no child gets a deadline of its own (each test has pytest's), no port is fixed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        inside = [ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)]
        if isinstance(node, ast.Compare):
            assert not [f for f in inside if f.startswith("time.") and f[5:] in CLOCKS], ast.unparse(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "run",
            "communicate",
            "check_output",
        ):
            assert "timeout" not in {k.arg for k in node.keywords}, ast.unparse(node)
        if isinstance(node, (ast.Assign, ast.Dict, ast.keyword)):
            assert "MASTER_PORT" not in ast.unparse(node), ast.unparse(node)
