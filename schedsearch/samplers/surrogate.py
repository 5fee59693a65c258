"""Gaussian processes over the points of a space, and the points they promise most of (BoTorch)."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.exceptions.errors import ModelFittingError
from botorch.exceptions.warnings import BotorchWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim.optimize import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.warnings import NumericalWarning
from torch import Tensor
from torch.quasirandom import SobolEngine

from schedsearch.core.space import Parameter, Space
from schedsearch.samplers.budgeted import Point, enumerated

_LEAST_NOISE = 1e-4
_FIT_STEPS, _CLIMB_STEPS = 100, 20
_RAW, _AROUND, _CLIMBERS = 256, 128, 4
_AROUND_SPREAD = 0.05


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Run what follows from a seed and on one thread; torch is left as it was.

    Jitter on a covariance and climbs cut short are no news: they change what is asked, not what
    is true of the answer.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        warnings.simplefilter("ignore", BotorchWarning)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def sobol(space: Space, seed: int, skipped: int, points: int) -> list[Point]:
    """Return so many points of a scrambled Sobol sequence, without the first ones."""
    drawn = _sobol(len(space.parameters), skipped + points, seed)[skipped:]
    return [point_at(space, shares) for shares in drawn.tolist()]


def share(parameter: Parameter, value: float) -> float:
    """Return where between its bounds a value lies: 0 to 1, so that `at` returns the value.

    An integer lies in the middle of its part.
    """
    low, high = parameter.low, parameter.high
    if parameter.integer:
        return (value - low + 0.5) / (high - low + 1)
    if low == high:
        return 0.0
    if parameter.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def point_at(space: Space, shares: Iterable[float]) -> Point:
    """Return the point whose parameters lie at these shares of their ranges."""
    return {
        each.name: each.at(min(1.0, max(0.0, one)))
        for each, one in zip(space.parameters, shares, strict=True)
    }


def shares_of(space: Space, point: Mapping[str, float]) -> list[float]:
    """Return where between their bounds the parameters of a point lie."""
    return [share(each, point[each.name]) for each in space.parameters]


def in_cube(space: Space, points: Iterable[Mapping[str, float]]) -> Tensor:
    """Return where the points lie between the bounds of the space: double, shape (points, d)."""
    rows = [shares_of(space, point) for point in points]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(space.parameters))


def fitted(inputs: Tensor, values: Sequence[float], errors: Sequence[float | None]) -> SingleTaskGP:
    """Return the process that fits measurements best.

    Matern 5/2, with a prior of the lengthscales that grows with the dimension (arXiv 2402.02229).

    Args:
        inputs: In the unit cube, shape (n, d).
        values: What was measured there; n of them.
        errors: Their standard errors; taken to be at least 1 % of the values' spread.
    """
    targets = torch.tensor(values, dtype=torch.float64)[:, None]
    spread = targets.var().item() if len(values) > 1 else 0.0
    least = _LEAST_NOISE * (spread or 1.0)
    noise = torch.tensor([max(least, (each or 0.0) ** 2) for each in errors], dtype=torch.float64)
    model = SingleTaskGP(
        inputs,
        targets,
        noise[:, None],
        covar_module=get_covar_module_with_dim_scaled_prior(inputs.shape[-1], use_rbf_kernel=False),
        outcome_transform=Standardize(1),
    )
    steps = {"options": {"maxiter": _FIT_STEPS}}
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    with suppress(ModelFittingError):  # then the prior alone must do
        fit_gpytorch_mll(likelihood, optimizer_kwargs=steps)
    likelihood.eval()
    return model


def most_promising(
    space: Space, acquisition: AcquisitionFunction, best: Tensor, seed: int
) -> list[Point]:
    """Return points of the space, those where the acquisition is greatest first.

    Every point of a space of few whole numbers. Else: of a Sobol sequence, of a cloud around the
    best points known, and where a climb from the most promising of these ends. All are compared
    as the points of the space that they are rounded to.

    Args:
        space: What is searched.
        acquisition: Of one point each, shape (..., 1, d).
        best: In the unit cube, shape (n, d).
        seed: Of the Sobol sequence; what lies around the best is drawn from torch's own state.
    """
    points = enumerated(space)
    if points is None:
        raw = _raw(best, seed)
        order = _values(acquisition, raw).argsort(descending=True, stable=True)
        climbed, _ = optimize_acqf(
            acquisition,
            bounds=torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, raw.shape[-1]),
            q=1,
            num_restarts=_CLIMBERS,
            batch_initial_conditions=raw[order[:_CLIMBERS], None],
            options={"maxiter": _CLIMB_STEPS},
            return_best_only=False,
            retry_on_optimization_warning=False,
        )
        points = [point_at(space, row.tolist()) for row in torch.cat([climbed[:, 0], raw])]
    values = _values(acquisition, in_cube(space, points))
    return [points[i] for i in values.argsort(descending=True, stable=True).tolist()]


def _raw(best: Tensor, seed: int) -> Tensor:
    """Return where climbs may begin, shape (candidates, d)."""
    everywhere = _sobol(best.shape[-1], _RAW, seed)
    centres = best[torch.arange(_AROUND) % len(best)]
    around = centres + _AROUND_SPREAD * torch.randn_like(centres)
    return torch.cat([everywhere, around.clamp(0, 1)])


def _sobol(dimension: int, points: int, seed: int) -> Tensor:
    """Return the first points of a scrambled sequence in the unit cube, shape (points, d)."""
    if not dimension:
        return torch.empty(points, 0, dtype=torch.float64)
    engine = SobolEngine(dimension, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    drawn: Tensor = engine.draw(points, dtype=torch.float64)
    return drawn


def _values(acquisition: AcquisitionFunction, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([acquisition(part[:, None]) for part in torch.split(inputs, _RAW)])
