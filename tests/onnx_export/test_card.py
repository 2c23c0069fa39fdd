"""The card says what the manifest knows, in a form that the hub's own library reads back."""

from dataclasses import replace

from huggingface_hub import ModelCard

from keras_transformer.onnx_export.card import model_card
from keras_transformer.runtime.manifest import FileRecord, PrecisionRecord
from tests.onnx_export import runs

FILE = FileRecord("name", 1_500_000, "0" * 64)
SCORE = {"pairs": 3, "precision": "int8", "bleu": 27.5, "chrf": 52.25, "bleu_signature": "nrefs:1|tok:13a"}


def manifest(tmp_path, **changes):
    config = runs.config()
    made = runs.write_bundle(tmp_path / "bundle", config, runs.weights_of(config)).manifest
    return replace(made, **changes)


def test_the_hub_reads_the_front_matter(tmp_path):
    made = manifest(
        tmp_path,
        name="en-it of ours",
        training={"steps": 1200, "hub_datasets": ["opus/books"]},
        scores={"valid": {"bleu": 1.0, "chrf": 2.0}, "tests": {"news": SCORE}},
    )
    data = ModelCard(model_card(made, hub_licence="cc-by-sa-4.0")).data
    assert data.language == ["en", "it"]
    assert data.license == "cc-by-sa-4.0"
    assert (data.pipeline_tag, data.library_name, data.datasets) == (
        "translation",
        "onnxruntime",
        ["opus/books"],
    )
    assert data.model_name == "en-it of ours"
    assert [(r.dataset_name, r.metric_type, r.metric_value) for r in data.eval_results] == [
        ("news", "bleu", 27.5),
        ("news", "chrf", 52.25),
    ]


def test_facts_in_words(tmp_path):
    gate = {
        "mean_divergence": 0.001, "same_choices": 0.981, "positions": 207, "valid_pairs": 500, "bleu": 27.0,
        "chrf": 52.4, "bleu_in_floats": 27.1, "chrf_in_floats": 52.5,
    }  # fmt: skip
    made = manifest(
        tmp_path,
        training={
            "steps": 1200,
            "target_tokens": 5_000_000,
            "backend": "jax",
            "init_from": "",
            "seconds": 61.5,
        },
        scores={"tests": {"news": SCORE}},
        precisions={"int8": PrecisionRecord(FILE, FILE, gate)},
        licences=("Weights: CC BY 4.0",),
    )
    card = model_card(made, notes="It is bad at names.\n")
    assert "Translates en to it, offline" in card
    assert (
        "\n\nIt is bad at names.\n\n## Training\n\n- updates: 1,200\n- target tokens seen: 5,000,000\n"
        in card
    )
    assert "- Keras on: jax\n- seconds of training: 61.5\n\n## Scores" in card
    assert "| news | 3 | int8 | 27.5 | 52.25 |\n\nsacreBLEU, greedy: nrefs:1|tok:13a\n" in card
    assert (
        "- int8: 3.0 MB; mean divergence from the trained model 0.001 nats a token; same choice at 98.1 % of 207 "
        "positions; on 500 validation pairs BLEU 27.0 and chrF 52.4, in fp32 27.1 and 52.5\n" in card
    )
    assert card.endswith("## Licences\n\n- Weights: CC BY 4.0\n")


def test_what_is_not_known_is_not_stated(tmp_path):
    card = model_card(manifest(tmp_path, training={}, scores={}, licences=()))
    assert ModelCard(card).data.license == "other"
    assert ModelCard(card).data.eval_results is None
    assert "## Training\n\nNot stated.\n\n## Scores\n\nNot stated.\n\n" in card
    assert card.endswith("## Licences\n\nNot stated.\n")


def test_without_a_test_set_the_validation_score_stands(tmp_path):
    made = manifest(tmp_path, scores={"valid": {"step": 12, "bleu": 27.5, "chrf": 52.25}})
    assert "| validation |  |  | 27.5 | 52.25 |" in model_card(made)
