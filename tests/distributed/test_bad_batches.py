"""Batches that can't be learned from end on every rank alike, before a message is sent, and the next step runs."""

from __future__ import annotations

import pytest

from pinisi.base.errors import DataError
from pinisi.base.ids import IGNORE
from pinisi.models import read_spec
from tests.distributed.cases import Case, batches, config_of, engine_of


def run(world, case: Case) -> list[str]:
    if world.rank >= case.ranks:
        return []
    engine = engine_of(case, read_spec(config_of(case)), world.communicators[case.ranks])
    ignored, foreign = batches(case), batches(case)
    for batch in ignored:
        batch.targets[:] = IGNORE
    foreign[1].tokens[0, 3] = case.vocabulary
    said = []
    for batch in (ignored, foreign, batches(case)[:-1]):
        with pytest.raises(DataError) as error:
            engine.gradients(batch)
        said.append(str(error.value))
    result = engine.gradients(batches(case))
    return [*said, f"{result.loss:.3f}"]


@pytest.mark.parametrize("barriers", [0, 1, 2])
def test_every_rank_says_the_same_and_goes_on(pool, barriers):
    case = Case(barriers=barriers, ranks=3, microbatches=4, tied=False)
    found = pool.run("tests.distributed.test_bad_batches:run", case)
    assert found[0] == found[1] == found[2]
    ignored, foreign, few, loss = found[0]
    assert "every token of this step is ignored" in ignored
    assert "211" in foreign and "211 rows" in foreign
    assert "4 microbatches, got 3" in few
    assert float(loss) > 0
