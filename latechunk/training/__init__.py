"""Train adapters over a model, for late chunks or for whole texts. Needs the extra ``train``, checked on import."""

from latechunk.evaluation import require_packages

require_packages("training", ("peft", "datasets", "accelerate", "jinja2", "ir_measures", "scipy", "sklearn"), "train")
