"""What TFMA is told of the models holds of the models that are exported."""

from __future__ import annotations

import os
import pathlib

import pytest
import tensorflow as tf

from components import evaluation_files
from modules import judge
from modules.sliced_metrics import OVERALL, RMSE
from tests.components.test_ratings_evaluator import PATH, ListingModel, save


def test_every_model_has_what_the_configuration_asks_it_for(tmp_path: pathlib.Path) -> None:
    made = save(tmp_path, error=1.0, kind=ListingModel)
    signatures = tf.saved_model.load(os.path.join(made.uri, PATH)).signatures
    names = ["candidate", "blessed", *judge.BASELINES]
    listing = ("candidate", "blessed", "popularity")
    config = evaluation_files.create_eval_config(
        names, rmse_bound=1.0, max_regression=0.0, baseline=None, listing=listing
    )
    specs = {spec.name: spec for spec in config.model_specs}
    assert list(specs) == [*names, "popularity"]
    for spec in specs.values():
        assert spec.prediction_key in signatures[spec.signature_name].structured_outputs
        assert spec.label_key == "user_rating"
        assert set(spec.preprocessing_function_names) <= set(signatures)
    # The slices are outputs of the candidate's `evaluation`, which an older blessed model may lack.
    assert {name for name, spec in specs.items() if "evaluation" not in spec.preprocessing_function_names} == {
        "blessed"
    }
    assert [name for name, spec in specs.items() if spec.is_baseline] == ["blessed"]
    predicted = {name: (spec.signature_name, spec.prediction_key) for name, spec in specs.items()}
    assert predicted["candidate"] == predicted["blessed"] == ("serving_default", "predicted_rating")
    assert predicted["title_mean"] == ("evaluation", "title_mean")
    assert predicted["popularity"] == ("evaluation_lists", "movie_title")


@pytest.mark.parametrize(("bound", "max_regression"), [(0.9, 0.0), (0.25, 0.01)])
def test_what_was_written_is_read(tmp_path: pathlib.Path, bound: float, max_regression: float) -> None:
    evaluation = {
        OVERALL: {"candidate": {RMSE: 0.9, "ndcg": 0.7}, "blessed": {RMSE: 0.95}},
        ("user_activity", "new"): {"candidate": {RMSE: 1.0}},
    }
    models = ["candidate", "blessed"]
    config = evaluation_files.create_eval_config(
        models, rmse_bound=bound, max_regression=max_regression, baseline=None, min_ratings=10
    )
    evaluation_files.write(str(tmp_path), evaluation, config, data="data", locations=dict.fromkeys(models, ""))
    assert evaluation_files.read(str(tmp_path)) == evaluation
    assert evaluation_files.rmse_bound(str(tmp_path)) == bound
