"""The columns of the leaderboard: what each of them holds, in which unit, and what an empty field means.

Standard library only. ``docs/leaderboard.md`` holds :func:`documentation`, word for word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark_core.keys import digest

Record = Mapping[str, Any]
SHORT = 12
"""Digits of a hash that the table shows."""
PARTS = ("unique_A", "unique_B", "unique_C", "shared")
"""Parts of the variance that several models explain; each with an interval. ``shared`` is common to all of them."""

SHARE, R, HASH, TEXT, COUNT, NONE = "share", "r", "hash", "text", "count", "-"
NOT_REPORTED = "the metric does not report it"
NO_SCORE = "there is no score"
NO_TRIALS = "no single trials, or another metric"
NOT_ENCODING = "another metric"
NOT_PUBLISHED = "no published score of this model, benchmark and number of components"


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    group
        What it belongs to: ``which score``, ``score``, ``conventions``, ``other metrics``, ``draws``, ``published``,
        ``key``, ``provenance``.
    name
        In the CSV's first line and in the rows of :func:`benchmark_core.leaderboard.leaderboard`.
    unit
        ``share`` (of a variance), ``r`` (a correlation), ``count``, ``hash``, ``text``, ``true or false``, ...
    meaning
        What it holds.
    empty
        What an empty field (None) means.
    of
        Function from a record to the value; None where the value depends on other records or the published scores.
    """

    group: str
    name: str
    unit: str
    meaning: str
    empty: str
    of: Callable[[Record], Any] | None = None


def at(*path: str) -> Callable[[Record], Any]:
    """Return a function that looks a value up in nested mappings; None where something on the way is not there."""

    def look(record: Record) -> Any:
        found: Any = record
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    return look


def joined(value: Any, between: str = " ") -> Any:
    """Return a list as one text, numbers with six significant digits; anything else as it is."""
    return between.join(text_of(v) for v in value) if isinstance(value, (list, tuple)) else value


def text_of(value: Any) -> str:
    """Write a value as the CSV does: six significant digits, ``true`` or ``false``, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value + 0.0:.6g}"
    return str(value)


def _detail(*path: str) -> Callable[[Record], Any]:
    return at("details", *path)


def _metric_name(record: Record) -> str:
    return str(record["metric"]).partition(":")[0]


def _only(metric: str, of: Callable[[Record], Any]) -> Callable[[Record], Any]:
    """Return the function for records of one metric: others may use the name for something else."""
    return lambda record: of(record) if _metric_name(record) == metric else None


def _bound(name: str, which: int) -> Callable[[Record], Any]:
    def bound(record: Record) -> Any:
        pair = _detail(name)(record)
        return pair[which] if isinstance(pair, list) and len(pair) == 2 else None

    return bound


def _representations(record: Record) -> Sequence[Mapping[str, Any]]:
    found = at("provenance", "representations")(record)
    return found if isinstance(found, list) else []


def _trained(record: Record) -> bool | None:
    return any(record.get("trained", [])) if record["models"] else None


def _seed(record: Record) -> str | None:
    seeds = [re.search(r"[:,]seed=([^,]+)", model) for model in record["models"]]
    named = [found.group(1) if found else "" for found in seeds]
    return " + ".join(named) if any(named) else None


def _layers(record: Record) -> str | None:
    """Return the layer of each fold, of one model or several."""
    found = record.get("layers")
    if not isinstance(found, list):
        return None
    return " + ".join(joined(f) for f in found) if found and isinstance(found[0], list) else str(joined(found))


def _kernels(of_model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is known of a model's layers, of every subject where these are scored one by one."""
    if "subjects" in of_model:
        return [of_model["subjects"][name] for name in sorted(of_model["subjects"])]
    return [of_model.get("layers", {})]


def _n_layers(record: Record) -> str | None:
    counts = [str(len(_kernels(m)[0])) for m in _representations(record)]
    return " + ".join(counts) or None


def _components(record: Record) -> Any:
    used = _detail("components_used")(record)
    if isinstance(used, Mapping):
        used = [n for name in sorted(used) for n in used[name]]
    return joined(list(dict.fromkeys(used))) if isinstance(used, list) else used


def _weights(record: Record) -> str | None:
    def short(text: str) -> str:
        return text[:SHORT] if re.fullmatch("[0-9a-f]{64}", text) else text

    return " + ".join(short(str(m.get("weights"))) for m in _representations(record)) or None


def _preprocessing(record: Record) -> str | None:
    return " + ".join(digest(m.get("preprocessing"))[:SHORT] for m in _representations(record)) or None


