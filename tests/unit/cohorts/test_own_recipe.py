"""Shadow models are of the run's own recipe: every defense and every first mask is theirs, too."""

from __future__ import annotations

import pytest
from benchmarks.blind_spots import METHODS
from benchmarks.table import DATA, ROOT
from torch import ones

from safecompress.cohorts.shadow_models import shadow_config
from safecompress.config import load_config
from safecompress.run.model_file import StoredModel
from safecompress.topology import Topology


@pytest.mark.parametrize("method", METHODS)
def test_shadow_models_repeat_what_makes_members_look_as_they_do(method):
    data = DATA["synthetic"]
    settings = [*data["set"], "sparse.density=0.05", "baselines=[]", *METHODS[method]]
    config = load_config(ROOT / data["config"], assignments=settings)
    lineage = ["rigl", "keep"]
    model = StoredModel({}, Topology({"weight": ones(1, 1).bool()}), {"lineage": lineage})
    recipe = shadow_config(config, model, dense=None, sparse=None)
    assert recipe.dense == config.dense
    assert recipe.model == config.model
    assert recipe.steer.defenses == config.steer.defenses
    assert recipe.steer.replay == tuple(lineage)
    # Patience decides when a search ends, which the lineage has settled.
    assert recipe.sparse == config.sparse.model_copy(update={"patience": None})
    # Judges choose between candidates; the teachers, from whom students learn, are the same.
    assert recipe.teachers.model_copy(update={"judges": config.teachers.judges}) == config.teachers
    assert recipe.seed != config.seed
