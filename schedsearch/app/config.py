"""Study files: YAML in, a checked `StudyConfig` out."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from schedsearch.app.rankers import RankerConfig, RankersConfig
from schedsearch.app.running import RunConfig
from schedsearch.app.search_config import BRANCHES, MISSING, SearchConfig, settings_class
from schedsearch.core.certificate import ALPHA
from schedsearch.core.complaints import complaint, field_places
from schedsearch.core.exhibit import MOST_SAMPLES
from schedsearch.core.reading import read_file
from schedsearch.core.section import GREATEST_SEED, Count, NameIn, Params, Section, Text
from schedsearch.core.shown import shown
from schedsearch.errors import InputError
from schedsearch.evaluation.metrics import METRICS

Share = Annotated[float, Field(gt=0, le=1)]
Tolerance = Annotated[float, Field(gt=0)]


class SharesConfig(Section):
    """How one file is divided; samples that share an image stay together.

    Which part a sample belongs to depends on `seed` and on the images of all samples, not on their
    order. The shares add up to 1.

    Attributes:
        search: What the search sees.
        certify: What a certificate is proven on; left out: nothing.
        held_out: What reports and the end of a search see; left out: nothing.
    """

    search: Share
    certify: Share | None = None
    held_out: Share | None = None

    def given(self) -> dict[str, float]:
        """The shares that are given, by name."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.given().values()) - 1) > 1e-9:
            raise ValueError("must add up to 1")
        return self


class CertifyConfig(Section):
    """What the certificate claims; see method.md.

    Attributes:
        tolerance: Greatest mean drop over all samples, in the unit of the metric; left out: that
            of the search (`tolerance` or `max_drop`), or none where there are `tasks`.
        tasks: Greatest mean drop over the samples of a `kind`, by kind, such as `{count: 0.02}`;
            each must hold.
        alpha: Probability that the claim is wrong.
        per_image: The most samples that may share an image, in all that such samples are drawn
            from; above 1 the bound takes every image for one unit.
    """

    tolerance: Tolerance | None = None
    tasks: dict[str, Tolerance] = {}
    alpha: float = Field(default=ALPHA, gt=0.001, lt=0.5)
    per_image: Count = 1


class DataConfig(Section):
    """Data of three uses; no image may be in two of them.

    The search sees its calibration data, a certificate is proven on data that it has not seen, and
    held-out data are for reports; where nothing is certified, they say at the end of the search
    what its result loses.

    Attributes:
        calibration: What the search sees: a JSONL file, relative to the study file, or
            `demo:calibration`, `demo-deep:calibration`, `smollm2:calibration` or its parts
            `smollm2-scenes:calibration` and `easy-vqa:calibration`, which come with a package.
        calibration_samples: Use the first so many; left out: all, of a set that comes with a
            package 1000 (at most 100,000 of one that is generated).
        certify: What a certificate is proven on, as `calibration`; left out: nothing is proven.
        certify_samples: As `calibration_samples`.
        held_out: What reports see, as `calibration`, and the end of a search without `certify`,
            which measures its result there; left out: nothing is compared on held-out data.
        held_out_samples: As `calibration_samples`.
        shares: In place of `certify` and `held_out`: `calibration` is divided into parts for all
            uses.
        images: Folder of the images of all files, relative to the study file; left out: each
            file's own folder.
    """

    calibration: Text
    calibration_samples: Count | None = None
    certify: Text | None = None
    certify_samples: Count | None = None
    held_out: Text | None = None
    held_out_samples: Count | None = None
    shares: SharesConfig | None = None
    images: Text | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        doubled = [name for name in ("certify", "held_out") if getattr(self, name) is not None]
        if self.shares is not None and doubled:
            raise ValueError(f"must have either `shares` or `{doubled[0]}`")
        return self

    @property
    def certifies(self) -> bool:
        """Whether there are data to prove a certificate on."""
        return bool(self.certify or (self.shares and self.shares.certify))

    @property
    def compares(self) -> bool:
        """Whether there are held-out data."""
        return bool(self.held_out or (self.shares and self.shares.held_out))