def _kernel_keys(record: Record) -> str | None:
    keys = [[[of[name].get("key") for name in sorted(of)] for of in _kernels(m)] for m in _representations(record)]
    return digest(keys)[:SHORT] if keys else None


def _input(name: str) -> Callable[[Record], Any]:
    """Return the hash of one of a score's inputs, of all subjects where these are scored one by one."""

    def short(record: Record) -> str | None:
        inputs = at("provenance", "inputs")(record) or {}
        if "subjects" in inputs:
            return digest({subject: of.get(name) for subject, of in inputs["subjects"].items()})[:SHORT]
        return str(inputs[name])[:SHORT] if name in inputs else None

    return short


def _grouped(record: Record) -> Any:
    inputs = at("provenance", "inputs")(record) or {}
    if "subjects" in inputs:
        return any(of.get("grouped") for of in inputs["subjects"].values())
    return inputs.get("grouped")


def _metric_parameters(record: Record) -> str | None:
    parameters = at("provenance", "inputs", "metric_parameters")(record)
    if not isinstance(parameters, Mapping):
        return None
    return ",".join(f"{name}={text_of(value)}" for name, value in sorted(parameters.items()) if value is not None)


def _resamples_key(record: Record) -> str | None:
    key = at("resamples", "key")(record)
    return None if key is None else str(key)[:SHORT]


def _commit(record: Record) -> str | None:
    commit = at("provenance", "git", "commit")(record)
    return None if commit is None else str(commit)[:SHORT]


def _versions(record: Record) -> str | None:
    versions = at("provenance", "versions")(record)
    return " ".join(f"{n}={v}" for n, v in sorted(versions.items())) if isinstance(versions, Mapping) else None


def _device(record: Record) -> str | None:
    device = record.get("device")
    return None if device is None else str(device).partition(":")[0]


_WHICH, _SCORE, _CONVENTIONS, _OTHERS, _DRAWS = "which score", "score", "conventions", "other metrics", "draws"
_PUBLISHED, _KEY, _PROVENANCE = "published", "key", "provenance"
_MEDIAN = "no such neuroids, no single trials, or another metric"


def _conventions() -> list[Column]:
    """Return the columns of what others report of the same predictions."""
    found = []
    for name, words in (
        ("r2_over_ceiling", "r^2 / c over neuroids with split-half reliability c of at least .1"),
        ("r_over_ceiling_squared", "(r / c)^2 over the same neuroids"),
        ("R2", "held-out coefficient of determination, negative ones kept"),
        ("noise_corrected_R2", "R2 / reliability over neuroids with a reliability of at least .1"),
    ):
        for kind in ("mean", "median"):
            meaning = f"{kind} over neuroids of {words}; mean over subjects"
            empty = NOT_ENCODING if name == "R2" else NO_TRIALS
            found.append(
                Column(_CONVENTIONS, f"{name}_{kind}", SHARE, meaning, empty, _detail("conventions", f"{name}_{kind}"))
            )
    return found


def _part(name: str, key: str) -> Callable[[Record], Any]:
    def look(record: Record) -> Any:
        parts = _detail("parts")(record) or {}
        found = parts.get("shared_ABC") if name == "shared" and "shared_ABC" in parts else parts.get(name)
        return found.get(key) if isinstance(found, Mapping) else None

    return look


def _partition() -> list[Column]:
    """Return the columns of variance partitioning."""
    found = []
    empty = "another metric, or fewer models"
    for letter in "ABC":
        meaning = f"share of the explainable variance that model {letter} explains by itself (A is named first)"
        of = _only("variance-partitioning", _detail("explained", letter, "value"))
        found.append(Column(_OTHERS, f"explained_{letter}", SHARE, meaning, empty, of))
    for part in PARTS:
        owner = part.removeprefix("unique_")
        meaning = "share that all models explain" if part == "shared" else f"share that only model {owner} explains"
        for suffix, key, words in (
            ("", "value", meaning),
            ("_ci_low", "ci_low", f"lower end of the 95 % interval of `{part}`"),
            ("_ci_high", "ci_high", f"upper end of the 95 % interval of `{part}`"),
        ):
            of = _only("variance-partitioning", _part(part, key))
            found.append(Column(_OTHERS, part + suffix, SHARE, words, empty, of))
    return found


_HEADLINE = "the metric's unit"

