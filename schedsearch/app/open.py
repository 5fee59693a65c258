"""Opening a study with its model, data and scorer."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from schedsearch.app.bootstrap import DataRef, Progress
from schedsearch.app.rankers import rankers_of
from schedsearch.app.sample_size import tolerances, warn_of_tolerance
from schedsearch.app.samplers import search_of
from schedsearch.app.scorers import check_runtime, check_scorer, metric_text, warn_of_unknown
from schedsearch.app.search_config import parse_search
from schedsearch.app.stores import look
from schedsearch.app.study import Study, check_searchable
from schedsearch.app.subjects import subject_of
from schedsearch.app.worker import WorkerSpec
from schedsearch.core.facts import Facts
from schedsearch.core.plugin import ParamValue
from schedsearch.core.sample import Sample, SampleSet
from schedsearch.core.schedule import RankerSpec, Schedule
from schedsearch.core.section import GREATEST_SEED
from schedsearch.core.shown import shown
from schedsearch.core.study import StudySpec
from schedsearch.core.subject import Subject
from schedsearch.core.trial import Trial
from schedsearch.errors import InputError
from schedsearch.evaluation.metric_identity import metric_identity
from schedsearch.evaluation.metrics import FunctionMetric, Metric, make_metric
from schedsearch.evaluation.metrics.function import Scorer
from schedsearch.execution.executor import Executor
from schedsearch.execution.executors import EXECUTORS, MakeExecutor
from schedsearch.samplers.settings import SamplerSettings
from schedsearch.store.patience import PATIENCE
from schedsearch.store.store import open_store

if TYPE_CHECKING:
    from schedsearch.reduction.rankers.base import Ranker

_GUESS_SAMPLES = 32

DEFAULT_STORE = "schedsearch.db"

Calibration = SampleSet | Iterable[Sample | Mapping[str, Any]] | str | Path


def search(
    model: Any,
    calibration: Calibration,
    *,
    n_trials: int | None = None,
    timeout: float | None = None,
    callbacks: Sequence[Callable[[Study, Trial], None]] = (),
    **options: Any,
) -> Study:
    """Open a study and search it; run again with the same arguments to continue.

    Args:
        model: A transformers model (then `processor` is needed too), a hub id, a folder, or
            `demo`.
        calibration: A sample set, rows with question, answer and image, or a JSONL file.
        n_trials: Close at most this many trials.
        timeout: Open no trial after this many seconds.
        callbacks: Called with the study and every trial closed; one that raises
            `schedsearch.StopStudy` ends the run, and the study can be continued.
        **options: See `open_study`.

    Returns:
        The study; `study.best` is the schedule. Close it, or use it as a context manager.

    Raises:
        InputError: Something that was handed in cannot be used.
        RunError: The search failed; what it found so far is stored.
    """
    study = open_study(model, calibration, **options)
    try:
        study.run(n_trials, timeout, callbacks)
    except BaseException:
        study.close()
        raise
    return study


def open_study(
    model: Any,
    calibration: Calibration,
    *,
    processor: Any = None,
    name: str = "study",
    sampler: SamplerSettings | Mapping[str, Any] | None = None,
    metric: str | Metric | Scorer = "exact_match",
    metric_params: Mapping[str, ParamValue] | None = None,
    ranker: "str | RankerSpec | Ranker | Sequence[str | RankerSpec | Ranker]" = "last",
    store: str | os.PathLike[str] = DEFAULT_STORE,
    create: bool = True,
    seed: int = 0,
    revision: str | None = None,
    dtype: str = "auto",
    quantization: str | None = None,
    device_map: str | None = None,
    trust_remote_code: bool = False,
    prefix_bytes: int | None = None,
    folder: Path = Path(),
    executor: str | MakeExecutor = "local",
    store_patience: float | None = None,
    apart: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Study:
    """Create a study, or continue the one of this name, without searching yet.

    Args:
        model: As for `search`.
        calibration: As for `search`.
        processor: Of a model that is handed in as an object.
        name: Of the study, unique in its store.
        sampler: Settings of the search as in a study file; of G-Search at least the tolerance,
            `{"tolerance": 0.01}`; or `{"sampler": "bayes", "budget": {"flops": 0.4}}`. A `family`
            in them may be a family itself.
        metric: Name of a metric, a metric, or a function (answer, references) -> score. A function
            is recognised by its code and by what it calls and holds; see `FunctionMetric` for a
            name and version in place of that.
        metric_params: Parameters of a metric that is named, where they differ from the defaults.
        ranker: Name of the ranker, or the ranker with parameters, or the ranker itself; one of your
            own is known by its name, see `schedsearch.register_ranker`. Of a list of these, or of
            `auto`, the search first finds out which one serves.
        store: SQLite file, or the URL of a database; made when model and data have been read.
        create: Whether the study may be made where there is none.
        seed: Of everything random.
        revision: Of a model on the hub.
        dtype: Of a model that is loaded here, as its quantization and device map: see `load_model`.
        quantization: `8bit` or `4bit`.
        device_map: Spreads the model over several devices.
        trust_remote_code: Let transformers run code that comes with the model.
        prefix_bytes: Bound on the states that are kept for reuse, in device and host memory
            together; 0 keeps none. Default: a quarter of what is free. No result depends on it.
        folder: What the model and files that `sampler` names are relative to.
        executor: `local`, in this process; `ray`, or with options `functools.partial(RayExecutor,
            options=ClusterOptions(workers=8))`; another name, or what makes a pool of workers.
        store_patience: For how many seconds a store's server that fails is waited for; default:
            600.
        apart: Another store, in which the study is made while `store` is only read.
        progress: Called with the name of what takes long, and its result with (done, total).

    Raises:
        InputError: Something cannot be used, or the study exists with another specification, or
            is missing and must not be made. No store is made then.
    """
    config = parse_search(sampler)
    if not 0 <= seed <= GREATEST_SEED:
        raise InputError(
            f"`seed` must be in [0, {GREATEST_SEED}], but got {shown(seed)}; choose another"
        )
    scored = _metric(metric, metric_params or {})
    if not isinstance(model, (str, os.PathLike)) and processor is None:
        raise InputError("a model object needs its `processor`; pass it too")
    loading = {
        "revision": revision,
        "dtype": dtype,
        "quantization": quantization,
        "device_map": device_map,
        "trust_remote_code": trust_remote_code,
    }
    data = _data(calibration)
    make_executor = _executor(executor)
    rankers = rankers_of(ranker, {}, config.first)
    opening = WorkerSpec(
        model,
        scored,
        data,
        rankers,
        config.first,
        processor,
        folder,
        loading,
        prefix_bytes,
    )
    identity = metric_identity(scored)
    metric_name = metric_text(scored, identity)
    found, workers = look(store, name, create), None
    try:
        if found is not None:
            check_runtime(found, name)
            check_scorer(found, name, metric_name, identity)
        warn_of_unknown(identity)
        workers = make_executor(opening.open)
        if not isinstance(data, DataRef):
            _warn(config, len(data), scored.greatest)
        encoding = progress and progress("encoding samples")
        subject = subject_of(workers, identity=identity, on_progress=encoding)
        if isinstance(data, DataRef):
            _warn(config, len(subject.ids), subject.greatest)
        attention = partial(attention_guess, workers, subject)
        measures = partial(partial, divergences_of, workers, subject, progress)
        search = search_of(config, rankers, subject, name, found, folder, attention, measures)
        spec = StudySpec(
            name=name,
            model=opening.name,
            revision=revision,
            dtype=dtype,
            quantization=quantization,
            weights=subject.target.weights if subject.target else None,
            calibration=subject.name,
            calibration_digest=subject.digest,
            metric=metric_name,
            search=search,
            facts=Facts.of(subject.shape, subject.tokens),
            ranker=rankers[0],
            rankers=rankers if len(rankers) > 1 else (),
            seed=seed,
        )
        check_searchable(spec)
        if found is not None:
            found.close()
        patience = PATIENCE if store_patience is None else store_patience
        found = open_store(apart or store, create, patience=patience)
        return Study(spec, subject, workers, found)
    except BaseException:
        if workers is not None:
            workers.close()
        if found is not None:
            found.close()
        raise


def attention_guess(workers: Executor, subject: Subject) -> list[int]:
    """Counts that would leave out next to no attention, falling with depth: where to begin.

    Raises:
        DataError: There are too few samples.
    """
    shares = workers.ask("attention_cover", subject.split, _GUESS_SAMPLES)
    n_max = max(subject.n_visions)
    return [round(n_max * max(shares[layer:])) for layer in range(len(shares))]


def divergences_of(
    workers: Executor,
    subject: Subject,
    progress: Progress | None,
    ranker: RankerSpec,
    schedules: Sequence[Schedule],
    samples: int,
) -> tuple[list[float], float]:
    """Mean KL divergence of schedules from the full model, and its cost in full passes.

    Args:
        workers: Measure it.
        subject: On its first samples.
        progress: As for `open_study`.
        ranker: Orders the tokens.
        schedules: Those of them that have most layers in common follow each other.
        samples: How many.

    Raises:
        RunError: A schedule cannot be evaluated.
    """
    ranked = [replace(schedule, ranker=ranker) for schedule in schedules]
    bar = progress and progress("measuring single cuts")
    means, work = workers.ask(
        "means", "kl_divergence", subject.split, ranked, samples, on_progress=bar
    )
    full = subject.full_pass.flops
    return [0.0 - mean for mean in means], work.flops / full if full else 0.0


def _warn(config: SamplerSettings, samples: int, greatest: float) -> None:
    for setting, value in tolerances(config.plain()):
        warn_of_tolerance(setting, value, samples, greatest)


def _metric(given: str | Metric | Scorer, params: Mapping[str, ParamValue]) -> Metric:
    if isinstance(given, str):
        return make_metric(given, params)
    if params:
        raise InputError(
            "`metric_params` belong to a metric that is named, but got a metric; give it them"
        )
    return given if isinstance(given, Metric) else FunctionMetric(given)


def _executor(given: str | MakeExecutor) -> MakeExecutor:
    return EXECUTORS[EXECUTORS.check(given, "`executor`")] if isinstance(given, str) else given


def _data(given: Calibration) -> SampleSet | DataRef:
    if isinstance(given, (str, Path)):
        return DataRef(str(given))
    if hasattr(given, "digest") and hasattr(given, "split"):
        return cast(SampleSet, given)
    if not isinstance(given, Iterable):
        raise InputError(
            f"`calibration` must be a sample set, rows or a file, but got {type(given).__name__}"
        )
    from schedsearch.evaluation.data.in_memory import MemorySet

    return MemorySet(given)
