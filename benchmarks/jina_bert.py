"""jina-embeddings-v2-small-en in full size with random weights on the CPU, 8,192 tokens in one pass.

``time_ratio`` is the time from text to chunk vectors over that of the model's bare forward pass over the same ids, run
in turn.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import report
from single_pass import compare, long_model_parser, write_in_child

sys.path.insert(0, str(Path(__file__).parent.parent))
from latechunk import Encoder
from tests.checkpoints import write_jina_bert

SIZES = {
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 2_048,
    "vocab_size": 30_528,
}


def main() -> None:
    options = long_model_parser(__doc__, rounds=5).parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "jina-bert")
        write_in_child(write_jina_bert, folder, {"sizes": None if options.tiny else SIZES})
        encoder = Encoder.load(str(folder), device="cpu", dtype=options.dtype)
    model = encoder._model.transformer.model
    figures = compare(encoder, model, 300 if options.tiny else 8_192, options.rounds)
    report("jina_bert", figures, save=options.save)


if __name__ == "__main__":
    main()