# fmt: off
COLUMNS: tuple[Column, ...] = (
    Column(_WHICH, "benchmark", TEXT, "benchmark", "never", at("benchmark")),
    Column(_WHICH, "benchmark_version", COUNT, "its version; scores of different versions are not compared", "never", at("benchmark_version")),
    Column(_WHICH, "simulated", "true or false", "whether the responses were simulated, not measured", "not known", at("simulated")),
    Column(_WHICH, "metric", TEXT, "identifier of the metric, with parameters that differ from their defaults", "never", at("metric")),
    Column(_WHICH, "metric_version", TEXT, "version of the metric's plugin", "not known", at("metric_version")),
    Column(_WHICH, "model", TEXT, "identifier of the model; several are joined by ` + `", "the metric takes no model", lambda r: " + ".join(r["models"])),
    Column(_WHICH, "model_version", TEXT, "version of the model's plugin; of several joined by ` + `", "the metric takes no model", lambda r: " + ".join(map(str, r.get("model_versions", [])))),
    Column(_WHICH, "trained", "true or false", "whether any of the models has trained weights", "the metric takes no model", _trained),
    Column(_WHICH, "requested_layer", TEXT, "`auto` (chosen on training stimuli), or the layer that was asked for", "not known", at("requested_layer")),
    Column(_WHICH, "layer", TEXT, "layer that the score rests on: the one of most folds", "the metric takes no model", at("layer")),
    Column(_WHICH, "status", TEXT, "`ok`, `failed` or `missing-data`", "never", at("status")),
    Column(_WHICH, "layers", TEXT, "layer of every fold, in the order of the folds", "all folds agree", _layers),
    Column(_WHICH, "n_layers", COUNT, "layers among which it was chosen; of several models joined by ` + `", NO_SCORE, _n_layers),
    Column(_SCORE, "score", _HEADLINE, "headline value: explained share of the explainable variance (`encoding`, `variance-partitioning`: of all models together), accuracy (`classification`), similarity (`rsa`, `cka`), effective dimensionality (`spectrum`), ceiling (`noise-ceiling`)", "it cannot be computed; `error` or the record's warnings say why", at("score")),
    Column(_SCORE, "ci_low", _HEADLINE, "lower end of the 95 % interval", "no interval", at("ci_low")),
    Column(_SCORE, "ci_high", _HEADLINE, "upper end of the 95 % interval", "no interval", at("ci_high")),
    Column(_SCORE, "standard_error", _HEADLINE, "standard error of `score`, widened for folds", NOT_REPORTED, _detail("standard_error")),
    Column(_SCORE, "score_uncorrected", SHARE, "`score` before the bootstrap's correction of bias", NOT_REPORTED, _detail("score_uncorrected")),
    Column(_SCORE, "in_best_set", "true or false", "whether the model cannot be told from the best one (all pairs, 5 %)", "does not compete: no resamples in common, a layer that was named, or several models"),
    Column(_SCORE, "ceiling", "share, or r for rsa", "what a perfect model could reach: mean reliability of the neuroids, by the variance of repetitions (`rsa`: the lower bound over subjects)", "no single trials, or " + NOT_REPORTED, at("ceiling")),
    Column(_SCORE, "ceiling_median", SHARE, "median reliability over neuroids", NO_TRIALS, _detail("ceiling_median")),
    Column(_SCORE, "ceiling_split_half", SHARE, "split-half reliability with Spearman-Brown correction, mean over neuroids", NO_TRIALS, _detail("ceiling_split_half")),
    Column(_CONVENTIONS, "r_neuroid", R, "r between predicted and measured responses over test stimuli, mean over neuroids, then subjects", NOT_ENCODING, at("r_neuroid")),
    Column(_CONVENTIONS, "r_neuroid_ci_low", R, "lower end of its 95 % interval", NOT_REPORTED, _bound("r_neuroid_ci", 0)),
    Column(_CONVENTIONS, "r_neuroid_ci_high", R, "upper end of its 95 % interval", NOT_REPORTED, _bound("r_neuroid_ci", 1)),
    Column(_CONVENTIONS, "r_neuroid_median", R, "the same, median over neuroids", NOT_ENCODING, at("r_neuroid_median")),
    Column(_CONVENTIONS, "r_pattern", R, "r across neuroids of one test stimulus, mean over stimuli, then subjects; high for any model where neuroids differ in mean rate", NOT_ENCODING, at("r_pattern")),
    Column(_CONVENTIONS, "r_pattern_ci_low", R, "lower end of its 95 % interval", NOT_REPORTED, _bound("r_pattern_ci", 0)),
    Column(_CONVENTIONS, "r_pattern_ci_high", R, "upper end of its 95 % interval", NOT_REPORTED, _bound("r_pattern_ci", 1)),
    Column(_CONVENTIONS, "r_pattern_ceiling", R, "ceiling of `r_pattern`, from halves of the repetitions", NO_TRIALS, _detail("r_pattern_ceiling")),
    Column(_CONVENTIONS, "r_pattern_intercept", R, "`r_pattern` of a model without image information: each neuroid's training mean", NOT_ENCODING, _detail("r_pattern_intercept")),
    Column(_CONVENTIONS, "r_pattern_z", R, "`r_pattern` with neuroids z-scored by training statistics", NOT_ENCODING, _detail("r_pattern_z")),
    Column(_CONVENTIONS, "r_pattern_z_ceiling", R, "ceiling of `r_pattern_z`", NO_TRIALS, _detail("r_pattern_z_ceiling")),
    Column(_CONVENTIONS, "score_median", SHARE, "median over neuroids with a reliability of at least .1 of sign(r) r^2 / reliability", _MEDIAN, _detail("score_median")),
    Column(_CONVENTIONS, "n_score_median", COUNT, "neuroids that `score_median` rests on", NOT_ENCODING, _detail("n_score_median")),
    *_conventions(),
    Column(_CONVENTIONS, "n_neuroids_ceiling", COUNT, "neuroids that ratios to the split-half reliability rest on", NOT_ENCODING, _detail("conventions", "n_neuroids_ceiling")),
    Column(_CONVENTIONS, "n_neuroids_reliable", COUNT, "neuroids that `noise_corrected_R2` rests on", NOT_ENCODING, _detail("conventions", "n_neuroids_reliable")),
    Column(_CONVENTIONS, "score_unceiled", SHARE, "square of the median r over neuroids, not divided by the ceiling (Brain-Score's recipes)", "no such recipe", _detail("score_unceiled")),
    Column(_OTHERS, "chance", "share of stimuli", "accuracy of guessing", NOT_REPORTED, _only("classification", _detail("chance"))),
    Column(_OTHERS, "n_categories", COUNT, "categories", NOT_REPORTED, _only("classification", _detail("n_categories"))),
    Column(_OTHERS, "ceiling_lower", R, "lower bound of the ceiling over subjects: each against the mean of the others", "fewer than two subjects, or another metric", _detail("ceiling_lower")),
    Column(_OTHERS, "ceiling_upper", R, "upper bound: each against the mean of all", "fewer than two subjects, or another metric", _detail("ceiling_upper")),
    Column(_OTHERS, "score_test", "the metric's unit", "similarity on test stimuli", NOT_REPORTED, _detail("score_test")),
    Column(_OTHERS, "score_all", "the metric's unit", "similarity on all stimuli, training ones included", "a layer was chosen on some of them, or " + NOT_REPORTED, _detail("score_all")),
    Column(_OTHERS, "optimism", "the metric's unit, r for encoding", "how much higher the similarity (`encoding`: `r_neuroid`) would be, had everything been chosen on test stimuli", NOT_REPORTED, _detail("optimism")),
    Column(_OTHERS, "ceiling_of", TEXT, "what the ceiling is one of: `reliability`, `r`, `r_pattern`, `r_pattern_z`", NOT_REPORTED, _only("noise-ceiling", _detail("ceiling_of"))),
    Column(_OTHERS, "effective_dimensionality", "dimensions", "(sum of eigenvalues)^2 / sum of squares", NOT_REPORTED, _only("spectrum", _detail("effective_dimensionality"))),
    Column(_OTHERS, "components_to_share", COUNT, "principal components that reach `share` of the features' variance", "never reached, or " + NOT_REPORTED, _only("spectrum", _detail("components_to_share"))),
    Column(_OTHERS, "share", SHARE, "the share that `components_to_share` counts to", NOT_REPORTED, _only("spectrum", _detail("share"))),
    Column(_OTHERS, "power_law_exponent", NONE, "exponent of the eigenspectrum's power law", "the range is not there, or " + NOT_REPORTED, _only("spectrum", _detail("alpha"))),
    *_partition(),
    Column(_SCORE, "alpha", "penalty of scikit-learn's Ridge", "penalty; one a subject or fold where they differ", NOT_REPORTED, lambda r: joined(r.get("alpha"))),
    Column(_SCORE, "n_components", COUNT, "components that the fit used; several where folds differ", "fitted on features", _components),
    Column(_SCORE, "n_features", COUNT, "features of the layer; of several models one after the other", "no score, or no model", lambda r: joined(r.get("n_features"))),
    Column(_SCORE, "n_stimuli", COUNT, "stimuli that the score rests on", NO_SCORE, at("n_stimuli")),
    Column(_SCORE, "n_neuroids", COUNT, "neuroids of the benchmark", "the target has none", at("n_neuroids")),
    Column(_SCORE, "n_neuroids_valid", COUNT, "those that have an r", "the target has none", at("n_neuroids_valid")),
    Column(_SCORE, "n_subjects", COUNT, "subjects that the score is a mean over", NOT_REPORTED, lambda r: len(r.get("subjects") or {}) or None),
    Column(_SCORE, "n_resamples", COUNT, "bootstrap resamples that the record holds", "it holds none", at("resamples", "n")),
    Column(_SCORE, "warnings", TEXT, "what a reader must know, joined by ` / `", "nothing", lambda r: joined(r.get("warnings") or None, " / ")),
    Column(_DRAWS, "seed", TEXT, "seed of the weights that the identifier names", "the default draw, or weights that are not drawn", _seed),
    Column(_DRAWS, "n_seeds", COUNT, "draws of the model that have a score", "one draw"),
    Column(_DRAWS, "seed_mean", _HEADLINE, "mean of `score` over draws", "one draw"),
    Column(_DRAWS, "seed_sd", _HEADLINE, "standard deviation of `score` over draws (n - 1)", "one draw"),
    Column(_PUBLISHED, "published_r_pattern", R, "the published score of the same cell; to be compared with `r_pattern`", NOT_PUBLISHED),
    Column(_PUBLISHED, "published_ci_low", R, "percentile 2.5 of its resamples of test stimuli", NOT_PUBLISHED),
    Column(_PUBLISHED, "published_ci_high", R, "percentile 97.5", NOT_PUBLISHED),
    Column(_PUBLISHED, "published_recipe", TEXT, "where the published recipe differs from this row's, joined by `; `", "no published score, or no difference that is known"),
    Column(_KEY, "weights", "text or hash", "recipe of the weights, or the SHA-256 of their file", "no model, or no score", _weights),
    Column(_KEY, "preprocessing", HASH, "how images become inputs", "no model, or no score", _preprocessing),
    Column(_KEY, "stimuli", HASH, "ids and bytes of the images", NO_SCORE, _input("stimuli")),
    Column(_KEY, "target", HASH, "responses, labels or RDMs", NO_SCORE, _input("target")),
    Column(_KEY, "splits", HASH, "training and test stimuli", NO_SCORE, _input("splits")),
    Column(_KEY, "grouped", "true or false", "whether stimuli come in groups", NO_SCORE, _grouped),
    Column(_KEY, "metric_parameters", TEXT, "all parameters of the metric, defaults and seeds of resamples included", NO_SCORE, _metric_parameters),
    Column(_KEY, "representations", HASH, "keys of all kernels that the metric was given", "no model, or no score", _kernel_keys),
    Column(_KEY, "resamples_key", HASH, "scores with the same one were resampled together", "no resamples", _resamples_key),
    Column(_KEY, "precision", TEXT, "`exact`, or `fast` (TF32 and float32 products)", "not known", at("precision")),
    Column(_PROVENANCE, "device", TEXT, "`cpu` or `cuda`", "not known", _device),
    Column(_PROVENANCE, "backend", TEXT, "array library of the metric", "not known", at("provenance", "backend")),
    Column(_PROVENANCE, "git_commit", HASH, "commit of the program", "not run from a checkout", _commit),
    Column(_PROVENANCE, "git_dirty", "true or false", "whether the checkout had changes that were not committed", "not run from a checkout", at("provenance", "git", "dirty")),
    Column(_PROVENANCE, "versions", TEXT, "versions of Python and of the libraries that numbers depend on", "not known", _versions),
    Column(_KEY, "key", HASH, "key of the score, 64 digits: the name of its record", "never", at("key")),
    Column(_SCORE, "error", TEXT, "why there is no score", "there is one", at("error")),
)
# fmt: on
NAMES = tuple(column.name for column in COLUMNS)


def row_of(record: Record) -> dict[str, Any]:
    """Return one record as a row: a value, or None, for every column."""
    return {column.name: None if column.of is None else column.of(record) for column in COLUMNS}


def documentation() -> str:
    """Return the columns as a table in Markdown."""
    lines = ["| column | unit | what it holds | empty where |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.unit} | {c.meaning} | {c.empty} |" for c in COLUMNS]
    return "\n".join(lines) + "\n"
