"""Which blessed model a candidate is compared with."""

from __future__ import annotations

from typing import Literal

import ml_metadata
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import standard_artifacts
from tfx.types.channel import Channel
from tfx.utils import path_utils

from components import model_digest
from components.errors import IntegrityError
from modules.notes import note

MODEL, BLESSING, CANDIDATE = "model", "model_blessing", "candidate"


class OtherBlessedModelStrategy(resolver.ResolverStrategy):
    """Resolves the latest blessed model other than the candidate itself.

    TFX's own strategy gives an unchanged re-run, whose model was blessed by the run before, that very model to be
    compared with; Evaluator then sees a new input and runs again. This one gives it what it was given before. A model
    whose files are gone, or are not those that were blessed, is passed over, which is noted.
    """

    def resolve_artifacts(
        self, store: ml_metadata.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Picks from all models and blessings; gives empty lists where no other model was blessed.

        Args:
          store: unused.
          input_dict: `model` and `model_blessing`: all there are; `candidate`: the model to be judged.
        """
        blessings = {
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY): blessing
            for blessing in sorted(input_dict[BLESSING], key=lambda blessing: blessing.id)
            if blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == constants.BLESSED_VALUE
        }
        candidates = {model.id for model in input_dict[CANDIDATE]}
        others = [model for model in input_dict[MODEL] if model.id in blessings and model.id not in candidates]
        # The latest to be blessed, which need not be the latest to be trained: an earlier one may be blessed again.
        others.sort(key=lambda model: blessings[model.id].id, reverse=True)
        latest = next((model for model in others if _is_whole(model, blessings[model.id])), None)
        return {
            MODEL: [latest] if latest else [],
            BLESSING: [blessings[latest.id]] if latest else [],
            CANDIDATE: input_dict[CANDIDATE],
        }


def _is_whole(model: types.Artifact, blessing: types.Artifact) -> bool:
    """Whether the files of a model are those that were blessed."""
    try:
        found = model_digest.of_folder(path_utils.serving_model_path(model.uri))
    except IntegrityError:
        note(f"blessed model {model.id} is passed over: its files are gone from {model.uri}")
        return False
    if found == blessing.get_string_custom_property(model_digest.PROPERTY):
        return True
    note(f"blessed model {model.id} is passed over: the files in {model.uri} are not those that were blessed")
    return False


def blessed_model_resolver(
    which: Literal["other", "latest", "none"], *, candidate: Channel
) -> resolver.Resolver | None:
    """The node `BlessedModel`, which finds the model to compare with; None where there is nothing to compare with.

    Args:
      which: `evaluator.blessed_model` of the configuration.
      candidate: the model to be judged.
    """
    if which == "none":
        return None
    channels = {
        MODEL: Channel(type=standard_artifacts.Model),
        BLESSING: Channel(type=standard_artifacts.ModelBlessing),
    }
    if which == "latest":
        return resolver.Resolver(strategy_class=LatestBlessedModelStrategy, **channels).with_id("BlessedModel")
    channels[CANDIDATE] = candidate
    return resolver.Resolver(strategy_class=OtherBlessedModelStrategy, **channels).with_id("BlessedModel")
