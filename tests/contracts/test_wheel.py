"""A built wheel, alone in an empty environment, serves: SQL, vocabularies and prices travel inside it."""

import asyncio
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

from tests.processes import one_route
from tests.upstream import answer, scripted_upstream

ROOT = Path(__file__).parents[2]
# Installing from the index would take a minute: the environment borrows the dependencies, not the package.
ASK = "from service.commands import main; main()"


def build_wheel(folder):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel, folder):
    venv.create(folder, with_pip=False)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site"), str(wheel)],
        check=True,
        capture_output=True,
    )
    return folder / "bin" / "python", folder / "site"


async def test_a_wheel_installed_elsewhere_answers_counts_and_audits(tmp_path):
    wheel = build_wheel(tmp_path / "dist")
    pages = {str(file.relative_to(ROOT)) for file in (ROOT / "service/dashboard").rglob("*") if file.is_file()}
    assert pages <= set(zipfile.ZipFile(wheel).namelist())
    python, site = install(wheel, tmp_path / "env")
    dependencies = next(path for path in sys.path if path.endswith("site-packages"))
    # The editable checkout is found by a .pth file, which only a real site folder reads: PYTHONPATH leaves it out.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), dependencies])}
    work = tmp_path / "work"
    work.mkdir()
    async with scripted_upstream() as upstream:
        upstream.plays(answer("from the wheel", prompt_tokens=4, completion_tokens=3))
        (work / "farthing.toml").write_text(one_route(upstream.url), "utf-8")

        async def run(*arguments):
            process = await asyncio.create_subprocess_exec(
                str(python), "-c", ASK, *arguments, cwd=work, env=environ,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

        code, out, err = await run("ask", "--route", "chat", "hello")
        assert (code, out.strip()) == (0, "from the wheel"), err
        assert "$0.000010000 (priced_usage)" in err
        code, out, err = await run("verify")
        assert (code, out.startswith("clean")) == (0, True), err
        code, out, err = await run("spend", "--csv")
        assert (code, out.splitlines()[1].split(",")[0]) == (0, "up:m"), err
    where = [str(python), "-c", "import ledger; print(ledger.__file__)"]
    found = subprocess.run(where, env=environ, cwd=work, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(site))
