"""Train adapters over a model, so that late chunks are found better. Needs the extra ``train``, checked on import."""

from latechunk.evaluation import require_packages

require_packages("training", ("peft", "datasets", "accelerate", "jinja2", "ir_measures", "scipy"), "train")
