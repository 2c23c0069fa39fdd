"""The model card of a bundle, made of what its manifest knows."""

from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from keras_transformer.runtime.manifest import Manifest, PrecisionRecord

# What a checkpoint tells of its training, in words; anything else stands under its own name.
_TRAINING = {
    "steps": "updates",
    "seconds": "seconds of training",
    "target_tokens": "target tokens seen",
    "precision": "numbers",
    "backend": "Keras on",
    "keras": "Keras version",
    "data": "text",
    "pairs": "pairs",
    "init_from": "begun from the weights of",
}


def model_card(manifest: Manifest, notes: str = "", hub_licence: str | None = None) -> str:
    """Markdown with the hub's front matter; facts of the manifest, and nothing that it does not say.

    Args:
        manifest: Of the bundle.
        notes: Markdown of whoever trained the model, such as what it is good and bad at; stands behind the
            description.
        hub_licence: The weights' licence by the hub's name, such as "cc-by-sa-4.0"; None: "other".
    """
    description = (
        f"Translates {manifest.source_language} to {manifest.target_language}, offline, on ONNX Runtime. "
        f"A Transformer (Vaswani et al. 2017): {manifest.num_encoder_layers} encoder and "
        f"{manifest.num_decoder_layers} decoder layers, width {manifest.model_dim}, feed-forward "
        f"{manifest.feed_forward_dim}, {manifest.num_heads} heads, joint vocabulary of "
        f"{manifest.vocabulary_size:,} with byte fallback, {manifest.num_parameters:,} weights, at most "
        f"{manifest.max_length} tokens a sentence."
    )
    if manifest.longest_source:
        description += f" A sentence of more than {manifest.longest_source} tokens is read in parts."
    sections = [
        f"---\n{_front_matter(manifest, hub_licence)}\n---",
        f"# {manifest.name}",
        description,
        "    echo TEXT | python -m keras_transformer.translate --model FOLDER",
        notes.strip(),
        "## Training",
        _list(_training(manifest)),
        "## Scores",
        *_scores(manifest),
        "## Files",
        _list([_file(precision, record) for precision, record in manifest.precisions.items()]),
        "## Licences",
        _list(list(manifest.licences)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(manifest: Manifest, hub_licence: str | None) -> str:
    results = [
        EvalResult(
            task_type="translation",
            dataset_type=name,
            dataset_name=name,
            metric_type=metric,
            metric_value=score[metric],
        )
        for name, score in _tests(manifest).items()
        for metric in ("bleu", "chrf")
    ]
    data = ModelCardData(
        language=[manifest.source_language, manifest.target_language],
        license=hub_licence or "other",
        datasets=list(manifest.training.get("hub_datasets", ())) or None,
        metrics=["bleu", "chrf"],
        pipeline_tag="translation",
        library_name="onnxruntime",
        model_name=manifest.name,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return text


def _tests(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Test sets with their scores; without one the validation text, as training scored it."""
    tests = manifest.scores.get("tests")
    if tests:
        return dict(tests)
    valid = manifest.scores.get("valid", {})
    return {"validation": valid} if {"bleu", "chrf"} <= valid.keys() else {}


def _training(manifest: Manifest) -> list[str]:
    facts = {name: value for name, value in manifest.training.items() if value not in ("", None, [])}
    return [
        f"{_TRAINING.get(name, name)}: {f'{value:,}' if isinstance(value, int) else value}"
        for name, value in facts.items()
    ]


def _scores(manifest: Manifest) -> list[str]:
    tests = _tests(manifest)
    if not tests:
        return ["Not stated."]
    rows = ["| text | pairs | numbers | BLEU | chrF |", "|---|---|---|---|---|"]
    for name, score in tests.items():
        cells = [name, score.get("pairs", ""), score.get("precision", ""), score["bleu"], score["chrf"]]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    signatures = {score[key] for score in tests.values() for key in _SIGNATURES if key in score}
    return ["\n".join(rows), "sacreBLEU, greedy: " + ", ".join(sorted(signatures)) if signatures else ""]


_SIGNATURES = ("bleu_signature", "chrf_signature")


def _file(precision: str, record: PrecisionRecord) -> str:
    size = (record.encoder.bytes + record.decoder.bytes) / 1e6
    gate = record.gate
    parts = [f"{precision}: {size:.1f} MB"]
    if "mean_divergence" in gate:
        parts.append(f"mean divergence from the trained model {gate['mean_divergence']} nats a token")
    if "same_choices" in gate:
        parts.append(
            f"same choice at {100 * gate['same_choices']:.1f} % of {gate.get('positions', 0)} positions"
        )
    if "bleu" in gate:
        parts.append(
            f"on {gate['valid_pairs']} validation pairs BLEU {gate['bleu']} and chrF {gate['chrf']}, in fp32 "
            f"{gate['bleu_in_floats']} and {gate['chrf_in_floats']}"
        )
    return "; ".join(parts)


def _list(items: list[str]) -> str:
    return "\n".join(f"- {item}" for item in items) or "Not stated."
