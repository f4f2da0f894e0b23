"""The template of docs/new-family.md works as it stands: copied out, listed, trained, sampled, tested."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from helpers import child_environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "new-family.md").read_text(encoding="utf-8")

# In a process of its own, so that the new class is not a family of the other tests.
PROGRAM = """
import sys
from pathlib import Path
import vidiff.models
from vidiff.cli import main
folder, data = sys.argv[1:]
vidiff.models.__path__.append(folder)  # as if the file stood in vidiff/models
layers = ["--config", "my_gan.yaml", "--config", "experiments/_tiny.yaml", "--data.root", data]
quick = ["--evaluation.metrics", "fvd_random,motion,diversity", "--trainer.enable_progress_bar", "false"]
assert main(["fit", *layers, *quick, "--run_dir", "r", "--trainer.max_steps", "2", "--model.margin", "0.5"]) == 0
model = vidiff.load_model("r/checkpoints/last.ckpt")
assert type(model).__name__ == "MyGAN" and model.margin == 0.5
assert model.sample(2).shape == (2, 3, 8, 16, 16)
from vidiff.models import families
assert families()["MyGAN"] is type(model)
names = {}
exec(compile(Path("test_my_gan.py").read_text(), "test_my_gan.py", "exec"), names)
tests = [f for n, f in names.items() if n.startswith("test_")]
assert tests
for test in tests:
    test()
print("all good")
"""


def blocks() -> dict[str, str]:
    """File name -> content, in the order of the page."""
    found = re.findall(r"^## \d\. [^`]*`([^`]+)`\n.*?^```\w+\n(.*?)^```$", PAGE, flags=re.M | re.S)
    return {Path(path).name: content for path, content in found}


def test_the_template_runs(shapes, tmp_path):
    files = blocks()
    assert list(files) == ["my_gan.py", "my_gan.yaml", "test_my_gan.py"]
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(shapes)]
    done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "all good" in done.stdout, done.stderr[-3000:]


def test_the_template_is_small_and_clean(tmp_path):
    files = blocks()
    assert len(files["my_gan.py"].splitlines()) <= 180
    for name in ("my_gan.py", "test_my_gan.py"):
        (tmp_path / name).write_text(files[name], encoding="utf-8")
    config = ["--config", str(ROOT / "pyproject.toml")]
    for verb in (["check", "--ignore", "I001"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *verb, *config, str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_what_the_page_names_exists():
    from vidiff.models.base import AdversarialModule
    from vidiff.models.turn import Turn

    for name in ("fake_clips", "discriminate", "check_penalty", "after_update", "synthesize"):
        assert f"`{name}" in PAGE or f"self.{name}" in PAGE
        assert callable(getattr(AdversarialModule, name))
    for name in re.findall(r"turn\.(\w+)\(", PAGE):
        assert callable(getattr(Turn, name)), name
    for path in set(re.findall(r"`(\w+\.py)`", PAGE)):
        assert (ROOT / "vidiff" / "models" / path).is_file(), path
