"""What killed services leave in memory is removed by the next one, and nothing else is."""

import os
from pathlib import Path

from service.figures_folder import PREFIX, figures_folder


def old(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "0.cells").touch()
    os.utime(folder, (0, 0))
    return folder


def test_only_what_nobody_holds_any_more_is_removed(tmp_path: Path) -> None:
    left, other = old(tmp_path / f"{PREFIX}left"), old(tmp_path / "another")
    young = tmp_path / f"{PREFIX}young"
    young.mkdir()
    with figures_folder(tmp_path) as running:
        old(Path(running))
        assert (left.exists(), other.exists(), young.exists()) == (False, True, True)
        with figures_folder(tmp_path) as second:
            assert Path(running).exists()
            assert Path(second).stat().st_mode & 0o777 == 0o700
        assert not Path(second).exists()
    assert not Path(running).exists()
