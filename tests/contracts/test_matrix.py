"""The README's feature table says what becomes of every surface's features at every dialect."""

from tests.contracts.matrix import BEGIN, END, README, matrix, table


async def test_every_feature_of_every_surface_is_passed_translated_dropped_or_refused_at_every_dialect(tmp_path):
    cells = await matrix(tmp_path)
    assert README.read_text("utf-8").partition(BEGIN)[2].partition(END)[0] == table(cells)
