"""Who may import whom, what the service's process may load, and that nothing happens at import."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["serving_fixtures"]

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "features": set(),
    "models": {"features"},
    "training": {"features", "models"},
    "serving": {"features", "models"},
}
KNOW_MLFLOW = {"models/pyfunc.py", "serving/publish.py", "training/registry.py"}
MODULES = sorted(
    path.relative_to(ROOT) for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py") if "/." not in str(path)
)
PURE = [path for path in MODULES if path.name != "__main__.py"]
each_module = pytest.mark.parametrize("path", MODULES, ids=str)


def imported(path):
    """Top-level names of every import in a file, wherever it stands; relative ones are our own package's."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield path.parts[0] if node.level else str(node.module).split(".")[0]


@each_module
def test_a_package_imports_only_what_it_may(path):
    package = path.parts[0]
    ours = set(imported(path)) & set(MAY_IMPORT)
    assert ours <= MAY_IMPORT[package] | {package}


@each_module
def test_only_three_files_know_mlflow(path):
    assert ("mlflow" in imported(path)) == (str(path) in KNOW_MLFLOW)


def in_a_process(code, folder, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not (ROOT / "serving" / "app.py").exists(), reason="there is no service yet")
def test_the_service_loads_neither_mlflow_nor_what_training_needs(tmp_path):
    code = (
        "import sys, serving.app, serving.scoring, models.bundle\n"
        "print(*{name.split('.')[0] for name in sys.modules} & "
        "{'mlflow', 'xgboost', 'sklearn', 'matplotlib', 'joblib', 'training'})"
    )
    assert in_a_process(code, tmp_path).split() == []


def test_scoring_by_id_and_by_usual_events_loads_no_pandas_nor_arrow(place, tmp_path):
    """They are half of what such a service would weigh."""
    code = f"""
import datetime as dt, sys
from pathlib import Path
from serving.app import create_app
from serving.settings import Settings
root = Path({str(place)!r})
app = create_app(Settings(store=root / "store", bundle=root / "bundle"))
app.state.current.refresh()
scorer, now = app.state.current.scorer, dt.datetime.now(dt.UTC)
for explain in (False, True):
    scorer.fields(range(30), now, explain)
    scorer.fields_of_events([("new", [{{"ts": "2024-03-01T10:00:00Z", "amount": 20.5}}])], now, explain)
loaded = {{name.split(".")[0] for name in sys.modules}}
print(*loaded & {{"pandas", "pyarrow", "mlflow", "shap", "xgboost", "training"}})
"""
    assert in_a_process(code, tmp_path).split() == []


def test_nothing_happens_at_import(tmp_path):
    """Each module in one process: no file, no network, nothing printed, arguments not looked at, no logging set up."""
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in PURE]
    code = f"""
import importlib, logging, socket, sys
import mlflow, matplotlib.figure, sklearn.metrics, xgboost  # what they do at import is not ours
sys.argv = ["import", "--no-such-option"]
def no_network(*arguments): raise AssertionError("an import opened a connection")
socket.socket.connect = no_network
handlers = list(logging.root.handlers)
for name in {names!r}:
    importlib.import_module(name)
assert logging.root.handlers == handlers, logging.root.handlers
"""
    assert in_a_process(code, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
