"""Every way to get a study file wrong has one clear message."""

from pathlib import Path

import pytest

from schedsearch.app.config import read_study_file
from schedsearch.app.rankers import rankers_of
from schedsearch.core.schedule import RankerSpec
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import METRICS

GOOD = """
study: s
model: demo
data:
  calibration: demo:calibration
search:
  tolerance: 0.01
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_fill_what_is_left_out(tmp_path):
    config = read_study_file(written(tmp_path, GOOD))
    assert (config.metric, config.ranker, config.search.acceptance) == (
        "exact_match",
        "last",
        "drop",
    )


def test_how_the_model_is_loaded_can_be_said(tmp_path):
    wanted = "model: demo\ndtype: bfloat16\nquantization: 4bit\ndevice_map: auto"
    config = read_study_file(written(tmp_path, GOOD.replace("model: demo", wanted)))
    assert (config.dtype, config.quantization, config.device_map) == ("bfloat16", "4bit", "auto")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_can_be_named(tmp_path, name):
    text = GOOD.replace("model: demo", f"model: demo\nmetric: {name}")
    assert read_study_file(written(tmp_path, text)).metric == name


@pytest.mark.parametrize(
    ("written_as", "expected"),
    [
        ("auto", ("last", "text", "local", "diverse", "uniform")),
        ("[last, diverse]", ("last", "diverse")),
        (
            "[tower, {name: local, params: {window: 4}}, local]",
            ("tower", "local (window = 4)", "local"),
        ),
        ("[random]", ("random",)),
    ],
)
def test_several_rankers_can_be_named(tmp_path, written_as, expected):
    text = GOOD.replace("model: demo", f"model: demo\nranker: {written_as}")
    config = read_study_file(written(tmp_path, text))
    found = rankers_of(config.ranker, config.ranker_params, config.search.first)
    assert tuple(one.words for one in found) == expected


def test_rankers_before_layer_1_are_those_without_attention():
    assert rankers_of("auto", {}, 0) == (RankerSpec("diverse"), RankerSpec("uniform"))


def test_parameters_belong_to_one_ranker():
    assert rankers_of("local", {"window": 4}, 2) == (RankerSpec("local", (("window", 4),)),)
    for several in ("auto", ["last", "local"]):
        with pytest.raises(InputError, match=r"`ranker_params` belong.*\{name: local, params: "):
            rankers_of(several, {"window": 4}, 2)


@pytest.mark.parametrize("several", [[], ["last", "last"], ["last", RankerSpec("last")]])
def test_rankers_from_a_program_are_some_and_different(several):
    with pytest.raises(InputError, match="`ranker` must name rankers, each once, but got"):
        rankers_of(several, {}, 2)


def test_shipped_studies_are_valid():
    files = sorted((Path(__file__).parents[3] / "studies").glob("*.yaml"))
    assert files
    for path in files:
        assert read_study_file(path).study == path.stem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("study: s\n", ""), "`study` is missing"),
        (("tolerance: 0.01", "tolerence: 0.01"), "did you mean `tolerance`?"),
        (("tolerance: 0.01", "tolerence: 0.01"), "`search.tolerence`"),
        (
            ("model: demo", "model: demo\ntolerance: 1"),
            "file; it belongs at `search.tolerance`; all",
        ),
        (("tolerance: 0.01", "tolerance: 0.01\n  steps: 3"), "file; allowed here: sampler, accept"),
        (("tolerance: 0.01", "floors: 1"), "allowed here: sampler, acceptance, tolerance"),
        (("tolerance: 0.01", "tolerance: -1.0"), "`search.tolerance` must be greater than or"),
        (("tolerance: 0.01", "tolerance: .nan"), "`search.tolerance` must be a finite number"),
        (("tolerance: 0.01", "tolerance: low"), "but got 'low'"),
        (
            ("tolerance: 0.01", "tolerance: 0.01\n  concurrent_trials: 0"),
            "`search.concurrent_trials`",
        ),
        (
            ("tolerance: 0.01", "tolerance: 0.01\n  concurrent_trials: true"),
            "`search.concurrent_trials`",
        ),
        (
            ("model: demo", "model: demo\nmetric: accuracy"),
            "must be one of exact_match, log_likelihood, vqa_accuracy, answer_match, kl_divergence",
        ),
        (("model: demo", "model: demo\nranker: best"), "`ranker` must be one of last, text"),
        (("model: demo", "model: demo\nranker: best"), "tower, auto, or a list of them, but"),
        (("model: demo", "model: demo\nranker: 3"), "or a list of them, but got 3"),
        (("model: demo", "model: demo\nranker: []"), "`ranker` must name rankers, each once"),
        (("model: demo", "model: demo\nranker: [last, last]"), "`ranker` must name rankers, each"),
        (("model: demo", "model: demo\nranker: [last, best]"), "`ranker[1].name` must be one of"),
        (("model: demo", "model: demo\nranker: [{nam: last}]"), "`ranker[0].nam` is not a key"),
        (("model: demo", "model: demo\ndtype: int3"), "`dtype` must be 'auto', 'float32'"),
        (
            ("model: demo", "model: demo\nquantization: 4"),
            "`quantization` must be '8bit' or",
        ),
        (("model: demo", "model: demo\nmodel: other"), "study.yaml:4:1: not valid YAML: the key"),
        (("model: demo", "model: [demo"), "study.yaml:"),
        (("model: demo", "model: !!python/object:os.system x"), "not valid YAML"),
        (("model: demo", "3: demo"), "keys must be text, but got 3"),
        (("model: demo", "model: 2020-13-45"), "not valid YAML"),
        (("model: demo", "model: " + "[" * 3000), "not valid YAML"),
        (("data:\n  calibration: demo:calibration", "data: demo"), "`data` must be"),
        (("model: demo", "model: demo\nseed: " + "9" * 5000), "that can be used"),
        (("model: demo", "model: demo\nseed: 0x" + "9" * 5000), "that can be used"),
        (("model: demo", f"model: demo\nseed: {10**30}"), "`seed` must be less than"),
        (("tolerance: 0.01", f"tolerance: 0\n  floor: {10**10}"), "`search.floor` must be less"),
        (("tolerance: 0.01", f"tolerance: 0\n  screens: {[0] * 10**4}"), "must be greater"),
        (("model: demo", f"model: {[0] * 10**4}"), "but got [0, 0, 0, 0, 0, 0, ...]"),
        (("model: demo", "m" * 1000 + ": demo"), "is not a key of a study file"),
        (("model: demo", "model: demo\nrun: local"), "`run` must be"),
        (("model: demo", "model: demo\nrun: {executor: rya}"), "`run.executor` must be one of loc"),
        (("model: demo", "model: demo\nworkers: 4"), "it belongs at `run.workers`"),
        (
            ("model: demo", "model: demo\nrun: {worker: 4}"),
            "`run.worker` is not a key of a study file; did you mean `workers`? allowed here: exec",
        ),
        (
            ("model: demo", "model: demo\nrun: {workers: 4}"),
            "`run` must have `executor: ray` where it has `workers`, but got {'workers': 4}; corr",
        ),
        (
            ("model: demo", "model: demo\nrun: {gpus_per_worker: 1.5}"),
            "`run.gpus_per_worker` must be a whole number, or a share of one GPU, but got 1.5",
        ),
    ],
)
def test_mistake_is_named_with_its_place(tmp_path, change, expected):
    path = written(tmp_path, GOOD.replace(*change))
    with pytest.raises(InputError) as caught:
        read_study_file(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace("tolerance: 0.01", "floor: 1"), "`search.tolerance` is missing; add the"),
        (GOOD.replace("search:\n  tolerance: 0.01\n", ""), "`search` is missing; add how to"),
        (
            GOOD.replace("tolerance: 0.01", "sampler: frontier"),
            "`search.max_drop` is missing; add the greatest drop of the metric that the result",
        ),
    ],
)
def test_what_only_the_user_can_choose_has_no_default(tmp_path, text, expected):
    with pytest.raises(InputError) as caught:
        read_study_file(written(tmp_path, text))
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text"])
def test_other_yaml_than_a_mapping_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="must be a mapping of keys"):
        read_study_file(written(tmp_path, text))


def test_missing_file_suggests_its_neighbour(tmp_path):
    written(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"did you mean .*study\.yaml"):
        read_study_file(tmp_path / "studi.yaml")


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"study: \xff\xfe\x00")
    with pytest.raises(InputError, match="byte 7 is not UTF-8; save it as UTF-8"):
        read_study_file(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("n" * 300, "File name too long"), ("file/study.yaml", "Not a directory"), (".", "Is a dir")],
)
def test_what_cannot_be_read_is_told_by_its_own_reason(tmp_path, name, reason):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf": cannot be read \({reason}.*\); check path and permi"):
        read_study_file(tmp_path / name)
