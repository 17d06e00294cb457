"""What the components of a run put out, for what tells of the run in the end."""

from __future__ import annotations

import dataclasses

from tfx import types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """Artifacts of a run; None of what it did not make.

    Attributes:
      examples: of RatingsExampleGen.
      statistics: of StatisticsGen.
      schema: of CuratedSchema.
      anomalies: of ExampleValidator.
      model_run: Trainer's logs.
      evaluation: of Evaluator.
      blessing: Evaluator's verdict.
      infra_blessing: ServableValidator's verdict.
      pushed_model: of Pusher.
      earlier_blessing: verdict of Evaluator that Pusher went by, where that of this run is missing.
      earlier_infra_blessing: the same of ServableValidator.
    """

    examples: types.Artifact | None = None
    statistics: types.Artifact | None = None
    schema: types.Artifact | None = None
    anomalies: types.Artifact | None = None
    model_run: types.Artifact | None = None
    evaluation: types.Artifact | None = None
    blessing: types.Artifact | None = None
    infra_blessing: types.Artifact | None = None
    pushed_model: types.Artifact | None = None
    earlier_blessing: types.Artifact | None = None
    earlier_infra_blessing: types.Artifact | None = None