class StudyConfig(Section):
    """A study file.

    Attributes:
        study: Name of the study, unique in its store.
        model: A folder, relative to the study file; else a hub id; or `demo` or `demo-deep`, which
            are embedded, or `smollm2`, which is made from an installed package.
        revision: Branch, tag or commit on the hub; left out: the newest.
        dtype: What the weights are loaded as; `auto` is float32 on the CPU, else the checkpoint's.
        quantization: Quantise the weights on loading; needs bitsandbytes. Left out: not.
        device_map: `auto` spreads the model over all devices; needs accelerate. Left out: one
            device.
        data: What schedules are evaluated on.
        metric: What is kept while tokens leave; larger is better. `answer_match`, `kl_divergence`
            and `last_state_cosine` compare with the full model and need no answers. A scorer of
            your own can be given from Python.
        metric_params: Its parameters, where they differ from the defaults.
        ranker: Who orders the vision tokens; see method.md. Of a list of names, or of
            entries such as `{name: local, params: {window: 2}}`, the search first finds out which
            one serves; `auto` is the list of all that serve any model: `last`, `text` and `local`
            (but not with `first: 0`), `diverse` and `uniform`.
        ranker_params: Its parameters, where they differ from the defaults; of one ranker.
        search: How the search goes.
        certify: What is to be proven of its result, where `data` has samples for it.
        exhibits: Samples of which the search records, as its last step, what each layer kept, both
            answers and a small picture; 0: none. May be changed at any time.
        run: Where it runs; may be changed at any time.
        seed: Of everything random.
    """

    study: Text
    model: Text
    revision: Text | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    quantization: Literal["8bit", "4bit"] | None = None
    device_map: Text | None = None
    data: DataConfig
    metric: Annotated[str, NameIn(METRICS)] = "exact_match"
    metric_params: Params = {}
    ranker: RankersConfig = "last"
    ranker_params: Params = {}
    search: SearchConfig
    certify: CertifyConfig | None = None
    exhibits: int = Field(default=8, ge=0, le=MOST_SAMPLES)
    run: RunConfig | None = None
    seed: int = Field(default=0, ge=0, le=GREATEST_SEED)


def read_study_file(path: Path) -> StudyConfig:
    """Read and check a study file.

    Raises:
        InputError: The file cannot be read, is no YAML, or breaks a rule; the message names file,
            place, what was found and what is allowed.
    """
    return check_study(_parse(_text(path), str(path)), str(path))


def parse_study(text: str, place: str) -> StudyConfig:
    """Read and check the content of a study file, YAML or JSON.

    Args:
        text: The content.
        place: What messages call it.

    Raises:
        InputError: As `read_study_file`.
    """
    return check_study(_parse(text, place), place)


def parse_mapping(text: str, place: str) -> dict[str, Any]:
    """Read the content of a study file that may not be whole yet.

    Raises:
        InputError: It is no YAML or no mapping of keys.
    """
    return _mapping(_parse(text, place), place)


def check_study(content: Any, place: str) -> StudyConfig:
    """Check what a study file says.

    Raises:
        InputError: As `read_study_file`.
    """
    content = _mapping(content, place)
    try:
        return StudyConfig.model_validate(content)
    except ValidationError as error:
        section = settings_class(content.get("search"))
        places = field_places(StudyConfig)
        for name, paths in field_places(section).items() if section else ():
            # A tolerance that stands elsewhere is meant for the search, which must have one.
            known = places.setdefault(name, set())
            known -= {f"certify.{path}" for path in paths}
            known |= {f"search.{path}" for path in paths}
        allowed = ", ".join(_allowed(error, section))
        unknown = f"is not a key of a study file; {{hint}}allowed here: {allowed}"
        raise InputError(
            f"{place}: {complaint(error, unknown, places, BRANCHES, MISSING)}"
        ) from None


def _allowed(error: ValidationError, section: Any) -> list[str]:
    """Keys of the section in which an unknown key stands."""
    model: Any = StudyConfig
    several = {"search": section, "ranker": RankerConfig}
    unknown = [found for found in error.errors() if found["type"] == "extra_forbidden"]
    for part in unknown[0]["loc"][:-1] if unknown else ():
        if isinstance(part, str):  # else the place in a list
            kind = several.get(part) or model.model_fields[part].annotation
            model = next((one for one in get_args(kind) if hasattr(one, "model_fields")), kind)
    return list(model.model_fields)


def _text(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8-sig")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, _neighbours(path), n=1)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
        raise InputError(f"{path}: no such file{hint}") from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); check path and permissions") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None


def _parse(text: str, place: str) -> Any:
    try:
        return yaml.load(text, _UniqueKeys)  # noqa: S506 - derives from SafeLoader
    except RecursionError:
        raise InputError(f"{place}: not valid YAML: nested too deeply; correct it") from None
    except ValueError as error:
        raise InputError(f"{place}: not valid YAML: {error}; correct it") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}:{mark.column + 1}" if mark else place
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"{where}: not valid YAML: {problem}; correct it") from None


def _mapping(content: Any, place: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise InputError(f"{place}: a study file must be a mapping of keys, but got {found}")
    return content


def _neighbours(path: Path) -> list[str]:
    return [file.name for file in path.parent.glob("*.y*ml")]


class _UniqueKeys(yaml.SafeLoader):
    """Safe loader that refuses a key given twice, of which YAML would silently drop one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"keys must be text, but got {shown(key)}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key:.200}` is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """A number in one of YAML's many ways to write it, none of them without end."""
        try:
            value: int = self.construct_yaml_int(node)
            float(value)
        except (ValueError, OverflowError):
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown(node.value)} is no number that can be used", node.start_mark
            ) from None
        return value


_UniqueKeys.add_constructor("tag:yaml.org,2002:int", _UniqueKeys.whole_number)
